//! One of the host's sockets, and the stack that it is in: what every kind of socket here consists of.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use wharf_net::{Instant, Setting, Settings, SocketId};
use wharf_port::{Cover, Domain, Local, Protocol};

use crate::Stack;
use crate::error;
use crate::shared::{On, State};
use crate::wakers::Key;

/// A socket that is closed when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) stack: Stack,
    pub(crate) id: SocketId,
}

/// In which direction to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Read,
    Write,
}

impl Held {
    pub(crate) fn open(stack: &Stack, protocol: Protocol, domain: Domain) -> io::Result<Self> {
        let id = stack.shared().attempt(|state, _| {
            state
                .host
                .open(protocol, domain)
                .map_err(|_| error::too_many())
        })?;
        Ok(Self::new(stack, id))
    }

    pub(crate) fn new(stack: &Stack, id: SocketId) -> Self {
        Self {
            stack: stack.clone(),
            id,
        }
    }

    pub(crate) fn bind(&self, local: Local) -> io::Result<()> {
        self.attempt(|state, _, id| match state.host.bind(id, local) {
            Ok(_) => Ok(()),
            Err(error) => Err(error::bind(error)),
        })
    }

    pub(crate) fn set(&self, setting: Setting) -> io::Result<()> {
        self.attempt(|state, now, id| state.host.set(now, id, setting).map_err(|_| error::gone()))
    }

    /// What is set on it.
    pub(crate) fn settings(&self) -> io::Result<Settings> {
        self.attempt(|state, _, id| state.host.settings(id).ok_or_else(error::gone))
    }

    /// Where it is bound; a wildcard as it was asked for, port 0 without a port.
    pub(crate) fn local_addr(&self, domain: Domain) -> SocketAddr {
        let bound = self.stack.shared().lock().host.bound(self.id);
        let wildcard = match domain {
            Domain::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Domain::V6Only | Domain::Dual => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        match bound {
            None => SocketAddr::new(wildcard, 0),
            Some((Cover::V4(address), port)) => SocketAddr::new(address.into(), port.number()),
            Some((Cover::V6(address), port)) => SocketAddr::new(address.into(), port.number()),
            Some((_, port)) => SocketAddr::new(wildcard, port.number()),
        }
    }

    /// Does something that needs no waiting.
    pub(crate) fn attempt<T>(
        &self,
        act: impl FnOnce(&mut State, Instant, SocketId) -> io::Result<T>,
    ) -> io::Result<T> {
        self.stack
            .shared()
            .attempt(|state, now| act(state, now, self.id))
    }

    /// Tries something now; what is pending is [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub(crate) fn try_now<T>(
        &self,
        act: impl FnOnce(&mut State, Instant, SocketId) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        self.attempt(|state, now, id| match act(state, now, id) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        })
    }

    /// Tries something for the one task that polls this side by hand.
    pub(crate) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        side: Side,
        act: impl FnOnce(&mut State, Instant, SocketId) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.stack
            .shared()
            .poll(cx, (self.on(side), Key::POLL), |state, now| {
                act(state, now, self.id)
            })
    }

    /// Waits until something can be done.
    pub(crate) async fn until<T>(
        &self,
        side: Side,
        mut act: impl FnMut(&mut State, Instant, SocketId) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        self.stack
            .shared()
            .until(self.on(side), |state, now| act(state, now, self.id))
            .await
    }

    fn on(&self, side: Side) -> On {
        match side {
            Side::Read => On::Read(self.id),
            Side::Write => On::Write(self.id),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let left = self.stack.shared().with(|state, now| {
            state.host.close(now, self.id);
            state.forget(self.id)
        });
        drop(left);
    }
}
