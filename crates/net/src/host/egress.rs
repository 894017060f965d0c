//! From transport to link: route, find the neighbour, and queue. What goes is an [`Outbound`].
//!
//! RFC 1122 §3.3.1, RFC 6864 (identification).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wharf_port::Device;

use super::Host;
use super::edge;
use super::event::SocketId;
use super::links::Link;
use super::neighbour::{Waiting, Way};
use super::outbound::{Outbound, OwnCopy, Whole, fragments, whole_frame};
use super::route::{NextHop, Routes};
use super::shortcut::Shortcut;
use crate::discard::Discard;
use crate::frame::{Frame, Segmentation};
use crate::time::Instant;
use crate::wire::ethernet::Mac;

/// Frames that may wait for the link.
const MAX_OUTPUT: usize = 4096;
/// RFC 1122 §3.2.1.7, and the value in IANA's registry of IP parameters.
pub(super) const HOP_LIMIT: u8 = 64;

/// No address, of the same family.
fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

impl Host {
    /// Sends a packet: at once, or when its neighbour is found.
    pub(super) fn send(&mut self, now: Instant, packet: &mut Outbound) -> Result<(), Discard> {
        let destination = packet.destination;
        let only = packet.device.or_else(|| self.routes.link_of(packet.source));
        let Some((hop, mtu)) = self.road(now, only, packet.source, destination) else {
            return Err(self.drop_for(Discard::NoRoute));
        };
        let device = hop.device();
        packet
            .hop_limit
            .get_or_insert(self.routes.hop_limit(device, destination));
        if packet.source.is_ipv6() {
            packet.flow_label = self.keys.flow_label(packet);
        }
        let copied = packet.own_copy == OwnCopy::IfHeard && self.hears(device, destination);
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

    /// Where a destination is reached, from a source and by a link, if one is named; and how large packets may be on the way.
    fn road(
        &mut self,
        now: Instant,
        only: Option<Device>,
        source: IpAddr,
        destination: IpAddr,
    ) -> Option<(Hop, usize)> {
        let changes = changes(&self.links, &self.routes);
        if let Some(known) = self.shortcuts.find(now, (only, destination), changes) {
            let station = Hop::Station(known.device, known.mac);
            return Some((station, usize::from(known.mtu)));
        }
        let hop = self.hop(only, source, destination)?;
        let (mtu, lasts) = match hop {
            Hop::Internal => (u16::MAX, now),
            Hop::Station(device, _) | Hop::Neighbour(device, _) => {
                self.routes.path(now, device, destination)
            }
        };
        if let Hop::Neighbour(device, address) = hop
            && let Some((mac, until)) = self.link(device)?.neighbours.at_hand(now, address)
        {
            self.shortcuts.note(Shortcut {
                only,
                destination,
                device,
                mac,
                mtu,
                until: until.min(lasts),
                changes,
            });
            return Some((Hop::Station(device, mac), usize::from(mtu)));
        }
        Some((hop, usize::from(mtu)))
    }

    /// Where a destination is reached, from a source and by a link, if one is named.
    fn hop(&self, only: Option<Device>, source: IpAddr, destination: IpAddr) -> Option<Hop> {
        if self.routes.is_internal(destination) {
            return Some(Hop::Internal);
        }
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
        frame: &mut Frame,
        socket: Option<SocketId>,
    ) -> Result<(), Discard> {
        match hop {
            Hop::Internal => self.put_internal(frame),
            Hop::Station(device, mac) => self.put(device, frame, mac),
            Hop::Neighbour(device, address) => {
                let frame = frame.take();
                self.send_neighbour(now, (device, address), Waiting { frame, socket })
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
        (device, address): (Device, IpAddr),
        waiting: Waiting,
    ) -> Result<(), Discard> {
        let Some(link) = self.link_mut(device) else {
            return Err(self.drop_for(Discard::NoRoute));
        };
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
            Some(mut frame) => self.put(device, &mut frame, mac),
            None => Ok(()),
        }
    }

    /// Queues a frame for a station of the link, cut up as far as the link needs it.
    pub(super) fn put(
        &mut self,
        device: Device,
        frame: &mut Frame,
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

impl Hop {
    fn device(self) -> Device {
        match self {
            Self::Internal => Host::LOOPBACK,
            Self::Station(device, _) | Self::Neighbour(device, _) => device,
        }
    }
}

/// How often that on which shortcuts rest has changed.
pub(super) fn changes(links: &[Link], routes: &Routes) -> u64 {
    let links = links.iter().map(|link| link.neighbours.changes());
    routes.changes() + links.sum::<u64>()
}
