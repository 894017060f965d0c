//! BBR, version 3 (draft-ietf-ccwg-bbr; section numbers are that draft's): the path is modelled, not provoked.
//!
//! # Theory of operation
//!
//! Two things are measured: the most that the path delivers per second (the greatest rate sample of the last two probing cycles), and its
//! round-trip time without queues (the least of ten seconds). Sending at the one, with about their product in flight, fills the path
//! and builds no queue. As neither can be measured while the other is, the state machine probes by turns:
//!
//! ```text
//!   Startup ─▶ Drain ─▶ Down ─▶ Cruise ─▶ Refill ─▶ Up ─┐       ProbeRtt: from anywhere, when the least
//!                        ▲                              │       round-trip time was not seen for ten seconds
//!                        └──────────────────────────────┘
//! ```
//!
//! Loss is heeded in two ways. Loss beyond 2 % while probing upwards sets a long-term bound on the flight, `inflight_long`, which the
//! next probes raise carefully. Loss at other times lowers short-term bounds, `bw_short` and `inflight_short`, which the next probe
//! forgets (§5.5.10).
//!
//! # Differences from the draft
//!
//! The draft says nothing of ECN. A congestion mark (RFC 3168) counts as loss beyond what is tolerated: the RFC wants no less
//! of a reaction than to loss. So does a loss that only a tail probe noticed, but as an ordinary loss.

mod aggregation;
mod bandwidth;
mod bounds;
mod control;
mod cycle;
mod least_rtt;
mod pipe;
mod round;

use core::time::Duration;

use super::{Ack, Cause, Control, Opened, Pace, Pause, Verdict, initial_window};
use crate::tcp::delivery::{Loss, Sample};
use crate::time::Instant;
use aggregation::Aggregation;
use bandwidth::Bandwidth;
use bounds::{Bounds, LossRound};
use cycle::Cycle;
use least_rtt::LeastRtt;
use pipe::FullPipe;
use round::Rounds;

/// No bound.
const UNBOUNDED: usize = usize::MAX;

/// Where the state machine stands (§5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Startup,
    Drain,
    /// ProbeBW_DOWN.
    Down,
    /// ProbeBW_CRUISE.
    Cruise,
    /// ProbeBW_REFILL.
    Refill,
    /// ProbeBW_UP.
    Up,
    ProbeRtt,
}

impl State {
    /// How fast to send, in hundredths of the bandwidth (§5.6.1).
    fn pacing_gain(self) -> u64 {
        match self {
            Self::Startup => 277,
            Self::Drain => 50,
            Self::Down => 90,
            Self::Cruise | Self::Refill | Self::ProbeRtt => 100,
            Self::Up => 125,
        }
    }

    /// How much to have in flight, in hundredths of the product of bandwidth and delay (§5.6.1).
    fn cwnd_gain(self) -> u64 {
        match self {
            Self::Up => 225,
            Self::ProbeRtt => 50,
            _ => 200,
        }
    }

    /// IsInAProbeBWState.
    fn is_probe_bw(self) -> bool {
        matches!(self, Self::Down | Self::Cruise | Self::Refill | Self::Up)
    }

    /// IsProbingBW: loss is to be expected.
    fn is_probing(self) -> bool {
        matches!(self, Self::Startup | Self::Refill | Self::Up)
    }
}

/// A connection's model of its path, and what follows from it.
#[derive(Debug)]
pub(super) struct Bbr {
    state: State,
    mss: usize,
    sack: bool,
    cwnd: usize,
    /// The last good window before a recovery or ProbeRtt.
    prior_cwnd: usize,
    recovering: bool,
    /// Octets per second that segments leave with.
    pacing_rate: u64,
    /// Whether a round-trip time has set the first of those.
    paced_by_rtt: bool,
    quantum: usize,
    /// The bandwidth to go by: the greatest measured, or less for a while after losses.
    bw: u64,
    max_bw: Bandwidth,
    least_rtt: LeastRtt,
    rounds: Rounds,
    pipe: FullPipe,
    aggregation: Aggregation,
    bounds: Bounds,
    loss_round: LossRound,
    cycle: Cycle,
    drain_start: u64,
    /// Nothing was in flight, for want of data, before what is sent now.
    idle_restart: bool,
    /// The round in which the present recovery began.
    recovery_round: Option<u64>,
    /// What was left for losses that may turn out not to have been any.
    left: Option<State>,
    /// Time and octets delivered as of the present event.
    now: Instant,
    delivered: u64,
}

impl Bbr {
    pub(super) fn new(now: Instant, mss: usize, sack: bool, seed: u32) -> Self {
        let cwnd = initial_window(mss);
        let mut bbr = Self {
            state: State::Startup,
            mss,
            sack,
            cwnd,
            prior_cwnd: 0,
            recovering: false,
            pacing_rate: 0,
            paced_by_rtt: false,
            quantum: 2 * mss,
            bw: 0,
            max_bw: Bandwidth::default(),
            least_rtt: LeastRtt::new(now, cwnd),
            rounds: Rounds::default(),
            pipe: FullPipe::default(),
            aggregation: Aggregation::new(now),
            bounds: Bounds::default(),
            loss_round: LossRound::default(),
            cycle: Cycle::new(now, seed),
            drain_start: 0,
            idle_restart: false,
            recovery_round: None,
            left: None,
            now,
            delivered: 0,
        };
        bbr.init_pacing_rate(Duration::from_millis(1));
        bbr
    }

    /// UpdateModelAndState (§5.2.3).
    fn update_model(&mut self, ack: &Ack) {
        let sample = &ack.sample;
        self.loss_round.begin_ack(sample, self.delivered);
        self.update_congestion(sample);
        self.aggregate(sample);
        self.pipe.look(sample, self.rounds.started);
        self.check_startup_done(sample);
        self.check_drain_done(ack);
        self.advance_cycle(ack);
        self.update_least_rtt(sample);
        self.check_probe_rtt(ack);
        self.loss_round.end_ack(sample);
        self.bw = self.max_bw.most().min(self.bounds.bw_short);
    }

    /// UpdateCongestionSignals and UpdateMaxBw (§5.5.5, §5.5.10).
    fn update_congestion(&mut self, sample: &Sample) {
        if self.rounds.update(sample, self.delivered) {
            self.cycle.rounds_since += 1;
        }
        if sample.rate >= self.max_bw.most() || !sample.starved {
            self.max_bw.take(sample.rate);
        }
        if self.loss_round.ended {
            self.adapt_short_term();
        }
    }

    /// UpdateACKAggregation (§5.5.9).
    fn aggregate(&mut self, sample: &Sample) {
        self.aggregation.enter(self.rounds.count);
        self.aggregation
            .take(self.now, self.bw, sample.octets, self.cwnd);
    }

    /// CheckStartupDone (§5.3.1).
    fn check_startup_done(&mut self, sample: &Sample) {
        if self.state != State::Startup {
            return;
        }
        if !self.pipe.reached && self.is_startup_lossy(sample) {
            self.left = Some(State::Startup);
            (self.pipe.reached, self.pipe.now) = (true, true);
            self.bounds.inflight_long = self.bdp(100).max(self.loss_round.inflight_latest);
        }
        if self.pipe.reached {
            self.state = State::Drain;
            self.drain_start = self.rounds.count;
        }
    }

    /// CheckStartupHighLoss (§5.3.1.3): in recovery for a round at least, and in that round more than 2 % lost in six places or
    /// more; without SACK, which shows one loss a round only, any loss.
    fn is_startup_lossy(&self, sample: &Sample) -> bool {
        let Some(began) = self.recovery_round else {
            return false;
        };
        if !self.sack {
            return self.loss_round.lossy;
        }
        self.loss_round.ended
            && self.rounds.count > began
            && self.loss_round.last_places >= LossRound::STARTUP_PLACES
            && bounds::is_too_high(sample.lost, sample.in_flight)
    }

    /// CheckDrainDone (§5.3.2).
    fn check_drain_done(&mut self, ack: &Ack) {
        if self.state == State::Drain
            && (ack.in_flight <= self.inflight(100) || self.rounds.count > self.drain_start + 3)
        {
            self.go_down();
        }
    }

    /// SaveStateUponLoss (§5.5.11.1).
    fn save(&mut self) {
        self.save_cwnd();
        self.left = None;
        self.bounds.save();
    }

    /// HandleSpuriousLossDetection (§5.5.11.2).
    fn take_back(&mut self) {
        self.loss_round.lossy = false;
        self.pipe.reset(0);
        self.bounds.restore();
        match self.left.take() {
            Some(State::Startup) if self.state != State::Startup => {
                self.pipe.reached = false;
                if self.state != State::ProbeRtt {
                    self.state = State::Startup;
                }
            }
            Some(State::Up) if !matches!(self.state, State::Up | State::ProbeRtt) => self.refill(),
            _ => {}
        }
    }

    /// NoteLoss (§5.5.10.2).
    fn note_loss(&mut self) {
        if !self.loss_round.lossy {
            self.save();
        }
        self.loss_round.note(self.delivered);
    }
}

impl Control for Bbr {
    fn cwnd(&self) -> usize {
        self.cwnd
    }

    fn pace(&self) -> Option<Pace> {
        Some(Pace {
            rate: self.pacing_rate.max(1),
            quantum: self.quantum,
        })
    }

    /// §5.3.4.3: what is measured during ProbeRtt is how little is sent.
    fn holds_back(&self) -> bool {
        self.state == State::ProbeRtt
    }

    fn set_mss(&mut self, mss: usize) {
        self.mss = mss;
        self.quantum = self.quantum.max(2 * mss);
    }

    fn opened(&mut self, handshake: Opened) {
        match handshake {
            Opened::In(rtt) => {
                self.least_rtt.begin(self.now, rtt);
                self.init_pacing_rate(rtt);
                self.paced_by_rtt = true;
            }
            Opened::WithLoss => self.cwnd = self.mss,
        }
    }

    /// HandleRestartFromIdle (§5.4.1).
    fn resume(&mut self, pause: &Pause) {
        self.now = pause.now;
        if !pause.starved {
            return;
        }
        self.idle_restart = true;
        self.aggregation.restart(self.now);
        if self.state.is_probe_bw() {
            self.set_pacing_rate(100);
        } else if self.state == State::ProbeRtt {
            self.check_probe_rtt_done();
        }
    }

    fn sent(&mut self, _octets: usize) {}

    /// HandleLostPacket (§5.5.10.2).
    fn lost(&mut self, now: Instant, delivered: u64, loss: &Loss) {
        (self.now, self.delivered) = (now, delivered);
        self.note_loss();
        self.loss_round.count(loss);
        if self.cycle.sampling && self.is_inflight_too_high(loss.lost, loss.in_flight) {
            let in_flight = bounds::inflight_at_loss(loss);
            self.handle_inflight_too_high(in_flight, loss.starved);
        }
    }

    fn acknowledged(&mut self, ack: &Ack) {
        if ack.sample.octets == 0 {
            return;
        }
        (self.now, self.delivered) = (ack.now, ack.delivered);
        self.update_model(ack);
        self.update_control(ack);
    }

    /// OnEnterFastRecovery, OnEnterRTO (§5.6.4.4). What was before was saved with the first loss.
    fn congested(&mut self, now: Instant, cause: Cause, flight: usize) {
        self.now = now;
        match cause {
            Cause::Tail => self.note_loss(),
            Cause::Mark => {
                self.note_loss();
                if self.cycle.sampling {
                    self.handle_inflight_too_high(flight, false);
                }
                self.begin_recovery();
            }
            Cause::Loss => self.begin_recovery(),
            Cause::Timeout { .. } => {
                self.begin_recovery();
                self.cwnd = self.mss; // Nothing is in flight any more.
            }
        }
    }

    fn recovered(&mut self, now: Instant, verdict: Verdict) {
        self.now = now;
        self.recovering = false;
        self.recovery_round = None;
        self.restore_cwnd();
        if verdict == Verdict::Mistaken {
            self.take_back();
        }
    }
}

#[cfg(test)]
mod tests;
