//! Megabytes both ways through bad wires: every octet intact and in order, in bounded time; a failing seed is named.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::pair::{Dice, Offload, Pair, Wire, octet, octets};
use crate::tcp::{Algorithm, Config, EcnUse, State};

/// A program at one end: writes its stream in pieces, reads and checks the other's, closes when done.
#[derive(Debug)]
struct Program {
    /// The stream it writes, 0 or 1; it reads the other.
    salt: u64,
    total: usize,
    written: usize,
    read: usize,
    expected: usize,
}

impl Program {
    fn act(&mut self, pair: &mut Pair, at: usize, dice: &mut Dice) {
        let now = pair.now;
        let end = &mut pair.ends[at];
        if end.state() == State::SynSent || end.state() == State::SynReceived {
            return;
        }
        while self.written < self.total && end.room() > 0 {
            let len =
                [1, 100, 1460, 5000, 65_536][dice.below(5) as usize].min(self.total - self.written);
            let taken = end
                .write(octets(self.salt, self.written, len))
                .expect("open");
            self.written += taken;
        }
        if self.written == self.total {
            end.shutdown();
        }
        let mut count = 0;
        for byte in end.chunks().flatten() {
            assert_eq!(
                *byte,
                octet(1 - self.salt, self.read + count),
                "octet {}",
                self.read + count
            );
            count += 1;
        }
        // A reader that sometimes takes only a part.
        let count = if dice.below(4) == 0 { count / 2 } else { count };
        end.consume(now, count);
        self.read += count;
    }

    fn is_done(&self) -> bool {
        self.written == self.total && self.read == self.expected
    }
}

/// Moves `totals[0]` octets one way and `totals[1]` the other; returns how long it took in virtual time.
fn transfer(configs: [&Config; 2], wire: Wire, totals: [usize; 2], seed: u64) -> Duration {
    let mut pair = Pair::new(configs, wire, seed);
    let mut dice = Dice(seed ^ 0xabcd);
    let start = pair.now;
    let program = |salt, total, expected| Program {
        salt,
        total,
        written: 0,
        read: 0,
        expected,
    };
    let mut programs = [
        program(0, totals[0], totals[1]),
        program(1, totals[1], totals[0]),
    ];
    while !programs.iter().all(Program::is_done) {
        for (at, program) in programs.iter_mut().enumerate() {
            program.act(&mut pair, at, &mut dice);
        }
        if pair.ends.iter().any(|end| end.readable() > 0) {
            pair.run_for(Duration::from_micros(500)); // A lazy reader comes back soon.
            continue;
        }
        assert!(
            pair.step(),
            "stuck: {programs:?} {:?}",
            pair.ends.each_ref().map(|end| end.state())
        );
        assert!(
            pair.now - start < Duration::from_secs(1800),
            "too slow: {programs:?}"
        );
    }
    let took = pair.now - start;
    pair.run_until(|pair| {
        pair.ends
            .iter()
            .all(|end| matches!(end.state(), State::Closed | State::TimeWait))
    });
    for end in &pair.ends {
        assert_eq!(end.error(), None);
    }
    took
}

fn seeds(name: &str, count: u64, run: impl Fn(u64)) {
    for seed in 0..count {
        let named = Named(format!("{name}: failing seed {seed}"));
        run(seed);
        core::mem::forget(named);
    }
}

/// Prints its name if a panic unwinds past it.
struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        std::eprintln!("{}", self.0);
    }
}

fn config(congestion: Algorithm) -> Config {
    Config {
        congestion,
        ..Config::default()
    }
}

const ALL: [Algorithm; 3] = [Algorithm::Cubic, Algorithm::Reno, Algorithm::Bbr];
const LINKS: [Offload; 3] = [Offload::None, Offload::Whole, Offload::Cut];
const MB: usize = 1 << 20;

#[test]
fn a_good_wire_carries_megabytes_both_ways() {
    for congestion in ALL {
        for offload in LINKS {
            let config = config(congestion);
            let wire = Wire {
                offload,
                ..Wire::default()
            };
            let took = transfer([&config, &config], wire, [4 * MB, 3 * MB], 5);
            assert!(
                took < Duration::from_millis(600),
                "{congestion:?} {offload:?}: {took:?}"
            );
        }
    }
}

#[test]
fn loss_reordering_and_duplication_harm_nothing() {
    for congestion in ALL {
        for offload in LINKS {
            let config = config(congestion);
            seeds(&format!("{congestion:?} {offload:?}"), 6, |seed| {
                let wire = Wire {
                    offload,
                    jitter: Duration::from_millis(seed * 3),
                    loss: [0, 10, 50, 100, 200, 30][seed as usize],
                    duplication: 20,
                    ..Wire::default()
                };
                transfer([&config, &config], wire, [MB / 2, MB / 3], seed);
            });
        }
    }
}

#[test]
fn peers_without_options_get_everything_too() {
    let bare = Config {
        timestamps: false,
        sack: false,
        ..Config::default()
    };
    for offload in LINKS {
        seeds(&format!("bare {offload:?}"), 6, |seed| {
            let wire = Wire {
                offload,
                loss: 10 * seed,
                jitter: Duration::from_millis(seed),
                ..Wire::default()
            };
            transfer([&Config::default(), &bare], wire, [MB / 2, MB / 2], seed);
        });
    }
}

#[test]
fn tiny_buffers_and_tiny_segments_only_slow_things_down() {
    let small = Config {
        receive_initial: 3000,
        receive_max: 3000,
        send_initial: 2000,
        send_max: 2000,
        ..Config::default()
    };
    seeds("small", 6, |seed| {
        let wire = Wire {
            mss: [1460, 536, 100, 64, 1460, 1000][seed as usize],
            loss: 10,
            ..Wire::default()
        };
        transfer([&small, &Config::default()], wire, [100_000, 100_000], seed);
    });
}

/// The sum of a few runs, so that one unlucky loss decides nothing.
fn goodput(congestion: Algorithm, wire: Wire, octets: usize) -> f64 {
    let config = config(congestion);
    let took: Duration = (0..3)
        .map(|seed| transfer([&config, &config], wire, [octets, 0], seed))
        .sum();
    (3 * octets) as f64 * 8.0 / took.as_secs_f64() / 1e6
}

/// Mathis' formula: an ideal Reno at loss p reaches mss/rtt·sqrt(3/2p); half of it is asked for.
#[test]
fn goodput_under_loss_is_near_what_theory_allows() {
    for congestion in ALL {
        for (loss, octets) in [(10, 8 * MB), (50, 3 * MB)] {
            let wire = Wire {
                loss,
                delay: Duration::from_millis(10),
                ..Wire::default()
            };
            let reached = goodput(congestion, wire, octets);
            let ideal = 1448.0 * 8.0 / 0.020 * (1.5 / (loss as f64 / 1000.0)).sqrt() / 1e6;
            assert!(
                reached > ideal / 2.0,
                "{congestion:?} at {loss}/1000: {reached:.2} of {ideal:.2} Mbit/s"
            );
        }
    }
}

#[test]
fn congestion_marks_slow_down_without_loss() {
    let config = Config {
        ecn: EcnUse::Ask,
        ..Config::default()
    };
    let marked = Wire {
        marking: 20,
        ..Wire::default()
    };
    let free = transfer([&config, &config], Wire::default(), [4 * MB, 0], 3);
    let slowed = transfer([&config, &config], marked, [4 * MB, 0], 3);
    assert!(slowed > free * 2, "{slowed:?} after {free:?}");
}

/// RFC 8985 §6.2: reordering, even by more than a quarter of a round trip, is soon not taken for loss any more.
#[test]
fn reordering_alone_costs_little() {
    for offload in LINKS {
        let wire = Wire {
            offload,
            delay: Duration::from_millis(10),
            jitter: Duration::from_millis(8),
            ..Wire::default()
        };
        let config = Config::default();
        let took = transfer([&config, &config], wire, [8 * MB, 0], 1);
        assert!(took < Duration::from_secs(1), "{offload:?}: {took:?}");
    }
}

/// A sender that always has something to say, and a receiver that hears all of it.
struct Bulk {
    pair: Pair,
    text: bytes::Bytes,
    heard: usize,
}

impl Bulk {
    fn new(congestion: Algorithm, wire: Wire) -> Self {
        let config = config(congestion);
        let mut pair = Pair::new([&config, &config], wire, 3);
        pair.run_until(|pair| pair.ends[0].state() == State::Established);
        Self {
            pair,
            text: octets(0, 0, 100_000),
            heard: 0,
        }
    }

    fn step(&mut self) {
        let [sender, receiver] = &mut self.pair.ends;
        sender.write(self.text.clone()).expect("open");
        self.heard += receiver.readable();
        receiver.consume(self.pair.now, usize::MAX);
        self.pair.step();
    }
}

/// RFC 8899: where large packets vanish, and no router says so, the connection makes progress and finds the size that gets through.
#[test]
fn a_black_hole_is_found_and_measured() {
    for congestion in ALL {
        for (offload, swallow, loss) in [
            (Offload::None, 1360, 0),
            (Offload::Cut, 1360, 0),
            (Offload::None, 700, 0),
            (Offload::None, 1280, 10),
        ] {
            let wire = Wire {
                offload,
                swallow,
                loss,
                ..Wire::default()
            };
            let name = format!("{congestion:?} {offload:?} {swallow} {loss}");
            let mut bulk = Bulk::new(congestion, wire);
            let mut sizes = alloc::vec::Vec::new();
            let start = bulk.pair.now;
            while sizes.last() != Some(&(swallow as u16)) {
                bulk.step();
                sizes.extend(bulk.pair.ends[0].take_path_mss());
                let took = bulk.pair.now - start;
                assert!(took < Duration::from_secs(60), "{name}: {sizes:?}");
            }
            assert!(sizes.is_sorted(), "{name}: {sizes:?}");
        }
    }
}

/// A queue of two products of bandwidth and delay: HyStart++ ends the first slow start before it overflows.
#[test]
fn the_first_slow_start_ends_before_the_queue_does() {
    for congestion in [Algorithm::Cubic, Algorithm::Reno] {
        let wire = Wire {
            delay: Duration::from_millis(25),
            bottleneck: Some((2_500_000, 400_000)),
            ..Wire::default()
        };
        let mut bulk = Bulk::new(congestion, wire);
        let until = bulk.pair.now + Duration::from_millis(1500);
        while bulk.pair.now < until {
            bulk.step();
        }
        assert_eq!(bulk.pair.overflows, 0, "{congestion:?}");
        assert!(bulk.heard > 2_000_000, "{congestion:?}: {}", bulk.heard);
    }
}

/// Loss times delay over a bottleneck of 20 Mbit/s with a queue of one product: what each congestion control reaches at least, in
/// hundredths of it.
#[test]
fn goodput_over_a_bottleneck_is_what_each_is_good_for() {
    // (loss in thousandths, delay one way in ms, megabytes, [CUBIC, Reno, BBR])
    for (loss, delay, megabytes, least) in [
        (0, 5, 2, [90, 90, 80]),
        (0, 50, 6, [75, 75, 65]),
        (10, 5, 2, [80, 80, 80]),
        (10, 50, 10, [5, 4, 55]),
    ] {
        for (congestion, least) in ALL.into_iter().zip(least) {
            let wire = Wire {
                loss,
                delay: Duration::from_millis(delay),
                bottleneck: Some((2_500_000, (5000 * delay as usize).max(60_000))),
                ..Wire::default()
            };
            let mut bulk = Bulk::new(congestion, wire);
            let start = bulk.pair.now;
            while bulk.heard < megabytes * MB {
                bulk.step();
            }
            let took = (bulk.pair.now - start).as_secs_f64();
            let reached = bulk.heard as f64 / took / 25_000.0;
            assert!(
                reached > f64::from(least),
                "{congestion:?} at {loss}/1000, {delay} ms: {reached:.1} %"
            );
        }
    }
}
