//! The state of loss recovery: whether one is under way, and how much it may send.
//!
//! # Theory of operation
//!
//! A loss found by acknowledgments starts *fast recovery*: the threshold falls, and until everything outstanding at that moment
//! is acknowledged, the window is computed from what is delivered, so that the flight shrinks to the threshold evenly instead of
//! pausing (proportional rate reduction, RFC 6937 §3.1). A timeout starts over with one segment.
//!
//! If the acknowledgment of the first segment sent again echoes a timestamp older than that sending, the original had arrived:
//! nothing was lost (Eifel, RFC 3522), and the congestion window is put back (RFC 4015, RFC 9438 §4.9).

use core::time::Duration;

use super::congestion::Congestion;
use super::scoreboard::{Delivery, Latest};
use crate::wire::tcp::SeqNum;

/// Where a sender stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Recovery {
    /// Nothing is known to be lost.
    Open,
    /// Until `point` is acknowledged: proportional rate reduction.
    Fast { point: SeqNum, reduction: Reduction },
    /// Until `point` is acknowledged: slow start after a timeout.
    Timeout { point: SeqNum },
}

impl Recovery {
    /// What has to be acknowledged for recovery to be over.
    pub(super) fn point(&self) -> Option<SeqNum> {
        match *self {
            Self::Open => None,
            Self::Fast { point, .. } | Self::Timeout { point } => Some(point),
        }
    }

    /// Whether nothing is being recovered.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// `octets` were sent, again or for the first time.
    pub(super) fn sent(&mut self, octets: usize) {
        if let Self::Fast { reduction, .. } = self {
            reduction.sent += octets;
            reduction.granted = reduction.granted.saturating_sub(octets);
        }
    }
}

/// Proportional rate reduction's counters, in octets (RFC 6937 §3).
#[derive(Clone, Copy, Debug)]
pub(super) struct Reduction {
    /// RecoverFS.
    flight: usize,
    /// prr_delivered.
    delivered: usize,
    /// prr_out.
    sent: usize,
    /// What acknowledgments allowed for themselves and was not sent yet: several may come before anything can go.
    granted: usize,
}

impl Reduction {
    pub(super) fn new(flight: usize) -> Self {
        Self {
            flight: flight.max(1),
            delivered: 0,
            sent: 0,
            granted: 0,
        }
    }

    /// After an acknowledgment that delivered `octets`: how much may be sent now (sndcnt). `safe` says that it brought progress and
    /// no further loss, so that the window may grow towards the threshold (slow start reduction bound).
    pub(super) fn allowance(
        &mut self,
        octets: usize,
        pipe: usize,
        ssthresh: usize,
        mss: usize,
        safe: bool,
    ) -> usize {
        self.delivered += octets;
        let first = if self.sent == 0 { mss } else { 0 };
        let allowed = if pipe > ssthresh {
            self.granted = 0;
            let share = self.delivered as u128 * ssthresh as u128;
            (share.div_ceil(self.flight as u128) as usize).saturating_sub(self.sent)
        } else {
            let growth = if safe { mss } else { 0 };
            self.granted += octets + growth;
            let owed = self.delivered.saturating_sub(self.sent) + growth;
            (ssthresh - pipe).min(owed.max(self.granted))
        };
        allowed.max(first)
    }
}

/// What a recovery changed, in case it turns out to have been a mistake.
#[derive(Debug)]
pub(super) struct Undo {
    pub(super) before: Congestion,
    /// The end of the first segment sent again, and the timestamp it carried.
    pub(super) resent: Option<(SeqNum, u32)>,
}

/// RACK's memory (RFC 8985 §5.2).
#[derive(Debug)]
pub(super) struct Rack {
    /// The latest sent of what was delivered.
    latest: Option<Latest>,
    /// The round-trip time of that.
    rtt: Duration,
    reordering: bool,
    /// How many quarters of the least round-trip time the reordering window has.
    quarters: u8,
    /// Recoveries since the peer last reported a duplicate.
    calm: u8,
    /// The window grew in the round trip that ends here.
    grown_until: Option<SeqNum>,
}

/// Segments delivered beyond a gap that make it a loss without reordering (RFC 8985 §6.2 step 4, DupThresh).
const DUP_THRESH: usize = 3;

/// Recoveries after which the reordering window shrinks again (RFC 8985 §6.2 step 4).
const CALM: u8 = 16;

impl Rack {
    pub(super) fn new() -> Self {
        Self {
            latest: None,
            rtt: Duration::ZERO,
            reordering: false,
            quarters: 1,
            calm: 0,
            grown_until: None,
        }
    }

    /// Steps 2 and 3 of RFC 8985 §6.2.
    pub(super) fn delivered(&mut self, delivery: &Delivery) {
        self.reordering |= delivery.reordered;
        let newer = |latest: &Latest| {
            self.latest
                .is_none_or(|known| latest.sent_after(known.sent_at, known.end))
        };
        if let Some(latest) = delivery.latest.filter(newer) {
            self.latest = Some(latest);
            self.rtt = delivery.since(latest.sent_at);
        }
    }

    /// The peer reported a duplicate: we were too hasty (step 4). At most once per round trip, which ends at `nxt`.
    pub(super) fn duplicate_reported(&mut self, una: SeqNum, nxt: SeqNum) {
        if self.grown_until.is_none_or(|until| !una.before(until)) {
            self.quarters = self.quarters.saturating_add(1);
            self.grown_until = Some(nxt);
        }
        self.calm = CALM;
    }

    /// A recovery ended (step 4).
    pub(super) fn recovered(&mut self) {
        self.calm = self.calm.saturating_sub(1);
        if self.calm == 0 {
            self.quarters = 1;
        }
    }

    /// What was sent last of the delivered, and how long anything sent before it may take to arrive (step 4).
    pub(super) fn patience(
        &self,
        hasty: Hasty,
        minimum: Duration,
        smoothed: Duration,
    ) -> Option<(Latest, Duration)> {
        let latest = self.latest?;
        let sure = hasty.recovering || hasty.sacked >= DUP_THRESH * hasty.mss;
        let window = if !self.reordering && sure {
            Duration::ZERO
        } else {
            (minimum / 4)
                .saturating_mul(u32::from(self.quarters))
                .min(smoothed)
        };
        Some((latest, self.rtt + window))
    }
}

/// What decides whether a gap is a loss even without waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hasty {
    pub(super) recovering: bool,
    pub(super) sacked: usize,
    pub(super) mss: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6937's example: a flight of 20 segments, the first lost, halved: about one segment out for two in.
    #[test]
    fn the_flight_shrinks_evenly_to_the_threshold() {
        let (mss, ssthresh) = (1000, 10_000);
        let mut reduction = Reduction::new(20_000);
        let (mut pipe, mut sent) = (19_000, 0);
        for ack in 0..19 {
            pipe -= mss;
            let allowed = reduction.allowance(mss, pipe, ssthresh, mss, false);
            let segments = allowed / mss;
            reduction.sent += segments * mss;
            pipe += segments * mss;
            sent += segments;
            assert!(segments <= 1, "a burst of {segments} at {ack}");
        }
        assert!((9..=11).contains(&sent), "{sent}");
        assert!((9_000..=10_000).contains(&pipe), "{pipe}");
    }

    /// A batch of acknowledgments allows as much as they would one by one.
    #[test]
    fn what_was_allowed_and_not_sent_stays_allowed() {
        let mut reduction = Reduction::new(10_000);
        reduction.sent = 5000;
        assert_eq!(reduction.allowance(1000, 3000, 7000, 1000, false), 1000);
        assert_eq!(reduction.allowance(0, 3000, 7000, 1000, false), 1000);
        assert_eq!(reduction.allowance(2000, 1000, 7000, 1000, false), 3000);
        assert_eq!(reduction.allowance(0, 6500, 7000, 1000, false), 500);
    }

    #[test]
    fn the_first_segment_may_always_go() {
        assert_eq!(
            Reduction::new(10_000).allowance(0, 50_000, 5_000, 1000, false),
            1000
        );
    }
}
