//! The tasks that wait for something: each with a key of its own, so that one that gives up leaves nothing behind.

use std::task::Waker;

/// Names a waiting task among those of one stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u64);

impl Key {
    /// Whoever polls by hand (`poll_read`, `poll_write`, …): the last to ask is the one to be woken.
    pub(crate) const POLL: Self = Self(0);
}

/// Tasks that wait for one thing.
#[derive(Debug, Default)]
pub(crate) struct Wakers(Vec<(Key, Waker)>);

impl Wakers {
    /// Enters a task, or changes its waker.
    pub(crate) fn enter(&mut self, key: Key, waker: &Waker) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => known.clone_from(waker),
            None => self.0.push((key, waker.clone())),
        }
    }

    /// Forgets a task, and hands its waker out.
    pub(crate) fn leave(&mut self, key: Key) -> Option<Waker> {
        let at = self.0.iter().position(|(known, _)| *known == key)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Moves all to `woken`, to be woken once nothing is locked any more.
    pub(crate) fn drain(&mut self, woken: &mut Vec<Waker>) {
        woken.extend(self.0.drain(..).map(|(_, waker)| waker));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_entered_once_and_leaves_nothing_behind() {
        let mut wakers = Wakers::default();
        for _ in 0..3 {
            wakers.enter(Key(1), Waker::noop());
            wakers.enter(Key(2), Waker::noop());
        }
        assert_eq!(wakers.0.len(), 2);
        assert!(wakers.leave(Key(1)).is_some());
        assert!(wakers.leave(Key(1)).is_none());
        let mut woken = Vec::new();
        wakers.drain(&mut woken);
        assert_eq!(woken.len(), 1);
        assert!(wakers.is_empty());
    }
}
