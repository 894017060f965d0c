//! quinn over wharf's UDP.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, UdpPoller};
use wharf_net::Received;
use wharf_socket::UdpSocket;

/// A [`UdpSocket`] as quinn wants it.
///
/// Datagrams longer than the link's packets would go in fragments, so quinn is told to keep to the 1,200 bytes that
/// pass everywhere.
#[derive(Debug)]
pub struct Socket(UdpSocket);

/// An endpoint of QUIC on a socket: a client's, or with `server` a server's.
///
/// # Errors
///
/// quinn's.
pub fn endpoint(socket: UdpSocket, server: Option<ServerConfig>) -> io::Result<Endpoint> {
    Endpoint::new_with_abstract_socket(
        EndpointConfig::default(),
        server,
        Arc::new(Socket(socket)),
        Arc::new(TokioRuntime),
    )
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room {
            socket: self,
            waiting: None,
        })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.0
            .try_send_to(transmit.contents, transmit.destination)
            .map(drop)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut count = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            match self.0.poll_recv_whole(cx) {
                Poll::Ready(Ok(received)) => *meta = fill(buffer, &received),
                failed if count == 0 => return failed.map_ok(|_| 0),
                _ => break,
            }
            count += 1;
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

fn fill(buffer: &mut [u8], received: &Received) -> RecvMeta {
    let len = received.payload.len().min(buffer.len());
    buffer[..len].copy_from_slice(&received.payload[..len]);
    RecvMeta {
        addr: received.source(),
        len,
        stride: len,
        ecn: None,
        dst_ip: Some(received.to.address()),
    }
}

/// One task's wait for room to send.
struct Room {
    socket: Arc<Socket>,
    waiting: Option<Waiting>,
}

type Waiting = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

impl UdpPoller for Room {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = Arc::clone(&self.socket);
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(async move { socket.0.writable().await }));
        let result = waiting.as_mut().poll(cx);
        if result.is_ready() {
            self.waiting = None;
        }
        result
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}
