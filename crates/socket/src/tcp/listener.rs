//! A socket that takes connections.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use wharf_net::{AcceptError, Instant, SocketId};
use wharf_port::{Domain, Flow};

use crate::held::{Held, Side};
use crate::shared::State;
use crate::{Stack, TcpSocket, TcpStream, ToSocketAddr, address, error};

/// A TCP socket that listens, as tokio's.
///
/// Connections that wait to be accepted are reset when it is dropped.
///
/// ```
/// use tokio::io::{self, AsyncWriteExt};
/// use wharf_socket::{Stack, TcpListener};
///
/// /// Sends everybody back what they say.
/// async fn echo(stack: &Stack) -> io::Result<()> {
///     let listener = TcpListener::bind(stack, "[::]:7").await?;
///     loop {
///         let (mut stream, _peer) = listener.accept().await?;
///         tokio::spawn(async move {
///             let (mut from, mut to) = stream.split();
///             io::copy(&mut from, &mut to).await?;
///             to.shutdown().await
///         });
///     }
/// }
/// ```
#[derive(Debug)]
pub struct TcpListener {
    held: Held,
    domain: Domain,
}

impl TcpListener {
    /// Listens at an address of the stack's host, or at all: `0.0.0.0` for IPv4, `[::]` for both families. Port 0 is
    /// replaced by a free one. 1,024 connections may wait to be accepted, as with tokio.
    ///
    /// # Errors
    ///
    /// - [`AddrInUse`](io::ErrorKind::AddrInUse): the address is taken; the error says by which socket and why that excludes this one;
    /// - [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable): it is not the host's;
    /// - [`NetworkDown`](io::ErrorKind::NetworkDown): the stack has ended.
    pub async fn bind(stack: &Stack, address: impl ToSocketAddr) -> io::Result<Self> {
        let address = address.to_socket_addr()?;
        let socket = TcpSocket::new(stack, address::domain(address.ip()))?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(1024)
    }

    pub(super) fn new(held: Held, domain: Domain) -> Self {
        Self { held, domain }
    }

    /// Takes the connection that has waited longest, and says who is at its other end. Under a dual-stack listener, an IPv4 peer
    /// has its IPv4 address, not a mapped one.
    ///
    /// Cancel-safe: a connection is taken when the future is ready, not before.
    ///
    /// # Errors
    ///
    /// [`NetworkDown`](io::ErrorKind::NetworkDown): the stack has ended.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (id, flow) = self.held.until(Side::Read, accept).await?;
        Ok(self.accepted(id, flow))
    }

    /// [`accept`](Self::accept) for those who poll; the last task to ask is the one to be woken.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.held
            .poll(cx, Side::Read, accept)
            .map_ok(|(id, flow)| self.accepted(id, flow))
    }

    fn accepted(&self, id: SocketId, flow: Flow) -> (TcpStream, SocketAddr) {
        let stream = TcpStream::new(Held::new(&self.held.stack, id), flow);
        (stream, flow.remote.into())
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// None, but tokio's has some.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.held.local_addr(self.domain))
    }
}

fn accept(
    state: &mut State,
    _now: Instant,
    listener: SocketId,
) -> Poll<io::Result<(SocketId, Flow)>> {
    match state.host.accept(listener) {
        Ok(id) => {
            let flow = state.host.flow(id);
            Poll::Ready(flow.map(|flow| (id, flow)).ok_or_else(error::gone))
        }
        Err(AcceptError::Empty) => Poll::Pending,
        Err(AcceptError::Gone(_)) => Poll::Ready(Err(error::gone())),
    }
}
