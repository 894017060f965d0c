//! Going back: a listener that stops listening, a connection or a peer that is given up, and the socket stays.
//!
//! What BSD sockets do by `shutdown` of a listener's receiving side, and by `connect` to no family at all.

use core::mem;

use super::Host;
use super::event::SocketId;
use super::opening::mss;
use super::own::NoSuchSocket;
use super::sockets::{Role, Stream};
use crate::tcp::{Limits, Ready};
use crate::time::Instant;

impl Host {
    /// Makes a listener a bound socket again, or one without a port if it got that by listening. Connections that it has not handed out are reset; what it has handed out stays.
    ///
    /// # Errors
    /// [`NoSuchSocket`] for what does not listen.
    pub fn unlisten(&mut self, now: Instant, socket: SocketId) -> Result<(), NoSuchSocket> {
        let found = self.sockets.named_mut(socket).ok_or(NoSuchSocket)?;
        let hold = found.hold;
        let Role::Listener(listener) = &mut found.role else {
            return Err(NoSuchSocket);
        };
        let queue = mem::take(&mut listener.queue);
        found.role = Role::Fresh;
        self.table.unlisten(hold).map_err(|_| NoSuchSocket)?;
        self.orphan(now, socket, queue);
        Ok(())
    }

    /// Takes a socket's peer away. A TCP connection is reset and forgotten, a listener no longer listens. The socket is bound as
    /// before it was connected; a port that connecting chose is given back under UDP and kept under TCP. After an attempt that failed,
    /// this makes the socket fit for another; with such an attempt a chosen port has gone already.
    ///
    /// # Errors
    /// [`NoSuchSocket`].
    pub fn disconnect(&mut self, now: Instant, socket: SocketId) -> Result<(), NoSuchSocket> {
        let found = self.sockets.named_mut(socket).ok_or(NoSuchSocket)?;
        if matches!(found.role, Role::Listener(_)) {
            return self.unlisten(now, socket);
        }
        let hold = found.hold;
        if found.stream().is_some()
            && let Role::Stream(stream) = mem::replace(&mut found.role, Role::Fresh)
        {
            found.ready = Ready::NONE;
            self.timers.clear(socket.index);
            self.reset(now, stream);
        }
        self.table.disconnect(hold).map_err(|_| NoSuchSocket)
    }

    /// Ends a connection that has no socket any more: the reset goes out before it is gone.
    fn reset(&mut self, now: Instant, mut stream: Stream) {
        stream.connection.abort(now);
        let (local, remote) = (stream.flow.local.address(), stream.flow.remote.address());
        let mtu = self.routes.mtu(now, local, remote);
        let limits = Limits {
            mss: mss(mtu, remote),
            offload: None,
        };
        while let Some(outgoing) = stream.connection.transmit(now, &limits) {
            self.send_segment(now, &stream.flow, outgoing, None);
        }
    }
}
