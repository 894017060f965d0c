//! Echo: answered for own addresses, the caller's to answer for others. RFC 792, RFC 1122 §3.2.2.6, RFC 4443 §4.

use bytes::Bytes;
use core::net::IpAddr;
use smallvec::SmallVec;

use super::Host;
use super::discard::Discard;
use super::egress::Outbound;
use super::event::{Event, Unreachable};
use super::icmp_error::Trouble;
use super::inbound::Inbound;
use super::mailbox::SendError;
use super::route::Scope;
use crate::time::Instant;
use crate::wire::{icmpv4, icmpv6, udp};

impl Host {
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
            Scope::Own => self.answer_echo(now, local, remote, (ident, sequence), payload),
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
                let own = self.routes.source_for(remote).ok_or(Discard::Group)?;
                self.answer_echo(now, own, remote, (ident, sequence), payload);
            }
            Scope::Group => return Err(Discard::Group),
        }
        Ok(())
    }

    fn answer_echo(
        &mut self,
        now: Instant,
        local: IpAddr,
        remote: IpAddr,
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
        packet.body = SmallVec::from_iter([payload]);
        // What finds no room is counted there.
        let _ = self.send(now, packet);
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
        self.answer_echo(now, local, remote, (ident, sequence), payload);
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
        let (protocol, header) = match (remote, local) {
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let request = icmpv6::Message::EchoRequest { ident, sequence };
                (icmpv6::PROTOCOL, request.emit(&[], from, to))
            }
            _ => {
                let request = icmpv4::Message::EchoRequest { ident, sequence };
                (icmpv4::PROTOCOL, request.emit(&[]))
            }
        };
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
