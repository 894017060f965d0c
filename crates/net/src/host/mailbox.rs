//! UDP sockets: what they have received, and what they send.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::{IpAddr, SocketAddr};
use thiserror::Error;
use wharf_port::{Cover, Device, Endpoint, Flow, Local, Port, Protocol};

use super::Host;
use super::event::{SocketId, Unreachable};
use super::outbound::OwnCopy;
use super::own::Setting;
use super::sockets::Role;
use crate::discard::Discard;
use crate::frame::Segmentation;
use crate::time::Instant;
use crate::wire::udp::max_payload;

/// Octets that wait in a socket unless set otherwise; each datagram counts for some more.
const DEFAULT_ROOM: usize = 208 << 10;
const OVERHEAD: usize = 256;

/// A datagram that a socket received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Who sent it.
    pub from: IpAddr,
    /// From which port; nothing if it came without one, and no answer is possible (RFC 768).
    pub port: Option<Port>,
    /// To which of our endpoints.
    pub to: Endpoint,
    /// What it carries.
    pub payload: Bytes,
}

impl Received {
    /// To whom an answer goes; nothing if the datagram came without a source port.
    #[must_use]
    pub fn sender(&self) -> Option<Endpoint> {
        self.port.map(|port| Endpoint::new(self.from, port))
    }

    /// The sender as BSD sockets name it: port 0 stands for none.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        SocketAddr::new(self.from, self.port.map_or(0, Port::number))
    }
}

/// Why a datagram was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// Longer than any datagram: 65,507 octets over IPv4, 65,527 over IPv6.
    #[error("the datagram is too long")]
    TooLong,
    /// Addresses of two families, or of one that the socket doesn't have.
    #[error("the addresses are of two families")]
    Family,
    /// The flow is not UDP's, or the socket is not a UDP socket.
    #[error("not a UDP socket")]
    NotUdp,
    /// No destination was given, and the socket is not connected.
    #[error("no destination")]
    NoDestination,
    /// There is no address of ours, or no port, to send from.
    #[error("no local endpoint to send from")]
    NoSource,
    /// The peer told that nobody is at the port: about an earlier datagram. The next may be sent.
    #[error("an earlier datagram was refused")]
    Refused,
    /// The network told that it did not deliver an earlier datagram. The next may be sent.
    #[error("an earlier datagram was not delivered")]
    Unreachable(Unreachable),
    /// It was dropped on the way out.
    #[error("dropped: {0:?}")]
    Dropped(Discard),
    /// There is no such socket.
    #[error("no such socket")]
    Gone,
}

/// Why nothing was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecvError {
    /// Nothing has come.
    #[error("nothing has come")]
    Empty,
    /// The peer told that nobody is at the port: about an earlier datagram, told once.
    #[error("an earlier datagram was refused")]
    Refused,
    /// The network told that it did not deliver an earlier datagram, told once.
    #[error("an earlier datagram was not delivered")]
    Unreachable(Unreachable),
    /// There is no such socket, or it is not a UDP socket.
    #[error("no such socket")]
    Gone,
}

impl From<Unreachable> for RecvError {
    fn from(told: Unreachable) -> Self {
        match told {
            Unreachable::Port => Self::Refused,
            other => Self::Unreachable(other),
        }
    }
}

/// What a UDP socket has received.
#[derive(Debug)]
pub(super) struct Mailbox {
    queue: VecDeque<Received>,
    octets: usize,
    pub(super) room: usize,
    /// An ICMP error that the caller has not been told of.
    pub(super) trouble: Option<Unreachable>,
    /// Whether the caller is told of those that may be over in a moment.
    pub(super) soft_errors: bool,
    pub(super) sending: Sending,
    /// The groups that the socket hears.
    pub(super) joined: Vec<(Device, IpAddr)>,
}

/// How a socket sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    /// Nothing for the host's.
    pub(super) hop_limit: Option<u8>,
    pub(super) group_hop_limit: u8,
    pub(super) own_copy: OwnCopy,
    /// The link that everything goes by, if the socket is bound to one.
    pub(super) device: Option<Device>,
}

impl Default for Sending {
    /// RFC 1112 §6.1, §7.1: to groups, one hop, and a copy for ourselves.
    fn default() -> Self {
        Self {
            hop_limit: None,
            group_hop_limit: 1,
            own_copy: OwnCopy::IfHeard,
            device: None,
        }
    }
}

impl Mailbox {
    pub(super) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            octets: 0,
            room: DEFAULT_ROOM,
            trouble: None,
            soft_errors: false,
            sending: Sending::default(),
            joined: Vec::new(),
        }
    }

    /// What can be set while the socket lives; what concerns others is ignored.
    pub(super) fn set(&mut self, setting: Setting) {
        let sending = &mut self.sending;
        match setting {
            Setting::ReceiveBuffer(octets) => self.room = octets,
            Setting::HopLimit(hops) => sending.hop_limit = hops,
            Setting::GroupHopLimit(hops) => sending.group_hop_limit = hops,
            Setting::GroupLoop(true) => sending.own_copy = OwnCopy::IfHeard,
            Setting::GroupLoop(false) => sending.own_copy = OwnCopy::Never,
            Setting::SoftErrors(told) => self.soft_errors = told,
            Setting::Device(device) => {
                sending.device = device.filter(|device| *device != Host::LOOPBACK);
            }
            _ => {}
        }
    }

    pub(super) fn push(&mut self, received: Received) -> Result<(), Discard> {
        let octets = received.payload.len() + OVERHEAD;
        if self.octets + octets > self.room {
            return Err(Discard::ReceiveQueue);
        }
        self.octets += octets;
        self.queue.push_back(received);
        Ok(())
    }

    fn pop(&mut self) -> Option<Received> {
        let received = self.queue.pop_front()?;
        self.octets -= received.payload.len() + OVERHEAD;
        Some(received)
    }
}

impl Host {
    /// Sends a datagram from a UDP socket to `remote`, or to the peer that it is connected to. A socket without a port gets
    /// one.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send_to(
        &mut self,
        now: Instant,
        socket: SocketId,
        remote: Option<Endpoint>,
        payload: Bytes,
    ) -> Result<(), SendError> {
        let mailbox = self.mailbox(socket).ok_or(SendError::Gone)?;
        match mailbox.trouble.take() {
            None => {}
            Some(Unreachable::Port) => return Err(SendError::Refused),
            Some(other) => return Err(SendError::Unreachable(other)),
        }
        let flow = self.flow_towards(socket, remote)?;
        if payload.len() > max_payload(flow.local.address()) {
            return Err(SendError::TooLong);
        }
        self.send_one(now, &flow, payload, Segmentation::None, Some(socket))
    }

    fn flow_towards(&mut self, id: SocketId, remote: Option<Endpoint>) -> Result<Flow, SendError> {
        let socket = self.sockets.named(id).ok_or(SendError::Gone)?;
        let (hold, domain) = (socket.hold, socket.domain);
        let connected = self.table.flow(hold);
        let Some(remote) = remote.or(connected.map(|flow| flow.remote)) else {
            return Err(SendError::NoDestination);
        };
        // Towards its peer it has been judged when it was connected.
        if let Some(flow) = connected.filter(|flow| flow.remote == remote) {
            return Ok(flow);
        }
        if self.table.port(hold).is_none() {
            let wildcard = super::own::wildcard(domain);
            let bound = self.table.bind(
                hold,
                Local {
                    address: wildcard,
                    port: None,
                },
            );
            bound.map_err(|_| SendError::NoSource)?;
        }
        let holding = self.table.holding(hold).ok_or(SendError::Gone)?;
        if !self.reaches(holding.device, remote.address()) {
            return Err(SendError::Dropped(self.drop_for(Discard::NoRoute)));
        }
        let device = holding.device.filter(|device| *device != Self::LOOPBACK);
        let port = holding.port.ok_or(SendError::NoSource)?;
        let address = match holding.cover {
            Cover::V4(address) => IpAddr::V4(address),
            Cover::V6(address) => IpAddr::V6(address),
            _ => self
                .routes
                .source_for(device, remote.address())
                .ok_or(SendError::NoSource)?,
        };
        if address.is_ipv4() != remote.address().is_ipv4() {
            return Err(SendError::Family);
        }
        Ok(Flow {
            protocol: Protocol::Udp,
            local: Endpoint::new(address, port),
            remote,
        })
    }

    /// Takes the next datagram from a UDP socket.
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn recv_from(&mut self, socket: SocketId) -> Result<Received, RecvError> {
        let mailbox = self.mailbox(socket).ok_or(RecvError::Gone)?;
        if let Some(trouble) = mailbox.trouble.take() {
            return Err(trouble.into());
        }
        mailbox.pop().ok_or(RecvError::Empty)
    }

    /// Looks at the next datagram, and leaves it.
    ///
    /// # Errors
    /// [`RecvError`]; a refusal is still to be told by [`recv_from`](Self::recv_from).
    pub fn peek_from(&self, socket: SocketId) -> Result<&Received, RecvError> {
        let found = self.sockets.named(socket).ok_or(RecvError::Gone)?;
        let Role::Datagrams(mailbox) = &found.role else {
            return Err(RecvError::Gone);
        };
        if let Some(trouble) = mailbox.trouble {
            return Err(trouble.into());
        }
        mailbox.queue.front().ok_or(RecvError::Empty)
    }

    /// Takes the error that the next call would fail with; nothing if there is none.
    pub fn take_refusal(&mut self, socket: SocketId) -> Option<RecvError> {
        let trouble = self.mailbox(socket)?.trouble.take();
        trouble.map(RecvError::from)
    }

    /// The peer that a UDP socket is connected to.
    #[must_use]
    pub fn peer(&self, socket: SocketId) -> Option<Endpoint> {
        let hold = self.sockets.named(socket)?.hold;
        self.table.flow(hold).map(|flow| flow.remote)
    }

    pub(super) fn mailbox(&mut self, socket: SocketId) -> Option<&mut Mailbox> {
        match &mut self.sockets.find_mut(socket)?.role {
            Role::Datagrams(mailbox) => Some(mailbox),
            _ => None,
        }
    }
}
