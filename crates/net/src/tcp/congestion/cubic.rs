//! CUBIC (RFC 9438), in integers: octets and milliseconds.
//!
//! # Theory of operation
//!
//! After a reduction at window *Wmax*, the window follows *W(t) = C·(t − K)³ + Wmax* with *C* = 0.4 segments/s³ and *K* the
//! time at which the curve is back at its origin: steep first, flat around *Wmax*, steep again (§4.2). A line that grows as
//! Reno would, the estimate, is a lower bound (§4.3). If a reduction comes below the last *Wmax*, a newcomer is probably
//! there, and *Wmax* is set lower still to make room (fast convergence, §4.7).

use core::time::Duration;

use super::loss_based::Window;
use crate::time::Instant;

/// β, the factor of a reduction, in tenths (§4.6).
const BETA_TENTHS: usize = 7;

/// Farther than this from *K* the curve is not evaluated: keeps the cube within 128 bits.
const HORIZON_MS: u64 = 1_000_000;

/// CUBIC's memory of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Cubic {
    /// Wmax, in octets; 0 before the first reduction.
    w_max: usize,
    epoch: Option<Epoch>,
}

/// One stretch of congestion avoidance.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    start: Instant,
    /// K, in milliseconds.
    k_ms: u64,
    /// The window at which the curve is flat: Wmax, or the present window if that is larger.
    origin: usize,
    /// West, the window that Reno would have, in octets.
    estimate: usize,
    /// Octets acknowledged that the estimate has not used.
    counted: usize,
    /// The window at which the estimate grows as fast as Reno itself (§4.3).
    prior: usize,
}

impl Cubic {
    fn begin(&self, now: Instant, window: &Window) -> Epoch {
        let missing = self.w_max.saturating_sub(window.cwnd);
        // K = cbrt((Wmax − cwnd) / C), in segments and seconds: 2.5·10⁹ turns that into milliseconds.
        let cube = missing as u128 * 2_500_000_000 / window.mss as u128;
        Epoch {
            start: now,
            k_ms: cube_root(cube),
            origin: self.w_max.max(window.cwnd),
            estimate: window.cwnd,
            counted: 0,
            prior: self.w_max,
        }
    }
}

impl Epoch {
    /// W(t) in octets (§4.2, equation 1).
    fn target(&self, at: Instant, mss: usize) -> usize {
        let t = (at - self.start).as_millis() as u64;
        let cube = u128::from(t.abs_diff(self.k_ms).min(HORIZON_MS)).pow(3);
        let octets = usize::try_from(cube * 4 * mss as u128 / 10_000_000_000).unwrap_or(usize::MAX);
        if t < self.k_ms {
            self.origin.saturating_sub(octets)
        } else {
            self.origin.saturating_add(octets)
        }
    }

    /// Grows the estimate: α = 3·(1 − β)/(1 + β) = 9/17 segments per window until it is back at the window before the
    /// reduction, then one (§4.3, equation 4).
    fn estimate(&mut self, acked: usize, window: &Window) -> usize {
        self.counted += acked;
        let (numerator, denominator) = if self.estimate < self.prior {
            (9, 17)
        } else {
            (1, 1)
        };
        let growth = self.counted as u128 * window.mss as u128 * numerator
            / (window.cwnd as u128 * denominator);
        if growth > 0 {
            self.counted = 0;
            self.estimate = self.estimate.saturating_add(growth as usize);
        }
        self.estimate
    }
}

impl Cubic {
    /// `acked` octets were acknowledged in congestion avoidance.
    pub(super) fn avoid(&mut self, now: Instant, rtt: Duration, acked: usize, window: &mut Window) {
        let mut epoch = self.epoch.unwrap_or_else(|| self.begin(now, window));
        let estimate = epoch.estimate(acked, window);
        let target = epoch
            .target(now + rtt, window.mss)
            .clamp(window.cwnd, window.cwnd + window.cwnd / 2);
        self.epoch = Some(epoch);
        // cwnd grows by (target − cwnd)/cwnd for each octet acknowledged (§4.4, §4.5).
        let growth = (target - window.cwnd) as u128 * acked as u128 / window.cwnd as u128;
        window.grow(growth as usize);
        if window.cwnd < estimate {
            window.grow(estimate - window.cwnd);
        }
    }

    /// The slow start threshold when congestion is seen with `flight` octets outstanding.
    pub(super) fn reduce(&mut self, flight: usize, window: &Window) -> usize {
        self.epoch = None;
        self.w_max = if window.cwnd < self.w_max {
            window.cwnd * (10 + BETA_TENTHS) / 20
        } else {
            window.cwnd
        };
        flight.min(window.cwnd) * BETA_TENTHS / 10
    }

    /// The curve begins anew with the next octets.
    pub(super) fn restart(&mut self) {
        self.epoch = None;
    }
}

/// The largest integer whose cube is not above `value`.
fn cube_root(value: u128) -> u64 {
    let (mut low, mut high) = (0u64, 1 << 40);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if u128::from(middle).pow(3) <= value {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    #[test]
    fn cube_roots() {
        for (value, root) in [
            (0, 0),
            (1, 1),
            (7, 1),
            (8, 2),
            (26, 2),
            (27, 3),
            (1_000_000_000_000, 10_000),
        ] {
            assert_eq!(cube_root(value), root, "{value}");
        }
    }

    /// Against the formula in floating point: back at Wmax after K, and beyond it after 2K.
    #[test]
    fn the_window_follows_the_curve() {
        let (mss, w_max) = (1000, 1_000_000);
        let mut window = Window {
            cwnd: w_max,
            ssthresh: 1,
            mss,
        };
        let mut cubic = Cubic::default();
        window.cwnd = cubic.reduce(w_max, &window);
        assert_eq!(window.cwnd, 700_000);
        let k = ((w_max as f64 * 0.3 / mss as f64) / 0.4).cbrt();
        let mut now = Instant::ZERO;
        let start = now + RTT;
        while now < start + Duration::from_secs_f64(2.0 * k) {
            now += RTT;
            let cwnd = window.cwnd;
            cubic.avoid(now, RTT, cwnd, &mut window);
            let t = (now + RTT - start).as_secs_f64();
            let expected = (0.4 * (t - k).powi(3) * mss as f64 + w_max as f64).max(700_000.0);
            let error = (window.cwnd as f64 - expected).abs() / expected;
            assert!(
                error < 0.02,
                "at {t:.1} s: {} instead of {expected:.0}",
                window.cwnd
            );
        }
        assert!(window.cwnd > w_max * 12 / 10);
    }

    #[test]
    fn a_short_path_grows_no_slower_than_reno_would() {
        let mut window = Window {
            cwnd: 100_000,
            ssthresh: 1,
            mss: 1000,
        };
        let mut cubic = Cubic::default();
        window.cwnd = cubic.reduce(100_000, &window);
        let mut now = Instant::ZERO;
        for _ in 0..50 {
            now += Duration::from_millis(1);
            let cwnd = window.cwnd;
            cubic.avoid(now, Duration::from_millis(1), cwnd, &mut window);
        }
        assert!(
            window.cwnd >= 70_000 + 50 * 1000 * 9 / 17 - 1000,
            "{}",
            window.cwnd
        );
    }

    #[test]
    fn fast_convergence_leaves_room_for_a_newcomer() {
        let mut cubic = Cubic::default();
        let window = |cwnd| Window {
            cwnd,
            ssthresh: 1,
            mss: 1000,
        };
        cubic.reduce(100_000, &window(100_000));
        cubic.reduce(80_000, &window(80_000));
        assert_eq!(cubic.w_max, 68_000);
    }
}
