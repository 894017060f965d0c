//! ICMP errors that we send: when, and quoting what. At what rate is [`error_rate`](super::error_rate)'s to say.
//!
//! RFC 792, RFC 1122 §3.2.2, RFC 1812 §4.3.2, RFC 4443 §2.4, §3.

use bytes::Bytes;
use core::net::IpAddr;
use smallvec::SmallVec;

use super::Host;
use super::event::Unreachable;
use super::inbound::Inbound;
use super::outbound::Outbound;
use super::route::Scope;
use crate::discard::Discard;
use crate::time::Instant;
use crate::wire::{icmpv4, icmpv6, ipv4, ipv6};

/// RFC 1812 §4.3.2.3: an error over IPv4 has at most 576 octets.
const QUOTE_V4: usize = 576 - ipv4::LEN - icmpv4::LEN;
/// RFC 4443 §2.4 (c): an error over IPv6 fits the least MTU.
const QUOTE_V6: usize = 1280 - ipv6::LEN - icmpv6::LEN;

/// What an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody to deliver to.
    Unreachable(Unreachable),
    /// A transport protocol that we don't speak.
    Protocol,
    /// Fragments are missing.
    Reassembly,
    /// IPv4: the packet wants to go on, and we don't forward.
    SourceRoute,
    /// A header field at `pointer`.
    Parameter { code: u8, pointer: u32 },
}

impl Host {
    /// Answers a packet with an error, if that is allowed about this packet.
    pub(super) fn complain(&mut self, now: Instant, about: &Inbound, trouble: Trouble) {
        let parameter = matches!(trouble, Trouble::Parameter { code: 2, .. });
        // RFC 1122 §3.2.2, RFC 4443 §2.4 (e): not about what was sent to many. The exceptions are its caller's.
        if (about.scope == Scope::Group && !parameter)
            || about.source.is_unspecified()
            || is_error(about)
        {
            return;
        }
        if !self.limiter.allows(now, about.source) {
            self.drop_for(Discard::IcmpLimit);
            return;
        }
        let near = self.link(about.device).map(|link| link.device);
        let source = match about.scope {
            Scope::Own | Scope::Foreign => about.destination,
            Scope::Group => match self.routes.source_for(near, about.source) {
                Some(own) => own,
                None => return,
            },
        };
        let trouble = match trouble {
            // RFC 4443 §3.4: IPv6 has no word for an unknown protocol but an unrecognized next header.
            Trouble::Protocol if source.is_ipv6() => Trouble::Parameter {
                code: 1,
                pointer: about.next_header_field(),
            },
            trouble => trouble,
        };
        self.send_error(now, (source, about.source), &about.packet, trouble);
    }

    /// The same about a packet of which only the octets are left.
    pub(super) fn complain_about(&mut self, now: Instant, packet: &Bytes, trouble: Trouble) {
        let addresses: Option<(IpAddr, IpAddr)> = match ipv4::Header::parse_quoted(packet) {
            Ok((header, _)) => Some((header.source.into(), header.destination.into())),
            Err(_) => ipv6::Header::parse_quoted(packet)
                .ok()
                .map(|header| (header.source.into(), header.destination.into())),
        };
        let Some((source, destination)) = addresses else {
            return;
        };
        let single = matches!(
            self.routes.scope(Self::LOOPBACK, destination),
            Some(Scope::Own | Scope::Foreign)
        );
        if !single {
            return;
        }
        if !self.limiter.allows(now, source) {
            self.drop_for(Discard::IcmpLimit);
            return;
        }
        self.send_error(now, (destination, source), packet, trouble);
    }

    /// Sends an error that quotes `packet` as far as there is room.
    pub(super) fn send_error(
        &mut self,
        now: Instant,
        (source, destination): (IpAddr, IpAddr),
        packet: &[u8],
        trouble: Trouble,
    ) {
        let mut outbound = match (source, destination) {
            (IpAddr::V4(_), IpAddr::V4(_)) => {
                let quote = &packet[..packet.len().min(QUOTE_V4)];
                let header = message_v4(trouble).emit(quote);
                quoting(
                    Outbound::new(source, destination, icmpv4::PROTOCOL, &header),
                    quote,
                )
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let quote = &packet[..packet.len().min(QUOTE_V6)];
                let header = message_v6(trouble).emit(quote, from, to);
                quoting(
                    Outbound::new(source, destination, icmpv6::PROTOCOL, &header),
                    quote,
                )
            }
            _ => return,
        };
        // What finds no room is counted there.
        let _ = self.send(now, &mut outbound);
    }
}

fn quoting(mut outbound: Outbound, quote: &[u8]) -> Outbound {
    let quote = Bytes::copy_from_slice(quote);
    outbound.frame.set_body(SmallVec::from_iter([quote]));
    outbound
}

fn message_v4(trouble: Trouble) -> icmpv4::Message {
    use icmpv4::{Message, code};
    let unreachable = |code| Message::Unreachable { code, mtu: 0 };
    match trouble {
        Trouble::Unreachable(Unreachable::Network) => unreachable(code::NETWORK),
        Trouble::Unreachable(Unreachable::Host) => unreachable(code::HOST),
        Trouble::Unreachable(Unreachable::Port) => unreachable(code::PORT),
        Trouble::Unreachable(Unreachable::Prohibited) => unreachable(code::PROHIBITED),
        Trouble::Protocol => unreachable(code::PROTOCOL),
        Trouble::SourceRoute => unreachable(code::SOURCE_ROUTE),
        Trouble::Reassembly => Message::TimeExceeded { code: 1 },
        Trouble::Parameter { pointer, .. } => Message::ParameterProblem {
            pointer: u8::try_from(pointer).unwrap_or(u8::MAX),
        },
    }
}

fn message_v6(trouble: Trouble) -> icmpv6::Message {
    use icmpv6::{Message, code};
    let unreachable = |code| Message::Unreachable { code };
    match trouble {
        // Over IPv6 a routing header with stations left is an erroneous field.
        Trouble::Unreachable(Unreachable::Network) | Trouble::SourceRoute => {
            unreachable(code::NETWORK)
        }
        Trouble::Unreachable(Unreachable::Host) => unreachable(code::HOST),
        Trouble::Unreachable(Unreachable::Port) => unreachable(code::PORT),
        Trouble::Unreachable(Unreachable::Prohibited) => unreachable(code::PROHIBITED),
        Trouble::Protocol => Message::ParameterProblem {
            code: 1,
            pointer: 6,
        },
        Trouble::Reassembly => Message::TimeExceeded { code: 1 },
        Trouble::Parameter { code, pointer } => Message::ParameterProblem { code, pointer },
    }
}

/// RFC 1122 §3.2.2: never an error about an error.
fn is_error(about: &Inbound) -> bool {
    let kind = about.payload().first().copied();
    match (about.protocol, about.source.is_ipv4()) {
        (icmpv4::PROTOCOL, true) => !matches!(kind, Some(0 | 8 | 13..=18)),
        (icmpv6::PROTOCOL, false) => kind.is_none_or(|kind| kind < 128),
        _ => false,
    }
}
