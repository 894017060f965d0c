//! Text in a SYN is kept until the handshake is complete, and is no harm when it comes twice. RFC 9293 §3.4.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;

use std::net::Ipv4Addr;

use network::{LEFT_MAC, Network, RIGHT_MAC, Side, space};
use wharf_net::wire::checksum::Sum;
use wharf_net::wire::tcp::{Control, Flags, Header, SeqNum};
use wharf_net::wire::{ethernet, ipv4};
use wharf_net::{Capabilities, Event, SocketId};
use wharf_port::{Domain, Protocol};

const PEER: Ipv4Addr = Ipv4Addr::new(10, 77, 3, 2);
const WEB: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const ISN: u32 = 4_294_967_290;
const TEXT: &[u8] = b"text in the SYN";

fn frame(control: Control, text: &[u8]) -> Vec<u8> {
    let header = Header {
        source: 50_000,
        destination: 80,
        control,
    };
    let mut segment = vec![0; header.len()];
    header.emit(&mut segment);
    segment.extend_from_slice(text);
    let mut sum = Sum::pseudo(PEER.into(), WEB.into(), 6, segment.len());
    sum.add(&segment);
    segment[16..18].copy_from_slice(&sum.checksum().to_be_bytes());
    let ip = ipv4::Header {
        traffic_class: 0,
        payload_len: segment.len() as u16,
        ident: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: 6,
        source: PEER,
        destination: WEB,
    };
    let ethernet = ethernet::Header {
        destination: LEFT_MAC,
        source: RIGHT_MAC,
        ethertype: ethernet::EtherType::Ipv4,
    };
    [&ethernet.emit()[..], &ip.emit(), &segment].concat()
}

fn answer(network: &mut Network) -> Control {
    let sent = network.drain(Side::Left);
    let tcp = sent.iter().find(|frame| frame[12..14] == [8, 0]).unwrap();
    Header::parse(&tcp[34..]).unwrap().0.control
}

fn syn(network: &mut Network) {
    let control = Control {
        seq: SeqNum::new(ISN),
        flags: Flags::SYN,
        window: 5000,
        ..Control::default()
    };
    network.inject(Side::Left, frame(control, TEXT));
}

/// The peer has not seen that its text was acknowledged: it comes again, with the handshake's last acknowledgment.
fn complete(network: &mut Network, socket: impl FnOnce(&mut Network) -> SocketId) {
    let control = answer(network);
    assert_eq!(control.flags, Flags::SYN | Flags::ACK);
    assert_eq!(control.ack, SeqNum::new(ISN) + 1 + TEXT.len());
    let again = Control {
        seq: SeqNum::new(ISN) + 1,
        ack: control.seq + 1,
        flags: Flags::ACK,
        window: 5000,
        ..Control::default()
    };
    network.inject(Side::Left, frame(again, TEXT));
    let socket = socket(network);
    let said: Vec<u8> = network.left.chunks(socket).flatten().copied().collect();
    assert_eq!(said, TEXT);
    assert_eq!(answer(network).ack, control.ack);
}

/// The host has to know the peer's hardware address before it can answer.
fn meet(network: &mut Network) {
    let peer = network.right.open(Protocol::Udp, Domain::V4).unwrap();
    let now = network.now;
    let gateway = "10.77.0.1:9".parse().unwrap();
    network
        .right
        .send_to(now, peer, Some(gateway), TEXT.into())
        .unwrap();
    network.pass(std::time::Duration::from_millis(10));
    while network.left.event().is_some() {}
}

#[test]
fn a_listener_keeps_it() {
    let mut network = space(Capabilities::NONE);
    meet(&mut network);
    let server = network.left.open(Protocol::Tcp, Domain::V4).unwrap();
    network
        .left
        .bind(server, "0.0.0.0:80".parse().unwrap())
        .unwrap();
    network.left.listen(server, 1).unwrap();
    syn(&mut network);
    complete(&mut network, |network| network.left.accept(server).unwrap());
}

#[test]
fn a_knock_keeps_it() {
    let mut network = space(Capabilities::NONE);
    meet(&mut network);
    syn(&mut network);
    let Some(Event::Knock { knock, .. }) = network.left.event() else {
        panic!("nobody knocks");
    };
    assert!(network.drain(Side::Left).is_empty());
    let now = network.now;
    let socket = network.left.admit(now, knock).unwrap();
    complete(&mut network, |_| socket);
}
