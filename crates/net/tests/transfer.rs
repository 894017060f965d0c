//! Streams between two ordinary hosts, over good wires and bad ones.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;

use std::time::Duration;

use bytes::Bytes;
use network::{Impairment, Network, Side, ordinary};
use wharf_net::tcp::State;
use wharf_net::{Capabilities, Discard, Event, Frame, Host, Instant, Ready, SocketId};
use wharf_port::{Domain, Endpoint, Protocol};

/// One direction of a stream: what is still to be sent, what has come.
struct Half {
    socket: SocketId,
    side: Side,
    seed: u64,
    length: u64,
    sent: u64,
    got: u64,
    chunk: Bytes,
}

/// The octets of a stream follow from its seed and their place.
fn octets(seed: u64, at: u64, length: usize) -> Vec<u8> {
    let mut octets = Vec::with_capacity(length + 8);
    let mut word = at / 8;
    while octets.len() < length + 8 {
        let mixed = (word ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        octets.extend_from_slice(&(mixed ^ mixed >> 29).to_le_bytes());
        word += 1;
    }
    let skip = (at % 8) as usize;
    octets[skip..skip + length].to_vec()
}

impl Half {
    fn new(side: Side, socket: SocketId, seed: u64, length: u64) -> Self {
        Self {
            socket,
            side,
            seed,
            length,
            sent: 0,
            got: 0,
            chunk: Bytes::new(),
        }
    }

    fn write(&mut self, network: &mut Network) {
        let now = network.now;
        let host = network.host(self.side);
        loop {
            if self.chunk.is_empty() {
                let next = (self.length - self.sent).min(64 << 10) as usize;
                if next == 0 {
                    return;
                }
                self.chunk = octets(self.seed, self.sent, next).into();
                self.sent += next as u64;
            }
            if host.room(self.socket) == 0 {
                return;
            }
            let taken = host.write(now, self.socket, self.chunk.clone()).unwrap();
            self.chunk = self.chunk.slice(taken..);
            if self.chunk.is_empty() && self.sent == self.length {
                host.shutdown(now, self.socket);
                return;
            }
        }
    }

    /// Reads at the other end, and compares.
    fn read(&mut self, network: &mut Network, socket: SocketId) {
        let now = network.now;
        let host = network.host(self.side.other());
        let mut count = 0;
        for chunk in host.chunks(socket) {
            assert!(
                chunk == octets(self.seed, self.got + count as u64, chunk.len()),
                "at {}",
                self.got
            );
            count += chunk.len();
        }
        if count > 0 {
            host.consume(now, socket, count);
            self.got += count as u64;
        }
    }
}

fn connected(network: &mut Network, remote: &str) -> (SocketId, SocketId) {
    let remote: Endpoint = remote.parse().unwrap();
    let server = network.right.open(Protocol::Tcp, Domain::Dual).unwrap();
    network
        .right
        .bind(server, "[::]:80".parse().unwrap())
        .unwrap();
    network.right.listen(server, 16).unwrap();
    let domain = if remote.address().is_ipv4() {
        Domain::V4
    } else {
        Domain::V6Only
    };
    let client = network.left.open(Protocol::Tcp, domain).unwrap();
    let now = network.now;
    network.left.connect(now, client, remote).unwrap();
    let accepted = network.await_event(Side::Right, |event| match event {
        Event::Incoming { listener, socket } => {
            assert_eq!(listener, server);
            Some(socket)
        }
        _ => None,
    });
    assert_eq!(network.right.accept(server), Ok(accepted));
    network.right.close(now, server);
    network.until(Duration::from_secs(60), |network| {
        network.left.state(client) == Some(State::Established)
    });
    (client, accepted)
}

/// Sends `length` octets each way at once, and closes.
fn exchange(network: &mut Network, remote: &str, length: u64) {
    let (client, server) = connected(network, remote);
    let mut up = Half::new(Side::Left, client, 1, length);
    let mut down = Half::new(Side::Right, server, 2, length);
    network.until(Duration::from_secs(3600), |network| {
        up.write(network);
        down.write(network);
        up.read(network, server);
        down.read(network, client);
        network.left.is_read_closed(client) && network.right.is_read_closed(server)
    });
    assert_eq!((up.got, down.got), (length, length));
    let now = network.now;
    network.left.close(now, client);
    network.right.close(now, server);
    network.pass(Duration::from_secs(120));
    assert_eq!(
        (network.left.socket_count(), network.right.socket_count()),
        (0, 0)
    );
    assert_eq!(
        (network.left.deadline(), network.right.deadline()),
        (None, None)
    );
}

fn network(capabilities: Capabilities, impairment: Impairment) -> Network {
    let mut network = Network::new(
        ordinary(Side::Left, capabilities),
        ordinary(Side::Right, capabilities),
    );
    network.impairment = impairment;
    network
}

const BAD: Impairment = Impairment {
    loss: 10,
    duplication: 5,
    corruption: 0,
    delay: Duration::from_millis(2),
    jitter: Duration::from_millis(1),
    bottleneck: None,
};

#[test]
fn a_good_wire_with_offloads_carries_64_mib_each_way() {
    exchange(
        &mut network(Capabilities::ALL, Impairment::NONE),
        "10.0.0.2:80",
        64 << 20,
    );
    exchange(
        &mut network(Capabilities::ALL, Impairment::NONE),
        "[fd00::2]:80",
        64 << 20,
    );
}

#[test]
fn a_good_wire_without_offloads_carries_16_mib_each_way() {
    exchange(
        &mut network(Capabilities::NONE, Impairment::NONE),
        "10.0.0.2:80",
        16 << 20,
    );
    exchange(
        &mut network(Capabilities::NONE, Impairment::NONE),
        "[fd00::2]:80",
        16 << 20,
    );
}

#[test]
fn a_wire_that_loses_doubles_delays_and_reorders_carries_all_of_it() {
    for remote in ["10.0.0.2:80", "[fd00::2]:80"] {
        exchange(&mut network(Capabilities::NONE, BAD), remote, 8 << 20);
        exchange(&mut network(Capabilities::ALL, BAD), remote, 16 << 20);
    }
}

#[test]
fn damaged_segments_are_noticed_and_sent_again() {
    let damage = Impairment {
        corruption: 20,
        ..BAD
    };
    let mut network = network(Capabilities::NONE, damage);
    exchange(&mut network, "10.0.0.2:80", 4 << 20);
    assert!(network.left.discards().of(Discard::Checksum) > 0);
}

/// RFC 8985 §7.2: a probe waits for longer than the peer may hold its acknowledgment back, also where a round trip is short.
#[test]
fn on_a_quick_wire_nothing_is_sent_twice() {
    for delay in [1, 20, 200, 900].map(Duration::from_micros) {
        for capabilities in [Capabilities::NONE, Capabilities::ALL] {
            let wire = Impairment {
                delay,
                ..Impairment::NONE
            };
            let mut network = network(capabilities, wire);
            let (client, server) = connected(&mut network, "10.0.0.2:80");
            for length in [1, 700, 1460, 1461, 2000, 2919, 2920, 3000, 5000, 40_000] {
                for pause in [1, 3, 30, 500].map(Duration::from_millis) {
                    let now = network.now;
                    let text = octets(7, 0, length).into();
                    assert_eq!(network.left.write(now, client, text), Ok(length));
                    network.pass(pause);
                    let now = network.now;
                    network.right.consume(now, server, usize::MAX);
                }
                network.pass(Duration::from_secs(1));
                let twice = network.right.discards().of(Discard::Repeated);
                assert_eq!(twice, 0, "{length} octets, {delay:?}, {capabilities:?}");
            }
        }
    }
}

#[test]
fn nobody_at_the_port_refuses_at_once() {
    let mut network = network(Capabilities::NONE, Impairment::NONE);
    let client = network.left.open(Protocol::Tcp, Domain::V4).unwrap();
    let now = network.now;
    network
        .left
        .connect(now, client, "10.0.0.2:81".parse().unwrap())
        .unwrap();
    network.await_ready(Side::Left, client, Ready::FAILED);
    assert_eq!(
        network.left.error(client),
        Some(wharf_net::tcp::Error::Refused)
    );
    assert!(network.now - now < Duration::from_millis(1));
}

#[test]
fn a_host_talks_to_itself_without_a_link() {
    for remote in ["127.0.0.1:80", "10.0.0.2:80", "[::1]:80"] {
        let mut network = network(Capabilities::NONE, Impairment::NONE);
        let server = network.right.open(Protocol::Tcp, Domain::Dual).unwrap();
        network
            .right
            .bind(server, "[::]:80".parse().unwrap())
            .unwrap();
        network.right.listen(server, 1).unwrap();
        let client = network.right.open(Protocol::Tcp, Domain::Dual).unwrap();
        let now = network.now;
        network
            .right
            .connect(now, client, remote.parse().unwrap())
            .unwrap();
        network.seen = Some(Vec::new());
        network.await_ready(Side::Right, client, Ready::CONNECTED);
        let accepted = network.right.accept(server).unwrap();
        let now = network.now;
        let taken = network
            .right
            .write(now, client, octets(3, 0, 100_000).into())
            .unwrap();
        let mut got = Vec::new();
        network.until(Duration::from_secs(5), |network| {
            let now = network.now;
            let chunks: Vec<u8> = network.right.chunks(accepted).flatten().copied().collect();
            network.right.consume(now, accepted, chunks.len());
            got.extend(chunks);
            got.len() == taken
        });
        assert_eq!(got, octets(3, 0, taken));
        assert!(network.seen.take().unwrap().is_empty());
    }
}

#[test]
fn a_thousand_connections_at_once_and_nothing_is_left_behind() {
    let mut network = network(Capabilities::ALL, Impairment::NONE);
    let server = network.right.open(Protocol::Tcp, Domain::V4).unwrap();
    network
        .right
        .bind(server, "10.0.0.2:80".parse().unwrap())
        .unwrap();
    network.right.listen(server, 4096).unwrap();
    let now = network.now;
    let clients: Vec<SocketId> = (0..1000)
        .map(|_| {
            let client = network.left.open(Protocol::Tcp, Domain::V4).unwrap();
            network
                .left
                .connect(now, client, "10.0.0.2:80".parse().unwrap())
                .unwrap();
            network
                .left
                .write(now, client, Bytes::from_static(b"hello"))
                .unwrap();
            client
        })
        .collect();
    network.pass(Duration::from_secs(5));
    let mut accepted = Vec::new();
    while let Ok(socket) = network.right.accept(server) {
        let said: Vec<u8> = network.right.chunks(socket).flatten().copied().collect();
        assert_eq!(said, b"hello");
        accepted.push(socket);
    }
    assert_eq!(accepted.len(), 1000);
    let now = network.now;
    for socket in accepted {
        network.right.consume(now, socket, 5);
        network.right.close(now, socket);
    }
    network.right.close(now, server);
    network.pass(Duration::from_secs(1));
    let now = network.now;
    for client in clients {
        assert!(network.left.is_read_closed(client));
        network.left.close(now, client);
    }
    network.pass(Duration::from_secs(120));
    assert_eq!(
        (network.left.socket_count(), network.right.socket_count()),
        (0, 0)
    );
}

#[test]
fn a_backlog_of_n_takes_n_and_one_more() {
    let mut network = network(Capabilities::NONE, Impairment::NONE);
    let server = network.right.open(Protocol::Tcp, Domain::V4).unwrap();
    network
        .right
        .bind(server, "10.0.0.2:80".parse().unwrap())
        .unwrap();
    network.right.listen(server, 2).unwrap();
    for _ in 0..6 {
        let client = network.left.open(Protocol::Tcp, Domain::V4).unwrap();
        let now = network.now;
        network
            .left
            .connect(now, client, "10.0.0.2:80".parse().unwrap())
            .unwrap();
        network.pass(Duration::from_millis(100));
    }
    let accepted = std::iter::from_fn(|| network.right.accept(server).ok()).count();
    assert_eq!(accepted, 3);
    assert!(network.right.discards().of(Discard::Backlog) >= 3);
}

#[test]
fn closing_a_listener_resets_who_was_not_accepted() {
    let mut network = network(Capabilities::NONE, Impairment::NONE);
    let server = network.right.open(Protocol::Tcp, Domain::V4).unwrap();
    network
        .right
        .bind(server, "10.0.0.2:80".parse().unwrap())
        .unwrap();
    network.right.listen(server, 5).unwrap();
    let client = network.left.open(Protocol::Tcp, Domain::V4).unwrap();
    let now = network.now;
    network
        .left
        .connect(now, client, "10.0.0.2:80".parse().unwrap())
        .unwrap();
    network.await_ready(Side::Left, client, Ready::CONNECTED);
    network.pass(Duration::from_millis(10));
    let now = network.now;
    network.right.close(now, server);
    network.await_ready(Side::Left, client, Ready::FAILED);
    assert_eq!(
        network.left.error(client),
        Some(wharf_net::tcp::Error::Reset)
    );
    assert_eq!(network.right.socket_count(), 0);
}

/// Carries frames between two hosts until both are quiet.
fn settle(now: Instant, hosts: [&mut Host; 2]) {
    let [left, right] = hosts;
    loop {
        let mut quiet = true;
        while let Some(frame) = left.transmit(now) {
            right.receive(now, Frame::from_link(frame.to_link()).unwrap());
            quiet = false;
        }
        while let Some(frame) = right.transmit(now) {
            left.receive(now, Frame::from_link(frame.to_link()).unwrap());
            quiet = false;
        }
        if quiet {
            return;
        }
    }
}

/// A host at the left with a connection under way from its port 5000 to the right one's port 7.
fn caller(now: Instant) -> (Host, SocketId) {
    let mut host = Host::new(ordinary(Side::Left, Capabilities::NONE));
    let socket = host.open(Protocol::Tcp, Domain::V4).unwrap();
    let local: Endpoint = "0.0.0.0:5000".parse().unwrap();
    host.bind(socket, local.into()).unwrap();
    host.connect(now, socket, "10.0.0.2:7".parse().unwrap())
        .unwrap();
    (host, socket)
}

#[test]
fn a_syn_right_behind_the_last_acknowledgment_finds_the_place_free() {
    let now = Instant::from_millis(1000);
    let mut server = Host::new(ordinary(Side::Right, Capabilities::NONE));
    let listener = server.open(Protocol::Tcp, Domain::V4).unwrap();
    let local: Endpoint = "0.0.0.0:7".parse().unwrap();
    server.bind(listener, local.into()).unwrap();
    server.listen(listener, 8).unwrap();

    let (mut first, socket) = caller(now);
    settle(now, [&mut first, &mut server]);
    let accepted = server.accept(listener).unwrap();
    first.shutdown(now, socket);
    settle(now, [&mut first, &mut server]);
    server.shutdown(now, accepted);
    while let Some(frame) = server.transmit(now) {
        first.receive(now, Frame::from_link(frame.to_link()).unwrap());
    }
    // The first caller's last word, and another caller's first one from the same port, arrive at once.
    let mut late: Vec<Frame> = std::iter::from_fn(|| first.transmit(now)).collect();
    let (mut second, again) = caller(now);
    let question = second.transmit(now).unwrap();
    server.receive(now, Frame::from_link(question.to_link()).unwrap());
    let answer = server.transmit(now).unwrap();
    second.receive(now, Frame::from_link(answer.to_link()).unwrap());
    late.extend(std::iter::from_fn(|| second.transmit(now)));
    assert_eq!(late.len(), 2);
    for frame in late {
        server.receive(now, Frame::from_link(frame.to_link()).unwrap());
    }
    settle(now, [&mut second, &mut server]);
    assert_eq!(second.state(again), Some(State::Established));
}
