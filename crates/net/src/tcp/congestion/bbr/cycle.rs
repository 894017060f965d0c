//! The cycle of probing for bandwidth: Down, Cruise, Refill, Up (§5.3.3).

use core::time::Duration;

use super::{Bbr, State, UNBOUNDED};
use crate::tcp::congestion::Ack;
use crate::time::Instant;

/// Rounds between probes at most, so that Reno and CUBIC keep up on small paths (§5.3.3.5.2).
const MOST_ROUNDS: u64 = 63;

/// What acknowledgments are about, as far as probing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feedback {
    /// No probe.
    None,
    Refilling,
    /// A probe has begun, what it sent is not acknowledged yet.
    Starting,
    /// What the probe sent is being acknowledged.
    Running,
    /// The probe is over, what it sent is still being acknowledged.
    Stopping,
}

/// Where in the cycle a connection is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cycle {
    pub(super) feedback: Feedback,
    /// What is acknowledged was sent by a probe (is_bw_probe_sample).
    pub(super) sampling: bool,
    /// The last probe lost too much (prev_probe_too_high).
    pub(super) too_high: bool,
    /// The last probe ended early for what the one before it lost (prev_probe_precautionary).
    careful: bool,
    pub(super) rounds_since: u64,
    since: Instant,
    wait: Duration,
    /// Octets acknowledged towards the next segment of inflight_long, and how many that takes.
    acked: usize,
    per_segment: usize,
    up_rounds: u32,
    dice: u64,
}

impl Cycle {
    pub(super) fn new(now: Instant, seed: u32) -> Self {
        Self {
            feedback: Feedback::None,
            sampling: false,
            too_high: false,
            careful: false,
            rounds_since: 0,
            since: now,
            wait: Duration::ZERO,
            acked: 0,
            per_segment: UNBOUNDED,
            up_rounds: 0,
            dice: u64::from(seed),
        }
    }

    /// PickProbeWait: two to three seconds, and a round more or less, so that flows do not probe in step.
    fn pick_wait(&mut self) {
        // SplitMix64.
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.dice;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.rounds_since = mixed >> 63;
        self.wait = Duration::from_micros(2_000_000 + (mixed & 0xffff_ffff) % 1_000_000);
    }
}

impl Bbr {
    /// EnterProbeBW, StartProbeBW_DOWN.
    pub(super) fn go_down(&mut self) {
        self.loss_round.reset();
        self.cycle.per_segment = UNBOUNDED;
        self.cycle.pick_wait();
        self.cycle.since = self.now;
        self.cycle.feedback = Feedback::Stopping;
        self.rounds.begin(self.delivered);
        self.state = State::Down;
    }

    /// StartProbeBW_REFILL.
    pub(super) fn refill(&mut self) {
        self.bounds.forget_short_term();
        self.cycle.up_rounds = 0;
        self.cycle.acked = 0;
        self.cycle.careful = false;
        self.cycle.feedback = Feedback::Refilling;
        self.rounds.begin(self.delivered);
        self.state = State::Refill;
    }

    /// StartProbeBW_UP.
    fn go_up(&mut self, rate: u64) {
        self.cycle.feedback = Feedback::Starting;
        self.rounds.begin(self.delivered);
        self.pipe.reset(rate);
        self.state = State::Up;
        self.raise_slope();
    }

    /// UpdateProbeBWCyclePhase.
    pub(super) fn advance_cycle(&mut self, ack: &Ack) {
        if !self.pipe.reached || self.adapt_long_term(ack) {
            return;
        }
        match self.state {
            State::Down if self.is_time_to_probe() => self.refill(),
            State::Down if self.is_time_to_cruise(ack) => self.state = State::Cruise,
            State::Cruise if self.is_time_to_probe() => self.refill(),
            State::Refill if self.rounds.started => {
                self.cycle.sampling = true;
                self.go_up(ack.sample.rate);
            }
            State::Up => self.perhaps_go_down(ack),
            _ => {}
        }
    }

    fn perhaps_go_down(&mut self, ack: &Ack) {
        if self.is_time_to_go_down(ack) {
            self.cycle.too_high = false;
            self.go_down();
        }
    }

    /// AdaptLongTermModel; whether it has decided on a state.
    fn adapt_long_term(&mut self, ack: &Ack) -> bool {
        let sample = &ack.sample;
        if self.cycle.feedback == Feedback::Starting && self.rounds.started {
            self.cycle.feedback = Feedback::Running;
        }
        if self.cycle.feedback == Feedback::Stopping && self.rounds.started {
            self.cycle.sampling = false;
            self.cycle.feedback = Feedback::None;
            if self.state.is_probe_bw() && !sample.starved {
                self.max_bw.advance();
            }
            if self.state.is_probe_bw() && self.cycle.careful && !self.cycle.too_high {
                self.refill(); // The careful probe went well: on with it.
                return true;
            }
        }
        let long = self.bounds.inflight_long;
        if long == UNBOUNDED || self.is_inflight_too_high(sample.lost, sample.in_flight) {
            return false;
        }
        self.bounds.inflight_long = long.max(sample.in_flight);
        if self.state == State::Up {
            self.raise_long_term(ack);
        }
        false
    }

    /// IsTimeToProbeBW.
    fn is_time_to_probe(&self) -> bool {
        let reno = (self.target_inflight() / self.mss) as u64;
        self.now > self.cycle.since + self.cycle.wait
            || self.cycle.rounds_since >= reno.min(MOST_ROUNDS)
    }

    /// IsTimeToCruise.
    fn is_time_to_cruise(&self, ack: &Ack) -> bool {
        let drained = self.quantized(self.least_rtt.product(self.max_bw.most(), 100));
        ack.in_flight <= self.inflight_with_headroom() && ack.in_flight <= drained
    }

    /// IsTimeToGoDown.
    fn is_time_to_go_down(&mut self, ack: &Ack) -> bool {
        let long = self.bounds.inflight_long;
        if self.cycle.too_high && ack.in_flight >= long {
            self.cycle.careful = true;
            return true;
        }
        if self.is_cwnd_limited(ack) && self.cwnd >= long {
            self.pipe.reset(ack.sample.rate); // The bound is what limits the bandwidth, not the path.
            return false;
        }
        self.pipe.now
    }

    /// ProbeInflightLongtermUpward.
    fn raise_long_term(&mut self, ack: &Ack) {
        if !self.is_cwnd_limited(ack) || self.cwnd < self.bounds.inflight_long {
            return;
        }
        let cycle = &mut self.cycle;
        cycle.acked += ack.sample.octets;
        let segments = cycle.acked / cycle.per_segment;
        cycle.acked -= segments * cycle.per_segment;
        self.bounds.inflight_long += segments * self.mss;
        if self.rounds.started {
            self.raise_slope();
        }
    }

    /// RaiseInflightLongtermSlope: by twice as much in each round.
    fn raise_slope(&mut self) {
        let growth = 1usize << self.cycle.up_rounds;
        self.cycle.up_rounds = (self.cycle.up_rounds + 1).min(30);
        self.cycle.per_segment = (self.cwnd / growth).max(self.mss);
    }

    /// The window was what limited the flight.
    fn is_cwnd_limited(&self, ack: &Ack) -> bool {
        ack.peak + self.mss >= self.cwnd
    }

    /// TargetInflight.
    pub(super) fn target_inflight(&self) -> usize {
        self.bdp(100).min(self.cwnd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_two_to_three_seconds_and_differ() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let mut cycle = Cycle::new(Instant::ZERO, seed);
            cycle.pick_wait();
            assert!((2..3).contains(&cycle.wait.as_secs()) && cycle.rounds_since < 2);
            seen.insert(cycle.wait);
        }
        assert!(seen.len() > 90, "{}", seen.len());
    }
}
