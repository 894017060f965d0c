//! The way to one listener of a space: its connections, and what was learnt about it.
//!
//! Those in HTTP/1.1 are in our own [`Pool`]; those in HTTP/2 hyper's client has. It wants connectors whose futures are
//! `Send`, but spaces live on one thread; so a connector sends its wish to [`dial_all`], which runs where the spaces are.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OnceCell, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::pool::{IDLE_TIMEOUT, Pool};
use super::route::Kind;
use super::{PortInfo, SpaceRef, Spaces};

/// How long a listener may take to accept. Inside one machine it takes microseconds; a full backlog
/// makes the kernel try again after 1 and 3 seconds.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Which listening socket of which space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) space: u64,
    pub(super) port: u16,
    pub(super) listener: u64,
}

impl Key {
    pub(super) fn new(space: &SpaceRef, port: &PortInfo) -> Self {
        Self {
            space: space.id,
            port: port.port,
            listener: port.listener,
        }
    }
}

/// One listener, as it is reached.
#[derive(Debug)]
pub(super) struct Upstream {
    /// For requests in HTTP/1.1.
    pub(super) http1: Rc<Pool>,
    /// For requests in HTTP/2, if the listener speaks it.
    pub(super) http2: Client<Connector, Incoming>,
    /// Whether it speaks HTTP/2 with prior knowledge, once that was asked.
    pub(super) speaks_http2: OnceCell<bool>,
    /// What it is, and when that was learnt. Locked while it is asked, so that it is asked once.
    pub(super) kind: Mutex<Option<(Kind, Instant)>>,
}

impl Upstream {
    pub(super) fn new(dials: mpsc::Sender<Dial>, space: SpaceRef, port: PortInfo) -> Self {
        let connector = Connector { dials, space, port };
        let mut client = Client::builder(TokioExecutor::new());
        client
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http2_only(true);
        Self {
            http1: Rc::default(),
            http2: client.build(connector),
            speaks_http2: OnceCell::new(),
            kind: Mutex::new(None),
        }
    }
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No connection could be made.
    #[error(transparent)]
    Unreachable(io::Error),
    /// There was a connection, but no answer in HTTP/1.1.
    #[error(transparent)]
    Broken(hyper::Error),
    /// Either of the two, in HTTP/2.
    #[error(transparent)]
    Http2(legacy::Error),
}

impl Failure {
    /// Whether no connection could be made.
    pub(super) fn is_connect(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Broken(_) => false,
            Self::Http2(error) => error.is_connect(),
        }
    }
}

/// A wish for a connection.
#[derive(Debug)]
pub(crate) struct Dial {
    space: SpaceRef,
    port: PortInfo,
    reply: oneshot::Sender<io::Result<TcpStream>>,
}

/// Makes connections to one listener, whatever the URI says: that has been decided before.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    dials: mpsc::Sender<Dial>,
    space: SpaceRef,
    port: PortInfo,
}

impl Connector {
    async fn connect(self) -> io::Result<TokioIo<TcpStream>> {
        let (reply, answer) = oneshot::channel();
        let Self { dials, space, port } = self;
        let gone = || io::Error::other("wharf is stopping");
        let dial = Dial { space, port, reply };
        dials.send(dial).await.map_err(|_| gone())?;
        Ok(TokioIo::new(answer.await.map_err(|_| gone())??))
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

/// Fulfils the connectors' wishes until the last of them is gone.
pub(super) async fn dial_all<S: Spaces>(spaces: Rc<S>, mut dials: mpsc::Receiver<Dial>) {
    while let Some(Dial {
        space,
        port,
        mut reply,
    }) = dials.recv().await
    {
        let spaces = Rc::clone(&spaces);
        tokio::task::spawn_local(async move {
            let stream = tokio::select! {
                stream = dial(&*spaces, &space, &port) => stream,
                () = reply.closed() => return,
            };
            // Nobody waits any more: the connection is dropped with the reply.
            let _ = reply.send(stream);
        });
    }
}

/// Connects to a listener within [`CONNECT_TIMEOUT`].
///
/// # Errors
///
/// `TimedOut` when that is over; else those of [`Spaces::dial`].
pub(super) async fn dial<S: Spaces>(
    spaces: &S,
    space: &SpaceRef,
    port: &PortInfo,
) -> io::Result<TcpStream> {
    let stream = timeout(CONNECT_TIMEOUT, spaces.dial(space, port))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}
