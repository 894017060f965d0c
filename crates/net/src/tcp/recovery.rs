//! The state of loss recovery: whether one is under way, and what RACK remembers.
//!
//! # Theory of operation
//!
//! A loss found by acknowledgments starts *fast recovery*, which lasts until everything outstanding at that moment is
//! acknowledged; how much it may send is the congestion control's to say. A timeout starts over with one segment.
//!
//! If the acknowledgment of the first segment sent again echoes a timestamp older than that sending, the original had arrived:
//! nothing was lost (Eifel, RFC 3522), and the congestion window is put back (RFC 4015, RFC 9438 §4.9). Without timestamps, a timeout is
//! tested by F-RTO (RFC 5682 §2.1): once the segment sent again is acknowledged, two new segments go instead of what seems
//! lost. If the next acknowledgment covers something that was sent once only, the originals are arriving.

use core::time::Duration;

use super::congestion::Stage;
use super::scoreboard::{Delivery, Latest};
use crate::wire::tcp::SeqNum;

/// Where a sender stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Recovery {
    /// Nothing is known to be lost.
    Open,
    /// Until `point` is acknowledged: what was found lost is sent again.
    Fast { point: SeqNum },
    /// Until `point` is acknowledged: everything is sent again, after a timeout.
    Timeout { point: SeqNum },
}

impl Recovery {
    /// What has to be acknowledged for recovery to be over.
    pub(super) fn point(&self) -> Option<SeqNum> {
        match *self {
            Self::Open => None,
            Self::Fast { point } | Self::Timeout { point } => Some(point),
        }
    }

    /// Whether nothing is being recovered.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// The same as congestion control knows it.
    pub(super) fn stage(&self) -> Stage {
        match self {
            Self::Open => Stage::Open,
            Self::Fast { .. } => Stage::Fast,
            Self::Timeout { .. } => Stage::Timeout,
        }
    }
}

/// A recovery that may turn out to have been a mistake.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Undo {
    /// The end of the first segment sent again, and the timestamp it carried, if timestamps are spoken.
    pub(super) resent: Option<(SeqNum, Option<u32>)>,
    pub(super) test: Test,
}

/// Where F-RTO stands (RFC 5682 §2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Test {
    /// Nothing is tested.
    #[default]
    None,
    /// Step 2: the acknowledgment of what was sent again is awaited.
    Repeated,
    /// Step 3: new segments go, and nothing is sent again before the next acknowledgment.
    New,
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

    /// What was thought to be delivered last may have been delivered long before.
    pub(super) fn forget_latest(&mut self) {
        self.latest = None;
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
