//! Round trips counted by packets (§5.5.1): one has passed when something sent after the last one's end is acknowledged.

use crate::tcp::delivery::Sample;

/// The count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rounds {
    pub(super) count: u64,
    /// The present acknowledgment begins a round.
    pub(super) started: bool,
    next: u64,
}

impl Rounds {
    /// UpdateRound; `delivered` octets were delivered in all. Returns whether a round has begun.
    pub(super) fn update(&mut self, sample: &Sample, delivered: u64) -> bool {
        self.started = sample.prior.is_some_and(|prior| prior >= self.next);
        if self.started {
            self.begin(delivered);
            self.count += 1;
        }
        self.started
    }

    /// StartRound: the present round ends when what is sent from now on is acknowledged.
    pub(super) fn begin(&mut self, delivered: u64) {
        self.next = delivered;
    }
}
