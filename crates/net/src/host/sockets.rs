//! The sockets, by number.
//!
//! A number is used again, its generation is not: a [`SocketId`] that outlived its socket finds nothing.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;
use wharf_port::table::Hold;
use wharf_port::{Domain, Flow};

use super::event::SocketId;
use super::events::Events;
use super::mailbox::Mailbox;
use super::own::Setting;
use crate::tcp::{Algorithm, Connection, KeepAlive, Ready, TimeWait};
use crate::time::Instant;

/// Sockets at once, resting ones included.
const MAX_SOCKETS: usize = 1 << 20;

/// All sockets of a host.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    slots: Vec<Slot>,
    vacant: Vec<u32>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    socket: Option<Box<Socket>>,
}

/// What every socket has.
#[derive(Debug)]
pub(super) struct Socket {
    /// Its place in the port table.
    pub(super) hold: Hold,
    pub(super) domain: Domain,
    /// The address that it was bound to, if that was done without a port.
    pub(super) address: Option<IpAddr>,
    /// Whether it stands in the queue of sockets that may have something to send.
    pub(super) work: Work,
    /// What the caller has not been told yet.
    pub(super) ready: Ready,
    /// What was set before it had a connection; nothing for most.
    pub(super) options: Option<Box<Options>>,
    pub(super) role: Role,
}

/// Whether a socket stands in the queue for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    None,
    Queued,
}

/// What a socket is at the moment.
#[derive(Debug)]
pub(super) enum Role {
    /// A TCP socket that is neither connected nor listening.
    Fresh,
    /// It takes connections.
    Listener(Listener),
    /// One end of a connection.
    Stream(Stream),
    /// What is left of a connection.
    Resting(TimeWait),
    /// A UDP socket.
    Datagrams(Mailbox),
}

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) backlog: usize,
    /// Connections whose handshake is under way.
    pub(super) half_open: usize,
    /// Connections that wait to be accepted.
    pub(super) queue: VecDeque<SocketId>,
    /// Until when acknowledgments may bring back a SYN cookie; nothing before the first.
    pub(super) cookies_until: Option<Instant>,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) connection: Connection,
    pub(super) flow: Flow,
    pub(super) keeper: Keeper,
}

/// Who has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeper {
    /// The caller.
    Caller,
    /// A listener: the handshake is under way.
    Handshake(SocketId),
    /// A listener: it waits to be accepted.
    Queue(SocketId),
    /// Nobody: it finishes alone.
    Nobody,
}

/// What can be set on a socket before it has a connection, and is passed on to what a listener takes; what nobody has set is as in
/// the host's [`Config`](crate::tcp::Config).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) nodelay: Option<bool>,
    pub(super) cork: bool,
    pub(super) keepalive: Option<Option<KeepAlive>>,
    pub(super) user_timeout: Option<Option<Duration>>,
    pub(super) congestion: Option<Algorithm>,
    pub(super) receive_buffer: Option<usize>,
    pub(super) send_buffer: Option<usize>,
}

impl Options {
    /// Keeps a setting for a connection to come; those that are not about connections are kept elsewhere.
    pub(super) fn note(&mut self, setting: Setting) {
        match setting {
            Setting::NoDelay(nodelay) => self.nodelay = Some(nodelay),
            Setting::Cork(cork) => self.cork = cork,
            Setting::KeepAlive(keepalive) => self.keepalive = Some(keepalive),
            Setting::UserTimeout(timeout) => self.user_timeout = Some(timeout),
            Setting::Congestion(algorithm) => self.congestion = Some(algorithm),
            Setting::ReceiveBuffer(octets) => self.receive_buffer = Some(octets),
            Setting::SendBuffer(octets) => self.send_buffer = Some(octets),
            Setting::Reuse(_)
            | Setting::Domain(_)
            | Setting::User(_)
            | Setting::Device(_)
            | Setting::Right(_)
            | Setting::HopLimit(_)
            | Setting::GroupHopLimit(_)
            | Setting::GroupLoop(_)
            | Setting::SoftErrors(_)
            | Setting::Ports(_) => {}
        }
    }
}

impl Socket {
    /// What was set, for a connection to come.
    pub(super) fn options(&self) -> Options {
        self.options.as_deref().copied().unwrap_or_default()
    }

    pub(super) fn new(hold: Hold, domain: Domain, role: Role) -> Self {
        Self {
            hold,
            domain,
            address: None,
            work: Work::None,
            ready: Ready::NONE,
            options: None,
            role,
        }
    }

    /// Notes what the socket, of this name, is ready for, and gives it a place among the events.
    pub(super) fn tell(&mut self, id: SocketId, ready: Ready, events: &mut Events) {
        if ready.is_empty() {
            return;
        }
        if self.ready.is_empty() {
            events.ready(id);
        }
        self.ready |= ready;
    }

    /// Whether its caller has let go of it.
    fn is_closed(&self) -> bool {
        match &self.role {
            Role::Stream(stream) => stream.keeper == Keeper::Nobody,
            Role::Resting(_) => true,
            Role::Fresh | Role::Listener(_) | Role::Datagrams(_) => false,
        }
    }

    pub(super) fn stream(&self) -> Option<&Stream> {
        match &self.role {
            Role::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    pub(super) fn stream_mut(&mut self) -> Option<&mut Stream> {
        match &mut self.role {
            Role::Stream(stream) => Some(stream),
            _ => None,
        }
    }
}

impl Sockets {
    /// The name that the next socket will have; nothing if there is no room.
    pub(super) fn next(&mut self) -> Option<SocketId> {
        if self.vacant.is_empty() {
            if self.slots.len() >= MAX_SOCKETS {
                return None;
            }
            self.vacant.push(u32::try_from(self.slots.len()).ok()?);
            self.slots.push(Slot::default());
        }
        let index = *self.vacant.last()?;
        Some(SocketId {
            index,
            generation: self.slots[index as usize].generation,
        })
    }

    /// Gives a socket the name that [`next`](Self::next) promised.
    pub(super) fn insert(&mut self, id: SocketId, socket: Socket) {
        debug_assert_eq!(
            self.vacant.last(),
            Some(&id.index),
            "the name was promised last"
        );
        self.vacant.pop();
        self.slots[id.index as usize].socket = Some(Box::new(socket));
    }

    pub(super) fn remove(&mut self, id: SocketId) -> Option<Box<Socket>> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let socket = slot.socket.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.vacant.push(id.index);
        Some(socket)
    }

    pub(super) fn find(&self, id: SocketId) -> Option<&Socket> {
        let slot = self.slots.get(id.index as usize)?;
        if slot.generation == id.generation {
            slot.socket.as_deref()
        } else {
            None
        }
    }

    pub(super) fn find_mut(&mut self, id: SocketId) -> Option<&mut Socket> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation == id.generation {
            slot.socket.as_deref_mut()
        } else {
            None
        }
    }

    /// As [`find`](Self::find), for calls: a socket that was closed has no name any more, even while its connection finishes.
    pub(super) fn named(&self, id: SocketId) -> Option<&Socket> {
        self.find(id).filter(|socket| !socket.is_closed())
    }

    /// As [`find_mut`](Self::find_mut), for calls: see [`named`](Self::named).
    pub(super) fn named_mut(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.find_mut(id).filter(|socket| !socket.is_closed())
    }

    /// The name of the socket that has this number now.
    pub(super) fn id(&self, index: u32) -> Option<SocketId> {
        let slot = self.slots.get(index as usize)?;
        slot.socket.as_ref().map(|_| SocketId {
            index,
            generation: slot.generation,
        })
    }

    /// The connections of a listener whose handshake is under way. Looks at all sockets: for when a listener is closed.
    pub(super) fn handshakes(&self, listener: SocketId) -> Vec<SocketId> {
        let indices = 0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let ids = indices.filter_map(|index| self.id(index));
        let keeper = |id: &SocketId| {
            self.find(*id)
                .and_then(Socket::stream)
                .map(|stream| stream.keeper)
        };
        ids.filter(|id| keeper(id) == Some(Keeper::Handshake(listener)))
            .collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }
}
