//! Congestion control: how much may be in flight.
//!
//! The window ([`Window`]) and slow start are shared; a [`Control`] decides what happens beyond: how the window grows in congestion avoidance
//! and how far it falls. Slow start grows by as many octets as were acknowledged (RFC 5681 §3.1 caps each acknowledgment's share
//! at one segment, RFC 3465 at two; one acknowledgment here may stand for 64 KiB, so there is no cap, as in Linux).

mod cubic;
mod reno;

use core::time::Duration;

use crate::time::Instant;
use cubic::Cubic;
use reno::Reno;

/// Which congestion control a connection uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// CUBIC (RFC 9438).
    #[default]
    Cubic,
    /// Reno: additive increase, multiplicative decrease (RFC 5681).
    Reno,
}

/// The congestion window, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) cwnd: usize,
    pub(super) ssthresh: usize,
    pub(super) mss: usize,
}

/// The largest congestion window: what the largest scaled receive window could use.
const MAX_WINDOW: usize = 1 << 30;

impl Window {
    fn new(mss: usize) -> Self {
        Self {
            cwnd: Self::initial(mss),
            ssthresh: MAX_WINDOW,
            mss,
        }
    }

    /// RFC 6928 §2.
    fn initial(mss: usize) -> usize {
        (10 * mss).min((2 * mss).max(14_600))
    }

    /// Grows exponentially up to the threshold; returns the octets left over for congestion avoidance.
    fn slow_start(&mut self, acked: usize) -> usize {
        let growth = acked.min(self.ssthresh.saturating_sub(self.cwnd));
        self.cwnd += growth;
        acked - growth
    }

    fn grow(&mut self, octets: usize) {
        self.cwnd = self.cwnd.saturating_add(octets).min(MAX_WINDOW);
    }
}

/// What sets one congestion control apart from another.
pub(super) trait Control {
    /// `acked` octets were acknowledged outside of recovery, beyond slow start.
    fn avoid(&mut self, now: Instant, rtt: Duration, acked: usize, window: &mut Window);

    /// Congestion was seen with `flight` octets outstanding: the new slow start threshold.
    fn reduce(&mut self, flight: usize, window: &Window) -> usize;

    /// The window collapsed (timeout) or time passed without sending: what was measured is void.
    fn restart(&mut self);
}

/// A congestion control and its window.
#[derive(Clone, Debug)]
pub(super) struct Congestion {
    window: Window,
    law: Law,
}

#[derive(Clone, Debug)]
enum Law {
    Cubic(Cubic),
    Reno(Reno),
}

impl Law {
    fn control(&mut self) -> &mut dyn Control {
        match self {
            Self::Cubic(cubic) => cubic,
            Self::Reno(reno) => reno,
        }
    }
}

impl Congestion {
    pub(super) fn new(algorithm: Algorithm, mss: usize) -> Self {
        let law = match algorithm {
            Algorithm::Cubic => Law::Cubic(Cubic::default()),
            Algorithm::Reno => Law::Reno(Reno::default()),
        };
        Self {
            window: Window::new(mss),
            law,
        }
    }

    /// Octets of text in a segment, as segments are made at present.
    pub(super) fn mss(&self) -> usize {
        self.window.mss
    }

    /// Octets that may be in flight.
    pub(super) fn cwnd(&self) -> usize {
        self.window.cwnd
    }

    /// The slow start threshold in octets.
    pub(super) fn ssthresh(&self) -> usize {
        self.window.ssthresh
    }

    /// Whether the window grows exponentially.
    pub(super) fn is_slow_start(&self) -> bool {
        self.window.cwnd < self.window.ssthresh
    }

    /// The segment size changed; the window stays in octets, but holds at least two segments' worth of hope.
    pub(super) fn set_mss(&mut self, mss: usize) {
        self.window.mss = mss;
    }

    /// Sets the window: for recovery, which computes it from what is delivered (RFC 6937).
    pub(super) fn set_cwnd(&mut self, octets: usize) {
        self.window.cwnd = octets.clamp(self.window.mss, MAX_WINDOW);
    }

    /// `acked` octets were acknowledged outside of fast recovery, while the window was what limited sending.
    pub(super) fn acknowledged(&mut self, now: Instant, rtt: Duration, acked: usize) {
        let left = self.window.slow_start(acked);
        if left > 0 {
            self.law.control().avoid(now, rtt, left, &mut self.window);
        }
    }

    /// A loss or a congestion mark: lowers the threshold (RFC 5681 §3.1, equation 4; RFC 9438 §4.6). The window follows by
    /// proportional rate reduction.
    pub(super) fn reduce(&mut self, flight: usize) {
        self.window.ssthresh = self
            .law
            .control()
            .reduce(flight, &self.window)
            .max(2 * self.window.mss);
    }

    /// A retransmission timeout: one segment, then slow start (RFC 5681 §3.1, LW).
    pub(super) fn collapse(&mut self) {
        self.window.cwnd = self.window.mss;
        self.law.control().restart();
    }

    /// Nothing was sent for longer than a timeout: no more than the initial window at once (RFC 5681 §4.1).
    pub(super) fn after_idle(&mut self) {
        self.window.cwnd = self.window.cwnd.min(Window::initial(self.window.mss));
        self.law.control().restart();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_window_is_ten_segments_within_bounds() {
        for (mss, initial) in [
            (100, 1000),
            (536, 5360),
            (1460, 14_600),
            (2000, 14_600),
            (9000, 18_000),
        ] {
            assert_eq!(Window::initial(mss), initial, "mss {mss}");
        }
    }

    #[test]
    fn slow_start_doubles_per_round_and_hands_on_the_rest() {
        let mut congestion = Congestion::new(Algorithm::Reno, 1000);
        congestion.acknowledged(Instant::ZERO, Duration::from_millis(10), 10_000);
        assert_eq!(congestion.cwnd(), 20_000);
        congestion.reduce(20_000);
        congestion.collapse();
        assert_eq!((congestion.cwnd(), congestion.ssthresh()), (1000, 10_000));
        for _ in 0..4 {
            let cwnd = congestion.cwnd();
            congestion.acknowledged(Instant::ZERO, Duration::from_millis(10), cwnd);
        }
        // 1, 2, 4, 8 thousand; then two thousand of the eight still double, six count towards one segment per window.
        assert_eq!(
            (congestion.cwnd(), congestion.is_slow_start()),
            (10_000, false)
        );
    }
}
