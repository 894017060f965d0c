//! Ways, sources and sizes.

use super::path::{MAX_PATHS, PATH_LIFETIME, PATH_MTU_MIN_V4};
use super::*;
use crate::host::config::Interface;
use crate::time::Instant;
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
        route("10.0.0.88/32", "10.0.0.7"),
    ]);
    Routes::new(&config)
}

#[test]
fn the_narrowest_route_leads() {
    let routes = routes(false);
    let hop = |routes: &Routes, to: &str| {
        let hop = routes.next_hop(None, address(to));
        hop.map(|hop| hop.neighbour)
    };
    assert_eq!(hop(&routes, "10.0.0.77"), Some(address("10.0.0.77")));
    assert_eq!(hop(&routes, "10.0.0.88"), Some(address("10.0.0.7")));
    assert_eq!(hop(&routes, "10.1.2.3"), Some(address("10.0.0.9")));
    assert_eq!(hop(&routes, "203.0.113.1"), Some(address("10.0.0.1")));
    assert_eq!(hop(&routes, "fd00:1::1"), None);
    let anything = self::routes(true);
    assert_eq!(hop(&anything, "fd00:1::1"), Some(address("fd00:1::1")));
}

#[test]
fn sources_are_near_their_destination() {
    let routes = routes(false);
    let source = |to: &str| routes.source_for(None, address(to));
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
        assert_eq!(
            routes(false).scope(Host::LINK, address(to)),
            ordinary,
            "{to}"
        );
        assert_eq!(routes(true).scope(Host::LINK, address(to)), gateway, "{to}");
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
    let now = Instant::ZERO;
    let v4 = (address("10.0.0.2"), address("203.0.113.1"));
    let v6 = (address("fd00::2"), address("2001:db8::1"));
    let mtu = |routes: &Routes, now| routes.mtu(now, v4.0, v4.1);
    assert_eq!(routes.shrink(now, v4, 1400), 1400);
    assert_eq!(routes.shrink(now, v4, 1450), 1400);
    assert_eq!(routes.shrink(now, v4, 10), PATH_MTU_MIN_V4);
    assert_eq!(routes.shrink(now, v6, 10), 1280);
    assert_eq!(mtu(&routes, now), PATH_MTU_MIN_V4);
    routes.learn(now, v4.1, 1300);
    assert_eq!(mtu(&routes, now), 1300);
    routes.learn(now, v4.1, 9000);
    assert_eq!(mtu(&routes, now), 1500);
    routes.shrink(now, v4, 0);
    assert_eq!(mtu(&routes, now + PATH_LIFETIME), 1500);
    for last in 0..5000 {
        let to = IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + last));
        routes.shrink(now, (v4.0, to), 1400);
    }
    assert!(routes.paths.known.len() <= MAX_PATHS && routes.paths.order.len() <= MAX_PATHS);
}

/// Two links in the same network.
fn twins() -> Routes {
    let mut config = Config::new(Mac([2, 0, 0, 0, 0, 1]), [0; 32]);
    config.addresses = ["10.0.0.2/24", "fe80::2/64", "fd00::2/64"]
        .map(|own| own.parse().unwrap())
        .to_vec();
    let mut other = Interface::new(Mac([2, 0, 0, 0, 0, 2]));
    other.mtu = 9000;
    other.addresses = ["10.0.0.3/24", "10.9.0.3/16", "fe80::3/64"]
        .map(|own| own.parse().unwrap())
        .to_vec();
    other.routes = Vec::from([Route {
        network: "0.0.0.0/0".parse().unwrap(),
        gateway: address("10.0.0.1"),
    }]);
    config.further = Vec::from([other]);
    Routes::new(&config)
}

#[test]
fn a_packet_leaves_by_the_link_of_its_source() {
    let routes = twins();
    let [first, second] = [routes.links[0].device, routes.links[1].device];
    let by = |from: &str, to: &str| {
        let hop = routes.next_hop(routes.link_of(address(from)), address(to));
        hop.map(|hop| hop.device)
    };
    assert_eq!(by("10.0.0.2", "10.0.0.9"), Some(first));
    assert_eq!(by("10.0.0.3", "10.0.0.9"), Some(second));
    assert_eq!(
        by("10.0.0.2", "203.0.113.1"),
        None,
        "that link has no route"
    );
    assert_eq!(by("10.0.0.3", "203.0.113.1"), Some(second));
    assert_eq!(by("0.0.0.0", "203.0.113.1"), Some(second));
    assert_eq!(by("fe80::3", "fe80::9"), Some(second));
    let now = Instant::ZERO;
    let mtu = |from: &str| routes.mtu(now, address(from), address("10.0.0.9"));
    assert_eq!((mtu("10.0.0.2"), mtu("10.0.0.3")), (1500, 9000));
}

#[test]
fn a_source_is_of_the_link_that_the_packet_leaves_by() {
    let routes = twins();
    let second = routes.links[1].device;
    for (only, to, from) in [
        (None, "10.0.0.9", "10.0.0.2"),
        (Some(second), "10.0.0.9", "10.0.0.3"),
        (None, "10.9.1.1", "10.9.0.3"),
        (None, "203.0.113.1", "10.0.0.3"),
        (None, "fd00::9", "fd00::2"),
        (None, "fe80::9", "fe80::2"),
        (Some(second), "fe80::9", "fe80::3"),
        (Some(second), "ff02::1", "fe80::3"),
    ] {
        assert_eq!(
            routes.source_for(only, address(to)),
            Some(address(from)),
            "{to}"
        );
    }
}

#[test]
fn an_address_is_own_by_its_link_only() {
    let routes = twins();
    let [first, second] = [routes.links[0].device, routes.links[1].device];
    let own = address("10.0.0.3");
    assert_eq!(routes.scope(first, own), None);
    assert_eq!(routes.scope(second, own), Some(Scope::Own));
    assert!(routes.is_internal(own) && !routes.is_possible_source(own));
    assert_eq!(routes.scope(first, address("10.9.255.255")), None);
    assert_eq!(
        routes.scope(second, address("10.9.255.255")),
        Some(Scope::Group)
    );
}
