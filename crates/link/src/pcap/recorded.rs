//! A link that writes down what passes.

use std::fmt;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::BytesMut;

use super::{Direction, writer};
use crate::memory::gather;
use crate::{AsyncLink, Capabilities, HEADER, Link};

/// Wraps a link, and writes each frame that passes it to `W`, in pcapng.
///
/// A frame is written as it was seen, for a reader that expects whole ones: a checksum that was left to the link's other side is
/// completed, and a train of segments that travels as one frame is one packet, with the segments' size in its comment.
///
/// Time is the time since `start`, as [`advance`](Self::advance) tells it; a [`Stack`] does. What passes before the first
/// call passes at `start`.
///
/// Recording never troubles the link: when writing fails, it ends, and [`finish`](Self::finish) says so. Every frame is written in
/// several small pieces at once, so a file wants a [`BufWriter`](io::BufWriter).
///
/// [`Stack`]: https://docs.rs/wharf-socket
///
/// ```
/// use std::io::{self, IoSlice};
/// use std::time::SystemTime;
/// use wharf_link::pcap::{Direction, Reader, Recorded};
/// use wharf_link::{Capabilities, HEADER, Link, memory};
///
/// # fn main() -> io::Result<()> {
/// let (here, _there) = memory::pair(8, 1500, Capabilities::ALL);
/// let mut here = Recorded::new(here, Vec::new(), SystemTime::now());
/// here.send(&[IoSlice::new(&[0; HEADER + 60])])?;
///
/// let (_link, file) = here.finish();
/// let packet = Reader::open(&file?[..])?.read()?.expect("one frame has passed");
/// assert_eq!((packet.direction, packet.frame.len()), (Some(Direction::Outbound), 60));
/// # Ok(())
/// # }
/// ```
pub struct Recorded<L, W> {
    inner: L,
    output: W,
    start: Duration,
    now: Duration,
    begun: bool,
    failure: Option<io::Error>,
}

impl<L, W: Write> Recorded<L, W> {
    /// Records what passes `inner` from now on, which is `start`.
    pub fn new(inner: L, output: W, start: SystemTime) -> Self {
        let start = start.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            inner,
            output,
            start: start.unwrap_or_default(),
            now: Duration::ZERO,
            begun: false,
            failure: None,
        }
    }

    /// It is `now`, since the start. An earlier time than the last one changes nothing.
    pub fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    /// Ends the recording: the link, and the output with all that was written to it.
    ///
    /// # Errors
    ///
    /// The output's, when writing failed, now or before.
    pub fn finish(mut self) -> (L, io::Result<W>) {
        let written = match self.failure {
            Some(error) => Err(error),
            None => self.output.flush(),
        };
        (self.inner, written.map(|()| self.output))
    }

    fn record(&mut self, direction: Direction, mut frame: BytesMut) {
        if self.failure.is_none()
            && let Err(error) = self.write(direction, &mut frame)
        {
            self.failure = Some(error);
        }
    }

    fn write(&mut self, direction: Direction, frame: &mut [u8]) -> io::Result<()> {
        if !self.begun {
            writer::begin(&mut self.output)?;
            self.begun = true;
        }
        complete(frame);
        let time = self.start.saturating_add(self.now);
        let (header, frame) = frame.split_at(HEADER);
        let comment = comment(header);
        writer::packet(
            &mut self.output,
            time,
            Some(direction),
            frame,
            comment.as_deref(),
        )
    }

    fn sent(&mut self, parts: &[IoSlice<'_>]) {
        self.record(Direction::Outbound, gather(parts));
    }

    /// The last `count` bytes of a buffer.
    fn received(&mut self, buffer: &BytesMut, count: usize) {
        let from = buffer.len() - count;
        self.record(Direction::Inbound, BytesMut::from(&buffer[from..]));
    }
}

/// Puts the checksum in place that a frame's virtio header says is missing (virtio 1.2 §5.1.6.2).
fn complete(frame: &mut [u8]) {
    let (header, frame) = frame.split_at_mut(HEADER);
    if header[0] & NEEDS_CHECKSUM == 0 {
        return;
    }
    let start = usize::from(field(header, 6));
    let offset = usize::from(field(header, 8));
    let Some(covered) = frame.get_mut(start..) else {
        return;
    };
    let mut sum = !fold(covered);
    if sum == 0 && offset == UDP_CHECKSUM {
        sum = u16::MAX; // RFC 768: zero means none
    }
    if let Some(place) = covered.get_mut(offset..offset + 2) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
}

/// What is to be said about a frame that stands for several.
fn comment(header: &[u8]) -> Option<String> {
    let size = field(header, 4);
    match header[1] & !ECN {
        0 => None,
        5 => Some(format!("a train of datagrams of {size} bytes")),
        _ => Some(format!("a train of segments of {size} bytes")),
    }
}

/// A field of a virtio header.
fn field(header: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([header[at], header[at + 1]])
}

/// The ones' complement sum of 16-bit words (RFC 1071).
pub(super) fn fold(bytes: &[u8]) -> u16 {
    let mut words = bytes.chunks_exact(2);
    let mut sum: u64 = words
        .by_ref()
        .map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    if let [last] = words.remainder() {
        sum += u64::from(*last) << 8;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

impl<L: Link, W: Write + Send> Link for Recorded<L, W> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn mtu(&self) -> u16 {
        self.inner.mtu()
    }

    fn queue_bytes(&self) -> usize {
        self.inner.queue_bytes()
    }

    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let count = self.inner.receive(buffer)?;
        self.received(buffer, count);
        Ok(count)
    }

    fn send(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.inner.send(parts)?;
        self.sent(parts);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<L: AsyncLink, W: Write + Send> AsyncLink for Recorded<L, W> {
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.inner.poll_receive(cx, buffer))?;
        self.received(buffer, count);
        Poll::Ready(Ok(count))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<()>> {
        ready!(self.inner.poll_send(cx, parts))?;
        self.sent(parts);
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_flush(cx)
    }

    fn deadline(&self) -> Option<Duration> {
        self.inner.deadline()
    }

    fn advance(&mut self, now: Duration) -> io::Result<()> {
        Self::advance(self, now);
        self.inner.advance(now)
    }
}

impl<L: AsFd, W> AsFd for Recorded<L, W> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl<L: fmt::Debug, W> fmt::Debug for Recorded<L, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded")
            .field("inner", &self.inner)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
const NEEDS_CHECKSUM: u8 = 1;
/// `VIRTIO_NET_HDR_GSO_ECN`, a flag beside the kind of train.
const ECN: u8 = 0x80;
/// Where UDP has its checksum.
const UDP_CHECKSUM: usize = 6;
