//! When which socket wants to be woken: a hierarchical timing wheel.
//!
//! # Theory of operation
//!
//! Time is counted in ticks of a microsecond, and a tick is a number of ten digits to the base 64. A socket is entered where its
//! tick first differs from the present one: in the slot of that digit on the level of that place. So what is due within 64 ticks
//! lies on level 0, one tick to a slot, and all that is further away lies in few slots. When the present reaches a slot of a higher
//! level, what is in it moves down. Entering and taking out are a few links each, moving down happens at most nine times to an
//! entry: the cost of a timer does not depend on how many there are. (Varghese and Lauck, "Hashed and hierarchical
//! timing wheels", SOSP 1987, scheme 7.)
//!
//! A connection moves its deadline with almost every segment, mostly to later. So a socket is entered once, at the earliest
//! time that it asked for; a move to later changes nothing here, and when the entry comes due too early the
//! socket is simply entered again at its true deadline. A move to earlier replaces the entry. So there is never more than one entry
//! for a socket, and the common case costs a comparison.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::time::Instant;

/// Nanoseconds of a tick. What is due within one is due at its end.
const TICK: u64 = 1000;
/// Bits of a digit.
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
/// As many digits as a tick has.
const LEVELS: usize = 10;
/// No socket.
const NONE: u32 = u32::MAX;
/// No tick: the socket is not entered.
const NEVER: u64 = u64::MAX;

/// The sockets' numbers by the time they are due.
#[derive(Debug)]
pub(super) struct Timers {
    /// By socket.
    nodes: Vec<Node>,
    /// The first socket of each slot, level by level.
    slots: Box<[u32]>,
    /// Of each level, the slots that are not empty.
    occupied: [u64; LEVELS],
    /// The levels that are not empty.
    levels: u16,
    /// The present, as far as it was looked at.
    present: u64,
}

/// A socket's place.
#[derive(Clone, Copy, Debug)]
struct Node {
    at: u64,
    before: u32,
    after: u32,
    slot: u32,
}

const OUT: Node = Node {
    at: NEVER,
    before: NONE,
    after: NONE,
    slot: NONE,
};

impl Default for Timers {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            slots: alloc::vec![NONE; LEVELS * SLOTS].into_boxed_slice(),
            occupied: [0; LEVELS],
            levels: 0,
            present: 0,
        }
    }
}

impl Timers {
    /// Sees to it that a socket is woken at `wanted`, or earlier if it has asked for that before.
    pub(super) fn set(&mut self, socket: u32, wanted: Option<Instant>) {
        let Some(wanted) = wanted else { return };
        let tick = wanted.as_nanos().div_ceil(TICK).max(self.present);
        if self.nodes.len() <= socket as usize {
            self.nodes.resize(socket as usize + 1, OUT);
        }
        if self.nodes[socket as usize].at <= tick {
            return;
        }
        self.clear(socket);
        self.enter(socket, tick);
    }

    /// Takes a socket out.
    pub(super) fn clear(&mut self, socket: u32) {
        let Some(node) = self.nodes.get_mut(socket as usize) else {
            return;
        };
        let Node {
            before,
            after,
            slot,
            ..
        } = core::mem::replace(node, OUT);
        if slot == NONE {
            return;
        }
        if after != NONE {
            self.nodes[after as usize].before = before;
        }
        if before != NONE {
            self.nodes[before as usize].after = after;
            return;
        }
        self.slots[slot as usize] = after;
        if after == NONE {
            let (level, digit) = (slot as usize / SLOTS, slot as usize % SLOTS);
            self.vacate(level, digit);
        }
    }

    fn enter(&mut self, socket: u32, tick: u64) {
        let differing = (tick ^ self.present) | 1;
        let level = ((u64::BITS - 1 - differing.leading_zeros()) / BITS) as usize;
        let digit = (tick >> (level as u32 * BITS)) as usize % SLOTS;
        let slot = level * SLOTS + digit;
        let after = core::mem::replace(&mut self.slots[slot], socket);
        if after != NONE {
            self.nodes[after as usize].before = socket;
        }
        self.occupied[level] |= 1 << digit;
        self.levels |= 1 << level;
        self.nodes[socket as usize] = Node {
            at: tick,
            before: NONE,
            after,
            slot: slot as u32,
        };
    }

    /// A slot has become empty.
    fn vacate(&mut self, level: usize, digit: usize) {
        self.occupied[level] &= !(1 << digit);
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
    }

    /// The first slot that is not empty, and the tick at which it begins. A lower level is always earlier than a higher one.
    fn next(&self) -> Option<(usize, u64)> {
        let level = self.levels.trailing_zeros() as usize;
        if level >= LEVELS {
            return None;
        }
        let digit = self.occupied[level].trailing_zeros();
        let shift = level as u32 * BITS;
        // On the highest level nothing is left of the present.
        let above = self.present.checked_shr(shift + BITS).unwrap_or(0);
        let start = ((above << BITS) | u64::from(digit)) << shift;
        Some((level * SLOTS + digit as usize, start))
    }

    /// When the first socket is to be woken, or, if that takes several steps, when there is something to be done about it.
    pub(super) fn first(&self) -> Option<Instant> {
        let (slot, start) = self.next()?;
        let first = &self.nodes[self.slots[slot] as usize];
        let tick = if first.after == NONE { first.at } else { start };
        Some(Instant::from_nanos(tick.saturating_mul(TICK)))
    }

    /// Takes out a socket that is due.
    pub(super) fn take(&mut self, now: Instant) -> Option<u32> {
        let now = now.as_nanos() / TICK;
        loop {
            let Some((slot, start)) = self.next().filter(|(_, start)| *start <= now) else {
                self.present = self.present.max(now);
                return None;
            };
            self.present = self.present.max(start);
            let first = self.slots[slot];
            if slot < SLOTS {
                self.clear(first);
                return Some(first);
            }
            self.move_down(slot);
        }
    }

    /// The present has reached a slot of a higher level.
    fn move_down(&mut self, slot: usize) {
        let mut socket = core::mem::replace(&mut self.slots[slot], NONE);
        self.vacate(slot / SLOTS, slot % SLOTS);
        while let Some(Node { at, after, .. }) = self.nodes.get(socket as usize).copied() {
            self.enter(socket, at);
            socket = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    fn at(ms: u64) -> Option<Instant> {
        Some(Instant::from_millis(ms))
    }

    #[test]
    fn one_entry_for_each_socket_at_its_earliest() {
        let mut timers = Timers::default();
        timers.set(1, at(50));
        timers.set(1, at(90));
        timers.set(2, at(70));
        assert_eq!(timers.take(Instant::from_millis(49)), None);
        assert_eq!(timers.first(), at(50));
        timers.set(2, at(20));
        assert_eq!(timers.take(Instant::from_millis(50)), Some(2));
        assert_eq!(timers.take(Instant::from_millis(50)), Some(1));
        assert_eq!((timers.first(), timers.occupied), (None, [0; LEVELS]));
    }

    #[test]
    fn a_cleared_socket_is_not_woken() {
        let mut timers = Timers::default();
        timers.set(1, at(50));
        timers.clear(1);
        timers.clear(7);
        assert_eq!(timers.take(Instant::from_millis(60)), None);
    }

    #[test]
    fn the_end_of_time_has_a_slot() {
        let mut timers = Timers::default();
        let end = Instant::from_nanos(u64::MAX);
        timers.set(1, Some(end));
        assert_eq!(
            (timers.first(), timers.take(at(1).unwrap())),
            (Some(end), None)
        );
    }

    proptest! {
        #[test]
        fn everybody_is_woken_in_order_neither_early_nor_late(
            steps in proptest::collection::vec((0u32..40, 0u32..40, any::<u64>(), any::<bool>()), 1..200),
        ) {
            let mut timers = Timers::default();
            let mut wanted: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0u64;
            for (socket, bits, random, pass) in steps {
                let span = random % (1 << bits);
                if pass {
                    now += span;
                    let mut last = 0;
                    while let Some(woken) = timers.take(Instant::from_nanos(now)) {
                        let due = wanted.remove(&woken).unwrap();
                        prop_assert!(due <= now && due + TICK > last);
                        last = due;
                    }
                    prop_assert!(wanted.values().all(|due| due + TICK > now));
                } else {
                    timers.set(socket, Some(Instant::from_nanos(now + span)));
                    let due = wanted.entry(socket).or_insert(u64::MAX);
                    *due = (*due).min(now + span);
                }
                let first = wanted.values().min();
                let told = timers.first().map(Instant::as_nanos);
                prop_assert_eq!(first.is_some(), told.is_some());
                prop_assert!(told <= first.map(|due| due + TICK));
            }
        }
    }
}
