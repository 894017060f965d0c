//! Queries for names: recognised here by the address that they go to, answered by the daemon.

use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use tokio::sync::mpsc;
use wharf_port::{Flow, Port};

use super::Back;

/// The port of the name service. RFC 1035 §4.2.
const DOMAIN: Port = Port::new(53).expect("53 is a port");

/// A query on its way to the daemon.
#[derive(Debug)]
pub(crate) enum Query {
    /// Over UDP; the answer goes back the same way.
    Datagram {
        /// From the program to the name server that it asked.
        flow: Flow,
        /// The message.
        payload: Bytes,
        /// The way to answer.
        back: Back,
    },
    /// Over TCP: the daemon is the server at the other end of this stream.
    Stream(UnixStream),
}

/// Which addresses are name servers to programs inside, and who answers there.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    servers: Arc<RwLock<Vec<IpAddr>>>,
    queries: mpsc::Sender<Query>,
}

impl Names {
    /// Sends queries to `queries`; no address is a name server yet.
    pub(crate) fn new(queries: mpsc::Sender<Query>) -> Self {
        Self {
            servers: Arc::default(),
            queries,
        }
    }

    /// From now on these are the name servers.
    pub(crate) fn set_servers(&self, servers: Vec<IpAddr>) {
        *self.servers.write().expect("no holder of the lock panics") = servers;
    }

    /// Whether a flow to a local endpoint goes to a name server.
    pub(super) fn serve(&self, flow: &Flow) -> bool {
        let local = flow.local;
        local.port() == DOMAIN
            && self
                .servers
                .read()
                .expect("no holder of the lock panics")
                .contains(&local.address())
    }

    /// Passes a query on; drops it if the daemon is behind, as a busy name server does.
    pub(super) fn ask(&self, query: Query) {
        self.queries.try_send(query).ok();
    }
}
