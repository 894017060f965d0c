//! The life of a connection in the host: what it says reaches the caller, what it has to send is sent, what is over is cleared
//! away.
//!
//! # Theory of operation
//!
//! Whoever touches a connection calls [`Host::settle`]: what it is ready for becomes one event, and it is queued for sending if it has
//! anything to send. [`Host::transmit`] takes segments from the first of the queue until that has none, in turns; a connection that has run dry
//! is entered with the timers, or cleared away if it is over. So neither sending nor waking ever looks at all connections.

use wharf_port::table::Moment;

use super::Host;
use super::egress::changes;
use super::event::{Event, SocketId};
use super::opening::{mss, mtu};
use super::sockets::{Keeper, Role, Socket, Work};
use crate::tcp::{self, Limits, Ready, State};
use crate::time::Instant;

/// Octets of the largest IP packet that is sent in one frame, whatever the MTU, when the link cuts it up. With its Ethernet
/// header it stays below Linux's `gso_max_size`; one octet more, and Linux cuts it up itself where it meets a device.
const MAX_TRAIN: u32 = 65_535 - 14;

impl Host {
    /// After a connection was touched: tells the caller, and queues it for sending.
    pub(super) fn settle(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.find_mut(id) else {
            return;
        };
        let Role::Stream(stream) = &mut socket.role else {
            return;
        };
        let ready = stream.connection.take_ready();
        if socket.work == Work::None {
            if stream.connection.is_quiet() {
                self.timers.set(id.index, stream.connection.deadline());
            } else {
                socket.work = Work::Queued;
                self.work.push_back(id);
            }
        }
        match stream.keeper {
            Keeper::Caller => socket.tell(id, ready, &mut self.events),
            Keeper::Nobody => {}
            Keeper::Handshake(listener) => {
                socket.ready |= ready;
                if ready.contains(Ready::CONNECTED) {
                    self.complete(listener, id);
                }
            }
            Keeper::Queue(_) => socket.ready |= ready,
        }
    }

    /// Notes what a socket is ready for, and gives it a place among the events.
    pub(super) fn tell(&mut self, id: SocketId, ready: Ready) {
        if let Some(socket) = self.sockets.find_mut(id) {
            socket.tell(id, ready, &mut self.events);
        }
    }

    /// A handshake is complete: the connection waits to be accepted.
    fn complete(&mut self, listener: SocketId, id: SocketId) {
        let Some(Socket {
            role: Role::Listener(queue),
            ..
        }) = self.sockets.find_mut(listener)
        else {
            return;
        };
        queue.half_open -= 1;
        queue.queue.push_back(id);
        if let Some(stream) = self.sockets.find_mut(id).and_then(Socket::stream_mut) {
            stream.keeper = Keeper::Queue(listener);
        }
        self.events.push(Event::Incoming {
            listener,
            socket: id,
        });
        self.tell(listener, Ready::READABLE);
    }

    /// Sends what the first of the queue has to send; whether there was anybody.
    pub(super) fn work(&mut self, now: Instant) -> bool {
        let Some(id) = self.work.pop_front() else {
            return false;
        };
        let Some(socket) = self.sockets.find_mut(id) else {
            return true;
        };
        let Role::Stream(stream) = &mut socket.role else {
            socket.work = Work::None;
            return true;
        };
        let (local, remote) = (stream.flow.local.address(), stream.flow.remote.address());
        if let Some(found) = stream.connection.take_path_mss() {
            self.routes.learn(now, remote, mtu(found, remote));
        }
        let changes = changes(&self.links, &self.routes);
        let way = (self.routes.link_of(local), remote);
        let mtu = match self.shortcuts.find(now, way, changes) {
            Some(known) => known.mtu,
            None => self.routes.mtu(now, local, remote),
        };
        let header = if remote.is_ipv4() { 20 } else { 40 };
        let limits = Limits {
            mss: mss(mtu, remote),
            offload: Some(MAX_TRAIN - header),
        };
        let Some(outgoing) = stream.connection.transmit(now, &limits) else {
            socket.work = Work::None;
            self.dry(id);
            return true;
        };
        let (flow, quiet) = (stream.flow, stream.connection.is_quiet());
        if quiet {
            socket.work = Work::None;
            self.dry(id);
        } else {
            self.work.push_back(id);
        }
        self.send_segment(now, &flow, outgoing, Some(id));
        true
    }

    /// A connection has nothing to send: it sleeps, or it is over.
    fn dry(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.find_mut(id) else {
            return;
        };
        let Role::Stream(stream) = &mut socket.role else {
            return;
        };
        let over = stream.connection.is_over();
        let (keeper, deadline) = (stream.keeper, stream.connection.deadline());
        // Sending may have changed what it is ready for.
        let ready = stream.connection.take_ready();
        if keeper == Keeper::Caller {
            socket.tell(id, ready, &mut self.events);
        } else {
            socket.ready |= ready;
        }
        if over {
            return self.wind_up(id);
        }
        self.timers.set(id.index, deadline);
    }

    /// A connection is over that has nothing more to send: its record stays, or nothing.
    fn wind_up(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.find_mut(id) else {
            return;
        };
        let Role::Stream(stream) = &mut socket.role else {
            return;
        };
        if stream.connection.is_finished() {
            return self.finished(id);
        }
        if let (Keeper::Nobody, Some(record)) = (stream.keeper, stream.connection.time_wait()) {
            let record = record.clone();
            let deadline = Moment(record.deadline().as_nanos());
            // The hold is ours, and is released when the record is dropped.
            let _ = self.table.time_wait(socket.hold, deadline);
            self.timers.set(id.index, Some(record.deadline()));
            socket.role = Role::Resting(record);
            return;
        }
        self.timers.set(id.index, stream.connection.deadline());
    }

    /// A connection is over. Its flow is free, and what it had not been bound to before; what is unread can still be read.
    pub(super) fn finished(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.find_mut(id) else {
            return;
        };
        let Some(stream) = socket.stream() else {
            return;
        };
        match stream.keeper {
            Keeper::Nobody => self.discard(id),
            Keeper::Handshake(listener) => {
                if let Some(Socket {
                    role: Role::Listener(queue),
                    ..
                }) = self.sockets.find_mut(listener)
                {
                    queue.half_open -= 1;
                }
                self.discard(id);
            }
            Keeper::Caller | Keeper::Queue(_) => {
                self.timers.clear(id.index);
                // The hold is there as long as the socket is.
                let _ = self.table.conclude(socket.hold);
            }
        }
    }

    /// Clears a socket away.
    pub(super) fn discard(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.remove(id) else {
            return;
        };
        self.timers.clear(id.index);
        self.table.release(socket.hold);
    }

    /// Wakes the sockets that are due.
    pub(super) fn expire_sockets(&mut self, now: Instant) {
        while let Some(index) = self.timers.take(now) {
            let Some(id) = self.sockets.id(index) else {
                continue;
            };
            let Some(socket) = self.sockets.find_mut(id) else {
                continue;
            };
            match &mut socket.role {
                Role::Stream(stream) => {
                    stream.connection.expire(now);
                    self.settle(id);
                }
                Role::Resting(record) if record.deadline() > now => {
                    let deadline = record.deadline();
                    self.timers.set(index, Some(deadline));
                }
                Role::Resting(..) => self.discard(id),
                Role::Fresh | Role::Listener(_) | Role::Datagrams(_) => {}
            }
        }
    }

    /// The neighbour on the way to a peer does not answer. RFC 1122 §4.2.3.9: that ends an attempt, never a connection.
    pub(super) fn neighbour_missing(&mut self, now: Instant, id: SocketId) {
        let Some(stream) = self.sockets.find_mut(id).and_then(Socket::stream_mut) else {
            return;
        };
        if stream.connection.state() == State::SynSent {
            stream.connection.fail(now, tcp::Error::Unreachable);
            self.settle(id);
        }
    }
}
