//! A gateway's role: the host answers for every address behind a link, and asks its caller first.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;

use std::time::Duration;

use bytes::Bytes;
use network::{Network, Side, space};
use wharf_net::tcp::{Error, State};
use wharf_net::{
    Capabilities, Discard, Event, KnockError, KnockId, Ready, RecvError, Refusal, SocketId,
    Unreachable,
};
use wharf_port::{Domain, Flow, Protocol};

const WEB: [&str; 2] = ["203.0.113.80:443", "[2001:db8::80]:443"];

/// A program in the space connects.
fn dial(network: &mut Network, remote: &str) -> SocketId {
    let client = network.right.open(Protocol::Tcp, Domain::Dual).unwrap();
    let now = network.now;
    network
        .right
        .connect(now, client, remote.parse().unwrap())
        .unwrap();
    client
}

fn knock(network: &mut Network) -> (KnockId, Flow) {
    network.await_event(Side::Left, |event| match event {
        Event::Knock { knock, flow } => Some((knock, flow)),
        _ => None,
    })
}

fn datagram(network: &mut Network) -> (Flow, Bytes, Option<u16>) {
    network.await_event(Side::Left, |event| match event {
        Event::Datagram {
            flow,
            payload,
            segment,
        } => Some((flow, payload, segment)),
        _ => None,
    })
}

#[test]
fn an_admitted_knock_becomes_a_connection_and_ends_in_order() {
    for remote in WEB {
        let mut network = space(Capabilities::ALL);
        let client = dial(&mut network, remote);
        let (knock, flow) = knock(&mut network);
        assert_eq!(flow.local, remote.parse().unwrap());
        // Nothing is answered before the verdict.
        network.pass(Duration::from_millis(100));
        assert_eq!(network.right.state(client), Some(State::SynSent));
        let now = network.now;
        let server = network.left.admit(now, knock).unwrap();
        network
            .left
            .write(now, server, Bytes::from_static(b"welcome"))
            .unwrap();
        let ready = network.await_ready(Side::Left, server, Ready::CONNECTED);
        assert!(!ready.contains(Ready::FAILED));
        assert_eq!(network.left.flow(server), Some(flow));
        network.await_ready(Side::Right, client, Ready::READABLE);
        let said: Vec<u8> = network.right.chunks(client).flatten().copied().collect();
        assert_eq!(said, b"welcome");
        let now = network.now;
        network.right.consume(now, client, 7);
        network
            .right
            .write(now, client, Bytes::from_static(b"bye"))
            .unwrap();
        network.right.shutdown(now, client);
        network.await_ready(Side::Left, server, Ready::READ_CLOSED);
        let said: Vec<u8> = network.left.chunks(server).flatten().copied().collect();
        assert_eq!(said, b"bye");
        let now = network.now;
        network.left.consume(now, server, 3);
        network.left.close(now, server);
        network.await_ready(Side::Right, client, Ready::READ_CLOSED);
        let now = network.now;
        network.right.close(now, client);
        network.pass(Duration::from_secs(100));
        assert_eq!(
            (network.left.socket_count(), network.right.socket_count()),
            (0, 0)
        );
        assert_eq!(
            (network.left.deadline(), network.right.deadline()),
            (None, None)
        );
    }
}

#[test]
fn refused_is_refused_and_unreachable_is_unreachable_at_once() {
    let table = [
        (Refusal::Reset, Some(Error::Refused)),
        (
            Refusal::Unreachable(Unreachable::Port),
            Some(Error::Refused),
        ),
        (
            Refusal::Unreachable(Unreachable::Prohibited),
            Some(Error::Unreachable),
        ),
    ];
    for remote in WEB {
        for (refusal, error) in table {
            let mut network = space(Capabilities::NONE);
            let client = dial(&mut network, remote);
            let (knock, _) = knock(&mut network);
            let now = network.now;
            network.left.refuse(now, knock, refusal);
            network.await_ready(Side::Right, client, Ready::FAILED);
            assert_eq!(network.right.error(client), error, "{remote} {refusal:?}");
            assert!(network.now - now < Duration::from_millis(1));
            assert_eq!(network.left.admit(now, knock), Err(KnockError::Gone));
        }
    }
}

#[test]
fn the_codes_of_an_unreachable_are_the_family_s() {
    let table = [
        (Unreachable::Network, (3, 0), (1, 0)),
        (Unreachable::Host, (3, 1), (1, 3)),
        (Unreachable::Port, (3, 3), (1, 4)),
        (Unreachable::Prohibited, (3, 13), (1, 1)),
    ];
    for (unreachable, v4, v6) in table {
        for (remote, expected, at) in [(WEB[0], v4, 34), (WEB[1], v6, 54)] {
            let mut network = space(Capabilities::ALL);
            dial(&mut network, remote);
            let (knock, _) = knock(&mut network);
            let now = network.now;
            network
                .left
                .refuse(now, knock, Refusal::Unreachable(unreachable));
            let frames = network.drain(Side::Left);
            let [frame] = &frames[..] else {
                panic!("one frame: {frames:?}")
            };
            assert_eq!((frame[at], frame[at + 1]), expected);
        }
    }
}

#[test]
fn a_repeated_syn_is_one_knock_and_a_silent_refusal_lets_the_peer_knock_again() {
    let mut network = space(Capabilities::ALL);
    let client = dial(&mut network, WEB[0]);
    let (first, _) = knock(&mut network);
    network.pass(Duration::from_secs(4));
    assert_eq!(network.left.event(), None);
    let now = network.now;
    network.left.refuse(now, first, Refusal::Silent);
    let (second, _) = knock(&mut network);
    assert_ne!(first, second);
    let now = network.now;
    network.left.admit(now, second).unwrap();
    network.await_ready(Side::Right, client, Ready::CONNECTED);
}

#[test]
fn a_knock_without_a_verdict_is_forgotten() {
    let mut network = space(Capabilities::ALL);
    let client = dial(&mut network, WEB[0]);
    let (knock, _) = knock(&mut network);
    let now = network.now;
    network.right.abort(now, client);
    network.right.close(now, client);
    network.pass(Duration::from_secs(130));
    assert_eq!(network.left.discards().of(Discard::KnockTimeout), 1);
    let now = network.now;
    assert_eq!(network.left.admit(now, knock), Err(KnockError::Gone));
    assert_eq!(network.left.deadline(), None);
}

#[test]
fn datagrams_come_and_go_from_any_address() {
    for remote in ["203.0.113.53:53", "[2001:db8::53]:53"] {
        let mut network = space(Capabilities::ALL);
        let client = network.right.open(Protocol::Udp, Domain::Dual).unwrap();
        let now = network.now;
        network
            .right
            .connect(now, client, remote.parse().unwrap())
            .unwrap();
        network
            .right
            .send_to(now, client, None, Bytes::from_static(b"who?"))
            .unwrap();
        let (flow, payload, segment) = datagram(&mut network);
        assert_eq!(flow.local, remote.parse().unwrap());
        assert_eq!((&payload[..], segment), (&b"who?"[..], None));
        let now = network.now;
        network
            .left
            .send_datagram(now, flow, Bytes::from_static(b"me"), None)
            .unwrap();
        network.await_ready(Side::Right, client, Ready::READABLE);
        assert_eq!(network.right.recv_from(client).unwrap().payload, &b"me"[..]);
        network.left.reject_datagram(now, flow, Unreachable::Port);
        network.await_ready(Side::Right, client, Ready::READABLE);
        assert_eq!(network.right.recv_from(client), Err(RecvError::Refused));
    }
}

#[test]
fn a_datagram_without_a_source_port_is_told_as_such() {
    // RFC 768. Over IPv4 and without a checksum, the source port of a frame can be taken away.
    let mut network = space(Capabilities::NONE);
    let client = network.right.open(Protocol::Udp, Domain::V4).unwrap();
    let (now, remote) = (network.now, "203.0.113.53:53");
    let text = Bytes::from_static(b"heard?");
    network
        .right
        .send_to(now, client, Some(remote.parse().unwrap()), text)
        .unwrap();
    network.seen = Some(Vec::new());
    datagram(&mut network);
    let seen = network.seen.take().unwrap();
    let mut frame = seen.last().unwrap().1.to_vec();
    frame[34..36].fill(0);
    frame[40..42].fill(0);
    network.inject(Side::Left, frame);
    let event = Event::OneWay {
        local: remote.parse().unwrap(),
        remote: [10, 77, 3, 2].into(),
        payload: Bytes::from_static(b"heard?"),
        segment: None,
    };
    assert_eq!(network.left.event(), Some(event));
}

#[test]
fn a_train_of_datagrams_goes_as_one_frame_where_the_link_can() {
    for remote in ["203.0.113.53:53", "[2001:db8::53]:53"] {
        for (capabilities, frames) in [(Capabilities::ALL, 1), (Capabilities::NONE, 4)] {
            let mut network = space(capabilities);
            let client = network.right.open(Protocol::Udp, Domain::Dual).unwrap();
            let now = network.now;
            network
                .right
                .connect(now, client, remote.parse().unwrap())
                .unwrap();
            network
                .right
                .send_to(now, client, None, Bytes::from_static(b"go"))
                .unwrap();
            let (flow, ..) = datagram(&mut network);
            network.seen = Some(Vec::new());
            let train: Bytes = (0..3500u32).map(|at| at as u8).collect();
            let now = network.now;
            network
                .left
                .send_datagram(now, flow, train.clone(), Some(1000))
                .unwrap();
            network.await_ready(Side::Right, client, Ready::READABLE);
            network.pass(Duration::from_millis(1));
            assert_eq!(network.seen.take().unwrap().len(), frames);
            for part in train.chunks(1000) {
                assert_eq!(network.right.recv_from(client).unwrap().payload, part);
            }
            assert_eq!(network.right.recv_from(client), Err(RecvError::Empty));
        }
    }
}

#[test]
fn a_rejected_datagram_of_ours_is_told() {
    let mut network = space(Capabilities::ALL);
    let flow: Flow = "udp/203.0.113.53:53-10.77.3.2:4000".parse().unwrap();
    let now = network.now;
    network
        .left
        .send_datagram(now, flow, Bytes::from_static(b"?"), None)
        .unwrap();
    let rejected = network.await_event(Side::Left, |event| match event {
        Event::Rejected { flow, unreachable } => Some((flow, unreachable)),
        _ => None,
    });
    assert_eq!(rejected, (flow, Unreachable::Port));
}

#[test]
fn a_host_inside_is_reached_from_a_socket_of_ours() {
    let mut network = space(Capabilities::ALL);
    let server = network.right.open(Protocol::Tcp, Domain::V4).unwrap();
    network
        .right
        .bind(server, "0.0.0.0:8000".parse().unwrap())
        .unwrap();
    network.right.listen(server, 5).unwrap();
    let client = network.left.open(Protocol::Tcp, Domain::V4).unwrap();
    let now = network.now;
    network
        .left
        .connect(now, client, "10.77.3.2:8000".parse().unwrap())
        .unwrap();
    network.await_ready(Side::Left, client, Ready::CONNECTED);
    // From any address, too: whom the machine's client is.
    let other = network.left.open(Protocol::Tcp, Domain::V4).unwrap();
    network
        .left
        .bind(other, "203.0.113.7:0".parse().unwrap())
        .unwrap();
    let now = network.now;
    let flow = network
        .left
        .connect(now, other, "10.77.3.2:8000".parse().unwrap())
        .unwrap();
    assert_eq!(
        flow.local.address(),
        std::net::IpAddr::from([203, 0, 113, 7])
    );
    network.await_ready(Side::Left, other, Ready::CONNECTED);
}

#[test]
fn a_flood_of_knocks_has_a_bound() {
    let mut network = space(Capabilities::ALL);
    for _ in 0..6 {
        for _ in 0..1000 {
            dial(&mut network, WEB[0]);
        }
        network.pass(Duration::from_secs(2));
        while network.left.event().is_some() {}
    }
    assert!(network.left.discards().of(Discard::KnockLimit) >= 1900);
    network.pass(Duration::from_millis(1));
    assert_eq!(network.left.socket_count(), 0);
}
