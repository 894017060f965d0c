//! Two connections, a wire that may lose, delay, reorder and duplicate, and a clock that jumps to the next event.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::tcp::{Config, Connection, Ecn, Limits, Outgoing, Setup, State};
use crate::time::Instant;
use crate::wire::tcp::{Control, Flags, SeqNum};

/// A small generator with a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

/// How the link treats long segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offload {
    /// It takes none.
    None,
    /// They travel and get lost in one piece, as over a TAP.
    Whole,
    /// They are cut into packets, each with a fate of its own.
    Cut,
}

/// What the wire does; chances in thousandths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire {
    pub(super) offload: Offload,
    pub(super) mss: u16,
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
    pub(super) loss: u64,
    pub(super) duplication: u64,
    /// Packets marked instead of lost.
    pub(super) marking: u64,
    /// Octets per second that each direction carries, and octets that may wait for it.
    pub(super) bottleneck: Option<(u64, usize)>,
    /// Packets with more octets of options and text than this vanish, and nobody says so.
    pub(super) swallow: usize,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            offload: Offload::None,
            mss: 1460,
            delay: Duration::from_millis(5),
            jitter: Duration::ZERO,
            loss: 0,
            duplication: 0,
            marking: 0,
            bottleneck: None,
            swallow: usize::MAX,
        }
    }
}

#[derive(Clone, Debug)]
struct Packet {
    to: usize,
    control: Control,
    payload: Bytes,
    ecn: Ecn,
}

/// Ends 0 (who connected) and 1 (who accepted).
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) ends: [Connection; 2],
    pub(super) wire: Wire,
    dice: Dice,
    flying: BTreeMap<(Instant, u64), Packet>,
    count: u64,
    /// Packets for which the bottleneck had no room.
    pub(super) overflows: usize,
    /// When the bottleneck to each end will have sent what waits.
    busy: [Instant; 2],
    /// Every segment sent: by whom, what header, how much text.
    pub(super) log: Vec<(usize, Control, usize)>,
}

pub(super) fn setup(isn: u32) -> Setup {
    Setup {
        isn: SeqNum::new(isn),
        timestamp_offset: isn ^ 0x5555,
        mss: 1460,
        default_mss: 536,
    }
}

impl Pair {
    /// Both ends as `configs` say; the SYN is already across.
    pub(super) fn new(configs: [&Config; 2], wire: Wire, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let now = Instant::from_millis(1 + dice.below(1 << 33));
        let setups = [setup(dice.roll() as u32), setup(dice.roll() as u32)];
        let limits = Limits {
            mss: wire.mss,
            offload: None,
        };
        let mut client = Connection::connect(now, &Arc::new(configs[0].clone()), &setups[0]);
        let syn = client.transmit(now, &limits).expect("a SYN").control;
        assert!(client.transmit(now, &limits).is_none());
        let server = Connection::accept(
            now,
            &Arc::new(configs[1].clone()),
            &setups[1],
            &syn,
            Bytes::new(),
        );
        let ends = [client, server];
        Self {
            now,
            ends,
            wire,
            dice,
            flying: BTreeMap::new(),
            count: 0,
            overflows: 0,
            busy: [now; 2],
            log: Vec::new(),
        }
    }

    /// An established pair on a good wire.
    pub(super) fn established() -> Self {
        let config = Config::default();
        let mut pair = Self::new([&config, &config], Wire::default(), 1);
        pair.run_until(|pair| {
            pair.ends
                .iter()
                .all(|end| end.state() == State::Established)
        });
        pair.run_for(Duration::from_millis(100));
        pair
    }

    fn limits(&self) -> Limits {
        let offload = (self.wire.offload != Offload::None).then_some(65_515);
        Limits {
            mss: self.wire.mss,
            offload,
        }
    }

    /// Puts everything that both ends have to say on the wire.
    pub(super) fn flush(&mut self) {
        let limits = self.limits();
        for from in 0..2 {
            while let Some(outgoing) = self.ends[from].transmit(self.now, &limits) {
                self.check(&outgoing, &limits);
                self.log.push((from, outgoing.control, outgoing.length));
                self.launch(1 - from, outgoing);
            }
        }
    }

    fn check(&self, outgoing: &Outgoing, limits: &Limits) {
        let length: usize = outgoing.payload.iter().map(Bytes::len).sum();
        assert_eq!(length, outgoing.length);
        let room = usize::from(limits.mss) - outgoing.control.options.len();
        match outgoing.segment {
            None => assert!(length <= room, "{length} octets in one packet"),
            Some(mss) => {
                assert!(usize::from(mss) <= room && length > usize::from(mss));
                let most = limits.offload.expect("the link cuts") as usize;
                assert!(outgoing.control.header_len() + length <= most);
            }
        }
    }

    fn launch(&mut self, to: usize, outgoing: Outgoing) {
        let whole = Bytes::from(outgoing.payload.concat());
        let size = match outgoing.segment {
            Some(mss) if self.wire.offload == Offload::Cut => usize::from(mss),
            _ => whole.len().max(1),
        };
        let mut at = 0;
        loop {
            let end = whole.len().min(at + size);
            let last = end == whole.len();
            let mut control = outgoing.control;
            control.seq += at;
            if !last {
                control.flags = control.flags.without(Flags::FIN | Flags::PSH);
            }
            self.fly(Packet {
                to,
                control,
                payload: whole.slice(at..end),
                ecn: outgoing.ecn,
            });
            at = end;
            if last {
                break;
            }
        }
    }

    fn fly(&mut self, mut packet: Packet) {
        if packet.payload.len() + packet.control.options.len() > self.wire.swallow {
            return;
        }
        let copies = 1 + u64::from(self.dice.chance(self.wire.duplication));
        for _ in 0..copies {
            if self.dice.chance(self.wire.loss) {
                continue;
            }
            if packet.ecn != Ecn::NotCapable && self.dice.chance(self.wire.marking) {
                packet.ecn = Ecn::Congested;
            }
            let Some(through) = self.queue(&packet) else {
                continue;
            };
            let jitter = self.dice.below(1 + self.wire.jitter.as_nanos() as u64);
            let at = through + self.wire.delay + Duration::from_nanos(jitter);
            self.count += 1;
            self.flying.insert((at, self.count), packet.clone());
        }
    }

    /// When a packet is through the bottleneck; nothing if it finds no room there.
    fn queue(&mut self, packet: &Packet) -> Option<Instant> {
        let Some((rate, room)) = self.wire.bottleneck else {
            return Some(self.now);
        };
        let octets = |span: Duration| (span.as_nanos() * u128::from(rate) / 1_000_000_000) as usize;
        let busy = &mut self.busy[packet.to];
        let length = packet.payload.len() + 40;
        if octets(*busy - self.now) + length > room {
            self.overflows += 1;
            return None;
        }
        let takes = Duration::from_nanos(length as u64 * 1_000_000_000 / rate);
        *busy = (*busy).max(self.now) + takes;
        Some(*busy)
    }

    fn next(&self) -> Option<Instant> {
        let timers = self.ends.iter().filter_map(Connection::deadline).min();
        let arrival = self.flying.keys().next().map(|(at, _)| *at);
        [timers, arrival].into_iter().flatten().min()
    }

    /// Sends, jumps to the next event and lets it happen; `false` if there is none.
    pub(super) fn step(&mut self) -> bool {
        self.flush();
        let Some(next) = self.next() else {
            return false;
        };
        self.now = self.now.max(next);
        while let Some(entry) = self
            .flying
            .first_entry()
            .filter(|entry| entry.key().0 <= self.now)
        {
            let packet = entry.remove();
            self.ends[packet.to].receive(self.now, &packet.control, packet.payload, packet.ecn);
        }
        for end in &mut self.ends {
            end.expire(self.now);
        }
        true
    }

    /// Steps until `done`, which has to come.
    pub(super) fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let deadline = self.now + Duration::from_secs(3600);
        while !done(self) {
            assert!(
                self.step(),
                "nothing will ever happen again: {:?}",
                self.ends.each_ref().map(Connection::state)
            );
            assert!(self.now < deadline, "an hour has passed");
        }
    }

    /// Lets `span` pass.
    pub(super) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        self.flush();
        while self.next().is_some_and(|next| next <= end) {
            self.step();
            self.flush();
        }
        self.now = end;
    }
}

/// Octet `at` of the stream that starts with `salt`.
pub(super) fn octet(salt: u64, at: usize) -> u8 {
    ((at as u64).wrapping_mul(7) + (at as u64 >> 8) + salt) as u8
}

/// `len` octets of the stream from `at` on.
pub(super) fn octets(salt: u64, at: usize, len: usize) -> Bytes {
    (at..at + len).map(|at| octet(salt, at)).collect()
}
