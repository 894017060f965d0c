//! Two hosts and the wire between them, in virtual time: what is lost, late, doubled or damaged follows from a seed.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod storm;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use wharf_net::wire::ethernet::Mac;
use wharf_net::{
    Capabilities, Config, Event, Frame, Host, Instant, Offload, Ready, Route, SocketId,
};

/// What the wire does to frames; shares are of 1000.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Impairment {
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    pub(crate) corruption: u64,
    pub(crate) delay: Duration,
    /// Added at random, so that frames overtake each other.
    pub(crate) jitter: Duration,
    pub(crate) bottleneck: Option<Bottleneck>,
}

/// A wire that takes its time, and has room for so much that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bottleneck {
    /// Octets a second.
    pub(crate) rate: u64,
    /// Octets that may wait; what finds no room is lost.
    pub(crate) buffer: u64,
}

impl Bottleneck {
    fn time_for(self, octets: u64) -> Duration {
        Duration::from_nanos(octets * 1_000_000_000 / self.rate)
    }
}

impl Impairment {
    pub(crate) const NONE: Self = Self {
        loss: 0,
        duplication: 0,
        corruption: 0,
        delay: Duration::from_micros(50),
        jitter: Duration::ZERO,
        bottleneck: None,
    };
}

/// A sequence of numbers that follows from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn hits(&mut self, share: u64) -> bool {
        share > 0 && self.next() % 1000 < share
    }
}

/// Which of the two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

pub(crate) struct Network {
    pub(crate) now: Instant,
    pub(crate) left: Host,
    pub(crate) right: Host,
    pub(crate) impairment: Impairment,
    /// Packets of more octets than this vanish, and nobody says so.
    pub(crate) swallow: usize,
    pub(crate) chance: Chance,
    /// Frames seen on the wire, newest last, if they are kept.
    pub(crate) seen: Option<Vec<(Side, Bytes)>>,
    wire: BTreeMap<(Instant, u64), (Side, Bytes)>,
    /// When the bottleneck towards each side is done with what it has taken.
    busy_until: [Instant; 2],
    count: u64,
}

impl Network {
    pub(crate) fn new(left: Config, right: Config) -> Self {
        Self {
            now: Instant::from_millis(10_000),
            left: Host::new(left),
            right: Host::new(right),
            impairment: Impairment::NONE,
            swallow: usize::MAX,
            chance: Chance(0x9e37_79b9_7f4a_7c15),
            seen: None,
            wire: BTreeMap::new(),
            busy_until: [Instant::ZERO; 2],
            count: 0,
        }
    }

    pub(crate) fn host(&mut self, side: Side) -> &mut Host {
        match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        }
    }

    /// Puts what a host has to send on the wire.
    pub(crate) fn collect(&mut self) {
        for side in [Side::Left, Side::Right] {
            let now = self.now;
            while let Some(frame) = self.host(side).transmit(now) {
                let bytes = frame.to_link();
                if let Some(seen) = &mut self.seen {
                    seen.push((side, frame.to_ethernet()));
                }
                self.carry(side.other(), bytes);
            }
        }
    }

    fn carry(&mut self, to: Side, bytes: Bytes) {
        // Beside the packet there are the link's header and Ethernet's.
        if bytes.len() > self.swallow.saturating_add(12 + 14) {
            return;
        }
        let copies = 1 + u64::from(self.chance.hits(self.impairment.duplication));
        for _ in 0..copies {
            if self.chance.hits(self.impairment.loss) {
                continue;
            }
            let Some(leaves) = self.queue(to, bytes.len() as u64) else {
                continue;
            };
            let mut bytes = bytes.clone();
            if self.chance.hits(self.impairment.corruption) {
                let mut damaged = bytes.to_vec();
                // Not the virtio header: that is between us and the link.
                let bit = 12 * 8 + self.chance.next() as usize % ((damaged.len() - 12) * 8);
                damaged[bit / 8] ^= 1 << (bit % 8);
                bytes = damaged.into();
            }
            let jitter = match self.impairment.jitter.as_nanos() as u64 {
                0 => 0,
                jitter => self.chance.next() % jitter,
            };
            let at = leaves + self.impairment.delay + Duration::from_nanos(jitter);
            self.count += 1;
            self.wire.insert((at, self.count), (to, bytes));
        }
    }

    /// When a frame is through the bottleneck; nothing if there is no room for it.
    fn queue(&mut self, to: Side, octets: u64) -> Option<Instant> {
        let Some(bottleneck) = self.impairment.bottleneck else {
            return Some(self.now);
        };
        let free = self.busy_until[to as usize].max(self.now);
        if free - self.now > bottleneck.time_for(bottleneck.buffer) {
            return None;
        }
        self.busy_until[to as usize] = free + bottleneck.time_for(octets);
        Some(self.busy_until[to as usize])
    }

    /// When something happens next.
    fn next(&self) -> Option<Instant> {
        let wire = self.wire.first_key_value().map(|((at, _), _)| *at);
        [wire, self.left.deadline(), self.right.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Lets time pass to the next thing that happens, and it happen; whether there was any before `end`.
    pub(crate) fn step(&mut self, end: Instant) -> bool {
        self.collect();
        let Some(at) = self.next().filter(|at| *at <= end) else {
            self.now = self.now.max(end);
            return false;
        };
        self.now = self.now.max(at);
        while let Some(entry) = self.wire.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (to, bytes) = entry.remove();
            let now = self.now;
            if let Ok(frame) = Frame::from_link(bytes) {
                self.host(to).receive(now, frame);
            }
        }
        let now = self.now;
        for side in [Side::Left, Side::Right] {
            let host = self.host(side);
            if host.deadline().is_some_and(|at| at <= now) {
                host.expire(now);
            }
        }
        self.collect();
        true
    }

    /// Lets a span of time pass.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
    }

    /// Lets time pass until a condition holds; panics if it does not within `span`.
    pub(crate) fn until(&mut self, span: Duration, mut condition: impl FnMut(&mut Self) -> bool) {
        let end = self.now + span;
        loop {
            self.collect();
            if condition(self) {
                self.collect();
                return;
            }
            assert!(
                self.step(end),
                "nothing more happens within {span:?}, at {:?}",
                self.now
            );
        }
    }

    /// Lets time pass until a host has something to say that `pick` recognizes.
    pub(crate) fn await_event<T>(
        &mut self,
        side: Side,
        mut pick: impl FnMut(Event) -> Option<T>,
    ) -> T {
        let mut found = None;
        self.until(Duration::from_secs(30), |network| {
            while let (None, Some(event)) = (&found, network.host(side).event()) {
                found = pick(event);
            }
            found.is_some()
        });
        found.expect("until returns when it is found")
    }

    /// Lets time pass until a socket is ready for something.
    pub(crate) fn await_ready(&mut self, side: Side, id: SocketId, what: Ready) -> Ready {
        self.await_event(side, |event| match event {
            Event::Ready { socket, ready } if socket == id && ready.intersects(what) => Some(ready),
            _ => None,
        })
    }

    /// Gives a host a frame of our own making.
    pub(crate) fn inject(&mut self, side: Side, ethernet: Vec<u8>) {
        let now = self.now;
        self.host(side).receive(
            now,
            Frame::from_ethernet(ethernet.into(), Offload::default()),
        );
    }

    /// Everything that a host has to send now, as Ethernet frames, and not to the other.
    pub(crate) fn drain(&mut self, side: Side) -> Vec<Bytes> {
        let now = self.now;
        let host = self.host(side);
        std::iter::from_fn(|| host.transmit(now).map(|frame| frame.to_ethernet())).collect()
    }
}

pub(crate) const LEFT_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub(crate) const RIGHT_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);

/// An ordinary host at 10.0.0.1 or .2, fd00::1 or ::2.
pub(crate) fn ordinary(side: Side, capabilities: Capabilities) -> Config {
    let (mac, own, seed) = match side {
        Side::Left => (LEFT_MAC, ["10.0.0.1/24", "fd00::1/64"], [1; 32]),
        Side::Right => (RIGHT_MAC, ["10.0.0.2/24", "fd00::2/64"], [2; 32]),
    };
    let mut config = Config::new(mac, seed);
    config.capabilities = capabilities;
    config.addresses = own.map(|own| own.parse().unwrap()).to_vec();
    config
}

/// A gateway that accepts anything at the left, and a program's space at the right.
pub(crate) fn space(capabilities: Capabilities) -> Network {
    let mut gateway = Config::new(LEFT_MAC, [1; 32]);
    gateway.capabilities = capabilities;
    gateway.accept_anything = true;
    gateway.addresses = ["10.77.0.1/16", "fd77::1/16"]
        .map(|own| own.parse().unwrap())
        .to_vec();
    let mut space = Config::new(RIGHT_MAC, [2; 32]);
    space.capabilities = capabilities;
    space.addresses = ["10.77.3.2/16", "fd77::3:2/16"]
        .map(|own| own.parse().unwrap())
        .to_vec();
    let route = |network: &str, gateway: &str| Route {
        network: network.parse().unwrap(),
        gateway: gateway.parse().unwrap(),
    };
    space.routes = vec![route("0.0.0.0/0", "10.77.0.1"), route("::/0", "fd77::1")];
    Network::new(gateway, space)
}
