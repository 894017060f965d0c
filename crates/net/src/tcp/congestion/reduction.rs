//! Proportional rate reduction (RFC 6937 §3.1): how much a fast recovery may send.
//!
//! The window is computed from what is delivered, so that the flight shrinks to the threshold evenly instead of pausing. Once it is
//! there, the *slow start reduction bound* lets it grow towards the threshold, but only with acknowledgments that bring progress and
//! no further loss; otherwise it conserves packets.

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

    /// `octets` were sent, again or for the first time.
    pub(super) fn sent(&mut self, octets: usize) {
        self.sent += octets;
        self.granted = self.granted.saturating_sub(octets);
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
