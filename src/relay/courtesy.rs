//! When the relay lets others go first: after it passed on several datagrams that had come for a program together.
//!
//! # Theory of operation
//!
//! A relay that sleeps as soon as everything is read is woken for each datagram of a fast sender: it takes the processor
//! from the program that reads what came before, and carries datagrams nearly one by one. If that program goes first
//! instead (`sched_yield(2)`), what comes meanwhile travels as a [train](super::train). Nobody is waited for: where
//! nobody else wants the processor, this takes no time.
//!
//! Somebody else may want it, and keep it for long. What comes for this space would have to wait as long; so after such a
//! time nobody goes first for a while.

use std::time::Duration;

use wharf_net::Instant;

/// A program that reads what its socket holds is done with that earlier.
const LONG: Duration = Duration::from_millis(1);
/// How long nobody goes first after somebody took too long: a small part of all time is lost to that at most.
const REST: Duration = Duration::from_millis(200);

/// Whether others go first.
#[derive(Debug, Default)]
pub(super) struct Courtesy {
    owed: bool,
    not_before: Instant,
}

impl Courtesy {
    /// Several datagrams were passed on: who gets them may go first.
    pub(super) fn owe(&mut self) {
        self.owed = true;
    }

    /// Whether others go first now; asked once before each sleep.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        std::mem::take(&mut self.owed) && self.not_before <= now
    }

    /// Others went first, from `before` to `after`.
    pub(super) fn went(&mut self, before: Instant, after: Instant) {
        if after - before > LONG {
            self.not_before = after + REST;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn others_go_first_once_for_what_they_got() {
        let mut courtesy = Courtesy::default();
        assert!(!courtesy.is_due(at(0)));
        courtesy.owe();
        courtesy.owe();
        assert!(courtesy.is_due(at(0)));
        courtesy.went(at(0), at(1));
        assert!(!courtesy.is_due(at(1)));
        courtesy.owe();
        assert!(courtesy.is_due(at(1)));
    }

    #[test]
    fn nobody_goes_first_for_a_while_after_somebody_took_too_long() {
        let mut courtesy = Courtesy::default();
        courtesy.owe();
        assert!(courtesy.is_due(at(10)));
        courtesy.went(at(10), at(14));
        courtesy.owe();
        assert!(!courtesy.is_due(at(213)));
        assert!(!courtesy.is_due(at(214)), "it was owed for what came then");
        courtesy.owe();
        assert!(courtesy.is_due(at(214)));
    }
}
