//! The least round-trip time, and ProbeRtt, which makes sure that it can be seen (§5.3.4).

use core::time::Duration;

use super::cycle::Feedback;
use super::{Bbr, State, control};
use crate::tcp::congestion::Ack;
use crate::tcp::delivery::Sample;
use crate::time::Instant;

/// BBR.MinRTTFilterLen: how long it is believed.
const VALID: Duration = Duration::from_secs(10);

/// BBR.ProbeRTTDuration.
const PROBE: Duration = Duration::from_millis(200);

/// The least round-trip time of the last ten seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeastRtt {
    value: Option<Duration>,
    seen_at: Instant,
    expired: bool,
    /// probe_rtt_cwnd: fixed for a ProbeRtt, from before the value expired.
    probe_cwnd: usize,
    probe_until: Option<Instant>,
    probe_round_done: bool,
    initial: usize,
}

impl LeastRtt {
    /// `initial` octets are in flight before anything is known.
    pub(super) fn new(now: Instant, initial: usize) -> Self {
        Self {
            value: None,
            seen_at: now,
            expired: false,
            probe_cwnd: initial,
            probe_until: None,
            probe_round_done: false,
            initial,
        }
    }

    /// A first measurement.
    pub(super) fn begin(&mut self, now: Instant, rtt: Duration) {
        (self.value, self.seen_at) = (Some(rtt), now);
    }

    /// The product of a bandwidth and the delay, by a gain in hundredths.
    pub(super) fn product(&self, bw: u64, gain: u64) -> usize {
        match self.value {
            None => self.initial,
            Some(rtt) => {
                let octets = control::product(bw, rtt) as u128 * u128::from(gain) / 100;
                usize::try_from(octets).unwrap_or(usize::MAX)
            }
        }
    }
}

impl Bbr {
    /// UpdateMinRTT.
    pub(super) fn update_least_rtt(&mut self, sample: &Sample) {
        self.least_rtt.expired = self.now > self.least_rtt.seen_at + VALID;
        if self.least_rtt.expired && self.state != State::ProbeRtt {
            let gain = State::ProbeRtt.cwnd_gain();
            self.least_rtt.probe_cwnd = self.bdp(gain).max(self.least_cwnd());
        }
        let Some(rtt) = sample.rtt else { return };
        let less = self.least_rtt.value.is_none_or(|least| rtt < least);
        if less || self.least_rtt.expired {
            self.least_rtt.begin(self.now, rtt);
        }
    }

    /// CheckProbeRTT.
    pub(super) fn check_probe_rtt(&mut self, ack: &Ack) {
        if self.state != State::ProbeRtt && self.least_rtt.expired && !self.idle_restart {
            self.save_cwnd();
            self.state = State::ProbeRtt;
            self.least_rtt.probe_until = None;
            self.cycle.feedback = Feedback::Stopping;
            self.rounds.begin(self.delivered);
        }
        if self.state == State::ProbeRtt {
            self.hold_probe_rtt(ack);
        }
        if ack.sample.delivered > 0 {
            self.idle_restart = false;
        }
    }

    /// HandleProbeRTT: a round trip and 200 ms with little in flight.
    fn hold_probe_rtt(&mut self, ack: &Ack) {
        if self.least_rtt.probe_until.is_some() {
            self.least_rtt.probe_round_done |= self.rounds.started;
            if self.least_rtt.probe_round_done {
                self.check_probe_rtt_done();
            }
        } else if ack.in_flight <= self.least_rtt.probe_cwnd {
            self.least_rtt.probe_until = Some(self.now + PROBE);
            self.least_rtt.probe_round_done = false;
            self.rounds.begin(self.delivered);
        }
    }

    /// CheckProbeRTTDone, ExitProbeRTT.
    pub(super) fn check_probe_rtt_done(&mut self) {
        if self
            .least_rtt
            .probe_until
            .is_none_or(|until| self.now <= until)
        {
            return;
        }
        self.least_rtt.seen_at = self.now;
        self.restore_cwnd();
        self.bounds.forget_short_term();
        if self.pipe.reached {
            self.go_down();
            self.state = State::Cruise;
        } else {
            self.state = State::Startup;
        }
    }

    /// BoundCwndForProbeRTT.
    pub(super) fn probe_rtt_bound(&self) -> usize {
        match self.state {
            State::ProbeRtt => self.least_rtt.probe_cwnd,
            _ => usize::MAX,
        }
    }
}
