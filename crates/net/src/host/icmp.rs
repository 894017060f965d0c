//! ICMP messages that arrive: what is asked goes to [`echo`](super::echo) and [`resolve`](super::resolve), and what the network reports about what we sent.
//!
//! RFC 792, RFC 1122 §3.2.2, §4.2.3.9, RFC 1191, RFC 4443, RFC 5927 (reports are believed only about what is in flight), RFC 8201.
//!
//! What a host may leave unanswered is: timestamps, address masks and information requests (RFC 1122 §3.2.2.7–9), redirects (see
//! [`Discard::Redirect`]), source quenches (RFC 6633).
//!
//! What is told to whom: RFC 1122 §4.1.3.3 wants an application to be able to hear of everything about its datagrams, and that is what
//! [`Setting::SoftErrors`](crate::Setting::SoftErrors) is for. Without, it is as on Linux without `IP_RECVERR`: a connected socket hears of
//! closed ports and prohibitions, but not that a network or a host is unreachable, as that may be over in a moment. To a connection the same
//! is a reason to go on trying (§4.2.3.9: a soft error must not end it); when it gives up, that is what it says.

use core::net::IpAddr;
use wharf_port::{Endpoint, Flow, Port, Protocol};

use super::Host;
use super::config::MTU_MIN;
use super::event::{Event, SocketId, Unreachable};
use super::inbound::Inbound;
use super::ingress::malformed;
use super::sockets::Role;
use crate::discard::Discard;
use crate::tcp::{self, State};
use crate::time::Instant;
use crate::wire::ndp::Kind;
use crate::wire::tcp::SeqNum;
use crate::wire::{extension, icmpv4, icmpv6, ipv4, ipv6, mld, router};

/// RFC 1191 §7.1: what to try when a router does not say its MTU.
const PLATEAUS: [u16; 9] = [
    65_535, 32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 552,
];

/// What the network says about a packet of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Report {
    /// Packets of this many octets get through.
    TooBig(u32),
    /// It was not delivered.
    Unreachable(Unreachable),
    /// The transport protocol is not spoken there.
    Protocol,
    /// Anything else: advice.
    Advice,
}

/// What is quoted of a packet of ours.
#[derive(Clone, Copy, Debug)]
struct Quote {
    flow: Flow,
    /// TCP's sequence number; 0 under UDP.
    sequence: SeqNum,
}

impl Host {
    pub(super) fn receive_icmpv4(
        &mut self,
        now: Instant,
        inbound: &Inbound,
    ) -> Result<(), Discard> {
        let message = icmpv4::Message::parse(inbound.payload()).map_err(malformed)?;
        let quote = inbound.payload().get(icmpv4::LEN..).unwrap_or(&[]);
        let report = match message {
            icmpv4::Message::EchoRequest { ident, sequence } => {
                return self.receive_echo(now, inbound, ident, sequence);
            }
            icmpv4::Message::EchoReply { ident, sequence } => {
                return self.receive_reply(inbound, ident, sequence);
            }
            icmpv4::Message::Unreachable {
                code: icmpv4::code::FRAGMENTATION_NEEDED,
                mtu,
            } => Report::TooBig(next_hop_mtu(mtu, quote)),
            icmpv4::Message::Unreachable { code, .. } => match code {
                icmpv4::code::NETWORK => Report::Unreachable(Unreachable::Network),
                icmpv4::code::PROTOCOL => Report::Protocol,
                icmpv4::code::PORT => Report::Unreachable(Unreachable::Port),
                9 | 10 | icmpv4::code::PROHIBITED => Report::Unreachable(Unreachable::Prohibited),
                _ => Report::Unreachable(Unreachable::Host),
            },
            icmpv4::Message::TimeExceeded { .. } | icmpv4::Message::ParameterProblem { .. } => {
                Report::Advice
            }
            icmpv4::Message::Other { kind: 5, .. } => return Err(Discard::Redirect),
            _ => return Err(Discard::Icmp),
        };
        let quote = quote_v4(quote).ok_or(Discard::IcmpUnrelated)?;
        self.report(now, &quote, report)
    }

    pub(super) fn receive_icmpv6(
        &mut self,
        now: Instant,
        inbound: &Inbound,
    ) -> Result<(), Discard> {
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (inbound.source, inbound.destination)
        else {
            return Err(Discard::Malformed);
        };
        let message =
            icmpv6::Message::parse(inbound.payload(), source, destination).map_err(malformed)?;
        let quote = inbound.payload().get(icmpv6::LEN..).unwrap_or(&[]);
        let report = match message {
            icmpv6::Message::EchoRequest { ident, sequence } => {
                return self.receive_echo(now, inbound, ident, sequence);
            }
            icmpv6::Message::EchoReply { ident, sequence } => {
                return self.receive_reply(inbound, ident, sequence);
            }
            icmpv6::Message::NeighbourSolicitation => {
                return self.receive_ndp(now, inbound, Kind::Solicitation);
            }
            icmpv6::Message::NeighbourAdvertisement { .. } => {
                return self.receive_ndp(now, inbound, Kind::Advertisement);
            }
            icmpv6::Message::Other {
                kind: kind @ (mld::QUERY | mld::REPORT_V1 | mld::DONE_V1 | mld::REPORT_V2),
                ..
            } => return self.receive_mld(now, inbound, kind),
            icmpv6::Message::Other {
                kind: router::ADVERTISEMENT,
                code: 0,
            } => return self.receive_router(now, inbound),
            icmpv6::Message::Other { kind: 137, .. } => return Err(Discard::Redirect),
            // RFC 8201 §4: no link is smaller, so nobody honest says so.
            icmpv6::Message::PacketTooBig { mtu } if mtu < MTU_MIN.into() => {
                return Err(Discard::Icmp);
            }
            icmpv6::Message::PacketTooBig { mtu } => Report::TooBig(mtu),
            icmpv6::Message::Unreachable { code } => Report::Unreachable(match code {
                icmpv6::code::NETWORK => Unreachable::Network,
                icmpv6::code::PORT => Unreachable::Port,
                icmpv6::code::PROHIBITED | 5 | 6 => Unreachable::Prohibited,
                _ => Unreachable::Host,
            }),
            icmpv6::Message::ParameterProblem { code: 1, .. } => Report::Protocol,
            icmpv6::Message::TimeExceeded { .. } | icmpv6::Message::ParameterProblem { .. } => {
                Report::Advice
            }
            _ => return Err(Discard::Icmp),
        };
        let quote = quote_v6(quote).ok_or(Discard::IcmpUnrelated)?;
        self.report(now, &quote, report)
    }

    fn report(&mut self, now: Instant, quote: &Quote, report: Report) -> Result<(), Discard> {
        let found = self.table.who(&quote.flow).map(|found| *found.owner);
        match (quote.flow.protocol, found) {
            (Protocol::Tcp, Some(id)) => self.report_stream(now, id, quote, report),
            (Protocol::Tcp, None) => Err(Discard::IcmpUnrelated),
            // RFC 5927 §4: a datagram that nobody here can have sent; believed, it would make others' packets small.
            (Protocol::Udp, None) if !self.config.accept_anything => Err(Discard::IcmpUnrelated),
            (Protocol::Udp, found) => {
                if let Report::TooBig(mtu) = report {
                    let flow = &quote.flow;
                    let ends = (flow.local.address(), flow.remote.address());
                    self.routes.shrink(now, ends, mtu);
                }
                self.report_datagram(found, quote, report)
            }
        }
    }

    /// RFC 5927 §4.1: only about a segment in flight. §5: hard errors end a handshake, never a connection.
    fn report_stream(
        &mut self,
        now: Instant,
        id: SocketId,
        quote: &Quote,
        report: Report,
    ) -> Result<(), Discard> {
        let (local, remote) = (quote.flow.local.address(), quote.flow.remote.address());
        let stream = self
            .sockets
            .find_mut(id)
            .and_then(|socket| socket.stream_mut());
        let Some(stream) = stream.filter(|stream| stream.connection.covers(quote.sequence)) else {
            return Err(Discard::IcmpUnrelated);
        };
        let opening = matches!(
            stream.connection.state(),
            State::SynSent | State::SynReceived
        );
        match report {
            Report::TooBig(mtu) => {
                let mtu = self.routes.shrink(now, (local, remote), mtu);
                stream
                    .connection
                    .shrink_mss(super::opening::mss(mtu, remote));
            }
            Report::Unreachable(Unreachable::Port) if opening => {
                stream.connection.fail(now, tcp::Error::Refused)
            }
            Report::Protocol | Report::Unreachable(Unreachable::Prohibited) if opening => {
                stream.connection.fail(now, tcp::Error::Unreachable);
            }
            Report::Unreachable(Unreachable::Network | Unreachable::Host) => {
                stream.connection.doubt();
            }
            Report::Unreachable(_) | Report::Protocol | Report::Advice => {
                return Err(Discard::Icmp);
            }
        }
        self.settle(id);
        Ok(())
    }

    fn report_datagram(
        &mut self,
        found: Option<SocketId>,
        quote: &Quote,
        report: Report,
    ) -> Result<(), Discard> {
        let unreachable = match report {
            Report::Unreachable(unreachable) => unreachable,
            Report::Protocol => Unreachable::Port,
            Report::TooBig(_) => return Ok(()),
            Report::Advice => return Err(Discard::Icmp),
        };
        let Some(id) = found else {
            let rejected = Event::Rejected {
                flow: quote.flow,
                unreachable,
            };
            return if self.events.offer(rejected) {
                Ok(())
            } else {
                Err(Discard::EventLimit)
            };
        };
        let connected = self.table.connected(&quote.flow).is_some();
        let lasting = matches!(unreachable, Unreachable::Port | Unreachable::Prohibited);
        if let Some(socket) = self.sockets.find_mut(id)
            && let Role::Datagrams(mailbox) = &mut socket.role
            && (mailbox.soft_errors || connected && lasting)
        {
            // RFC 1122 §4.1.3.3: the application is told, once.
            mailbox.trouble = Some(unreachable);
            self.tell(id, tcp::Ready::READABLE);
            return Ok(());
        }
        Err(Discard::Icmp)
    }
}

/// What a router without RFC 1191 leaves open: the next plateau below the packet that was too big.
fn next_hop_mtu(mtu: u16, quote: &[u8]) -> u32 {
    if mtu != 0 {
        return mtu.into();
    }
    let length = match quote {
        [_, _, high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    };
    let plateau = PLATEAUS.iter().find(|plateau| **plateau < length);
    (*plateau.unwrap_or(&PLATEAUS[PLATEAUS.len() - 1])).into()
}

fn quote_v4(packet: &[u8]) -> Option<Quote> {
    let (header, length) = ipv4::Header::parse_quoted(packet).ok()?;
    if header.fragment_offset != 0 {
        return None;
    }
    let transport = packet.get(length..)?;
    quote(
        header.source.into(),
        header.destination.into(),
        header.protocol,
        transport,
    )
}

fn quote_v6(packet: &[u8]) -> Option<Quote> {
    let header = ipv6::Header::parse_quoted(packet).ok()?;
    let rest = packet.get(ipv6::LEN..)?;
    let (protocol, offset) = match extension::walk(header.next_header, rest, true).ok()? {
        extension::End::Transport { protocol, offset } => (protocol, offset),
        extension::End::Fragment { fragment, offset } if fragment.offset == 0 => {
            (fragment.next_header, offset)
        }
        _ => return None,
    };
    quote(
        header.source.into(),
        header.destination.into(),
        protocol,
        rest.get(offset..)?,
    )
}

/// Eight octets of transport are enough: ports, and TCP's sequence number.
fn quote(source: IpAddr, destination: IpAddr, protocol: u8, transport: &[u8]) -> Option<Quote> {
    let protocol = Protocol::from_number(protocol)?;
    let b = transport.first_chunk::<8>()?;
    let port = |at: usize| Port::new(u16::from_be_bytes([b[at], b[at + 1]]));
    let flow = Flow {
        protocol,
        local: Endpoint::new(source, port(0)?),
        remote: Endpoint::new(destination, port(2)?),
    };
    let sequence = match protocol {
        Protocol::Tcp => SeqNum::new(u32::from_be_bytes([b[4], b[5], b[6], b[7]])),
        Protocol::Udp => SeqNum::default(),
    };
    Some(Quote { flow, sequence })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_that_does_not_say_its_mtu_gets_the_next_plateau() {
        let quote = |length: u16| [0x45, 0, (length >> 8) as u8, length as u8];
        assert_eq!(next_hop_mtu(1400, &quote(1500)), 1400);
        assert_eq!(next_hop_mtu(0, &quote(1500)), 1492);
        assert_eq!(next_hop_mtu(0, &quote(1492)), 1006);
        assert_eq!(next_hop_mtu(0, &quote(60)), 552);
        assert_eq!(next_hop_mtu(0, &[]), 552);
    }
}
