//! UDP: datagrams to sockets, to the caller of a host that accepts anything, and out.
//!
//! RFC 768, RFC 1122 §4.1, RFC 8200 §8.1.

use bytes::Bytes;
use core::net::IpAddr;
use smallvec::SmallVec;
use wharf_port::{Endpoint, Flow, Port, Protocol};

use super::Host;
use super::event::{Event, SocketId, Unreachable};
use super::icmp_error::Trouble;
use super::inbound::{Inbound, Trust};
use super::ingress::malformed;
use super::mailbox::{Received, SendError};
use super::outbound::Outbound;
use super::route::Scope;
use super::sockets::Role;
use crate::discard::Discard;
use crate::frame::Segmentation;
use crate::tcp::Ready;
use crate::time::Instant;
use crate::wire::udp::{CHECKSUM_OFFSET, Header, LEN, PROTOCOL, max_payload};

/// A datagram that arrived, or a train of them.
#[derive(Debug)]
struct Arrived {
    from: IpAddr,
    port: Option<Port>,
    to: Endpoint,
    payload: Bytes,
    segment: Option<u16>,
}

impl Arrived {
    /// The flow that it belongs to, if it has one.
    fn flow(&self) -> Option<Flow> {
        Some(Flow {
            protocol: Protocol::Udp,
            local: self.to,
            remote: Endpoint::new(self.from, self.port?),
        })
    }

    fn into_event(self) -> Event {
        match self.flow() {
            Some(flow) => Event::Datagram {
                flow,
                payload: self.payload,
                segment: self.segment,
            },
            None => Event::OneWay {
                local: self.to,
                remote: self.from,
                payload: self.payload,
                segment: self.segment,
            },
        }
    }
}

impl Host {
    pub(super) fn receive_udp(&mut self, now: Instant, inbound: &Inbound) -> Result<(), Discard> {
        let header = Header::parse(inbound.payload()).map_err(malformed)?;
        let length = usize::from(header.length);
        let datagram = &inbound.payload()[..length];
        // A link that vouches for a checksum can't vouch for one that isn't there.
        let verified = inbound.trust == Trust::Verified && header.checksum != 0
            || header.verify(datagram, inbound.source, inbound.destination);
        if !verified {
            return Err(Discard::Checksum);
        }
        let port = Port::new(header.destination).ok_or(Discard::PortZero)?;
        let payload = inbound.keep(LEN, length);
        let segment = match inbound.segment {
            Segmentation::Udp { size } if usize::from(size) < payload.len() => Some(size),
            _ => None,
        };
        let arrived = Arrived {
            from: inbound.source,
            port: Port::new(header.source),
            to: Endpoint::new(inbound.destination, port),
            payload,
            segment,
        };
        if inbound.scope == Scope::Group {
            return self.deliver_to_group(inbound, &arrived);
        }
        if let Some(id) = self.reader(inbound, &arrived) {
            return self.deliver_datagrams(id, &arrived);
        }
        if self.config.accept_anything {
            return match self.events.offer(arrived.into_event()) {
                true => Ok(()),
                false => Err(Discard::EventLimit),
            };
        }
        // RFC 1122 §4.1.3.1.
        self.complain(now, inbound, Trouble::Unreachable(Unreachable::Port));
        Err(Discard::NoSocket)
    }

    /// The socket that gets what arrived. Without a source port there is no flow: what is connected hears nothing of it.
    fn reader(&mut self, inbound: &Inbound, arrived: &Arrived) -> Option<SocketId> {
        let device = inbound.device;
        if let Some(flow) = arrived.flow() {
            return self.reader_of(&flow, device);
        }
        let found = self
            .table
            .who_without_port(arrived.to, arrived.from, device)?;
        Some(*found.owner)
    }

    /// RFC 1122 §4.1.3.5, §3.3.7: everybody who listens gets it. What nobody gets is not complained about.
    fn deliver_to_group(&mut self, inbound: &Inbound, arrived: &Arrived) -> Result<(), Discard> {
        let readers = self.readers(inbound, arrived.to, arrived.flow().as_ref());
        if readers.is_empty() {
            return Err(Discard::NoSocket);
        }
        for id in readers {
            if let Err(reason) = self.deliver_datagrams(id, arrived) {
                self.drop_for(reason);
            }
        }
        Ok(())
    }

    fn deliver_datagrams(&mut self, id: SocketId, arrived: &Arrived) -> Result<(), Discard> {
        let Some(socket) = self.sockets.find_mut(id) else {
            return Err(Discard::NoSocket);
        };
        let Role::Datagrams(mailbox) = &mut socket.role else {
            return Err(Discard::NoSocket);
        };
        let result = train(&arrived.payload, arrived.segment).try_for_each(|payload| {
            mailbox.push(Received {
                from: arrived.from,
                port: arrived.port,
                to: arrived.to,
                payload,
            })
        });
        self.tell(id, Ready::READABLE);
        result
    }

    /// Sends a datagram, or a train of them, from any endpoint of a host that accepts anything; from the
    /// host's own addresses otherwise. `flow.local` is the sender. With `segment`, `payload` is cut into datagrams of that
    /// many octets (the last may be shorter), by the link if it can.
    ///
    /// # Errors
    /// [`SendError`] says which of its arguments is at fault, or why it was dropped.
    pub fn send_datagram(
        &mut self,
        now: Instant,
        flow: Flow,
        payload: Bytes,
        segment: Option<u16>,
    ) -> Result<(), SendError> {
        let (local, remote) = (flow.local.address(), flow.remote.address());
        if flow.protocol != Protocol::Udp {
            return Err(SendError::NotUdp);
        }
        if local.is_ipv4() != remote.is_ipv4() {
            return Err(SendError::Family);
        }
        if !self.config.accept_anything && !self.routes.is_internal(local) {
            return Err(SendError::NoSource);
        }
        if payload.len() > max_payload(local) {
            return Err(SendError::TooLong);
        }
        let segment = segment.filter(|size| *size > 0 && usize::from(*size) < payload.len());
        let overhead = LEN + if local.is_ipv4() { 20 } else { 40 };
        let mtu = usize::from(self.routes.mtu(now, local, remote));
        match segment {
            // A train goes as one frame only if each of its datagrams is one packet.
            Some(size) if usize::from(size) + overhead <= mtu => {
                self.send_one(now, &flow, payload, Segmentation::Udp { size }, None)
            }
            segment => train(&payload, segment).try_for_each(|payload| {
                self.send_one(now, &flow, payload, Segmentation::None, None)
            }),
        }
    }

    pub(super) fn send_one(
        &mut self,
        now: Instant,
        flow: &Flow,
        payload: Bytes,
        segment: Segmentation,
        socket: Option<SocketId>,
    ) -> Result<(), SendError> {
        let length = u16::try_from(LEN + payload.len()).map_err(|_| SendError::TooLong)?;
        let (source, destination) = (flow.local.port().number(), flow.remote.port().number());
        let header = Header {
            source,
            destination,
            length,
            checksum: 0,
        };
        let (local, remote) = (flow.local.address(), flow.remote.address());
        let mut packet = Outbound::new(local, remote, PROTOCOL, &header.emit());
        packet.frame.set_body(SmallVec::from_iter([payload]));
        packet.checksum_at = Some(CHECKSUM_OFFSET);
        packet.segment = segment;
        packet.socket = socket;
        if let Some(mailbox) = socket.and_then(|socket| self.mailbox(socket)) {
            let sending = mailbox.sending;
            packet.hop_limit = sending.hop_limit;
            packet.device = sending.device;
            if remote.is_multicast() {
                packet.hop_limit = Some(sending.group_hop_limit);
                packet.own_copy = sending.own_copy;
            }
        }
        self.send(now, &mut packet).map_err(SendError::Dropped)
    }

    /// Answers a datagram that came in on `flow` with an ICMP error. What it quotes is made up from the flow:
    /// headers are all that the peer looks at.
    pub fn reject_datagram(&mut self, now: Instant, flow: Flow, unreachable: Unreachable) {
        let (local, remote) = (flow.local.address(), flow.remote.address());
        let header = Header {
            source: flow.remote.port().number(),
            destination: flow.local.port().number(),
            length: LEN as u16,
            checksum: 0,
        };
        let quote = Outbound::new(remote, local, PROTOCOL, &header.emit()).quote();
        let source = self.speaker(local, unreachable);
        self.send_error(
            now,
            (source, remote),
            &quote,
            Trouble::Unreachable(unreachable),
        );
    }
}

/// The datagrams of a train; a lone one is a train of one.
fn train(payload: &Bytes, segment: Option<u16>) -> impl Iterator<Item = Bytes> {
    let size = segment.map_or(payload.len(), usize::from).max(1);
    let count = payload.len().div_ceil(size).max(1);
    let payload = payload.clone();
    (0..count)
        .map(move |index| payload.slice(index * size..((index + 1) * size).min(payload.len())))
}
