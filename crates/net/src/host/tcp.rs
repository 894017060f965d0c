//! Connections within the host: segments find theirs, what they say reaches the caller, what is over is cleared away.
//!
//! What a connection does is not here but in [`tcp`]. RFC 9293 §3.10.7, RFC 6528, RFC 6191.
//!
//! # Theory of operation
//!
//! Whoever touches a connection calls [`Host::settle`]: what it is ready for becomes one event, and it is queued for sending.
//! [`Host::transmit`] takes segments from the first of the queue until that has none, in turns; a connection that has run dry
//! is entered with the timers, or cleared away if it is over. So neither sending nor waking ever looks at all connections.

use bytes::Bytes;
use core::net::IpAddr;
use wharf_port::table::{Hold, Moment};
use wharf_port::{Endpoint, Flow, Port, Protocol};

use super::Host;
use super::discard::Discard;
use super::egress::{Outbound, Whole};
use super::event::{Event, SocketId};
use super::ingress::{Inbound, Trust};
use super::route::Scope;
use super::sockets::{Keeper, Options, Role, Socket, Stream, Work};
use crate::frame::Segmentation;
use crate::tcp::{self, Arrival, Connection, Ecn, Limits, Outgoing, Ready, Setup, State};
use crate::time::Instant;
use crate::wire::checksum::Sum;
use crate::wire::tcp::{CHECKSUM_OFFSET, Control, Flags, Header, HeaderError, SeqNum};

/// Octets of the largest IP packet in a frame, whatever the MTU, when the link cuts it up.
const MAX_PACKET: u32 = 65_535;
/// Half-open connections that a listener has at least room for.
const MIN_HALF_OPEN: usize = 256;

/// A SYN to be answered.
#[derive(Debug)]
pub(super) struct Syn {
    pub(super) flow: Flow,
    pub(super) control: Control,
    pub(super) payload: Bytes,
    pub(super) isn_after: Option<SeqNum>,
}

/// A segment's payload and TCP options in packets of `mtu` octets to this address.
pub(super) fn mss(mtu: u16, remote: IpAddr) -> u16 {
    mtu - 20 - if remote.is_ipv4() { 20 } else { 40 }
}

impl Host {
    pub(super) fn receive_tcp(&mut self, now: Instant, inbound: &Inbound) -> Result<(), Discard> {
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
        inbound: &Inbound,
        flow: &Flow,
        control: &Control,
        header: usize,
    ) -> Result<(), Discard> {
        let text = inbound.payload().len() - header;
        let Some(id) = self.table.who(flow).map(|found| *found.owner) else {
            return self.stray(now, inbound, flow, (control, text), None);
        };
        let Some(socket) = self.sockets.find_mut(id) else {
            return Err(Discard::NoSocket);
        };
        match &mut socket.role {
            Role::Stream(stream) => {
                let payload = inbound.keep(header, header + text);
                stream
                    .connection
                    .receive(now, control, payload, inbound.ecn);
                self.settle(id);
                Ok(())
            }
            Role::Listener(_) => self.opening(now, inbound, flow, (control, header), id, None),
            Role::Resting(record) => match record.receive(now, control, text) {
                Arrival::Ignore => Ok(()),
                Arrival::Answer(answer) => {
                    self.send_control(now, flow, answer);
                    Ok(())
                }
                Arrival::Reopen { isn_after } => {
                    self.reopen(now, inbound, flow, (control, header), id, isn_after)
                }
            },
            Role::Fresh | Role::Datagrams(_) => Err(Discard::NoSocket),
        }
    }

    /// RFC 6191: a new connection takes the place of one in TIME-WAIT.
    fn reopen(
        &mut self,
        now: Instant,
        inbound: &Inbound,
        flow: &Flow,
        (control, header): (&Control, usize),
        resting: SocketId,
        isn_after: SeqNum,
    ) -> Result<(), Discard> {
        self.discard(resting);
        match self.table.who(flow).map(|found| *found.owner) {
            Some(listener) => self.opening(
                now,
                inbound,
                flow,
                (control, header),
                listener,
                Some(isn_after),
            ),
            None => {
                let text = inbound.payload().len() - header;
                self.stray(now, inbound, flow, (control, text), Some(isn_after))
            }
        }
    }

    /// A segment for no connection and no listener: a knock, or RFC 9293 §3.10.7.1.
    fn stray(
        &mut self,
        now: Instant,
        inbound: &Inbound,
        flow: &Flow,
        (control, text): (&Control, usize),
        isn_after: Option<SeqNum>,
    ) -> Result<(), Discard> {
        if self.config.accept_anything && is_opening(control.flags) {
            return self.knock(now, inbound, (*flow, *control, text), isn_after);
        }
        if control.flags.contains(Flags::RST) {
            self.knocks.withdraw(flow);
            return Err(Discard::Stray);
        }
        if let Some(reset) = tcp::reset_for(control, text) {
            self.send_control(now, flow, reset);
        }
        Err(Discard::NoSocket)
    }

    /// A segment for a listener: RFC 9293 §3.10.7.2.
    fn opening(
        &mut self,
        now: Instant,
        inbound: &Inbound,
        flow: &Flow,
        (control, header): (&Control, usize),
        id: SocketId,
        isn_after: Option<SeqNum>,
    ) -> Result<(), Discard> {
        if control.flags.contains(Flags::ACK) {
            let text = inbound.payload().len() - header;
            if let Some(reset) = tcp::reset_for(control, text) {
                self.send_control(now, flow, reset);
            }
            return Err(Discard::Stray);
        }
        if !is_opening(control.flags) {
            return Err(Discard::Stray);
        }
        let name = self.sockets.next().ok_or(Discard::SocketLimit)?;
        let Some(socket) = self.sockets.find_mut(id) else {
            return Err(Discard::NoSocket);
        };
        let (Role::Listener(listener), Some(hold)) = (&mut socket.role, socket.hold) else {
            return Err(Discard::NoSocket);
        };
        // As Linux does: a queue of n takes n + 1.
        let crowded = listener.half_open > listener.backlog.max(MIN_HALF_OPEN);
        if listener.queue.len() > listener.backlog || crowded {
            return Err(Discard::Backlog);
        }
        let options = socket.options;
        let Ok(accepted) = self.table.accept(hold, flow, name) else {
            return Err(Discard::NoSocket);
        };
        listener.half_open += 1;
        let payload = inbound.keep(header, inbound.payload().len());
        let syn = Syn {
            flow: *flow,
            control: *control,
            payload,
            isn_after,
        };
        self.answer_syn(now, (name, accepted), syn, Keeper::Handshake(id), options);
        Ok(())
    }

    /// Makes the connection that answers a SYN.
    pub(super) fn answer_syn(
        &mut self,
        now: Instant,
        (id, hold): (SocketId, Hold),
        syn: Syn,
        keeper: Keeper,
        options: Options,
    ) {
        let Syn {
            flow,
            control,
            payload,
            isn_after,
        } = syn;
        let setup = self.setup(now, &flow, isn_after);
        let config = self.tcp_config(&options);
        let connection = Connection::accept(now, &config, &setup, &control, payload);
        self.begin(
            now,
            (id, hold),
            Stream {
                connection,
                flow,
                keeper,
            },
            options,
        );
    }

    /// Gives a new connection its socket.
    fn begin(
        &mut self,
        now: Instant,
        (id, hold): (SocketId, Hold),
        mut stream: Stream,
        options: Options,
    ) {
        apply(&mut stream.connection, now, &options);
        let domain = super::own::domain_of(stream.flow.local.address());
        let mut socket = Socket::new(hold, domain, Role::Stream(stream));
        socket.options = options;
        self.sockets.insert(id, socket);
        self.settle(id);
    }

    /// Makes the connection of a socket that opens actively.
    pub(super) fn open_stream(&mut self, now: Instant, id: SocketId, flow: Flow) {
        let setup = self.setup(now, &flow, None);
        let Some(options) = self.sockets.find(id).map(|socket| socket.options) else {
            return;
        };
        let mut connection = Connection::connect(now, &self.tcp_config(&options), &setup);
        apply(&mut connection, now, &options);
        if let Some(socket) = self.sockets.find_mut(id) {
            socket.role = Role::Stream(Stream {
                connection,
                flow,
                keeper: Keeper::Caller,
            });
        }
        self.settle(id);
    }

    fn tcp_config(&self, options: &Options) -> tcp::Config {
        let mut config = self.config.tcp.clone();
        if let Some(nodelay) = options.nodelay {
            config.nodelay = nodelay;
        }
        if let Some(octets) = options.receive_buffer {
            (config.receive_initial, config.receive_max) = (octets, octets);
        }
        if let Some(octets) = options.send_buffer {
            (config.send_initial, config.send_max) = (octets, octets);
        }
        config
    }

    fn setup(&self, now: Instant, flow: &Flow, isn_after: Option<SeqNum>) -> Setup {
        let mut isn = self.keys.isn(now, flow);
        if let Some(after) = isn_after.filter(|after| !isn.after(*after)) {
            // RFC 6191 §2: beyond anything that the old connection has used.
            isn = after + (1 << 16);
        }
        let remote = flow.remote.address();
        let mtu = match self.routes.is_internal(remote) {
            true => u16::MAX,
            false => self.routes.link_mtu(),
        };
        Setup {
            isn,
            timestamp_offset: self.keys.timestamp_offset(flow),
            mss: mss(mtu, remote),
            default_mss: default_mss(remote),
        }
    }

    /// After a connection was touched: tells the caller, and queues it for sending.
    pub(super) fn settle(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.find_mut(id) else {
            return;
        };
        let Role::Stream(stream) = &mut socket.role else {
            return;
        };
        let ready = stream.connection.take_ready();
        let keeper = stream.keeper;
        if socket.work == Work::None {
            socket.work = Work::Queued;
            self.work.push_back(id);
        }
        match keeper {
            Keeper::Caller => self.tell(id, ready),
            Keeper::Nobody => {}
            Keeper::Handshake(listener) => {
                socket.ready |= ready;
                if ready.contains(Ready::CONNECTED) {
                    self.complete(listener, id);
                }
            }
            Keeper::Queue(_) => socket.ready |= ready,
        }
    }

    /// Notes what a socket is ready for, and gives it a place among the events.
    pub(super) fn tell(&mut self, id: SocketId, ready: Ready) {
        if ready.is_empty() {
            return;
        }
        let Some(socket) = self.sockets.find_mut(id) else {
            return;
        };
        if socket.ready.is_empty() {
            self.events.ready(id);
        }
        socket.ready |= ready;
    }

    /// A handshake is complete: the connection waits to be accepted.
    fn complete(&mut self, listener: SocketId, id: SocketId) {
        let Some(Socket {
            role: Role::Listener(queue),
            ..
        }) = self.sockets.find_mut(listener)
        else {
            return;
        };
        queue.half_open -= 1;
        queue.queue.push_back(id);
        if let Some(stream) = self.sockets.find_mut(id).and_then(Socket::stream_mut) {
            stream.keeper = Keeper::Queue(listener);
        }
        self.events.push(Event::Incoming {
            listener,
            socket: id,
        });
        self.tell(listener, Ready::READABLE);
    }

    /// Sends what the first of the queue has to send; whether there was anybody.
    pub(super) fn work(&mut self, now: Instant) -> bool {
        let Some(id) = self.work.pop_front() else {
            return false;
        };
        let Some(socket) = self.sockets.find_mut(id) else {
            return true;
        };
        let Role::Stream(stream) = &mut socket.role else {
            socket.work = Work::None;
            return true;
        };
        let remote = stream.flow.remote.address();
        let mtu = self.routes.mtu(now, remote);
        let header = if remote.is_ipv4() { 20 } else { 40 };
        let limits = Limits {
            mss: mss(mtu, remote),
            offload: Some(MAX_PACKET - header),
        };
        match stream.connection.transmit(now, &limits) {
            Some(outgoing) => {
                let flow = stream.flow;
                self.work.push_back(id);
                self.send_segment(now, &flow, outgoing, Some(id));
            }
            None => {
                socket.work = Work::None;
                self.dry(id);
            }
        }
        true
    }

    /// A connection has nothing to send: it sleeps, or it is over.
    fn dry(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.find_mut(id) else {
            return;
        };
        let Role::Stream(stream) = &mut socket.role else {
            return;
        };
        // Sending may have changed what it is ready for.
        let ready = stream.connection.take_ready();
        if stream.keeper == Keeper::Caller {
            self.tell(id, ready);
        } else {
            socket.ready |= ready;
        }
        let Some(socket) = self.sockets.find_mut(id) else {
            return;
        };
        let Role::Stream(stream) = &mut socket.role else {
            return;
        };
        if stream.connection.is_finished() {
            return self.finished(id);
        }
        if let (Keeper::Nobody, Some(record)) = (stream.keeper, stream.connection.time_wait()) {
            let record = record.clone();
            if let Some(hold) = socket.hold {
                // The hold is ours, and is released when the record is dropped.
                let _ = self
                    .table
                    .time_wait(hold, Moment(record.deadline().as_nanos()));
            }
            self.timers
                .set(id.index, &mut socket.entered, Some(record.deadline()));
            socket.role = Role::Resting(record);
            return;
        }
        self.timers
            .set(id.index, &mut socket.entered, stream.connection.deadline());
    }

    /// A connection is over. Its place in the port table is free; what is unread can still be read.
    fn finished(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.find_mut(id) else {
            return;
        };
        let Some(stream) = socket.stream() else {
            return;
        };
        match stream.keeper {
            Keeper::Nobody => self.discard(id),
            Keeper::Handshake(listener) => {
                if let Some(Socket {
                    role: Role::Listener(queue),
                    ..
                }) = self.sockets.find_mut(listener)
                {
                    queue.half_open -= 1;
                }
                self.discard(id);
            }
            Keeper::Caller | Keeper::Queue(_) => {
                self.timers.clear(id.index, &mut socket.entered);
                if let Some(hold) = socket.hold.take() {
                    self.table.release(hold);
                }
            }
        }
    }

    /// Clears a socket away.
    pub(super) fn discard(&mut self, id: SocketId) {
        let Some(mut socket) = self.sockets.remove(id) else {
            return;
        };
        self.timers.clear(id.index, &mut socket.entered);
        if let Some(hold) = socket.hold {
            self.table.release(hold);
        }
    }

    /// Wakes the sockets that are due.
    pub(super) fn expire_sockets(&mut self, now: Instant) {
        while let Some(index) = self.timers.take(now) {
            let Some(id) = self.sockets.id(index) else {
                continue;
            };
            let Some(socket) = self.sockets.find_mut(id) else {
                continue;
            };
            socket.entered = None;
            match &mut socket.role {
                Role::Stream(stream) => {
                    stream.connection.expire(now);
                    self.settle(id);
                }
                Role::Resting(record) if record.deadline() > now => {
                    let deadline = record.deadline();
                    self.timers.set(index, &mut socket.entered, Some(deadline));
                }
                Role::Resting(..) => self.discard(id),
                Role::Fresh | Role::Listener(_) | Role::Datagrams(_) => {}
            }
        }
    }

    /// The neighbour on the way to a peer does not answer. RFC 1122 §4.2.3.9: that ends an attempt, never a connection.
    pub(super) fn neighbour_missing(&mut self, now: Instant, id: SocketId) {
        let Some(stream) = self.sockets.find_mut(id).and_then(Socket::stream_mut) else {
            return;
        };
        if stream.connection.state() == State::SynSent {
            stream.connection.fail(now, tcp::Error::Unreachable);
            self.settle(id);
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

    fn send_segment(
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
        let mut packet = Outbound::new(
            local.address(),
            remote.address(),
            Protocol::Tcp.number(),
            &[],
        );
        packet.transport.resize(header.len(), 0);
        header.emit(&mut packet.transport);
        packet.body = outgoing.payload;
        packet.traffic_class = outgoing.ecn.bits();
        packet.checksum_at = Some(CHECKSUM_OFFSET as u16);
        packet.segment = match outgoing.segment {
            Some(mss) => Segmentation::Tcp { mss },
            None => Segmentation::None,
        };
        packet.whole = Whole::Always;
        packet.socket = socket;
        // A segment that finds no way is lost like one on the way: retransmission deals with it.
        let _ = self.send(now, packet);
    }
}

/// What a peer that announces no segment size takes. RFC 9293 §3.7.1.
fn default_mss(remote: IpAddr) -> u16 {
    if remote.is_ipv4() { 536 } else { 1220 }
}

fn is_opening(flags: Flags) -> bool {
    let others = Flags::ACK | Flags::RST | Flags::FIN;
    flags.contains(Flags::SYN) && !flags.intersects(others)
}

fn apply(connection: &mut Connection, now: Instant, options: &Options) {
    if options.cork {
        connection.set_cork(true);
    }
    if options.keepalive.is_some() {
        connection.set_keepalive(now, options.keepalive);
    }
    if options.user_timeout.is_some() {
        connection.set_user_timeout(now, options.user_timeout);
    }
}
