//! Echo: answered for own addresses, the caller's to answer for others, and asked of others.
//!
//! RFC 792, RFC 1122 §3.2.2.6, RFC 4443 §4.

use bytes::Bytes;
use core::net::IpAddr;
use hashbrown::HashSet;
use smallvec::SmallVec;

use super::Host;
use super::event::{Event, Unreachable};
use super::icmp_error::Trouble;
use super::inbound::Inbound;
use super::keys::Keyed;
use super::mailbox::SendError;
use super::outbound::{Marking, Outbound};
use super::route::Scope;
use crate::discard::Discard;
use crate::time::Instant;
use crate::wire::{icmpv4, icmpv6, ipv4_options, udp};

/// Echo requests that wait for their reply at once.
const MAX_PINGS: usize = 1024;

/// An echo request of ours: to whom, and its two marks.
type Ping = (IpAddr, u16, u16);

/// Our echo requests that wait for their reply. A reply to anything else is none of ours.
#[derive(Debug)]
pub(super) struct Pings(HashSet<Ping, Keyed>);

impl Pings {
    pub(super) fn new(keyed: Keyed) -> Self {
        Self(HashSet::with_hasher(keyed))
    }
}

impl Host {
    /// Sends an echo request from an own address. The reply is an [`Event::Reply`]; without one, the caller says when it
    /// has [waited enough](Self::forget_ping).
    ///
    /// # Errors
    /// [`SendError::NoSource`] without a route, [`SendError::TooLong`] for a payload that no packet takes, and
    /// [`SendError::Dropped`] beyond 1,024 requests at once, or on the way out.
    pub fn ping(
        &mut self,
        now: Instant,
        remote: IpAddr,
        ident: u16,
        sequence: u16,
        payload: Bytes,
    ) -> Result<(), SendError> {
        let local = self
            .routes
            .source_for(None, remote)
            .ok_or(SendError::NoSource)?;
        if payload.len() > udp::max_payload(local) {
            return Err(SendError::TooLong);
        }
        if self.pings.0.len() >= MAX_PINGS {
            return Err(SendError::Dropped(Discard::EventLimit));
        }
        self.pings.0.insert((remote, ident, sequence));
        let (protocol, header) = request((local, remote), (ident, sequence), &payload);
        let mut packet = Outbound::new(local, remote, protocol, &header);
        packet.frame.set_body(SmallVec::from_iter([payload]));
        self.send(now, &mut packet).map_err(|reason| {
            self.forget_ping(remote, ident, sequence);
            SendError::Dropped(reason)
        })
    }

    /// Waits no longer for the reply to an echo request.
    pub fn forget_ping(&mut self, remote: IpAddr, ident: u16, sequence: u16) {
        self.pings.0.remove(&(remote, ident, sequence));
    }

    pub(super) fn receive_reply(
        &mut self,
        inbound: &Inbound,
        ident: u16,
        sequence: u16,
    ) -> Result<(), Discard> {
        let remote = inbound.source;
        if !self.pings.0.remove(&(remote, ident, sequence)) {
            return Err(Discard::Icmp);
        }
        let payload = inbound.keep(icmpv4::LEN, inbound.payload().len());
        let reply = Event::Reply {
            remote,
            ident,
            sequence,
            payload,
        };
        if self.events.offer(reply) {
            Ok(())
        } else {
            Err(Discard::EventLimit)
        }
    }

    pub(super) fn receive_echo(
        &mut self,
        now: Instant,
        inbound: &Inbound,
        ident: u16,
        sequence: u16,
    ) -> Result<(), Discard> {
        if inbound.source.is_unspecified() {
            return Err(Discard::Source);
        }
        let payload = inbound.keep(icmpv4::LEN, inbound.payload().len());
        let (local, remote) = (inbound.destination, inbound.source);
        match inbound.scope {
            Scope::Own => {
                let marking = recorded(now, inbound);
                self.answer_echo(now, (local, remote), marking, (ident, sequence), payload);
            }
            Scope::Foreign => {
                let echo = Event::Echo {
                    local,
                    remote,
                    ident,
                    sequence,
                    payload,
                };
                return if self.events.offer(echo) {
                    Ok(())
                } else {
                    Err(Discard::EventLimit)
                };
            }
            // RFC 4443 §4.2: answered from an own address. RFC 1122 §3.2.2.6 lets us be silent over IPv4.
            Scope::Group if local.is_ipv6() => {
                let near = self.link(inbound.device).map(|link| link.device);
                let own = self.routes.source_for(near, remote);
                let own = own.ok_or(Discard::Group)?;
                self.answer_echo(
                    now,
                    (own, remote),
                    Marking::Plain,
                    (ident, sequence),
                    payload,
                );
            }
            Scope::Group => return Err(Discard::Group),
        }
        Ok(())
    }

    fn answer_echo(
        &mut self,
        now: Instant,
        (local, remote): (IpAddr, IpAddr),
        marking: Marking,
        (ident, sequence): (u16, u16),
        payload: Bytes,
    ) {
        let (protocol, header) = match (local, remote) {
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let reply = icmpv6::Message::EchoReply { ident, sequence };
                (icmpv6::PROTOCOL, reply.emit(&payload, from, to))
            }
            _ => {
                let reply = icmpv4::Message::EchoReply { ident, sequence };
                (icmpv4::PROTOCOL, reply.emit(&payload))
            }
        };
        let mut packet = Outbound::new(local, remote, protocol, &header);
        packet.marking = marking;
        packet.frame.set_body(SmallVec::from_iter([payload]));
        // What finds no room is counted there.
        let _ = self.send(now, &mut packet);
    }

    /// Answers an [`Event::Echo`], with its fields unchanged.
    ///
    /// # Errors
    /// [`SendError::Family`] when the addresses are of two families, [`SendError::TooLong`] for a payload that no packet
    /// takes.
    pub fn echo_reply(
        &mut self,
        now: Instant,
        local: IpAddr,
        remote: IpAddr,
        ident: u16,
        sequence: u16,
        payload: Bytes,
    ) -> Result<(), SendError> {
        if local.is_ipv4() != remote.is_ipv4() {
            return Err(SendError::Family);
        }
        if payload.len() > udp::max_payload(local) {
            return Err(SendError::TooLong);
        }
        let addresses = (local, remote);
        self.answer_echo(now, addresses, Marking::Plain, (ident, sequence), payload);
        Ok(())
    }

    /// Answers an [`Event::Echo`] with an ICMP error.
    pub fn reject_echo(
        &mut self,
        now: Instant,
        local: IpAddr,
        remote: IpAddr,
        ident: u16,
        sequence: u16,
        unreachable: Unreachable,
    ) {
        let (protocol, header) = request((remote, local), (ident, sequence), &[]);
        let quote = Outbound::new(remote, local, protocol, &header).quote();
        let source = self.speaker(local, unreachable);
        self.send_error(
            now,
            (source, remote),
            &quote,
            Trouble::Unreachable(unreachable),
        );
    }
}

/// What the reply says of the way, if the request asked for that.
fn recorded(now: Instant, request: &Inbound) -> Marking {
    let IpAddr::V4(own) = request.destination else {
        return Marking::Plain;
    };
    let header = &request.packet[..request.transport];
    let options = ipv4_options::recorded(header, own, (now.as_nanos() / 1_000_000) as u32);
    match &options[..] {
        [] => Marking::Plain,
        options => Marking::First(options.into()),
    }
}

/// The transport protocol and header of an echo request.
fn request(
    (from, to): (IpAddr, IpAddr),
    (ident, sequence): (u16, u16),
    payload: &[u8],
) -> (u8, [u8; icmpv4::LEN]) {
    match (from, to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let request = icmpv6::Message::EchoRequest { ident, sequence };
            (icmpv6::PROTOCOL, request.emit(payload, from, to))
        }
        _ => {
            let request = icmpv4::Message::EchoRequest { ident, sequence };
            (icmpv4::PROTOCOL, request.emit(payload))
        }
    }
}
