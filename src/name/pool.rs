//! Connections in HTTP/1.1 to one listener, each used for one request after the other.
//!
//! A connection only makes progress when somebody polls it. Who waits for the response does that, and then who reads the
//! response's body ([`Answer`]): nothing passes from task to task. With a task of its own ([`Line::detach`]) are those of
//! requests that have a body, which goes on while nobody takes the response, and those that change the protocol.
//!
//! A connection comes back when the response's body is dropped. One with a task may then still be busy, and is passed
//! over until it isn't.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::upstream::Failure;

/// How long an idle connection is kept. Shorter than the five seconds after which Node and Apache
/// close one, so that a request doesn't meet the closing; and a server that handles one connection
/// at a time is not blocked for long.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// Idle connections kept to one listener.
const IDLE_MAX: usize = 32;

/// The connections that nobody uses.
#[derive(Debug, Default)]
pub(super) struct Pool(RefCell<Idle>);

#[derive(Debug, Default)]
struct Idle {
    /// Since when each is; the one that came back last is the last.
    lines: Vec<(Line, Instant)>,
    /// Whether somebody will close them when it is time.
    watched: bool,
}

impl Pool {
    /// Passes a request on and gives the response as soon as its head is there. `dial` makes a connection if none is kept.
    pub(super) async fn request(
        self: &Rc<Self>,
        mut request: Request<Incoming>,
        dial: impl AsyncFnOnce() -> io::Result<TcpStream>,
    ) -> Result<Response<Answer>, Failure> {
        while let Some(line) = self.take() {
            match self.ask(line, request).await {
                Ok(response) => return Ok(response),
                // It was closed before it took anything of the request.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Failure::Broken(error.into_error())),
                },
            }
        }
        let stream = Box::pin(dial()).await.map_err(Failure::Unreachable)?;
        let line = Line::open(stream).await.map_err(Failure::Broken)?;
        let answer = self.ask(line, request).await;
        answer.map_err(|error| Failure::Broken(error.into_error()))
    }

    async fn ask(
        self: &Rc<Self>,
        mut line: Line,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, TrySendError<Request<Incoming>>> {
        if !request.body().is_end_stream() {
            line.detach();
        }
        let mut response = pin!(line.sender.try_send_request(request));
        let response = poll_fn(|context| {
            line.drive(context);
            response.as_mut().poll(context)
        });
        let response = response.await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            line.detach();
        }
        Ok(response.map(|body| Answer {
            body,
            lent: Some((line, Rc::downgrade(self))),
            cut: None,
        }))
    }

    /// The connection that was used last and can take a request now.
    fn take(&self) -> Option<Line> {
        let lines = &mut self.0.borrow_mut().lines;
        // What happened to it meanwhile woke nobody.
        let mut now = Context::from_waker(Waker::noop());
        let ready = lines.iter_mut().rposition(|(line, _)| {
            line.drive(&mut now);
            line.sender.is_ready()
        });
        Some(lines.remove(ready?).0)
    }

    fn keep(self: &Rc<Self>, line: Line) {
        let Idle { lines, watched } = &mut *self.0.borrow_mut();
        if lines.len() == IDLE_MAX {
            lines.retain(|(line, _)| !line.sender.is_closed());
        }
        if lines.len() < IDLE_MAX {
            lines.push((line, Instant::now()));
        }
        if !*watched {
            *watched = true;
            tokio::task::spawn_local(watch(Rc::downgrade(self)));
        }
    }

    /// Closes what has been idle for too long, and says when to look again; `None` if nothing is left.
    fn clear(&self) -> Option<Instant> {
        let Idle { lines, watched } = &mut *self.0.borrow_mut();
        let now = Instant::now();
        lines.retain(|(line, since)| !line.sender.is_closed() && now < *since + IDLE_TIMEOUT);
        *watched = !lines.is_empty();
        lines.first().map(|(_, since)| *since + IDLE_TIMEOUT)
    }
}

/// Clears a pool at the right times, until it is empty or gone.
async fn watch(pool: Weak<Pool>) {
    while let Some(next) = pool.upgrade().and_then(|pool| pool.clear()) {
        sleep_until(next).await;
    }
}

type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>>>>;

/// One connection.
struct Line {
    sender: SendRequest<Incoming>,
    /// There as long as it has neither ended nor a task of its own.
    connection: Option<Connection>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line")
            .field("closed", &self.sender.is_closed())
            .field("has_task", &self.connection.is_none())
            .finish_non_exhaustive()
    }
}

impl Line {
    /// Speaks HTTP on a new connection.
    async fn open(stream: TcpStream) -> hyper::Result<Self> {
        let mut speaks = http1::Builder::new();
        speaks.preserve_header_case(true);
        let (sender, connection) = speaks.handshake(TokioIo::new(stream)).await?;
        Ok(Self {
            sender,
            connection: Some(Box::pin(connection.with_upgrades())),
        })
    }

    /// Does what can be done now. Who waits for a response is told of an error.
    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && connection.as_mut().poll(context).is_ready()
        {
            self.connection = None;
        }
    }

    /// Has a task of its own do it from now on.
    fn detach(&mut self) {
        if let Some(connection) = self.connection.take() {
            tokio::task::spawn_local(connection);
        }
    }
}

/// The body of a listener's response, and the connection on which it comes, if it comes on one of a [`Pool`].
#[derive(Debug)]
pub(super) struct Answer {
    body: Incoming,
    lent: Option<(Line, Weak<Pool>)>,
    /// The error that comes next. hyper's server drops what it hasn't sent yet when it is told; it sends while it waits.
    cut: Option<hyper::Error>,
}

/// One in HTTP/2, where a connection carries many at the same time.
impl From<Incoming> for Answer {
    fn from(body: Incoming) -> Self {
        Self {
            body,
            lent: None,
            cut: None,
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Self { body, lent, cut } = &mut *self;
        if let Some(error) = cut.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let mut body = Pin::new(body);
        let mut come = body.as_mut().poll_frame(context);
        if let (Poll::Pending, Some((line, _))) = (&come, lent) {
            line.drive(context);
            come = body.poll_frame(context);
        }
        if let Poll::Ready(Some(Err(error))) = come {
            *cut = Some(error);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        come
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The connection goes back, unless the rest of a body is still to come on it, which nobody wants any more.
impl Drop for Answer {
    fn drop(&mut self) {
        if let Some((line, pool)) = self.lent.take()
            && let Some(pool) = pool.upgrade()
            && (line.connection.is_none() || line.sender.is_ready())
            && !line.sender.is_closed()
        {
            pool.keep(line);
        }
    }
}
