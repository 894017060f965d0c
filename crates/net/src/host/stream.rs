//! What a caller does with a connection: write, read, close.

use bytes::Bytes;

use super::Host;
use super::event::SocketId;
use super::sockets::{Keeper, Role, Socket, Stream};
use crate::tcp::{self, Ready, State, WriteError};
use crate::time::Instant;

impl Host {
    /// Octets that [`write`](Self::write) would take now; 0 for what is no connection.
    #[must_use]
    pub fn room(&self, socket: SocketId) -> usize {
        self.stream(socket)
            .map_or(0, |stream| stream.connection.room())
    }

    /// Queues data for sending, without copying it, and returns how many octets of it were taken: all, or
    /// [`room`](Self::room). [`Ready::WRITABLE`] tells when there is room again.
    ///
    /// # Errors
    /// [`WriteError`]; `Closed` also for what is no connection.
    pub fn write(
        &mut self,
        _now: Instant,
        socket: SocketId,
        data: Bytes,
    ) -> Result<usize, WriteError> {
        let stream = self.stream_mut(socket).ok_or(WriteError::Closed)?;
        let taken = stream.connection.write(data)?;
        self.settle(socket);
        Ok(taken)
    }

    /// Octets that have come in order and are unread.
    #[must_use]
    pub fn readable(&self, socket: SocketId) -> usize {
        self.stream(socket)
            .map_or(0, |stream| stream.connection.readable())
    }

    /// What has come in order and is unread.
    pub fn chunks(&self, socket: SocketId) -> impl Iterator<Item = &[u8]> {
        self.stream(socket)
            .into_iter()
            .flat_map(|stream| stream.connection.chunks())
    }

    /// Drops the first `count` octets of what is unread, which opens the window.
    pub fn consume(&mut self, now: Instant, socket: SocketId, count: usize) {
        if let Some(stream) = self.stream_mut(socket) {
            stream.connection.consume(now, count);
            self.settle(socket);
        }
    }

    /// Whether the peer has closed its direction and everything before that was read.
    #[must_use]
    pub fn is_read_closed(&self, socket: SocketId) -> bool {
        self.stream(socket)
            .is_some_and(|stream| stream.connection.is_read_closed())
    }

    /// Closes our direction: a FIN follows what is queued. Reading goes on.
    pub fn shutdown(&mut self, _now: Instant, socket: SocketId) {
        if let Some(stream) = self.stream_mut(socket) {
            stream.connection.shutdown();
            self.settle(socket);
        }
    }

    /// Resets a connection; everything queued is dropped. The socket stays until [`close`](Self::close).
    pub fn abort(&mut self, now: Instant, socket: SocketId) {
        if let Some(stream) = self.stream_mut(socket) {
            stream.connection.abort(now);
            self.settle(socket);
        }
    }

    /// Lets go of a socket of any kind: its name is void from now on. A connection finishes alone: what is queued is sent, then a
    /// FIN. Connections that a listener has not handed out are reset.
    pub fn close(&mut self, now: Instant, socket: SocketId) {
        let Some(found) = self.sockets.named_mut(socket) else {
            return;
        };
        found.ready = Ready::NONE;
        match &mut found.role {
            Role::Stream(stream) => {
                stream.keeper = Keeper::Nobody;
                stream.connection.close(now);
                // Nothing was ever said that a peer would have to be told about: its port is free at once.
                if stream.connection.is_finished() {
                    self.discard(socket);
                } else {
                    self.settle(socket);
                }
            }
            // It has no name.
            Role::Resting(..) => {}
            Role::Listener(listener) => {
                let queue = core::mem::take(&mut listener.queue);
                self.discard(socket);
                self.orphan(now, socket, queue);
            }
            Role::Fresh => self.discard(socket),
            Role::Datagrams(_) => {
                self.leave_all(now, socket);
                self.discard(socket);
            }
        }
    }

    /// RFC 9293 §3.10.4 in BSD's way: connections that nobody will ever accept are reset.
    pub(super) fn orphan(
        &mut self,
        now: Instant,
        listener: SocketId,
        queue: impl IntoIterator<Item = SocketId>,
    ) {
        let half_open = self.sockets.handshakes(listener);
        for id in queue.into_iter().chain(half_open) {
            if let Some(stream) = self.sockets.find_mut(id).and_then(Socket::stream_mut) {
                stream.keeper = Keeper::Nobody;
                stream.connection.abort(now);
                self.settle(id);
            }
        }
    }

    /// The connection's state in RFC 9293's words; nothing for what is no connection.
    #[must_use]
    pub fn state(&self, socket: SocketId) -> Option<State> {
        self.stream(socket).map(|stream| stream.connection.state())
    }

    /// How a connection failed, if it did.
    #[must_use]
    pub fn error(&self, socket: SocketId) -> Option<tcp::Error> {
        self.stream(socket)
            .and_then(|stream| stream.connection.error())
    }

    /// The connection's flow; nothing for what is no connection.
    #[must_use]
    pub fn flow(&self, socket: SocketId) -> Option<wharf_port::Flow> {
        self.stream(socket).map(|stream| stream.flow)
    }

    /// A connection that the caller has.
    fn stream(&self, socket: SocketId) -> Option<&Stream> {
        self.sockets.named(socket)?.stream()
    }

    fn stream_mut(&mut self, socket: SocketId) -> Option<&mut Stream> {
        self.sockets.named_mut(socket)?.stream_mut()
    }
}
