//! A UDP socket: its place, and sending. What it receives is [`inbox`](super::inbox)'s.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{Interest, Ready};
use wharf_net::{Instant, Setting, SocketId};
use wharf_port::{Domain, Endpoint, Protocol, Reuse};

use crate::held::Held;
use crate::shared::{On, State};
use crate::wakers::Key;
use crate::{Stack, ToSocketAddr, address, error, ready};

/// A UDP socket, as tokio's.
///
/// What arrives waits in the socket, up to 208 KiB; more is dropped, as UDP does. Sending waits when the link has no room.
///
/// ```
/// use wharf_socket::{Stack, UdpSocket};
///
/// async fn ask(stack: &Stack) -> std::io::Result<Vec<u8>> {
///     let socket = UdpSocket::bind(stack, "0.0.0.0:0").await?;
///     socket.connect("10.0.0.1:53").await?;
///     socket.send(b"question").await?;
///     let mut answer = vec![0; 512];
///     let length = socket.recv(&mut answer).await?;
///     answer.truncate(length);
///     Ok(answer)
/// }
/// ```
#[derive(Debug)]
pub struct UdpSocket {
    pub(super) held: Held,
    domain: Domain,
    /// Its name among those who wait for room.
    key: Key,
}

impl UdpSocket {
    /// Takes an address of the stack's host, or a wildcard: `0.0.0.0` for IPv4, `[::]` for both families. Port 0 is replaced by a
    /// free one.
    ///
    /// # Errors
    ///
    /// Those of [`TcpListener::bind`](crate::TcpListener::bind).
    pub async fn bind(stack: &Stack, address: impl ToSocketAddr) -> io::Result<Self> {
        let local = address::local(&address)?;
        let domain = address::domain(local.address);
        let held = Held::open(stack, Protocol::Udp, domain)?;
        held.bind(local)?;
        let key = stack.shared().key();
        Ok(Self { held, domain, key })
    }

    /// The same, where other sockets that are bound like this may be bound too (`SO_REUSEADDR`): all of them get what is sent to a
    /// group that they have joined, or to everybody; what is for one host the latest of them gets.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    pub async fn bind_shared(stack: &Stack, address: impl ToSocketAddr) -> io::Result<Self> {
        let local = address::local(&address)?;
        let domain = address::domain(local.address);
        let held = Held::open(stack, Protocol::Udp, domain)?;
        held.set(Setting::Reuse(Reuse::Address))?;
        held.bind(local)?;
        let key = stack.shared().key();
        Ok(Self { held, domain, key })
    }

    /// From now on datagrams of this peer only are received, and [`send`](Self::send) sends to it.
    ///
    /// # Errors
    ///
    /// [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable): no address of the host's leads there;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput): the peer is of another family.
    pub async fn connect(&self, address: impl ToSocketAddr) -> io::Result<()> {
        let remote = address::remote(&address)?;
        self.held.attempt(|state, now, id| {
            let connected = state.host.connect(now, id, remote);
            connected.map(drop).map_err(error::connect)
        })
    }

    /// Where it is bound.
    ///
    /// # Errors
    ///
    /// None, but tokio's has some.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.held.local_addr(self.domain))
    }

    /// The peer that it is connected to.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected): none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.held.attempt(|state, _, id| {
            let peer = state.host.peer(id);
            peer.map(SocketAddr::from)
                .ok_or_else(|| io::ErrorKind::NotConnected.into())
        })
    }

    /// Sends a datagram to the peer that the socket is connected to. Its length is returned.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// - [`ConnectionRefused`](io::ErrorKind::ConnectionRefused): the peer has said that nobody is there, about an earlier datagram;
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): longer than 65,507 bytes over IPv4, 65,527 over IPv6; or of another family;
    /// - [`NotConnected`](io::ErrorKind::NotConnected): there is no peer;
    /// - [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable), [`HostUnreachable`](io::ErrorKind::HostUnreachable): there is no way.
    pub async fn send(&self, data: &[u8]) -> io::Result<usize> {
        self.until_room(|state, now, id| send(state, now, id, data, None))
            .await
    }

    /// Sends a datagram to a peer. Its length is returned.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn send_to(&self, data: &[u8], target: impl ToSocketAddr) -> io::Result<usize> {
        let to = Some(address::remote(&target)?);
        self.until_room(|state, now, id| send(state, now, id, data, to))
            .await
    }

    /// Waits until a datagram can be sent.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub async fn writable(&self) -> io::Result<()> {
        self.until_room(|state, _, _| room(state)).await
    }

    async fn until_room<T>(
        &self,
        mut act: impl FnMut(&mut State, Instant, SocketId) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        let Held { stack, id } = &self.held;
        let shared = stack.shared();
        shared
            .until(On::Room, |state, now| act(state, now, *id))
            .await
    }

    fn poll_room<T>(
        &self,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut State, Instant, SocketId) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Held { stack, id } = &self.held;
        let shared = stack.shared();
        shared.poll(cx, (On::Room, self.key), |state, now| act(state, now, *id))
    }

    /// [`send`](Self::send) for those who poll; the last task to ask is the one to be woken.
    pub fn poll_send(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_room(cx, |state, now, id| send(state, now, id, data, None))
    }

    /// [`send_to`](Self::send_to) for those who poll; the last task to ask is the one to be woken.
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        data: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        let to = Some(address::remote(&target)?);
        self.poll_room(cx, |state, now, id| send(state, now, id, data, to))
    }

    /// [`writable`](Self::writable) for those who poll; the last task to ask is the one to be woken.
    pub fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_room(cx, |state, _, _| room(state))
    }

    /// Sends a datagram to the peer that the socket is connected to, if there is room at once.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): there is none. Others as [`send`](Self::send).
    pub fn try_send(&self, data: &[u8]) -> io::Result<usize> {
        self.held
            .try_now(|state, now, id| send(state, now, id, data, None))
    }

    /// Sends a datagram if there is room at once.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): there is none. Others as [`send`](Self::send).
    pub fn try_send_to(&self, data: &[u8], target: impl ToSocketAddr) -> io::Result<usize> {
        let to = Some(address::remote(&target)?);
        self.held
            .try_now(|state, now, id| send(state, now, id, data, to))
    }

    /// Waits until something is ready: a datagram or an error to be received, room to send.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        ready::either(interest, self.readable(), self.writable()).await
    }

    /// `SO_RCVBUF`: how much may wait in the socket, in bytes.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn set_recv_buffer_size(&self, size: u32) -> io::Result<()> {
        self.held.set(Setting::ReceiveBuffer(size as usize))
    }

    /// The error that the next call would fail with; it won't.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.held
            .attempt(|state, _, id| Ok(state.host.take_refusal(id).map(error::receive)))
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.held.stack.shared().leave(On::Room, self.key);
    }
}

fn room(state: &State) -> Poll<io::Result<()>> {
    if state.host.has_output_room() {
        return Poll::Ready(Ok(()));
    }
    Poll::Pending
}

fn send(
    state: &mut State,
    now: Instant,
    id: SocketId,
    data: &[u8],
    to: Option<Endpoint>,
) -> Poll<io::Result<usize>> {
    if !state.host.has_output_room() {
        return Poll::Pending;
    }
    let sent = state
        .host
        .send_to(now, id, to, Bytes::copy_from_slice(data));
    Poll::Ready(sent.map(|()| data.len()).map_err(error::send))
}
