//! From link to transport: Ethernet, IP, fragments; then to the protocol that is meant.
//!
//! RFC 894, RFC 791, RFC 1122 §3.2.1, RFC 8200.

use bytes::{Buf, Bytes};
use core::net::IpAddr;

use super::Host;
use super::event::SocketId;
use super::icmp_error::Trouble;
use super::inbound::{Inbound, Trust};
use super::links::Link;
use super::reassembly::{Key, Piece};
use super::route::Scope;
use crate::discard::Discard;
use crate::frame::{Checksum, Frame, Offload, Segmentation};
use crate::tcp::Ecn;
use crate::time::Instant;
use crate::wire::ethernet::{self, EtherType, Mac};
use crate::wire::extension::{self, End, Obstacle};
use crate::wire::ipv4_options::{self, Fault};
use crate::wire::{Malformed, icmpv4, icmpv6, igmp, ipv4, ipv6, udp};
use wharf_port::{Device, Flow, Protocol};

/// What the frame says about the packet in it.
#[derive(Clone, Copy, Debug)]
struct Envelope {
    device: Device,
    station: Mac,
    reach: Reach,
    trust: Trust,
    segment: Segmentation,
}

/// To how many stations a frame was addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    One,
    Group,
}

/// The addresses of the packet that was judged last: most often the next has the same.
#[derive(Debug)]
pub(super) struct Judged {
    ends: (IpAddr, IpAddr),
    /// How often routes had changed.
    changes: u64,
    scope: Scope,
}

impl Host {
    /// Takes a frame from the link, the only one or the first.
    #[inline]
    pub fn receive(&mut self, now: Instant, frame: Frame) {
        self.receive_on(now, Self::LINK, frame);
    }

    /// Takes a frame from one of several links; from a device that is none of [`links`](Self::links), it is another station's.
    #[inline]
    pub fn receive_on(&mut self, now: Instant, device: Device, frame: Frame) {
        let offload = frame.offload();
        self.receive_ethernet(now, device, frame.into_ethernet(), offload);
    }

    fn receive_ethernet(&mut self, now: Instant, device: Device, frame: Bytes, offload: Offload) {
        if let Err(reason) = self.receive_frame(now, device, frame, offload) {
            self.drop_for(reason);
        }
    }

    /// The same for the octets that a link delivers, its virtio header in front.
    pub fn receive_bytes(&mut self, now: Instant, device: Device, bytes: Bytes) {
        match Frame::from_link(bytes) {
            Ok(frame) => self.receive_on(now, device, frame),
            Err(error) => drop(self.drop_for(malformed(error))),
        }
    }

    fn receive_frame(
        &mut self,
        now: Instant,
        device: Device,
        mut packet: Bytes,
        offload: Offload,
    ) -> Result<(), Discard> {
        let mac = self.link(device).ok_or(Discard::OtherStation)?.mac;
        let header = ethernet::Header::parse(&packet).map_err(malformed)?;
        let reach = if header.destination.is_group() {
            Reach::Group
        } else {
            Reach::One
        };
        if header.source.is_group() {
            return Err(Discard::Malformed);
        }
        // Our own, come back, or somebody who makes believe.
        if header.source == mac {
            return Err(Discard::OwnStation);
        }
        if reach == Reach::One && header.destination != mac {
            return Err(Discard::OtherStation);
        }
        let trust = match offload.checksum {
            Checksum::Complete => Trust::Unverified,
            Checksum::Partial { .. } | Checksum::Verified => Trust::Verified,
        };
        let segment = offload.segment;
        let envelope = Envelope {
            device,
            station: header.source,
            reach,
            trust,
            segment,
        };
        packet.advance(ethernet::LEN);
        match header.ethertype {
            EtherType::Ipv4 => self.receive_ipv4(now, packet, envelope),
            EtherType::Ipv6 => self.receive_ipv6(now, packet, envelope),
            EtherType::Arp => self.receive_arp(now, device, &packet),
            EtherType::Other(_) => Err(Discard::EtherType),
        }
    }

    /// Takes a packet that the host has sent to itself.
    pub(super) fn receive_internal(&mut self, now: Instant, frame: Frame) {
        let offload = frame.offload();
        let envelope = Envelope {
            device: Self::LOOPBACK,
            station: Mac::default(),
            reach: Reach::One,
            trust: Trust::Verified,
            segment: offload.segment,
        };
        let packet = frame.into_ethernet().slice(ethernet::LEN..);
        let result = match packet.first().map(|version| version >> 4) {
            Some(4) => self.receive_ipv4(now, packet, envelope),
            _ => self.receive_ipv6(now, packet, envelope),
        };
        if let Err(reason) = result {
            self.drop_for(reason);
        }
    }

    /// For whom a packet is, if its addresses are possible at all.
    fn judge(
        &mut self,
        source: IpAddr,
        destination: IpAddr,
        envelope: &Envelope,
    ) -> Result<Scope, Discard> {
        let ends = (source, destination);
        let plain = envelope.reach == Reach::One && envelope.device == Self::LINK;
        let changes = self.routes.changes();
        if let Some(last) = &self.judged
            && (plain && last.ends == ends && last.changes == changes)
        {
            return Ok(last.scope);
        }
        let scope = self.judge_anew(source, destination, envelope)?;
        let sure = |link: &Link| link.autoconf.is_none();
        // Who configures itself has addresses that are in question for a while.
        if plain && scope != Scope::Group && self.link(Self::LINK).is_some_and(sure) {
            self.judged = Some(Judged {
                ends,
                changes,
                scope,
            });
        }
        Ok(scope)
    }

    fn judge_anew(
        &self,
        source: IpAddr,
        destination: IpAddr,
        envelope: &Envelope,
    ) -> Result<Scope, Discard> {
        let internal = envelope.device == Self::LOOPBACK;
        if internal && self.routes.is_internal(destination) {
            return Ok(Scope::Own);
        }
        if self.is_tentative(envelope.device, destination) {
            return Err(Discard::Tentative);
        }
        let scope = self.routes.scope(envelope.device, destination);
        let scope = scope.ok_or(Discard::NotMine)?;
        // RFC 4861 §7.2.2: who checks an address that is not yet its own asks without a source.
        let probing = source.is_unspecified() && source.is_ipv6();
        // What comes from the host itself, a datagram for a group it hears, is from an own address.
        if !internal && !probing && !self.routes.is_possible_source(source) {
            return Err(Discard::Source);
        }
        if destination.is_multicast() && !self.hears(envelope.device, destination) {
            return Err(Discard::NotJoined);
        }
        if envelope.reach == Reach::Group && scope != Scope::Group {
            return Err(Discard::LinkBroadcast);
        }
        Ok(scope)
    }

    fn receive_ipv4(
        &mut self,
        now: Instant,
        mut packet: Bytes,
        envelope: Envelope,
    ) -> Result<(), Discard> {
        let (header, length) = ipv4::Header::parse(&packet).map_err(malformed)?;
        let (source, destination) = (header.source.into(), header.destination.into());
        let scope = self.judge(source, destination, &envelope)?;
        self.notice(now, source, &envelope);
        packet.truncate(length + usize::from(header.payload_len));
        let mut inbound = Inbound {
            packet,
            transport: length,
            protocol: header.protocol,
            source,
            destination,
            scope,
            hop_limit: header.ttl,
            ecn: Ecn::from_bits(header.traffic_class),
            trust: envelope.trust,
            segment: envelope.segment,
            device: envelope.device,
        };
        self.check_options(now, &inbound)?;
        if header.is_fragment() {
            let key = Key {
                source,
                destination,
                protocol: header.protocol,
                ident: header.ident.into(),
            };
            let piece = Piece {
                offset: header.fragment_offset.into(),
                more: header.more_fragments,
                payload: inbound.payload(),
                packet: &inbound.packet,
                ecn: inbound.ecn,
            };
            let whole = self.reassembly.add(now, key, &piece);
            self.count_evicted();
            let Some(whole) = whole? else {
                return Ok(());
            };
            let payload_len = u16::try_from(whole.payload.len()).map_err(|_| Discard::Malformed)?;
            let header = ipv4::Header {
                payload_len,
                more_fragments: false,
                fragment_offset: 0,
                ..header
            };
            inbound.rebuild(&header.emit(), &whole);
        }
        self.deliver(now, inbound)
    }

    fn receive_ipv6(
        &mut self,
        now: Instant,
        mut packet: Bytes,
        envelope: Envelope,
    ) -> Result<(), Discard> {
        let header = ipv6::Header::parse(&packet).map_err(malformed)?;
        let (source, destination) = (header.source.into(), header.destination.into());
        let scope = self.judge(source, destination, &envelope)?;
        self.notice(now, source, &envelope);
        // RFC 2675 §3: a jumbogram states no length there, and has an option that says so, which is not known here.
        let jumbo = header.payload_len == 0 && header.next_header == extension::HOP_BY_HOP_HEADER;
        if !jumbo {
            packet.truncate(ipv6::LEN + usize::from(header.payload_len));
        }
        let mut inbound = Inbound {
            packet,
            transport: ipv6::LEN,
            protocol: header.next_header,
            source,
            destination,
            scope,
            hop_limit: header.hop_limit,
            ecn: Ecn::from_bits(header.traffic_class),
            trust: envelope.trust,
            segment: envelope.segment,
            device: envelope.device,
        };
        let end = self.walk(now, &inbound, header.next_header, true)?;
        if jumbo {
            return Err(Discard::Malformed);
        }
        match end {
            End::Transport { protocol, offset } => inbound.advance(protocol, offset),
            // RFC 8200 §4.7.
            End::Nothing => return Err(Discard::Protocol),
            End::Fragment { fragment, offset } => {
                inbound.advance(fragment.next_header, offset);
                if !fragment.is_atomic() {
                    self.check_chain(now, &inbound, &fragment)?;
                    let Some(whole) = self.reassemble_v6(now, &inbound, &fragment)? else {
                        return Ok(());
                    };
                    let payload_len =
                        u16::try_from(whole.payload.len()).map_err(|_| Discard::Malformed)?;
                    let next_header = fragment.next_header;
                    let header = ipv6::Header {
                        payload_len,
                        next_header,
                        ..header
                    };
                    inbound.rebuild(&header.emit(), &whole);
                }
                match self.walk(now, &inbound, fragment.next_header, false)? {
                    End::Transport { protocol, offset } => inbound.advance(protocol, offset),
                    // A fragment within a fragment: nobody honest sends that (RFC 8900 §3).
                    End::Fragment { .. } => return Err(Discard::Malformed),
                    // RFC 8200 §4.7.
                    End::Nothing => return Err(Discard::Protocol),
                }
            }
        }
        self.deliver(now, inbound)
    }

    /// RFC 1122 §3.2.1.8, §3.3.5.
    fn check_options(&mut self, now: Instant, inbound: &Inbound) -> Result<(), Discard> {
        let (reason, trouble) = match ipv4_options::check(&inbound.packet[..inbound.transport]) {
            Ok(()) => return Ok(()),
            Err(Fault::Malformed(at)) => {
                let (code, pointer) = (0, at.into());
                (Discard::Malformed, Trouble::Parameter { code, pointer })
            }
            Err(Fault::SourceRoute) => (Discard::Option, Trouble::SourceRoute),
        };
        self.complain(now, inbound, trouble);
        Err(reason)
    }

    /// Passes the extension headers from where the packet was got to.
    fn walk(
        &mut self,
        now: Instant,
        inbound: &Inbound,
        next: u8,
        first: bool,
    ) -> Result<End, Discard> {
        let (code, pointer, even_multicast) = match extension::walk(next, inbound.payload(), first)
        {
            Ok(end) => return Ok(end),
            Err(Obstacle::Malformed(_)) => return Err(Discard::Malformed),
            Err(Obstacle::Discard) => return Err(Discard::Option),
            Err(Obstacle::Problem {
                code,
                pointer,
                even_multicast,
            }) => (code, pointer, even_multicast),
        };
        if inbound.scope != Scope::Group || even_multicast {
            let pointer = (inbound.transport + pointer) as u32;
            self.complain(now, inbound, Trouble::Parameter { code, pointer });
        }
        Err(Discard::Option)
    }

    fn deliver(&mut self, now: Instant, mut inbound: Inbound) -> Result<(), Discard> {
        match (inbound.protocol, inbound.source.is_ipv4()) {
            (number, _) if number == Protocol::Tcp.number() => self.receive_tcp(now, &mut inbound),
            (udp::PROTOCOL, _) => self.receive_udp(now, &inbound),
            (icmpv4::PROTOCOL, true) => self.receive_icmpv4(now, &inbound),
            (igmp::PROTOCOL, true) => self.receive_igmp(now, &inbound),
            (icmpv6::PROTOCOL, false) => self.receive_icmpv6(now, &inbound),
            _ => {
                self.complain(now, &inbound, Trouble::Protocol);
                Err(Discard::Protocol)
            }
        }
    }

    /// The socket that gets a packet of this flow.
    pub(super) fn addressee(&self, inbound: &Inbound, flow: &Flow) -> Option<SocketId> {
        let found = self.table.who_on(flow, inbound.device)?;
        Some(*found.owner)
    }

    /// In the role of a gateway, whoever sends is remembered: answers need no question.
    fn notice(&mut self, now: Instant, source: IpAddr, envelope: &Envelope) {
        let (device, station) = (envelope.device, envelope.station);
        if !self.config.accept_anything || source.is_unspecified() {
            return;
        }
        let known = |link: &Link| link.neighbours.knows(source, station);
        if self.link(device).is_none_or(known) {
            return;
        }
        let hop = self.routes.next_hop(Some(device), source);
        if hop.is_some_and(|hop| hop.neighbour == source)
            && let Some(link) = self.link_mut(device)
        {
            let waiting = link.neighbours.heard(now, source, station);
            self.release(device, waiting, station);
        }
    }
}

/// How octets that can't be read are counted.
pub(super) fn malformed(error: Malformed) -> Discard {
    match error {
        Malformed::Checksum => Discard::Checksum,
        Malformed::Truncated | Malformed::Field => Discard::Malformed,
    }
}
