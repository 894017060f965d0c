//! How long the relay looks for what comes next before it sleeps.
//!
//! # Theory of operation
//!
//! Where a program asks and another answers, the relay sleeps twice for each question, each time for some tens of
//! microseconds; and being woken takes about as long as the answer. So it looks on for a short while, if what it last
//! slept for came within such a while. Each time that nothing came it looks half as long, so who is idle, or is asked now
//! and then, costs nothing. Others who want the processor have it first (`sched_yield(2)`), and where there is only one
//! processor nobody is looked for: whoever would answer needs it.
//!
//! Where all comes from one side, or from many at the same time, nobody waits for an answer of the relay, and who looks takes
//! from those who work, and finds one by one what would have come together.

use std::time::Duration;

/// Nobody is looked for longer than this.
const LONGEST: Duration = Duration::from_micros(50);
/// Less than this isn't worth looking.
const SHORTEST: Duration = Duration::from_micros(4);

/// After so many events from one side, no answer is looked for.
const ONE_SIDED: u32 = 4;

/// How long to look before the next sleep.
#[derive(Debug)]
pub(super) struct Vigil {
    /// Zero where there is but one processor.
    longest: Duration,
    span: Duration,
    last: Side,
    /// How many events have come from that side since the last from the other.
    in_a_row: u32,
}

/// Where an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The space.
    Inside,
    /// The machine.
    Outside,
}

impl Vigil {
    /// On a machine with so many processors.
    pub(super) fn new(processors: usize) -> Self {
        let longest = match processors {
            0 | 1 => Duration::ZERO,
            _ => LONGEST,
        };
        Self {
            longest,
            span: Duration::ZERO,
            last: Side::Inside,
            in_a_row: 0,
        }
    }

    /// Events have come.
    pub(super) fn came(&mut self, mut events: impl Iterator<Item = Side>) {
        let (Some(side), alone) = (events.next(), events.next().is_none()) else {
            return;
        };
        self.in_a_row = match alone {
            true if side != self.last => 1,
            true => self.in_a_row.saturating_add(1),
            false => ONE_SIDED,
        };
        self.last = side;
    }

    /// Whether to look on, after so much time without an event.
    pub(super) fn goes_on(&self, time: Duration) -> bool {
        self.in_a_row < ONE_SIDED && time < self.span
    }

    /// The next event came after so much time, and was slept for in the end.
    pub(super) fn slept(&mut self, time: Duration) {
        self.span = match time < self.longest {
            true => self.longest,
            false if self.span < SHORTEST => Duration::ZERO,
            false => self.span / 2,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRIEF: Duration = Duration::from_micros(30);
    const LONG: Duration = Duration::from_micros(800);

    #[test]
    fn it_looks_on_after_a_short_sleep_and_less_each_time_that_nothing_came() {
        let mut vigil = Vigil::new(2);
        assert!(!vigil.goes_on(Duration::ZERO));
        vigil.slept(BRIEF);
        assert!(vigil.goes_on(BRIEF));
        assert!(!vigil.goes_on(LONGEST));
        vigil.slept(LONG);
        assert!(!vigil.goes_on(LONGEST / 2));
        let sleeps = (0..9).take_while(|_| {
            vigil.slept(LONG);
            vigil.goes_on(Duration::ZERO)
        });
        assert!(sleeps.count() < 5);
    }

    #[test]
    fn what_comes_from_one_side_or_many_is_no_question() {
        let mut vigil = Vigil::new(2);
        let mut came = |sides: &[Side]| {
            vigil.came(sides.iter().copied());
            vigil.slept(BRIEF);
            vigil.goes_on(Duration::ZERO)
        };
        for _ in 0..9 {
            assert!(came(&[Side::Inside]) && came(&[Side::Outside]));
        }
        let flow = (0..9).take_while(|_| came(&[Side::Inside]));
        assert_eq!(flow.count(), 3);
        // Where nothing came but a time, that changes nothing.
        assert!(!came(&[]));
        assert!(came(&[Side::Outside]));
        assert!(!came(&[Side::Outside, Side::Inside]));
        assert!(came(&[Side::Inside]));
    }

    #[test]
    fn who_sleeps_long_or_has_one_processor_never_looks() {
        let mut idle = Vigil::new(8);
        idle.slept(LONG);
        assert!(!idle.goes_on(Duration::ZERO));
        let mut alone = Vigil::new(1);
        alone.slept(BRIEF);
        assert!(!alone.goes_on(Duration::ZERO));
    }
}
