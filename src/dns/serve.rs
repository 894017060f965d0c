//! The name service on sockets: those that are made inside a space, and streams that the relay
//! hands over.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Resolver, Spaces, Transport, forward};

/// The largest query that is read from a datagram. Queries rarely have more than 100 bytes.
const QUERY_MAX: usize = 4096;

/// Queries of one socket under way at one time; further ones wait in the kernel.
const QUERIES_MAX: usize = 256;

/// Streams of one listener at one time; further ones wait in the kernel.
const STREAMS_MAX: usize = 64;

/// How long a stream may be idle, and how long a message may take to pass (RFC 7766 §6.2.3).
const IDLE: Duration = Duration::from_secs(10);

/// Pause after an error that will not go away by itself at once.
const PAUSE: Duration = Duration::from_millis(100);

impl<S: Spaces> Resolver<S> {
    /// Answers the queries that come to a UDP socket, for ever. It runs inside a `LocalSet`; when
    /// the future is dropped, so are its queries.
    pub(crate) async fn serve_udp(self: Rc<Self>, socket: UdpSocket) -> Infallible {
        let socket = Rc::new(socket);
        let mut queries = JoinSet::new();
        let mut query = [0; QUERY_MAX];
        loop {
            let room = queries.len() < QUERIES_MAX;
            tokio::select! {
                received = socket.recv_from(&mut query), if room => match received {
                    Ok((length, asker)) => {
                        let query = query[..length].to_vec();
                        let resolver = Rc::clone(&self);
                        queries.spawn_local(resolver.reply(Rc::clone(&socket), query, asker));
                    }
                    Err(error) => pause(&error).await,
                },
                Some(_) = queries.join_next() => {}
            }
        }
    }

    async fn reply(self: Rc<Self>, socket: Rc<UdpSocket>, query: Vec<u8>, asker: SocketAddr) {
        let Some(reply) = self.answer(&query, Transport::Udp).await else {
            return;
        };
        if let Err(error) = socket.send_to(&reply, asker).await {
            tracing::debug!(%asker, %error, "dns: a reply was lost");
        }
    }

    /// Answers the queries that come over a listener's connections, for ever. It runs inside a
    /// `LocalSet`; when the future is dropped, so are its connections.
    pub(crate) async fn serve_tcp(self: Rc<Self>, listener: TcpListener) -> Infallible {
        let room = Arc::new(Semaphore::new(STREAMS_MAX));
        let mut streams = JoinSet::new();
        loop {
            let place = Arc::clone(&room).acquire_owned().await;
            let place = place.expect("nobody closes this semaphore");
            let stream = loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => break stream,
                        Err(error) => pause(&error).await,
                    },
                    Some(_) = streams.join_next() => {}
                }
            };
            let resolver = Rc::clone(&self);
            streams.spawn_local(async move {
                resolver.serve_tcp_stream(stream).await;
                drop(place);
            });
        }
    }

    /// Answers the queries that come over one stream, one after the other, until it ends, is idle
    /// for ten seconds, or brings something that is no query.
    pub(crate) async fn serve_tcp_stream(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        while let Ok(Ok(query)) = timeout(IDLE, message(&mut stream)).await {
            let Some(reply) = self.answer(&query, Transport::Tcp).await else {
                return;
            };
            let Ok(Ok(())) = timeout(IDLE, forward::send(&mut stream, &reply)).await else {
                return;
            };
        }
    }
}

/// Reads a message with its length in front (RFC 1035 §4.2.2).
async fn message(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn pause(error: &io::Error) {
    tracing::debug!(%error, "dns: a socket failed");
    sleep(PAUSE).await;
}
