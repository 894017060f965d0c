//! Octets that came and were not read yet, in order.
//!
//! Large payloads stay in the buffer of their frame; small ones are copied together (copybreak), so that a few octets do not pin
//! a frame's buffer of 64 KiB, nor cost more in bookkeeping than in content. Buffers for copies are filled again once they are read; those
//! that nobody has needed for a while are [given back](Inbox::give_back).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Buf, Bytes};

/// Payloads up to this many octets are copied.
const COPYBREAK: usize = 2048;

/// The largest buffer for copies.
const GATHERED: usize = 16 << 10;

/// A buffer of up to so many octets stays when all that was in it is read: who asks and answers by small messages needs it at once
/// again.
const SPARE: usize = 256;

/// What one chunk costs beside its octets, roughly.
const CHUNK_COST: usize = 96;

/// A queue of received octets.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    chunks: VecDeque<Chunk>,
    len: usize,
    /// Nothing for most connections, and one word.
    spares: Option<Box<Spares>>,
}

/// Buffers of [`GATHERED`] octets that were read: with those in use, never more than were in use at once.
#[derive(Debug, Default)]
struct Spares {
    buffers: Vec<Vec<u8>>,
    /// One of them was needed since somebody last asked.
    needed: bool,
}

#[derive(Debug)]
enum Chunk {
    Whole(Bytes),
    Gathered { octets: Vec<u8>, read: usize },
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Gathered { octets, read } => &octets[*read..],
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Whole(bytes) => bytes.advance(count),
            Self::Gathered { read, .. } => *read += count,
        }
    }

    /// Empties a small buffer, to be filled again; whether it is one.
    fn recycle(&mut self) -> bool {
        match self {
            Self::Gathered { octets, read } if octets.capacity() <= SPARE => {
                octets.clear();
                *read = 0;
                true
            }
            _ => false,
        }
    }
}

impl Inbox {
    /// Octets held.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Memory held, roughly: what a bound has to count.
    pub(super) fn cost(&self) -> usize {
        self.len + self.chunks.len() * CHUNK_COST
    }

    /// Appends a payload.
    pub(super) fn push(&mut self, payload: Bytes) {
        if payload.len() > COPYBREAK {
            self.len += payload.len();
            self.chunks.push_back(Chunk::Whole(payload));
        } else if !payload.is_empty() {
            self.gather(&payload);
        }
    }

    fn gather(&mut self, payload: &[u8]) {
        let wanted = self.len.clamp(payload.len(), GATHERED.max(payload.len()));
        self.len += payload.len();
        if let Some(Chunk::Gathered { octets, .. }) = self.chunks.back_mut()
            && octets.capacity() - octets.len() >= payload.len()
        {
            octets.extend_from_slice(payload);
            return;
        }
        let mut octets = self.spare().unwrap_or_else(|| Vec::with_capacity(wanted));
        octets.extend_from_slice(payload);
        self.chunks.push_back(Chunk::Gathered { octets, read: 0 });
    }

    fn spare(&mut self) -> Option<Vec<u8>> {
        let spares = self.spares.as_mut()?;
        let spare = spares.buffers.pop()?;
        spares.needed = true;
        Some(spare)
    }

    /// Whether there are buffers to be given back in time.
    pub(super) fn has_spares(&self) -> bool {
        self.spares.is_some()
    }

    /// Lets go of spare buffers, unless one was needed since this was last called.
    pub(super) fn give_back(&mut self) {
        let spares = self.spares.as_mut();
        if !spares.is_some_and(|spares| core::mem::take(&mut spares.needed)) {
            self.forget_spares();
        }
    }

    /// Lets go of spare buffers.
    pub(super) fn forget_spares(&mut self) {
        self.spares = None;
    }

    /// Puts a payload in front of everything.
    pub(super) fn prepend(&mut self, payload: Bytes) {
        self.len += payload.len();
        let chunk = if payload.len() > COPYBREAK {
            Chunk::Whole(payload)
        } else {
            Chunk::Gathered {
                octets: payload.to_vec(),
                read: 0,
            }
        };
        self.chunks.push_front(chunk);
    }

    /// Moves all of `other` to the end of this.
    pub(super) fn append(&mut self, other: &mut Self) {
        self.len += core::mem::take(&mut other.len);
        self.chunks.append(&mut other.chunks);
    }

    /// The octets, in order.
    pub(super) fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let chunks = self.chunks.iter().map(Chunk::as_slice);
        chunks.filter(|chunk| !chunk.is_empty())
    }

    /// Drops the first `count` octets, or all; returns how many.
    pub(super) fn consume(&mut self, count: usize) -> usize {
        let mut left = count.min(self.len);
        let consumed = left;
        self.len -= consumed;
        loop {
            let last = self.chunks.len() == 1;
            let Some(front) = self.chunks.front_mut() else {
                break;
            };
            let len = front.as_slice().len();
            if len > left {
                front.advance(left);
                break;
            }
            left -= len;
            if last && front.recycle() {
                break;
            }
            if let Some(Chunk::Gathered { mut octets, .. }) = self.chunks.pop_front()
                && octets.capacity() == GATHERED
            {
                octets.clear();
                self.spares.get_or_insert_default().buffers.push(octets);
            }
        }
        consumed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn sizes_around_the_copybreak_come_out_as_they_went_in() {
        let mut inbox = Inbox::default();
        let mut expected = Vec::new();
        for (at, len) in [1, 2048, 2049, 0, 7, 65_000, 1, 1, 1, 20_000, 3]
            .into_iter()
            .enumerate()
        {
            let payload = vec![at as u8; len];
            expected.extend_from_slice(&payload);
            inbox.push(payload.into());
        }
        assert_eq!(inbox.len(), expected.len());
        for step in [0, 1, 5, 3000, 60_000, usize::MAX] {
            let dropped = inbox.consume(step);
            assert_eq!(dropped, step.min(expected.len()));
            expected.drain(..dropped);
            let got: Vec<u8> = inbox.chunks().flatten().copied().collect();
            assert!(got == expected, "after consuming {step}");
        }
        assert_eq!(inbox.chunks().count(), 0);
    }

    #[test]
    fn a_small_buffer_is_filled_again_once_it_is_read() {
        let mut inbox = Inbox::default();
        let mut places = Vec::new();
        for turn in 0..5 {
            inbox.push(Bytes::from(vec![turn; 64]));
            inbox.push(Bytes::from(vec![turn; 5000]));
            inbox.consume(5064);
            assert_eq!((inbox.len(), inbox.chunks().count()), (0, 0));
            inbox.push(Bytes::from(vec![turn; 64]));
            assert_eq!(inbox.chunks().next(), Some(&[turn; 64][..]));
            places.extend(inbox.chunks().map(<[u8]>::as_ptr));
            inbox.consume(64);
            inbox.push(Bytes::from(vec![turn; 32]));
            places.extend(inbox.chunks().map(<[u8]>::as_ptr));
            assert_eq!(places.pop(), places.last().copied());
            inbox.consume(32);
        }
    }

    #[test]
    fn large_buffers_are_filled_again_and_given_back_when_nobody_needs_them() {
        let mut inbox = Inbox::default();
        for turn in 0..10 {
            for _ in 0..100 {
                inbox.push(Bytes::from(vec![turn; 1460]));
            }
            inbox.consume(usize::MAX);
            let spares = inbox.spares.as_ref().map(|spares| spares.buffers.len());
            assert!(spares <= Some(10), "11 payloads fit into each");
        }
        assert!(inbox.has_spares());
        inbox.give_back();
        assert!(inbox.has_spares(), "they were needed");
        inbox.give_back();
        assert!(!inbox.has_spares(), "and then they were not");
    }

    #[test]
    fn many_tiny_payloads_cost_little_more_than_their_octets() {
        let mut inbox = Inbox::default();
        for _ in 0..100_000 {
            inbox.push(Bytes::from_static(b"x"));
        }
        assert!(inbox.cost() < 110_000, "{}", inbox.cost());
    }
}
