//! A link on which a recording is heard again.

use std::io::{self, IoSlice, Read};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;

use super::{Direction, Packet, Reader};
use crate::{AsyncLink, Capabilities, FRAME_CAPACITY, HEADER, Link, require_header};

/// Plays a recording back: its frames are received, one after the other; what is sent goes nowhere.
///
/// Frames that the recorder itself had sent are left out, if the file says which these are. After the last one the link is silent,
/// as a cable with nobody at its other end; a file that is damaged ends the link with
/// [`InvalidData`](io::ErrorKind::InvalidData) or [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
///
/// ```no_run
/// use std::fs::File;
/// use std::io::BufReader;
/// use wharf_link::pcap::{Pace, Replay};
///
/// # fn main() -> std::io::Result<()> {
/// let file = BufReader::new(File::open("seen.pcapng")?);
/// let link = Replay::open(file, Pace::AsRecorded, 1500)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Replay<R> {
    reader: Reader<R>,
    pace: Pace,
    mtu: u16,
    /// The next frame, and the time at which it is heard, since the replay began.
    next: Option<(Duration, Vec<u8>)>,
    /// The first packet's time in the file.
    first: Option<Duration>,
    now: Duration,
}

/// When frames of a recording are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As soon as they are asked for.
    AtOnce,
    /// With the pauses between them that the recording has: the first at once.
    AsRecorded,
}

impl<R: Read> Replay<R> {
    /// Plays what `input` holds, pcap or pcapng. `mtu` is what [`Link::mtu`] will answer, in bytes.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::open`].
    pub fn open(input: R, pace: Pace, mtu: u16) -> io::Result<Self> {
        Ok(Self {
            reader: Reader::open(input)?,
            pace,
            mtu,
            next: None,
            first: None,
            now: Duration::ZERO,
        })
    }

    /// When the next frame is heard, if one is known that isn't yet.
    pub fn deadline(&self) -> Option<Duration> {
        self.next.as_ref().map(|(due, _)| *due)
    }

    /// It is `now`, since the replay began. An earlier time than the last one changes nothing.
    pub fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    /// The next frame if its time has come.
    fn take(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.next.is_none() {
            let Some(packet) = self.read()? else {
                return Ok(None);
            };
            let first = *self.first.get_or_insert(packet.time);
            let due = match self.pace {
                Pace::AtOnce => Duration::ZERO,
                Pace::AsRecorded => packet.time.saturating_sub(first),
            };
            self.next = Some((due, packet.frame));
        }
        let due = self.next.take_if(|(due, _)| *due <= self.now);
        Ok(due.map(|(_, frame)| frame))
    }

    fn read(&mut self) -> io::Result<Option<Packet>> {
        loop {
            match self.reader.read()? {
                Some(packet) if packet.direction == Some(Direction::Outbound) => {}
                packet => return Ok(packet),
            }
        }
    }
}

impl<R: Read + Send> Link for Replay<R> {
    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    /// A file waits for its reader.
    fn queue_bytes(&self) -> usize {
        usize::MAX
    }

    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let frame = self.take()?.ok_or(io::ErrorKind::WouldBlock)?;
        let count = frame.len().min(FRAME_CAPACITY - HEADER);
        buffer.reserve(FRAME_CAPACITY);
        buffer.extend_from_slice(&[0; HEADER]);
        buffer.extend_from_slice(&frame[..count]);
        Ok(HEADER + count)
    }

    fn send(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        require_header(parts)
    }
}

/// The task is told by [`deadline`](AsyncLink::deadline) when the next frame is heard.
impl<R: Read + Send> AsyncLink for Replay<R> {
    fn poll_receive(
        &mut self,
        _cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        match self.receive(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            result => Poll::Ready(result),
        }
    }

    fn poll_send(&mut self, _cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<()>> {
        Poll::Ready(self.send(parts))
    }

    fn deadline(&self) -> Option<Duration> {
        Self::deadline(self)
    }

    fn advance(&mut self, now: Duration) -> io::Result<()> {
        Self::advance(self, now);
        Ok(())
    }
}
