//! The program behind one end of a flow in a space.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use super::space::Space;
use crate::list::diag::Bytes;
use crate::list::holders::{Scope, holders};
use crate::list::{Process, Protocol, States, Wanted, diag};

/// A socket, and the program that has it.
#[derive(Debug)]
pub(super) struct Party {
    /// The kernel's cookie of the socket.
    pub(super) socket: u64,
    /// The oldest of those that hold it; `None` if none may be seen.
    pub(super) process: Option<Process>,
}

impl Space {
    /// Whose the flow's end `inside` is, with `other` at its other end; `None` if nobody has such a socket.
    pub(super) fn who(
        &self,
        protocol: Protocol,
        inside: SocketAddr,
        other: SocketAddr,
    ) -> Option<Party> {
        let wanted = Wanted {
            states: States::All,
            protocol: Some(protocol),
            port: NonZeroU16::new(inside.port()),
            bytes: Bytes::Untold,
        };
        let sockets = diag::dump_wanted(self.diag(), &wanted).ok()?;
        let socket = sockets
            .iter()
            .filter(|socket| Some(socket.port) == wanted.port && socket.inode != 0)
            .filter_map(|socket| Some((closeness(socket, inside, other)?, socket)))
            .max_by_key(|(closeness, _)| *closeness)?
            .1;
        let inodes = HashSet::from([socket.inode]);
        let found = holders(&inodes, Scope::In(&[self.place().1])).ok()?;
        let processes = found.into_iter().map(|holder| holder.process);
        Some(Party {
            socket: socket.cookie,
            process: processes.min_by_key(|process| (process.started, process.pid)),
        })
    }
}

/// How well a socket fits a flow: a full flow before an address before every address; `None` if it is another's.
fn closeness(socket: &diag::Socket, inside: SocketAddr, other: SocketAddr) -> Option<u8> {
    let plain = |address: SocketAddr| (address.ip().to_canonical(), address.port());
    match socket.peer {
        Some(peer) => (plain(peer) == plain(other)).then_some(2),
        None if socket.address.to_canonical() == inside.ip() => Some(1),
        None => match socket.address {
            IpAddr::V4(any) => (any.is_unspecified() && inside.is_ipv4()).then_some(0),
            IpAddr::V6(any) => {
                let takes = inside.is_ipv6() || socket.ipv6_only != Some(true);
                (any.is_unspecified() && takes).then_some(0)
            }
        },
    }
}
