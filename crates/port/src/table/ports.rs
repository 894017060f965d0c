//! Sets of ports, and finding a port that is in none of several of them.
//!
//! # Theory of operation
//!
//! A big set is a bitmap of 1,024 words with a second level that says which words are full. The first
//! port that is in none of several sets is found by or-ing their words, and where a word is full, by or-ing
//! the second levels: a handful of steps however many ports are taken. Two sets that fill a word only
//! together cost one more step for each such word, 1,024 at most.

use alloc::boxed::Box;
use alloc::vec;

use crate::{Port, PortRange};

const WORDS: usize = 1024;
/// So many ports are kept without memory of their own.
pub(super) const FEW: usize = 14;

/// A set of ports as a bitmap in two levels.
#[derive(Debug)]
pub(super) struct Bitmap {
    words: Box<[u64]>,
    full: [u64; WORDS / 64],
    count: u32,
}

impl Bitmap {
    pub(super) fn new() -> Self {
        Self {
            words: vec![0; WORDS].into_boxed_slice(),
            full: [0; WORDS / 64],
            count: 0,
        }
    }

    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn contains(&self, port: u16) -> bool {
        self.words[usize::from(port) / 64] >> (port % 64) & 1 == 1
    }

    pub(super) fn set(&mut self, port: u16, member: bool) {
        if self.contains(port) == member {
            return;
        }
        let at = usize::from(port) / 64;
        self.words[at] ^= 1 << (port % 64);
        self.count = if member {
            self.count + 1
        } else {
            self.count - 1
        };
        let bit = 1 << (at % 64);
        if self.words[at] == u64::MAX {
            self.full[at / 64] |= bit;
        } else {
            self.full[at / 64] &= !bit;
        }
    }
}

/// A set of ports that is small while it has few members, and then needs no memory of its own.
#[derive(Debug)]
pub(super) enum PortSet {
    Few(u8, [u16; FEW]),
    Many(Box<Bitmap>),
}

impl PortSet {
    pub(super) const fn new() -> Self {
        Self::Few(0, [0; FEW])
    }

    pub(super) fn members(&self) -> Members<'_> {
        match self {
            Self::Few(count, ports) => Members::Few(&ports[..usize::from(*count)]),
            Self::Many(bitmap) => Members::Many(bitmap),
        }
    }

    /// Adds a port that is not a member yet.
    pub(super) fn insert(&mut self, port: u16) {
        match self {
            Self::Many(bitmap) => bitmap.set(port, true),
            Self::Few(count, ports) if usize::from(*count) < FEW => {
                ports[usize::from(*count)] = port;
                *count += 1;
            }
            Self::Few(_, ports) => {
                let mut bitmap = Bitmap::new();
                for &member in ports.iter().chain(&[port]) {
                    bitmap.set(member, true);
                }
                *self = Self::Many(Box::new(bitmap));
            }
        }
    }

    /// Removes a port, if it is a member.
    pub(super) fn remove(&mut self, port: u16) {
        match self {
            Self::Few(count, ports) => {
                let members = &mut ports[..usize::from(*count)];
                if let Some(at) = members.iter().position(|&member| member == port) {
                    members.swap(at, usize::from(*count) - 1);
                    *count -= 1;
                }
            }
            Self::Many(bitmap) => {
                bitmap.set(port, false);
                if bitmap.count() == 0 {
                    *self = Self::new();
                }
            }
        }
    }
}

/// What is in a set of ports, as a choice looks at it.
#[derive(Debug)]
pub(super) enum Members<'a> {
    Few(&'a [u16]),
    Many(&'a Bitmap),
}

/// The ports that are in any of several sets.
#[derive(Debug, Default)]
pub(super) struct Union<'a> {
    bitmaps: [Option<&'a Bitmap>; 6],
    few: &'a [u16],
}

impl<'a> Union<'a> {
    pub(super) fn with(mut self, bitmap: &'a Bitmap) -> Self {
        let free = self.bitmaps.iter_mut().find(|place| place.is_none());
        *free.expect("a choice looks at six sets at most") = Some(bitmap);
        self
    }

    pub(super) fn with_members(mut self, members: Members<'a>) -> Self {
        match members {
            Members::Many(bitmap) => self.with(bitmap),
            Members::Few(ports) => {
                debug_assert!(self.few.is_empty(), "a choice looks at one address");
                self.few = ports;
                self
            }
        }
    }

    /// A port of the range that is in none of the sets: the first one from a random place on.
    pub(super) fn choose(&self, range: PortRange, random: u64) -> Option<Port> {
        let [first, last] = [range.first().number(), range.last().number()];
        let offset = (u128::from(random) * u128::from(range.count())) >> 64;
        let start = first + offset as u16;
        self.next(start, last)
            .or_else(|| self.next(first, start))
            .and_then(Port::new)
    }

    /// The first port from `from` to `last` that is in none of the sets.
    pub(super) fn next(&self, from: u16, last: u16) -> Option<u16> {
        let mut from = from;
        loop {
            let port = self.next_in_bitmaps(from, last)?;
            if !self.few.contains(&port) {
                return Some(port);
            }
            from = port.checked_add(1).filter(|&next| next <= last)?;
        }
    }

    fn next_in_bitmaps(&self, from: u16, last: u16) -> Option<u16> {
        let mut at = usize::from(from) / 64;
        let mut mask = u64::MAX << (from % 64);
        loop {
            let free = !self.any(|bitmap| bitmap.words[at]) & mask;
            if free != 0 {
                let port = (at * 64) as u16 + free.trailing_zeros() as u16;
                return (port <= last).then_some(port);
            }
            at = self.next_open_word(at + 1, usize::from(last) / 64)?;
            mask = u64::MAX;
        }
    }

    /// The first word from `from` to `last` that no set fills alone.
    fn next_open_word(&self, from: usize, last: usize) -> Option<usize> {
        let mut mask = u64::MAX << (from % 64);
        for block in from / 64..=last / 64 {
            let open = !self.any(|bitmap| bitmap.full[block]) & mask;
            if open != 0 {
                let word = block * 64 + open.trailing_zeros() as usize;
                return (word <= last).then_some(word);
            }
            mask = u64::MAX;
        }
        None
    }

    fn any(&self, word: impl Fn(&Bitmap) -> u64) -> u64 {
        let words = self.bitmaps.iter().flatten().map(|bitmap| word(bitmap));
        words.fold(0, |all, word| all | word)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(first: u16, last: u16) -> PortRange {
        PortRange::new(Port::new(first).unwrap(), Port::new(last).unwrap()).unwrap()
    }

    #[test]
    fn the_last_free_port_is_found_from_everywhere() {
        let mut taken = Bitmap::new();
        for port in 32768..=60999 {
            taken.set(port, port != 50000);
        }
        for random in (0..1000).map(|step| u64::MAX / 1000 * step) {
            let union = Union::default().with(&taken);
            assert_eq!(union.choose(range(32768, 60999), random), Port::new(50000));
        }
        taken.set(50000, true);
        assert_eq!(
            Union::default().with(&taken).choose(range(32768, 60999), 7),
            None
        );
    }

    #[test]
    fn a_range_may_reach_the_very_end() {
        let mut set = PortSet::new();
        set.insert(65535);
        let union = Union::default().with_members(set.members());
        assert_eq!(union.choose(range(65535, 65535), 0), None);
        assert_eq!(
            union.choose(range(65534, 65535), u64::MAX),
            Port::new(65534)
        );
    }

    proptest! {
        #[test]
        fn choices_agree_with_a_plain_set(
            one in prop::collection::vec(1000_u16..1400, 0..300),
            other in prop::collection::vec(1000_u16..1400, 0..60),
            removed in prop::collection::vec(1000_u16..1400, 0..200),
            first in 990_u16..1200, length in 0_u16..220, random: u64,
        ) {
            let mut bitmap = Bitmap::new();
            let (mut set, mut members) = (PortSet::new(), BTreeSet::new());
            for &port in &one { bitmap.set(port, true); }
            for &port in &other { if members.insert(port) { set.insert(port); } }
            for &port in &removed { if members.remove(&port) { set.remove(port); } }
            let union = Union::default().with(&bitmap).with_members(set.members());
            let free: BTreeSet<u16> = (first..=first + length)
                .filter(|port| !one.contains(port) && !members.contains(port))
                .collect();
            let chosen = union.choose(range(first, first + length), random).map(Port::number);
            prop_assert_eq!(chosen.is_some(), !free.is_empty());
            prop_assert!(chosen.is_none_or(|port| free.contains(&port)));
        }
    }
}
