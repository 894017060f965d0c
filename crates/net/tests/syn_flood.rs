//! A flood of SYNs from nobody: the half-open queue stays bounded, and who really calls gets through. RFC 4987.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use network::{Impairment, LEFT_MAC, Network, RIGHT_MAC, Side, ordinary};
use wharf_net::wire::checksum::Sum;
use wharf_net::wire::tcp::{Control, Flags, Header, SeqNum};
use wharf_net::wire::{ethernet, ipv4};
use wharf_net::{Capabilities, Config, Ready, SocketId};
use wharf_port::{Domain, Protocol};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// A segment to port 80 of the right host.
fn frame(source: Ipv4Addr, port: u16, control: Control) -> Vec<u8> {
    let header = Header {
        source: port,
        destination: 80,
        control,
    };
    let mut segment = vec![0; header.len()];
    header.emit(&mut segment);
    let mut sum = Sum::pseudo(source.into(), SERVER.into(), 6, segment.len());
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
        source,
        destination: SERVER,
    };
    let ethernet = ethernet::Header {
        destination: RIGHT_MAC,
        source: LEFT_MAC,
        ethertype: ethernet::EtherType::Ipv4,
    };
    [&ethernet.emit()[..], &ip.emit(), &segment].concat()
}

fn flood(network: &mut Network, count: u32) {
    for number in 0..count {
        let source = Ipv4Addr::new(10, 0, 0, 10 + (number % 200) as u8);
        let control = Control {
            seq: SeqNum::new(number.wrapping_mul(0x9e37_79b9)),
            flags: Flags::SYN,
            window: 5000,
            ..Control::default()
        };
        let port = 1024 + (number / 200) as u16;
        network.inject(Side::Right, frame(source, port, control));
        if number % 100 == 0 {
            network.drain(Side::Right); // To addresses where nobody is: only questions for those.
        }
    }
    network.drain(Side::Right);
}

fn listening(client: Config) -> (Network, SocketId) {
    let server = ordinary(Side::Right, Capabilities::NONE);
    let mut network = Network::new(client, server);
    let listener = network.right.open(Protocol::Tcp, Domain::V4).unwrap();
    let local = "10.0.0.2:80".parse().unwrap();
    network.right.bind(listener, local).unwrap();
    network.right.listen(listener, 16).unwrap();
    (network, listener)
}

fn connect(network: &mut Network) -> SocketId {
    let client = network.left.open(Protocol::Tcp, Domain::V4).unwrap();
    let now = network.now;
    let remote = "10.0.0.2:80".parse().unwrap();
    network.left.connect(now, client, remote).unwrap();
    client
}

/// Half a megabyte from the client to the server.
fn transfer(network: &mut Network, from: SocketId, to: SocketId) {
    let octets: Bytes = (0..500_000u32).map(|at| (at % 251) as u8).collect();
    let (mut sent, mut got) = (0, Vec::new());
    network.until(Duration::from_secs(60), |network| {
        let now = network.now;
        sent += network.left.write(now, from, octets.slice(sent..)).unwrap();
        let before = got.len();
        got.extend(network.right.chunks(to).flatten());
        let count = got.len() - before;
        network.right.consume(now, to, count);
        got.len() == octets.len()
    });
    assert!(got == octets);
}

#[test]
fn a_client_gets_through_a_flood() {
    let (mut network, listener) = listening(ordinary(Side::Left, Capabilities::NONE));
    flood(&mut network, 10_000);
    let half_open = network.right.socket_count();
    assert!((200..=300).contains(&half_open), "{half_open}");
    let client = connect(&mut network);
    network.await_ready(Side::Left, client, Ready::CONNECTED);
    network.pass(Duration::from_millis(10));
    let server = network.right.accept(listener).unwrap();
    transfer(&mut network, client, server);
    network.left.shutdown(network.now, client);
    network.await_ready(Side::Right, server, Ready::READ_CLOSED);
    network.right.close(network.now, server);
    network.await_ready(Side::Left, client, Ready::CLOSED);
    network.pass(Duration::from_millis(10));
    assert_eq!(network.right.socket_count(), half_open);
}

#[test]
fn a_client_without_options_gets_through_too() {
    let mut config = ordinary(Side::Left, Capabilities::NONE);
    (config.tcp.timestamps, config.tcp.sack) = (false, false);
    let (mut network, listener) = listening(config);
    flood(&mut network, 1000);
    let client = connect(&mut network);
    network.await_ready(Side::Left, client, Ready::CONNECTED);
    network.pass(Duration::from_millis(10));
    let server = network.right.accept(listener).unwrap();
    transfer(&mut network, client, server);
}

/// The client's own acknowledgment is lost: what it says first completes the handshake.
#[test]
fn the_first_text_completes_a_handshake_too() {
    let (mut network, listener) = listening(ordinary(Side::Left, Capabilities::NONE));
    flood(&mut network, 1000);
    let client = connect(&mut network);
    network.await_ready(Side::Left, client, Ready::CONNECTED);
    network.impairment = Impairment {
        loss: 1000,
        ..Impairment::NONE
    };
    network.pass(Duration::from_millis(10));
    network.impairment = Impairment::NONE;
    let now = network.now;
    let text = Bytes::from_static(b"first words");
    network.left.write(now, client, text).unwrap();
    network.pass(Duration::from_millis(500));
    let server = network.right.accept(listener).unwrap();
    assert_eq!(network.right.readable(server), 11);
}

#[test]
fn made_up_acknowledgments_connect_nobody() {
    let (mut network, listener) = listening(ordinary(Side::Left, Capabilities::NONE));
    flood(&mut network, 1000);
    let sockets = network.right.socket_count();
    for guess in 0..20_000u32 {
        let control = Control {
            seq: SeqNum::new(guess),
            ack: SeqNum::new(guess.wrapping_mul(214_013)),
            flags: Flags::ACK,
            window: 5000,
            ..Control::default()
        };
        let source = Ipv4Addr::new(10, 0, 0, 250);
        network.inject(Side::Right, frame(source, 5000, control));
        network.drain(Side::Right);
    }
    assert_eq!(network.right.socket_count(), sockets);
    assert!(network.right.accept(listener).is_err());
}

/// Nobody waits in the accept queue beyond its bound, whatever cookies come back.
#[test]
fn cookies_respect_the_accept_queue() {
    let (mut network, listener) = listening(ordinary(Side::Left, Capabilities::NONE));
    flood(&mut network, 1000);
    for _ in 0..40 {
        connect(&mut network);
    }
    network.pass(Duration::from_secs(1));
    let accepted = std::iter::from_fn(|| network.right.accept(listener).ok()).count();
    assert_eq!(accepted, 17);
}
