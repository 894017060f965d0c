//! What the by-name front wants to know of spaces, and the sockets that it serves.

use std::cell::RefCell;
use std::fmt::Write;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::http::uri::Authority;
use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::space::Space;
use super::spaces::Spaces;
use crate::list::{self, Protocol};
use crate::name::{self, Certificates, Door, Front, PortInfo, Scheme, SpaceRef};
use crate::trust::authority::Files;
use crate::web;

/// Where the front is unless `WHARF_NAMES_PORT` says otherwise.
const NAMES_PORT: u16 = 7070;
/// Where it is over TLS unless `WHARF_HTTPS_PORT` says otherwise.
const HTTPS_PORT: u16 = 7443;
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// The port of the by-name front, unless none is wanted (`WHARF_NAMES_PORT=0`).
pub(crate) fn names_port() -> Option<u16> {
    wanted(std::env::var("WHARF_NAMES_PORT"), NAMES_PORT)
}

/// Its port of HTTPS, unless none is wanted (`WHARF_HTTPS_PORT=0`). Nothing is there before `wharf trust`.
pub(crate) fn https_port() -> Option<u16> {
    wanted(std::env::var("WHARF_HTTPS_PORT"), HTTPS_PORT)
}

fn wanted(said: Result<String, std::env::VarError>, usual: u16) -> Option<u16> {
    let wanted = said.ok().and_then(|port| port.parse().ok());
    Some(wanted.unwrap_or(usual)).filter(|&port| port != 0)
}

/// The front, and at which addresses it serves.
pub(super) struct Doors {
    front: Rc<Front<Directory>>,
    open: RefCell<Vec<Opened>>,
}

/// A door that is open until this is dropped.
struct Opened {
    scheme: Scheme,
    address: IpAddr,
    served: JoinHandle<std::convert::Infallible>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.served.abort();
    }
}

impl Doors {
    /// No door is open yet. To be called inside a `LocalSet`.
    pub(super) fn new(spaces: Rc<Spaces>) -> Self {
        Self {
            front: Front::new(Directory(spaces)),
            open: RefCell::default(),
        }
    }

    /// Opens the doors that are not open, as far as nobody else stands there, and shuts those of an authority that is no
    /// more; answers with what keeps one shut, in sentences for the user. Machines without IPv6 do without its door.
    pub(super) async fn open(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(port) = names_port() {
            remarks.extend(self.open_at(port, Scheme::Http, &Door::Open).await);
        }
        let files = Files::of_user();
        if !files.exist() {
            let mut open = self.open.borrow_mut();
            open.retain(|opened| opened.scheme != Scheme::Https);
        } else if let Some(port) = https_port() {
            let door = Door::Secure(Rc::new(Certificates::of(files)));
            remarks.extend(self.open_at(port, Scheme::Https, &door).await);
        }
        remarks
    }

    async fn open_at(&self, port: u16, scheme: Scheme, door: &Door) -> Option<String> {
        let mut remark = None;
        for address in LOOPBACK {
            if self.is_open(scheme, address) {
                continue;
            }
            match TcpListener::bind((address, port)).await {
                Ok(listener) => {
                    let served = Rc::clone(&self.front).serve(listener, door.clone());
                    self.open.borrow_mut().push(Opened {
                        scheme,
                        address,
                        served: tokio::task::spawn_local(served),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse || address.is_ipv4() => {
                    remark = Some(explain(address, port, scheme, &error));
                }
                Err(_) => {}
            }
        }
        remark
    }

    fn is_open(&self, scheme: Scheme, address: IpAddr) -> bool {
        let open = self.open.borrow();
        open.iter()
            .any(|opened| (opened.scheme, opened.address) == (scheme, address))
    }

    /// Where the space of that name is reached; nowhere while somebody else stands at the IPv4 door, where most clients
    /// look first.
    pub(super) fn url(&self, scheme: Scheme, name: &str) -> Option<String> {
        let port = match scheme {
            Scheme::Http => names_port(),
            Scheme::Https => https_port(),
        };
        let port = port.filter(|_| self.is_open(scheme, LOOPBACK[0]))?;
        Some(format!("{}://{name}.localhost:{port}", scheme.as_str()))
    }

    /// Drops what is kept for a space that has ended.
    pub(super) fn forget(&self, space: u64) {
        self.front.forget(space);
    }
}

/// Who is in the way, and what to do.
fn explain(address: IpAddr, port: u16, scheme: Scheme, error: &io::Error) -> String {
    let (over, variable) = match scheme {
        Scheme::Http => ("", "WHARF_NAMES_PORT"),
        Scheme::Https => (" over HTTPS", "WHARF_HTTPS_PORT"),
    };
    let at = SocketAddr::new(address, port);
    let mut sentence = format!("names are not served{over} at {at}: {error}");
    let holder =
        NonZeroU16::new(port).and_then(|port| list::holder_at(Protocol::Tcp, address, port));
    if let Some(holder) = holder {
        let _ = write!(sentence, ", held by {holder}");
    }
    let _ = write!(
        sentence,
        "; end that or choose another port with {variable}"
    );
    sentence
}

/// The spaces, as the front sees them.
#[derive(Debug)]
struct Directory(Rc<Spaces>);

impl name::Spaces for Directory {
    fn find(&self, name: &str) -> Option<SpaceRef> {
        self.0.find(name).map(|space| reference(&space))
    }

    fn all(&self) -> Vec<SpaceRef> {
        self.0.all().iter().map(|space| reference(space)).collect()
    }

    async fn listeners(&self, space: &SpaceRef) -> Rc<[PortInfo]> {
        let space = self.0.find(&space.name);
        space.map_or_else(Rc::default, |space| space.listeners())
    }

    async fn dial(&self, space: &SpaceRef, port: &PortInfo) -> io::Result<TcpStream> {
        let space = self
            .0
            .find(&space.name)
            .ok_or(io::ErrorKind::NotConnected)?;
        space.dial(port.port).await
    }

    async fn page(
        &self,
        request: Request<Incoming>,
        authority: &Authority,
    ) -> io::Result<Response<web::Body>> {
        let desk = self.0.web().map_err(io::Error::other)?;
        Ok(web::serve::answer(desk, request, authority).await)
    }
}

fn reference(space: &Space) -> SpaceRef {
    SpaceRef {
        id: space.id,
        name: space.entry.name.clone(),
        directory: space.entry.directory.clone().unwrap_or_default(),
    }
}
