//! Frames for a gateway that has just been busy: damaged ones of every kind, and arbitrary octets.

use std::time::Duration;

use bytes::Bytes;
use wharf_net::wire::checksum;
use wharf_net::{Capabilities, Event, Frame, Ready, Refusal, Unreachable};
use wharf_port::{Domain, Protocol};

use super::{Octets, wake};
use crate::network::{Chance, LEFT_MAC, Network, RIGHT_MAC, Side, space};

/// The gateway, at the left; and frames that it took when they were whole.
pub(crate) struct World {
    pub(crate) network: Network,
    frames: Vec<Bytes>,
    chance: Chance,
    /// Frames given to it.
    pub(crate) count: usize,
}

/// Plays from the beginning.
pub(crate) fn play(octets: &[u8]) {
    World::new().play(octets);
}

impl World {
    pub(crate) fn new() -> Self {
        let (network, frames) = recorded();
        Self {
            network,
            frames,
            chance: Chance(7),
            count: 0,
        }
    }

    /// Lets the gateway have what the octets say.
    pub(crate) fn play(&mut self, octets: &[u8]) {
        let mut octets = Octets(octets);
        while let Some(what) = octets.next() {
            match what % 32 {
                0 => {
                    self.network.now += octets.span();
                    self.settle();
                }
                1 => self.give(0, octets.take(usize::from(what)).to_vec()),
                2..4 => {
                    let rest = octets.take(8 + usize::from(what));
                    let frame = [&LEFT_MAC.0, &RIGHT_MAC.0, rest].concat();
                    self.give(what >> 5 & 3, frame);
                }
                _ => self.damaged(what, &mut octets),
            }
        }
    }

    fn damaged(&mut self, what: u8, octets: &mut Octets<'_>) {
        let mut frame = self.frames[octets.below(self.frames.len())].to_vec();
        let how = octets.byte();
        for _ in 0..how % 6 {
            let at = octets.below(frame.len());
            // Mostly the headers, but not to whom the frame is.
            let at = if how & 0x40 == 0 { 12 + at % 60 } else { at };
            if at < frame.len() {
                frame[at] = octets.byte();
            }
        }
        if how & 0x80 != 0 {
            frame.truncate(octets.below(frame.len()));
        }
        repair(&mut frame);
        // Half of the frames come with the link's word that their checksum is right.
        self.give(what >> 5 & 2, frame);
        self.network.now += Duration::from_micros(u64::from(octets.byte()) * 8);
        self.settle();
    }

    fn give(&mut self, flags: u8, frame: Vec<u8>) {
        self.count += 1;
        let mut bytes = vec![flags, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0];
        bytes.extend_from_slice(&frame);
        let frame = Frame::from_link(bytes.into()).expect("the link's header is whole");
        let now = self.network.now;
        self.network.left.receive(now, frame);
        let sent = self.network.drain(Side::Left).len();
        assert!(sent < 5000, "{sent} frames for one");
    }

    /// The caller acts, and time has its due.
    fn settle(&mut self) {
        react(&mut self.network, &mut self.chance);
        self.network.drain(Side::Left);
        let now = self.network.now;
        wake(&mut self.network.left, now);
        self.network.drain(Side::Left);
        let left = self.network.left.deadline();
        assert!(
            left.is_none_or(|at| at > now),
            "{left:?} has passed at {now:?}"
        );
    }

    /// Whether the host still does its work.
    pub(crate) fn still_serves(&mut self) {
        still_serves(&mut self.network);
    }
}

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
pub(crate) fn repair(frame: &mut [u8]) {
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
pub(crate) fn react(network: &mut Network, chance: &mut Chance) {
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
            // What is over is kept for a caller until it lets go.
            (Event::Ready { socket, ready }, pick)
                if pick == 0 || ready.intersects(Ready::FAILED | Ready::CLOSED) =>
            {
                network.left.close(now, socket);
            }
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
    network.await_ready(Side::Right, client, Ready::CONNECTED);
}
