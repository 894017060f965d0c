//! What happens to the ports of spaces: bound, listening, conflict, released.
//!
//! The daemon tells it to every command that has asked for it ([`crate::protocol::Ask::Events`]), in the order in which
//! it happened. An event is a value: what it says of programs was true when it happened, and they may have ended since.

use std::net::IpAddr;
use std::num::NonZeroU16;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::list::{Protocol, protocol_by_name};

/// One thing that happened to a port of a space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    /// When; for what a dump found (see [`Source`]), when it was found.
    pub(crate) at: Timestamp,
    /// The space's name.
    pub(crate) space: String,
    /// What happened.
    #[serde(flatten)]
    pub(crate) kind: Kind,
    /// TCP or UDP.
    #[serde(with = "protocol_by_name")]
    pub(crate) protocol: Protocol,
    /// The address; `0.0.0.0` and `::` stand for every address.
    pub(crate) address: IpAddr,
    /// The port; where 0 was asked for, the one that the kernel chose.
    pub(crate) port: NonZeroU16,
    /// The kernel's cookie of the socket, the same in all events about one socket, and of no other. 0 if it wasn't found.
    pub(crate) socket: u64,
    /// Whose socket it is: who bound it, or who was found to hold it. `None` if that can't be seen.
    pub(crate) program: Option<Actor>,
    /// How it is known.
    pub(crate) source: Source,
}

impl Event {
    /// Whether it happened in that space, or to it.
    pub(crate) fn concerns(&self, space: &str) -> bool {
        self.space == space || matches!(&self.kind, Kind::Denied { to } if to == space)
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The socket has the port. Of TCP, it takes no connections yet.
    Bound,
    /// The TCP socket takes connections.
    Listening,
    /// The program wanted the port and didn't get it: it was told "address already in use", or where a rule of the
    /// project forbids the port, "permission denied".
    Conflict {
        /// What is in the way.
        reason: Reason,
    },
    /// The last holder has closed the socket.
    Released,
    /// The program wanted to reach this port of another space, and one of the two is isolated. It was told that this is
    /// prohibited. Not every attempt is told.
    Denied {
        /// The other space's name.
        to: String,
    },
}

/// Why a program didn't get a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reason {
    /// Others have it; empty if it can't be told who.
    Held(Vec<Holder>),
    /// The project keeps it for a service of this name.
    Reserved(String),
    /// The project forbids it, for this reason (may be empty).
    Forbidden(String),
}

/// Somebody who stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// The address that it holds the port at.
    pub(crate) address: IpAddr,
    /// Whether it listens; `None` of UDP, where there is no such thing.
    pub(crate) listens: Option<bool>,
    /// Since when it has the port, as far as known.
    pub(crate) since: Option<Timestamp>,
    /// Who it is; `None` if that can't be seen.
    pub(crate) program: Option<Actor>,
}

/// A program as an event names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Actor {
    /// Its process id, as seen from the machine.
    pub(crate) pid: i32,
    /// The name of the executable's file.
    pub(crate) program: String,
    /// Its current directory; `None` if it may not be seen.
    pub(crate) directory: Option<String>,
}

/// How an event is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// It was seen when it happened.
    Call,
    /// It was found in the kernel's list of sockets, so it happened some time before.
    Dump,
}

/// What a command that follows the events hears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum News {
    /// Something happened.
    Event(Event),
    /// So many events were not told, since the command reads too slowly. A list shows what is now.
    Missed(u64),
}

/// Events for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A program listens at 127.0.0.1.
    pub(crate) fn event(at: Timestamp, space: &str, port: u16) -> Event {
        Event {
            at,
            space: space.into(),
            kind: Kind::Listening,
            protocol: Protocol::Tcp,
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            port: NonZeroU16::new(port).unwrap(),
            socket: 7,
            program: Some(Actor {
                pid: 42,
                program: "node".into(),
                directory: Some("/home/ada/shop".into()),
            }),
            source: Source::Call,
        }
    }
}
