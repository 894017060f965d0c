//! Is the pipe full (§5.3.1.2)? When sending faster for three rounds made deliveries no faster, it is.

use crate::tcp::delivery::Sample;

/// Rounds without growth that prove it.
const ROUNDS: u8 = 3;

/// The full pipe estimator.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FullPipe {
    bw: u64,
    rounds: u8,
    /// Full, as far as was looked since the last reset.
    pub(super) now: bool,
    /// It has been full at some time.
    pub(super) reached: bool,
}

impl FullPipe {
    /// Looks anew; `bw` is what growth is measured by (ResetFullBW).
    pub(super) fn reset(&mut self, bw: u64) {
        (self.bw, self.rounds, self.now) = (bw, 0, false);
    }

    /// CheckFullBWReached, with the sample of an acknowledgment that begins a round or does not.
    pub(super) fn look(&mut self, sample: &Sample, round: bool) {
        if self.now || !round || sample.starved {
            return;
        }
        if sample.rate.saturating_mul(4) >= self.bw.saturating_mul(5) {
            self.reset(sample.rate);
            return;
        }
        self.rounds += 1;
        self.now = self.rounds >= ROUNDS;
        self.reached |= self.now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(pipe: &mut FullPipe, rate: u64, starved: bool, round: bool) -> bool {
        let sample = Sample {
            rate,
            starved,
            ..Sample::default()
        };
        pipe.look(&sample, round);
        pipe.now
    }

    #[test]
    fn three_rounds_with_less_than_a_quarter_more_fill_it() {
        let mut pipe = FullPipe::default();
        for (rate, full) in [
            (100, false),
            (125, false),
            (156, false),
            (195, false),
            (240, false),
            (243, false),
            (200, true),
        ] {
            assert_eq!(look(&mut pipe, rate, false, true), full, "{rate}");
        }
        assert!(pipe.reached);
        pipe.reset(0);
        assert!(!pipe.now && pipe.reached);
    }

    #[test]
    fn only_rounds_that_were_not_starved_count() {
        let mut pipe = FullPipe::default();
        look(&mut pipe, 100, false, true);
        for _ in 0..10 {
            assert!(!look(&mut pipe, 100, true, true));
            assert!(!look(&mut pipe, 100, false, false));
        }
    }
}
