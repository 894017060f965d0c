//! HyStart++ (RFC 9406): the end of the first slow start, found by its delay before it costs a flight of losses.
//!
//! # Theory of operation
//!
//! A round lasts until what was sent at its beginning is acknowledged. When the least round-trip time of a round is longer than the last
//! round's by an eighth (but 4 ms at least, 16 ms at most), a queue is building up. It may also be noise, so that growth only
//! slows down to a quarter for five rounds, *conservative slow start*; if the delay falls again meanwhile, it was noise, and slow start
//! goes on. Otherwise congestion avoidance follows (§4.2).

use super::Ack;
use crate::wire::tcp::SeqNum;

/// §4.3, times in microseconds.
const MIN_RTT_THRESH: u32 = 4_000;
const MAX_RTT_THRESH: u32 = 16_000;
const MIN_RTT_DIVISOR: u32 = 8;
const N_RTT_SAMPLE: u8 = 8;
const CSS_GROWTH_DIVISOR: usize = 4;
const CSS_ROUNDS: u8 = 5;

/// Longer than any round-trip time: none was seen.
const NONE: u32 = u32::MAX;

/// What is remembered of the first slow start.
#[derive(Clone, Copy, Debug)]
pub(super) struct HyStart {
    /// windowEnd; nothing before the first acknowledgment.
    round_end: Option<SeqNum>,
    /// The least of the last round, and of this one so far, in microseconds.
    last_round: u32,
    this_round: u32,
    samples: u8,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    SlowStart,
    /// Conservative slow start.
    Conservative {
        /// cssBaselineMinRtt.
        baseline: u32,
        rounds: u8,
    },
    Over,
}

impl Default for HyStart {
    fn default() -> Self {
        Self {
            round_end: None,
            last_round: NONE,
            this_round: NONE,
            samples: 0,
            phase: Phase::SlowStart,
        }
    }
}

impl HyStart {
    /// By how much an acknowledgment of so many octets lets the window grow.
    pub(super) fn growth(&mut self, ack: &Ack, octets: usize) -> usize {
        if self.round_end.is_none_or(|end| !ack.una.before(end)) {
            self.begin_round(ack.nxt);
        }
        if let Some(rtt) = ack.sample.rtt {
            let rtt = u32::try_from(rtt.as_micros()).unwrap_or(NONE);
            self.this_round = self.this_round.min(rtt);
            self.samples = self.samples.saturating_add(1);
        }
        let growth = match self.phase {
            Phase::SlowStart => octets,
            Phase::Conservative { .. } => octets / CSS_GROWTH_DIVISOR,
            Phase::Over => 0,
        };
        self.judge();
        growth
    }

    /// Whether congestion avoidance begins here.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    fn begin_round(&mut self, end: SeqNum) {
        if let Phase::Conservative { rounds, .. } = &mut self.phase {
            *rounds += 1;
            if *rounds >= CSS_ROUNDS {
                self.phase = Phase::Over;
            }
        }
        self.round_end = Some(end);
        self.last_round = core::mem::replace(&mut self.this_round, NONE);
        self.samples = 0;
    }

    fn judge(&mut self) {
        let (this, last) = (self.this_round, self.last_round);
        if self.samples < N_RTT_SAMPLE || this == NONE {
            return;
        }
        match self.phase {
            Phase::SlowStart if last != NONE => {
                let threshold = (last / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH);
                if this >= last.saturating_add(threshold) {
                    self.phase = Phase::Conservative {
                        baseline: this,
                        rounds: 0,
                    };
                }
            }
            Phase::Conservative { baseline, .. } if this < baseline => {
                self.phase = Phase::SlowStart;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stage;
    use super::*;
    use crate::tcp::delivery::Sample;
    use crate::time::Instant;
    use core::time::Duration;

    /// `count` acknowledgments of a segment each, of twenty in flight, all after `ms`; returns the growth, in segments.
    fn round(hystart: &mut HyStart, at: &mut usize, count: usize, ms: u64) -> usize {
        let mut grown = 0;
        for _ in 0..count {
            *at += 1000;
            let ack = Ack {
                now: Instant::ZERO,
                stage: Stage::Open,
                una: SeqNum::new(0) + *at,
                nxt: SeqNum::new(0) + (*at + 20_000),
                advanced: true,
                lost: 0,
                in_flight: 0,
                peak: 0,
                smoothed: Duration::ZERO,
                delivered: 0,
                sample: Sample {
                    octets: 1000,
                    rtt: Some(Duration::from_millis(ms)),
                    ..Sample::default()
                },
            };
            grown += hystart.growth(&ack, 1000);
        }
        grown / 1000
    }

    /// Least round-trip times of successive rounds, and how the phase stands after each.
    #[test]
    fn what_rounds_lead_to() {
        let conservative = |rounds| Phase::Conservative {
            baseline: 50_000,
            rounds,
        };
        let cases: [(&str, &[u64], Phase); 8] = [
            ("no delay", &[40, 40, 40, 43], Phase::SlowStart),
            ("an eighth more", &[40, 50], conservative(0)),
            ("less than 4 ms more of little", &[8, 11], Phase::SlowStart),
            ("16 ms more of much", &[400, 400, 415], Phase::SlowStart),
            ("noise", &[40, 50, 45, 45], Phase::SlowStart),
            ("noise, then not", &[40, 50, 44, 50], conservative(0)),
            (
                "four more rounds",
                &[40, 50, 50, 51, 52, 53],
                conservative(4),
            ),
            (
                "five more rounds",
                &[40, 50, 50, 51, 52, 53, 53],
                Phase::Over,
            ),
        ];
        for (name, rounds, phase) in cases {
            let (mut hystart, mut at) = (HyStart::default(), 0);
            for ms in rounds {
                round(&mut hystart, &mut at, 20, *ms);
            }
            assert_eq!(hystart.phase, phase, "{name}");
        }
    }

    #[test]
    fn few_samples_prove_nothing() {
        let (mut hystart, mut at) = (HyStart::default(), 0);
        round(&mut hystart, &mut at, 20, 40);
        round(&mut hystart, &mut at, 7, 90);
        assert_eq!(hystart.phase, Phase::SlowStart);
    }

    #[test]
    fn conservative_slow_start_grows_by_a_quarter() {
        let (mut hystart, mut at) = (HyStart::default(), 0);
        assert_eq!(round(&mut hystart, &mut at, 20, 40), 20);
        // The eighth sample still counts in full, the twelve after it a quarter.
        assert_eq!(round(&mut hystart, &mut at, 20, 60), 8 + 12 / 4);
    }
}
