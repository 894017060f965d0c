//! Which of several holds at one place gets an arriving packet.
//!
//! # Theory of operation
//!
//! The holds of a place that receive sit on benches; a reuse-port group of one user shares one. The benches
//! of one device and one address family are in a line, a stack. The front bench gets the packet: the latest to
//! sit down, except that shared benches stand behind the others, the earliest of them in front (so Linux
//! does it). Within a shared bench a keyed hash of the flow picks. Sitting down, picking and leaving are O(1).

use alloc::vec::Vec;

use hashbrown::HashMap;

use super::arena::{Arena, NONE};
use super::keys::Keyed;
use crate::Domain;

/// The family of a socket, as far as arriving packets ask: IPv4 sockets go before IPv6 ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl From<Domain> for Family {
    fn from(domain: Domain) -> Self {
        match domain {
            Domain::V4 => Self::V4,
            Domain::V6Only | Domain::Dual => Self::V6,
        }
    }
}

/// Who sits down: on which device (0 for none), of which family, sharing with whom, and since when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guest {
    pub(super) device: u32,
    pub(super) family: Family,
    pub(super) shares_as: Option<u32>,
    pub(super) stamp: u64,
}

/// Where a hold sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chair {
    pub(super) bench: u32,
    pub(super) position: u32,
}

#[derive(Debug)]
struct Stack {
    device: u32,
    family: Family,
    next: u32,
    ends: [u32; 2],
}

#[derive(Debug)]
struct Bench {
    stack: u32,
    shares_as: Option<u32>,
    stamp: u64,
    first: u32,
    others: Vec<u32>,
    neighbours: [u32; 2],
}

/// All benches of a table.
#[derive(Debug)]
pub(super) struct Receivers {
    stacks: Arena<Stack>,
    benches: Arena<Bench>,
    shared: HashMap<(u32, u32), u32, Keyed>,
    changes: u64,
}

impl Receivers {
    pub(super) fn new(hasher: Keyed) -> Self {
        Self {
            stacks: Arena::new(),
            benches: Arena::new(),
            shared: HashMap::with_hasher(hasher),
            changes: 0,
        }
    }

    /// How often somebody sat down or got up.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn len(&self) -> usize {
        self.benches.len() + self.stacks.len() + self.shared.len()
    }

    /// Sits a hold down at the place whose first stack is `stacks`.
    pub(super) fn seat(&mut self, stacks: &mut u32, guest: Guest, hold: u32) -> Chair {
        self.changes += 1;
        let stack = self.stack_or_new(stacks, &guest);
        let shared = guest
            .shares_as
            .and_then(|user| self.shared.get(&(stack, user)));
        if let Some(&bench) = shared {
            let others = &mut self.benches[bench].others;
            others.push(hold);
            let position = others.len() as u32;
            return Chair { bench, position };
        }
        let bench = self.benches.insert(Bench {
            stack,
            shares_as: guest.shares_as,
            stamp: guest.stamp,
            first: hold,
            others: Vec::new(),
            neighbours: [NONE; 2],
        });
        self.line_up(stack, bench, usize::from(guest.shares_as.is_some()));
        if let Some(user) = guest.shares_as {
            self.shared.insert((stack, user), bench);
        }
        Chair { bench, position: 0 }
    }

    /// Puts a bench in front (`end` 0) or at the back (`end` 1) of its stack.
    fn line_up(&mut self, stack: u32, bench: u32, end: usize) {
        let old = core::mem::replace(&mut self.stacks[stack].ends[end], bench);
        if old == NONE {
            self.stacks[stack].ends[1 - end] = bench;
            return;
        }
        self.benches[old].neighbours[end] = bench;
        self.benches[bench].neighbours[1 - end] = old;
    }

    /// Lets a hold get up. The hold that takes over its chair, if one does, is returned with it.
    pub(super) fn unseat(&mut self, stacks: &mut u32, chair: Chair) -> Option<(u32, Chair)> {
        self.changes += 1;
        let bench = &mut self.benches[chair.bench];
        let Some(last) = bench.others.pop() else {
            self.fold(stacks, chair.bench);
            return None;
        };
        if chair.position as usize == bench.others.len() + 1 {
            return None;
        }
        match chair.position.checked_sub(1) {
            None => bench.first = last,
            Some(at) => bench.others[at as usize] = last,
        }
        Some((last, chair))
    }

    /// Takes an empty bench away, and its stack if that was the last bench of it.
    fn fold(&mut self, stacks: &mut u32, number: u32) {
        let bench = self.benches.remove(number);
        if let Some(user) = bench.shares_as {
            self.shared.remove(&(bench.stack, user));
        }
        for end in 0..2 {
            let [near, far] = [bench.neighbours[end], bench.neighbours[1 - end]];
            if near == NONE {
                self.stacks[bench.stack].ends[end] = far;
            } else {
                self.benches[near].neighbours[1 - end] = far;
            }
        }
        if self.stacks[bench.stack].ends[0] == NONE {
            self.remove_stack(stacks, bench.stack);
        }
    }

    fn remove_stack(&mut self, stacks: &mut u32, number: u32) {
        let next = self.stacks.remove(number).next;
        if *stacks == number {
            *stacks = next;
            return;
        }
        let mut before = *stacks;
        while self.stacks[before].next != number {
            before = self.stacks[before].next;
        }
        self.stacks[before].next = next;
    }

    fn stack_or_new(&mut self, stacks: &mut u32, guest: &Guest) -> u32 {
        if let Some(stack) = self.find(*stacks, guest.device, guest.family) {
            return stack;
        }
        let stack = self.stacks.insert(Stack {
            device: guest.device,
            family: guest.family,
            next: *stacks,
            ends: [NONE; 2],
        });
        *stacks = stack;
        stack
    }

    fn find(&self, stacks: u32, device: u32, family: Family) -> Option<u32> {
        let some = |number: u32| (number != NONE).then_some(number);
        core::iter::successors(some(stacks), |&number| some(self.stacks[number].next)).find(
            |&number| {
                let stack = &self.stacks[number];
                stack.device == device && stack.family == family
            },
        )
    }

    fn front(&self, stacks: u32, device: u32, family: Family) -> Option<&Bench> {
        let stack = self.find(stacks, device, family)?;
        Some(&self.benches[self.stacks[stack].ends[0]])
    }

    /// Who gets a packet that arrived on this device (0 if that is unknown), of the holds at two places of equal rank;
    /// IPv4 sockets are at the first of them only.
    pub(super) fn pick(&self, stacks: [u32; 2], device: u32, hash: u64) -> Option<u32> {
        let plain = || self.best(stacks, 0);
        let bench = match device {
            0 => plain(),
            device => self.best(stacks, device).or_else(plain),
        };
        bench.map(|bench| bench.pick(hash))
    }

    /// All holds at a place that get packets from this device.
    pub(super) fn seated(&self, stacks: u32, device: u32) -> impl Iterator<Item = u32> {
        let some = |number: u32| (number != NONE).then_some(number);
        let stacks =
            core::iter::successors(some(stacks), move |&number| some(self.stacks[number].next));
        stacks
            .map(|number| &self.stacks[number])
            .filter(move |stack| stack.device == device || stack.device == 0)
            .flat_map(move |stack| {
                core::iter::successors(some(stack.ends[0]), move |&number| {
                    some(self.benches[number].neighbours[1])
                })
            })
            .flat_map(move |number| {
                let bench = &self.benches[number];
                core::iter::once(bench.first).chain(bench.others.iter().copied())
            })
    }

    fn best(&self, stacks: [u32; 2], device: u32) -> Option<&Bench> {
        self.front(stacks[0], device, Family::V4).or_else(|| {
            let [one, other] = stacks.map(|stacks| self.front(stacks, device, Family::V6));
            match (one, other) {
                (Some(one), Some(other)) => Some(one.before(other)),
                (one, other) => one.or(other),
            }
        })
    }
}

impl Bench {
    /// Which of two would stand in front if they were in one line.
    fn before<'a>(&'a self, other: &'a Self) -> &'a Self {
        let first = match (self.shares_as, other.shares_as) {
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (None, None) => self.stamp > other.stamp,
            (Some(_), Some(_)) => self.stamp < other.stamp,
        };
        if first { self } else { other }
    }

    fn pick(&self, hash: u64) -> u32 {
        let count = self.others.len() as u64 + 1;
        let position = ((hash >> 32) * count) >> 32;
        match position.checked_sub(1) {
            None => self.first,
            Some(at) => self.others[at as usize],
        }
    }
}
