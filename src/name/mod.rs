//! By name: one port of the machine, shared by the web servers of all spaces.
//!
//! HTTP itself says whom it is for, in `Host` or `:authority`, so a single address (127.0.0.1:7070
//! and `[::1]:7070` unless configured) is enough for all of them:
//!
//! | name asked for | who answers |
//! |---|---|
//! | `NAME.localhost` | the web server of the space NAME ([`route`] says which one, if it has several) |
//! | `PORT.NAME.localhost` | what listens on that port in the space NAME, whatever it is |
//! | `anything.NAME.localhost`, `anything.PORT.NAME.localhost` | the same; `anything` is the server's own business |
//! | `wharf.localhost` | wharf's own page ([`crate::web`]); to who doesn't ask for HTML, as `localhost` |
//! | `localhost`, a loopback address | a page of what there is |
//! | an unknown NAME | the same page, as a 404 |
//! | anything else | nobody (421): a foreign site that resolves to loopback must not read our pages |
//!
//! # Theory of operation
//!
//! [`Front::serve`] accepts connections, hyper reads HTTP/1.1 or HTTP/2 (prior knowledge) from them
//! (on the port of HTTPS, TLS comes first: [`secure`]) and [`Front`] answers each request: [`host`] parses the name, [`Spaces`] finds the space and
//! what listens there, [`route`] picks a listener, [`proxy`] passes the request on through the
//! listener's [`upstream`] (a pool of connections that [`Spaces::dial`] makes inside the space) and
//! the response back. Bodies stream; nothing is buffered, so back-pressure reaches from one end to
//! the other. When either side goes away, the other connection is dropped.
//!
//! `Host` reaches the server as the client sent it. Development servers check it against DNS
//! rebinding, and those that do (Vite, webpack-dev-server, Rails, Django in debug mode) let every
//! name below `.localhost` pass; rewriting it to `localhost:PORT` would break the redirects,
//! cookies and absolute links that they build from it.
//!
//! Browsers and curl know that names below `.localhost` are loopback, and spaces learn it from our
//! name service. Other programs on the machine know it if its resolver does (systemd-resolved,
//! `nss-myhostname`).
//!
//! Over HTTPS (127.0.0.1:7443, once `wharf trust` was asked for it) names mean the same. A program that speaks TLS itself
//! gets its connections untouched.
//!
//! It is *not* a general proxy: it dials nothing but spaces, and it takes no `CONNECT`.
//!
//! RFCs: 9110 (semantics), 9112 (HTTP/1.1), 9113 (HTTP/2), 7239 (Forwarded), 6761 §6.3
//! (`.localhost`).

mod answer;
mod certificates;
mod explain;
mod headers;
mod host;
mod label;
mod listen;
mod page;
mod pool;
mod probe;
mod proxy;
mod route;
mod secure;
mod upstream;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::uri::Authority;
use hyper::{Request, Response};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

pub(crate) use certificates::Certificates;
pub(crate) use host::{Place as ByName, place as by_name};
pub(crate) use label::{is_label, label};
pub(crate) use listen::Door;

use crate::web;

/// Whether something that listens at this port may be a web server; not where another protocol has its usual port.
pub(crate) fn may_be_web(port: u16) -> bool {
    route::is_web(port)
}

/// Connections of clients at one time, tunnels included. Further ones wait in the kernel's queue.
pub(crate) const CLIENTS_MAX: usize = 1024;

/// How a name is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// In clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As it stands in an address.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What the front has to know of spaces. The daemon implements it.
///
/// The futures need not be `Send`: everything runs on one thread, in a `LocalSet`.
pub(crate) trait Spaces: 'static {
    /// The running space with this name, which arrives in lower case.
    fn find(&self, name: &str) -> Option<SpaceRef>;

    /// All running spaces, in the order in which a person should see them.
    fn all(&self) -> Vec<SpaceRef>;

    /// The TCP listeners of a space, at most one entry for a port. It is asked once for each
    /// request, so the answer should come from memory. Empty if the space has gone.
    fn listeners(&self, space: &SpaceRef) -> impl Future<Output = Rc<[PortInfo]>>;

    /// Connects to a listener from inside the space, so that one on loopback is reached: to
    /// 127.0.0.1, then ::1, or to the address that the listener is bound to. The front sets the
    /// time limit and drops the future when nobody waits for it any more.
    ///
    /// # Errors
    ///
    /// Those of socket(2) and connect(2), of the last address that was tried.
    fn dial(
        &self,
        space: &SpaceRef,
        port: &PortInfo,
    ) -> impl Future<Output = io::Result<TcpStream>>;

    /// Answers a request for wharf's own page.
    ///
    /// # Errors
    /// If there can be no page.
    fn page(
        &self,
        request: Request<Incoming>,
        authority: &Authority,
    ) -> impl Future<Output = io::Result<Response<web::Body>>>;
}

/// A running space, as the front knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpaceRef {
    /// Never used again for another space as long as the daemon lives.
    pub(crate) id: u64,
    /// A DNS label in lower case; see [`label()`].
    pub(crate) name: String,
    /// The directory that the space belongs to, shown to people.
    pub(crate) directory: PathBuf,
}

/// A port of a space on which somebody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortInfo {
    /// 1–65535.
    pub(crate) port: u16,
    /// The addresses that it is bound to, as in 0.0.0.0, 127.0.0.1 or ::1.
    pub(crate) addresses: Vec<IpAddr>,
    /// The program's name, shown to people; empty if it isn't known.
    pub(crate) program: String,
    /// Tells this listening socket from a later one on the same port (its inode or cookie). What
    /// was learnt about a listener is forgotten with it.
    pub(crate) listener: u64,
}

/// The by-name front. One serves all listeners that it is given.
pub(crate) struct Front<S> {
    spaces: Rc<S>,
    upstreams: RefCell<HashMap<upstream::Key, Rc<upstream::Upstream>>>,
    /// Connections that were upgraded, by the space's id.
    tunnels: RefCell<HashMap<u64, JoinSet<()>>>,
    dials: mpsc::Sender<upstream::Dial>,
    clients: Arc<Semaphore>,
}

impl<S> std::fmt::Debug for Front<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front")
            .field("upstreams", &self.upstreams.borrow().len())
            .field("clients_free", &self.clients.available_permits())
            .finish_non_exhaustive()
    }
}

impl<S: Spaces> Front<S> {
    /// A front for these spaces. To be called, and used, inside a `LocalSet`.
    pub(crate) fn new(spaces: S) -> Rc<Self> {
        let spaces = Rc::new(spaces);
        let (dials, requests) = mpsc::channel(64);
        tokio::task::spawn_local(upstream::dial_all(Rc::clone(&spaces), requests));
        Rc::new(Self {
            spaces,
            upstreams: RefCell::default(),
            tunnels: RefCell::default(),
            dials,
            clients: Arc::new(Semaphore::new(CLIENTS_MAX)),
        })
    }

    /// Drops what is kept for a space: idle connections, tunnels, what was learnt of its listeners.
    /// To be called when a space ends, since a connected socket keeps its network namespace alive.
    pub(crate) fn forget(&self, space: u64) {
        self.upstreams
            .borrow_mut()
            .retain(|key, _| key.space != space);
        self.tunnels.borrow_mut().remove(&space);
    }
}
