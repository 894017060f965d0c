//! Why the table says no. Each error says who or what is in the way.

use alloc::sync::Arc;
use core::fmt;

use super::holding::write_place;
use super::{Holding, Moment, State};
use crate::{Cover, Endpoint, Flow, Port, PortRange, Protocol, WrongFamily};

/// The hold was released before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// Why two holds can't be at the same port at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// Both are the same address, and they did not agree to share it.
    Same,
    /// The newcomer is a wildcard and would cover the holder's address.
    WildcardOverSpecific,
    /// The holder is a wildcard and covers the newcomer's address.
    UnderWildcard,
    /// One is a dual-stack wildcard, which covers IPv4 too.
    DualStack,
    /// Both have reuse address, but the holder listens.
    Listening,
    /// Both have reuse port, but they belong to different users.
    OtherUser,
    /// The holder's connection rests in TIME-WAIT until then.
    TimeWait(Moment),
}

/// The place is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse<O> {
    /// Who holds it.
    pub holder: Holding<O>,
    /// The cover that was asked for.
    pub cover: Cover,
    /// The port that was asked for.
    pub port: Port,
    /// What the conflict is.
    pub why: Why,
}

/// The very flow is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowTaken<O> {
    /// Who holds it; its state is [`State::TimeWait`] where a new connection might replace it (RFC 6191).
    pub holder: Holding<O>,
    /// The flow.
    pub flow: Flow,
}

/// No port of the range is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The range that is full.
    pub range: PortRange,
    /// Where it is full.
    pub cover: Cover,
    /// The peer towards which it is full, if the port was for a connection.
    pub remote: Option<Endpoint>,
}

/// The port is kept for somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// The port that was asked for.
    pub port: Port,
    /// All that is kept.
    pub range: PortRange,
    /// For whom.
    pub name: Arc<str>,
}

/// Why a bind failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindError<O> {
    /// The hold was released before.
    Gone,
    /// It has a port already.
    AlreadyBound,
    /// The address is of a family that the socket doesn't have.
    Family(WrongFamily),
    /// The port is a system port, and the socket has no right to one.
    Denied(Port),
    /// The port is kept for somebody else.
    Reserved(Reserved),
    /// Somebody holds it.
    InUse(InUse<O>),
    /// A port was to be chosen, and none is free.
    Exhausted(Exhausted),
}

/// Why a listen failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenError<O> {
    /// The hold was released before.
    Gone,
    /// UDP doesn't listen.
    Datagram,
    /// It is connected.
    Connected,
    /// The port can't be had, or not by a listener. A hold that was bound stays bound.
    Bind(BindError<O>),
}

/// Why a connect failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError<O> {
    /// The hold was released before.
    Gone,
    /// It listens.
    Listening,
    /// It is connected, and TCP can't change the peer.
    Connected,
    /// Local and remote address are not of one family, or not of one that the socket has.
    Family(WrongFamily),
    /// The flow is somebody's already.
    Taken(FlowTaken<O>),
    /// The port is bound, but somebody else holds it at the address that the connection would go out from.
    InUse(InUse<O>),
    /// A port was to be chosen, and none is free towards this peer.
    Exhausted(Exhausted),
}

/// Why an accept failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcceptError<O> {
    /// The listener was released before.
    Gone,
    /// It doesn't listen, or not on the flow's local endpoint.
    NotListening,
    /// The flow is somebody's already.
    Taken(FlowTaken<O>),
}

impl Why {
    pub(super) fn between<O>(
        holder: &Holding<O>,
        cover: Cover,
        reuse: super::Reuse,
        user: u32,
    ) -> Self {
        match holder.state {
            State::TimeWait(_, until) => return Self::TimeWait(until),
            State::Listening if reuse.address() && holder.reuse.address() => {
                return Self::Listening;
            }
            _ if reuse.port() && holder.reuse.port() && user != holder.user => {
                return Self::OtherUser;
            }
            _ => {}
        }
        match (cover, holder.cover) {
            (new, old) if new == old => Self::Same,
            (Cover::All, Cover::AllV4) | (Cover::AllV4, Cover::All) => Self::DualStack,
            (Cover::V4(_), Cover::All) | (Cover::All, Cover::V4(_)) => Self::DualStack,
            (new, _) if new.is_wildcard() => Self::WildcardOverSpecific,
            _ => Self::UnderWildcard,
        }
    }
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the socket is closed")
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Same => "two sockets can have the same address only if both ask to share it",
            Self::WildcardOverSpecific => "a wildcard would take that address too",
            Self::UnderWildcard => "a wildcard has every address of its family",
            Self::DualStack => "an IPv6 wildcard has the IPv4 addresses as well",
            Self::Listening => "address reuse does not help against a listener",
            Self::OtherUser => "port reuse is among sockets of one user only",
            Self::TimeWait(_) => {
                "a closed connection keeps its port for a while unless both sides reuse the address"
            }
        })
    }
}

impl<O: fmt::Display> fmt::Display for InUse<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.holder.protocol)?;
        write_place(f, self.cover, self.port.number())?;
        write!(f, " is taken: {}, and {}", self.holder, self.why)
    }
}

impl<O: fmt::Display> fmt::Display for FlowTaken<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the flow {} is taken: {}", self.flow, self.holder)
    }
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            protocol,
            range,
            cover,
            remote,
        } = self;
        write!(
            f,
            "all {} {protocol} ports from {} to {} are taken at {cover}",
            range.count(),
            range.first(),
            range.last()
        )?;
        match remote {
            Some(remote) => write!(f, " towards {remote}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} is kept for {}", self.port, self.name)?;
        if self.range.count() == 1 {
            return Ok(());
        }
        write!(f, ", with all of {}", self.range)
    }
}

impl<O: fmt::Display> fmt::Display for BindError<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => Gone.fmt(f),
            Self::AlreadyBound => f.write_str("the socket has a port already"),
            Self::Family(error) => error.fmt(f),
            Self::Denied(port) => write!(
                f,
                "port {port} is a system port, and this socket has no right to those"
            ),
            Self::Reserved(error) => error.fmt(f),
            Self::InUse(error) => error.fmt(f),
            Self::Exhausted(error) => error.fmt(f),
        }
    }
}

impl<O: fmt::Display> fmt::Display for ListenError<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => Gone.fmt(f),
            Self::Datagram => {
                f.write_str("a UDP socket can't listen: it receives once it is bound")
            }
            Self::Connected => f.write_str("the socket is connected: it can't listen"),
            Self::Bind(error) => error.fmt(f),
        }
    }
}

impl<O: fmt::Display> fmt::Display for ConnectError<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => Gone.fmt(f),
            Self::Listening => f.write_str("the socket listens: it can't connect"),
            Self::Connected => f.write_str("the socket is connected already"),
            Self::Family(error) => error.fmt(f),
            Self::Taken(error) => error.fmt(f),
            Self::InUse(error) => error.fmt(f),
            Self::Exhausted(error) => error.fmt(f),
        }
    }
}

impl<O: fmt::Display> fmt::Display for AcceptError<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => Gone.fmt(f),
            Self::NotListening => f.write_str("the socket doesn't listen there"),
            Self::Taken(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Gone {}
impl core::error::Error for Exhausted {}
impl core::error::Error for Reserved {}
impl<O: fmt::Debug + fmt::Display> core::error::Error for InUse<O> {}
impl<O: fmt::Debug + fmt::Display> core::error::Error for FlowTaken<O> {}
impl<O: fmt::Debug + fmt::Display> core::error::Error for BindError<O> {}
impl<O: fmt::Debug + fmt::Display> core::error::Error for ListenError<O> {}
impl<O: fmt::Debug + fmt::Display> core::error::Error for ConnectError<O> {}
impl<O: fmt::Debug + fmt::Display> core::error::Error for AcceptError<O> {}

impl<O> From<WrongFamily> for BindError<O> {
    fn from(error: WrongFamily) -> Self {
        Self::Family(error)
    }
}

impl<O> From<WrongFamily> for ConnectError<O> {
    fn from(error: WrongFamily) -> Self {
        Self::Family(error)
    }
}

impl<O> From<BindError<O>> for ListenError<O> {
    fn from(error: BindError<O>) -> Self {
        Self::Bind(error)
    }
}
