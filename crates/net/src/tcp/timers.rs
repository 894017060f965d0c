//! Every timer of a connection, in one place.

use crate::time::Instant;

/// What a connection can be waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Timer {
    /// The peer has been silent about data, a SYN or a FIN for a retransmission timeout: send it again (RFC 6298 §5).
    Retransmit,
    /// The end of a flight has not been acknowledged for about two round trips: probe for its loss (RFC 8985 §7).
    TailProbe,
    /// Segments may merely be reordered; when the reordering window closes they count as lost (RFC 8985 §6.2).
    Reorder,
    /// The peer's window is closed or silly: probe it, in case its opening was lost (RFC 9293 §3.8.6.1).
    Persist,
    /// An acknowledgment is held back in the hope of company (RFC 9293 §3.8.6.3).
    DelayedAck,
    /// Nothing has come for long: ask the peer whether it lives (RFC 9293 §3.8.4).
    KeepAlive,
    /// What was sent has gone unacknowledged for as long as the user allows (RFC 9293 §3.8.3, RFC 5482).
    UserTimeout,
    /// Nobody holds the connection any more and the peer's FIN has not come (FIN-WAIT-2).
    FinWait,
    /// The pace lets the next segments go (draft-ietf-ccwg-bbr §5.6.2).
    Pace,
    /// Memory for what comes has not been needed for a while: it is given back.
    Spares,
}

impl Timer {
    const ALL: [Self; 10] = [
        Self::Retransmit,
        Self::TailProbe,
        Self::Reorder,
        Self::Persist,
        Self::DelayedAck,
        Self::KeepAlive,
        Self::UserTimeout,
        Self::FinWait,
        Self::Pace,
        Self::Spares,
    ];
}

/// When each timer goes off.
#[derive(Clone, Debug)]
pub(super) struct Timers {
    /// [`NEVER`] where a timer does not run: half of what options would take, for every connection.
    at: [Instant; Timer::ALL.len()],
}

/// The end of time is when nothing goes off.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

impl Default for Timers {
    fn default() -> Self {
        Self {
            at: [NEVER; Timer::ALL.len()],
        }
    }
}

impl Timers {
    /// (Re)starts a timer.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.at[timer as usize] = at;
    }

    /// Stops a timer.
    pub(super) fn stop(&mut self, timer: Timer) {
        self.at[timer as usize] = NEVER;
    }

    /// When a timer goes off, if it runs.
    pub(super) fn at(&self, timer: Timer) -> Option<Instant> {
        Some(self.at[timer as usize]).filter(|at| *at < NEVER)
    }

    /// Whether a timer runs.
    pub(super) fn runs(&self, timer: Timer) -> bool {
        self.at(timer).is_some()
    }

    /// When the first of all goes off.
    pub(super) fn next(&self) -> Option<Instant> {
        self.at.iter().copied().min().filter(|at| *at < NEVER)
    }

    /// Takes one timer that is due, stopping it.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let due = |timer: &Timer| self.at(*timer).is_some_and(|at| at <= now);
        let timer = Timer::ALL.into_iter().find(due)?;
        self.stop(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_timer_has_a_slot_of_its_own_and_goes_off_once() {
        for timer in Timer::ALL {
            let mut timers = Timers::default();
            timers.set(timer, Instant::from_millis(5));
            assert_eq!(timers.next(), Some(Instant::from_millis(5)));
            assert_eq!(timers.take_due(Instant::from_millis(4)), None);
            assert_eq!(timers.take_due(Instant::from_millis(5)), Some(timer));
            assert_eq!(timers.take_due(Instant::from_millis(5)), None);
            assert_eq!(timers.next(), None);
        }
    }
}
