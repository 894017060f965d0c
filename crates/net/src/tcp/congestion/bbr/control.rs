//! From the model to what is done: pacing rate, quantum, congestion window (§5.6).

use core::time::Duration;

use super::{Bbr, State, UNBOUNDED, initial_window};
use crate::tcp::congestion::{Ack, MAX_WINDOW};
use crate::tcp::delivery::rate;

/// 100 − BBR.PacingMarginPercent.
const MARGIN: u64 = 99;

/// How many octets go in one piece at most.
const MOST_QUANTUM: u64 = 64 << 10;

/// Octets that come in `span` at `bw` octets per second.
pub(super) fn product(bw: u64, span: Duration) -> usize {
    let octets = u128::from(bw) * span.as_nanos() / 1_000_000_000;
    usize::try_from(octets).unwrap_or(usize::MAX)
}

impl Bbr {
    /// UpdateControlParameters.
    pub(super) fn update_control(&mut self, ack: &Ack) {
        if let Some(rtt) = ack.sample.rtt.filter(|_| !self.paced_by_rtt) {
            self.paced_by_rtt = true;
            self.init_pacing_rate(rtt);
        }
        self.set_pacing_rate(self.state.pacing_gain());
        let millisecond = (self.pacing_rate / 1000).min(MOST_QUANTUM);
        self.quantum = (millisecond as usize).max(2 * self.mss);
        self.set_cwnd(ack.sample.octets);
    }

    /// InitPacingRate (§5.6.2).
    pub(super) fn init_pacing_rate(&mut self, rtt: Duration) {
        let initial = initial_window(self.mss);
        let nominal = rate(initial, rtt.max(Duration::from_micros(1)));
        self.pacing_rate = nominal.saturating_mul(State::Startup.pacing_gain()) / 100;
    }

    /// SetPacingRateWithGain, in hundredths: until the pipe has been full once, only upwards. Nothing follows from a bandwidth that
    /// was never measured.
    pub(super) fn set_pacing_rate(&mut self, gain: u64) {
        if self.bw == 0 {
            return;
        }
        let rate = u128::from(self.bw) * u128::from(gain * MARGIN) / 10_000;
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        if self.pipe.reached || rate > self.pacing_rate {
            self.pacing_rate = rate;
        }
    }

    /// BDPMultiple, by a gain in hundredths (§5.6.4.2).
    pub(super) fn bdp(&self, gain: u64) -> usize {
        self.least_rtt.product(self.bw, gain)
    }

    /// QuantizationBudget: some trains have to be under way at both ends.
    pub(super) fn quantized(&self, octets: usize) -> usize {
        let least = octets.max(3 * self.quantum).max(self.least_cwnd());
        match self.state {
            State::Up => least.saturating_add(2 * self.mss),
            _ => least,
        }
    }

    /// Inflight.
    pub(super) fn inflight(&self, gain: u64) -> usize {
        self.quantized(self.bdp(gain))
    }

    /// BBR.MinPipeCwnd.
    pub(super) fn least_cwnd(&self) -> usize {
        4 * self.mss
    }

    /// SetCwnd (§5.6.4.6).
    fn set_cwnd(&mut self, octets: usize) {
        let wanted = self.bdp(self.state.cwnd_gain());
        let extra = self.aggregation.extra(self.pipe.reached);
        let most = self.quantized(wanted.saturating_add(extra));
        let grown = self.cwnd.saturating_add(octets);
        if self.pipe.reached {
            self.cwnd = grown.min(most);
        } else if self.cwnd < most || self.delivered < initial_window(self.mss) as u64 {
            self.cwnd = grown;
        }
        self.cwnd = self
            .cwnd
            .clamp(self.least_cwnd(), MAX_WINDOW)
            .min(self.probe_rtt_bound())
            .min(self.model_bound());
    }

    /// BoundCwndForModel (§5.6.4.7).
    fn model_bound(&self) -> usize {
        let long = match self.state {
            State::Down | State::Refill | State::Up => self.bounds.inflight_long,
            State::ProbeRtt | State::Cruise => self.inflight_with_headroom(),
            State::Startup | State::Drain => UNBOUNDED,
        };
        long.min(self.bounds.inflight_short).max(self.least_cwnd())
    }

    /// SaveCwnd.
    pub(super) fn save_cwnd(&mut self) {
        self.prior_cwnd = if self.recovering || self.state == State::ProbeRtt {
            self.prior_cwnd.max(self.cwnd)
        } else {
            self.cwnd
        };
    }

    /// RestoreCwnd.
    pub(super) fn restore_cwnd(&mut self) {
        self.cwnd = self.cwnd.max(self.prior_cwnd);
    }

    /// A recovery begins, or goes on by a timeout.
    pub(super) fn begin_recovery(&mut self) {
        self.recovering = true;
        self.recovery_round.get_or_insert(self.rounds.count);
    }
}
