//! Sockets by their ports, as packets last asked for them: the port table's answers without its hash.
//!
//! # Theory of operation
//!
//! A connection's entry is a guess that proves itself: the socket named there has the flow that was asked for, or it has not, and then
//! the table is asked. So nothing has to be forgotten when a connection ends, and a peer that makes its ports collide only has
//! its own segments take the longer way.
//!
//! A socket for datagrams gets those of many flows, and whether there is a better one is not seen from it. So its entry has the flow,
//! and counts as long as nothing has changed in the table.

use alloc::boxed::Box;
use wharf_port::{Device, Flow};

use super::Host;
use super::event::SocketId;
use super::sockets::{Role, Socket};

/// As many connections as are busy at once in most hosts.
const PLACES: usize = 256;
/// As many flows of datagrams.
const DATAGRAMS: usize = 16;

/// The memory.
#[derive(Debug)]
pub(super) struct Recent {
    places: Box<[SocketId; PLACES]>,
    datagrams: Box<[Option<Answer>; DATAGRAMS]>,
}

/// What the table answered.
#[derive(Clone, Copy, Debug)]
struct Answer {
    flow: Flow,
    device: Device,
    changes: u64,
    socket: SocketId,
}

impl Default for Recent {
    fn default() -> Self {
        let nobody = SocketId {
            index: u32::MAX,
            generation: 0,
        };
        Self {
            places: Box::new([nobody; PLACES]),
            datagrams: Box::new([None; DATAGRAMS]),
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
    /// The socket that gets datagrams of this flow, as [`addressee`](Self::addressee) says.
    pub(super) fn reader_of(&mut self, flow: &Flow, device: Device) -> Option<SocketId> {
        let changes = self.table.revision();
        let known = &mut self.recent.datagrams[place(flow) % DATAGRAMS];
        if let Some(answer) = known
            && (answer.flow == *flow && answer.device == device && answer.changes == changes)
        {
            return Some(answer.socket);
        }
        let socket = *self.table.who_on(flow, device)?.owner;
        *known = Some(Answer {
            flow: *flow,
            device,
            changes,
            socket,
        });
        Some(socket)
    }

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
