//! The carrier: the thread that moves the bytes of everything that is published.
//!
//! It knows places, not spaces: who is behind one is asked anew for each connection, of the daemon's own thread. So a place
//! can change hands (focus) while connections that stand stay where they are.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use super::naming::{self, FirstWords};
use super::{Place, datagrams, splice};
use crate::confine;
use crate::list::Protocol;
use crate::relay::Way;

/// Connections that may wait for the daemon to find their program; the rest wait to be accepted.
const ERRANDS_MAX: usize = 256;
/// How long nothing is accepted when descriptors have run out.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// The carrier; its connections end with it.
#[derive(Debug)]
pub(crate) struct Carrier(mpsc::UnboundedSender<Order>);

#[derive(Debug)]
enum Order {
    Open(Place, OwnedFd),
    Close(Place, oneshot::Sender<()>),
}

/// A connection wanted, to the program behind a place.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) place: Place,
    /// Who comes, if the program should see the client itself.
    pub(crate) guest: Option<Guest>,
    /// Whom the client named.
    pub(crate) named: Named,
    /// Takes the outcome.
    pub(crate) reply: oneshot::Sender<io::Result<Reached>>,
}

/// A client from the network.
#[derive(Debug)]
pub(crate) enum Guest {
    /// With this connection.
    Connection(SocketAddr, OwnedFd),
    /// With datagrams.
    Datagrams(SocketAddr),
}

/// A program is reached.
#[derive(Debug)]
pub(crate) enum Reached {
    /// By this connected socket, of the place's protocol.
    By(OwnedFd),
    /// The guest's connection is carried already.
    Already,
    /// The guest's datagrams have this way.
    As(Way),
    /// Several spaces are there: it takes a name to know which is meant.
    Unclear,
}

/// Whom a client named in its first words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// That was not asked.
    Unasked,
    /// Nobody.
    Nobody,
    /// This space, which need not be there.
    Space(String),
}

/// The way to the daemon's own thread.
#[derive(Debug, Clone)]
pub(super) struct Errands(mpsc::Sender<Errand>);

impl Errands {
    async fn run(&self, place: Place, guest: Option<Guest>, named: Named) -> io::Result<Reached> {
        let (reply, answer) = oneshot::channel();
        let errand = Errand {
            place,
            guest,
            named,
            reply,
        };
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        self.0.send(errand).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    pub(super) async fn find_datagrams_way(
        &self,
        place: Place,
        client: SocketAddr,
    ) -> io::Result<Reached> {
        let guest = comes_from_the_network(client).then_some(Guest::Datagrams(client));
        self.run(place, guest, Named::Nobody).await
    }
}

impl Carrier {
    /// Starts the thread; what it asks comes from the receiver.
    pub(crate) fn start() -> io::Result<(Self, mpsc::Receiver<Errand>)> {
        let (errand, errands) = mpsc::channel(ERRANDS_MAX);
        let (order, orders) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("carrier".into())
            .spawn(move || {
                confine::thread();
                LocalSet::new().block_on(&runtime, obey(orders, Errands(errand)));
            })?;
        Ok((Self(order), errands))
    }

    /// Serves a place by this socket: of TCP a listener, of UDP a bound one, nonblocking.
    pub(crate) fn open(&self, place: Place, socket: OwnedFd) {
        self.0.send(Order::Open(place, socket)).ok();
    }

    /// Closes a place's socket; when this is done the machine's port is free. Connections stay.
    pub(crate) async fn close(&self, place: Place) {
        let (closed, done) = oneshot::channel();
        self.0.send(Order::Close(place, closed)).ok();
        done.await.ok();
    }
}

async fn obey(mut orders: mpsc::UnboundedReceiver<Order>, errands: Errands) {
    let mut open: HashMap<Place, JoinHandle<()>> = HashMap::new();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Open(place, socket) => match serve(place, socket, errands.clone()) {
                Ok(served) => drop(open.insert(place, served)),
                Err(error) => tracing::error!("cannot serve {place}: {error}"),
            },
            Order::Close(place, closed) => {
                if let Some(served) = open.remove(&place) {
                    served.abort();
                    // Its socket is closed when it has ended.
                    served.await.ok();
                }
                closed.send(()).ok();
            }
        }
    }
}

fn serve(place: Place, socket: OwnedFd, errands: Errands) -> io::Result<JoinHandle<()>> {
    Ok(match place.protocol {
        Protocol::Tcp => {
            let listener = TcpListener::from_std(socket.into())?;
            spawn_local(accept(place, listener, errands))
        }
        Protocol::Udp => {
            let socket = UdpSocket::from_std(socket.into())?;
            spawn_local(datagrams::serve(place, socket, errands))
        }
    })
}

async fn accept(place: Place, listener: TcpListener, errands: Errands) {
    loop {
        match listener.accept().await {
            Ok((outside, client)) => {
                spawn_local(serve_one(place, outside, client, errands.clone()));
            }
            Err(error) => {
                tracing::error!("cannot accept at {place}: {error}");
                tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
            }
        }
    }
}

async fn serve_one(place: Place, mut outside: TcpStream, client: SocketAddr, errands: Errands) {
    match connect(place, &mut outside, client, &errands).await {
        Ok(Some(inside)) => splice::carry(outside, inside).await,
        // The connection lives on where it is carried.
        Ok(None) => {}
        Err(error) => {
            tracing::debug!("a connection to {place} goes nowhere: {error}");
            // A reset is the nearest to "connection refused" that an accepted connection can get.
            outside.set_zero_linger().ok();
        }
    }
}

/// Who comes over the machine's loopback comes over the space's.
fn comes_from_the_network(client: SocketAddr) -> bool {
    !client.ip().to_canonical().is_loopback()
}

/// Connects with the program; `None` if the connection is carried elsewhere from now on.
async fn connect(
    place: Place,
    outside: &mut TcpStream,
    client: SocketAddr,
    errands: &Errands,
) -> io::Result<Option<TcpStream>> {
    let guest = match comes_from_the_network(client) {
        true => Some(Guest::Connection(
            client,
            outside.as_fd().try_clone_to_owned()?,
        )),
        false => None,
    };
    match errands.run(place, guest, Named::Unasked).await? {
        Reached::By(socket) => TcpStream::from_std(socket.into()).map(Some),
        Reached::Already | Reached::As(_) => Ok(None),
        Reached::Unclear => connect_by_name(place, outside, errands).await.map(Some),
    }
}

/// Connects with the program of the space that the client names; without a name, with that in focus.
async fn connect_by_name(
    place: Place,
    outside: &mut TcpStream,
    errands: &Errands,
) -> io::Result<TcpStream> {
    let FirstWords { said, space } = naming::listen(outside).await;
    let named = space.map_or(Named::Nobody, Named::Space);
    let Reached::By(socket) = errands.run(place, None, named).await? else {
        return Err(io::ErrorKind::NotConnected.into());
    };
    let mut inside = TcpStream::from_std(socket.into())?;
    inside.write_all(&said).await?;
    Ok(inside)
}
