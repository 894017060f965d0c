//! ARP and neighbour discovery, by the frame.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;
use network::{LEFT_MAC, Network, RIGHT_MAC, Side, ordinary, space};
use wharf_net::wire::arp::{Operation, Packet};
use wharf_net::wire::ethernet::{self, EtherType, Mac};
use wharf_net::wire::{icmpv6, ipv6, ndp};
use wharf_net::{Capabilities, Discard};
use wharf_port::{Domain, Protocol};

const OTHER: Mac = Mac([2, 0, 0, 0, 0, 9]);

fn arp(operation: Operation, sender_mac: Mac, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let packet = Packet {
        operation,
        sender_mac,
        sender: sender.into(),
        target_mac: Mac::default(),
        target: target.into(),
    };
    let header = ethernet::Header {
        destination: Mac::BROADCAST,
        source: sender_mac,
        ethertype: EtherType::Arp,
    };
    [&header.emit()[..], &packet.emit()].concat()
}

fn ordinary_pair() -> Network {
    let none = Capabilities::NONE;
    Network::new(ordinary(Side::Left, none), ordinary(Side::Right, none))
}

/// The ARP packets that a side has to send.
fn said(network: &mut Network, side: Side) -> Vec<Packet> {
    let frames = network.drain(side);
    frames
        .iter()
        .map(|frame| Packet::parse(&frame[14..]).unwrap())
        .collect()
}

#[test]
fn an_ordinary_host_answers_for_itself_only() {
    let mut network = ordinary_pair();
    network.inject(
        Side::Left,
        arp(Operation::Request, OTHER, [10, 0, 0, 9], [10, 0, 0, 1]),
    );
    let [reply] = said(&mut network, Side::Left)[..] else {
        panic!("one reply")
    };
    assert_eq!(
        (reply.operation, reply.sender_mac),
        (Operation::Reply, LEFT_MAC)
    );
    assert_eq!(
        (reply.target_mac, reply.sender),
        (OTHER, Ipv4Addr::new(10, 0, 0, 1))
    );
    for (operation, target) in [
        (Operation::Request, [10, 0, 0, 7]),
        (Operation::Reply, [10, 0, 0, 1]),
        (Operation::Request, [10, 0, 0, 9]),
    ] {
        network.inject(Side::Left, arp(operation, OTHER, [10, 0, 0, 9], target));
        assert!(
            said(&mut network, Side::Left).is_empty(),
            "{operation:?} {target:?}"
        );
    }
}

#[test]
fn a_probe_is_answered_and_teaches_nothing() {
    let mut network = ordinary_pair();
    network.inject(
        Side::Left,
        arp(Operation::Request, OTHER, [0; 4], [10, 0, 0, 1]),
    );
    assert_eq!(said(&mut network, Side::Left).len(), 1);
}

#[test]
fn a_gateway_answers_for_everybody_but_the_asker() {
    let mut network = space(Capabilities::ALL);
    for (sender, target, answered) in [
        ([10, 77, 3, 2], [10, 77, 9, 9], true),
        ([10, 77, 3, 2], [203, 0, 113, 1], true),
        ([10, 77, 3, 2], [10, 77, 3, 2], false),
        ([0, 0, 0, 0], [10, 77, 3, 2], false),
        ([0, 0, 0, 0], [10, 77, 0, 1], true),
        ([10, 77, 3, 2], [224, 0, 0, 1], false),
        ([10, 77, 3, 2], [127, 0, 0, 1], false),
    ] {
        network.inject(
            Side::Left,
            arp(Operation::Request, RIGHT_MAC, sender, target),
        );
        assert_eq!(
            said(&mut network, Side::Left).len(),
            usize::from(answered),
            "{sender:?} {target:?}"
        );
    }
}

#[test]
fn a_neighbour_that_moves_is_followed() {
    let mut network = ordinary_pair();
    let socket = network.left.open(Protocol::Udp, Domain::V4).unwrap();
    let send = |network: &mut Network| {
        let (now, remote) = (network.now, "10.0.0.9:9".parse().unwrap());
        network
            .left
            .send_to(now, socket, Some(remote), Bytes::from_static(b"x"))
            .unwrap();
        network
            .drain(Side::Left)
            .pop()
            .map(|frame| frame.slice(..6).to_vec())
    };
    assert_eq!(send(&mut network), Some(Mac::BROADCAST.0.to_vec()));
    network.inject(
        Side::Left,
        arp(Operation::Reply, OTHER, [10, 0, 0, 9], [10, 0, 0, 1]),
    );
    assert_eq!(send(&mut network), Some(OTHER.0.to_vec()));
    let moved = Mac([2, 0, 0, 0, 0, 10]);
    network.inject(
        Side::Left,
        arp(Operation::Request, moved, [10, 0, 0, 9], [10, 0, 0, 9]),
    );
    assert_eq!(send(&mut network), Some(moved.0.to_vec()));
    // A frame that claims our own address changes nothing.
    network.inject(
        Side::Left,
        arp(Operation::Reply, OTHER, [10, 0, 0, 1], [10, 0, 0, 9]),
    );
    assert_eq!(send(&mut network), Some(moved.0.to_vec()));
}

/// RFC 5227 §2.4 (c).
#[test]
fn an_address_that_another_claims_is_announced_once_in_ten_seconds() {
    let mut network = ordinary_pair();
    let own = [10, 0, 0, 1];
    let claims = [
        (Operation::Request, own),           // an announcement
        (Operation::Request, [10, 0, 0, 7]), // a question for somebody
        (Operation::Reply, [10, 0, 0, 7]),
        (Operation::Reply, own),
        (Operation::Request, [10, 0, 0, 2]),
    ];
    let announcement = Packet {
        operation: Operation::Request,
        sender_mac: LEFT_MAC,
        sender: own.into(),
        target_mac: Mac::default(),
        target: own.into(),
    };
    let mut counted = 0;
    for (operation, target) in claims {
        // At once; a moment before the pause is over, and when it is.
        for (pause, said) in [(0, 1), (0, 0), (9_999, 0), (1, 1)] {
            network.pass(Duration::from_millis(pause));
            network.inject(Side::Left, arp(operation, OTHER, own, target));
            let frames = network.drain(Side::Left);
            assert_eq!(frames.len(), said, "{operation:?} {target:?} {pause}");
            for frame in frames {
                assert_eq!(frame[..6], Mac::BROADCAST.0);
                assert_eq!(Packet::parse(&frame[14..]), Ok(announcement));
            }
            counted += 1;
            assert_eq!(network.left.discards().of(Discard::Conflict), counted);
        }
        network.pass(Duration::from_secs(10));
    }
    assert_eq!(network.left.discards().total(), counted);
}

#[test]
fn what_does_not_claim_an_address_is_no_conflict() {
    let mut network = ordinary_pair();
    let group = Mac([3, 0, 0, 0, 0, 9]);
    let mut from_group = arp(Operation::Reply, group, [10, 0, 0, 1], [10, 0, 0, 9]);
    from_group[6..12].copy_from_slice(&OTHER.0);
    let mut own_station = arp(Operation::Request, LEFT_MAC, [10, 0, 0, 1], [10, 0, 0, 1]);
    own_station[6..12].copy_from_slice(&OTHER.0); // sent back by whatever joins networks
    for frame in [
        from_group,
        own_station,
        arp(Operation::Request, OTHER, [0; 4], [10, 0, 0, 9]),
        arp(Operation::Request, OTHER, [10, 0, 0, 9], [10, 0, 0, 9]),
    ] {
        network.inject(Side::Left, frame);
        assert!(said(&mut network, Side::Left).is_empty());
    }
    assert_eq!(network.left.discards().of(Discard::Conflict), 0);
}

#[test]
fn two_hosts_with_one_address_do_not_shout_for_ever() {
    let none = Capabilities::NONE;
    let mut right = ordinary(Side::Right, none);
    right.addresses = vec!["10.0.0.1/24".parse().unwrap()];
    let mut network = Network::new(ordinary(Side::Left, none), right);
    let socket = network.left.open(Protocol::Udp, Domain::V4).unwrap();
    let (now, remote) = (network.now, "10.0.0.9:9".parse().unwrap());
    network.seen = Some(Vec::new());
    network
        .left
        .send_to(now, socket, Some(remote), Bytes::from_static(b"x"))
        .unwrap();
    network.pass(Duration::from_secs(60));
    let announced = |(_, frame): &&(Side, Bytes)| frame[28..32] == frame[38..42];
    let seen = network.seen.take().unwrap();
    let announced: Vec<Side> = seen
        .iter()
        .filter(announced)
        .map(|(side, _)| *side)
        .collect();
    // The question for a third is a claim to the right, whose defence is one to the left, whose defence comes too soon for the right.
    assert_eq!(announced, [Side::Right, Side::Left]);
}

fn solicitation(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    target: Ipv6Addr,
    hop_limit: u8,
) -> Vec<u8> {
    let link = (!source.is_unspecified()).then_some(OTHER);
    let body = ndp::Body { target, link }.emit(ndp::Kind::Solicitation);
    let message = icmpv6::Message::NeighbourSolicitation.emit(&body, source, destination);
    neighbour_message(
        source,
        destination,
        hop_limit,
        &[&message[..], &body].concat(),
    )
}

fn neighbour_message(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
    message: &[u8],
) -> Vec<u8> {
    let header = ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: message.len() as u16,
        next_header: 58,
        hop_limit,
        source,
        destination,
    };
    let to = if destination.is_multicast() {
        Mac::of_group_v6(destination)
    } else {
        LEFT_MAC
    };
    let ethernet = ethernet::Header {
        destination: to,
        source: OTHER,
        ethertype: EtherType::Ipv6,
    };
    [&ethernet.emit()[..], &header.emit(), message].concat()
}

#[test]
fn a_solicitation_is_answered_with_hop_limit_255() {
    let (own, other): (Ipv6Addr, Ipv6Addr) =
        ("fd00::1".parse().unwrap(), "fd00::9".parse().unwrap());
    for (source, destination, to, flags) in [
        (
            other,
            ndp::solicited_node(own),
            other,
            ndp::SOLICITED | ndp::OVERRIDE,
        ),
        (other, own, other, ndp::SOLICITED | ndp::OVERRIDE),
        (
            Ipv6Addr::UNSPECIFIED,
            ndp::solicited_node(own),
            "ff02::1".parse().unwrap(),
            ndp::OVERRIDE,
        ),
    ] {
        let mut network = ordinary_pair();
        network.inject(Side::Left, solicitation(source, destination, own, 255));
        let frames = network.drain(Side::Left);
        let [frame] = &frames[..] else {
            panic!("one answer")
        };
        let header = ipv6::Header::parse(&frame[14..]).unwrap();
        assert_eq!(
            (header.source, header.destination, header.hop_limit),
            (own, to, 255)
        );
        let message = icmpv6::Message::parse(&frame[54..], header.source, header.destination);
        assert_eq!(
            message,
            Ok(icmpv6::Message::NeighbourAdvertisement { flags })
        );
        let body = ndp::Body::parse(ndp::Kind::Advertisement, &frame[62..]);
        assert_eq!(
            body,
            Ok(ndp::Body {
                target: own,
                link: Some(LEFT_MAC)
            })
        );
    }
}

#[test]
fn a_solicitation_from_afar_or_for_another_is_not_answered() {
    let (own, other): (Ipv6Addr, Ipv6Addr) =
        ("fd00::1".parse().unwrap(), "fd00::9".parse().unwrap());
    let mut network = ordinary_pair();
    network.inject(Side::Left, solicitation(other, own, own, 254));
    assert_eq!(network.left.discards().of(Discard::Neighbour), 1);
    network.inject(
        Side::Left,
        solicitation(other, own, "fd00::7".parse().unwrap(), 255),
    );
    assert!(network.drain(Side::Left).is_empty());
}

/// RFC 4862 §5.4.4.
#[test]
fn an_advertisement_of_our_own_address_is_a_conflict_that_changes_nothing() {
    let mut network = ordinary_pair();
    let (own, all): (Ipv6Addr, Ipv6Addr) = ("fd00::1".parse().unwrap(), "ff02::1".parse().unwrap());
    let body = ndp::Body {
        target: own,
        link: Some(OTHER),
    }
    .emit(ndp::Kind::Advertisement);
    let from = "fe80::9".parse().unwrap();
    let flags = ndp::OVERRIDE;
    let claim = icmpv6::Message::NeighbourAdvertisement { flags };
    for source in [from, own] {
        let message = [&claim.emit(&body, source, all)[..], &body].concat();
        network.inject(Side::Left, neighbour_message(source, all, 255, &message));
        assert!(network.drain(Side::Left).is_empty());
    }
    // What says that it is from us is not even looked at.
    assert_eq!(network.left.discards().of(Discard::Conflict), 1);
    assert_eq!(network.left.discards().of(Discard::Source), 1);
    network.inject(Side::Left, solicitation(from, own, own, 255));
    assert_eq!(network.drain(Side::Left).len(), 1, "it is ours still");
}

#[test]
fn the_gateway_s_answer_for_another_does_not_override() {
    let mut network = space(Capabilities::ALL);
    let (asker, target) = ("fd77::3:2".parse().unwrap(), "2001:db8::1".parse().unwrap());
    network.inject(
        Side::Left,
        solicitation(asker, ndp::solicited_node(target), target, 255),
    );
    let frames = network.drain(Side::Left);
    assert_eq!(frames[0][58], ndp::SOLICITED | ndp::ROUTER);
    // Who checks its own address must not hear from us.
    let probe = solicitation(
        Ipv6Addr::UNSPECIFIED,
        ndp::solicited_node(asker),
        asker,
        255,
    );
    network.inject(Side::Left, probe);
    assert!(network.drain(Side::Left).is_empty());
}

#[test]
fn whoever_sends_through_the_gateway_is_known_without_a_question() {
    let mut network = space(Capabilities::ALL);
    let client = network.right.open(Protocol::Udp, Domain::V4).unwrap();
    let (now, remote) = (network.now, "203.0.113.1:53".parse().unwrap());
    network
        .right
        .send_to(now, client, Some(remote), Bytes::from_static(b"x"))
        .unwrap();
    network.pass(Duration::from_millis(1));
    let Some(wharf_net::Event::Datagram { flow, .. }) = network.left.event() else {
        panic!("a datagram")
    };
    let now = network.now;
    network
        .left
        .send_datagram(now, flow, Bytes::from_static(b"y"), None)
        .unwrap();
    let frames = network.drain(Side::Left);
    assert_eq!((frames.len(), &frames[0][..6]), (1, &RIGHT_MAC.0[..]));
}
