//! ICMP errors that we send: when, at what rate, quoting what.
//!
//! RFC 792, RFC 1122 §3.2.2, RFC 1812 §4.3.2, RFC 4443 §2.4, §3.

use bytes::Bytes;
use core::net::IpAddr;
use smallvec::SmallVec;

use super::Host;
use super::discard::Discard;
use super::egress::Outbound;
use super::event::Unreachable;
use super::inbound::Inbound;
use super::route::Scope;
use crate::time::Instant;
use crate::wire::{icmpv4, icmpv6, ipv4, ipv6};

const NANOS_PER_SECOND: u128 = 1_000_000_000;
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
    /// IPv6: a header field at `pointer`.
    Parameter { code: u8, pointer: u32 },
}

/// How many ICMP errors may go out (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)).
///
/// There is always a bound: errors are advice, and whoever sends garbage must not get the link filled with it.
///
/// ```
/// use wharf_net::{Config, ErrorRate};
/// # use wharf_net::wire::ethernet::Mac;
/// let mut config = Config::new(Mac([2, 0, 0, 0, 0, 2]), [0; 32]);
/// assert_eq!(config.icmp_errors, ErrorRate::HOST);
/// config.icmp_errors = ErrorRate { burst: 1, per_second: 1 };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorRate {
    /// Errors that may go out at once.
    pub burst: u32,
    /// Errors that may go out in a second in the long run; 0: the burst is all there is.
    pub per_second: u32,
}

impl ErrorRate {
    /// For a host among others.
    pub const HOST: Self = Self {
        burst: 200,
        per_second: 1_000,
    };
    /// For a link of one's own, whose other end may rely on every error: only a flood goes unanswered.
    pub const TRUSTED: Self = Self {
        burst: 4_000,
        per_second: 10_000,
    };
}

/// A bucket of errors that fills with time.
#[derive(Debug)]
pub(super) struct Limiter {
    rate: ErrorRate,
    left: u32,
    since: Instant,
}

impl Limiter {
    pub(super) fn new(rate: ErrorRate) -> Self {
        Self {
            rate,
            left: rate.burst,
            since: Instant::ZERO,
        }
    }

    fn allows(&mut self, now: Instant) -> bool {
        let elapsed = (now - self.since).as_nanos();
        let earned = elapsed * u128::from(self.rate.per_second) / NANOS_PER_SECOND;
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(earned).min(self.rate.burst);
            self.since = now;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
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
        if !self.limiter.allows(now) {
            self.drop_for(Discard::IcmpLimit);
            return;
        }
        let source = match about.scope {
            Scope::Own | Scope::Foreign => about.destination,
            Scope::Group => match self.routes.source_for(about.source) {
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
            self.routes.scope(destination),
            Some(Scope::Own | Scope::Foreign)
        );
        if !single {
            return;
        }
        if !self.limiter.allows(now) {
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
        Trouble::Unreachable(Unreachable::Network) => unreachable(code::NETWORK),
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

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn errors_go_out_at_a_limited_rate() {
        let rate = ErrorRate::HOST;
        let mut limiter = Limiter::new(rate);
        let start = Instant::from_millis(5_000);
        let count = |limiter: &mut Limiter, now| (0..3000).filter(|_| limiter.allows(now)).count();
        assert_eq!(count(&mut limiter, start), rate.burst as usize);
        assert_eq!(count(&mut limiter, start + Duration::from_millis(50)), 50);
        assert_eq!(
            count(&mut limiter, start + Duration::from_secs(60)),
            rate.burst as usize
        );
    }
}
