//! Connections by their ports, as segments last asked for them: the port table's answer without its hash.
//!
//! # Theory of operation
//!
//! An entry is a guess that proves itself: the socket named there has the flow that was asked for, or it has not, and then the
//! table is asked. So nothing has to be forgotten when a connection ends, and a peer that makes its ports collide only has
//! its own segments take the longer way.

use alloc::boxed::Box;
use wharf_port::Flow;

use super::Host;
use super::event::SocketId;
use super::sockets::{Role, Socket};

/// As many connections as are busy at once in most hosts.
const PLACES: usize = 256;

/// The memory.
#[derive(Debug)]
pub(super) struct Recent {
    places: Box<[SocketId; PLACES]>,
}

impl Default for Recent {
    fn default() -> Self {
        let nobody = SocketId {
            index: u32::MAX,
            generation: 0,
        };
        Self {
            places: Box::new([nobody; PLACES]),
        }
    }
}

impl Recent {
    /// Segments of this flow are for this socket.
    pub(super) fn note(&mut self, flow: &Flow, socket: SocketId) {
        self.places[place(flow)] = socket;
    }
}

/// Where a flow's entry is.
fn place(flow: &Flow) -> usize {
    let (local, remote) = (flow.local.port().number(), flow.remote.port().number());
    usize::from(local.rotate_left(5) ^ remote) % PLACES
}

impl Host {
    /// The connection that has this flow, if it is remembered and not over.
    pub(super) fn familiar(&self, flow: &Flow) -> Option<SocketId> {
        let id = self.recent.places[place(flow)];
        match self.sockets.find(id) {
            Some(Socket {
                role: Role::Stream(stream),
                ..
            }) if stream.flow == *flow && !stream.connection.is_finished() => Some(id),
            _ => None,
        }
    }
}
