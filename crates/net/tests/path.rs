//! A path that swallows large packets and says nothing: segments get small enough by themselves, and the host remembers. RFC 8899.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;

use std::time::Duration;

use bytes::Bytes;
use network::{Network, Side, ordinary};
use wharf_net::{Capabilities, Ready, SocketId};
use wharf_port::{Domain, Protocol};

fn connected(network: &mut Network, listener: SocketId, server: &str) -> (SocketId, SocketId) {
    let domain = match server.starts_with('[') {
        true => Domain::V6Only,
        false => Domain::V4,
    };
    let client = network.left.open(Protocol::Tcp, domain).unwrap();
    let now = network.now;
    let remote = server.parse().unwrap();
    network.left.connect(now, client, remote).unwrap();
    network.await_ready(Side::Left, client, Ready::CONNECTED);
    network.pass(Duration::from_millis(10));
    (client, network.right.accept(listener).unwrap())
}

/// Octets from left to right; how long that took, and the longest packets that the left host sent meanwhile.
fn send(
    network: &mut Network,
    (from, to): (SocketId, SocketId),
    octets: usize,
) -> (Duration, usize) {
    let (start, text) = (network.now, Bytes::from(vec![7; 100_000]));
    network.seen = Some(Vec::new());
    let (mut sent, mut got) = (0, 0);
    network.until(Duration::from_secs(60), |network| {
        let now = network.now;
        let piece = text.slice(..text.len().min(octets - sent));
        sent += network.left.write(now, from, piece).unwrap();
        let readable = network.right.readable(to);
        network.right.consume(now, to, readable);
        got += readable;
        got == octets
    });
    let seen = network.seen.take().unwrap();
    let lengths = seen.iter().filter(|(side, _)| *side == Side::Left);
    let longest = lengths.map(|(_, frame)| frame.len() - 14).max().unwrap();
    (network.now - start, longest)
}

#[test]
fn a_black_hole_is_found_once_and_known_to_the_next_connection() {
    for (server, takes) in [("10.0.0.2:80", 1400), ("[fd00::2]:80", 1350)] {
        let hosts = [Side::Left, Side::Right].map(|side| ordinary(side, Capabilities::NONE));
        let [left, right] = hosts;
        let mut network = Network::new(left, right);
        let domain = match server.starts_with('[') {
            true => Domain::V6Only,
            false => Domain::V4,
        };
        let listener = network.right.open(Protocol::Tcp, domain).unwrap();
        let local = server.parse().unwrap();
        network.right.bind(listener, local).unwrap();
        network.right.listen(listener, 4).unwrap();
        network.swallow = takes;
        let first = connected(&mut network, listener, server);
        let (took, longest) = send(&mut network, first, 4_000_000);
        assert_eq!(longest, 1500, "{server}");
        assert!(took < Duration::from_secs(5), "{server}: {took:?}");
        let second = connected(&mut network, listener, server);
        let (took, longest) = send(&mut network, second, 1_000_000);
        assert_eq!(longest, takes, "{server}");
        assert!(took < Duration::from_millis(500), "{server}: {took:?}");
        // The first has found it too.
        let (took, _) = send(&mut network, first, 100_000);
        assert!(took < Duration::from_millis(100), "{server}: {took:?}");
    }
}
