//! Nothing that arrives can panic a host, make it loop, or make it grow without bound.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;

use std::time::Duration;

use bytes::Bytes;
use network::{Chance, Network, Side, ordinary, space};
use proptest::prelude::*;
use wharf_net::wire::checksum;
use wharf_net::{Capabilities, Event, Frame, Refusal, Unreachable};
use wharf_port::{Domain, Protocol};

/// Plays both sides for a while, and returns real frames of all kinds that the left has received.
fn recorded() -> (Network, Vec<Bytes>) {
    let mut network = space(Capabilities::NONE);
    network.seen = Some(Vec::new());
    for remote in ["203.0.113.1:80", "[2001:db8::1]:80"] {
        let now = network.now;
        let client = network.right.open(Protocol::Tcp, Domain::Dual).unwrap();
        network
            .right
            .connect(now, client, remote.parse().unwrap())
            .unwrap();
        let udp = network.right.open(Protocol::Udp, Domain::Dual).unwrap();
        let payload = Bytes::from(vec![3; 4000]);
        network
            .right
            .send_to(now, udp, Some(remote.parse().unwrap()), payload)
            .unwrap();
        let knock = network.await_event(Side::Left, |event| match event {
            Event::Knock { knock, .. } => Some(knock),
            _ => None,
        });
        let now = network.now;
        network.left.admit(now, knock).unwrap();
        network
            .right
            .write(now, client, Bytes::from(vec![4; 5000]))
            .unwrap();
        network.pass(Duration::from_millis(50));
    }
    let seen = network.seen.take().unwrap();
    let frames = seen
        .into_iter()
        .filter(|(side, _)| *side == Side::Right)
        .map(|(_, frame)| frame);
    (network, frames.collect())
}

/// Makes a frame's IPv4 header checksum right again, so that what is behind it is looked at.
fn repair(frame: &mut [u8]) {
    if frame.len() >= 34 && frame[12..14] == [8, 0] {
        let length = usize::from(frame[14] & 15) * 4;
        if (20..=frame.len() - 14).contains(&length) {
            frame[24..26].fill(0);
            let sum = checksum::checksum(&frame[14..14 + length]);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
    }
}

/// What a caller does with events, at random.
fn react(network: &mut Network, chance: &mut Chance) {
    let now = network.now;
    while let Some(event) = network.left.event() {
        match (event, chance.next() % 3) {
            (Event::Knock { knock, .. }, 0) => drop(network.left.admit(now, knock)),
            (Event::Knock { knock, .. }, 1) => {
                let unreachable = Refusal::Unreachable(Unreachable::Host);
                network.left.refuse(now, knock, unreachable);
            }
            (
                Event::Datagram {
                    flow,
                    payload,
                    segment,
                },
                0,
            ) => {
                let _ = network.left.send_datagram(now, flow, payload, segment);
            }
            (Event::OneWay { payload, .. }, _) => assert!(payload.len() <= 65_535),
            (Event::Datagram { flow, .. }, 1) => {
                network.left.reject_datagram(now, flow, Unreachable::Port);
            }
            (
                Event::Echo {
                    local,
                    remote,
                    ident,
                    sequence,
                    payload,
                },
                _,
            ) => {
                let _ = network
                    .left
                    .echo_reply(now, local, remote, ident, sequence, payload);
            }
            (Event::Ready { socket, .. }, 0) => network.left.close(now, socket),
            (Event::Ready { socket, .. }, _) => {
                let count = network.left.readable(socket);
                network.left.consume(now, socket, count);
                let _ = network.left.write(now, socket, Bytes::from_static(b"echo"));
            }
            _ => {}
        }
    }
}

/// Whether the host still does its work, and owes nothing once time has passed.
fn still_serves(network: &mut Network) {
    while network.left.event().is_some() {}
    let now = network.now;
    let client = network.right.open(Protocol::Tcp, Domain::V4).unwrap();
    network
        .right
        .connect(now, client, "203.0.113.77:7".parse().unwrap())
        .unwrap();
    let knock = network.await_event(Side::Left, |event| match event {
        Event::Knock { knock, flow } if flow.local == "203.0.113.77:7".parse().unwrap() => {
            Some(knock)
        }
        _ => None,
    });
    let now = network.now;
    network.left.admit(now, knock).unwrap();
    network.await_ready(Side::Right, client, wharf_net::Ready::CONNECTED);
}

#[test]
fn damaged_frames_of_every_kind_do_no_harm() {
    for seed in 1..=4u64 {
        let (mut network, frames) = recorded();
        let mut chance = Chance(seed * 0x1234_5678_9abc_def1);
        for _ in 0..20_000 {
            let index = chance.next() as usize % frames.len();
            let mut frame = frames[index].to_vec();
            for _ in 0..chance.next() % 6 {
                let at = chance.next() as usize % frame.len();
                // Mostly the headers, but not to whom the frame is.
                let at = if !chance.next().is_multiple_of(4) {
                    12 + at % 60
                } else {
                    at
                };
                if at < frame.len() {
                    frame[at] = chance.next() as u8;
                }
            }
            if chance.next().is_multiple_of(8) {
                frame.truncate(chance.next() as usize % frame.len());
            }
            repair(&mut frame);
            // Every other frame comes with the link's word that its checksum is right.
            let verified = u8::from(chance.next().is_multiple_of(2)) * 2;
            let mut bytes = vec![verified, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            bytes.extend_from_slice(&frame);
            let now = network.now;
            network
                .left
                .receive(now, Frame::from_link(bytes.into()).unwrap());
            let sent = network.drain(Side::Left).len();
            assert!(sent < 5000, "seed {seed}: {sent} frames");
            react(&mut network, &mut chance);
            network.drain(Side::Left);
            network.now += Duration::from_micros(chance.next() % 2000);
            let now = network.now;
            if network.left.deadline().is_some_and(|at| at <= now) {
                network.left.expire(now);
            }
        }
        still_serves(&mut network);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_after_an_ethernet_header_do_no_harm(
        ethertype in prop_oneof![Just([8u8, 0]), Just([8, 6]), Just([0x86, 0xdd]), any::<[u8; 2]>()],
        version in prop_oneof![Just(0x45u8), Just(0x60), any::<u8>()],
        flags in 0u8..4,
        gso in prop_oneof![Just(0u8), Just(1), Just(4), Just(5)],
        size: [u8; 2],
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut network = space(Capabilities::NONE);
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        let mut frame = network::LEFT_MAC.0.to_vec();
        frame.extend_from_slice(&network::RIGHT_MAC.0);
        frame.extend_from_slice(&ethertype);
        frame.extend_from_slice(&bytes);
        if bytes.len() >= 20 && ethertype == [8, 0] {
            frame[16..18].copy_from_slice(&(bytes.len() as u16).to_be_bytes());
        }
        if bytes.len() >= 40 && ethertype == [0x86, 0xdd] {
            frame[18..20].copy_from_slice(&((bytes.len() - 40) as u16).to_be_bytes());
        }
        repair(&mut frame);
        let mut link = vec![flags, gso, 0, 0, size[0], size[1], 0, 0, 0, 0, 0, 0];
        link.extend_from_slice(&frame);
        let now = network.now;
        if let Ok(frame) = Frame::from_link(link.into()) {
            network.left.receive(now, frame);
        }
        react(&mut network, &mut Chance(7));
        network.drain(Side::Left);
        network.pass(Duration::from_secs(200));
    }

    #[test]
    fn any_frame_at_all_does_no_harm_to_an_ordinary_host(bytes: Vec<u8>) {
        let none = Capabilities::NONE;
        let mut network = Network::new(ordinary(Side::Left, none), ordinary(Side::Right, none));
        network.inject(Side::Left, bytes);
        network.pass(Duration::from_secs(100));
        prop_assert_eq!(network.left.socket_count(), 0);
    }
}
