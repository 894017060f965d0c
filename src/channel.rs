//! Messages over a Unix stream socket: a length, a JSON value, and the descriptors that belong to it.
//!
//! One shape for both conversations of the program: command ↔ daemon and daemon ↔ keeper. [`Channel`] blocks (command,
//! keeper), [`AsyncChannel`] waits on tokio (daemon). This file knows nothing of what the messages say.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;

/// Largest message in bytes; both ends belong to one user, so this only stops a runaway.
const MESSAGE_MAX: usize = 64 << 20;
/// Most descriptors that one message carries.
const DESCRIPTORS_MAX: usize = 16;
/// Length of a message (u32) and number of its descriptors (u8), before its JSON.
const PREFIX: usize = 5;

/// A message as it is written: prefix and JSON in one piece.
fn encode(message: &impl Serialize, descriptors: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; PREFIX];
    serde_json::to_writer(&mut bytes, message)?;
    let length =
        u32::try_from(bytes.len() - PREFIX).map_err(|_| io::Error::other("message too long"))?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4] = u8::try_from(descriptors).map_err(|_| io::Error::other("too many descriptors"))?;
    Ok(bytes)
}

/// One sendmsg(2): as much of `bytes` as fits, with `descriptors` on its first byte. It allocates nothing.
pub(crate) fn send_once(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors"));
    }
    Ok(sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?)
}

/// `N` bytes that were sent at once, and the descriptor with them.
pub(crate) fn receive_once<const N: usize>(
    socket: BorrowedFd<'_>,
) -> io::Result<([u8; N], Option<OwnedFd>)> {
    let mut inbox = Inbox::default();
    inbox.fill(socket)?;
    let bytes = inbox.bytes.as_slice().try_into();
    let bytes = bytes.map_err(|_| io::ErrorKind::UnexpectedEof)?;
    Ok((bytes, inbox.descriptors.pop_front()))
}

/// What has arrived and is not yet a whole message.
#[derive(Debug, Default)]
struct Inbox {
    bytes: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Inbox {
    /// One recvmsg(2) into the inbox; 0 is the end of the stream.
    fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut chunk = [0; 16 << 10];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let read = recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut chunk)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?
        .bytes;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        self.bytes.extend_from_slice(&chunk[..read]);
        Ok(read)
    }

    /// The first whole message, if there is one.
    fn take<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let Some((prefix, rest)) = self.bytes.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let [a, b, c, d, count] = *prefix;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > MESSAGE_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "message too long",
            ));
        }
        let Some(json) = rest.get(..length) else {
            return Ok(None);
        };
        let message = serde_json::from_slice(json)?;
        let count = usize::from(count);
        if self.descriptors.len() < count {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "descriptors lost (open files limit reached?)",
            ));
        }
        self.bytes.drain(..PREFIX + length);
        Ok(Some((message, self.descriptors.drain(..count).collect())))
    }
}

/// The blocking end of a conversation.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: UnixStream,
    inbox: Inbox,
}

impl Channel {
    /// Talks over `socket`, which must be in blocking mode.
    pub(crate) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            inbox: Inbox::default(),
        }
    }

    /// Sends one message and the descriptors that go with it.
    pub(crate) fn send(
        &self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let bytes = encode(message, descriptors.len())?;
        let mut sent = send_once(self.socket.as_fd(), &bytes, descriptors)?;
        while sent < bytes.len() {
            sent += send_once(self.socket.as_fd(), &bytes[sent..], &[])?;
        }
        Ok(())
    }

    /// Whether something has arrived that no poll(2) of the socket tells of any more.
    pub(crate) fn holds_more(&self) -> bool {
        !self.inbox.bytes.is_empty()
    }

    /// Waits for the next message; `None` when the other end is gone.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        loop {
            if let Some(message) = self.inbox.take()? {
                return Ok(Some(message));
            }
            match self.inbox.fill(self.socket.as_fd()) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Channel {
    /// The next message of those that have arrived; doesn't wait.
    pub(crate) fn arrived<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        self.inbox.take()
    }

    /// Waits for no message longer than this; then the error is [`io::ErrorKind::WouldBlock`].
    pub(crate) fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(time))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The daemon's end of a conversation.
#[derive(Debug)]
pub(crate) struct AsyncChannel {
    socket: tokio::net::UnixStream,
    inbox: Inbox,
}

impl AsyncChannel {
    /// Talks over `socket`.
    pub(crate) fn new(socket: tokio::net::UnixStream) -> Self {
        Self {
            socket,
            inbox: Inbox::default(),
        }
    }

    /// Sends one message and the descriptors that go with it.
    pub(crate) async fn send(
        &self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let bytes = encode(message, descriptors.len())?;
        let mut sent = 0;
        while sent < bytes.len() {
            let descriptors = if sent == 0 { descriptors } else { &[] };
            let once = || send_once(self.socket.as_fd(), &bytes[sent..], descriptors);
            sent += self.socket.async_io(Interest::WRITABLE, once).await?;
        }
        Ok(())
    }

    /// Waits for the next message; `None` when the other end is gone. Cancel-safe: what has arrived stays.
    pub(crate) async fn receive<T: DeserializeOwned>(
        &mut self,
    ) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        loop {
            if let Some(message) = self.inbox.take()? {
                return Ok(Some(message));
            }
            let Self { socket, inbox } = self;
            match socket
                .async_io(Interest::READABLE, || inbox.fill(socket.as_fd()))
                .await
            {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn messages_and_descriptors_arrive_in_order() {
        let (near, far) = UnixStream::pair().unwrap();
        let (near, mut far) = (Channel::new(near), Channel::new(far));
        let (read, write) = io::pipe().unwrap();
        near.send(&"first", &[]).unwrap();
        near.send(&"second", &[write.as_fd()]).unwrap();
        drop((near, write));
        let (text, descriptors) = far.receive::<String>().unwrap().unwrap();
        assert_eq!((text.as_str(), descriptors.len()), ("first", 0));
        let (text, mut descriptors) = far.receive::<String>().unwrap().unwrap();
        assert_eq!((text.as_str(), descriptors.len()), ("second", 1));
        let mut pipe = std::fs::File::from(descriptors.remove(0));
        pipe.write_all(b"through").unwrap();
        drop(pipe);
        assert_eq!(io::read_to_string(read).unwrap(), "through");
        assert!(far.receive::<String>().unwrap().is_none());
    }

    #[test]
    fn a_long_message_arrives_whole() {
        let (near, far) = UnixStream::pair().unwrap();
        let text = "x".repeat(3 << 20);
        let sent = text.clone();
        let sender = std::thread::spawn(move || Channel::new(near).send(&sent, &[]));
        assert_eq!(
            Channel::new(far).receive::<String>().unwrap().unwrap().0,
            text
        );
        sender.join().unwrap().unwrap();
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused() {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(&[0xff; PREFIX]).unwrap();
        let error = Channel::new(far).receive::<String>().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
