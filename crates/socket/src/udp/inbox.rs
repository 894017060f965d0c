//! What a UDP socket receives.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::BufMut;
use tokio::io::ReadBuf;
use wharf_net::{Instant, Received, RecvError, SocketId};

use super::UdpSocket;
use crate::error;
use crate::held::Side;
use crate::shared::State;

/// Receiving. Whatever waits here is cancel-safe, and what doesn't fit the buffer is lost. All fail with
/// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused), once, when the peer has said that nobody is there, about an earlier datagram;
/// with [`HostUnreachable`](io::ErrorKind::HostUnreachable) when the way there was said to be forbidden.
impl UdpSocket {
    /// Waits for a datagram of the peer that the socket is connected to.
    ///
    /// # Errors
    ///
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused): the peer has said that nobody is there, about an earlier datagram.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.recv_from(buffer).await?.0)
    }

    /// Waits for a datagram, and says who sent it: with port 0 if it came without a source port, so that no answer is possible (RFC 768).
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv).
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self.recv_whole().await?;
        Ok(copy(&received, &mut &mut *buffer))
    }

    /// [`recv`](Self::recv) to the end of a buffer.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv).
    pub async fn recv_buf(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
        Ok(self.recv_buf_from(buffer).await?.0)
    }

    /// [`recv_from`](Self::recv_from) to the end of a buffer.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv).
    pub async fn recv_buf_from(&self, buffer: &mut impl BufMut) -> io::Result<(usize, SocketAddr)> {
        let received = self.recv_whole().await?;
        Ok(copy(&received, buffer))
    }

    /// [`recv_from`](Self::recv_from) without a copy: all of the datagram, and to which of the host's addresses it came.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv).
    pub async fn recv_whole(&self) -> io::Result<Received> {
        self.held.until(Side::Read, receive).await
    }

    /// Waits until there is something to receive.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub async fn readable(&self) -> io::Result<()> {
        self.held.until(Side::Read, readable).await
    }

    /// [`recv`](Self::recv) if a datagram is there.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): none is. Others as [`recv`](Self::recv).
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.try_recv_from(buffer)?.0)
    }

    /// [`recv_from`](Self::recv_from) if a datagram is there.
    ///
    /// # Errors
    ///
    /// Those of [`try_recv`](Self::try_recv).
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.try_recv_buf_from(&mut &mut *buffer)
    }

    /// [`recv_buf`](Self::recv_buf) if a datagram is there.
    ///
    /// # Errors
    ///
    /// Those of [`try_recv`](Self::try_recv).
    pub fn try_recv_buf(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
        Ok(self.try_recv_buf_from(buffer)?.0)
    }

    /// [`recv_buf_from`](Self::recv_buf_from) if a datagram is there.
    ///
    /// # Errors
    ///
    /// Those of [`try_recv`](Self::try_recv).
    pub fn try_recv_buf_from(&self, buffer: &mut impl BufMut) -> io::Result<(usize, SocketAddr)> {
        let received = self.try_recv_whole()?;
        Ok(copy(&received, buffer))
    }

    /// [`recv_whole`](Self::recv_whole) if a datagram is there.
    ///
    /// # Errors
    ///
    /// Those of [`try_recv`](Self::try_recv).
    pub fn try_recv_whole(&self) -> io::Result<Received> {
        self.held.try_now(receive)
    }

    /// [`recv`](Self::recv) for those who poll; the last task to ask is the one to be woken.
    pub fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_recv_from(cx, buffer).map_ok(drop)
    }

    /// [`recv_from`](Self::recv_from) for those who poll; the last task to ask is the one to be woken.
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        self.poll_recv_whole(cx)
            .map_ok(|received| fill(&received, buffer).1)
    }

    /// [`recv_whole`](Self::recv_whole) for those who poll; the last task to ask is the one to be woken.
    pub fn poll_recv_whole(&self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        self.held.poll(cx, Side::Read, receive)
    }

    /// [`readable`](Self::readable) for those who poll; the last task to ask is the one to be woken.
    pub fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.held.poll(cx, Side::Read, readable)
    }

    /// [`recv`](Self::recv), and leaves the datagram to be received again.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv).
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.peek_from(buffer).await?.0)
    }

    /// [`recv_from`](Self::recv_from), and leaves the datagram to be received again.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv).
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self.held.until(Side::Read, peek).await?;
        Ok(copy(&received, &mut &mut *buffer))
    }

    /// Who sent the datagram that is received next.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv).
    pub async fn peek_sender(&self) -> io::Result<SocketAddr> {
        Ok(self.peek_from(&mut []).await?.1)
    }

    /// [`peek`](Self::peek) if a datagram is there.
    ///
    /// # Errors
    ///
    /// Those of [`try_recv`](Self::try_recv).
    pub fn try_peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.try_peek_from(buffer)?.0)
    }

    /// [`peek_from`](Self::peek_from) if a datagram is there.
    ///
    /// # Errors
    ///
    /// Those of [`try_recv`](Self::try_recv).
    pub fn try_peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self.held.try_now(peek)?;
        Ok(copy(&received, &mut &mut *buffer))
    }

    /// [`peek_sender`](Self::peek_sender) if a datagram is there.
    ///
    /// # Errors
    ///
    /// Those of [`try_recv`](Self::try_recv).
    pub fn try_peek_sender(&self) -> io::Result<SocketAddr> {
        Ok(self.try_peek_from(&mut [])?.1)
    }

    /// [`peek`](Self::peek) for those who poll; the last task to ask is the one to be woken.
    pub fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        self.held
            .poll(cx, Side::Read, peek)
            .map_ok(|received| fill(&received, buffer).0)
    }

    /// [`peek_from`](Self::peek_from) for those who poll; the last task to ask is the one to be woken.
    pub fn poll_peek_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        self.held
            .poll(cx, Side::Read, peek)
            .map_ok(|received| fill(&received, buffer).1)
    }

    /// [`peek_sender`](Self::peek_sender) for those who poll; the last task to ask is the one to be woken.
    pub fn poll_peek_sender(&self, cx: &mut Context<'_>) -> Poll<io::Result<SocketAddr>> {
        self.poll_peek_from(cx, &mut ReadBuf::new(&mut []))
    }
}

fn receive(state: &mut State, _now: Instant, id: SocketId) -> Poll<io::Result<Received>> {
    settled(state.host.recv_from(id))
}

/// A datagram, or an error that receiving tells.
fn readable(state: &mut State, _now: Instant, id: SocketId) -> Poll<io::Result<()>> {
    match state.host.peek_from(id) {
        Err(RecvError::Empty) => Poll::Pending,
        Err(RecvError::Gone) => Poll::Ready(Err(error::gone())),
        Ok(_) | Err(RecvError::Refused | RecvError::Unreachable(_)) => Poll::Ready(Ok(())),
    }
}

fn peek(state: &mut State, _now: Instant, id: SocketId) -> Poll<io::Result<Received>> {
    if let Some(refused) = state.host.take_refusal(id) {
        return settled(Err(refused));
    }
    settled(state.host.peek_from(id).cloned())
}

/// What isn't there yet may still come.
fn settled<T>(result: Result<T, RecvError>) -> Poll<io::Result<T>> {
    match result {
        Err(RecvError::Empty) => Poll::Pending,
        result => Poll::Ready(result.map_err(error::receive)),
    }
}

fn copy(received: &Received, buffer: &mut impl BufMut) -> (usize, SocketAddr) {
    let count = received.payload.len().min(buffer.remaining_mut());
    buffer.put_slice(&received.payload[..count]);
    (count, received.source())
}

/// The same for tokio's buffers.
fn fill(received: &Received, buffer: &mut ReadBuf<'_>) -> (usize, SocketAddr) {
    let count = received.payload.len().min(buffer.remaining());
    buffer.put_slice(&received.payload[..count]);
    (count, received.source())
}
