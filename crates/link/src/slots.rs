//! The buffers that a driver receives into, used again and again.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};

use crate::{AsyncLink, FRAME_CAPACITY, Link};

/// How many full frames are worth receiving per wake-up: 8 × 64 KiB stay within one core's cache, and more gains nothing.
pub const BATCH: usize = 8;

/// Buffers with room for [`BATCH`] frames of [`FRAME_CAPACITY`] bytes, or for many that are small.
///
/// Frames that were let go of before the next one is received give their memory back to it: as long as the receiver
/// consumes or copies what it gets, nothing is allocated, nothing is ever zeroed, and small frames stay in the same few
/// cache lines. A frame that is kept longer keeps its memory, and others are put beside it while there is room.
#[derive(Debug)]
pub struct Slots {
    slots: [BytesMut; BATCH / FRAMES],
    current: usize,
}

/// Full frames in a buffer.
const FRAMES: usize = 2;
/// Bytes of a buffer.
const CAPACITY: usize = FRAMES * FRAME_CAPACITY;

impl Slots {
    /// Receives one frame from `link`.
    ///
    /// # Errors
    ///
    /// Those of [`Link::receive`].
    pub fn receive(&mut self, link: &mut (impl Link + ?Sized)) -> io::Result<Bytes> {
        let slot = self.with_room();
        link.receive(slot)?;
        Ok(slot.split().freeze())
    }

    /// The same for a task that waits.
    pub fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut (impl AsyncLink + ?Sized),
    ) -> Poll<io::Result<Bytes>> {
        let slot = self.with_room();
        ready!(link.poll_receive(cx, slot))?;
        Poll::Ready(Ok(slot.split().freeze()))
    }

    /// A buffer with room for a frame: all of it where nothing in it is kept.
    fn with_room(&mut self) -> &mut BytesMut {
        let has_room =
            |slot: &mut BytesMut| slot.try_reclaim(CAPACITY) || slot.capacity() >= FRAME_CAPACITY;
        if !has_room(&mut self.slots[self.current]) {
            self.current = (self.current + 1) % self.slots.len();
            let slot = &mut self.slots[self.current];
            if !has_room(slot) {
                *slot = BytesMut::with_capacity(CAPACITY);
            }
        }
        &mut self.slots[self.current]
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            slots: std::array::from_fn(|_| BytesMut::with_capacity(CAPACITY)),
            current: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::IoSlice;

    use super::*;
    use crate::{Capabilities, HEADER, memory};

    #[test]
    fn a_released_frame_lends_its_memory_to_the_next() {
        let (mut here, mut there) = memory::pair(1, 1500, Capabilities::ALL);
        let mut slots = Slots::default();
        let mut places = HashSet::new();
        for turn in 0..10 * BATCH {
            here.send(&[IoSlice::new(&vec![0; HEADER + turn])]).unwrap();
            let frame = slots.receive(&mut there).unwrap();
            assert_eq!(frame.len(), HEADER + turn);
            places.insert(frame.as_ptr() as usize);
        }
        assert_eq!(places.len(), 1);
    }

    #[test]
    fn a_kept_frame_keeps_its_content() {
        let (mut here, mut there) = memory::pair(1, 1500, Capabilities::ALL);
        let mut slots = Slots::default();
        let mut kept = Vec::new();
        for turn in 0..3 * BATCH {
            here.send(&[IoSlice::new(&[turn as u8; 100])]).unwrap();
            kept.push(slots.receive(&mut there).unwrap());
        }
        for (turn, frame) in kept.iter().enumerate() {
            assert_eq!(frame[..], [turn as u8; 100]);
        }
    }
}
