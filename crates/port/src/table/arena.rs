//! Numbered cells that never move: entries refer to each other by number instead of by pointer.
//!
//! Growth adds a chunk and copies nothing, so a million entries cost no pause and no doubled memory.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// The number that no cell has.
pub(super) const NONE: u32 = u32::MAX;

const CHUNK: usize = 1024;

/// A set of numbered values. A number is used again after its value was removed, its generation is not.
#[derive(Debug)]
pub(super) struct Arena<T> {
    chunks: Vec<Vec<Cell<T>>>,
    vacant: Vec<u32>,
    count: usize,
}

#[derive(Debug)]
#[repr(C)]
struct Cell<T> {
    generation: u32,
    content: Option<T>,
}

impl<T> Arena<T> {
    pub(super) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            vacant: Vec::new(),
            count: 0,
        }
    }

    /// How many values there are.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// One more than the highest number that was ever given out.
    pub(super) fn end(&self) -> u32 {
        (self.count + self.vacant.len()) as u32
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        let number = self.vacant.pop().unwrap_or_else(|| self.extend());
        self.cell_mut(number).expect("a vacant cell exists").content = Some(value);
        self.count += 1;
        number
    }

    pub(super) fn remove(&mut self, number: u32) -> T {
        let cell = self.cell_mut(number).expect("a value's cell exists");
        cell.generation = cell.generation.wrapping_add(1);
        let value = cell.content.take().expect("removed once only");
        self.vacant.push(number);
        self.count -= 1;
        value
    }

    pub(super) fn find(&self, number: u32) -> Option<&T> {
        self.cell(number)?.content.as_ref()
    }

    /// The generation of the value at this number: a removed value's is never seen again there.
    pub(super) fn generation(&self, number: u32) -> u32 {
        self.cell(number).map_or(0, |cell| cell.generation)
    }

    /// Whether the value of that generation is still there.
    pub(super) fn holds(&self, number: u32, generation: u32) -> bool {
        self.cell(number)
            .is_some_and(|cell| cell.generation == generation && cell.content.is_some())
    }

    fn extend(&mut self) -> u32 {
        let number = self.end();
        assert!(
            number != NONE,
            "fewer than 2^32 - 1 entries fit into memory"
        );
        if number as usize / CHUNK == self.chunks.len() {
            let first = self.chunks.is_empty();
            self.chunks
                .push(Vec::with_capacity(if first { 0 } else { CHUNK }));
        }
        self.chunks[number as usize / CHUNK].push(Cell {
            generation: 0,
            content: None,
        });
        number
    }

    fn cell(&self, number: u32) -> Option<&Cell<T>> {
        let number = number as usize;
        self.chunks.get(number / CHUNK)?.get(number % CHUNK)
    }

    fn cell_mut(&mut self, number: u32) -> Option<&mut Cell<T>> {
        let number = number as usize;
        self.chunks.get_mut(number / CHUNK)?.get_mut(number % CHUNK)
    }
}

impl<T> Index<u32> for Arena<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        self.find(number).expect("a number in use names a value")
    }
}

impl<T> IndexMut<u32> for Arena<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        self.cell_mut(number)
            .and_then(|cell| cell.content.as_mut())
            .expect("a number in use names a value")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_comes_back_with_another_generation() {
        let mut arena = Arena::new();
        let numbers: Vec<u32> = (0..3000).map(|value| arena.insert(value)).collect();
        assert_eq!((arena.len(), arena.end()), (3000, 3000));
        let old = arena.generation(numbers[7]);
        assert_eq!(arena.remove(numbers[7]), 7);
        assert!(!arena.holds(numbers[7], old));
        assert_eq!(arena.insert(9), numbers[7]);
        assert!(!arena.holds(numbers[7], old));
        assert!(arena.holds(numbers[7], arena.generation(numbers[7])));
        assert_eq!((arena.len(), arena.end(), arena[2999]), (3000, 3000, 2999));
    }
}
