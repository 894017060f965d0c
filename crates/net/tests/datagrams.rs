//! UDP: sockets, trains, fragments, refusals.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use network::{Impairment, LEFT_MAC, Network, RIGHT_MAC, Side, ordinary};
use wharf_net::wire::checksum::Sum;
use wharf_net::wire::ethernet::{self, EtherType};
use wharf_net::wire::{ipv4, ipv6, udp};
use wharf_net::{
    Capabilities, Checksum, Discard, Frame, Host, Instant, Offload, OwnConnectError, Ready,
    RecvError, SendError, SocketId,
};
use wharf_port::table::ConnectError;
use wharf_port::{Domain, Endpoint, Protocol};

fn pair(capabilities: Capabilities) -> Network {
    Network::new(
        ordinary(Side::Left, capabilities),
        ordinary(Side::Right, capabilities),
    )
}

fn at(text: &str) -> Endpoint {
    text.parse().unwrap()
}

fn bound(host: &mut Host, local: &str) -> SocketId {
    let local: wharf_port::Local = local.parse().unwrap();
    let domain = if local.address.is_ipv4() {
        Domain::V4
    } else {
        Domain::Dual
    };
    let socket = host.open(Protocol::Udp, domain).unwrap();
    host.bind(socket, local).unwrap();
    socket
}

fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at * 7 + (at >> 8)) as u8).collect()
}

#[test]
fn a_datagram_goes_there_and_back_over_both_families() {
    for (local, remote) in [("10.0.0.1:0", "10.0.0.2:7"), ("[fd00::1]:0", "[fd00::2]:7")] {
        let mut network = pair(Capabilities::ALL);
        let (client, server) = (
            bound(&mut network.left, local),
            bound(&mut network.right, "[::]:7"),
        );
        let now = network.now;
        network
            .left
            .send_to(now, client, Some(at(remote)), pattern(100))
            .unwrap();
        network.await_ready(Side::Right, server, Ready::READABLE);
        let received = network.right.recv_from(server).unwrap();
        assert_eq!(
            (received.to, &received.payload),
            (at(remote), &pattern(100))
        );
        let now = network.now;
        network
            .right
            .send_to(now, server, received.sender(), received.payload)
            .unwrap();
        network.await_ready(Side::Left, client, Ready::READABLE);
        assert_eq!(
            network.left.recv_from(client).unwrap().payload,
            pattern(100)
        );
        assert_eq!(network.left.recv_from(client), Err(RecvError::Empty));
    }
}

#[test]
fn the_largest_datagram_arrives_in_fragments_however_they_are_mixed() {
    for capabilities in [Capabilities::ALL, Capabilities::NONE] {
        for (local, remote, length) in [
            ("10.0.0.1:9", "10.0.0.2:7", 65_507),
            ("[fd00::1]:9", "[fd00::2]:7", 65_527),
        ] {
            let mut network = pair(capabilities);
            network.impairment = Impairment {
                jitter: Duration::from_millis(5),
                bottleneck: None,
                ..Impairment::NONE
            };
            let client = bound(&mut network.left, local);
            let server = bound(&mut network.right, remote);
            for length in [length, 3000, 1473, 1472] {
                let now = network.now;
                network
                    .left
                    .send_to(now, client, Some(at(remote)), pattern(length))
                    .unwrap();
                network.await_ready(Side::Right, server, Ready::READABLE);
                assert_eq!(
                    network.right.recv_from(server).unwrap().payload,
                    pattern(length)
                );
            }
            let now = network.now;
            let long = network
                .left
                .send_to(now, client, Some(at(remote)), pattern(length + 1));
            assert_eq!(long, Err(SendError::TooLong));
        }
    }
}

#[test]
fn a_closed_port_refuses_a_connected_socket_once() {
    for (local, remote) in [("10.0.0.1:9", "10.0.0.2:7"), ("[fd00::1]:9", "[fd00::2]:7")] {
        let mut network = pair(Capabilities::NONE);
        let client = bound(&mut network.left, local);
        let now = network.now;
        network.left.connect(now, client, at(remote)).unwrap();
        network
            .left
            .send_to(now, client, None, pattern(10))
            .unwrap();
        network.await_ready(Side::Left, client, Ready::READABLE);
        assert_eq!(network.left.recv_from(client), Err(RecvError::Refused));
        assert_eq!(network.left.recv_from(client), Err(RecvError::Empty));
        assert_eq!(network.right.discards().of(Discard::NoSocket), 1);
    }
}

#[test]
fn an_unconnected_socket_hears_nothing_of_refusals() {
    let mut network = pair(Capabilities::NONE);
    let client = bound(&mut network.left, "10.0.0.1:9");
    let now = network.now;
    network
        .left
        .send_to(now, client, Some(at("10.0.0.2:7")), pattern(10))
        .unwrap();
    network.pass(Duration::from_secs(1));
    assert_eq!(network.left.recv_from(client), Err(RecvError::Empty));
    assert!(network.left.event().is_none());
}

#[test]
fn a_socket_without_a_port_gets_one_by_sending() {
    let mut network = pair(Capabilities::NONE);
    let client = network.left.open(Protocol::Udp, Domain::V4).unwrap();
    let server = bound(&mut network.right, "10.0.0.2:7");
    let now = network.now;
    let nowhere = network.left.send_to(now, client, None, pattern(1));
    assert_eq!(nowhere, Err(SendError::NoDestination));
    network
        .left
        .send_to(now, client, Some(at("10.0.0.2:7")), Bytes::new())
        .unwrap();
    network.await_ready(Side::Right, server, Ready::READABLE);
    let received = network.right.recv_from(server).unwrap();
    assert_eq!(
        received.port,
        network.left.bound(client).map(|(_, port)| port)
    );
    assert!(received.payload.is_empty());
}

#[test]
fn what_a_host_sends_to_itself_stays_inside() {
    for address in ["127.0.0.1:7", "10.0.0.1:7", "[::1]:7", "[fd00::1]:7"] {
        let mut network = pair(Capabilities::NONE);
        let server = bound(&mut network.left, "[::]:7");
        let client = network.left.open(Protocol::Udp, Domain::Dual).unwrap();
        let now = network.now;
        network
            .left
            .send_to(now, client, Some(at(address)), pattern(5000))
            .unwrap();
        assert!(network.drain(Side::Left).is_empty());
        assert_eq!(
            network.left.recv_from(server).unwrap().payload,
            pattern(5000)
        );
    }
}

#[test]
fn a_receive_queue_has_a_bound() {
    let mut network = pair(Capabilities::ALL);
    let client = bound(&mut network.left, "10.0.0.1:9");
    let server = bound(&mut network.right, "10.0.0.2:7");
    for _ in 0..1000 {
        let now = network.now;
        let _ = network
            .left
            .send_to(now, client, Some(at("10.0.0.2:7")), pattern(1400));
        network.pass(Duration::from_millis(1));
    }
    let mut count = 0;
    while network.right.recv_from(server).is_ok() {
        count += 1;
    }
    assert!((100..150).contains(&count), "{count}");
    assert_eq!(
        network.right.discards().of(Discard::ReceiveQueue),
        1000 - count
    );
}

#[test]
fn a_neighbour_that_is_not_there_costs_three_questions() {
    let mut network = pair(Capabilities::NONE);
    let client = bound(&mut network.left, "10.0.0.1:9");
    network.seen = Some(Vec::new());
    let now = network.now;
    network
        .left
        .send_to(now, client, Some(at("10.0.0.99:7")), pattern(1))
        .unwrap();
    network.pass(Duration::from_secs(10));
    assert_eq!(network.seen.take().unwrap().len(), 3);
    assert_eq!(network.left.discards().of(Discard::NoNeighbour), 1);
    assert_eq!(network.left.deadline(), None);
}

#[test]
fn without_a_route_there_is_an_error() {
    let mut network = pair(Capabilities::NONE);
    let client = bound(&mut network.left, "10.0.0.1:9");
    let lost = network
        .left
        .send_to(Instant::ZERO, client, Some(at("203.0.113.1:7")), pattern(1));
    assert_eq!(lost, Err(SendError::Dropped(Discard::NoRoute)));
}

/// A UDP datagram to the right host, from any port, in a frame.
fn frame(family: &str, ports: (u16, u16), zero_checksum: bool) -> Vec<u8> {
    let (source, destination): (IpAddr, IpAddr) = match family {
        "v4" => ([10, 0, 0, 1].into(), [10, 0, 0, 2].into()),
        _ => ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap()),
    };
    let mut header = udp::Header {
        source: ports.0,
        destination: ports.1,
        length: 12,
        checksum: 0,
    };
    let mut sum = Sum::pseudo(source, destination, udp::PROTOCOL, 12);
    sum.add(&header.emit());
    sum.add(b"text");
    if !zero_checksum {
        header.checksum = udp::never_zero(sum.checksum());
    }
    let (ethertype, ip) = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let ip = ipv4::Header {
                traffic_class: 0,
                payload_len: 12,
                ident: 1,
                dont_fragment: false,
                more_fragments: false,
                fragment_offset: 0,
                ttl: 64,
                protocol: udp::PROTOCOL,
                source,
                destination,
            };
            (EtherType::Ipv4, ip.emit().to_vec())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let ip = ipv6::Header {
                traffic_class: 0,
                flow_label: 0,
                payload_len: 12,
                next_header: udp::PROTOCOL,
                hop_limit: 64,
                source,
                destination,
            };
            (EtherType::Ipv6, ip.emit().to_vec())
        }
        _ => panic!("one family"),
    };
    let ethernet = ethernet::Header {
        destination: RIGHT_MAC,
        source: LEFT_MAC,
        ethertype,
    };
    [&ethernet.emit()[..], &ip, &header.emit(), b"text"].concat()
}

#[test]
fn without_a_source_port_the_bound_socket_gets_it_and_a_connected_one_does_not() {
    // RFC 768: the source port is optional, and zero when not used.
    for (family, own, peer) in [
        ("v4", "10.0.0.2:7", "10.0.0.1:9"),
        ("v6", "[fd00::2]:7", "[fd00::1]:9"),
    ] {
        let mut network = pair(Capabilities::NONE);
        network.inject(Side::Right, frame(family, (0, 7), false));
        assert_eq!(network.right.discards().of(Discard::NoSocket), 1);
        let connected = bound(&mut network.right, own);
        let now = network.now;
        network.right.connect(now, connected, at(peer)).unwrap();
        network.inject(Side::Right, frame(family, (0, 7), false));
        assert_eq!(network.right.discards().of(Discard::NoSocket), 2);
        network.right.close(now, connected);
        let wildcard = bound(&mut network.right, "[::]:7");
        network.inject(Side::Right, frame(family, (0, 7), false));
        let received = network.right.recv_from(wildcard).unwrap();
        assert_eq!((received.from, received.port), (at(peer).address(), None));
        assert_eq!(
            (received.to, &received.payload[..]),
            (at(own), &b"text"[..])
        );
        assert_eq!((received.sender(), received.source().port()), (None, 0));
    }
}

#[test]
fn there_is_no_destination_port_0() {
    let mut network = pair(Capabilities::NONE);
    network.inject(Side::Right, frame("v4", (9, 0), false));
    assert_eq!(network.right.discards().of(Discard::PortZero), 1);
}

#[test]
fn no_checksum_will_do_over_ipv4_and_not_over_ipv6() {
    // RFC 768; RFC 8200 §8.1.
    let mut network = pair(Capabilities::NONE);
    let socket = bound(&mut network.right, "[::]:7");
    network.inject(Side::Right, frame("v4", (9, 7), true));
    assert!(network.right.recv_from(socket).is_ok());
    for checksum in [Checksum::Complete, Checksum::Verified] {
        let offload = Offload {
            checksum,
            ..Offload::default()
        };
        let bytes = Frame::from_ethernet(frame("v6", (9, 7), true).into(), offload);
        network.right.receive(network.now, bytes);
        assert_eq!(network.right.recv_from(socket), Err(RecvError::Empty));
    }
    assert_eq!(network.right.discards().of(Discard::Checksum), 2);
}

#[test]
fn a_full_range_of_ports_serves_other_peers_still() {
    let mut config = ordinary(Side::Left, Capabilities::NONE);
    config.ports = "40000-40003".parse().unwrap();
    let mut host = Host::new(config);
    let mut connect = |peer: &str| {
        let socket = host.open(Protocol::Udp, Domain::V4).unwrap();
        let connected = host.connect(Instant::ZERO, socket, at(peer));
        connected.map(|flow| flow.local.port())
    };
    for peer in ["10.0.0.2:53", "10.0.0.2:54", "10.0.0.3:53"] {
        let ports: BTreeSet<_> = (0..4).map(|_| connect(peer).unwrap()).collect();
        assert_eq!(ports.len(), 4);
        let error = connect(peer).unwrap_err();
        let exhausted =
            |error: &ConnectError<SocketId>| matches!(error, ConnectError::Exhausted(_));
        assert!(matches!(&error, OwnConnectError::Refused(error) if exhausted(error)));
    }
}
