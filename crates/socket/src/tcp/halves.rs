//! The two directions of a connection, apart.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BufMut;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};

use super::TcpStream;

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
}

impl OwnedWriteHalf {
    /// Drops the half without closing its direction.
    pub fn forget(mut self) {
        self.at_drop = AtDrop::Nothing;
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

/// What tokio's halves have of the whole stream's methods, for either direction.
macro_rules! either_way {
    ($half:ty, $stream:expr) => {
        impl $half {
            fn whole(&self) -> &TcpStream {
                let stream: fn(&Self) -> &TcpStream = $stream;
                stream(self)
            }

            /// This end's address.
            ///
            /// # Errors
            ///
            /// None, but tokio's has some.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.whole().local_addr()
            }

            /// The other end's address.
            ///
            /// # Errors
            ///
            /// None, but tokio's has some.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.whole().peer_addr()
            }

            /// [`TcpStream::ready`].
            ///
            /// # Errors
            ///
            /// Those of the stream's.
            pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
                self.whole().ready(interest).await
            }
        }
    };
}

/// The methods of a whole stream for who reads.
macro_rules! to_read {
    ($half:ty) => {
        impl $half {
            /// [`TcpStream::readable`].
            ///
            /// # Errors
            ///
            /// Those of the stream's.
            pub async fn readable(&self) -> io::Result<()> {
                self.whole().readable().await
            }

            /// [`TcpStream::try_read`].
            ///
            /// # Errors
            ///
            /// Those of the stream's.
            pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
                self.whole().try_read(buffer)
            }

            /// [`TcpStream::try_read_buf`].
            ///
            /// # Errors
            ///
            /// Those of the stream's.
            pub fn try_read_buf(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
                self.whole().try_read_buf(buffer)
            }

            /// [`TcpStream::try_read_vectored`].
            ///
            /// # Errors
            ///
            /// Those of the stream's.
            pub fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.whole().try_read_vectored(buffers)
            }

            /// [`TcpStream::peek`].
            ///
            /// # Errors
            ///
            /// Those of the stream's.
            pub async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.whole().peek(buffer).await
            }

            /// [`TcpStream::poll_peek`].
            pub fn poll_peek(
                &mut self,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<usize>> {
                self.whole().poll_peek(cx, buffer)
            }
        }
    };
}

/// The methods of a whole stream for who writes.
macro_rules! to_write {
    ($half:ty) => {
        impl $half {
            /// [`TcpStream::writable`].
            ///
            /// # Errors
            ///
            /// Those of the stream's.
            pub async fn writable(&self) -> io::Result<()> {
                self.whole().writable().await
            }

            /// [`TcpStream::try_write`].
            ///
            /// # Errors
            ///
            /// Those of the stream's.
            pub fn try_write(&self, data: &[u8]) -> io::Result<usize> {
                self.whole().try_write(data)
            }

            /// [`TcpStream::try_write_vectored`].
            ///
            /// # Errors
            ///
            /// Those of the stream's.
            pub fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
                self.whole().try_write_vectored(parts)
            }
        }
    };
}

/// Reads by way of the connection.
macro_rules! reads {
    ($half:ty) => {
        impl AsyncRead for $half {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                self.whole().connection.poll_read(cx, buffer)
            }
        }
    };
}

/// Writes by way of the connection.
macro_rules! writes {
    ($half:ty) => {
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
                self.whole().connection.poll_write(cx, parts)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.whole().connection.shutdown())
            }
        }
    };
}

either_way!(ReadHalf<'_>, |half| half.0);
either_way!(WriteHalf<'_>, |half| half.0);
either_way!(OwnedReadHalf, |half| &half.0);
either_way!(OwnedWriteHalf, |half| &half.stream);
to_read!(ReadHalf<'_>);
to_read!(OwnedReadHalf);
to_write!(WriteHalf<'_>);
to_write!(OwnedWriteHalf);
reads!(ReadHalf<'_>);
reads!(OwnedReadHalf);
writes!(WriteHalf<'_>);
writes!(OwnedWriteHalf);
