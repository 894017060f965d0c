//! A UDP socket.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::ReadBuf;
use wharf_net::{Instant, Received, RecvError, Setting, SocketId};
use wharf_port::{Domain, Endpoint, Protocol};

use crate::held::{Held, Side};
use crate::shared::{On, State};
use crate::{Stack, ToSocketAddr, address, error};

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
    held: Held,
    domain: Domain,
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
        Ok(Self { held, domain })
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
        self.send_when_possible(data, None).await
    }

    /// Sends a datagram to a peer. Its length is returned.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn send_to(&self, data: &[u8], target: impl ToSocketAddr) -> io::Result<usize> {
        self.send_when_possible(data, Some(address::remote(&target)?))
            .await
    }

    async fn send_when_possible(&self, data: &[u8], to: Option<Endpoint>) -> io::Result<usize> {
        let id = self.held.id;
        self.held
            .stack
            .shared()
            .until(On::Room, |state, now| send(state, now, id, data, to))
            .await
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

    /// Waits for a datagram of the peer that the socket is connected to. What doesn't fit the buffer is lost.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused): the peer has said that nobody is there, about an earlier datagram.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.recv_from(buffer).await?.0)
    }

    /// Waits for a datagram, and says who sent it: with port 0 if it came without a source port, so that no answer is possible
    /// (RFC 768). What doesn't fit the buffer is lost.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv).
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self.held.until(Side::Read, receive).await?;
        Ok(copy(&received, &mut ReadBuf::new(buffer)))
    }

    /// [`recv_from`](Self::recv_from) without a copy: all of the datagram, and to which of the host's addresses it came.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv).
    pub async fn recv_whole(&self) -> io::Result<Received> {
        self.held.until(Side::Read, receive).await
    }

    /// Receives a datagram if one is there.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): none is. Others as [`recv`](Self::recv).
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self.held.try_now(receive)?;
        Ok(copy(&received, &mut ReadBuf::new(buffer)))
    }

    /// [`recv_from`](Self::recv_from) for those who poll; the last task to ask is the one to be woken.
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        self.held
            .poll(cx, Side::Read, receive)
            .map_ok(|received| copy(&received, buffer).1)
    }

    /// `SO_RCVBUF`: how much may wait in the socket, in bytes.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn set_recv_buffer_size(&self, size: u32) -> io::Result<()> {
        self.held.set(Setting::ReceiveBuffer(size as usize))
    }
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

fn receive(state: &mut State, _now: Instant, id: SocketId) -> Poll<io::Result<Received>> {
    match state.host.recv_from(id) {
        Err(RecvError::Empty) => Poll::Pending,
        result => Poll::Ready(result.map_err(error::receive)),
    }
}

fn copy(received: &Received, buffer: &mut ReadBuf<'_>) -> (usize, SocketAddr) {
    let count = received.payload.len().min(buffer.remaining());
    buffer.put_slice(&received.payload[..count]);
    (count, received.source())
}
