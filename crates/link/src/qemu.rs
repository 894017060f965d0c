//! The QEMU link: a Unix stream socket on which each Ethernet frame follows its length, four bytes in network order.
//!
//! It is what QEMU's `-netdev stream,addr.type=unix` speaks, on either side of the socket. The stream carries no virtio
//! header: frames that are received have one of zeros, and it takes complete frames only.
//!
//! # What a peer can do
//!
//! It can send slowly, in pieces of any size, or not at all; frames too short for Ethernet, which are passed on for a host to
//! discard; frames longer than any that Ethernet carries, which are skipped; and, by a length beyond
//! [`ABSURD`], show that it doesn't speak this protocol: then the link is gone. At no time more than a frame waits in
//! memory, either way.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use bytes::{Buf, BytesMut};
use rustix::net::{SendAncillaryBuffer, SendFlags};
use smallvec::SmallVec;

use crate::{Capabilities, FRAME_CAPACITY, HEADER, Link, require_header, sys, total};

/// A frame's length, in bytes, from which on it is taken for garbage: 1 MiB.
pub const ABSURD: usize = 1 << 20;

/// Bytes that a Unix stream socket holds by default (`net.core.wmem_default`): 208 KiB.
pub const QUEUE: usize = 208 * 1024;

/// One end of a connected stream.
///
/// When the peer has left, receiving fails with [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) or
/// [`ConnectionReset`](io::ErrorKind::ConnectionReset), sending with [`BrokenPipe`](io::ErrorKind::BrokenPipe); a peer that
/// sends garbage makes receiving fail with [`InvalidData`](io::ErrorKind::InvalidData).
///
/// ```
/// use std::io::{self, IoSlice};
/// use std::os::unix::net::UnixStream;
/// use wharf_link::{HEADER, Link, Slots, qemu};
///
/// # fn main() -> io::Result<()> {
/// let (here, there) = UnixStream::pair()?;
/// let (mut here, mut there) = (qemu::Stream::new(here, 1500)?, qemu::Stream::new(there, 1500)?);
/// here.send(&[IoSlice::new(&[0; HEADER]), IoSlice::new(b"a frame")])?;
/// assert_eq!(Slots::default().receive(&mut there)?[HEADER..], *b"a frame");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Stream {
    socket: UnixStream,
    mtu: u16,
    /// What was read and is not a whole frame yet.
    inbound: BytesMut,
    /// Bytes of an overlong frame that are still to be skipped.
    skip: usize,
    /// What is left of a frame that went out in part.
    outbound: BytesMut,
}

impl Stream {
    /// Connects to the server that listens at `path`; `mtu` is what [`Link::mtu`] will answer, in bytes.
    ///
    /// # Errors
    ///
    /// Those of connect(2) to a Unix socket.
    pub fn connect(path: impl AsRef<Path>, mtu: u16) -> io::Result<Self> {
        Self::new(UnixStream::connect(path)?, mtu)
    }

    /// Speaks over a socket that is connected already.
    ///
    /// # Errors
    ///
    /// When it can't be set nonblocking.
    pub fn new(socket: UnixStream, mtu: u16) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            mtu,
            inbound: BytesMut::new(),
            skip: 0,
            outbound: BytesMut::new(),
        })
    }

    /// Moves the first whole frame of what was read to `buffer`.
    fn take(&mut self, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
        loop {
            let skipped = self.skip.min(self.inbound.len());
            self.inbound.advance(skipped);
            self.skip -= skipped;
            let Some(length) = self.inbound.first_chunk::<PREFIX>() else {
                return Ok(None);
            };
            let length = u32::from_be_bytes(*length) as usize;
            if length >= ABSURD {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "a frame of {length} bytes was announced: the peer speaks something else"
                    ),
                ));
            }
            if length > MAX_FRAME {
                self.inbound.advance(PREFIX);
                self.skip = length;
                continue;
            }
            let Some(frame) = self.inbound.get(PREFIX..PREFIX + length) else {
                return Ok(None);
            };
            buffer.reserve(FRAME_CAPACITY);
            buffer.extend_from_slice(&[0; HEADER]);
            buffer.extend_from_slice(frame);
            self.inbound.advance(PREFIX + length);
            return Ok(Some(HEADER + length));
        }
    }

    /// Writes without a signal when the peer is gone.
    fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let no_descriptors = &mut SendAncillaryBuffer::default();
        Ok(rustix::net::sendmsg(
            &self.socket,
            parts,
            no_descriptors,
            flags,
        )?)
    }
}

impl Link for Stream {
    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn queue_bytes(&self) -> usize {
        QUEUE
    }

    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        loop {
            if let Some(length) = self.take(buffer)? {
                return Ok(length);
            }
            // Never more than one frame is incomplete: there is always room to read into.
            self.inbound
                .reserve(PREFIX + MAX_FRAME - self.inbound.len().min(MAX_FRAME));
            match sys::read(self.socket.as_fd(), &mut self.inbound) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the frame once the one before it is out; what the socket has no room for is kept, for
    /// [`flush`](Link::flush) or the next call.
    fn send(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        require_header(parts)?;
        let length = total(parts) - HEADER;
        if length > MAX_FRAME {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.flush()?;
        let prefix = (length as u32).to_be_bytes();
        let mut all: SmallVec<[IoSlice<'_>; 8]> = SmallVec::new();
        all.push(IoSlice::new(&prefix));
        all.push(IoSlice::new(&parts[0][HEADER..]));
        all.extend(parts[1..].iter().copied());
        let mut gone = self.write(&all)?;
        for part in &all {
            let passed = gone.min(part.len());
            self.outbound.extend_from_slice(&part[passed..]);
            gone -= passed;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.outbound.is_empty() {
            let gone = self.write(&[IoSlice::new(&self.outbound)])?;
            self.outbound.advance(gone);
        }
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Where peers connect.
#[derive(Debug)]
pub struct Listener(UnixListener);

impl Listener {
    /// Listens at `path`. A socket file there that nobody listens at any more is replaced.
    ///
    /// # Errors
    ///
    /// Those of bind(2) for a Unix socket; [`AddrInUse`](io::ErrorKind::AddrInUse) when somebody listens there, or
    /// the file is no socket.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            result => result,
        }?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    /// The next peer; `mtu` is what its [`Link::mtu`] will answer, in bytes.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): nobody waits. Others as of accept(2).
    pub fn accept(&self, mtu: u16) -> io::Result<Stream> {
        let (socket, _) = self.0.accept()?;
        Stream::new(socket, mtu)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn is_abandoned(path: &Path) -> bool {
    UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Bytes of the length in front of a frame.
const PREFIX: usize = 4;
/// The longest frame, in bytes.
const MAX_FRAME: usize = FRAME_CAPACITY - HEADER;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::Slots;

    fn pair() -> (Stream, UnixStream) {
        let (here, there) = UnixStream::pair().unwrap();
        (Stream::new(here, 1500).unwrap(), there)
    }

    fn framed(frame: &[u8]) -> Vec<u8> {
        [&(frame.len() as u32).to_be_bytes(), frame].concat()
    }

    fn receive(stream: &mut Stream) -> Result<Vec<u8>, io::ErrorKind> {
        match Slots::default().receive(stream) {
            Ok(frame) => {
                assert_eq!(frame[..HEADER], [0; HEADER]);
                Ok(frame[HEADER..].to_vec())
            }
            Err(error) => Err(error.kind()),
        }
    }

    #[test]
    fn a_frame_has_its_length_in_front() {
        let (mut here, mut there) = pair();
        let head = [[0xee; HEADER].as_slice(), b"head"].concat();
        here.send(&[IoSlice::new(&head), IoSlice::new(b"body")])
            .unwrap();
        let mut wire = [0; 12];
        there.read_exact(&mut wire).unwrap();
        assert_eq!(&wire, b"\0\0\0\x08headbody");
    }

    #[test]
    fn a_frame_in_pieces_is_whole_in_the_end() {
        let (mut here, mut there) = pair();
        let wire = [framed(b"first"), framed(&[7; MAX_FRAME]), framed(b"")].concat();
        let mut frames = Vec::new();
        for piece in wire.chunks(997) {
            there.write_all(piece).unwrap();
            while let Ok(frame) = receive(&mut here) {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [b"first".to_vec(), vec![7; MAX_FRAME], Vec::new()]);
        assert_eq!(receive(&mut here), Err(io::ErrorKind::WouldBlock));
    }

    #[test]
    fn a_frame_too_long_is_skipped_and_the_next_is_not() {
        let (mut here, mut there) = pair();
        let wire = [framed(&vec![1; MAX_FRAME + 1]), framed(b"next")].concat();
        let mut frames = Vec::new();
        for piece in wire.chunks(10_000) {
            there.write_all(piece).unwrap();
            while let Ok(frame) = receive(&mut here) {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [b"next"]);
    }

    #[test]
    fn garbage_ends_the_link() {
        let (mut here, mut there) = pair();
        there.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        assert_eq!(receive(&mut here), Err(io::ErrorKind::InvalidData));
    }

    #[test]
    fn a_peer_that_leaves_is_an_error_and_not_a_signal() {
        let (mut here, mut there) = pair();
        there.write_all(&framed(b"last")).unwrap();
        there.write_all(&[0, 0]).unwrap();
        drop(there);
        assert_eq!(receive(&mut here), Ok(b"last".to_vec()));
        assert_eq!(receive(&mut here), Err(io::ErrorKind::UnexpectedEof));
        let error = here.send(&[IoSlice::new(&[0; HEADER])]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_full_socket_refuses_whole_frames_and_cuts_none() {
        let (mut here, there) = pair();
        let mut there = Stream::new(there, 1500).unwrap();
        let frame = |number: usize| [vec![0; HEADER], vec![number as u8; 60_000]].concat();
        let mut sent = 0;
        while here.send(&[IoSlice::new(&frame(sent))]).is_ok() {
            sent += 1;
            assert!(sent < 1000, "the socket takes everything");
        }
        let mut received = 0;
        while received < sent {
            match receive(&mut there) {
                Ok(got) => {
                    assert_eq!(got, frame(received)[HEADER..]);
                    received += 1;
                }
                Err(error) => {
                    assert_eq!(error, io::ErrorKind::WouldBlock);
                    here.flush().unwrap();
                }
            }
        }
        assert!(here.outbound.is_empty());
    }

    #[test]
    fn peers_come_one_after_the_other_and_a_stale_file_is_no_hindrance() {
        let path = std::env::temp_dir().join(format!("wharf-link-qemu-{}", std::process::id()));
        drop(UnixListener::bind(&path).unwrap());
        let listener = Listener::bind(&path).unwrap();
        assert_eq!(
            Listener::bind(&path).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        // The attempt above was a peer that has left at once.
        let mut left = listener.accept(1500).unwrap();
        assert_eq!(receive(&mut left), Err(io::ErrorKind::UnexpectedEof));
        for turn in 0..2 {
            assert_eq!(
                listener.accept(1500).unwrap_err().kind(),
                io::ErrorKind::WouldBlock
            );
            let mut client = Stream::connect(&path, 1500).unwrap();
            let mut server = listener.accept(1500).unwrap();
            client
                .send(&[IoSlice::new(&[0; HEADER]), IoSlice::new(&[turn; 60])])
                .unwrap();
            assert_eq!(receive(&mut server), Ok(vec![turn; 60]));
        }
        std::fs::remove_file(&path).unwrap();
    }
}
