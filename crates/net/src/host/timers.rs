//! When which socket wants to be woken.
//!
//! # Theory of operation
//!
//! A connection moves its deadline with almost every segment, mostly to later. So a socket is entered once, at the earliest
//! time that it asked for; a move to later changes nothing here, and when the entry comes due too early the
//! socket is simply entered again at its true deadline. A move to earlier replaces the entry. So there is never more than one entry
//! for a socket, and the common case costs a comparison.

use alloc::collections::BTreeSet;

use crate::time::Instant;

/// The sockets' numbers by the time they are due.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Instant, u32)>,
}

impl Timers {
    /// Sees to it that a socket is woken at `wanted` at the latest; `entered` is the socket's own note of its
    /// entry.
    pub(super) fn set(
        &mut self,
        socket: u32,
        entered: &mut Option<Instant>,
        wanted: Option<Instant>,
    ) {
        let Some(wanted) = wanted else { return };
        match *entered {
            Some(at) if at <= wanted => return,
            Some(at) => {
                self.due.remove(&(at, socket));
            }
            None => {}
        }
        self.due.insert((wanted, socket));
        *entered = Some(wanted);
    }

    /// Takes a socket out.
    pub(super) fn clear(&mut self, socket: u32, entered: &mut Option<Instant>) {
        if let Some(at) = entered.take() {
            self.due.remove(&(at, socket));
        }
    }

    /// When the first socket is to be woken.
    pub(super) fn first(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes out a socket that is due. Its note is to be cleared.
    pub(super) fn take(&mut self, now: Instant) -> Option<u32> {
        match self.due.first() {
            Some((at, _)) if *at <= now => self.due.pop_first().map(|(_, socket)| socket),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Option<Instant> {
        Some(Instant::from_millis(ms))
    }

    #[test]
    fn one_entry_for_each_socket_at_its_earliest() {
        let mut timers = Timers::default();
        let (mut first, mut second) = (None, None);
        timers.set(1, &mut first, at(50));
        timers.set(1, &mut first, at(90));
        timers.set(2, &mut second, at(70));
        assert_eq!(timers.first(), at(50));
        timers.set(2, &mut second, at(20));
        assert_eq!((timers.first(), timers.due.len()), (at(20), 2));
        assert_eq!(timers.take(Instant::from_millis(19)), None);
        assert_eq!(timers.take(Instant::from_millis(50)), Some(2));
        assert_eq!(timers.take(Instant::from_millis(50)), Some(1));
        assert_eq!(timers.first(), None);
    }

    #[test]
    fn a_cleared_socket_is_not_woken() {
        let mut timers = Timers::default();
        let mut entered = None;
        timers.set(1, &mut entered, at(50));
        timers.clear(1, &mut entered);
        assert_eq!(
            (timers.take(Instant::from_millis(60)), entered),
            (None, None)
        );
    }
}
