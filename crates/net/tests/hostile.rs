//! Nothing that arrives, and nothing that is called, can panic a host, make it loop, or make it grow without bound.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;
mod play;

use std::collections::HashSet;
use std::time::Duration;

use network::{Chance, Network, Side, ordinary, space};
use play::{calls, frames, random, reassembly, segments};
use proptest::prelude::*;
use wharf_net::{Capabilities, Frame};

#[test]
fn damaged_frames_of_every_kind_do_no_harm() {
    for seed in 1..=4 {
        let mut world = frames::World::new();
        world.play(&random(seed, 300_000));
        world.still_serves();
        assert!(world.count > 10_000, "{}", world.count);
    }
}

#[test]
fn segments_of_any_kind_in_any_state_do_no_harm() {
    let seen: HashSet<_> = (0..300)
        .flat_map(|seed| segments::play(&random(seed, 1500)))
        .collect();
    assert!(seen.len() == 10, "{seen:?}");
}

#[test]
fn no_sequence_of_calls_does_harm() {
    let connections: usize = (0..150).map(|seed| calls::play(&random(seed, 1000))).sum();
    assert!(connections > 50, "{connections}");
}

#[test]
fn fragments_make_the_datagram_or_nothing() {
    let made: usize = (0..400)
        .map(|seed| reassembly::play(&random(seed, 800)))
        .sum();
    assert!(made > 100, "{made}");
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
        frames::repair(&mut frame);
        let mut link = vec![flags, gso, 0, 0, size[0], size[1], 0, 0, 0, 0, 0, 0];
        link.extend_from_slice(&frame);
        let now = network.now;
        if let Ok(frame) = Frame::from_link(link.into()) {
            network.left.receive(now, frame);
        }
        frames::react(&mut network, &mut Chance(7));
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
