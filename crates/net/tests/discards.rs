//! What goes nowhere has a reason and is counted, down to segments that a connection does not take.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;

use bytes::Bytes;
use network::{LEFT_MAC, Network, RIGHT_MAC, Side, ordinary};
use wharf_net::wire::arp::{Operation, Packet};
use wharf_net::wire::ethernet::{self, EtherType, Mac};
use wharf_net::{Capabilities, Discard, Ready};
use wharf_port::{Domain, Protocol};

fn pair() -> Network {
    let config = |side| ordinary(side, Capabilities::NONE);
    Network::new(config(Side::Left), config(Side::Right))
}

fn arp(packet: &Packet) -> Vec<u8> {
    let header = ethernet::Header {
        destination: RIGHT_MAC,
        source: LEFT_MAC,
        ethertype: EtherType::Arp,
    };
    [&header.emit()[..], &packet.emit()].concat()
}

#[test]
fn segments_that_a_connection_drops_are_counted_by_its_host() {
    let mut network = pair();
    let listener = network.right.open(Protocol::Tcp, Domain::V4).unwrap();
    network
        .right
        .bind(listener, "10.0.0.2:80".parse().unwrap())
        .unwrap();
    network.right.listen(listener, 8).unwrap();
    let client = network.left.open(Protocol::Tcp, Domain::V4).unwrap();
    let now = network.now;
    let to = "10.0.0.2:80".parse().unwrap();
    network.left.connect(now, client, to).unwrap();
    network.await_ready(Side::Left, client, Ready::CONNECTED);
    let before = network.right.discards().total();
    network
        .left
        .write(now, client, Bytes::from_static(b"once"))
        .unwrap();
    let sent = network.drain(Side::Left);
    for _ in 0..3 {
        network.inject(Side::Right, sent[0].to_vec());
    }
    assert_eq!(network.right.discards().of(Discard::Repeated), 2);
    assert_eq!(network.right.discards().total(), before + 2);
}

#[test]
fn questions_for_others_and_answers_to_no_question() {
    let mut network = pair();
    let stranger = Packet {
        operation: Operation::Request,
        sender_mac: Mac([2, 0, 0, 0, 0, 9]),
        sender: "10.0.0.9".parse().unwrap(),
        target_mac: Mac::default(),
        target: "10.0.0.8".parse().unwrap(),
    };
    network.inject(Side::Right, arp(&stranger));
    assert_eq!(network.right.discards().of(Discard::NotMine), 1);
    let answer = Packet {
        operation: Operation::Reply,
        target: "10.0.0.2".parse().unwrap(),
        ..stranger
    };
    network.inject(Side::Right, arp(&answer));
    assert_eq!(network.right.discards().of(Discard::Neighbour), 1);
    assert_eq!(network.right.discards().total(), 2);
}
