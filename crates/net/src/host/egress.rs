//! From transport to link: route, fragment if need be, find the neighbour, and queue.
//!
//! RFC 791 §2.3 and RFC 8200 §4.5 (fragmentation), RFC 6864 (identification).

use bytes::Bytes;
use core::net::IpAddr;
use wharf_port::Device;

use super::Host;
use super::discard::Discard;
use super::edge;
use super::event::SocketId;
use super::neighbour::{Waiting, Way};
use super::shortcut::Shortcut;
use crate::frame::{Body, Checksum, Frame, Offload, Segmentation, TRANSPORT};
use crate::time::Instant;
use crate::wire::checksum::Sum;
use crate::wire::ethernet::{self, EtherType, Mac};
use crate::wire::{extension, ipv4, ipv6};

/// Frames that may wait for the link.
const MAX_OUTPUT: usize = 4096;
/// RFC 1122 §3.2.1.7, and the value in IANA's registry of IP parameters.
pub(super) const HOP_LIMIT: u8 = 64;
/// Octets of the hop-by-hop options that hold a router alert.
const ALERT_LEN_V6: usize = 8;

/// A packet to be sent.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) traffic_class: u8,
    /// Nothing for the host's.
    pub(super) hop_limit: Option<u8>,
    pub(super) marking: Marking,
    /// The transport header, checksum field zero, and the payload; the other headers are put in front.
    pub(super) frame: Frame,
    /// Where in the transport header the checksum is still to be made, over a pseudo-header; nothing when it is there.
    pub(super) checksum_at: Option<u16>,
    pub(super) segment: Segmentation,
    /// Whether it may be cut into fragments on the way.
    pub(super) whole: Whole,
    /// Whether the host hears it itself.
    pub(super) own_copy: OwnCopy,
    /// Whom to tell if the neighbour does not answer.
    pub(super) socket: Option<SocketId>,
}

/// Whether a packet may be cut into fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    /// It goes whole or not at all: path MTU discovery.
    Always,
    /// It may be cut.
    IfItFits,
}

/// Whether routers are to look at a packet that is not for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marking {
    Plain,
    /// The router alert option: RFC 2113, RFC 2711.
    RouterAlert,
}

/// Whether a packet for a group comes back to the host that sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnCopy {
    Never,
    /// If a socket here has joined the group.
    IfHeard,
}

impl Outbound {
    /// A packet of a transport header, and perhaps what follows it.
    pub(super) fn new(source: IpAddr, destination: IpAddr, protocol: u8, transport: &[u8]) -> Self {
        let (header, rest) = transport.split_at(transport.len().min(TRANSPORT));
        let mut body = Body::new();
        if !rest.is_empty() {
            body.push(Bytes::copy_from_slice(rest));
        }
        let mut packet = Self::of(source, destination, protocol, body);
        packet
            .frame
            .put_in_front(header.len())
            .copy_from_slice(header);
        packet
    }

    /// A packet with this payload, and no transport header yet.
    #[inline]
    pub(super) fn of(source: IpAddr, destination: IpAddr, protocol: u8, body: Body) -> Self {
        Self {
            source,
            destination,
            protocol,
            traffic_class: 0,
            hop_limit: None,
            marking: Marking::Plain,
            frame: Frame::of(body),
            checksum_at: None,
            segment: Segmentation::None,
            whole: Whole::IfItFits,
            own_copy: OwnCopy::Never,
            socket: None,
        }
    }

    /// The octets of the packet, as an ICMP error quotes them.
    pub(super) fn quote(mut self) -> Bytes {
        let length = self.frame.len();
        self.put_ip(length, 0, (0, false));
        self.frame.to_ethernet()
    }

    fn ip_len(&self) -> usize {
        match (self.source, self.marking) {
            (IpAddr::V4(_), Marking::Plain) => ipv4::LEN,
            (IpAddr::V4(_), Marking::RouterAlert) => ipv4::ALERT_LEN,
            (IpAddr::V6(_), Marking::Plain) => ipv6::LEN,
            (IpAddr::V6(_), Marking::RouterAlert) => ipv6::LEN + ALERT_LEN_V6,
        }
    }

    fn pseudo(&self, length: usize) -> Sum {
        Sum::pseudo(self.source, self.destination, self.protocol, length)
    }

    /// Puts the IP header of one packet in front, and the Ethernet header, whose hardware addresses are filled in when the neighbour is
    /// known. `fragment`: offset and whether more follow.
    fn put_headers(&mut self, payload: usize, ident: u32, fragment: (u16, bool)) {
        self.put_ip(payload, ident, fragment);
        let ethertype = if self.source.is_ipv4() {
            EtherType::Ipv4
        } else {
            EtherType::Ipv6
        };
        let ethernet = self.frame.put_in_front(ethernet::LEN);
        ethernet[12..].copy_from_slice(&u16::from(ethertype).to_be_bytes());
    }

    fn put_ip(&mut self, payload: usize, ident: u32, fragment: (u16, bool)) {
        let payload_len = u16::try_from(payload).unwrap_or(u16::MAX);
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let (fragment_offset, more_fragments) = fragment;
                let header = ipv4::Header {
                    traffic_class: self.traffic_class,
                    payload_len,
                    ident: ident as u16,
                    dont_fragment: self.whole == Whole::Always,
                    more_fragments,
                    fragment_offset,
                    ttl: self.hop_limit.unwrap_or(HOP_LIMIT),
                    protocol: self.protocol,
                    source,
                    destination,
                };
                match self.marking {
                    Marking::Plain => self.put(&header.emit()),
                    Marking::RouterAlert => self.put(&header.emit_alert()),
                }
            }
            (source, destination) => {
                let (next_header, options) = match self.marking {
                    Marking::Plain => (self.protocol, 0),
                    Marking::RouterAlert => {
                        self.put(&extension::router_alert(self.protocol));
                        (extension::HOP_BY_HOP_HEADER, ALERT_LEN_V6)
                    }
                };
                let header = ipv6::Header {
                    traffic_class: self.traffic_class,
                    flow_label: 0,
                    payload_len: payload_len.saturating_add(options as u16),
                    next_header,
                    hop_limit: self.hop_limit.unwrap_or(HOP_LIMIT),
                    source: v6(source),
                    destination: v6(destination),
                };
                self.put(&header.emit());
            }
        }
    }

    fn put(&mut self, header: &[u8]) {
        self.frame
            .put_in_front(header.len())
            .copy_from_slice(header);
    }
}

fn v6(address: IpAddr) -> core::net::Ipv6Addr {
    match address {
        IpAddr::V6(v6) => v6,
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
    }
}

impl Host {
    /// Sends a packet: at once, or when its neighbour is found.
    pub(super) fn send(&mut self, now: Instant, packet: &mut Outbound) -> Result<(), Discard> {
        let Some((hop, mtu)) = self.road(now, packet.destination) else {
            return Err(self.drop_for(Discard::NoRoute));
        };
        packet
            .hop_limit
            .get_or_insert(self.routes.hop_limit(packet.destination));
        let copied = packet.own_copy == OwnCopy::IfHeard && self.hears(packet.destination);
        let length = packet.ip_len() + packet.frame.len();
        let socket = packet.socket;
        if length <= mtu || packet.segment != Segmentation::None || packet.whole == Whole::Always {
            let ident = self.ident(packet, length);
            let frame = whole_frame(packet, ident);
            if copied {
                self.put_internal(&mut frame.clone())?;
            }
            return self.route_frame(now, hop, frame, socket);
        }
        let ident = self.keys.ident(packet.source, packet.destination, 1);
        for mut frame in fragments(packet, ident, mtu) {
            if copied {
                self.put_internal(&mut frame.clone())?;
            }
            self.route_frame(now, hop, &mut frame, socket)?;
        }
        Ok(())
    }

    /// The first identification of the packets that one of `length` octets becomes. What never becomes a fragment needs none
    /// (RFC 6864 §4.1).
    fn ident(&mut self, packet: &Outbound, length: usize) -> u32 {
        if packet.whole == Whole::Always || packet.source.is_ipv6() {
            return 0;
        }
        let count = match packet.segment {
            Segmentation::None => 1,
            Segmentation::Tcp { mss: size } | Segmentation::Udp { size } => {
                length.div_ceil(usize::from(size.max(1)))
            }
        };
        self.keys
            .ident(packet.source, packet.destination, count as u32)
    }

    /// Whether there is any way to a destination.
    pub(super) fn has_way(&self, destination: IpAddr) -> bool {
        self.hop(destination).is_some()
    }

    /// Whether what a socket on this device sends may go to a destination.
    pub(super) fn reaches(&self, device: Option<Device>, destination: IpAddr) -> bool {
        match device {
            None => true,
            Some(Self::LOOPBACK) => self.routes.is_internal(destination),
            Some(Self::LINK) => !destination.is_loopback(),
            Some(_) => false,
        }
    }

    /// Where a destination is reached, and how large packets may be on the way.
    fn road(&mut self, now: Instant, destination: IpAddr) -> Option<(Hop, usize)> {
        let changes = self.changes();
        if let Some(known) = self.shortcuts.find(now, destination, changes) {
            return Some((Hop::Station(known.mac), usize::from(known.mtu)));
        }
        let (mtu, lasts) = self.routes.path(now, destination);
        let hop = self.hop(destination)?;
        if let Hop::Neighbour(address) = hop
            && let Some((mac, until)) = self.neighbours.at_hand(now, address)
        {
            self.shortcuts.note(Shortcut {
                destination,
                mac,
                mtu,
                until: until.min(lasts),
                changes,
            });
            return Some((Hop::Station(mac), usize::from(mtu)));
        }
        Some((hop, usize::from(mtu)))
    }

    /// How often that on which shortcuts rest has changed.
    fn changes(&self) -> u64 {
        self.routes.changes() + self.neighbours.changes()
    }

    fn hop(&self, destination: IpAddr) -> Option<Hop> {
        if self.routes.is_internal(destination) {
            return Some(Hop::Internal);
        }
        if let Some(mac) = Mac::of_group(destination) {
            return Some(Hop::Station(mac));
        }
        match destination {
            IpAddr::V4(v4) if self.routes.is_broadcast(v4) => Some(Hop::Station(Mac::BROADCAST)),
            _ => self.routes.next_hop(destination).map(Hop::Neighbour),
        }
    }

    fn route_frame(
        &mut self,
        now: Instant,
        hop: Hop,
        frame: &mut Frame,
        socket: Option<SocketId>,
    ) -> Result<(), Discard> {
        match hop {
            Hop::Internal => self.put_internal(frame),
            Hop::Station(mac) => self.put(frame, mac),
            Hop::Neighbour(address) => {
                let frame = frame.take();
                self.send_neighbour(now, address, Waiting { frame, socket })
            }
        }
    }

    fn put_internal(&mut self, frame: &mut Frame) -> Result<(), Discard> {
        if self.internal.len() >= MAX_OUTPUT {
            return Err(self.drop_for(Discard::OutputLimit));
        }
        self.internal.push_back(frame.take());
        Ok(())
    }

    fn send_neighbour(
        &mut self,
        now: Instant,
        address: IpAddr,
        waiting: Waiting,
    ) -> Result<(), Discard> {
        let (way, frame) = self.neighbours.way(now, address, waiting);
        self.count_evicted();
        let mac = match way {
            Way::Known(mac) => mac,
            Way::Ask => {
                self.ask(address, None);
                return Ok(());
            }
            Way::Asked => return Ok(()),
            Way::Full => return Err(self.drop_for(Discard::NoNeighbour)),
        };
        match frame {
            Some(mut frame) => self.put(&mut frame, mac),
            None => Ok(()),
        }
    }

    /// Queues a frame for a station of the link, cut up as far as the link needs it.
    pub(super) fn put(&mut self, frame: &mut Frame, destination: Mac) -> Result<(), Discard> {
        if self.output.len() >= MAX_OUTPUT {
            return Err(self.drop_for(Discard::OutputLimit));
        }
        if let Some(addresses) = frame.headers_mut().get_mut(..12) {
            addresses[..6].copy_from_slice(&destination.0);
            addresses[6..].copy_from_slice(&self.config.mac.0);
        }
        edge::finish(frame, self.config.capabilities, &mut self.output);
        Ok(())
    }
}

impl Host {
    /// Whether a datagram would find room among the frames for the link. If not, there will be once
    /// [`transmit`](Self::transmit) has been called.
    #[must_use]
    pub fn has_output_room(&self) -> bool {
        self.output.len() < MAX_OUTPUT && self.internal.len() < MAX_OUTPUT
    }
}

/// Where a packet goes next.
#[derive(Clone, Copy, Debug)]
enum Hop {
    /// Back into the host.
    Internal,
    /// To a station or group that is known.
    Station(Mac),
    /// To a neighbour, once it is found.
    Neighbour(IpAddr),
}

/// Puts the headers of a packet that goes whole in front.
pub(super) fn whole_frame(packet: &mut Outbound, ident: u32) -> &mut Frame {
    let length = packet.frame.len();
    let checksum = match packet.checksum_at {
        None => Checksum::Complete,
        Some(offset) => {
            let at = usize::from(offset);
            let pseudo = packet.pseudo(length).folded().to_be_bytes();
            packet.frame.headers_mut()[at..at + 2].copy_from_slice(&pseudo);
            let start = (ethernet::LEN + packet.ip_len()) as u16;
            Checksum::Partial { start, offset }
        }
    };
    packet.put_headers(length, ident, (0, false));
    let segment = packet.segment;
    packet.frame.set_offload(Offload { checksum, segment });
    &mut packet.frame
}

/// The frames of a packet that is larger than the MTU.
fn fragments(packet: &mut Outbound, ident: u32, mtu: usize) -> impl Iterator<Item = Frame> {
    let payload = completed(packet);
    let v6 = packet.source.is_ipv6();
    let overhead = packet.ip_len() + if v6 { ipv6::FRAGMENT_LEN } else { 0 };
    let step = (mtu - overhead) & !7;
    (0..payload.len()).step_by(step).map(move |at| {
        let piece = payload.slice(at..(at + step).min(payload.len()));
        let (length, more) = (piece.len(), at + piece.len() < payload.len());
        packet.frame = Frame::of(Body::from_iter([piece]));
        if v6 {
            let fragment = ipv6::Fragment {
                next_header: packet.protocol,
                offset: at as u16,
                more,
                ident,
            };
            packet.put(&fragment.emit());
            packet.put_headers(length + ipv6::FRAGMENT_LEN, ident, (0, false));
            packet.frame.headers_mut()[ethernet::LEN + 6] = extension::FRAGMENT_HEADER;
        } else {
            packet.put_headers(length, ident, (at as u16, more));
        }
        packet.frame.take()
    })
}

/// Transport header and payload in one, checksum made.
fn completed(packet: &mut Outbound) -> Bytes {
    if let Some(offset) = packet.checksum_at {
        let mut sum = packet.pseudo(packet.frame.len());
        sum.add(packet.frame.headers());
        packet.frame.body().iter().for_each(|slice| sum.add(slice));
        let at = usize::from(offset);
        let checksum = crate::wire::udp::never_zero(sum.checksum());
        packet.frame.headers_mut()[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
    packet.frame.to_ethernet()
}
