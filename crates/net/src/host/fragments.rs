//! Fragments that arrive over IPv6, and what becomes of those that are never complete. Putting together is
//! [`reassembly`](super::reassembly)'s.
//!
//! RFC 8200 §4.5, RFC 7112, RFC 792.

use wharf_port::Protocol;

use super::Host;
use super::icmp_error::Trouble;
use super::inbound::Inbound;
use super::reassembly::{Assembled, Key, Piece};
use crate::discard::Discard;
use crate::time::Instant;
use crate::wire::extension::{self, End, Obstacle};
use crate::wire::{Malformed, icmpv6, ipv6, tcp, udp};

impl Host {
    /// RFC 8200 §4.5, RFC 7112 §5: the first fragment has all headers, that of the transport too.
    pub(super) fn check_chain(
        &mut self,
        now: Instant,
        inbound: &Inbound,
        fragment: &ipv6::Fragment,
    ) -> Result<(), Discard> {
        if fragment.offset > 0 {
            return Ok(());
        }
        let left = match extension::walk(fragment.next_header, inbound.payload(), false) {
            Ok(End::Transport { protocol, offset }) => {
                let needed = match protocol {
                    number if number == Protocol::Tcp.number() => tcp::HEADER_LEN,
                    udp::PROTOCOL | icmpv6::PROTOCOL => udp::LEN,
                    _ => 1,
                };
                inbound.payload().len() >= offset + needed
            }
            // What else is wrong with it is found when it is whole.
            Err(Obstacle::Malformed(Malformed::Truncated)) => false,
            _ => true,
        };
        if left {
            return Ok(());
        }
        let (code, pointer) = (extension::INCOMPLETE_CHAIN, 0);
        self.complain(now, inbound, Trouble::Parameter { code, pointer });
        Err(Discard::Malformed)
    }

    pub(super) fn reassemble_v6(
        &mut self,
        now: Instant,
        inbound: &Inbound,
        fragment: &ipv6::Fragment,
    ) -> Result<Option<Assembled>, Discard> {
        let payload = inbound.payload();
        if fragment.more && !payload.len().is_multiple_of(8) {
            // RFC 8200 §4.5: the payload length field is at fault.
            self.complain(
                now,
                inbound,
                Trouble::Parameter {
                    code: 0,
                    pointer: 4,
                },
            );
            return Err(Discard::Malformed);
        }
        if usize::from(fragment.offset) + payload.len() > usize::from(u16::MAX) {
            let pointer = (inbound.transport - ipv6::FRAGMENT_LEN + 2) as u32;
            self.complain(now, inbound, Trouble::Parameter { code: 0, pointer });
            return Err(Discard::Malformed);
        }
        let key = Key {
            source: inbound.source,
            destination: inbound.destination,
            // RFC 8200 §4.5: addresses and identification alone say what belongs together.
            protocol: 0,
            ident: fragment.ident,
        };
        let piece = Piece {
            offset: fragment.offset.into(),
            more: fragment.more,
            payload,
            packet: &inbound.packet,
            ecn: inbound.ecn,
        };
        let whole = self.reassembly.add(now, key, &piece);
        self.count_evicted();
        whole
    }

    /// Counts what made room for others.
    pub(super) fn count_evicted(&mut self) {
        for _ in 0..self.reassembly.take_evicted() {
            self.drop_for(Discard::FragmentLimit);
        }
        let evicted = self.links.iter_mut();
        let evicted: usize = evicted.map(|link| link.neighbours.take_evicted()).sum();
        for _ in 0..evicted {
            self.drop_for(Discard::NoNeighbour);
        }
    }

    /// Gives up datagrams of which fragments are missing. RFC 792, RFC 4443 §3.3: told about when the first is there.
    pub(super) fn expire_reassembly(&mut self, now: Instant) {
        while let Some(quote) = self.reassembly.expire(now) {
            self.drop_for(Discard::FragmentTimeout);
            if let Some(packet) = quote {
                self.complain_about(now, &packet, Trouble::Reassembly);
            }
        }
    }
}
