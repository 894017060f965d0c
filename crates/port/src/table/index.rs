//! From a hash to a number: the look-up that every packet pays for.
//!
//! # Theory of operation
//!
//! Open addressing with linear probing. A cell is half of the hash beside the number, eight cells to a cache
//! line, so a look-up touches one line here and one where the number leads. The half is enough to grow and to
//! remove without looking anywhere else: removal shifts the cells behind back, so there are no tombstones and
//! long use does not slow it down. The hashes are keyed, so nobody can make long runs.

use alloc::boxed::Box;
use alloc::vec;

use super::arena::NONE;

#[derive(Debug, Clone, Copy)]
struct Cell {
    mark: u32,
    number: u32,
}

const EMPTY: Cell = Cell {
    mark: 0,
    number: NONE,
};

/// Numbers by hash. Whether a number is the right one, the caller knows.
#[derive(Debug)]
pub(super) struct Index {
    cells: Box<[Cell]>,
    count: usize,
}

const fn mark(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            cells: vec![EMPTY; 8].into_boxed_slice(),
            count: 0,
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    const fn mask(&self) -> usize {
        self.cells.len() - 1
    }

    /// The number with this hash that is the right one.
    pub(super) fn find(&self, hash: u64, right: impl Fn(u32) -> bool) -> Option<u32> {
        self.position(hash, right).map(|at| self.cells[at].number)
    }

    fn position(&self, hash: u64, right: impl Fn(u32) -> bool) -> Option<usize> {
        let mut at = mark(hash) as usize & self.mask();
        loop {
            let cell = self.cells[at];
            if cell.number == NONE {
                return None;
            }
            if cell.mark == mark(hash) && right(cell.number) {
                return Some(at);
            }
            at = (at + 1) & self.mask();
        }
    }

    /// Adds a number that is not there yet.
    pub(super) fn insert(&mut self, hash: u64, number: u32) {
        if (self.count + 1) * 4 > self.cells.len() * 3 {
            self.grow();
        }
        self.count += 1;
        let mark = mark(hash);
        self.settle(Cell { mark, number });
    }

    fn settle(&mut self, cell: Cell) {
        let mut at = cell.mark as usize & self.mask();
        while self.cells[at].number != NONE {
            at = (at + 1) & self.mask();
        }
        self.cells[at] = cell;
    }

    fn grow(&mut self) {
        let larger = vec![EMPTY; self.cells.len() * 2].into_boxed_slice();
        let smaller = core::mem::replace(&mut self.cells, larger);
        for cell in smaller.iter().filter(|cell| cell.number != NONE) {
            self.settle(*cell);
        }
    }

    /// Puts another number in the place of one that is there.
    pub(super) fn replace(&mut self, hash: u64, number: u32, by: u32) {
        if let Some(at) = self.position(hash, |other| other == number) {
            self.cells[at].number = by;
        }
    }

    /// Removes a number, if it is there.
    pub(super) fn remove(&mut self, hash: u64, number: u32) {
        let Some(mut hole) = self.position(hash, |other| other == number) else {
            return;
        };
        self.count -= 1;
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask();
            let cell = self.cells[at];
            if cell.number == NONE {
                break;
            }
            // A cell may move back to the hole if that is no further back than where it would like to be.
            let wanted = cell.mark as usize & self.mask();
            let [from_wanted, from_hole] =
                [wanted, hole].map(|from| at.wrapping_sub(from) & self.mask());
            if from_wanted >= from_hole {
                self.cells[hole] = cell;
                hole = at;
            }
        }
        self.cells[hole] = EMPTY;
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_agrees_with_a_map(steps in prop::collection::vec((0_u32..200, any::<bool>()), 0..2000)) {
            let mut index = Index::new();
            let mut map = BTreeMap::new();
            // Few marks, so that runs are long and wrap around.
            let hash = |number: u32| u64::from(number % 23) << 32 | u64::from(number % 23 == 7) << 63;
            for (number, add) in steps {
                let known = map.contains_key(&number);
                prop_assert_eq!(index.find(hash(number), |other| other == number), known.then_some(number));
                if add && !known {
                    index.insert(hash(number), number);
                    map.insert(number, ());
                } else if !add {
                    index.remove(hash(number), number);
                    map.remove(&number);
                }
                prop_assert_eq!(index.is_empty(), map.is_empty());
            }
            for number in 0..200 {
                let found = index.find(hash(number), |other| other == number);
                prop_assert_eq!(found.is_some(), map.contains_key(&number));
            }
        }
    }
}
