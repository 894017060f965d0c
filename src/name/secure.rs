//! TLS: passed through untouched to programs that speak it themselves, ended here for all others.
//!
//! # Theory of operation
//!
//! A client's first message names the server that it wants (RFC 6066 §3, SNI), in clear. rustls reads it, and until it
//! has, nothing is answered; what was read is kept. The name leads to a listener by the same rule as over HTTP. Then:
//!
//! 1. A listener on a port of a well-known protocol other than HTTP gets the connection as it is, and so does any if the
//!    client offers only protocols (RFC 7301, ALPN) that the front doesn't speak: nobody else could answer.
//! 2. So does a listener that answers a TLS greeting in TLS. That is found out once for each listening socket.
//! 3. With everybody else the front speaks: it shows a certificate of this user's own authority, and what comes inside
//!    of TLS is answered as if it had come to the port of HTTP.
//!
//! Who speaks HTTP without TLS to this port is sent to the same place with `https`.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::server::{Acceptor, ClientHello};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::StartHandshake;

use super::answer::Ask;
use super::certificates::{Certificates, speaks_http};
use super::host::{self, Place};
use super::listen::Client;
use super::page::{Form, Page};
use super::route::{self, Choice, Kind};
use super::{Front, PortInfo, SpaceRef, Spaces, answer, upstream};
use crate::publish::splice;

/// How long a client may take until TLS stands, from its connection on.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What TLS connections begin with: a record of the handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

impl<S: Spaces> Front<S> {
    /// Serves one client of the port of HTTPS.
    pub(super) async fn greet(
        self: Rc<Self>,
        stream: TcpStream,
        client: Client,
        certificates: &Certificates,
    ) -> io::Result<()> {
        let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
        let mut first = [0];
        match timeout_at(deadline, stream.peek(&mut first)).await?? {
            0 => return Ok(()),
            _ if first != [HANDSHAKE] => return show_the_way(stream, client).await,
            _ => {}
        }
        let hello = LazyConfigAcceptor::new(Acceptor::default(), Recorder::new(stream));
        let hello = timeout_at(deadline, hello).await??;
        if let Some((space, listener)) = self.speaks_for_itself(&hello.client_hello()).await {
            return self.pass_through(hello, client, space, &listener).await;
        }
        let config = certificates.config().map_err(io::Error::other)?;
        let stream = timeout_at(deadline, ended_here(hello, config)).await??;
        self.converse(TokioIo::new(stream), client).await;
        Ok(())
    }

    /// The listener that the client names, if it is to speak TLS itself.
    async fn speaks_for_itself(&self, hello: &ClientHello<'_>) -> Option<(SpaceRef, PortInfo)> {
        let Place::Space { name, port } = host::place(hello.server_name()?)? else {
            return None;
        };
        let space = self.spaces.find(&name)?;
        let listeners = self.spaces.listeners(&space).await;
        let listener = match port {
            Some(port) => listeners.iter().find(|listener| listener.port == port)?,
            None => match self.choose(&space, &listeners).await {
                Choice::One(listener) => listener,
                Choice::Several(_) | Choice::Nobody => return None,
            },
        };
        let http = route::worth_asking(listener) && hello.alpn().is_none_or(speaks_http);
        if http && !self.speaks_tls(&space, listener, &listeners).await {
            return None;
        }
        Some((space, listener.clone()))
    }

    /// Whether a listener speaks TLS. One that gave no answer at all may have been starting, and is asked again.
    async fn speaks_tls(
        &self,
        space: &SpaceRef,
        listener: &PortInfo,
        listeners: &[PortInfo],
    ) -> bool {
        let upstream = self.upstream(space, listener, listeners);
        let kind = self.kind(space, listener, &upstream, Ask::Once).await;
        let kind = match kind {
            Kind::Silent => self.kind(space, listener, &upstream, Ask::Again).await,
            known => known,
        };
        kind == Kind::Secure
    }

    /// Gives a listener the connection as it came, and what was read of it first.
    async fn pass_through(
        &self,
        hello: StartHandshake<Recorder>,
        client: Client,
        space: SpaceRef,
        listener: &PortInfo,
    ) -> io::Result<()> {
        let Recorder { stream, heard } = hello.io;
        let mut server = upstream::dial(&*self.spaces, &space, listener).await?;
        server.write_all(&heard.unwrap_or_default()).await?;
        self.dig(space.id, async move {
            splice::carry(stream, server).await;
            drop(client);
        });
        Ok(())
    }
}

/// Does the rest of the handshake.
async fn ended_here(
    mut hello: StartHandshake<Recorder>,
    config: std::sync::Arc<rustls::ServerConfig>,
) -> io::Result<tokio_rustls::server::TlsStream<Recorder>> {
    hello.io.heard = None;
    hello.into_stream(config).await
}

/// Answers who speaks HTTP without TLS: the same place is found over TLS.
async fn show_the_way(stream: TcpStream, client: Client) -> io::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let seat = client.clone();
        async move {
            let _seat = seat;
            Ok::<_, Infallible>(way(&request).respond(Form::of(request.headers())))
        }
    });
    let server = super::listen::server();
    let connection = server.serve_connection(TokioIo::new(stream), service);
    connection.await.map_err(io::Error::other)
}

fn way(request: &Request<Incoming>) -> Page {
    let authority = match answer::authority(request) {
        Ok(authority) => authority,
        Err(page) => return page,
    };
    if let None | Some(Place::Foreign) = host::place(authority.as_str()) {
        return super::explain::foreign(&authority);
    }
    let path = request.uri().path_and_query();
    let path = path.map_or("/", |path| path.as_str());
    // The method and the body are to be the same there.
    Page::new(StatusCode::PERMANENT_REDIRECT, "This port speaks HTTPS")
        .towards(&format!("https://{authority}{path}"))
}

/// A connection that keeps what is read from it, until it is told not to.
#[derive(Debug)]
struct Recorder {
    stream: TcpStream,
    /// Not more than the longest first message that rustls reads (64 KiB and a record).
    heard: Option<Vec<u8>>,
}

impl Recorder {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            heard: Some(Vec::new()),
        }
    }
}

impl AsyncRead for Recorder {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if let Some(heard) = &mut self.heard {
            heard.extend_from_slice(&buffer.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Recorder {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
