//! How much more comes acknowledged at once than the bandwidth explains (BBR.extra_acked, §5.5.9).
//!
//! Some links, and hosts with receive offload, acknowledge in bunches. The window is as much larger, so that sending goes on between
//! the bunches.

use crate::time::Instant;

/// BBR.ExtraAckedFilterLen, in rounds.
const ROUNDS: usize = 10;

/// The greatest excess of each of the last rounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aggregation {
    since: Instant,
    delivered: usize,
    by_round: [u32; ROUNDS],
    round: u64,
}

fn slot(round: u64) -> usize {
    (round % ROUNDS as u64) as usize
}

impl Aggregation {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            delivered: 0,
            by_round: [0; ROUNDS],
            round: 0,
        }
    }

    /// `octets` were acknowledged on a path of `bw` octets per second; no more than a window's worth counts.
    pub(super) fn take(&mut self, now: Instant, bw: u64, octets: usize, cwnd: usize) {
        let mut expected = super::control::product(bw, now - self.since);
        if self.delivered <= expected {
            self.restart(now);
            self.delivered = 0;
            expected = 0;
        }
        self.delivered += octets;
        let extra = (self.delivered - expected).min(cwnd) as u32;
        let slot = &mut self.by_round[slot(self.round)];
        *slot = extra.max(*slot);
    }

    /// Says which round it is before the acknowledgment of that round is taken.
    pub(super) fn enter(&mut self, round: u64) {
        for passed in (self.round + 1..=round).take(ROUNDS) {
            self.by_round[slot(passed)] = 0;
        }
        self.round = round;
    }

    /// The greatest excess of the last ten rounds, or of this one as long as the path is not known.
    pub(super) fn extra(&self, known: bool) -> usize {
        let most = if known {
            self.by_round.iter().max().copied().unwrap_or(0)
        } else {
            self.by_round[slot(self.round)]
        };
        most as usize
    }

    /// Nothing was sent for a while: the interval begins anew.
    pub(super) fn restart(&mut self, now: Instant) {
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    /// A megabyte per second, acknowledged every millisecond evenly: nothing beyond what one acknowledgment brings.
    #[test]
    fn a_bunch_is_remembered_for_ten_rounds() {
        let mut now = Instant::from_millis(1);
        let mut aggregation = Aggregation::new(now);
        for _ in 0..50 {
            now += Duration::from_millis(1);
            aggregation.take(now, 1_000_000, 1000, 100_000);
        }
        assert_eq!(aggregation.extra(true), 1000);
        aggregation.enter(2);
        aggregation.take(now, 1_000_000, 9000, 100_000);
        for round in 3..=11 {
            aggregation.enter(round);
            assert_eq!(aggregation.extra(true), 10_000, "round {round}");
            assert_eq!(aggregation.extra(false), 0, "round {round}");
        }
        aggregation.enter(12);
        assert_eq!(aggregation.extra(true), 0);
    }

    #[test]
    fn no_more_than_a_window_counts() {
        let now = Instant::from_millis(1);
        let mut aggregation = Aggregation::new(now);
        aggregation.take(now, 1000, 50_000, 7000);
        assert_eq!(aggregation.extra(true), 7000);
    }
}
