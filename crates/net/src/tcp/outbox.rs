//! What the program wrote and the peer has not acknowledged yet, sliced into segments without copying.
//!
//! Large writes are kept as they are, and so is one for which nothing waits; small ones are gathered, so that a thousand one-octet
//! writes become two slices. Finding a sequence number is a binary search.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::wire::tcp::SeqNum;

/// Writes up to this many octets are copied together.
const GATHER: usize = 2048;

/// Capacity of a buffer for gathering.
const GATHERED: usize = 16 << 10;

/// Slices in one segment at most; a link writes them with one system call.
const MAX_SLICES: usize = 64;

/// The scatter list of a segment's text.
pub(super) type Slices = crate::frame::Body;

/// The send queue: octets `start..end` of sequence space.
#[derive(Debug)]
pub(super) struct Outbox {
    chunks: VecDeque<(SeqNum, Bytes)>,
    /// Small writes not yet sealed into a chunk; the last octets of the queue.
    tail: BytesMut,
    start: SeqNum,
    end: SeqNum,
}

impl Outbox {
    /// An empty queue whose first octet will be `start`.
    pub(super) fn new(start: SeqNum) -> Self {
        Self {
            chunks: VecDeque::new(),
            tail: BytesMut::new(),
            start,
            end: start,
        }
    }

    /// The sequence number after the last octet.
    pub(super) fn end(&self) -> SeqNum {
        self.end
    }

    /// Octets held.
    pub(super) fn len(&self) -> usize {
        self.end.since(self.start)
    }

    /// Appends what the program wrote.
    pub(super) fn push(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let len = data.len();
        if len > GATHER || self.len() == 0 {
            self.seal();
            self.chunks.push_back((self.end, data));
        } else {
            self.gather(&data);
        }
        self.end += len;
    }

    fn gather(&mut self, data: &[u8]) {
        if self.tail.capacity() - self.tail.len() < data.len() {
            self.seal();
            self.tail = BytesMut::with_capacity(GATHERED);
        }
        self.tail.extend_from_slice(data);
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            let sealed = self.tail.split().freeze();
            self.chunks
                .push_back((self.end.back(sealed.len() as u32), sealed));
        }
    }

    /// Drops everything before `to`: it is acknowledged.
    pub(super) fn release(&mut self, to: SeqNum) {
        let to = to.min(self.end);
        if !to.after(self.start) {
            return;
        }
        self.start = to;
        if to.after(self.end.back(self.tail.len() as u32)) {
            self.seal();
        }
        while self
            .chunks
            .front()
            .is_some_and(|(start, chunk)| !(*start + chunk.len()).after(to))
        {
            self.chunks.pop_front();
        }
    }

    /// Up to `len` octets from `from` on, fewer if they are cut up too finely or the queue ends.
    pub(super) fn slices(&mut self, from: SeqNum, len: usize) -> Slices {
        let mut slices = Slices::new();
        let end = (from + len).min(self.end);
        if end.after(self.end.back(self.tail.len() as u32)) {
            self.seal();
        }
        let first = self
            .chunks
            .partition_point(|(start, chunk)| !(*start + chunk.len()).after(from));
        for (start, chunk) in self.chunks.range(first..).take(MAX_SLICES) {
            if !start.before(end) {
                break;
            }
            slices.push(chunk.slice(from.since(*start)..end.since(*start).min(chunk.len())));
        }
        slices
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn octets(from: usize, len: usize) -> Vec<u8> {
        (from..from + len)
            .map(|at| (at * 7 + (at >> 8)) as u8)
            .collect()
    }

    proptest! {
        #[test]
        fn every_slice_is_the_stream(
            isn: u32,
            writes in proptest::collection::vec(0usize..5000, 1..30),
            cuts in proptest::collection::vec((0usize..100_000, 0usize..70_000), 1..20),
        ) {
            let start = SeqNum::new(isn);
            let mut outbox = Outbox::new(start);
            let (mut written, mut released) = (0, 0);
            for (at, write) in writes.iter().enumerate() {
                outbox.push(octets(written, *write).into());
                written += write;
                let (from, len) = cuts[at % cuts.len()];
                let from = released + from % (written - released + 1);
                let got = outbox.slices(start + from, len).concat();
                prop_assert_eq!(got.len(), len.min(written - from));
                prop_assert_eq!(&got, &octets(from, got.len()));
                if at % 3 == 2 {
                    released = from;
                    outbox.release(start + from);
                    prop_assert_eq!(outbox.len(), written - released);
                }
            }
            outbox.release(start + written + 1); // the FIN's number lies beyond the queue
            prop_assert_eq!(outbox.len(), 0);
            prop_assert!(outbox.chunks.is_empty());
        }
    }

    #[test]
    fn small_writes_are_gathered() {
        let mut outbox = Outbox::new(SeqNum::new(0));
        for at in 0..10_000 {
            outbox.push(octets(at, 1).into());
        }
        let slices = outbox.slices(SeqNum::new(0), 10_000);
        assert!(slices.len() <= 3, "{} slices", slices.len());
        assert_eq!(slices.concat(), octets(0, 10_000));
    }
}
