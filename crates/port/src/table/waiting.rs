//! TIME-WAIT: flows that rest until a deadline of the caller's.

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;

use super::arena::Arena;
use super::entry::{Entry, Phase};
use super::{Gone, Hold, Moment, Table};

/// The deadlines. One whose hold went early stays until its time comes, or until such ones are the majority.
#[derive(Debug)]
pub(super) struct Waiting {
    deadlines: BinaryHeap<Reverse<(Moment, u32, u32)>>,
    stale: usize,
}

impl Waiting {
    pub(super) const fn new() -> Self {
        Self {
            deadlines: BinaryHeap::new(),
            stale: 0,
        }
    }

    /// Notes that one of the holds went before its deadline.
    pub(super) fn ended_early<O>(&mut self, entries: &Arena<Entry<O>>) {
        self.stale += 1;
        if self.stale * 2 > self.deadlines.len() {
            self.deadlines
                .retain(|Reverse((_, slot, generation))| entries.holds(*slot, *generation));
            self.stale = 0;
        }
    }
}

impl<O: Clone> Table<O> {
    /// Lets a connection rest until the deadline: its flow stays taken, its port yields to whoever reuses addresses.
    ///
    /// Under UDP, and for holds that are not connected, nothing happens.
    ///
    /// # Errors
    /// [`Gone`] if the hold was released.
    pub fn time_wait(&mut self, hold: Hold, until: Moment) -> Result<(), Gone> {
        let slot = self.slot(hold).ok_or(Gone)?;
        let entry = &self.entries[slot];
        if entry.phase != Phase::Connected || entry.protocol != crate::Protocol::Tcp {
            return Ok(());
        }
        self.change(slot, |entry| {
            entry.rest(until);
        });
        let deadline = Reverse((until, hold.slot, hold.generation));
        self.waiting.deadlines.push(deadline);
        Ok(())
    }

    /// When the next rest is over.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let first = self.waiting.deadlines.peek();
        first.map(|Reverse((until, ..))| *until)
    }

    /// Releases one hold whose rest is over by now, and returns it with its owner; `None` when there is none left.
    pub fn expire(&mut self, now: Moment) -> Option<(Hold, O)> {
        while self.deadline().is_some_and(|until| until <= now) {
            let Some(Reverse((_, slot, generation))) = self.waiting.deadlines.pop() else {
                break;
            };
            let hold = Hold { slot, generation };
            if !self.entries.holds(slot, generation) {
                self.waiting.stale -= 1;
                continue;
            }
            return Some((hold, self.end(slot)));
        }
        None
    }
}
