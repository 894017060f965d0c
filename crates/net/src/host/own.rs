//! The host's own sockets, as a BSD program knows them: open, bind, listen, accept, connect, set.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use thiserror::Error;
use wharf_port::table::{BindError, ConnectError, ListenError, Request, Reuse};
use wharf_port::{Domain, Endpoint, Flow, Local, Port, Protocol};

use super::Host;
use super::event::SocketId;
use super::mailbox::Mailbox;
use super::sockets::{Keeper, Listener, Role, Socket};
use crate::tcp::KeepAlive;
use crate::time::Instant;

/// Something that can be set on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Setting {
    /// With whom its place is shared: `SO_REUSEADDR`, `SO_REUSEPORT`.
    Reuse(Reuse),
    /// `IPV6_V6ONLY`, before it is bound.
    Domain(Domain),
    /// `TCP_NODELAY`.
    NoDelay(bool),
    /// `TCP_CORK`: small writes are held until a segment is full.
    Cork(bool),
    /// `SO_KEEPALIVE` and its times.
    KeepAlive(Option<KeepAlive>),
    /// `TCP_USER_TIMEOUT`.
    UserTimeout(Option<Duration>),
    /// `SO_RCVBUF`, in octets.
    ReceiveBuffer(usize),
    /// `SO_SNDBUF`, in octets.
    SendBuffer(usize),
}

/// There is no room for one more socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("there are too many sockets")]
pub struct TooMany;

/// There is no such socket, or it is not one for this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no such socket")]
pub struct NoSuchSocket;

/// Why a socket was not bound.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OwnBindError {
    /// There is no such socket.
    #[error(transparent)]
    Gone(#[from] NoSuchSocket),
    /// The address is not the host's.
    #[error("the address is not one of this host")]
    NotOwn,
    /// The port table's refusal.
    #[error("{0}")]
    Refused(BindError<SocketId>),
}

/// Why a socket does not listen.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OwnListenError {
    /// There is no such socket, or it is connected.
    #[error(transparent)]
    Gone(#[from] NoSuchSocket),
    /// The port table's refusal.
    #[error("{0}")]
    Refused(ListenError<SocketId>),
}

/// Why a socket was not connected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OwnConnectError {
    /// There is no such socket.
    #[error(transparent)]
    Gone(#[from] NoSuchSocket),
    /// It is connected, or tries to.
    #[error("the socket is connected already")]
    Connected,
    /// No route of ours leads to the peer.
    #[error("no route to the peer")]
    NoRoute,
    /// The port table's refusal.
    #[error("{0}")]
    Refused(Box<ConnectError<SocketId>>),
}

/// Why nothing was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AcceptError {
    /// There is no such socket, or it does not listen.
    #[error(transparent)]
    Gone(#[from] NoSuchSocket),
    /// Nobody waits.
    #[error("no connection waits to be accepted")]
    Empty,
}

impl Host {
    /// A new socket, without a port.
    ///
    /// # Errors
    /// [`TooMany`] beyond a million of them.
    pub fn open(&mut self, protocol: Protocol, domain: Domain) -> Result<SocketId, TooMany> {
        let id = self.sockets.next().ok_or(TooMany)?;
        let hold = self.table.open(Request::new(protocol, domain), id);
        let role = match protocol {
            Protocol::Tcp => Role::Fresh,
            Protocol::Udp => Role::Datagrams(Mailbox::new()),
        };
        self.sockets.insert(id, Socket::new(hold, domain, role));
        Ok(id)
    }

    /// Binds a socket to an own address, or, in a host that accepts anything, to any. The port is returned.
    ///
    /// # Errors
    /// [`OwnBindError`].
    pub fn bind(&mut self, socket: SocketId, local: Local) -> Result<Port, OwnBindError> {
        let hold = self
            .sockets
            .find(socket)
            .and_then(|socket| socket.hold)
            .ok_or(NoSuchSocket)?;
        let address = local.address.to_canonical();
        let own =
            address.is_unspecified() || self.routes.is_internal(address) || address.is_multicast();
        if !own && !self.config.accept_anything {
            return Err(OwnBindError::NotOwn);
        }
        self.table.bind(hold, local).map_err(OwnBindError::Refused)
    }

    /// Makes a TCP socket take connections; again, to change how many may wait: `backlog` and one more, as on Linux.
    ///
    /// # Errors
    /// [`OwnListenError`].
    pub fn listen(&mut self, socket: SocketId, backlog: usize) -> Result<Port, OwnListenError> {
        let found = self.sockets.find_mut(socket).ok_or(NoSuchSocket)?;
        let hold = found.hold.ok_or(NoSuchSocket)?;
        let port = self.table.listen(hold).map_err(OwnListenError::Refused)?;
        match &mut found.role {
            Role::Listener(listener) => listener.backlog = backlog,
            role => {
                *role = Role::Listener(Listener {
                    backlog,
                    half_open: 0,
                    queue: VecDeque::new(),
                })
            }
        }
        Ok(port)
    }

    /// Takes the connection that has waited longest at a listener.
    ///
    /// # Errors
    /// [`AcceptError`].
    pub fn accept(&mut self, listener: SocketId) -> Result<SocketId, AcceptError> {
        let found = self.sockets.find_mut(listener).ok_or(NoSuchSocket)?;
        let Role::Listener(queue) = &mut found.role else {
            return Err(NoSuchSocket.into());
        };
        let id = queue.queue.pop_front().ok_or(AcceptError::Empty)?;
        if let Some(socket) = self.sockets.find_mut(id) {
            // What happened while it waited is told now.
            let ready = core::mem::take(&mut socket.ready);
            if let Some(stream) = socket.stream_mut() {
                stream.keeper = Keeper::Caller;
            }
            self.tell(id, ready);
        }
        Ok(id)
    }

    /// Connects a socket to a peer: under TCP a SYN is sent, and
    /// [`Ready::CONNECTED`](crate::Ready::CONNECTED) or [`Ready::FAILED`](crate::Ready::FAILED) follows; under UDP
    /// only the peer's datagrams are received from now on. The flow is returned.
    ///
    /// # Errors
    /// [`OwnConnectError`].
    pub fn connect(
        &mut self,
        now: Instant,
        socket: SocketId,
        remote: Endpoint,
    ) -> Result<Flow, OwnConnectError> {
        let found = self.sockets.find(socket).ok_or(NoSuchSocket)?;
        if found.stream().is_some() {
            return Err(OwnConnectError::Connected);
        }
        let hold = found.hold.ok_or(NoSuchSocket)?;
        if !self.has_way(remote.address()) {
            return Err(OwnConnectError::NoRoute);
        }
        let source = self
            .routes
            .source_for(remote.address())
            .ok_or(OwnConnectError::NoRoute)?;
        self.table
            .connect(hold, source, remote)
            .map_err(|error| OwnConnectError::Refused(Box::new(error)))?;
        let flow = self.table.flow(hold).ok_or(NoSuchSocket)?;
        if flow.protocol == Protocol::Tcp {
            self.open_stream(now, socket, flow);
        }
        Ok(flow)
    }

    /// Sets something. What a socket can't have is ignored, as long as there is such a socket.
    ///
    /// # Errors
    /// [`NoSuchSocket`].
    pub fn set(
        &mut self,
        now: Instant,
        socket: SocketId,
        setting: Setting,
    ) -> Result<(), NoSuchSocket> {
        let found = self.sockets.find_mut(socket).ok_or(NoSuchSocket)?;
        let options = &mut found.options;
        match setting {
            Setting::Reuse(reuse) => options.reuse = reuse,
            Setting::Domain(domain) => found.domain = domain,
            Setting::NoDelay(nodelay) => options.nodelay = Some(nodelay),
            Setting::Cork(cork) => options.cork = cork,
            Setting::KeepAlive(keepalive) => options.keepalive = keepalive,
            Setting::UserTimeout(timeout) => options.user_timeout = timeout,
            Setting::ReceiveBuffer(octets) => options.receive_buffer = Some(octets),
            Setting::SendBuffer(octets) => options.send_buffer = Some(octets),
        }
        if let Some(hold) = found.hold {
            // The hold is there as long as the socket has it.
            let _ = match setting {
                Setting::Reuse(reuse) => self.table.set_reuse(hold, reuse),
                Setting::Domain(domain) => self.table.set_domain(hold, domain),
                _ => Ok(()),
            };
        }
        match &mut found.role {
            Role::Stream(stream) => {
                let connection = &mut stream.connection;
                match setting {
                    Setting::NoDelay(nodelay) => connection.set_nodelay(nodelay),
                    Setting::Cork(cork) => connection.set_cork(cork),
                    Setting::KeepAlive(keepalive) => connection.set_keepalive(now, keepalive),
                    Setting::UserTimeout(timeout) => connection.set_user_timeout(now, timeout),
                    Setting::ReceiveBuffer(octets) => connection.set_receive_buffer(octets),
                    Setting::SendBuffer(octets) => connection.set_send_buffer(octets),
                    Setting::Reuse(_) | Setting::Domain(_) => {}
                }
                self.settle(socket);
            }
            Role::Datagrams(mailbox) => {
                if let Setting::ReceiveBuffer(octets) = setting {
                    mailbox.room = octets;
                }
            }
            Role::Fresh | Role::Listener(_) | Role::Resting(..) => {}
        }
        Ok(())
    }

    /// Where a socket is bound: its port and the addresses that it covers; nothing without a port.
    #[must_use]
    pub fn bound(&self, socket: SocketId) -> Option<(wharf_port::Cover, Port)> {
        let holding = self.table.holding(self.sockets.find(socket)?.hold?)?;
        holding.port.map(|port| (holding.cover, port))
    }
}

/// The domain of a connection that came in.
pub(super) fn domain_of(address: IpAddr) -> Domain {
    match address {
        IpAddr::V4(_) => Domain::V4,
        IpAddr::V6(_) => Domain::V6Only,
    }
}

/// Every address of a domain, as bind is asked for it.
pub(super) fn wildcard(domain: Domain) -> IpAddr {
    match domain {
        Domain::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Domain::V6Only | Domain::Dual => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
