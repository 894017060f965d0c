//! Reno's congestion avoidance (RFC 5681 §3.1), counting octets (RFC 3465 §2.1).

use super::loss_based::Window;

/// One segment more per window acknowledged; half of the flight on congestion.
#[derive(Clone, Debug, Default)]
pub(super) struct Reno {
    /// Octets acknowledged towards the next segment.
    counted: usize,
}

impl Reno {
    /// `acked` octets were acknowledged in congestion avoidance.
    pub(super) fn avoid(&mut self, acked: usize, window: &mut Window) {
        self.counted += acked;
        let rounds = self.counted / window.cwnd;
        self.counted %= window.cwnd;
        window.grow(rounds * window.mss);
    }

    /// The slow start threshold when congestion is seen with `flight` octets outstanding.
    pub(super) fn reduce(&mut self, flight: usize) -> usize {
        self.counted = 0;
        flight / 2
    }

    /// The next segment has to be earned anew.
    pub(super) fn restart(&mut self) {
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
            reno.avoid(2000, &mut window);
        }
        assert_eq!(window.cwnd, 11_000);
        assert_eq!(reno.reduce(11_000), 5500);
    }
}
