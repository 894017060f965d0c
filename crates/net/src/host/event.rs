//! What the host tells its caller, and the names of sockets and knocks in it.

use bytes::Bytes;
use core::fmt;
use core::net::IpAddr;
use wharf_port::{Endpoint, Flow};

pub use crate::tcp::Ready;

/// Names one of a host's sockets. Never used again after the socket is closed, so a late use is an
/// error and not another socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "socket {}.{}", self.index, self.generation)
    }
}

/// Names a connection request that waits for the caller's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KnockId(pub(crate) u64);

/// Something for the caller to act upon, from [`Host::event`](crate::Host::event).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Accept-anything: a SYN to an endpoint that no socket listens at. Nothing is answered before
    /// [`Host::admit`](crate::Host::admit) or [`Host::refuse`](crate::Host::refuse).
    Knock {
        /// The request.
        knock: KnockId,
        /// Who wants to reach whom: `local` is where the peer wants to connect to.
        flow: Flow,
    },
    /// A connection is complete and waits in `listener`'s queue for [`Host::accept`](crate::Host::accept).
    Incoming {
        /// The socket that was listened at.
        listener: SocketId,
        /// The connection.
        socket: SocketId,
    },
    /// Something changed for a socket. Between two calls of [`Host::event`](crate::Host::event) there is
    /// at most one such event for each socket.
    Ready {
        /// The socket.
        socket: SocketId,
        /// What it is ready for.
        ready: Ready,
    },
    /// Accept-anything: a datagram that no socket is bound for.
    Datagram {
        /// From `remote`, to `local`.
        flow: Flow,
        /// The datagram, or a train of datagrams.
        payload: Bytes,
        /// When `payload` is a train: the octets of each datagram in it; the last may be shorter.
        segment: Option<u16>,
    },
    /// Accept-anything: a datagram that no socket is bound for and that came without a source port, so that nobody can answer it
    /// (RFC 768).
    OneWay {
        /// To whom.
        local: Endpoint,
        /// From whom.
        remote: IpAddr,
        /// The datagram, or a train of datagrams.
        payload: Bytes,
        /// When `payload` is a train: the octets of each datagram in it; the last may be shorter.
        segment: Option<u16>,
    },
    /// Accept-anything: an ICMP echo request to an address that isn't the host's own.
    Echo {
        /// The address that was asked.
        local: IpAddr,
        /// Who asks.
        remote: IpAddr,
        /// The asker's mark for its session.
        ident: u16,
        /// The asker's mark for this request.
        sequence: u16,
        /// To be given back unchanged.
        payload: Bytes,
    },
    /// The reply to a [`Host::ping`](crate::Host::ping).
    Reply {
        /// Who was asked, and answers.
        remote: IpAddr,
        /// The request's first mark.
        ident: u16,
        /// The request's second mark.
        sequence: u16,
        /// What came back; a peer that keeps to RFC 792 sends what it got.
        payload: Bytes,
    },
    /// An address of a host that [configures itself](crate::Config::autoconfiguration) has changed.
    Address {
        /// The address.
        address: IpAddr,
        /// What it is now.
        state: AddressState,
    },
    /// Accept-anything: an ICMP error about a datagram that [`Host::send_datagram`](crate::Host::send_datagram) sent, and
    /// that no socket is bound for.
    Rejected {
        /// The datagram's flow.
        flow: Flow,
        /// Why it was not delivered.
        unreachable: Unreachable,
    },
}

/// What an address is to its host. RFC 4862 §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressState {
    /// It is asked whether somebody has it. Nothing is sent from it or received at it.
    Tentative,
    /// It is the host's.
    Preferred,
    /// It is the host's still; what begins now takes another one if there is one.
    Deprecated,
    /// It is the host's no more.
    Gone,
    /// Somebody else has it: it was given up before it was used.
    Duplicate,
}

/// Why a peer cannot reach what it wanted, in ICMP's words: RFC 792, RFC 1812 §5.2.7.1, RFC 4443 §3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// No route to the network.
    Network,
    /// The host does not answer.
    Host,
    /// Nobody at the port.
    Port,
    /// Forbidden by policy.
    Prohibited,
}

/// How a knock is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// With a RST, as by a host with nobody at that port.
    Reset,
    /// With an ICMP error.
    Unreachable(Unreachable),
    /// Not at all: the peer tries again and may knock again.
    Silent,
}
