//! A packet on its way out: what it is to be, and the frames that it becomes.
//!
//! RFC 791 §2.3 and RFC 8200 §4.5 (fragmentation). Where it goes is [`egress`](super::egress)'s to say.

use alloc::boxed::Box;
use bytes::Bytes;
use core::net::{IpAddr, Ipv6Addr};
use wharf_port::{Device, Protocol};

use super::egress::HOP_LIMIT;
use super::event::SocketId;
use crate::frame::{Body, Checksum, Frame, Offload, Segmentation, TRANSPORT};
use crate::wire::checksum::Sum;
use crate::wire::ethernet::{self, EtherType};
use crate::wire::{extension, ipv4, ipv4_options, ipv6};

const TCP: u8 = Protocol::Tcp.number();
const UDP: u8 = Protocol::Udp.number();
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
    /// IPv6: the flow that it belongs to, 20 bits; 0 for none.
    pub(super) flow_label: u32,
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

/// What a packet tells those on its way.
#[derive(Debug)]
pub(super) enum Marking {
    Plain,
    /// Routers are to look at it though it is not for them: RFC 2113, RFC 2711.
    RouterAlert,
    /// Options of an IPv4 header, of which only the first fragment has them.
    First(Box<[u8]>),
}

impl Marking {
    fn options(&self) -> &[u8] {
        match self {
            Self::Plain => &[],
            Self::RouterAlert => &ipv4_options::ROUTER_ALERT,
            Self::First(options) => options,
        }
    }
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
            flow_label: 0,
            frame: Frame::of(body),
            checksum_at: None,
            segment: Segmentation::None,
            whole: Whole::IfItFits,
            own_copy: OwnCopy::Never,
            socket: None,
            device: None,
        }
    }

    /// The octets of the packet, as an ICMP error quotes them.
    pub(super) fn quote(mut self) -> Bytes {
        let length = self.frame.len();
        self.put_ip(length, 0, (0, false));
        self.frame.to_ethernet()
    }

    /// The ports of the transport header, in four octets; zero where there are none.
    pub(super) fn ports(&self) -> [u8; 4] {
        let header = self.frame.headers().first_chunk();
        match self.protocol {
            TCP | UDP => header.copied().unwrap_or_default(),
            _ => [0; 4],
        }
    }

    pub(super) fn ip_len(&self) -> usize {
        match (self.source, &self.marking) {
            (IpAddr::V4(_), marking) => ipv4::LEN + marking.options().len(),
            (IpAddr::V6(_), Marking::RouterAlert) => ipv6::LEN + ALERT_LEN_V6,
            (IpAddr::V6(_), _) => ipv6::LEN,
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
                match self.marking.options() {
                    [] => self.put(&header.emit()),
                    options => {
                        let header = header.emit_with(options);
                        self.put(&header);
                    }
                }
            }
            (source, destination) => {
                let (next_header, options) = match self.marking {
                    Marking::RouterAlert => {
                        self.put(&extension::router_alert(self.protocol));
                        (extension::HOP_BY_HOP_HEADER, ALERT_LEN_V6)
                    }
                    Marking::Plain | Marking::First(_) => (self.protocol, 0),
                };
                let header = ipv6::Header {
                    traffic_class: self.traffic_class,
                    flow_label: self.flow_label,
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
pub(super) fn fragments(
    packet: &mut Outbound,
    ident: u32,
    mtu: usize,
) -> impl Iterator<Item = Frame> {
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
            if matches!(packet.marking, Marking::First(_)) {
                packet.marking = Marking::Plain;
            }
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

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V6(v6) => v6,
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
    }
}
