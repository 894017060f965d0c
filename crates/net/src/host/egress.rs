//! From transport to link: route, fragment if need be, find the neighbour, and queue.
//!
//! RFC 791 §2.3 and RFC 8200 §4.5 (fragmentation), RFC 6864 (identification).

use bytes::{Bytes, BytesMut};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use smallvec::SmallVec;
use wharf_port::Device;

use super::Host;
use super::edge;
use super::event::SocketId;
use super::links::Link;
use super::neighbour::{Waiting, Way};
use super::route::NextHop;
use crate::discard::Discard;
use crate::frame::{Checksum, Frame, Head, Offload, Segmentation, empty_head};
use crate::time::Instant;
use crate::wire::checksum::Sum;
use crate::wire::ethernet::{self, EtherType, Mac};
use crate::wire::{extension, ipv4, ipv6, virtio};

/// Frames that may wait for the link.
const MAX_OUTPUT: usize = 4096;
/// RFC 1122 §3.2.1.7, and the value in IANA's registry of IP parameters.
pub(super) const HOP_LIMIT: u8 = 64;
/// Octets of the hop-by-hop options that hold a router alert.
const ALERT_LEN_V6: usize = 8;

/// A transport header, checksum field zero.
pub(super) type Transport = SmallVec<[u8; 64]>;
/// Slices of payload.
pub(super) type Body = SmallVec<[Bytes; 4]>;

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
    pub(super) transport: Transport,
    pub(super) body: Body,
    /// Where in `transport` the checksum is still to be made, over a pseudo-header; nothing when it is there.
    pub(super) checksum_at: Option<u16>,
    pub(super) segment: Segmentation,
    /// Whether it may be cut into fragments on the way.
    pub(super) whole: Whole,
    /// Whether the host hears it itself.
    pub(super) own_copy: OwnCopy,
    /// Whom to tell if the neighbour does not answer.
    pub(super) socket: Option<SocketId>,
    /// The link that it has to leave by; nothing for the one that its addresses ask for.
    pub(super) device: Option<Device>,
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
    /// A packet with a transport header and no payload.
    pub(super) fn new(source: IpAddr, destination: IpAddr, protocol: u8, transport: &[u8]) -> Self {
        Self {
            source,
            destination,
            protocol,
            traffic_class: 0,
            hop_limit: None,
            marking: Marking::Plain,
            transport: SmallVec::from_slice(transport),
            body: Body::new(),
            checksum_at: None,
            segment: Segmentation::None,
            whole: Whole::IfItFits,
            own_copy: OwnCopy::Never,
            socket: None,
            device: None,
        }
    }

    /// The octets of the packet, as an ICMP error quotes them.
    pub(super) fn quote(&self) -> Bytes {
        let mut packet = BytesMut::new();
        packet.extend_from_slice(&self.ip_header(self.payload_len(), 0, (0, false)));
        packet.extend_from_slice(&self.transport);
        packet.freeze()
    }

    fn payload_len(&self) -> usize {
        let body: usize = self.body.iter().map(Bytes::len).sum();
        self.transport.len() + body
    }

    fn ip_len(&self) -> usize {
        match (self.source, self.marking) {
            (IpAddr::V4(_), Marking::Plain) => ipv4::LEN,
            (IpAddr::V4(_), Marking::RouterAlert) => ipv4::ALERT_LEN,
            (IpAddr::V6(_), Marking::Plain) => ipv6::LEN,
            (IpAddr::V6(_), Marking::RouterAlert) => ipv6::LEN + ALERT_LEN_V6,
        }
    }

    fn pseudo(&self) -> Sum {
        Sum::pseudo(
            self.source,
            self.destination,
            self.protocol,
            self.payload_len(),
        )
    }

    /// The IP header of one packet. `fragment`: offset and whether more follow, IPv4 only.
    fn ip_header(&self, payload: usize, ident: u32, fragment: (u16, bool)) -> SmallVec<[u8; 64]> {
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
                    Marking::Plain => SmallVec::from_slice(&header.emit()),
                    Marking::RouterAlert => SmallVec::from_slice(&header.emit_alert()),
                }
            }
            (source, destination) => {
                let (next_header, options) = match self.marking {
                    Marking::Plain => (self.protocol, 0),
                    Marking::RouterAlert => (extension::HOP_BY_HOP_HEADER, ALERT_LEN_V6),
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
                let mut bytes = SmallVec::from_slice(&header.emit());
                if options > 0 {
                    bytes.extend_from_slice(&extension::router_alert(self.protocol));
                }
                bytes
            }
        }
    }
}

/// No address, of the same family.
fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V6(v6) => v6,
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
    }
}

/// A head up to the IP header; the hardware addresses are filled in when the neighbour is known.
fn head(packet: &Outbound, ip: &[u8]) -> Head {
    let mut head = empty_head();
    let ethertype = if packet.source.is_ipv4() {
        EtherType::Ipv4
    } else {
        EtherType::Ipv6
    };
    let ethernet = ethernet::Header {
        destination: Mac::default(),
        source: Mac::default(),
        ethertype,
    };
    head.extend_from_slice(&ethernet.emit());
    head.extend_from_slice(ip);
    head
}

impl Host {
    /// Sends a packet: at once, or when its neighbour is found.
    pub(super) fn send(&mut self, now: Instant, mut packet: Outbound) -> Result<(), Discard> {
        let destination = packet.destination;
        let Some(hop) = self.hop(packet.device, packet.source, destination) else {
            return Err(self.drop_for(Discard::NoRoute));
        };
        let (device, mtu) = match hop {
            Hop::Internal => (Self::LOOPBACK, u16::MAX),
            Hop::Station(device, _) | Hop::Neighbour(device, _) => {
                (device, self.routes.mtu_on(now, device, destination))
            }
        };
        packet
            .hop_limit
            .get_or_insert(self.routes.hop_limit(device, destination));
        let copied = packet.own_copy == OwnCopy::IfHeard && self.hears(device, destination);
        let mtu = usize::from(mtu);
        let length = packet.ip_len() + packet.payload_len();
        if length <= mtu || packet.segment != Segmentation::None || packet.whole == Whole::Always {
            let count = match packet.segment {
                Segmentation::None => 1,
                Segmentation::Tcp { mss: size } | Segmentation::Udp { size } => {
                    length.div_ceil(usize::from(size.max(1)))
                }
            };
            let ident = self
                .keys
                .ident(packet.source, packet.destination, count as u32);
            let socket = packet.socket;
            let frame = whole_frame(packet, ident);
            if copied {
                self.put_internal(frame.clone())?;
            }
            return self.route_frame(now, hop, frame, socket);
        }
        let ident = self.keys.ident(packet.source, packet.destination, 1);
        for frame in fragments(&packet, ident, mtu) {
            if copied {
                self.put_internal(frame.clone())?;
            }
            self.route_frame(now, hop, frame, packet.socket)?;
        }
        Ok(())
    }

    /// Whether there is any way to a destination, for a socket on a device or on none.
    pub(super) fn has_way(&self, device: Option<Device>, destination: IpAddr) -> bool {
        let link = device.filter(|device| *device != Self::LOOPBACK);
        let hop = self.hop(link, unspecified(destination), destination);
        hop.is_some() && self.reaches(device, destination)
    }

    /// Whether what a socket on this device sends may go to a destination.
    pub(super) fn reaches(&self, device: Option<Device>, destination: IpAddr) -> bool {
        match device {
            None => true,
            Some(Self::LOOPBACK) => self.routes.is_internal(destination),
            Some(device) => self.link(device).is_some() && !destination.is_loopback(),
        }
    }

    /// Where a destination is reached, from a source and by a link, if one is named.
    fn hop(&self, device: Option<Device>, source: IpAddr, destination: IpAddr) -> Option<Hop> {
        if self.routes.is_internal(destination) {
            return Some(Hop::Internal);
        }
        let only = device.or_else(|| self.routes.link_of(source));
        // RFC 1112 §6.1: a group is wherever it is asked for; without a word about that, where the first link is.
        let near = || {
            only.or_else(|| self.routes.device_of(source))
                .unwrap_or(Self::LINK)
        };
        if let Some(mac) = Mac::of_group(destination) {
            return Some(Hop::Station(near(), mac));
        }
        match destination {
            IpAddr::V4(v4) if self.routes.is_broadcast(v4) => {
                let network = self.routes.network_of(v4);
                let device = only.or(network).unwrap_or_else(near);
                Some(Hop::Station(device, Mac::BROADCAST))
            }
            _ => {
                let hop = self.routes.next_hop(only, destination)?;
                let device = self.seen_on(&hop).unwrap_or(hop.device);
                Some(Hop::Neighbour(device, hop.neighbour))
            }
        }
    }

    /// Where a host that accepts anything knows a neighbour from, that no network says anything about.
    fn seen_on(&self, hop: &NextHop) -> Option<Device> {
        if !self.config.accept_anything || self.links.len() == 1 {
            return None;
        }
        let knows = |link: &&Link| link.neighbours.has(hop.neighbour);
        let mut known = self.links.iter().filter(knows).map(|link| link.device);
        let first = known.next()?;
        // Known on its route's link, too: that one.
        let own = first == hop.device || known.any(|device| device == hop.device);
        (!own).then_some(first)
    }

    fn route_frame(
        &mut self,
        now: Instant,
        hop: Hop,
        frame: Frame,
        socket: Option<SocketId>,
    ) -> Result<(), Discard> {
        match hop {
            Hop::Internal => self.put_internal(frame),
            Hop::Station(device, mac) => self.put(device, frame, mac),
            Hop::Neighbour(device, address) => {
                self.send_neighbour(now, (device, address), Waiting { frame, socket })
            }
        }
    }

    fn put_internal(&mut self, frame: Frame) -> Result<(), Discard> {
        if self.internal.len() >= MAX_OUTPUT {
            return Err(self.drop_for(Discard::OutputLimit));
        }
        self.internal.push_back(frame);
        Ok(())
    }

    fn send_neighbour(
        &mut self,
        now: Instant,
        (device, address): (Device, IpAddr),
        waiting: Waiting,
    ) -> Result<(), Discard> {
        let Some(link) = self.link_mut(device) else {
            return Err(self.drop_for(Discard::NoRoute));
        };
        if let Some(mac) = link.neighbours.at_hand(now, address) {
            return self.put(device, waiting.frame, mac);
        }
        let (way, frame) = link.neighbours.way(now, address, waiting);
        self.count_evicted();
        let mac = match way {
            Way::Known(mac) => mac,
            Way::Ask => {
                self.ask(device, address, None);
                return Ok(());
            }
            Way::Asked => return Ok(()),
            Way::Full => return Err(self.drop_for(Discard::NoNeighbour)),
        };
        match frame {
            Some(frame) => self.put(device, frame, mac),
            None => Ok(()),
        }
    }

    /// Queues a frame for a station of the link, cut up as far as the link needs it.
    pub(super) fn put(
        &mut self,
        device: Device,
        mut frame: Frame,
        destination: Mac,
    ) -> Result<(), Discard> {
        let room = |link: &&mut Link| link.output.len() < MAX_OUTPUT;
        let Some(link) = self.link_mut(device).filter(room) else {
            return Err(self.drop_for(Discard::OutputLimit));
        };
        if let Some(addresses) = frame.headers_mut().get_mut(..12) {
            addresses[..6].copy_from_slice(&destination.0);
            addresses[6..].copy_from_slice(&link.mac.0);
        }
        edge::finish(frame, link.capabilities, &mut link.output);
        Ok(())
    }
}

impl Host {
    /// Whether a datagram would find room among the frames for the link, or for any of several. If not, there will be once
    /// [`transmit`](Self::transmit) has been called.
    #[must_use]
    pub fn has_output_room(&self) -> bool {
        let room = |link: &Link| link.output.len() < MAX_OUTPUT;
        self.links.iter().all(room) && self.internal.len() < MAX_OUTPUT
    }
}

/// Where a packet goes next.
#[derive(Clone, Copy, Debug)]
enum Hop {
    /// Back into the host.
    Internal,
    /// By a link, to a station or group that is known.
    Station(Device, Mac),
    /// By a link, to a neighbour, once it is found.
    Neighbour(Device, IpAddr),
}

pub(super) fn whole_frame(packet: Outbound, ident: u32) -> Frame {
    let ip = packet.ip_header(packet.payload_len(), ident, (0, false));
    let mut head = head(&packet, &ip);
    let start = head.len();
    head.extend_from_slice(&packet.transport);
    let checksum = match packet.checksum_at {
        None => Checksum::Complete,
        Some(offset) => {
            let at = start + usize::from(offset);
            head[at..at + 2].copy_from_slice(&packet.pseudo().folded().to_be_bytes());
            let start = (start - virtio::LEN) as u16;
            Checksum::Partial { start, offset }
        }
    };
    let segment = packet.segment;
    Frame::build(head, packet.body, Offload { checksum, segment })
}

/// The frames of a packet that is larger than the MTU.
fn fragments(packet: &Outbound, ident: u32, mtu: usize) -> impl Iterator<Item = Frame> {
    let payload = completed(packet);
    let v6 = packet.source.is_ipv6();
    let overhead = packet.ip_len() + if v6 { ipv6::FRAGMENT_LEN } else { 0 };
    let step = (mtu - overhead) & !7;
    (0..payload.len()).step_by(step).map(move |at| {
        let piece = payload.slice(at..(at + step).min(payload.len()));
        let more = at + piece.len() < payload.len();
        let head = if v6 {
            let fragment = ipv6::Fragment {
                next_header: packet.protocol,
                offset: at as u16,
                more,
                ident,
            };
            let mut ip = packet.ip_header(piece.len() + ipv6::FRAGMENT_LEN, ident, (0, false));
            ip[6] = extension::FRAGMENT_HEADER;
            let mut head = head(packet, &ip);
            head.extend_from_slice(&fragment.emit());
            head
        } else {
            let ip = packet.ip_header(piece.len(), ident, (at as u16, more));
            head(packet, &ip)
        };
        Frame::build(head, SmallVec::from_iter([piece]), Offload::default())
    })
}

/// Transport header and payload in one, checksum made.
fn completed(packet: &Outbound) -> Bytes {
    let mut payload = BytesMut::with_capacity(packet.payload_len());
    payload.extend_from_slice(&packet.transport);
    packet
        .body
        .iter()
        .for_each(|slice| payload.extend_from_slice(slice));
    if let Some(offset) = packet.checksum_at {
        let mut sum = packet.pseudo();
        sum.add(&payload);
        let at = usize::from(offset);
        let checksum = crate::wire::udp::never_zero(sum.checksum());
        payload[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
    payload.freeze()
}
