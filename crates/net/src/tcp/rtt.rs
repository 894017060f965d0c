//! Round-trip time and retransmission timeout (RFC 6298).
//!
//! Differences from the RFC, both cautious: the variance term has a floor of 200 ms (§2.4 wants a whole timeout of at least a
//! second), so that one delayed acknowledgment does not cause a retransmission; and the timeout backs off to at most 60 s.

use core::time::Duration;

use crate::time::saturating_nanos;

/// The timeout before anything was measured (RFC 6298 §2.1).
const INITIAL_RTO: Duration = Duration::from_secs(1);

/// The same when the SYN itself had to be sent again (RFC 6298 §5.7).
const INITIAL_RTO_AFTER_LOSS: Duration = Duration::from_secs(3);

/// The longest timeout (RFC 6298 §2.5).
const MAX_RTO: Duration = Duration::from_secs(60);

/// What is known of the path's round-trip time.
#[derive(Clone, Debug)]
pub(super) struct Rtt {
    smoothed: Option<Duration>,
    /// RTTVAR, in nanoseconds.
    variation: u64,
    minimum: Duration,
    /// The handshake's own segment was lost.
    unlucky: bool,
    /// The least that the variation counts for, in nanoseconds.
    floor: u64,
    backoff: u8,
    /// What follows from all this, in nanoseconds.
    timeout: u64,
}

impl Rtt {
    pub(super) fn new(floor: Duration) -> Self {
        Self {
            smoothed: None,
            variation: 0,
            minimum: Duration::MAX,
            unlucky: false,
            floor: saturating_nanos(floor),
            backoff: 0,
            timeout: saturating_nanos(INITIAL_RTO),
        }
    }

    /// Takes a measurement of a segment that was sent once (RFC 6298 §2.2, §2.3, §3).
    pub(super) fn sample(&mut self, rtt: Duration) {
        self.minimum = self.minimum.min(rtt);
        let nanos = saturating_nanos(rtt);
        let smoothed = match self.smoothed.map(saturating_nanos) {
            None => {
                self.variation = nanos / 2;
                nanos
            }
            Some(smoothed) => {
                self.variation =
                    (self.variation.saturating_mul(3)).saturating_add(smoothed.abs_diff(nanos)) / 4;
                smoothed.saturating_mul(7).saturating_add(nanos) / 8
            }
        };
        self.smoothed = Some(Duration::from_nanos(smoothed));
        self.reckon();
    }

    /// The handshake's own segment was lost.
    pub(super) fn handshake_was_lost(&mut self) {
        self.unlucky = true;
        self.reckon();
    }

    /// The smoothed round-trip time, once there is one.
    pub(super) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The least round-trip time seen; `Duration::MAX` before the first.
    pub(super) fn minimum(&self) -> Duration {
        self.minimum
    }

    /// The retransmission timeout, backed off.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_nanos(self.timeout)
    }

    fn reckon(&mut self) {
        let base = match self.smoothed {
            Some(smoothed) => {
                let variation = self.variation.saturating_mul(4);
                saturating_nanos(smoothed).saturating_add(variation.max(self.floor))
            }
            None if self.unlucky => saturating_nanos(INITIAL_RTO_AFTER_LOSS),
            None => saturating_nanos(INITIAL_RTO),
        };
        let most = const { MAX_RTO.as_nanos() as u64 };
        self.timeout = (base.min(most) << self.backoff.min(16)).min(most);
    }

    /// The timer expired (RFC 6298 §5.5).
    pub(super) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
        self.reckon();
    }

    /// The peer acknowledged something new (RFC 6298 §5.7's note, RFC 9293 §3.8.1).
    pub(super) fn forgive(&mut self) {
        if self.backoff > 0 {
            self.backoff = 0;
            self.reckon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_estimator_follows_the_rfc_by_hand() {
        let mut rtt = Rtt::new(MS * 200);
        assert_eq!(rtt.timeout(), MS * 1000);
        rtt.sample(MS * 100); // SRTT = R, RTTVAR = R/2
        assert_eq!(rtt.timeout(), MS * (100 + 200));
        rtt.sample(MS * 500); // RTTVAR = 3/4·50 + 1/4·400 = 137.5, SRTT = 7/8·100 + 1/8·500 = 150
        assert_eq!(rtt.smoothed(), Some(MS * 150));
        assert_eq!(rtt.timeout(), MS * (150 + 550));
        assert_eq!(rtt.minimum(), MS * 100);
    }

    #[test]
    fn the_timeout_doubles_up_to_a_minute_and_is_forgiven() {
        let mut rtt = Rtt::new(MS * 200);
        let mut seconds = alloc::vec::Vec::new();
        for _ in 0..8 {
            seconds.push(rtt.timeout().as_secs());
            rtt.back_off();
        }
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        for _ in 0..300 {
            rtt.back_off();
        }
        assert_eq!(rtt.timeout().as_secs(), 60);
        rtt.forgive();
        assert_eq!(rtt.timeout().as_secs(), 1);
    }

    #[test]
    fn a_quiet_path_keeps_the_floor() {
        let mut rtt = Rtt::new(MS * 200);
        for _ in 0..100 {
            rtt.sample(MS);
        }
        assert_eq!(rtt.timeout(), MS * 201);
    }
}
