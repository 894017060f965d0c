//! The host's own sockets, as a BSD program knows them: open, bind, listen, accept, connect, set.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use thiserror::Error;
use wharf_port::table::{ConnectError, Device, ListenError, Request, Reuse, Right, State};
use wharf_port::{Domain, Endpoint, Flow, Local, Port, PortRange, Protocol};

use super::Host;
use super::event::SocketId;
use super::mailbox::Mailbox;
use super::sockets::{Keeper, Listener, Role, Socket};
use crate::tcp::{Algorithm, KeepAlive};
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
    /// `TCP_CONGESTION`, before it is connected; what a listener takes has the listener's.
    Congestion(Algorithm),
    /// `SO_RCVBUF`, in octets.
    ReceiveBuffer(usize),
    /// `SO_SNDBUF`, in octets.
    SendBuffer(usize),
    /// The user that it belongs to: only sockets of one user share by reuse port.
    User(u32),
    /// `SO_BINDTODEVICE`: [`Host::LOOPBACK`], [`Host::LINK`], or one of which the host knows nothing. It gets packets from there
    /// only, and sends them there only (RFC 1122 §3.3.4.2, the strong model): what is beyond the device is without a route. As on
    /// Linux, the host's own addresses count for both devices, those of the loopback network for its device only. A connection is
    /// judged when it is made.
    Device(Option<Device>),
    /// Which ports it may be bound to: all, or those from [`Config::unprivileged`](crate::Config::unprivileged) on. As the
    /// capability `CAP_NET_BIND_SERVICE`.
    Right(Right),
    /// `IP_TTL`, `IPV6_UNICAST_HOPS`, under UDP: hops that a datagram may go; nothing for the host's.
    HopLimit(Option<u8>),
    /// `IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`: hops that a datagram for a group may go, 1 unless set (RFC 1112 §6.1).
    GroupHopLimit(u8),
    /// `IP_MULTICAST_LOOP`: whether datagrams for a group also reach the sockets of this host that have joined it; they do unless
    /// set otherwise.
    GroupLoop(bool),
    /// `IP_RECVERR`, in part: whether a UDP socket is told of everything that the network reports about its datagrams (RFC 1122
    /// §4.1.3.3). Unless set, it is only if it is connected, and only of what won't be over in a moment: a closed port, a
    /// prohibition. With it, of unreachable networks and hosts, too, and without a peer as well.
    SoftErrors(bool),
    /// `IP_LOCAL_PORT_RANGE`: what is chosen from for this socket, rather than [`Config::ports`](crate::Config::ports).
    Ports(Option<PortRange>),
}

/// There is no room for one more socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("there are too many sockets")]
pub struct TooMany;

/// There is no such socket, or it is not one for this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no such socket")]
pub struct NoSuchSocket;

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

    /// Makes a TCP socket take connections; again, to change how many may wait: `backlog` and one more, as on Linux.
    ///
    /// # Errors
    /// [`OwnListenError`].
    pub fn listen(&mut self, socket: SocketId, backlog: usize) -> Result<Port, OwnListenError> {
        let found = self.sockets.named_mut(socket).ok_or(NoSuchSocket)?;
        let hold = found.hold;
        if let Some(address) = found.address.filter(|_| self.table.port(hold).is_none()) {
            let local = Local {
                address,
                port: None,
            };
            let bound = self.table.bind(hold, local);
            bound.map_err(|error| OwnListenError::Refused(error.into()))?;
        }
        let port = self.table.listen(hold).map_err(OwnListenError::Refused)?;
        match &mut found.role {
            Role::Listener(listener) => listener.backlog = backlog,
            role => {
                *role = Role::Listener(Listener {
                    backlog,
                    half_open: 0,
                    queue: VecDeque::new(),
                    cookies_until: None,
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
        let found = self.sockets.named_mut(listener).ok_or(NoSuchSocket)?;
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
    /// only the peer's datagrams are received from now on. The unspecified address stands for the host itself. The flow is
    /// returned.
    ///
    /// # Errors
    /// [`OwnConnectError`].
    pub fn connect(
        &mut self,
        now: Instant,
        socket: SocketId,
        remote: Endpoint,
    ) -> Result<Flow, OwnConnectError> {
        let found = self.sockets.named(socket).ok_or(NoSuchSocket)?;
        if found.stream().is_some() {
            return Err(OwnConnectError::Connected);
        }
        let hold = found.hold;
        let remote = Endpoint::new(somewhere(remote.address()), remote.port());
        let device = self.table.holding(hold).and_then(|holding| holding.device);
        if !self.has_way(device, remote.address()) {
            return Err(OwnConnectError::NoRoute);
        }
        let near = device.filter(|device| *device != Self::LOOPBACK);
        let source = match found.address {
            Some(address) => address,
            None => self
                .routes
                .source_for(near, remote.address())
                .ok_or(OwnConnectError::NoRoute)?,
        };
        let connected = match self.table.connect(hold, source, remote) {
            Err(ConnectError::Taken(taken)) if self.is_over(&taken.holder.state, remote) => {
                self.discard(taken.holder.owner);
                self.table.connect(hold, source, remote)
            }
            connected => connected,
        };
        let flow = connected.map_err(|error| OwnConnectError::Refused(Box::new(error)))?;
        if flow.protocol == Protocol::Tcp {
            self.open_stream(now, socket, flow);
        }
        Ok(flow)
    }

    /// Whether a flow that rests may be taken by a new connection: between two sockets of ours there is no old segment on the way
    /// that TIME-WAIT would have to wait for (RFC 9293 §3.4.2, RFC 6191).
    fn is_over(&self, state: &State, remote: Endpoint) -> bool {
        matches!(state, State::TimeWait(..)) && self.routes.is_internal(remote.address())
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
        let found = self.sockets.named_mut(socket).ok_or(NoSuchSocket)?;
        match setting {
            Setting::Domain(domain) => found.domain = domain,
            Setting::Reuse(_)
            | Setting::User(_)
            | Setting::Device(_)
            | Setting::Right(_)
            | Setting::HopLimit(_)
            | Setting::GroupHopLimit(_)
            | Setting::GroupLoop(_)
            | Setting::SoftErrors(_)
            | Setting::Ports(_) => {}
            setting => found.options.get_or_insert_default().note(setting),
        }
        // The hold is there as long as the socket is.
        let hold = found.hold;
        let _ = match setting {
            Setting::Reuse(reuse) => self.table.set_reuse(hold, reuse),
            Setting::Domain(domain) => self.table.set_domain(hold, domain),
            Setting::User(user) => self.table.set_user(hold, user),
            Setting::Device(device) => self.table.set_device(hold, device),
            Setting::Right(right) => self.table.set_right(hold, right),
            Setting::Ports(range) => self.table.set_range(hold, range),
            _ => Ok(()),
        };
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
                    Setting::Reuse(_)
                    | Setting::Congestion(_)
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
                self.settle(socket);
            }
            Role::Datagrams(mailbox) => mailbox.set(setting),
            Role::Fresh | Role::Listener(_) | Role::Resting(..) => {}
        }
        Ok(())
    }

    /// Where a socket is bound: its port and the addresses that it covers; nothing without a port.
    #[must_use]
    pub fn bound(&self, socket: SocketId) -> Option<(wharf_port::Cover, Port)> {
        let holding = self.table.holding(self.sockets.named(socket)?.hold)?;
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

/// Where a connection to this address goes: the unspecified address is the host's own.
fn somewhere(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}
