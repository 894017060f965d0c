//! When the next segments may go, if the congestion control sets a pace (draft-ietf-ccwg-bbr §5.6.2).

use core::time::Duration;

use crate::time::Instant;

/// How late a timer may go off without slowing the flow down: what was missed within it is made up for. Machines' timers are good
/// to a millisecond, and round up.
const LATENESS: Duration = Duration::from_millis(2);

/// The schedule of a connection's segments.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pacer {
    /// C.next_send_time.
    next: Instant,
}

impl Pacer {
    /// Until when the next segments have to wait, if they have to.
    pub(super) fn holds(&self, now: Instant) -> Option<Instant> {
        (self.next > now).then_some(self.next)
    }

    /// `octets` went out, of which `rate` may go in a second.
    pub(super) fn sent(&mut self, now: Instant, octets: usize, rate: u64) {
        if self.next + LATENESS < now {
            self.next = now;
        }
        let nanos = octets as u128 * 1_000_000_000 / u128::from(rate.max(1));
        self.next += Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn segments_go_at_the_rate_and_a_late_timer_is_made_up_for() {
        let mut pacer = Pacer::default();
        assert_eq!(pacer.holds(at(100)), None);
        pacer.sent(at(100), 10_000, 1_000_000);
        assert_eq!(pacer.holds(at(109)), Some(at(110)));
        assert_eq!(pacer.holds(at(110)), None);
        pacer.sent(at(112), 10_000, 1_000_000);
        assert_eq!(pacer.holds(at(112)), Some(at(120)));
        // A pause is no lateness.
        pacer.sent(at(123), 10_000, 1_000_000);
        assert_eq!(pacer.holds(at(123)), Some(at(133)));
    }
}
