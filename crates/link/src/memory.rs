//! A link between two ends in one process: for tests, and for hosts that live together.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use crate::{AsyncLink, Capabilities, FRAME_CAPACITY, Link, require_header, total};

/// One end of a memory link; what it sends, the other end receives, in order.
///
/// A full queue refuses a frame ([`WouldBlock`](io::ErrorKind::WouldBlock)); when the other end is gone, sending fails
/// with [`BrokenPipe`](io::ErrorKind::BrokenPipe), and so does receiving once all that was sent has been received.
///
/// It has no descriptor: whoever waits for it does so by [`AsyncLink`], in any executor.
#[derive(Debug)]
pub struct End {
    inbox: Arc<Mutex<Queue>>,
    outbox: Arc<Mutex<Queue>>,
    capacity: usize,
    mtu: u16,
    capabilities: Capabilities,
}

/// One direction.
#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    /// Whether one of its two ends is gone.
    closed: bool,
    /// Who waits for a frame.
    receiver: Option<Waker>,
    /// Who waits for room.
    sender: Option<Waker>,
}

/// Two ends of a link that holds up to `capacity` frames each way.
///
/// # Panics
///
/// If `capacity` is 0: nothing could ever pass.
pub fn pair(capacity: usize, mtu: u16, capabilities: Capabilities) -> (End, End) {
    assert!(capacity > 0, "a memory link needs room for one frame");
    let (left, right) = (Arc::default(), Arc::default());
    let end = |inbox: &Arc<_>, outbox: &Arc<_>| End {
        inbox: Arc::clone(inbox),
        outbox: Arc::clone(outbox),
        capacity,
        mtu,
        capabilities,
    };
    (end(&left, &right), end(&right, &left))
}

impl End {
    /// The next frame, or why there is none; `waker` is woken when that has changed.
    fn take(&self, waker: Option<&Waker>) -> io::Result<Bytes> {
        let mut queue = lock(&self.inbox);
        let Some(frame) = queue.frames.pop_front() else {
            if queue.closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            remember(&mut queue.receiver, waker);
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let sender = queue.sender.take();
        drop(queue);
        wake(sender);
        Ok(frame)
    }

    /// Puts a frame into the other end's queue; `waker` is woken when there is room, if there is none.
    fn put(&self, parts: &[IoSlice<'_>], waker: Option<&Waker>) -> io::Result<()> {
        require_header(parts)?;
        let mut queue = lock(&self.outbox);
        if queue.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if queue.frames.len() >= self.capacity {
            remember(&mut queue.sender, waker);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        queue.frames.push_back(gather(parts).freeze());
        let receiver = queue.receiver.take();
        drop(queue);
        wake(receiver);
        Ok(())
    }
}

impl Link for End {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn queue_bytes(&self) -> usize {
        let frame = if self.capabilities.tcp_segment {
            FULL_FRAME
        } else {
            usize::from(self.mtu)
        };
        self.capacity * frame
    }

    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.take(None).map(|frame| append(&frame, buffer))
    }

    fn send(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.put(parts, None)
    }
}

impl AsyncLink for End {
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        settled(self.take(Some(cx.waker()))).map_ok(|frame| append(&frame, buffer))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<()>> {
        settled(self.put(parts, Some(cx.waker())))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        for queue in [&self.inbox, &self.outbox] {
            let mut queue = lock(queue);
            queue.closed = true;
            let waiting = [queue.receiver.take(), queue.sender.take()];
            drop(queue);
            waiting.into_iter().for_each(wake);
        }
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

fn append(frame: &[u8], buffer: &mut BytesMut) -> usize {
    let count = frame.len().min(FRAME_CAPACITY);
    buffer.reserve(FRAME_CAPACITY);
    buffer.extend_from_slice(&frame[..count]);
    count
}

/// What would block is pending: its waker is known.
fn settled<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

fn remember(place: &mut Option<Waker>, waker: Option<&Waker>) {
    match (place, waker) {
        (_, None) => {}
        (Some(known), Some(waker)) => known.clone_from(waker),
        (place, Some(waker)) => *place = Some(waker.clone()),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    // A frame is in the queue or it isn't: a panic elsewhere can't have left one half-way.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The payload of a full train of segments.
const FULL_FRAME: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

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

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_waits_is_woken_by_a_frame_by_room_and_by_the_end() {
        let bell = Arc::new(Bell::default());
        let rings = || bell.0.load(Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&bell));
        let cx = &mut Context::from_waker(&waker);
        let (mut here, mut there) = pair(1, 1500, Capabilities::NONE);
        let mut buffer = BytesMut::new();

        assert!(there.poll_receive(cx, &mut buffer).is_pending());
        send(&mut here, 1).unwrap();
        assert_eq!(rings(), 1);

        let frame = [2; HEADER];
        assert!(here.poll_send(cx, &[IoSlice::new(&frame)]).is_pending());
        assert!(matches!(
            there.poll_receive(cx, &mut buffer),
            Poll::Ready(Ok(13))
        ));
        assert_eq!(rings(), 2);
        assert!(here.poll_send(cx, &[IoSlice::new(&frame)]).is_ready());

        assert!(there.poll_receive(cx, &mut buffer).is_ready());
        assert!(there.poll_receive(cx, &mut buffer).is_pending());
        drop(here);
        assert_eq!(rings(), 3);
        assert!(matches!(
            there.poll_receive(cx, &mut buffer),
            Poll::Ready(Err(_))
        ));
    }
}
