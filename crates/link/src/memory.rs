//! A link between two ends in one process: for tests, and for hosts that live together.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};

use crate::{Capabilities, FRAME_CAPACITY, Link, require_header, total};

/// One end of a memory link; what it sends, the other end receives, in order.
///
/// A full queue refuses a frame ([`WouldBlock`](io::ErrorKind::WouldBlock)); when the other end is gone, sending fails
/// with [`BrokenPipe`](io::ErrorKind::BrokenPipe), and so does receiving once all that was sent has been received.
#[derive(Debug)]
pub struct End {
    inbox: Queue,
    outbox: Queue,
    capacity: usize,
    mtu: u16,
    capabilities: Capabilities,
}

type Queue = Arc<Mutex<VecDeque<Bytes>>>;

/// Two ends of a link that holds up to `capacity` frames each way.
///
/// # Panics
///
/// If `capacity` is 0: nothing could ever pass.
pub fn pair(capacity: usize, mtu: u16, capabilities: Capabilities) -> (End, End) {
    assert!(capacity > 0, "a memory link needs room for one frame");
    let (left, right) = (Queue::default(), Queue::default());
    let end = |inbox: &Queue, outbox: &Queue| End {
        inbox: Arc::clone(inbox),
        outbox: Arc::clone(outbox),
        capacity,
        mtu,
        capabilities,
    };
    (end(&left, &right), end(&right, &left))
}

impl Link for End {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn queue_bytes(&self) -> usize {
        self.capacity * usize::from(self.mtu)
    }

    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let next = lock(&self.inbox).pop_front();
        let Some(frame) = next else {
            return Err(if is_alone(&self.inbox) {
                io::ErrorKind::BrokenPipe
            } else {
                io::ErrorKind::WouldBlock
            }
            .into());
        };
        let count = frame.len().min(FRAME_CAPACITY);
        buffer.reserve(FRAME_CAPACITY);
        buffer.extend_from_slice(&frame[..count]);
        Ok(count)
    }

    fn send(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        require_header(parts)?;
        if is_alone(&self.outbox) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut queue = lock(&self.outbox);
        if queue.len() >= self.capacity {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        queue.push_back(gather(parts).freeze());
        Ok(())
    }
}

/// The frame that `parts` describe, in one piece.
pub(crate) fn gather(parts: &[IoSlice<'_>]) -> BytesMut {
    let mut frame = BytesMut::with_capacity(total(parts));
    for part in parts {
        frame.extend_from_slice(part);
    }
    frame
}

/// Whether the other end, which shares the queue, is gone.
fn is_alone(queue: &Queue) -> bool {
    Arc::strong_count(queue) == 1
}

fn lock(queue: &Queue) -> std::sync::MutexGuard<'_, VecDeque<Bytes>> {
    // A frame is in the queue or it isn't: a panic elsewhere can't have left one half-way.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HEADER;

    fn send(end: &mut End, byte: u8) -> io::Result<()> {
        end.send(&[IoSlice::new(&[byte; HEADER]), IoSlice::new(&[byte])])
    }

    fn receive(end: &mut End) -> Result<u8, io::ErrorKind> {
        let mut buffer = BytesMut::new();
        let count = end.receive(&mut buffer).map_err(|error| error.kind())?;
        assert_eq!(buffer.len(), count);
        Ok(buffer[HEADER])
    }

    #[test]
    fn frames_arrive_whole_and_in_order_both_ways() {
        let (mut here, mut there) = pair(4, 1500, Capabilities::NONE);
        for byte in 1..=3 {
            send(&mut here, byte).unwrap();
        }
        send(&mut there, 9).unwrap();
        assert_eq!(
            [
                receive(&mut there),
                receive(&mut there),
                receive(&mut there)
            ],
            [Ok(1), Ok(2), Ok(3)]
        );
        assert_eq!(receive(&mut there), Err(io::ErrorKind::WouldBlock));
        assert_eq!(receive(&mut here), Ok(9));
    }

    #[test]
    fn a_full_queue_refuses_until_it_is_read() {
        let (mut here, mut there) = pair(2, 1500, Capabilities::NONE);
        send(&mut here, 1).unwrap();
        send(&mut here, 2).unwrap();
        assert_eq!(
            send(&mut here, 3).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        assert_eq!(receive(&mut there), Ok(1));
        send(&mut here, 3).unwrap();
    }

    #[test]
    fn what_was_sent_outlives_its_sender() {
        let (mut here, mut there) = pair(2, 1500, Capabilities::NONE);
        send(&mut here, 1).unwrap();
        drop(here);
        assert_eq!(receive(&mut there), Ok(1));
        assert_eq!(receive(&mut there), Err(io::ErrorKind::BrokenPipe));
        assert_eq!(
            send(&mut there, 1).unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }

    #[test]
    fn a_frame_without_its_header_is_refused() {
        let (mut here, _there) = pair(2, 1500, Capabilities::NONE);
        for parts in [
            &[][..],
            &[IoSlice::new(&[0; HEADER - 1]), IoSlice::new(&[0; 60])],
        ] {
            assert_eq!(
                here.send(parts).unwrap_err().kind(),
                io::ErrorKind::InvalidInput
            );
        }
    }
}
