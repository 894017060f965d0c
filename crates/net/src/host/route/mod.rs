//! Which addresses are ours, which neighbour leads where, and by which link.
//!
//! RFC 1122 §3.3.1 (routing in a host), §3.2.1.3 (addresses), RFC 4861 §5.2 (next hops over IPv6). Which of our addresses a packet is
//! from is `source`'s to say, how large it may be `path`'s.
//!
//! # Theory of operation
//!
//! The model is the strong one of RFC 1122 §3.3.4.2: an address belongs to its link. What is for it has to come by that link, and what is
//! from it leaves by that link, along the routes of that link, though two links may be in the same network. So a reply takes the way that
//! the question took, and nobody reaches an address by a link that it was not given to. A host that accepts anything is a router to its
//! links, not a host: any of its addresses is its own by any link (RFC 1812 §5.2.3), and a route's link is the packet's.
//!
//! Of all networks and routes that hold a destination the narrowest leads; of equal ones, a network before a route, and an earlier link
//! before a later.

mod path;
mod source;

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wharf_port::Device;

use self::path::Paths;
use super::Host;
use super::autoconf::Autoconf;
use super::config::{Config, MTU_MIN, Route};
use super::egress::HOP_LIMIT;
use super::keys::Keyed;
use crate::cidr::Cidr;

/// For whom a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// One of our own addresses.
    Own,
    /// An address that we answer for.
    Foreign,
    /// A multicast group, or everybody.
    Group,
}

/// The host's addresses, routes and paths.
#[derive(Debug)]
pub(super) struct Routes {
    links: Vec<Facts>,
    addresses: Vec<Own>,
    /// The narrowest first.
    routes: Vec<(Device, Route)>,
    /// What routers have told of: networks without a router, and default routers, the best first.
    prefixes: Vec<(Device, Cidr)>,
    routers: Vec<(Device, IpAddr)>,
    anything: bool,
    paths: Paths,
    changes: u64,
}

/// What is known of a link.
#[derive(Clone, Copy, Debug)]
struct Facts {
    device: Device,
    mtu: u16,
    /// Hops that packets over IPv6 may go, and how large they may be, if a router says so.
    hop_limit: u8,
    mtu_v6: u16,
}

/// One of our addresses, with its network.
#[derive(Clone, Copy, Debug)]
struct Own {
    device: Device,
    cidr: Cidr,
    deprecated: bool,
}

impl Own {
    /// Whether a packet that came by `device` may be for it; what comes from the host itself may be for any.
    fn is_on(&self, device: Device) -> bool {
        device == self.device || device == Host::LOOPBACK
    }
}

/// Where a packet goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NextHop {
    pub(super) device: Device,
    pub(super) neighbour: IpAddr,
}

impl Routes {
    pub(super) fn new(config: &Config) -> Self {
        let mut routes = Self {
            links: Vec::new(),
            addresses: Vec::new(),
            routes: Vec::new(),
            prefixes: Vec::new(),
            routers: Vec::new(),
            anything: config.accept_anything,
            paths: Paths::new(Keyed::new(&config.seed)),
            changes: 0,
        };
        for (device, link) in config.links() {
            routes.links.push(Facts {
                device,
                mtu: link.mtu.max(MTU_MIN),
                hop_limit: HOP_LIMIT,
                mtu_v6: u16::MAX,
            });
            // Who configures itself probes addresses first.
            let now = |own: &&Cidr| link.autoconfiguration.is_none() || own.address().is_ipv4();
            let own = link.addresses.iter().filter(now).map(|cidr| Own {
                device,
                cidr: *cidr,
                deprecated: false,
            });
            routes.addresses.extend(own);
            let ways = link.routes.iter().map(|route| (device, *route));
            routes.routes.extend(ways);
        }
        // Stable: of equal ones the first stays so.
        let narrow = |(_, route): &(Device, Route)| core::cmp::Reverse(route.network.prefix());
        routes.routes.sort_by_key(narrow);
        routes
    }

    /// Takes over what a host that configures itself has over IPv6 on a link.
    pub(super) fn adopt(&mut self, device: Device, autoconf: &Autoconf) {
        self.changes += 1;
        self.addresses
            .retain(|own| own.device != device || own.cidr.address().is_ipv4());
        let learnt = autoconf.addresses();
        self.addresses.extend(learnt.map(|(cidr, deprecated)| Own {
            device,
            cidr,
            deprecated,
        }));
        self.prefixes.retain(|(other, _)| *other != device);
        let prefixes = autoconf.prefixes();
        self.prefixes
            .extend(prefixes.map(|prefix| (device, prefix)));
        self.routers.retain(|(other, _)| *other != device);
        let routers = autoconf.routers();
        self.routers.extend(routers.map(|router| (device, router)));
    }

    /// What a router tells of its link. RFC 4861 §6.3.4: 0 is nothing told; the MTU is to lie within the least and the link's own.
    pub(super) fn set_link(&mut self, device: Device, hop_limit: u8, mtu: Option<u32>) {
        self.changes += 1;
        let Some(link) = self.links.iter_mut().find(|link| link.device == device) else {
            return;
        };
        if hop_limit > 0 {
            link.hop_limit = hop_limit;
        }
        let possible = mtu.and_then(|mtu| u16::try_from(mtu).ok());
        if let Some(mtu) = possible.filter(|mtu| (MTU_MIN..=link.mtu).contains(mtu)) {
            link.mtu_v6 = mtu;
        }
    }

    /// How often any of it has changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    fn facts(&self, device: Device) -> &Facts {
        let found = self.links.iter().find(|link| link.device == device);
        // What is within the host has no facts; those of the first link do no harm there.
        found.unwrap_or(&self.links[0])
    }

    /// Hops that a packet may go.
    pub(super) fn hop_limit(&self, device: Device, destination: IpAddr) -> u8 {
        match destination {
            IpAddr::V4(_) => HOP_LIMIT,
            IpAddr::V6(_) => self.facts(device).hop_limit,
        }
    }

    /// Our address on a link, unspecified if there is none.
    pub(super) fn link_local(&self, device: Device) -> Ipv6Addr {
        let link_local = |own: &Own| match own.cidr.address() {
            IpAddr::V6(address) if own.device == device && address.is_unicast_link_local() => {
                Some(address)
            }
            _ => None,
        };
        let found = self.addresses.iter().find_map(link_local);
        found.unwrap_or(Ipv6Addr::UNSPECIFIED)
    }

    /// All that are the host's own.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Cidr> {
        self.addresses.iter().map(|own| own.cidr)
    }

    /// Whether an address is the host's own.
    pub(super) fn is_own(&self, address: IpAddr) -> bool {
        self.device_of(address).is_some()
    }

    /// Whether packets for an address may come by a link: see the module.
    pub(super) fn is_own_on(&self, device: Device, address: IpAddr) -> bool {
        let same = |own: &&Own| own.cidr.address() == address;
        let mut own = self.addresses.iter().filter(same);
        own.any(|own| self.anything || own.is_on(device))
    }

    /// The link that has an own address.
    pub(super) fn device_of(&self, address: IpAddr) -> Option<Device> {
        let own = self.addresses.iter();
        own.filter(|own| own.cidr.address() == address)
            .map(|own| own.device)
            .next()
    }

    /// Whether packets to an address stay within the host.
    pub(super) fn is_internal(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.is_own(address)
    }

    /// Whether everybody on an attached network is meant.
    pub(super) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        address.is_broadcast() || self.network_of(address).is_some()
    }

    /// The link of the network whose broadcast address this is.
    pub(super) fn network_of(&self, broadcast: Ipv4Addr) -> Option<Device> {
        let meant = |own: &&Own| own.cidr.broadcast() == Some(broadcast);
        self.addresses.iter().find(meant).map(|own| own.device)
    }

    /// For whom a packet to this address is that came by a link, or from the host itself; nothing if not for us.
    pub(super) fn scope(&self, device: Device, destination: IpAddr) -> Option<Scope> {
        if self.is_own_on(device, destination) {
            return Some(Scope::Own);
        }
        let everybody = |v4: Ipv4Addr| {
            let network = |own: &Own| own.is_on(device) && own.cidr.broadcast() == Some(v4);
            v4.is_broadcast() || self.addresses.iter().any(network)
        };
        let everybody = matches!(destination, IpAddr::V4(v4) if everybody(v4));
        if destination.is_multicast() || everybody {
            return Some(Scope::Group);
        }
        let impossible = destination.is_loopback() || destination.is_unspecified();
        (self.anything && !impossible).then_some(Scope::Foreign)
    }

    /// Whether a packet from outside may have this source. RFC 1122 §3.2.1.3, RFC 4291 §2.5.3, §2.7.
    pub(super) fn is_possible_source(&self, source: IpAddr) -> bool {
        if source.is_multicast()
            || source.is_loopback()
            || source.is_unspecified()
            || self.is_own(source)
        {
            return false;
        }
        match source {
            IpAddr::V4(v4) => !self.is_broadcast(v4) && v4.octets()[0] != 0 && v4.octets()[0] < 240,
            IpAddr::V6(v6) => v6.to_ipv4_mapped().is_none(),
        }
    }

    /// The link that a packet has to leave by, if its source address says so: see the module.
    pub(super) fn link_of(&self, source: IpAddr) -> Option<Device> {
        if self.anything || self.links.len() == 1 {
            return None;
        }
        self.device_of(source)
    }

    /// The neighbour through which a destination is reached, by one link or by any; nothing when there is no way.
    pub(super) fn next_hop(&self, only: Option<Device>, destination: IpAddr) -> Option<NextHop> {
        if is_link_local(destination) {
            return Some(NextHop {
                device: only.unwrap_or(Host::LINK),
                neighbour: destination,
            });
        }
        let usable = |device: Device| only.is_none_or(|only| only == device);
        let own = self.addresses.iter().map(|own| (own.device, own.cidr));
        let on_link = own
            .chain(self.prefixes.iter().copied())
            .filter(|(device, network)| usable(*device) && network.contains(destination));
        // The first of the narrowest: max_by_key would take the last.
        let on_link = on_link.min_by_key(|(_, network)| core::cmp::Reverse(network.prefix()));
        let mut routes = self.routes.iter();
        let route =
            routes.find(|(device, route)| usable(*device) && route.network.contains(destination));
        if let Some((device, network)) = on_link
            && route.is_none_or(|(_, route)| route.network.prefix() <= network.prefix())
        {
            return Some(NextHop {
                device,
                neighbour: destination,
            });
        }
        // RFC 4861 §6.3.6: a router that answers, as far as is known, is the first.
        let mut routers = self.routers.iter().filter(|_| destination.is_ipv6());
        let router = routers.find(|(device, _)| usable(*device));
        let hop = match (route, router) {
            (Some((device, route)), _) => (*device, route.gateway),
            (None, Some(router)) => *router,
            (None, None) if self.anything => (only.unwrap_or(Host::LINK), destination),
            (None, None) => return None,
        };
        let (device, neighbour) = hop;
        Some(NextHop { device, neighbour })
    }

    /// The first own address of the family, of a link or of any.
    pub(super) fn own(&self, device: Option<Device>, like: IpAddr) -> Option<IpAddr> {
        let near = |own: &&Own| device.is_none_or(|device| own.is_on(device));
        let mut addresses = self.addresses.iter().filter(near);
        addresses
            .find(|own| own.cidr.address().is_ipv4() == like.is_ipv4())
            .map(|own| own.cidr.address())
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_multicast(),
    }
}

#[cfg(test)]
mod tests;
