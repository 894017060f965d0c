//! UDP at a published place: each client has a socket of its own inside, so that answers find back.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::rc::{Rc, Weak};
use std::time::Duration;

use lru::LruCache;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::Place;
use super::carrier::Errands;

/// How long a client may say nothing, and hear nothing: RFC 4787 §4.3 asks for two minutes at least.
const IDLE: Duration = Duration::from_secs(120);
/// Clients at one place; the one longest silent makes room for another.
const CLIENTS: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");
/// The longest datagram, in bytes.
const LONGEST: usize = 65_535;

type Clients = RefCell<LruCache<SocketAddr, Client>>;

/// A client, and its socket inside.
struct Client {
    inside: Rc<UdpSocket>,
    answers: AbortHandle,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

/// Serves `place` for good.
pub(super) async fn serve(place: Place, socket: UdpSocket, errands: Errands) {
    let socket = Rc::new(socket);
    let clients: Rc<Clients> = Rc::new(RefCell::new(LruCache::new(CLIENTS)));
    let mut datagram = vec![0; LONGEST];
    loop {
        // An error is about an answer that an earlier client had no ear for.
        let Ok((length, client)) = socket.recv_from(&mut datagram).await else {
            continue;
        };
        let known = clients
            .borrow_mut()
            .get(&client)
            .map(|client| Rc::clone(&client.inside));
        let inside = match known {
            Some(inside) => inside,
            None => match errands.connect_datagrams(place).await {
                Ok(inside) => admit(&socket, &clients, client, inside),
                Err(error) => {
                    tracing::debug!("a datagram for {place} goes nowhere: {error}");
                    continue;
                }
            },
        };
        // Lost, as datagrams are.
        inside.send(&datagram[..length]).await.ok();
    }
}

fn admit(
    socket: &Rc<UdpSocket>,
    clients: &Rc<Clients>,
    client: SocketAddr,
    inside: UdpSocket,
) -> Rc<UdpSocket> {
    let inside = Rc::new(inside);
    let answers = answer(
        Rc::downgrade(socket),
        Rc::downgrade(clients),
        client,
        Rc::clone(&inside),
    );
    let answers = tokio::task::spawn_local(answers).abort_handle();
    let entry = Client {
        inside: Rc::clone(&inside),
        answers,
    };
    clients.borrow_mut().push(client, entry);
    inside
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
