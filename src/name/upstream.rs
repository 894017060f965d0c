//! The way to one listener of a space: pools of connections, and what was learnt about it.
//!
//! hyper's client wants connectors whose futures are `Send`; spaces live on one thread. So a
//! connector sends its wish to [`dial_all`], which runs where the spaces are.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OnceCell, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::route::Kind;
use super::{PortInfo, SpaceRef, Spaces};

/// How long a listener may take to accept. Inside one machine it takes microseconds; a full backlog
/// makes the kernel try again after 1 and 3 seconds.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle connection is kept. Shorter than the five seconds after which Node and Apache
/// close one, so that a request doesn't meet the closing; and a server that handles one connection
/// at a time is not blocked for long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// Idle connections kept to one listener.
const IDLE_MAX: usize = 32;

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
    pub(super) http1: Client<Connector, Incoming>,
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
            .pool_max_idle_per_host(IDLE_MAX)
            .http1_preserve_header_case(true)
            .set_host(false);
        Self {
            http1: client.build(connector.clone()),
            http2: client.http2_only(true).build(connector),
            speaks_http2: OnceCell::new(),
            kind: Mutex::new(None),
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
