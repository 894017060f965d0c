//! From a print to a number: the look-up that every packet pays for.
//!
//! # Theory of operation
//!
//! A [`Print`] is 96 bits of a keyed hash and stands for what was hashed. Two flows of one print would be one flow to the
//! table; nobody without the key can look for such two, and among a million flows an arbitrary packet is taken for one of
//! them with a chance of less than 1 in 10^22. So a cell holds all that a look-up wants, and nothing has to be read in order to
//! confirm it: in a table that no cache holds, a look-up waits for memory once, whether it finds something or not.
//!
//! The cells are a sorted array with gaps. A print's home is where it would stand if prints were spread evenly; it
//! stands there or behind, in order, and with no gap between. So a look-up begins at home and ends at the print, at a greater one or
//! at a gap, after two or three cells. Adding pushes greater ones to the next gap, removing pulls them back: there are no tombstones, and
//! long use does not slow it down. Since order does not depend on size, growing is one pass from end to end, and
//! may be by a quarter instead of by double: of a large index, 63 % or more is in use.

use alloc::vec::Vec;
use core::num::NonZeroU32;

/// What stands for a flow, a place or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Print {
    pub(super) high: u64,
    pub(super) low: u32,
}

/// A number, and what a look-up wants to know besides.
#[derive(Debug)]
pub(super) struct Cell<V> {
    high: u64,
    low: u32,
    /// One more than the number, so that a gap takes no room of its own.
    successor: NonZeroU32,
    pub(super) value: V,
}

impl<V> Cell<V> {
    fn new(print: Print, number: u32, value: V) -> Self {
        let successor = number.checked_add(1).and_then(NonZeroU32::new);
        Self {
            high: print.high,
            low: print.low,
            successor: successor.expect("the greatest number is nobody's"),
            value,
        }
    }

    const fn print(&self) -> Print {
        Print {
            high: self.high,
            low: self.low,
        }
    }

    pub(super) const fn number(&self) -> u32 {
        self.successor.get() - 1
    }
}

/// Cells by print.
#[derive(Debug)]
pub(super) struct Index<V> {
    /// Homes, and behind them room for those that are pushed past the last; the very last one is always a gap.
    cells: Vec<Option<Cell<V>>>,
    homes: usize,
    count: usize,
    changes: u64,
}

const FEWEST: usize = 8;
const SPILL: usize = 16;

/// Up to so many homes, room costs little: half of it is kept free, and growth doubles it.
const SMALL: usize = 4096;

impl<V> Index<V> {
    pub(super) fn new() -> Self {
        let mut index = Self {
            cells: Vec::new(),
            homes: FEWEST,
            count: 0,
            changes: 0,
        };
        index.arrange(Vec::new());
        index
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn home(&self, print: Print) -> usize {
        ((u128::from(print.high) * self.homes as u128) >> 64) as usize
    }

    /// How often something was added, put in another's place, or removed.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    /// What is known by this print.
    pub(super) fn find(&self, print: Print) -> Option<&Cell<V>> {
        let at = self.position(print).ok()?;
        self.cells[at].as_ref()
    }

    /// Where the print stands, or where it would have to.
    fn position(&self, print: Print) -> Result<usize, usize> {
        let mut at = self.home(print);
        while let Some(cell) = &self.cells[at] {
            if cell.print() >= print {
                let found = cell.print() == print;
                return if found { Ok(at) } else { Err(at) };
            }
            at += 1;
        }
        Err(at)
    }

    /// Adds a number, or puts it in the place of the one that is known by this print.
    pub(super) fn insert(&mut self, print: Print, number: u32, value: V) {
        self.changes += 1;
        if self.count >= self.most() {
            self.grow();
        }
        let mut cell = Some(Cell::new(print, number, value));
        match self.position(print) {
            Ok(at) => self.cells[at] = cell,
            Err(mut at) => {
                self.count += 1;
                while cell.is_some() {
                    core::mem::swap(&mut self.cells[at], &mut cell);
                    at += 1;
                }
                if at == self.cells.len() {
                    self.cells.reserve_exact(SPILL);
                    self.cells.push(None);
                }
            }
        }
    }

    /// How many cells may be in use.
    const fn most(&self) -> usize {
        if self.homes <= SMALL {
            self.homes / 2
        } else {
            self.homes / 5 * 4
        }
    }

    fn grow(&mut self) {
        self.homes += if self.homes <= SMALL {
            self.homes
        } else {
            self.homes / 4
        };
        let smaller = core::mem::take(&mut self.cells);
        self.arrange(smaller);
    }

    /// Fills the cells with others, which are in order.
    fn arrange(&mut self, cells: Vec<Option<Cell<V>>>) {
        self.cells.reserve_exact(self.homes + SPILL);
        for cell in cells.into_iter().flatten() {
            let home = self.home(cell.print());
            while self.cells.len() < home {
                self.cells.push(None);
            }
            self.cells.push(Some(cell));
        }
        let least = (self.homes + 1).max(self.cells.len() + 1);
        self.cells.resize_with(least, || None);
    }

    /// Removes what is known by this print.
    pub(super) fn remove(&mut self, print: Print) {
        let Ok(mut at) = self.position(print) else {
            return;
        };
        self.changes += 1;
        self.count -= 1;
        self.cells[at] = None;
        while let Some(next) = &self.cells[at + 1]
            && self.home(next.print()) <= at
        {
            self.cells.swap(at, at + 1);
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_gap_takes_no_room_of_its_own() {
        assert_eq!(size_of::<Option<Cell<u64>>>(), 24);
        assert_eq!(size_of::<Option<Cell<()>>>(), 16);
    }

    #[test]
    fn a_million_cells_take_no_more_than_38_bytes_each() {
        let mut index = Index::new();
        let mut most = 0;
        for number in 0..1_000_000_u32 {
            let high = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            index.insert(Print { high, low: 0 }, number, 0_u64);
            if index.count > 10_000 {
                most = most.max(index.cells.capacity() * 24 / index.count);
            }
        }
        assert!(most < 38, "{most}");
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_map(
            spread: bool,
            steps in prop::collection::vec((0_u32..300, any::<bool>()), 0..3000),
        ) {
            let mut index = Index::new();
            let mut map = BTreeMap::new();
            // Either evenly, or few homes and the last of them, so that runs are long and spill.
            let print = |number: u32| {
                let high = if spread { u64::from(number) * (u64::MAX / 300) } else { u64::MAX - u64::from(number % 23) };
                Print { high, low: number }
            };
            for (step, (number, add)) in (0_u32..).zip(steps) {
                let found = index.find(print(number)).map(|cell| (cell.number(), cell.value));
                prop_assert_eq!(found, map.get(&number).copied());
                if add {
                    index.insert(print(number), step, !step);
                    map.insert(number, (step, !step));
                } else {
                    index.remove(print(number));
                    map.remove(&number);
                }
                prop_assert_eq!(index.is_empty(), map.is_empty());
            }
            for number in 0..300 {
                let found = index.find(print(number)).map(|cell| (cell.number(), cell.value));
                prop_assert_eq!(found, map.get(&number).copied());
            }
        }
    }
}
