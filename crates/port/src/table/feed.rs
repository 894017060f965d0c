//! The change feed: what watchers missed since they looked last.

use alloc::collections::VecDeque;

use super::entry::{Origin, Phase};
use super::{Holding, Table};

/// What happened to a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// It got a place, or does not listen there any more.
    Bound,
    /// It takes connections.
    Listening,
    /// It is gone.
    Released,
}

/// One change of the table. Connections are not in the feed, only what was bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<O> {
    /// Its number: one more than that of the change before.
    pub number: u64,
    /// What happened.
    pub event: Event,
    /// The hold, as it was right after, or right before it was released.
    pub holding: Holding<O>,
}

/// Changes were dropped that the watcher has not seen: it should list the table anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lagged {
    /// The first number that is still there, or will be.
    pub first: u64,
}

impl core::fmt::Display for Lagged {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "changes before number {} are not kept any more",
            self.first
        )
    }
}

impl core::error::Error for Lagged {}

#[derive(Debug)]
pub(super) struct Feed<O> {
    changes: VecDeque<Change<O>>,
    next: u64,
    capacity: usize,
}

impl<O> Feed<O> {
    pub(super) const fn new(capacity: usize) -> Self {
        Self {
            changes: VecDeque::new(),
            next: 0,
            capacity,
        }
    }
}

impl<O: Clone> Table<O> {
    /// The number that the next change will have.
    #[must_use]
    pub const fn next_change(&self) -> u64 {
        self.feed.next
    }

    /// The changes from this number on.
    ///
    /// # Errors
    /// [`Lagged`] if some of them are not kept any more; [`Config::feed`](super::Config::feed) says how many are.
    pub fn changes(&self, from: u64) -> Result<impl Iterator<Item = &Change<O>>, Lagged> {
        let first = self.feed.next - self.feed.changes.len() as u64;
        let Some(skipped) = from.checked_sub(first) else {
            return Err(Lagged { first });
        };
        Ok(self.feed.changes.iter().skip(skipped as usize))
    }

    /// Whether the end of this hold is news: its beginning was.
    pub(super) fn announces(&self, slot: u32) -> bool {
        let entry = &self.entries[slot];
        matches!(entry.origin, Origin::Bind | Origin::Listen) && entry.phase != Phase::Open
    }

    pub(super) fn announce(&mut self, slot: u32, event: Event) {
        if self.feed.capacity == 0 {
            return;
        }
        if self.feed.changes.len() == self.feed.capacity {
            self.feed.changes.pop_front();
        }
        let change = Change {
            number: self.feed.next,
            event,
            holding: self.describe(slot),
        };
        self.feed.changes.push_back(change);
        self.feed.next += 1;
    }
}
