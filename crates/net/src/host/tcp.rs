//! TCP segments: each that arrives finds its connection, its listener, what rests of its connection, or gets a reset.
//!
//! What a connection makes of it is not here but in [`tcp`]. RFC 9293 §3.10.7.

use wharf_port::{Endpoint, Flow, Port, Protocol};

use super::Host;
use super::cookie;
use super::event::SocketId;
use super::inbound::{Inbound, Trust};
use super::links::Link;
use super::opening::{Syn, syn_text};
use super::outbound::{Outbound, Whole};
use super::route::{Routes, Scope};
use super::sockets::{Keeper, Role};
use crate::discard::Discard;
use crate::frame::Segmentation;
use crate::tcp::{self, Arrival, Ecn, Outgoing};
use crate::time::Instant;
use crate::wire::checksum::Sum;
use crate::wire::tcp::{CHECKSUM_OFFSET, Control, Flags, Header, HeaderError, SeqNum};

/// Half-open connections that a listener has at least room for.
const MIN_HALF_OPEN: usize = 256;

impl Host {
    pub(super) fn receive_tcp(
        &mut self,
        now: Instant,
        inbound: &mut Inbound,
    ) -> Result<(), Discard> {
        // RFC 9293 §3.9.2.3: nothing but unicast.
        if inbound.scope == Scope::Group || inbound.source.is_unspecified() {
            return Err(Discard::Group);
        }
        let segment = inbound.payload();
        let (header, length) = Header::parse(segment).map_err(|error| match error {
            HeaderError::Truncated | HeaderError::DataOffset => Discard::Malformed,
        })?;
        if inbound.trust == Trust::Unverified {
            let number = Protocol::Tcp.number();
            let mut sum = Sum::pseudo(inbound.source, inbound.destination, number, segment.len());
            sum.add(segment);
            if !sum.is_valid() {
                return Err(Discard::Checksum);
            }
        }
        let ports = (Port::new(header.destination), Port::new(header.source));
        let (Some(local), Some(remote)) = ports else {
            return Err(Discard::PortZero);
        };
        let flow = Flow {
            protocol: Protocol::Tcp,
            local: Endpoint::new(inbound.destination, local),
            remote: Endpoint::new(inbound.source, remote),
        };
        self.segment(now, inbound, &flow, &header.control, length)
    }

    fn segment(
        &mut self,
        now: Instant,
        inbound: &mut Inbound,
        flow: &Flow,
        control: &Control,
        header: usize,
    ) -> Result<(), Discard> {
        let known = self.familiar(flow);
        let Some(id) = known.or_else(|| self.addressee(inbound, flow)) else {
            return self.stray(now, inbound, flow, (control, header), None);
        };
        let Some(socket) = self.sockets.find_mut(id) else {
            return Err(Discard::NoSocket);
        };
        match &mut socket.role {
            // Over, only nobody has looked since: its place is free, perhaps for this very segment.
            Role::Stream(stream) if stream.connection.is_finished() => {
                self.finished(id);
                self.segment(now, inbound, flow, control, header)
            }
            Role::Stream(stream) => {
                // RFC 4861 §7.3.1: new data was acknowledged, so what we send arrives.
                let progress = self.links.iter().any(|link| link.neighbours.has_doubts())
                    && control.flags.contains(Flags::ACK)
                    && stream.connection.covers(control.ack.back(1));
                if progress {
                    confirm(&mut self.links, &self.routes, now, flow);
                }
                let text = inbound.take_text(header);
                let dropped = stream.connection.receive(now, control, text, inbound.ecn);
                if known.is_none() {
                    self.recent.note(flow, id);
                }
                self.settle(id);
                dropped.map_or(Ok(()), Err)
            }
            Role::Listener(_) => self.opening(now, inbound, flow, (control, header), id, None),
            Role::Resting(record) => {
                match record.receive(now, control, inbound.payload().len() - header) {
                    Arrival::Ignore => Err(Discard::TimeWait),
                    Arrival::Answer(answer) => {
                        self.send_control(now, flow, answer);
                        Err(Discard::TimeWait)
                    }
                    Arrival::Reopen { isn_after } => {
                        self.reopen(now, inbound, flow, (control, header), id, isn_after)
                    }
                }
            }
            Role::Fresh | Role::Datagrams(_) => Err(Discard::NoSocket),
        }
    }

    /// RFC 6191: a new connection takes the place of one in TIME-WAIT.
    fn reopen(
        &mut self,
        now: Instant,
        inbound: &mut Inbound,
        flow: &Flow,
        (control, header): (&Control, usize),
        resting: SocketId,
        isn_after: SeqNum,
    ) -> Result<(), Discard> {
        self.discard(resting);
        match self.addressee(inbound, flow) {
            Some(listener) => self.opening(
                now,
                inbound,
                flow,
                (control, header),
                listener,
                Some(isn_after),
            ),
            None => self.stray(now, inbound, flow, (control, header), Some(isn_after)),
        }
    }

    /// A segment for no connection and no listener: a knock, or RFC 9293 §3.10.7.1.
    fn stray(
        &mut self,
        now: Instant,
        inbound: &Inbound,
        flow: &Flow,
        (control, header): (&Control, usize),
        isn_after: Option<SeqNum>,
    ) -> Result<(), Discard> {
        let text = &inbound.payload()[header..];
        if self.config.accept_anything && is_opening(control.flags) {
            return self.knock(now, inbound, (*flow, *control, text), isn_after);
        }
        if control.flags.contains(Flags::RST) {
            self.knocks.withdraw(flow);
            return Err(Discard::Stray);
        }
        if let Some(reset) = tcp::reset_for(control, text.len()) {
            self.send_control(now, flow, reset);
        }
        Err(Discard::NoSocket)
    }

    /// A segment for a listener: RFC 9293 §3.10.7.2.
    fn opening(
        &mut self,
        now: Instant,
        inbound: &mut Inbound,
        flow: &Flow,
        (control, header): (&Control, usize),
        id: SocketId,
        isn_after: Option<SeqNum>,
    ) -> Result<(), Discard> {
        if control.flags.contains(Flags::ACK) {
            if let Some(handshake) = self.cookie(now, flow, control, id) {
                self.resume(now, flow, control, (id, handshake))?;
                return self.segment(now, inbound, flow, control, header);
            }
            let text = inbound.payload().len() - header;
            if let Some(reset) = tcp::reset_for(control, text) {
                self.send_control(now, flow, reset);
            }
            return Err(Discard::Stray);
        }
        if !is_opening(control.flags) {
            return Err(Discard::Stray);
        }
        let text = &inbound.payload()[header..];
        let name = self.sockets.next().ok_or(Discard::SocketLimit)?;
        let Some(socket) = self.sockets.find_mut(id) else {
            return Err(Discard::NoSocket);
        };
        let options = socket.options();
        let hold = socket.hold;
        let Role::Listener(listener) = &mut socket.role else {
            return Err(Discard::NoSocket);
        };
        // As Linux does: a queue of n takes n + 1.
        let crowded = listener.half_open > listener.backlog.max(MIN_HALF_OPEN);
        if listener.queue.len() > listener.backlog {
            return Err(Discard::Backlog);
        }
        if crowded {
            listener.cookies_until = Some(now + cookie::VALID);
            self.answer_with_cookie(now, flow, control, id);
            return match text {
                [] => Ok(()),
                _ => Err(Discard::NoRoom),
            };
        }
        let Ok(accepted) = self.table.accept(hold, flow, name) else {
            return Err(Discard::NoSocket);
        };
        listener.half_open += 1;
        let syn = Syn {
            flow: *flow,
            control: *control,
            text: syn_text(text),
            isn_after,
        };
        let cut = text.len() > syn.text.len();
        self.answer_syn(now, (name, accepted), syn, Keeper::Handshake(id), options);
        match cut {
            true => Err(Discard::NoRoom),
            false => Ok(()),
        }
    }

    /// Sends a segment without text for a flow that has no connection.
    pub(super) fn send_control(&mut self, now: Instant, flow: &Flow, control: Control) {
        let outgoing = Outgoing {
            control,
            payload: smallvec::SmallVec::new(),
            length: 0,
            segment: None,
            ecn: Ecn::NotCapable,
        };
        self.send_segment(now, flow, outgoing, None);
    }

    pub(super) fn send_segment(
        &mut self,
        now: Instant,
        flow: &Flow,
        outgoing: Outgoing,
        socket: Option<SocketId>,
    ) {
        let (local, remote) = (flow.local, flow.remote);
        let header = Header {
            source: local.port().number(),
            destination: remote.port().number(),
            control: outgoing.control,
        };
        let (number, text) = (Protocol::Tcp.number(), outgoing.payload);
        let mut packet = Outbound::of(local.address(), remote.address(), number, text);
        header.emit(packet.frame.put_in_front(header.len()));
        packet.traffic_class = outgoing.ecn.bits();
        packet.checksum_at = Some(CHECKSUM_OFFSET as u16);
        packet.segment = match outgoing.segment {
            Some(mss) => Segmentation::Tcp { mss },
            None => Segmentation::None,
        };
        packet.whole = Whole::Always;
        packet.socket = socket;
        // A segment that finds no way is lost like one on the way: retransmission deals with it.
        let _ = self.send(now, &mut packet);
    }
}

/// The neighbour through which a flow goes forwards what we send.
fn confirm(links: &mut [Link], routes: &Routes, now: Instant, flow: &Flow) {
    let only = routes.link_of(flow.local.address());
    let Some(hop) = routes.next_hop(only, flow.remote.address()) else {
        return;
    };
    for link in links.iter_mut().filter(|link| link.device == hop.device) {
        link.neighbours.confirm(now, hop.neighbour);
    }
}

fn is_opening(flags: Flags) -> bool {
    let others = Flags::ACK | Flags::RST | Flags::FIN;
    flags.contains(Flags::SYN) && !flags.intersects(others)
}
