//! What CUBIC and Reno share: slow start, the threshold, proportional rate reduction, and going back when it was a mistake.
//!
//! A [`Law`] decides how the window grows in congestion avoidance and how far it falls. Slow start grows by as many octets as were
//! acknowledged (RFC 5681 §3.1 caps each acknowledgment's share at one segment, RFC 3465 at two, RFC 9406 §4.2 at eight; one
//! acknowledgment here may stand for 64 KiB, so there is no cap, as in Linux), more slowly once round trips get longer
//! ([`HyStart`]).

use alloc::boxed::Box;
use core::time::Duration;

use super::cubic::Cubic;
use super::hystart::HyStart;
use super::reduction::Reduction;
use super::reno::Reno;
use super::{Ack, Cause, Control, MAX_WINDOW, Opened, Pause, Stage, Verdict, initial_window};
use crate::tcp::delivery::Loss;
use crate::time::Instant;

/// The congestion window, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) cwnd: usize,
    pub(super) ssthresh: usize,
    pub(super) mss: usize,
}

impl Window {
    /// Grows exponentially up to the threshold; returns the octets left over for congestion avoidance.
    fn slow_start(&mut self, acked: usize) -> usize {
        let growth = acked.min(self.ssthresh.saturating_sub(self.cwnd));
        self.cwnd += growth;
        acked - growth
    }

    pub(super) fn grow(&mut self, octets: usize) {
        self.cwnd = self.cwnd.saturating_add(octets).min(MAX_WINDOW);
    }
}

/// What sets CUBIC and Reno apart.
#[derive(Clone, Debug)]
enum Law {
    Cubic(Cubic),
    Reno(Reno),
}

/// See the module.
#[derive(Debug)]
pub(super) struct LossBased {
    window: Window,
    law: Law,
    hystart: HyStart,
    /// Octets delivered out of order: they count once everything before them is acknowledged.
    early: usize,
    recovery: Option<Box<Recovery>>,
}

/// While a recovery is under way.
#[derive(Debug, Default)]
struct Recovery {
    /// Fast recovery's counts.
    reduction: Option<Reduction>,
    /// What to go back to if it was a mistake.
    prior: Option<(Window, Law)>,
}

impl Law {
    /// `acked` octets were acknowledged outside of recovery, beyond slow start.
    fn avoid(&mut self, now: Instant, rtt: Duration, acked: usize, window: &mut Window) {
        match self {
            Self::Cubic(cubic) => cubic.avoid(now, rtt, acked, window),
            Self::Reno(reno) => reno.avoid(acked, window),
        }
    }

    /// Congestion was seen with `flight` octets outstanding: the new slow start threshold.
    fn reduce(&mut self, flight: usize, window: &Window) -> usize {
        let threshold = match self {
            Self::Cubic(cubic) => cubic.reduce(flight, window),
            Self::Reno(reno) => reno.reduce(flight),
        };
        threshold.max(2 * window.mss)
    }

    /// The window collapsed (timeout) or time passed without sending: what was measured is void.
    fn restart(&mut self) {
        match self {
            Self::Cubic(cubic) => cubic.restart(),
            Self::Reno(reno) => reno.restart(),
        }
    }
}

impl LossBased {
    /// CUBIC, RFC 9438.
    pub(super) fn cubic(mss: usize) -> Self {
        Self::new(mss, Law::Cubic(Cubic::default()))
    }

    /// Reno, RFC 5681.
    pub(super) fn reno(mss: usize) -> Self {
        Self::new(mss, Law::Reno(Reno::default()))
    }

    fn new(mss: usize, law: Law) -> Self {
        Self {
            window: Window {
                cwnd: initial_window(mss),
                ssthresh: MAX_WINDOW,
                mss,
            },
            law,
            hystart: HyStart::default(),
            early: 0,
            recovery: None,
        }
    }

    fn is_slow_start(&self) -> bool {
        self.window.cwnd < self.window.ssthresh
    }

    /// Whether the window was what limited the flight; otherwise it must not grow (RFC 9438 §5.8, RFC 7661 §4.1).
    fn is_used(&self, peak: usize) -> bool {
        if self.is_slow_start() {
            2 * peak >= self.window.cwnd
        } else {
            peak + self.window.mss >= self.window.cwnd
        }
    }

    /// Only what is acknowledged cumulatively lets the window grow (RFC 5681 §3.1).
    fn grow(&mut self, ack: &Ack) {
        if !ack.advanced {
            self.early += ack.sample.octets;
            return;
        }
        let mut acked = ack.sample.octets + core::mem::take(&mut self.early);
        if acked == 0 || !self.is_used(ack.peak) {
            return;
        }
        // RFC 9406 §4.3: in the first slow start only, of whose end nothing is known.
        if self.window.ssthresh == MAX_WINDOW {
            acked = self.hystart.growth(ack, acked);
            if self.hystart.is_over() {
                self.window.ssthresh = self.window.cwnd;
            }
        }
        let left = self.window.slow_start(acked);
        if left > 0 {
            self.law
                .avoid(ack.now, ack.smoothed, left, &mut self.window);
        }
    }

    /// The window is what is in flight and what may be added to it.
    fn shrink_evenly(&mut self, ack: &Ack) {
        let recovery = self.recovery.as_deref_mut();
        let Some(reduction) = recovery.and_then(|recovery| recovery.reduction.as_mut()) else {
            return;
        };
        let safe = ack.advanced && ack.lost == 0;
        let Window { ssthresh, mss, .. } = self.window;
        let allowed = reduction.allowance(ack.sample.octets, ack.in_flight, ssthresh, mss, safe);
        self.set(ack.in_flight + allowed);
    }

    fn set(&mut self, octets: usize) {
        self.window.cwnd = octets.clamp(self.window.mss, MAX_WINDOW);
    }

    /// A recovery begins or takes a turn for the worse.
    fn recover(&mut self, cause: Cause, reduction: Option<Reduction>) {
        self.early = 0;
        let recovery = self.recovery.get_or_insert_default();
        recovery.reduction = reduction;
        if cause == Cause::Mark {
            recovery.prior = None; // The mark was no mistake.
        } else if recovery.prior.is_none() {
            recovery.prior = Some((self.window, self.law.clone()));
        }
    }
}

impl Control for LossBased {
    fn cwnd(&self) -> usize {
        self.window.cwnd
    }

    fn set_mss(&mut self, mss: usize) {
        self.window.mss = mss;
    }

    fn opened(&mut self, handshake: Opened) {
        if handshake == Opened::WithLoss {
            self.window.cwnd = self.window.mss;
        }
    }

    /// No more than the initial window at once after a long pause (RFC 5681 §4.1).
    fn resume(&mut self, pause: &Pause) {
        if pause.long {
            self.window.cwnd = self.window.cwnd.min(initial_window(self.window.mss));
            self.law.restart();
        }
    }

    fn sent(&mut self, octets: usize) {
        let recovery = self.recovery.as_deref_mut();
        if let Some(reduction) = recovery.and_then(|recovery| recovery.reduction.as_mut()) {
            reduction.sent(octets);
        }
    }

    fn lost(&mut self, _now: Instant, _delivered: u64, _loss: &Loss) {}

    fn acknowledged(&mut self, ack: &Ack) {
        match ack.stage {
            Stage::Open => self.grow(ack),
            // What was acknowledged selectively before the timeout is not sent again, and does not count.
            Stage::Timeout if ack.advanced => self.grow(ack),
            Stage::Timeout => {}
            Stage::Fast => self.shrink_evenly(ack),
        }
    }

    /// RFC 5681 §3.1, equation 4 and LW; RFC 9438 §4.6.
    fn congested(&mut self, _now: Instant, cause: Cause, flight: usize) {
        match cause {
            Cause::Loss | Cause::Mark => self.recover(cause, Some(Reduction::new(flight))),
            Cause::Timeout { .. } => self.recover(cause, None),
            Cause::Tail => {}
        }
        if cause != (Cause::Timeout { again: true }) {
            self.window.ssthresh = self.law.reduce(flight, &self.window);
        }
        match cause {
            Cause::Loss | Cause::Mark => {}
            Cause::Tail => self.set(self.window.ssthresh),
            Cause::Timeout { .. } => {
                self.window.cwnd = self.window.mss;
                self.law.restart();
            }
        }
    }

    fn recovered(&mut self, _now: Instant, verdict: Verdict) {
        let Some(recovery) = self.recovery.take() else {
            return;
        };
        let prior = recovery.prior.filter(|_| verdict == Verdict::Mistaken);
        if let Some((window, law)) = prior {
            let mss = self.window.mss;
            (self.window, self.law) = (Window { mss, ..window }, law);
        } else if recovery.reduction.is_some() {
            self.set(self.window.ssthresh);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::delivery::Sample;
    use crate::wire::tcp::SeqNum;

    fn ack(octets: usize, peak: usize) -> Ack {
        Ack {
            now: Instant::ZERO,
            stage: Stage::Open,
            una: SeqNum::new(0),
            nxt: SeqNum::new(0),
            advanced: true,
            lost: 0,
            in_flight: 0,
            peak,
            smoothed: Duration::from_millis(10),
            delivered: 0,
            sample: Sample {
                octets,
                ..Sample::default()
            },
        }
    }

    #[test]
    fn slow_start_doubles_per_round_and_hands_on_the_rest() {
        let mut reno = LossBased::reno(1000);
        reno.acknowledged(&ack(10_000, 10_000));
        assert_eq!(reno.cwnd(), 20_000);
        reno.congested(Instant::ZERO, Cause::Timeout { again: false }, 20_000);
        assert_eq!((reno.cwnd(), reno.window.ssthresh), (1000, 10_000));
        for _ in 0..4 {
            let cwnd = reno.cwnd();
            reno.acknowledged(&ack(cwnd, cwnd));
        }
        // 1, 2, 4, 8 thousand; then two thousand of the eight still double, six count towards one segment per window.
        assert_eq!((reno.cwnd(), reno.is_slow_start()), (10_000, false));
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow() {
        let mut reno = LossBased::reno(1000);
        reno.acknowledged(&ack(1000, 4000));
        assert_eq!(reno.cwnd(), 10_000);
    }

    #[test]
    fn a_repeated_timeout_does_not_lower_the_threshold_again() {
        let mut cubic = LossBased::cubic(1000);
        cubic.congested(Instant::ZERO, Cause::Timeout { again: false }, 10_000);
        let threshold = cubic.window.ssthresh;
        cubic.congested(Instant::ZERO, Cause::Timeout { again: true }, 1000);
        assert_eq!((cubic.window.ssthresh, threshold), (7000, 7000));
    }

    /// (causes in a row, verdict, the window afterwards)
    #[test]
    fn what_was_a_mistake_is_taken_back_and_a_mark_never_is() {
        let timeout = Cause::Timeout { again: false };
        for (causes, verdict, cwnd) in [
            (&[Cause::Loss][..], Verdict::Repaired, 7000),
            (&[Cause::Loss], Verdict::Mistaken, 10_000),
            (&[Cause::Loss, timeout], Verdict::Mistaken, 10_000),
            (&[timeout], Verdict::Repaired, 1000),
            (&[Cause::Mark], Verdict::Mistaken, 7000),
            (&[Cause::Tail], Verdict::Mistaken, 7000),
        ] {
            let mut cubic = LossBased::cubic(1000);
            for cause in causes {
                cubic.congested(Instant::ZERO, *cause, 10_000);
            }
            cubic.recovered(Instant::ZERO, verdict);
            assert_eq!(cubic.cwnd(), cwnd, "{causes:?} {verdict:?}");
        }
    }
}
