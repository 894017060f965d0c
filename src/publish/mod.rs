//! Publishing: a space's port, offered at an address of the machine.
//!
//! [`in_space`] and [`wish`] are what users type, [`carrier`] moves the bytes; which port of the machine leads where, and since when, is
//! kept by the daemon (`src/daemon/board.rs`).

pub(crate) mod carrier;
pub(crate) mod command;
mod datagrams;
pub(crate) mod in_space;
mod naming;
pub(crate) mod splice;
pub(crate) mod taking;
pub(crate) mod wish;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::list::{Hold, Protocol, protocol_by_name};

/// A place of the machine at which a port can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Place {
    /// TCP or UDP.
    #[serde(with = "protocol_by_name")]
    pub(crate) protocol: Protocol,
    /// The machine's address.
    pub(crate) address: IpAddr,
    /// The machine's port.
    pub(crate) port: NonZeroU16,
}

impl Place {
    pub(crate) fn endpoint(self) -> SocketAddr {
        SocketAddr::new(self.address, self.port.get())
    }
}

/// `127.0.0.1:53/udp`; TCP goes without saying.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.endpoint(), suffix(self.protocol))
    }
}

/// How a port's protocol is told where TCP goes without saying.
pub(crate) fn suffix(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "",
        Protocol::Udp => "/udp",
    }
}

/// A port of a space that is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Publication {
    /// The space's name.
    pub(crate) space: String,
    /// The space's port.
    pub(crate) inside: NonZeroU16,
    /// Where it is offered.
    #[serde(flatten)]
    pub(crate) place: Place,
    /// Whether it can be reached there.
    #[serde(flatten)]
    pub(crate) state: State,
}

/// Whether a published port can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub(crate) enum State {
    /// It can.
    Served,
    /// Nothing listens inside yet, or any more.
    Waiting,
    /// The place leads to another space, which came first or has the focus.
    Elsewhere {
        /// That space.
        to: String,
    },
    /// Somebody else has the place, or it can't be had.
    Blocked {
        /// Who or what, and what to do.
        why: String,
    },
}

/// Says of listeners in spaces which places of the machine lead to them: those come first among where they are reached.
pub(crate) fn tell(published: &[Publication], holds: &mut [Hold]) {
    for hold in holds.iter_mut().filter(|hold| hold.listens()) {
        let leads = |publication: &&Publication| {
            publication.state == State::Served
                && Some(&publication.space) == hold.space.as_ref()
                && publication.inside == hold.port
                && publication.place.protocol == hold.protocol
        };
        let places = published.iter().filter(leads);
        hold.published = places.map(|leading| leading.place.endpoint()).collect();
        let reached = hold.published.iter().map(SocketAddr::to_string);
        hold.reach = reached.chain(hold.reach.drain(..)).collect();
    }
}
