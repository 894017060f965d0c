//! How long the relay looks for what comes next before it sleeps.
//!
//! # Theory of operation
//!
//! Where a program asks and another answers, the relay sleeps twice for each question, each time for some tens of
//! microseconds; and being woken takes about as long as the answer. So it looks on for a short while, if what it last
//! slept for came within such a while. Each time that nothing came it looks half as long, so who is idle, or is asked now
//! and then, costs nothing. Others who want the processor have it first (`sched_yield(2)`), and where there is only one
//! processor nobody is looked for: whoever would answer needs it.

use std::time::Duration;

/// Nobody is looked for longer than this.
const LONGEST: Duration = Duration::from_micros(50);
/// Less than this isn't worth looking.
const SHORTEST: Duration = Duration::from_micros(4);

/// How long to look before the next sleep.
#[derive(Debug)]
pub(super) struct Vigil {
    /// Zero where there is but one processor.
    longest: Duration,
    span: Duration,
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
        }
    }

    /// Whether to look on, after so much time without an event.
    pub(super) fn goes_on(&self, time: Duration) -> bool {
        time < self.span
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
    fn who_sleeps_long_or_has_one_processor_never_looks() {
        let mut idle = Vigil::new(8);
        idle.slept(LONG);
        assert!(!idle.goes_on(Duration::ZERO));
        let mut alone = Vigil::new(1);
        alone.slept(BRIEF);
        assert!(!alone.goes_on(Duration::ZERO));
    }
}
