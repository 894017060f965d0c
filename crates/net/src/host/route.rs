//! Which addresses are ours, which neighbour leads where, and how large packets may be on the way.
//!
//! RFC 1122 §3.3.1 (routing in a host), §3.2.1.3 (addresses), RFC 1191 and RFC 8201 (path MTU discovery), RFC 4861 §5.2 (next hops over
//! IPv6), RFC 6724 §5 (source addresses, by its rules 1, 2, 3 and 8: own address, scope, not deprecated, longest match; the others
//! are about what this host has not).

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use hashbrown::HashMap;

use super::autoconf::Autoconf;
use super::config::{Config, MTU_MIN, Route};
use super::egress::HOP_LIMIT;
use super::keys::{Keyed, Map};
use crate::cidr::Cidr;
use crate::time::Instant;

/// The smallest path MTU that is believed over IPv4: RFC 791's 68 would make every packet tiny (RFC 1191 §3 allows more).
const PATH_MTU_MIN_V4: u16 = 552;
/// Paths whose MTU is remembered at once.
const MAX_PATHS: usize = 1024;
/// RFC 1191 §6.3: how long a lowered path MTU is kept.
const PATH_LIFETIME: Duration = Duration::from_secs(600);

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
    addresses: Vec<Own>,
    routes: Vec<Route>,
    /// What routers have told of: networks without a router, and default routers, the best first.
    prefixes: Vec<Cidr>,
    routers: Vec<IpAddr>,
    /// Hops that packets over IPv6 may go, and how large they may be.
    hop_limit: u8,
    mtu_v6: u16,
    anything: bool,
    mtu: u16,
    paths: Map<IpAddr, (Instant, u16)>,
    order: VecDeque<IpAddr>,
    changes: u64,
}

/// The end of time.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// One of our addresses, with its network.
#[derive(Clone, Copy, Debug)]
struct Own {
    cidr: Cidr,
    deprecated: bool,
}

impl Routes {
    pub(super) fn new(config: &Config) -> Self {
        let mut routes = config.routes.clone();
        routes.sort_by_key(|route| core::cmp::Reverse(route.network.prefix()));
        // Who configures itself probes addresses first.
        let later = |own: &&Cidr| config.autoconfiguration.is_none() || own.address().is_ipv4();
        let addresses = config.addresses.iter().filter(later).map(|cidr| Own {
            cidr: *cidr,
            deprecated: false,
        });
        Self {
            addresses: addresses.collect(),
            routes,
            prefixes: Vec::new(),
            routers: Vec::new(),
            hop_limit: HOP_LIMIT,
            mtu_v6: u16::MAX,
            anything: config.accept_anything,
            mtu: config.mtu.max(MTU_MIN),
            paths: HashMap::with_hasher(Keyed::new(&config.seed)),
            order: VecDeque::new(),
            changes: 0,
        }
    }

    /// Takes over what a host that configures itself has over IPv6.
    pub(super) fn adopt(&mut self, autoconf: &Autoconf) {
        self.changes += 1;
        self.addresses.retain(|own| own.cidr.address().is_ipv4());
        let learnt = autoconf.addresses();
        self.addresses
            .extend(learnt.map(|(cidr, deprecated)| Own { cidr, deprecated }));
        self.prefixes = autoconf.prefixes().collect();
        self.routers = autoconf.routers().collect();
    }

    /// What a router tells of the link. RFC 4861 §6.3.4: 0 is nothing told; the MTU is to lie within the least and the link's own.
    pub(super) fn set_link(&mut self, hop_limit: u8, mtu: Option<u32>) {
        self.changes += 1;
        if hop_limit > 0 {
            self.hop_limit = hop_limit;
        }
        let possible = mtu.and_then(|mtu| u16::try_from(mtu).ok());
        if let Some(mtu) = possible.filter(|mtu| (MTU_MIN..=self.mtu).contains(mtu)) {
            self.mtu_v6 = mtu;
        }
    }

    /// Hops that a packet may go.
    pub(super) fn hop_limit(&self, destination: IpAddr) -> u8 {
        match destination {
            IpAddr::V4(_) => HOP_LIMIT,
            IpAddr::V6(_) => self.hop_limit,
        }
    }

    /// Our address on the link, unspecified if there is none.
    pub(super) fn link_local(&self) -> Ipv6Addr {
        let link_local = |own: &Own| match own.cidr.address() {
            IpAddr::V6(own) if own.is_unicast_link_local() => Some(own),
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
        self.addresses
            .iter()
            .any(|own| own.cidr.address() == address)
    }

    /// Whether packets to an address stay within the host.
    pub(super) fn is_internal(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.is_own(address)
    }

    /// Whether everybody on an attached network is meant.
    pub(super) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        address.is_broadcast()
            || self
                .addresses
                .iter()
                .any(|own| own.cidr.broadcast() == Some(address))
    }

    /// For whom a packet to this address is; nothing if not for us.
    pub(super) fn scope(&self, destination: IpAddr) -> Option<Scope> {
        if self.is_own(destination) {
            return Some(Scope::Own);
        }
        let everybody = matches!(destination, IpAddr::V4(v4) if self.is_broadcast(v4));
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

    /// The neighbour through which a destination is reached; nothing when there is no way.
    pub(super) fn next_hop(&self, destination: IpAddr) -> Option<IpAddr> {
        let on_link = self
            .addresses
            .iter()
            .any(|own| own.cidr.contains(destination))
            || self
                .prefixes
                .iter()
                .any(|prefix| prefix.contains(destination));
        if on_link || is_link_local(destination) {
            return Some(destination);
        }
        // RFC 4861 §6.3.6: a router that answers, as far as is known, is the first.
        let router = self.routers.first().filter(|_| destination.is_ipv6());
        match self
            .routes
            .iter()
            .find(|route| route.network.contains(destination))
        {
            Some(route) => Some(route.gateway),
            None => router
                .copied()
                .or_else(|| self.anything.then_some(destination)),
        }
    }

    /// Our address for packets to a destination. RFC 6724 §5.
    pub(super) fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        // RFC 1122 §3.2.1.3 (g) says what may be a source there, not which; everybody's is this one.
        match destination {
            IpAddr::V4(v4) if v4.is_loopback() => return Some(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(v6) if v6.is_loopback() => return Some(v6.into()),
            _ => {}
        }
        let family = self
            .addresses
            .iter()
            .filter(|own| own.cidr.address().is_ipv4() == destination.is_ipv4());
        let needed = scope(destination);
        // max_by_key prefers the last of equals; the first configured is wanted.
        let best = family.rev().max_by_key(|own| {
            let address = own.cidr.address();
            let reach = scope(address);
            (
                address == destination,
                // Wide enough, and then no wider than needed; else as wide as there is.
                reach >= needed,
                if reach >= needed { -reach } else { reach },
                !own.deprecated,
                !destination.is_multicast() && own.cidr.contains(destination),
                match destination.is_multicast() {
                    true => 0,
                    false => common_prefix(address, destination),
                },
            )
        });
        best.map(|own| own.cidr.address())
    }

    /// The first own address of the family.
    pub(super) fn own(&self, like: IpAddr) -> Option<IpAddr> {
        let mut addresses = self.addresses.iter().map(|own| own.cidr.address());
        addresses.find(|own| own.is_ipv4() == like.is_ipv4())
    }

    /// The largest packet for a destination, in octets.
    pub(super) fn mtu(&self, now: Instant, destination: IpAddr) -> u16 {
        self.path(now, destination).0
    }

    /// The same, and until when that is known if nothing changes.
    pub(super) fn path(&self, now: Instant, destination: IpAddr) -> (u16, Instant) {
        if self.is_internal(destination) {
            return (u16::MAX, NEVER);
        }
        let first = self.first_mtu(destination);
        match self.paths.get(&destination) {
            Some((until, mtu)) if now < *until => (first.min(*mtu), *until),
            _ => (first, NEVER),
        }
    }

    /// How often any of it has changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The link's MTU.
    pub(super) fn link_mtu(&self) -> u16 {
        self.mtu
    }

    /// The largest packet that the link takes towards a destination.
    pub(super) fn first_mtu(&self, destination: IpAddr) -> u16 {
        match destination {
            IpAddr::V4(_) => self.mtu,
            IpAddr::V6(_) => self.mtu.min(self.mtu_v6),
        }
    }

    /// Notes that only smaller packets get through, on a router's word; the path MTU from now on.
    pub(super) fn shrink(&mut self, now: Instant, destination: IpAddr, mtu: u32) -> u16 {
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        let mtu = mtu.min(self.mtu(now, destination)).max(least(destination));
        self.note(now, destination, mtu)
    }

    /// Notes that packets of this size were seen to get through, and larger ones were not: the path MTU from now on, perhaps more than it
    /// was (RFC 8899 §5.3).
    pub(super) fn learn(&mut self, now: Instant, destination: IpAddr, mtu: u16) {
        if !self.is_internal(destination) {
            self.note(now, destination, mtu.max(least(destination)));
        }
    }

    fn note(&mut self, now: Instant, destination: IpAddr, mtu: u16) -> u16 {
        self.changes += 1;
        if self
            .paths
            .insert(destination, (now + PATH_LIFETIME, mtu))
            .is_none()
        {
            self.order.push_back(destination);
        }
        if self.order.len() > MAX_PATHS
            && let Some(oldest) = self.order.pop_front()
        {
            self.paths.remove(&oldest);
        }
        mtu
    }
}

/// How far an address reaches, in the numbers of RFC 4291 §2.7; of IPv4 addresses as RFC 6724 §3.2 has it.
fn scope(address: IpAddr) -> i8 {
    const LINK: i8 = 2;
    const GLOBAL: i8 = 14;
    let near = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_loopback() || v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) if v6.is_multicast() => return (v6.octets()[1] & 0xf) as i8,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_loopback(),
    };
    if near { LINK } else { GLOBAL }
}

/// The least path MTU that is believed.
fn least(destination: IpAddr) -> u16 {
    if destination.is_ipv4() {
        PATH_MTU_MIN_V4
    } else {
        MTU_MIN
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || is_group(v6),
    }
}

fn is_group(address: Ipv6Addr) -> bool {
    address.is_multicast()
}

fn common_prefix(one: IpAddr, other: IpAddr) -> u32 {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ethernet::Mac;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn routes(accept_anything: bool) -> Routes {
        let mut config = Config::new(Mac::default(), [0; 32]);
        config.accept_anything = accept_anything;
        config.addresses = ["10.0.0.2/24", "192.168.1.1/16", "fd00::2/64"]
            .map(|own| own.parse().unwrap())
            .to_vec();
        let route = |network: &str, gateway: &str| Route {
            network: network.parse().unwrap(),
            gateway: address(gateway),
        };
        config.routes = Vec::from([
            route("0.0.0.0/0", "10.0.0.1"),
            route("10.1.0.0/16", "10.0.0.9"),
        ]);
        Routes::new(&config)
    }

    #[test]
    fn the_narrowest_route_leads() {
        let routes = routes(false);
        let hop = |to: &str| routes.next_hop(address(to));
        assert_eq!(hop("10.0.0.77"), Some(address("10.0.0.77")));
        assert_eq!(hop("10.1.2.3"), Some(address("10.0.0.9")));
        assert_eq!(hop("203.0.113.1"), Some(address("10.0.0.1")));
        assert_eq!(hop("fd00:1::1"), None);
        assert_eq!(
            self::routes(true).next_hop(address("fd00:1::1")),
            Some(address("fd00:1::1"))
        );
    }

    #[test]
    fn sources_are_near_their_destination() {
        let routes = routes(false);
        let source = |to: &str| routes.source_for(address(to));
        assert_eq!(source("192.168.7.7"), Some(address("192.168.1.1")));
        assert_eq!(source("10.0.0.9"), Some(address("10.0.0.2")));
        assert_eq!(source("2001:db8::1"), Some(address("fd00::2")));
        assert_eq!(source("127.0.0.5"), Some(address("127.0.0.1")));
        assert_eq!(source("::1"), Some(address("::1")));
    }

    #[test]
    fn scopes() {
        for (to, ordinary, gateway) in [
            ("10.0.0.2", Some(Scope::Own), Some(Scope::Own)),
            ("10.0.0.3", None, Some(Scope::Foreign)),
            ("10.0.0.255", Some(Scope::Group), Some(Scope::Group)),
            ("255.255.255.255", Some(Scope::Group), Some(Scope::Group)),
            ("ff02::1", Some(Scope::Group), Some(Scope::Group)),
            ("127.0.0.1", None, None),
            ("::1", None, None),
            ("0.0.0.0", None, None),
            ("2001:db8::1", None, Some(Scope::Foreign)),
        ] {
            assert_eq!(routes(false).scope(address(to)), ordinary, "{to}");
            assert_eq!(routes(true).scope(address(to)), gateway, "{to}");
        }
    }

    #[test]
    fn impossible_sources() {
        let routes = routes(false);
        for source in [
            "127.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "10.0.0.255",
            "224.0.0.1",
            "10.0.0.2",
            "240.0.0.1",
            "::1",
            "::",
            "ff02::1",
            "::ffff:10.0.0.9",
        ] {
            assert!(!routes.is_possible_source(address(source)), "{source}");
        }
        assert!(routes.is_possible_source(address("10.0.0.3")));
        assert!(routes.is_possible_source(address("fe80::1")));
    }

    #[test]
    fn a_path_shrinks_within_limits_and_recovers() {
        let mut routes = routes(false);
        let (now, v4, v6) = (
            Instant::ZERO,
            address("203.0.113.1"),
            address("2001:db8::1"),
        );
        assert_eq!(routes.shrink(now, v4, 1400), 1400);
        assert_eq!(routes.shrink(now, v4, 1450), 1400);
        assert_eq!(routes.shrink(now, v4, 10), PATH_MTU_MIN_V4);
        assert_eq!(routes.shrink(now, v6, 10), 1280);
        assert_eq!(routes.mtu(now, v4), PATH_MTU_MIN_V4);
        routes.learn(now, v4, 1300);
        assert_eq!(routes.mtu(now, v4), 1300);
        routes.learn(now, v4, 9000);
        assert_eq!(routes.mtu(now, v4), 1500);
        routes.shrink(now, v4, 0);
        assert_eq!(routes.mtu(now + PATH_LIFETIME, v4), 1500);
        for last in 0..5000 {
            routes.shrink(
                now,
                IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + last)),
                1400,
            );
        }
        assert!(routes.paths.len() <= MAX_PATHS && routes.order.len() <= MAX_PATHS);
    }
}
