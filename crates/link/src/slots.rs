//! The buffers that a driver receives into, used again and again.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};

use crate::{AsyncLink, FRAME_CAPACITY, Link};

/// How many frames are worth receiving per wake-up: 8 × 64 KiB stay within one core's cache, and more gains nothing.
pub const BATCH: usize = 8;

/// [`BATCH`] buffers of [`FRAME_CAPACITY`] bytes, filled in turn.
///
/// A frame that was let go of before its buffer's next turn gives its memory back to it: as long as the receiver
/// consumes or copies what it gets, nothing is allocated, and nothing is ever zeroed. A frame that is kept longer
/// keeps its memory, and its buffer gets a new one.
#[derive(Debug)]
pub struct Slots {
    slots: [BytesMut; BATCH],
    next: usize,
}

impl Slots {
    /// Receives one frame from `link`.
    ///
    /// # Errors
    ///
    /// Those of [`Link::receive`].
    pub fn receive(&mut self, link: &mut (impl Link + ?Sized)) -> io::Result<Bytes> {
        link.receive(&mut self.slots[self.next])?;
        Ok(self.filled())
    }

    /// The same for a task that waits.
    pub fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut (impl AsyncLink + ?Sized),
    ) -> Poll<io::Result<Bytes>> {
        ready!(link.poll_receive(cx, &mut self.slots[self.next]))?;
        Poll::Ready(Ok(self.filled()))
    }

    /// The frame that was just received, and on to the next buffer.
    fn filled(&mut self) -> Bytes {
        let slot = &mut self.slots[self.next];
        self.next = (self.next + 1) % BATCH;
        slot.split().freeze()
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            slots: std::array::from_fn(|_| BytesMut::with_capacity(FRAME_CAPACITY)),
            next: 0,
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
        assert_eq!(places.len(), BATCH);
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
