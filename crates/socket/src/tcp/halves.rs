//! The two directions of a connection, apart.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::TcpStream;
use super::transfer::Connection;

/// The half of a borrowed [`TcpStream`] that reads. Made by [`TcpStream::split`].
#[derive(Debug)]
pub struct ReadHalf<'a>(pub(super) &'a TcpStream);

/// The half of a borrowed [`TcpStream`] that writes. Made by [`TcpStream::split`].
#[derive(Debug)]
pub struct WriteHalf<'a>(pub(super) &'a TcpStream);

/// The half of a [`TcpStream`] that reads, on its own. Made by [`TcpStream::into_split`].
#[derive(Debug)]
pub struct OwnedReadHalf(Arc<TcpStream>);

/// The half of a [`TcpStream`] that writes, on its own. Made by [`TcpStream::into_split`].
///
/// When it is dropped, this direction is closed, unless it was [forgotten](Self::forget).
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: Arc<TcpStream>,
    at_drop: AtDrop,
}

/// What becomes of the direction when its half is dropped.
#[derive(Debug, PartialEq, Eq)]
enum AtDrop {
    Shutdown,
    Nothing,
}

/// The halves are not of one stream; both are given back.
#[derive(Debug, Error)]
#[error("the halves are of two streams")]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

pub(super) fn own(stream: TcpStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    let stream = Arc::new(stream);
    let read = OwnedReadHalf(Arc::clone(&stream));
    let write = OwnedWriteHalf {
        stream,
        at_drop: AtDrop::Shutdown,
    };
    (read, write)
}

impl OwnedReadHalf {
    /// Makes one stream of both halves again.
    ///
    /// # Errors
    ///
    /// [`ReuniteError`]: they are of two.
    pub fn reunite(self, write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !Arc::ptr_eq(&self.0, &write.stream) {
            return Err(ReuniteError(self, write));
        }
        write.forget();
        Ok(Arc::into_inner(self.0).expect("a stream has two halves, and both are here"))
    }

    /// This end's address.
    ///
    /// # Errors
    ///
    /// None, but tokio's has some.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The other end's address.
    ///
    /// # Errors
    ///
    /// None, but tokio's has some.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }
}

impl OwnedWriteHalf {
    /// Drops the half without closing its direction.
    pub fn forget(mut self) {
        self.at_drop = AtDrop::Nothing;
    }

    /// This end's address.
    ///
    /// # Errors
    ///
    /// None, but tokio's has some.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// The other end's address.
    ///
    /// # Errors
    ///
    /// None, but tokio's has some.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.at_drop == AtDrop::Shutdown {
            // A connection that failed has no direction left to close.
            let _ = self.stream.connection.shutdown();
        }
    }
}

/// For options, and for whatever else a whole stream can do.
impl AsRef<TcpStream> for OwnedReadHalf {
    fn as_ref(&self) -> &TcpStream {
        &self.0
    }
}

/// For options, and for whatever else a whole stream can do.
impl AsRef<TcpStream> for OwnedWriteHalf {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

/// Reads by way of the connection.
macro_rules! reads {
    ($half:ty, $connection:expr) => {
        impl AsyncRead for $half {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let connection: fn(&Self) -> &Connection = $connection;
                connection(&self).poll_read(cx, buffer)
            }
        }
    };
}

/// Writes by way of the connection.
macro_rules! writes {
    ($half:ty, $connection:expr) => {
        impl AsyncWrite for $half {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                data: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_write_vectored(cx, &[IoSlice::new(data)])
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                parts: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let connection: fn(&Self) -> &Connection = $connection;
                connection(&self).poll_write(cx, parts)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let connection: fn(&Self) -> &Connection = $connection;
                Poll::Ready(connection(&self).shutdown())
            }
        }
    };
}

reads!(ReadHalf<'_>, |half| &half.0.connection);
reads!(OwnedReadHalf, |half| &half.0.connection);
writes!(WriteHalf<'_>, |half| &half.0.connection);
writes!(OwnedWriteHalf, |half| &half.stream.connection);
