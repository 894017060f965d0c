//! Octets as happenings, for whoever makes octets: tests on every machine, a fuzzer on a patient one (`fuzz/`).

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod calls;
pub(crate) mod craft;
pub(crate) mod frames;
pub(crate) mod reassembly;
pub(crate) mod segments;

use std::time::Duration;

use wharf_net::{Host, Instant};

use crate::network::Chance;

/// Octets that decide what happens; they say 0 when they are used up.
#[derive(Clone, Debug)]
pub(crate) struct Octets<'a>(pub(crate) &'a [u8]);

impl<'a> Octets<'a> {
    pub(crate) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    pub(crate) fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.word()) % bound.max(1)
    }

    pub(crate) fn one_of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len())]
    }

    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A span of any magnitude, from a microsecond to over an hour.
    pub(crate) fn span(&mut self) -> Duration {
        let magnitude = self.byte() % 33;
        Duration::from_micros((1 << magnitude) + u64::from(self.word()))
    }
}

/// So many octets that follow from a seed.
pub(crate) fn random(seed: u64, count: usize) -> Vec<u8> {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    (0..count).map(|_| chance.next() as u8).collect()
}

/// A host that is woken keeps no deadline that has passed: it would be woken for ever.
pub(crate) fn wake(host: &mut Host, now: Instant) {
    if host.deadline().is_some_and(|at| at <= now) {
        host.expire(now);
    }
}
