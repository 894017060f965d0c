//! The name service of spaces: whom it knows, and where it is asked.
//!
//! Programs inside ask the addresses that the machine's resolv.conf names; no file of theirs is touched. Queries to
//! addresses out on the network come by the relay. Those to loopback (a stub resolver's 127.0.0.53) never leave the
//! space, so there the service has sockets inside.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, UdpSocket, UnixStream};
use tokio::sync::mpsc;

use super::space::Space;
use super::spaces::Spaces;
use crate::dns::{self, Change, ResolvConf, Resolver, Transport};
use crate::relay::{Names, Query};
use crate::space::keeper::Socket;
use crate::space::network::{GATEWAY_IPV4, GATEWAY_IPV6};

/// Queries that relays may have waiting here; more are dropped.
const QUERIES_MAX: usize = 256;
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How long after a change resolv.conf is read: programs write it in steps, and it is looked at once a second at most.
const SETTLED: Duration = Duration::from_millis(1100);

/// The name service.
#[derive(Debug)]
pub(super) struct NameService {
    resolver: Rc<Resolver<Directory>>,
    file: Rc<ResolvConf>,
    relays: Names,
}

/// The relays' way to the name service, and the service's end of it.
pub(super) fn channel() -> (Names, mpsc::Receiver<Query>) {
    let (queries, asked) = mpsc::channel(QUERIES_MAX);
    (Names::new(queries), asked)
}

impl NameService {
    /// Answers what relays ask, from now on. To be called inside a `LocalSet`.
    pub(super) fn start(spaces: Rc<Spaces>, asked: mpsc::Receiver<Query>) -> Self {
        let file = Rc::new(ResolvConf::new(RESOLV_CONF));
        let upstreams = Rc::clone(&file);
        let relays = spaces.names.clone();
        let resolver = Rc::new(Resolver::new(Directory(spaces), move || {
            upstreams.current()
        }));
        tokio::task::spawn_local(answer_relays(Rc::clone(&resolver), asked));
        let service = Self {
            resolver,
            file,
            relays,
        };
        service.loopback_servers();
        service
    }

    /// Watches resolv.conf from now on.
    ///
    /// # Errors
    /// Those of inotify(7).
    pub(super) fn watch() -> io::Result<Change> {
        Change::of(Path::new(RESOLV_CONF))
    }

    /// Waits until resolv.conf has changed since it was watched, and is not just being changed.
    ///
    /// # Errors
    /// Those of poll(2).
    pub(super) async fn changed(change: Change) -> io::Result<()> {
        change.happens().await?;
        tokio::time::sleep(SETTLED).await;
        Ok(())
    }

    /// Tells the relays of the name servers out on the network, as they are named now; answers with the others.
    fn loopback_servers(&self) -> Vec<IpAddr> {
        let servers = self
            .file
            .current()
            .servers
            .iter()
            .map(SocketAddr::ip)
            .collect::<Vec<_>>();
        let (inside, outside) = servers.into_iter().partition(IpAddr::is_loopback);
        self.relays.set_servers(outside);
        inside
    }

    /// How many queries met which fate.
    pub(super) fn counts(&self) -> dns::Counts {
        self.resolver.counts()
    }

    /// Serves a space at the loopback addresses that resolv.conf names, as far as that isn't done; answers with what
    /// didn't work.
    pub(super) async fn serve(&self, space: &Space) -> Vec<String> {
        let mut remarks = Vec::new();
        for address in self.loopback_servers() {
            if !space.named.borrow_mut().insert(address) {
                continue;
            }
            if let Err(error) = self.serve_at(space, address).await {
                remarks.push(format!("names are not answered at {address}: {error}"));
            }
        }
        remarks
    }

    async fn serve_at(&self, space: &Space, address: IpAddr) -> io::Result<()> {
        let endpoint = SocketAddr::new(address, 53);
        let (datagrams, streams) = match address {
            IpAddr::V4(_) => (Socket::Udp4, Socket::Tcp4),
            IpAddr::V6(_) => (Socket::Udp6, Socket::Tcp6),
        };
        let datagrams = space.own_socket(datagrams).await?;
        rustix::net::bind(&datagrams, &endpoint)?;
        let datagrams = UdpSocket::from_std(datagrams.into())?;
        let streams = space.own_socket(streams).await?;
        rustix::net::bind(&streams, &endpoint)?;
        rustix::net::listen(&streams, 64)?;
        let streams = TcpListener::from_std(streams.into())?;
        let resolver = [Rc::clone(&self.resolver), Rc::clone(&self.resolver)];
        let [for_datagrams, for_streams] = resolver;
        space.employ(async move { match for_datagrams.serve_udp(datagrams).await {} });
        space.employ(async move { match for_streams.serve_tcp(streams).await {} });
        Ok(())
    }
}

async fn answer_relays(resolver: Rc<Resolver<Directory>>, mut asked: mpsc::Receiver<Query>) {
    while let Some(query) = asked.recv().await {
        let resolver = Rc::clone(&resolver);
        match query {
            Query::Datagram {
                flow,
                payload,
                back,
            } => {
                tokio::task::spawn_local(async move {
                    if let Some(reply) = resolver.answer(&payload, Transport::Udp).await {
                        back.datagram(flow, Bytes::from(reply));
                    }
                });
            }
            Query::Stream(stream) => match UnixStream::from_std(stream) {
                Ok(stream) => {
                    tokio::task::spawn_local(
                        async move { resolver.serve_tcp_stream(stream).await },
                    );
                }
                Err(error) => tracing::error!("cannot serve names over a stream: {error}"),
            },
        }
    }
}

/// The spaces, as the name service sees them.
#[derive(Debug)]
struct Directory(Rc<Spaces>);

impl dns::Spaces for Directory {
    fn addresses(&self, name: &str) -> Option<(Ipv4Addr, Ipv6Addr)> {
        let number = self.0.find(name)?.entry.number;
        Some((number.ipv4(), number.ipv6()))
    }

    fn name(&self, address: IpAddr) -> Option<String> {
        let has = |space: &Rc<Space>| {
            let number = space.entry.number;
            address == number.ipv4() || address == number.ipv6()
        };
        self.0
            .all()
            .iter()
            .find(|space| has(space))
            .map(|space| space.entry.name.clone())
    }

    fn gateway(&self) -> (Ipv4Addr, Ipv6Addr) {
        (GATEWAY_IPV4, GATEWAY_IPV6)
    }
}
