//! A host that makes its IPv6 addresses itself and listens to routers. RFC 4861 §6, RFC 4862.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;
use network::{LEFT_MAC, Network, RIGHT_MAC, Side, ordinary};
use wharf_net::wire::ethernet::{self, EtherType, Mac};
use wharf_net::wire::router::{self, Advertisement, Lifetime, Prefix};
use wharf_net::wire::{icmpv6, ipv6, ndp};
use wharf_net::{
    AddressState, Autoconfiguration, Capabilities, Config, Discard, Event, Identifiers,
};
use wharf_port::{Domain, Protocol};

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);
const ALL: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x00ff, 0xfe00, 2);

/// An ordinary host at the left, one that configures itself at the right.
fn pair(addresses: &[&str]) -> Network {
    let mut config = Config::new(RIGHT_MAC, [2; 32]);
    config.addresses = addresses.iter().map(|own| own.parse().unwrap()).collect();
    config.autoconfiguration = Some(Autoconfiguration {
        identifiers: Identifiers::Hardware,
        probes: 1,
    });
    let mut network = Network::new(ordinary(Side::Left, Capabilities::NONE), config);
    network.seen = Some(Vec::new());
    network
}

/// What happened to the right's addresses.
fn told(network: &mut Network) -> Vec<(IpAddr, AddressState)> {
    let events = std::iter::from_fn(|| network.right.event());
    let address = |event| match event {
        Event::Address { address, state } => Some((address, state)),
        _ => None,
    };
    events.filter_map(address).collect()
}

/// ICMPv6 messages of a type that the right has sent: source, destination, all octets.
fn said(network: &mut Network, kind: u8) -> Vec<(Ipv6Addr, Ipv6Addr, Vec<u8>)> {
    let seen = network.seen.replace(Vec::new()).unwrap();
    let from_right = seen.iter().filter(|(side, _)| *side == Side::Right);
    let messages = from_right.filter_map(|(_, frame)| {
        let packet = &frame[ethernet::LEN..];
        let ip = ipv6::Header::parse(packet).ok()?;
        let message = packet.get(ipv6::LEN..)?.to_vec();
        let right = ip.next_header == icmpv6::PROTOCOL && message.first() == Some(&kind);
        if right {
            assert!(ip.hop_limit == 255 || kind == 129);
            assert!(icmpv6::Message::parse(&message, ip.source, ip.destination).is_ok());
        }
        right.then_some((ip.source, ip.destination, message))
    });
    messages.collect()
}

fn frame(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, message: &[u8]) -> Vec<u8> {
    let ip = ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: message.len() as u16,
        next_header: icmpv6::PROTOCOL,
        hop_limit,
        source,
        destination,
    };
    let mut message = message.to_vec();
    let mut sum = wharf_net::wire::checksum::Sum::pseudo(
        source.into(),
        destination.into(),
        icmpv6::PROTOCOL,
        message.len(),
    );
    message[2..4].fill(0);
    sum.add(&message);
    message[2..4].copy_from_slice(&sum.checksum().to_be_bytes());
    let to = if destination.is_multicast() {
        Mac::of_group_v6(destination)
    } else {
        RIGHT_MAC
    };
    let header = ethernet::Header {
        destination: to,
        source: LEFT_MAC,
        ethertype: EtherType::Ipv6,
    };
    [&header.emit()[..], &ip.emit(), &message].concat()
}

fn advertise(network: &mut Network, told: &Advertisement) {
    let message = [
        &[router::ADVERTISEMENT, 0, 0, 0][..],
        &told.word(),
        &told.emit(),
    ]
    .concat();
    network.inject(Side::Right, frame(ROUTER, ALL, 255, &message));
}

fn network_of(valid: Lifetime, preferred: Lifetime) -> Advertisement {
    Advertisement {
        lifetime: Duration::from_secs(1800),
        link: Some(LEFT_MAC),
        prefixes: vec![Prefix {
            network: "2001:db8:7::".parse().unwrap(),
            length: 64,
            on_link: true,
            autonomous: true,
            valid,
            preferred,
        }],
        ..Advertisement::default()
    }
}

fn made() -> IpAddr {
    "2001:db8:7::ff:fe00:2".parse().unwrap()
}

/// Where the right sends a datagram to: source address and hardware address.
fn sends(network: &mut Network, to: &str) -> Option<(IpAddr, [u8; 6], u8)> {
    network.seen = Some(Vec::new());
    let socket = network.right.open(Protocol::Udp, Domain::Dual).unwrap();
    let (now, to) = (network.now, to.parse().unwrap());
    let sent = network
        .right
        .send_to(now, socket, Some(to), Bytes::from_static(b"x"));
    let frames = network.drain(Side::Right);
    sent.ok()?;
    let frame = frames.iter().find(|frame| frame[20] == 17)?;
    let ip = ipv6::Header::parse(&frame[ethernet::LEN..]).unwrap();
    Some((
        ip.source.into(),
        frame[..6].try_into().unwrap(),
        ip.hop_limit,
    ))
}

#[test]
fn a_link_local_address_is_probed_and_then_routers_are_asked_for() {
    let mut network = pair(&[]);
    network.pass(Duration::from_secs(3));
    let own = IpAddr::V6(LINK_LOCAL);
    let states = [
        (own, AddressState::Tentative),
        (own, AddressState::Preferred),
    ];
    assert_eq!(told(&mut network), states);
    let seen = network.seen.clone();
    // RFC 4862 §5.4.2: from nobody, to the address's group, which routers have been told of.
    let probes = said(&mut network, 135);
    assert_eq!(probes.len(), 1);
    assert_eq!(probes[0].0, Ipv6Addr::UNSPECIFIED);
    assert_eq!(probes[0].1, ndp::solicited_node(LINK_LOCAL));
    assert_eq!(probes[0].2[8..], LINK_LOCAL.octets());
    network.seen = seen;
    let asked = said(&mut network, router::SOLICITATION);
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].0, asked[0].1), (LINK_LOCAL, router::ALL_ROUTERS));
    assert_eq!(asked[0].2[8..], router::solicitation(RIGHT_MAC));
    network.pass(Duration::from_secs(4));
    assert_eq!(said(&mut network, router::SOLICITATION).len(), 1);
    advertise(
        &mut network,
        &network_of(Lifetime::Infinite, Lifetime::Infinite),
    );
    network.pass(Duration::from_secs(600));
    assert_eq!(said(&mut network, router::SOLICITATION).len(), 0);
}

#[test]
fn nothing_is_received_at_an_address_in_question() {
    let mut network = pair(&["fd00::2/64"]);
    let client = network.left.open(Protocol::Udp, Domain::Dual).unwrap();
    let now = network.now;
    let to = "[fd00::2]:9".parse().unwrap();
    network
        .left
        .send_to(now, client, Some(to), Bytes::new())
        .unwrap();
    network.pass(Duration::from_millis(900));
    assert_eq!(said(&mut network, 136).len(), 0);
    let echo = icmpv6::Message::EchoRequest {
        ident: 1,
        sequence: 1,
    };
    let (from, own) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
    network.inject(
        Side::Right,
        frame(from, own, 64, &echo.emit(&[], from, own)),
    );
    assert_eq!(network.right.discards().of(Discard::Tentative), 1);
    network.pass(Duration::from_secs(3));
    network.inject(
        Side::Right,
        frame(from, own, 64, &echo.emit(&[], from, own)),
    );
    network.pass(Duration::from_millis(10));
    assert_eq!(said(&mut network, 129).len(), 1);
}

#[test]
fn an_address_that_is_somebody_s_is_not_taken() {
    let mut network = pair(&["fd00::1/64"]);
    let contested = "fd00::1".parse().unwrap();
    network.pass(Duration::from_secs(5));
    let told = told(&mut network);
    assert!(
        told.contains(&(contested, AddressState::Duplicate)),
        "{told:?}"
    );
    assert!(!told.contains(&(contested, AddressState::Preferred)));
    // Two that probe at the same time both give way.
    let mut network = pair(&["fd00::7/64"]);
    let address: Ipv6Addr = "fd00::7".parse().unwrap();
    network.pass(Duration::from_millis(1));
    let probe = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &address.octets()].concat();
    let probe = frame(
        Ipv6Addr::UNSPECIFIED,
        ndp::solicited_node(address),
        255,
        &probe,
    );
    network.pass(Duration::from_secs(1));
    network.inject(Side::Right, probe);
    let told = self::told(&mut network);
    assert_eq!(
        told.last(),
        Some(&(address.into(), AddressState::Duplicate))
    );
}

#[test]
fn a_router_s_network_becomes_an_address_and_a_way_out() {
    let mut network = pair(&[]);
    network.pass(Duration::from_secs(3));
    told(&mut network);
    assert_eq!(sends(&mut network, "[2001:db8:99::1]:9"), None);
    let mut advertisement = network_of(Lifetime::Seconds(7200), Lifetime::Seconds(600));
    (advertisement.hop_limit, advertisement.mtu) = (33, Some(1280));
    advertise(&mut network, &advertisement);
    network.pass(Duration::from_secs(3));
    let states = [
        (made(), AddressState::Tentative),
        (made(), AddressState::Preferred),
    ];
    assert_eq!(told(&mut network), states);
    // By the router, whose hardware address came with the advertisement; from the wider address.
    let out = sends(&mut network, "[2001:db8:99::1]:9");
    assert_eq!(out, Some((made(), LEFT_MAC.0, 33)));
    let near = sends(&mut network, &format!("[{ROUTER}]:9"));
    assert_eq!(near, Some((LINK_LOCAL.into(), LEFT_MAC.0, 33)));
    // On the network itself: nobody is asked to forward, the neighbour is asked for.
    assert_eq!(sends(&mut network, "[2001:db8:7::5]:9"), None);
    network.pass(Duration::from_secs(600));
    assert!(told(&mut network).contains(&(made(), AddressState::Deprecated)));
    // The router has not answered since; it asks, and so is heard of again.
    let question = [
        &[135, 0, 0, 0, 0, 0, 0, 0][..],
        &LINK_LOCAL.octets(),
        &[1, 1],
        &LEFT_MAC.0,
    ];
    network.inject(
        Side::Right,
        frame(ROUTER, LINK_LOCAL, 255, &question.concat()),
    );
    assert_eq!(
        sends(&mut network, "[2001:db8:99::1]:9").map(|it| it.0),
        Some(made())
    );
    network.pass(Duration::from_secs(1200));
    assert_eq!(sends(&mut network, "[2001:db8:99::1]:9"), None);
    network.pass(Duration::from_secs(7200));
    assert!(told(&mut network).contains(&(made(), AddressState::Gone)));
}

#[test]
fn a_router_that_says_so_is_one_no_more() {
    for farewell in [true, false] {
        let mut network = pair(&[]);
        network.pass(Duration::from_secs(3));
        advertise(
            &mut network,
            &network_of(Lifetime::Infinite, Lifetime::Infinite),
        );
        network.pass(Duration::from_secs(3));
        assert!(sends(&mut network, "[2001:db8:99::1]:9").is_some());
        if farewell {
            let mut last = network_of(Lifetime::Infinite, Lifetime::Infinite);
            last.lifetime = Duration::ZERO;
            advertise(&mut network, &last);
        } else {
            // RFC 4861 §7.2.5: an advertisement of a neighbour without the router flag.
            let told = [
                &[136, 0, 0, 0, ndp::OVERRIDE, 0, 0, 0][..],
                &ROUTER.octets(),
            ]
            .concat();
            network.inject(Side::Right, frame(ROUTER, ALL, 255, &told));
        }
        assert_eq!(
            sends(&mut network, "[2001:db8:99::1]:9"),
            None,
            "{farewell}"
        );
    }
}

#[test]
fn advertisements_from_afar_or_of_nonsense_are_nothing() {
    let mut network = pair(&[]);
    network.pass(Duration::from_secs(3));
    told(&mut network);
    let good = network_of(Lifetime::Infinite, Lifetime::Infinite);
    let good = [
        &[router::ADVERTISEMENT, 0, 0, 0][..],
        &good.word(),
        &good.emit(),
    ]
    .concat();
    let mut nothing_long = good.clone();
    nothing_long[17] = 0;
    let global = "2001:db8::1".parse().unwrap();
    for (source, hop_limit, message) in [
        (ROUTER, 254, &good[..]),
        (global, 255, &good),
        (ROUTER, 255, &nothing_long),
        (ROUTER, 255, &good[..good.len() - 1]),
        (ROUTER, 255, &good[..12]),
    ] {
        network.inject(Side::Right, frame(source, ALL, hop_limit, message));
    }
    assert_eq!(network.right.discards().of(Discard::Neighbour), 5);
    let redirect = [137, 0, 0, 0, 0, 0, 0, 0];
    network.inject(Side::Right, frame(ROUTER, ALL, 255, &redirect));
    assert_eq!(network.right.discards().of(Discard::Redirect), 1);
    network.inject(Side::Left, {
        let mut other = frame(ROUTER, ALL, 255, &good);
        other[6..12].copy_from_slice(&RIGHT_MAC.0);
        other
    });
    assert_eq!(network.left.discards().of(Discard::Unconfigurable), 1);
    assert_eq!(told(&mut network), []);
}

#[test]
fn opaque_addresses_are_the_same_after_a_restart() {
    let addresses = |seed: u8| {
        let mut config = Config::new(RIGHT_MAC, [seed; 32]);
        config.autoconfiguration = Some(Autoconfiguration::default());
        let mut network = Network::new(ordinary(Side::Left, Capabilities::NONE), config);
        network.pass(Duration::from_secs(3));
        advertise(
            &mut network,
            &network_of(Lifetime::Infinite, Lifetime::Infinite),
        );
        network.pass(Duration::from_secs(3));
        told(&mut network)
    };
    assert_eq!(addresses(3), addresses(3));
    assert_ne!(addresses(3), addresses(4));
    assert!(!addresses(3).iter().any(|(address, _)| *address == made()));
}
