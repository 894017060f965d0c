//! UDP at a published place: each client has a socket of its own inside, so that answers find back, or comes as itself.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::Place;
use super::carrier::{Errands, Reached};
use crate::relay::Way;

/// How long a client may say nothing, and hear nothing: RFC 4787 §4.3 asks for two minutes at least.
const IDLE: Duration = Duration::from_secs(120);
/// Clients at one place; the one longest silent makes room for another.
const CLIENTS: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");
/// The longest datagram, in bytes.
const LONGEST: usize = 65_535;

type Clients = RefCell<LruCache<SocketAddr, Client>>;

/// A client at the place.
enum Client {
    /// It has a socket inside.
    Inside {
        socket: Rc<UdpSocket>,
        answers: AbortHandle,
    },
    /// It comes as itself, and its answers have their own way back.
    Guest { way: Way, used: Instant },
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Self::Inside { answers, .. } = self {
            answers.abort();
        }
    }
}

/// A place that is served.
struct Service {
    place: Place,
    socket: Rc<UdpSocket>,
    /// The same socket; whoever else sends by it doesn't keep it open.
    shared: Arc<OwnedFd>,
    clients: Rc<Clients>,
    errands: Errands,
}

/// How a datagram goes on.
enum Onward {
    Inside(Rc<UdpSocket>),
    Guest(Way),
}

/// Serves `place` for good.
pub(super) async fn serve(place: Place, socket: UdpSocket, errands: Errands) {
    let shared = match socket.as_fd().try_clone_to_owned() {
        Ok(shared) => Arc::new(shared),
        Err(error) => return tracing::error!("cannot serve {place}: {error}"),
    };
    let service = Service {
        place,
        socket: Rc::new(socket),
        shared,
        clients: Rc::new(RefCell::new(LruCache::new(CLIENTS))),
        errands,
    };
    let mut datagram = vec![0; LONGEST];
    loop {
        // An error is about an answer that an earlier client had no ear for.
        let Ok((length, client)) = service.socket.recv_from(&mut datagram).await else {
            continue;
        };
        if let Err(error) = service.pass_on(client, &datagram[..length]).await {
            tracing::debug!("a datagram for {place} goes nowhere: {error}");
        }
    }
}

impl Service {
    async fn pass_on(&self, client: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let onward = match self.known(client) {
            Some(onward) => onward,
            None => self.admit(client).await?,
        };
        match onward {
            // Lost, as datagrams are.
            Onward::Inside(inside) => drop(inside.send(datagram).await),
            Onward::Guest(way) => {
                if way.send(Arc::downgrade(&self.shared), datagram).is_err() {
                    // The next datagram may find the space anew.
                    self.clients.borrow_mut().pop(&client);
                }
            }
        }
        Ok(())
    }

    fn known(&self, client: SocketAddr) -> Option<Onward> {
        match self.clients.borrow_mut().get_mut(&client)? {
            Client::Inside { socket, .. } => Some(Onward::Inside(Rc::clone(socket))),
            Client::Guest { way, used } => {
                let idle = std::mem::replace(used, Instant::now()).elapsed() > IDLE;
                (!idle).then(|| Onward::Guest(way.clone()))
            }
        }
    }

    async fn admit(&self, client: SocketAddr) -> io::Result<Onward> {
        let reached = self.errands.find_datagrams_way(self.place, client);
        let (entry, onward) = match reached.await? {
            Reached::By(socket) => {
                let inside = Rc::new(UdpSocket::from_std(socket.into())?);
                let answers = answer(
                    Rc::downgrade(&self.socket),
                    Rc::downgrade(&self.clients),
                    client,
                    Rc::clone(&inside),
                );
                let entry = Client::Inside {
                    socket: Rc::clone(&inside),
                    answers: tokio::task::spawn_local(answers).abort_handle(),
                };
                (entry, Onward::Inside(inside))
            }
            Reached::As(way) => {
                let entry = Client::Guest {
                    way: way.clone(),
                    used: Instant::now(),
                };
                (entry, Onward::Guest(way))
            }
            Reached::Already | Reached::Unclear => {
                return Err(io::ErrorKind::NotConnected.into());
            }
        };
        self.clients.borrow_mut().push(client, entry);
        Ok(onward)
    }
}

/// Carries answers back until the client has been silent for long, or the place is closed: that is up to others.
async fn answer(
    socket: Weak<UdpSocket>,
    clients: Weak<Clients>,
    client: SocketAddr,
    inside: Rc<UdpSocket>,
) {
    let mut datagram = vec![0; LONGEST];
    let mut heard = true;
    loop {
        match timeout(IDLE, inside.recv(&mut datagram)).await {
            Ok(Ok(length)) => {
                heard = true;
                let Some(socket) = socket.upgrade() else {
                    return;
                };
                socket.send_to(&datagram[..length], client).await.ok();
            }
            // Nobody is at the port just now; the next datagram may find somebody.
            Ok(Err(_)) => {}
            Err(_) if heard => heard = false,
            Err(_) => {
                if let Some(clients) = clients.upgrade() {
                    clients.borrow_mut().pop(&client);
                }
                return;
            }
        }
    }
}
