//! Accepting clients, and hyper's server over each connection.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::certificates::Certificates;
use super::{Front, Scheme, Spaces};

/// How long a client may take to send a request's head, and how long it may stay connected without
/// asking anything.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How often an HTTP/2 client is asked whether it is still there, and how long it may take to
/// answer.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What holds a client's place among [`super::CLIENTS_MAX`]. Tunnels keep it after the connection's
/// own end.
pub(super) type Seat = Arc<OwnedSemaphorePermit>;

/// Who asks, and in which way.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) address: SocketAddr,
    pub(super) scheme: Scheme,
    pub(super) seat: Seat,
}

/// What is spoken at a port of the front.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// HTTP.
    Open,
    /// TLS, with certificates of these.
    Secure(Rc<Certificates>),
}

/// Runs hyper's tasks on this thread: the futures are not `Send`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

impl<S: Spaces> Front<S> {
    /// Serves the clients of one listener, for ever. Call it once for each listener; when the
    /// future is dropped, its connections are, too. It runs inside a `LocalSet`.
    pub(crate) async fn serve(self: Rc<Self>, listener: TcpListener, door: Door) -> Infallible {
        let mut connections = JoinSet::new();
        loop {
            let seat = Arc::clone(&self.clients).acquire_owned().await;
            let seat = seat.expect("the front never closes its semaphore");
            let (stream, address) = accept(&listener, &mut connections).await;
            let (front, door) = (Rc::clone(&self), door.clone());
            connections.spawn_local(front.connection(stream, address, Arc::new(seat), door));
        }
    }

    async fn connection(
        self: Rc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        seat: Seat,
        door: Door,
    ) {
        // Before the first byte hyper doesn't know the protocol, and so has no time limit yet.
        let Ok(Ok(())) = timeout(HEAD_TIMEOUT, stream.readable()).await else {
            return;
        };
        let _ = stream.set_nodelay(true);
        let client = |scheme| Client {
            address,
            scheme,
            seat,
        };
        match door {
            Door::Open => {
                self.converse(TokioIo::new(stream), client(Scheme::Http))
                    .await;
            }
            Door::Secure(certificates) => {
                let client = client(Scheme::Https);
                if let Err(error) = self.greet(stream, client, &certificates).await {
                    tracing::debug!(%address, %error, "by name: no TLS");
                }
            }
        }
    }

    /// Answers what is asked on a connection, until it ends.
    pub(super) async fn converse<I>(self: Rc<Self>, stream: I, client: Client)
    where
        I: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    {
        let address = client.address;
        let service = service_fn(move |request| {
            let (front, client) = (Rc::clone(&self), client.clone());
            async move { Ok::<_, Infallible>(front.answer(request, client).await) }
        });
        let server = server();
        let connection = server.serve_connection_with_upgrades(stream, service);
        if let Err(error) = connection.await {
            tracing::debug!(%address, error, "by name: connection ended early");
        }
    }
}

/// How HTTP is spoken with clients.
pub(super) fn server() -> auto::Builder<Local> {
    let mut server = auto::Builder::new(Local);
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .preserve_header_case(true);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    server
}

/// The next client. Ended connections are cleared away while it waits.
async fn accept(listener: &TcpListener, connections: &mut JoinSet<()>) -> (TcpStream, SocketAddr) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => return accepted,
                Err(error) => pause(&error).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Waits if the error will not go away by itself at once.
async fn pause(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    ) {
        return;
    }
    tracing::warn!(%error, "by name: cannot accept connections");
    sleep(ACCEPT_PAUSE).await;
}
