//! A link made worse on purpose: loss, delay, jitter, reordering, duplication, corruption, a slow line.
//!
//! # Theory of operation
//!
//! What is sent is not passed on at once but given a time at which it leaves, and kept in a queue ordered by that time.
//! The caller says what time it is ([`Impaired::advance`]), and asks when there is something to do
//! ([`Impaired::deadline`]); nothing here reads a clock or sleeps. All chance comes from one generator with a seed,
//! asked the same questions in the same order for every frame: the same seed, frames and times give the same
//! outcome, bit by bit. What is received passes untouched: to impair both ways, impair both ends.

mod dice;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use dice::Dice;

use crate::memory::gather;
use crate::{AsyncLink, Capabilities, HEADER, Link, require_header};

/// What goes wrong on the way. The default is a perfect line.
///
/// Probabilities are per frame, from 0 (never) to 1 (always), and independent of each other.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Impairment {
    /// Probability that a frame vanishes.
    pub loss: f64,
    /// Probability that a frame arrives twice.
    pub duplication: f64,
    /// Probability that one bit of a frame, anywhere behind the virtio header, is flipped.
    ///
    /// A link that corrupts announces no [`Capabilities`], since only a complete checksum can tell.
    pub corruption: f64,
    /// Probability that a frame is held back by up to [`reorder_by`](Self::reorder_by), and overtaken by later ones.
    pub reorder: f64,
    /// The longest time that a reordered frame is held back.
    pub reorder_by: Duration,
    /// Time that every frame takes.
    pub delay: Duration,
    /// The most that a frame takes in addition, evenly distributed; it keeps the frames' order.
    pub jitter: Duration,
    /// The line's speed.
    pub rate: Option<Rate>,
}

/// A line's speed and the queue in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Speed in bits per second; the virtio header doesn't count.
    pub bits_per_second: NonZeroU64,
    /// How long a frame may have to wait for the line; one that would wait longer is dropped.
    pub queue: Duration,
}

/// What has become of the frames that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Frames handed to [`Link::send`].
    pub sent: u64,
    /// Frames that the inner link took, duplicates included.
    pub passed: u64,
    /// Frames dropped by [`Impairment::loss`].
    pub lost: u64,
    /// Frames sent twice.
    pub duplicated: u64,
    /// Frames with a flipped bit.
    pub corrupted: u64,
    /// Frames held back.
    pub reordered: u64,
    /// Frames dropped in front of a full line, or by an inner link without room.
    pub overflowed: u64,
}

/// A link whose outgoing frames suffer an [`Impairment`].
///
/// Time is a [`Duration`] since any moment that the caller chose, and never goes backwards.
///
/// ```
/// use std::io::{self, IoSlice};
/// use std::time::Duration;
/// use wharf_link::{Capabilities, HEADER, Impaired, Impairment, Link, Slots, memory};
///
/// # fn main() -> io::Result<()> {
/// let (here, mut there) = memory::pair(8, 1500, Capabilities::ALL);
/// let slow = Impairment { delay: Duration::from_millis(20), ..Impairment::default() };
/// let mut here = Impaired::new(here, slow, 42);
///
/// here.send(&[IoSlice::new(&[0; HEADER + 60])])?;
/// assert_eq!(here.deadline(), Some(Duration::from_millis(20)));
/// assert!(Slots::default().receive(&mut there).is_err());
///
/// here.advance(Duration::from_millis(20))?;
/// assert!(Slots::default().receive(&mut there).is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Impaired<L> {
    inner: L,
    impairment: Impairment,
    dice: Dice,
    now: Duration,
    /// When the line is free again.
    line_free: Duration,
    /// When the last frame leaves that wasn't held back.
    last_due: Duration,
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// Numbers the frames, so that those due at the same time keep their order.
    serial: u64,
    tally: Tally,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    due: Duration,
    serial: u64,
    frame: Bytes,
}

impl<L: Link> Impaired<L> {
    /// Impairs what is sent on `inner`; chance begins at `seed`, time at zero.
    pub fn new(inner: L, impairment: Impairment, seed: u64) -> Self {
        Self {
            inner,
            impairment,
            dice: Dice::new(seed),
            now: Duration::ZERO,
            line_free: Duration::ZERO,
            last_due: Duration::ZERO,
            waiting: BinaryHeap::new(),
            serial: 0,
            tally: Tally::default(),
        }
    }

    /// When the next frame leaves: the time to call [`advance`](Self::advance) with.
    pub fn deadline(&self) -> Option<Duration> {
        self.waiting.peek().map(|Reverse(first)| first.due)
    }

    /// It is `now`: passes on, in order, what has become due. An earlier time than the last one changes nothing.
    ///
    /// # Errors
    ///
    /// Those of the inner link's [`send`](Link::send), but for a lack of room, which drops the frame.
    pub fn advance(&mut self, now: Duration) -> io::Result<()> {
        self.now = self.now.max(now);
        while self.deadline().is_some_and(|due| due <= self.now) {
            let Some(Reverse(first)) = self.waiting.pop() else {
                break;
            };
            match self.inner.send(&[IoSlice::new(&first.frame)]) {
                Ok(()) => self.tally.passed += 1,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.tally.overflowed += 1
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What has become of the frames so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Changes what goes wrong from the next frame on.
    pub fn impair(&mut self, impairment: Impairment) {
        self.impairment = impairment;
    }

    /// When the line has carried a frame of `length` bytes, or None if it would wait too long for the line.
    fn carried(&mut self, length: usize) -> Option<Duration> {
        let Some(Rate {
            bits_per_second,
            queue,
        }) = self.impairment.rate
        else {
            return Some(self.now);
        };
        let start = self.line_free.max(self.now);
        if start - self.now > queue {
            return None;
        }
        let nanos = length as u128 * 8 * 1_000_000_000 / u128::from(bits_per_second.get());
        self.line_free = start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Some(self.line_free)
    }

    /// When a frame leaves that the line has carried at `carried`.
    fn due(&mut self, carried: Duration) -> Duration {
        let jitter = self.dice.up_to(self.impairment.jitter);
        let arrival = carried
            .saturating_add(self.impairment.delay)
            .saturating_add(jitter);
        let held_back = self.dice.up_to(self.impairment.reorder_by);
        if self.dice.says(self.impairment.reorder) {
            self.tally.reordered += 1;
            return arrival.saturating_add(held_back);
        }
        self.last_due = self.last_due.max(arrival);
        self.last_due
    }

    fn corrupt(&mut self, frame: &mut BytesMut) {
        let bit = self.dice.below((frame.len() - HEADER) as u64 * 8);
        if self.dice.says(self.impairment.corruption) && frame.len() > HEADER {
            frame[HEADER + (bit / 8) as usize] ^= 1 << (bit % 8);
            self.tally.corrupted += 1;
        }
    }

    fn enqueue(&mut self, due: Duration, frame: Bytes) {
        self.waiting.push(Reverse(Waiting {
            due,
            serial: self.serial,
            frame,
        }));
        self.serial += 1;
    }
}

impl<L: Link> Link for Impaired<L> {
    fn capabilities(&self) -> Capabilities {
        if self.impairment.corruption > 0.0 {
            Capabilities::NONE
        } else {
            self.inner.capabilities()
        }
    }

    fn mtu(&self) -> u16 {
        self.inner.mtu()
    }

    fn queue_bytes(&self) -> usize {
        self.inner.queue_bytes()
    }

    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.inner.receive(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }

    /// Takes the frame, whatever becomes of it. Without delay it is passed on at once.
    fn send(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        require_header(parts)?;
        self.tally.sent += 1;
        let mut frame = gather(parts);
        let lost = self.dice.says(self.impairment.loss);
        let duplicated = self.dice.says(self.impairment.duplication);
        self.corrupt(&mut frame);
        let carried = self.carried(frame.len() - HEADER);
        match carried {
            None => self.tally.overflowed += 1,
            Some(_) if lost => self.tally.lost += 1,
            Some(carried) => {
                let frame = frame.freeze();
                if duplicated {
                    self.tally.duplicated += 1;
                    let due = self.due(carried);
                    self.enqueue(due, frame.clone());
                }
                let due = self.due(carried);
                self.enqueue(due, frame);
            }
        }
        self.advance(self.now)
    }
}

/// The task is told by [`deadline`](AsyncLink::deadline) when held-back frames leave.
impl<L: AsyncLink> AsyncLink for Impaired<L> {
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_receive(cx, buffer)
    }

    fn poll_send(&mut self, _cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<()>> {
        Poll::Ready(self.send(parts))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_flush(cx)
    }

    fn deadline(&self) -> Option<Duration> {
        Self::deadline(self)
    }

    fn advance(&mut self, now: Duration) -> io::Result<()> {
        Self::advance(self, now)
    }
}

impl<L: AsFd> AsFd for Impaired<L> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

#[cfg(test)]
mod tests;
