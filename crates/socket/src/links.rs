//! Links that tokio's reactor waits for: those with a descriptor, and a server of QEMU streams.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::unix::AsyncFd;
use wharf_link::{AsyncLink, Capabilities, Link, qemu};

use crate::sys;

/// A link with a descriptor ([`Tap`](wharf_link::Tap), [`Packet`](wharf_link::Packet), [`qemu::Stream`]), waited for by tokio.
///
/// What has to be told the time ([`Impaired`](wharf_link::Impaired), [`Recorded`](wharf_link::pcap::Recorded)) goes around it, not inside.
///
/// ```no_run
/// use wharf_link::Tap;
/// use wharf_net::wire::ethernet::Mac;
/// use wharf_socket::{Config, Descriptor, Stack};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let tap = Descriptor::new(Tap::open("tap0", 1500)?)?;
/// let mut config = Config::new(Mac([2, 0, 0, 0, 0, 2]), Stack::seed());
/// config.addresses = vec!["10.0.0.2/24".parse()?];
/// let stack = Stack::start(tap, config);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Descriptor<L> {
    link: L,
    readiness: AsyncFd<OwnedFd>,
}

impl<L: Link + AsFd> Descriptor<L> {
    /// Enters the link with the reactor of the current runtime.
    ///
    /// # Errors
    ///
    /// When the reactor refuses the descriptor.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled, as all of tokio's own do.
    pub fn new(link: L) -> io::Result<Self> {
        let readiness = sys::readiness(link.as_fd())?;
        Ok(Self { link, readiness })
    }

    /// Tries `send`, which may have to wait for room.
    fn poll_out<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut send: impl FnMut(&mut L) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let mut guard = ready!(self.readiness.poll_write_ready(cx))?;
            match send(&mut self.link) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                result => return Poll::Ready(result),
            }
        }
    }
}

impl<L: Link + AsFd> Link for Descriptor<L> {
    fn capabilities(&self) -> Capabilities {
        self.link.capabilities()
    }

    fn mtu(&self) -> u16 {
        self.link.mtu()
    }

    fn queue_bytes(&self) -> usize {
        self.link.queue_bytes()
    }

    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.link.receive(buffer)
    }

    fn send(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.link.send(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.link.flush()
    }
}

impl<L: Link + AsFd> AsyncLink for Descriptor<L> {
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.readiness.poll_read_ready(cx))?;
            match self.link.receive(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<()>> {
        self.poll_out(cx, |link| link.send(parts))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Most of the time nothing is left, and the reactor need not be asked.
        if self.link.flush().is_ok() {
            return Poll::Ready(Ok(()));
        }
        self.poll_out(cx, Link::flush)
    }
}

/// A link over a Unix socket that QEMU, or anything that speaks as it does ([`qemu`]), connects to.
///
/// One peer at a time: others wait until it has left. Without a peer the cable is unplugged: what is sent is
/// lost, as [`NetworkDown`](io::ErrorKind::NetworkDown). What a peer sent before it left is received nevertheless.
#[derive(Debug)]
pub struct QemuServer {
    listener: qemu::Listener,
    readiness: AsyncFd<OwnedFd>,
    peer: Option<Peer>,
    mtu: u16,
}

#[derive(Debug)]
struct Peer {
    link: Descriptor<qemu::Stream>,
    ear: Ear,
}

/// Whether a peer takes frames: one that has left does not, though what it sent before is still to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ear {
    Open,
    Closed,
}

impl QemuServer {
    /// Listens at `path`, where a socket file that nobody listens at is replaced; `mtu` is that of the link, in bytes.
    ///
    /// # Errors
    ///
    /// Those of [`qemu::Listener::bind`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub fn bind(path: impl AsRef<Path>, mtu: u16) -> io::Result<Self> {
        let listener = qemu::Listener::bind(path)?;
        Ok(Self {
            readiness: sys::readiness(listener.as_fd())?,
            listener,
            peer: None,
            mtu,
        })
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<qemu::Stream>> {
        loop {
            let mut guard = ready!(self.readiness.poll_read_ready(cx))?;
            match self.listener.accept(self.mtu) {
                Ok(stream) => return Poll::Ready(Ok(stream)),
                // It left before it was looked at.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Nobody, or no descriptor left for one: the next one who comes is another occasion.
                Err(_) => guard.clear_ready(),
            }
        }
    }

    fn welcome(&mut self, stream: qemu::Stream) -> io::Result<()> {
        let link = Descriptor::new(stream)?;
        let ear = Ear::Open;
        self.peer = Some(Peer { link, ear });
        Ok(())
    }

    /// The peer, if there is one that listens.
    fn listening(&mut self) -> Option<&mut Peer> {
        self.peer.as_mut().filter(|peer| peer.ear == Ear::Open)
    }
}

impl Peer {
    /// What it answers; one that fails takes nothing any more.
    fn outcome(&mut self, result: io::Result<()>) -> io::Result<()> {
        result.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::InvalidInput => error,
            _ => {
                self.ear = Ear::Closed;
                io::ErrorKind::NetworkDown.into()
            }
        })
    }
}

impl Link for QemuServer {
    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn queue_bytes(&self) -> usize {
        qemu::QUEUE
    }

    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        loop {
            if let Some(peer) = &mut self.peer {
                match peer.link.receive(buffer) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => self.peer = None,
                    result => return result,
                }
            }
            let stream = self.listener.accept(self.mtu)?;
            self.welcome(stream)?;
        }
    }

    fn send(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let Some(peer) = self.listening() else {
            return Err(io::ErrorKind::NetworkDown.into());
        };
        let result = peer.link.send(parts);
        peer.outcome(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(peer) = self.listening() else {
            return Ok(());
        };
        let result = peer.link.flush();
        peer.outcome(result)
    }
}

impl AsyncLink for QemuServer {
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(peer) = &mut self.peer {
                match ready!(peer.link.poll_receive(cx, buffer)) {
                    Err(_) => self.peer = None,
                    received => return Poll::Ready(received),
                }
            }
            let stream = ready!(self.poll_accept(cx))?;
            self.welcome(stream)?;
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<()>> {
        let Some(peer) = self.listening() else {
            return Poll::Ready(Err(io::ErrorKind::NetworkDown.into()));
        };
        let result = ready!(peer.link.poll_send(cx, parts));
        Poll::Ready(peer.outcome(result))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(peer) = self.listening() else {
            return Poll::Ready(Ok(()));
        };
        let result = ready!(peer.link.poll_flush(cx));
        Poll::Ready(peer.outcome(result))
    }
}
