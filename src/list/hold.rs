//! What a list is made of: one socket that holds a port, and whose it is.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::diag::State;
use super::process::Process;
use super::unseen::Unseen;
use wharf_port::Protocol;

/// One socket that holds a port; sockets that listen together at one address (`SO_REUSEPORT`) are one.
///
/// The JSON form is part of what wharf promises: `docs/json.md`, schema 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    /// The space's name; `None` is the machine itself, unless `namespace` says otherwise.
    pub(crate) space: Option<String>,
    /// The network namespace, by its inode, if it is neither the machine's nor a space's.
    pub(crate) namespace: Option<u64>,
    /// TCP or UDP.
    #[serde(with = "protocol_by_name")]
    pub(crate) protocol: Protocol,
    /// The address it is bound to; `0.0.0.0` and `::` stand for every address.
    pub(crate) address: IpAddr,
    /// The port.
    pub(crate) port: NonZeroU16,
    /// What the socket does with it.
    pub(crate) state: State,
    /// The other end, if it has one.
    pub(crate) peer: Option<SocketAddr>,
    /// When the kernel gives the port back by itself, if it does.
    pub(crate) until: Option<Timestamp>,
    /// For IPv6 sockets, whether IPv4 peers are left to others.
    pub(crate) ipv6_only: Option<bool>,
    /// How many sockets share the place; 1 unless they have `SO_REUSEPORT` (or, with UDP, `SO_REUSEADDR`).
    pub(crate) sockets: u32,
    /// Of a TCP listener, how many connections wait until somebody accepts them.
    pub(crate) waiting: u32,
    /// The socket's inode; `None` when no process holds it any more.
    pub(crate) inode: Option<u64>,
    /// What people use the port for.
    #[serde(rename = "use")]
    pub(crate) usage: Option<String>,
    /// The user id of the oldest program that holds it, else of the user who opened it.
    pub(crate) uid: u32,
    /// That user's name, if the machine knows one.
    pub(crate) user: Option<String>,
    /// The programs that hold it, oldest first; empty when none of them may be seen.
    pub(crate) programs: Vec<Process>,
    /// What is known all the same when its programs may not be seen. Only where a story is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unseen: Option<Unseen>,
    /// Since when it exists, as far as known.
    pub(crate) since: Option<Timestamp>,
    /// How `since` is known.
    pub(crate) since_from: SinceFrom,
    /// Where clients find it, the best place first; empty unless it listens.
    pub(crate) reach: Vec<String>,
    /// The places of the machine that lead to it, of what is published.
    #[serde(default)]
    pub(crate) published: Vec<SocketAddr>,
}

/// How it is known since when a socket exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SinceFrom {
    /// The socket was seen to appear at that time.
    Socket,
    /// Its oldest holder started at that time, so the socket may be younger.
    Program,
    /// Neither is known.
    Unknown,
}

impl Hold {
    /// Whether it takes connections, or datagrams from anybody.
    pub(crate) fn listens(&self) -> bool {
        self.state == State::Listening
    }

    /// Whether a process holds it that may not be seen.
    pub(crate) fn is_hidden(&self) -> bool {
        self.inode.is_some() && self.programs.is_empty()
    }
}

/// A protocol's JSON form: its name.
pub(crate) mod protocol_by_name {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use wharf_port::Protocol;

    pub(crate) fn serialize<S: Serializer>(
        protocol: &Protocol,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(protocol.name())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Protocol, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// By space, the machine first; then by port, protocol, address, and what is done with it.
pub(super) fn sort(holds: &mut [Hold]) {
    holds.sort_by(|a, b| {
        let key = |hold: &Hold| {
            (
                hold.port,
                hold.protocol,
                hold.address,
                hold.state,
                hold.peer,
            )
        };
        a.space
            .cmp(&b.space)
            .then_with(|| a.namespace.cmp(&b.namespace))
            .then_with(|| key(a).cmp(&key(b)))
    });
}

/// Sockets that listen at one place (`SO_REUSEPORT`) are one to a person: their programs together, since the first of
/// them. The list is sorted.
pub(super) fn join_groups(holds: &mut Vec<Hold>) {
    holds.dedup_by(|later, first| {
        let place = |hold: &Hold| (hold.port, hold.protocol, hold.address, hold.namespace);
        let one = first.listens()
            && later.listens()
            && first.space == later.space
            && place(first) == place(later);
        if one {
            join(first, later);
        }
        one
    });
}

fn join(first: &mut Hold, later: &mut Hold) {
    first.programs.append(&mut later.programs);
    first
        .programs
        .sort_unstable_by_key(|program| (program.started, program.pid));
    first.programs.dedup_by_key(|program| program.pid);
    first.ipv6_only = first.ipv6_only.min(later.ipv6_only);
    first.sockets += later.sockets;
    first.waiting += later.waiting;
    let earlier = |since| first.since.is_none_or(|first| since < first);
    if later.since.is_some_and(earlier) {
        (first.since, first.since_from) = (later.since, later.since_from);
    }
}
