//! What losses say (§5.5.10): bounds on bandwidth and flight, for long and for the moment.

use super::{Bbr, State, UNBOUNDED};
use crate::tcp::delivery::{Loss, Sample};

/// BBR.LossThresh: what share of a flight may be lost, in hundredths.
const LOSS_PERCENT: usize = 2;

/// BBR.Beta in tenths: how far a bound falls in one round at most.
const BETA_TENTHS: u64 = 7;

/// BBR.Headroom in hundredths.
const HEADROOM_PERCENT: usize = 15;

/// The bounds; without any, all are as great as can be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// inflight_longterm: what probing found safe.
    pub(super) inflight_long: usize,
    /// inflight_shortterm.
    pub(super) inflight_short: usize,
    /// bw_shortterm.
    pub(super) bw_short: u64,
    /// What they were before the present losses, in that order.
    saved: (usize, usize, u64),
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            inflight_long: UNBOUNDED,
            inflight_short: UNBOUNDED,
            bw_short: u64::MAX,
            saved: (0, 0, 0),
        }
    }
}

impl Bounds {
    /// ResetShortTermModel.
    pub(super) fn forget_short_term(&mut self) {
        (self.inflight_short, self.bw_short) = (UNBOUNDED, u64::MAX);
    }

    pub(super) fn save(&mut self) {
        self.saved = (self.inflight_long, self.inflight_short, self.bw_short);
    }

    pub(super) fn restore(&mut self) {
        let (long, short, bw) = self.saved;
        self.inflight_long = self.inflight_long.max(long);
        self.inflight_short = self.inflight_short.max(short);
        self.bw_short = self.bw_short.max(bw);
    }
}

/// What was delivered and lost in the present round trip, counted from the first loss.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LossRound {
    /// The present acknowledgment ends the round (loss_round_start).
    pub(super) ended: bool,
    /// Something was lost in it (is_loss_in_round).
    pub(super) lossy: bool,
    end: u64,
    /// The greatest rate and flight delivered in it.
    pub(super) bw_latest: u64,
    pub(super) inflight_latest: usize,
    /// In how many places something was lost, in this round and in the one that has just ended.
    places: u8,
    pub(super) last_places: u8,
    last_lost: Option<crate::wire::tcp::SeqNum>,
}

impl LossRound {
    /// BBRStartupFullLossCnt.
    pub(super) const STARTUP_PLACES: u8 = 6;

    /// UpdateLatestDeliverySignals.
    pub(super) fn begin_ack(&mut self, sample: &Sample, delivered: u64) {
        self.bw_latest = self.bw_latest.max(sample.rate);
        self.inflight_latest = self.inflight_latest.max(sample.delivered);
        self.ended = sample.prior.is_some_and(|prior| prior >= self.end);
        if self.ended {
            self.end = delivered;
            self.last_places = core::mem::take(&mut self.places);
            self.last_lost = None;
        }
    }

    /// AdvanceLatestDeliverySignals.
    pub(super) fn end_ack(&mut self, sample: &Sample) {
        if self.ended {
            (self.bw_latest, self.inflight_latest) = (sample.rate, sample.delivered);
        }
    }

    /// Something was lost: the round is counted from there.
    pub(super) fn note(&mut self, delivered: u64) {
        if !self.lossy {
            self.end = delivered;
        }
        self.lossy = true;
    }

    /// Counts the places in which something was lost.
    pub(super) fn count(&mut self, loss: &Loss) {
        if self.last_lost != Some(loss.start) {
            self.places = self.places.saturating_add(1);
        }
        self.last_lost = Some(loss.end);
    }

    /// ResetCongestionSignals.
    pub(super) fn reset(&mut self) {
        self.lossy = false;
        (self.bw_latest, self.inflight_latest) = (0, 0);
    }
}

/// Whether `lost` of a flight is more than may be.
pub(super) fn is_too_high(lost: usize, in_flight: usize) -> bool {
    lost * 100 > in_flight * LOSS_PERCENT
}

/// InflightAtLoss: a loss may be of a train of many segments. With how much of it in flight did losses exceed what may be?
pub(super) fn inflight_at_loss(loss: &Loss) -> usize {
    let size = loss.end.since(loss.start);
    let before = loss.in_flight.saturating_sub(size);
    let lost_before = loss.lost.saturating_sub(size);
    let prefix = (before * LOSS_PERCENT).saturating_sub(lost_before * 100) / (100 - LOSS_PERCENT);
    before + prefix
}

impl Bbr {
    /// AdaptLowerBoundsFromCongestion, once per round.
    pub(super) fn adapt_short_term(&mut self) {
        let measured = self.max_bw.most() > 0;
        if self.loss_round.lossy && !self.state.is_probing() && measured {
            let bounds = &mut self.bounds;
            if bounds.bw_short == u64::MAX {
                bounds.bw_short = self.max_bw.most();
            }
            if bounds.inflight_short == UNBOUNDED {
                bounds.inflight_short = self.cwnd;
            }
            let bw = u128::from(bounds.bw_short) * u128::from(BETA_TENTHS) / 10;
            bounds.bw_short = self.loss_round.bw_latest.max(bw as u64);
            bounds.inflight_short = self
                .loss_round
                .inflight_latest
                .max(beta(bounds.inflight_short));
        }
        self.loss_round.lossy = false;
    }

    /// IsInflightTooHigh.
    pub(super) fn is_inflight_too_high(&self, lost: usize, in_flight: usize) -> bool {
        is_too_high(lost, in_flight) || (lost > 0 && !self.sack)
    }

    /// HandleInflightTooHigh: once per probe.
    pub(super) fn handle_inflight_too_high(&mut self, in_flight: usize, starved: bool) {
        self.cycle.too_high = true;
        self.cycle.sampling = false;
        if !starved {
            self.bounds.inflight_long = in_flight.max(beta(self.target_inflight()));
        }
        if self.state == State::Up {
            self.left = Some(State::Up);
            self.go_down();
        }
    }

    /// InflightWithHeadroom: some of what was found safe is left to others.
    pub(super) fn inflight_with_headroom(&self) -> usize {
        let long = self.bounds.inflight_long;
        if long == UNBOUNDED {
            return UNBOUNDED;
        }
        let headroom = (long * HEADROOM_PERCENT / 100).max(self.mss);
        long.saturating_sub(headroom).max(self.least_cwnd())
    }
}

fn beta(octets: usize) -> usize {
    octets * BETA_TENTHS as usize / 10
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tcp::SeqNum;

    fn loss(size: usize, in_flight: usize, lost: usize) -> Loss {
        Loss {
            start: SeqNum::new(0),
            end: SeqNum::new(0) + size,
            in_flight,
            lost,
            starved: false,
        }
    }

    /// By the draft's equation: (lost before + prefix) / (flight before + prefix) = 2 %.
    #[test]
    fn the_flight_at_which_loss_became_too_much() {
        // 98,000 in flight before a train of 64,000, nothing lost before: 2,000 of it are 2 % of 100,000.
        assert_eq!(inflight_at_loss(&loss(64_000, 162_000, 64_000)), 100_000);
        // Too much was lost before it already.
        assert_eq!(inflight_at_loss(&loss(1000, 50_000, 9000)), 49_000);
        // One segment in ten.
        assert_eq!(inflight_at_loss(&loss(1000, 10_000, 1000)), 9000 + 183);
    }

    #[test]
    fn two_in_a_hundred_may_be_lost() {
        assert!(!is_too_high(2, 100) && is_too_high(3, 100));
    }

    #[test]
    fn places_of_loss_are_counted_apart() {
        let mut round = LossRound::default();
        let at = |start: usize| Loss {
            start: SeqNum::new(0) + start,
            end: SeqNum::new(0) + (start + 1000),
            ..loss(0, 0, 0)
        };
        for start in [0, 1000, 2000, 5000, 9000, 10_000] {
            round.count(&at(start));
        }
        assert_eq!(round.places, 3);
    }
}
