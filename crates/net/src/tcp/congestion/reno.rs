//! Reno's congestion avoidance (RFC 5681 §3.1), counting octets (RFC 3465 §2.1).

use core::time::Duration;

use super::{Control, Window};
use crate::time::Instant;

/// One segment more per window acknowledged; half of the flight on congestion.
#[derive(Clone, Debug, Default)]
pub(super) struct Reno {
    /// Octets acknowledged towards the next segment.
    counted: usize,
}

impl Control for Reno {
    fn avoid(&mut self, _now: Instant, _rtt: Duration, acked: usize, window: &mut Window) {
        self.counted += acked;
        let rounds = self.counted / window.cwnd;
        self.counted %= window.cwnd;
        window.grow(rounds * window.mss);
    }

    fn reduce(&mut self, flight: usize, _window: &Window) -> usize {
        self.counted = 0;
        flight / 2
    }

    fn restart(&mut self) {
        self.counted = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_acknowledged_is_one_segment_more() {
        let mut reno = Reno::default();
        let mut window = Window {
            cwnd: 10_000,
            ssthresh: 10_000,
            mss: 1000,
        };
        for _ in 0..5 {
            reno.avoid(Instant::ZERO, Duration::ZERO, 2000, &mut window);
        }
        assert_eq!(window.cwnd, 11_000);
        assert_eq!(reno.reduce(11_000, &window), 5500);
    }
}
