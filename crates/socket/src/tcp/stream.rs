//! A connection.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use wharf_port::Flow;

use super::halves::{self, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use super::transfer::{self, Connection};
use crate::held::{Held, Side};
use crate::{Stack, TcpSocket, ToSocketAddr, address, error, ready};

/// A TCP connection, as tokio's.
///
/// Reading gives what has come in order, then the end once the peer has closed its direction; writing takes what there
/// is room for, and waits when there is none. Dropped, the connection finishes by itself: what was written is still sent. If there is unread data,
/// or [`set_zero_linger`](Self::set_zero_linger) was called, it is reset instead.
///
/// ```
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use wharf_socket::{Stack, TcpStream};
///
/// async fn fetch(stack: &Stack) -> std::io::Result<String> {
///     let mut stream = TcpStream::connect(stack, "10.0.0.1:80").await?;
///     stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
///     stream.shutdown().await?; // half close: reading goes on
///     let mut page = String::new();
///     stream.read_to_string(&mut page).await?;
///     Ok(page)
/// }
/// ```
#[derive(Debug)]
pub struct TcpStream {
    pub(super) connection: Connection,
}

impl TcpStream {
    /// Connects to a peer, from the host's address on the way there and a port that the table chooses.
    ///
    /// Cancel-safe: a future that is dropped takes the attempt with it.
    ///
    /// # Errors
    ///
    /// - [`ConnectionRefused`](io::ErrorKind::ConnectionRefused): nobody listens there;
    /// - [`TimedOut`](io::ErrorKind::TimedOut): the peer did not answer, for about three minutes;
    /// - [`HostUnreachable`](io::ErrorKind::HostUnreachable): the network says that there is no such host, or forbids it;
    /// - [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable): no address of the host's leads there;
    /// - [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable): all ports towards this peer are taken;
    /// - [`NetworkDown`](io::ErrorKind::NetworkDown): the stack has ended.
    pub async fn connect(stack: &Stack, address: impl ToSocketAddr) -> io::Result<Self> {
        let remote = address::remote(&address)?;
        let socket = TcpSocket::new(stack, address::domain(remote.address()))?;
        socket.connect(remote).await
    }

    pub(crate) fn new(held: Held, flow: Flow) -> Self {
        let connection = Connection {
            held,
            flow,
            reset_on_drop: AtomicBool::new(false),
        };
        Self { connection }
    }

    /// Waits for the end of the handshake that [`TcpSocket::start_connect`] began. Of all other streams it is over.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect), or how the connection failed since.
    pub async fn connected(&self) -> io::Result<()> {
        self.held().until(Side::Write, transfer::connected).await
    }

    /// This end's address.
    ///
    /// # Errors
    ///
    /// None, but tokio's has some.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.connection.flow.local.into())
    }

    /// The other end's address.
    ///
    /// # Errors
    ///
    /// None, but tokio's has some.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.connection.flow.remote.into())
    }

    /// Waits until there is something to read, or the end, or an error.
    ///
    /// Cancel-safe, as [`writable`](Self::writable) and [`ready`](Self::ready) are.
    ///
    /// # Errors
    ///
    /// How the connection failed.
    pub async fn readable(&self) -> io::Result<()> {
        self.held()
            .until(Side::Read, |state, _, id| {
                transfer::readable(&state.host, id)
            })
            .await
    }

    /// Waits until there is room to write.
    ///
    /// # Errors
    ///
    /// How the connection failed, or [`BrokenPipe`](io::ErrorKind::BrokenPipe): this direction is closed.
    pub async fn writable(&self) -> io::Result<()> {
        self.held()
            .until(Side::Write, |state, now, id| {
                transfer::writable(&mut state.host, now, id)
            })
            .await
    }

    /// Waits until one of the directions in `interest` is ready, and says which are.
    ///
    /// # Errors
    ///
    /// Those of [`readable`](Self::readable) and [`writable`](Self::writable).
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        ready::either(interest, self.readable(), self.writable()).await
    }

    /// [`readable`](Self::readable) for those who poll; the last task to ask is the one to be woken.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.held().poll(cx, Side::Read, |state, _, id| {
            transfer::readable(&state.host, id)
        })
    }

    /// [`writable`](Self::writable) for those who poll; the last task to ask is the one to be woken.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.held().poll(cx, Side::Write, |state, now, id| {
            transfer::writable(&mut state.host, now, id)
        })
    }

    /// [`peek`](Self::peek) for those who poll; the last task to ask is the one to be woken.
    pub fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        self.held().poll(cx, Side::Read, |state, _, id| {
            transfer::peek(&state.host, id, buffer)
        })
    }

    /// Reads what there is.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): nothing is there; or how the connection failed.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let buffer = &mut ReadBuf::new(buffer);
        self.held()
            .try_now(|state, now, id| transfer::read(&mut state.host, now, id, buffer))
    }

    /// Reads what there is into one buffer after the other.
    ///
    /// # Errors
    ///
    /// Those of [`try_read`](Self::try_read).
    pub fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.held().try_now(|state, now, id| {
            let mut all = 0;
            for buffer in buffers {
                let mut buffer = ReadBuf::new(buffer);
                match transfer::read(&mut state.host, now, id, &mut buffer) {
                    Poll::Ready(Ok(count)) => all += count,
                    // What came before is not lost on the reader.
                    _ if all > 0 => break,
                    failed => return failed,
                }
                if buffer.remaining() > 0 {
                    break;
                }
            }
            Poll::Ready(Ok(all))
        })
    }

    /// Reads what there is, and there is room for, to the end of `buffer`.
    ///
    /// # Errors
    ///
    /// Those of [`try_read`](Self::try_read).
    pub fn try_read_buf(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
        self.held()
            .try_now(|state, now, id| transfer::read_to(&mut state.host, now, id, buffer))
    }

    /// Writes what there is room for.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): there is none; [`BrokenPipe`](io::ErrorKind::BrokenPipe): this direction is closed;
    /// or how the connection failed.
    pub fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        self.try_write_vectored(&[IoSlice::new(data)])
    }

    /// Writes what there is room for from one buffer after the other.
    ///
    /// # Errors
    ///
    /// Those of [`try_write`](Self::try_write).
    pub fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.held()
            .try_now(|state, now, id| transfer::write(&mut state.host, now, id, parts))
    }

    /// Waits for data and copies it, and leaves it to be read.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// How the connection failed.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        self.held()
            .until(Side::Read, |state, _, id| {
                transfer::peek(&state.host, id, &mut buffer)
            })
            .await
    }

    /// How the connection failed, if it did. Unlike tokio's it stays that way.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.held()
            .attempt(|state, _, id| Ok(state.host.error(id).map(error::stream)))
    }

    /// Resets the connection: what is queued is dropped, the peer is told, and reading and writing fail with
    /// [`ConnectionAborted`](io::ErrorKind::ConnectionAborted) (RFC 9293 §3.10.5).
    pub fn abort(&self) {
        let Held { stack, id } = self.held();
        stack.shared().with(|state, now| state.host.abort(now, *id));
    }

    /// Two halves that borrow it, one to read and one to write.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        (ReadHalf(self), WriteHalf(self))
    }

    /// Two halves that own it together. Dropping the one to write closes that direction.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        halves::own(self)
    }

    pub(super) fn held(&self) -> &Held {
        &self.connection.held
    }
}

impl Connection {
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.held
            .poll(cx, Side::Read, |state, now, id| {
                transfer::read(&mut state.host, now, id, buffer)
            })
            .map_ok(drop)
    }

    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.held.poll(cx, Side::Write, |state, now, id| {
            transfer::write(&mut state.host, now, id, parts)
        })
    }

    /// Closes the direction to the peer: a FIN follows what was written.
    pub(super) fn shutdown(&self) -> io::Result<()> {
        self.held.attempt(|state, now, id| {
            if let Some(failure) = state.host.error(id) {
                return Err(error::stream(failure));
            }
            state.host.shutdown(now, id);
            Ok(())
        })
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.connection.poll_read(cx, buffer)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.connection.poll_write(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.connection.poll_write(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing is held back here.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Closes this direction; what was written is sent first, though not waited for.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.connection.shutdown())
    }
}
