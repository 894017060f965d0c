//! What a socket is: whether binding it is wharf's business, and what the table has to know of it.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::os::fd::AsFd;

use rustix::net::{AddressFamily, SocketType, getsockname, sockopt};
use wharf_port::Protocol;
use wharf_port::table::Reuse;
use wharf_port::{Domain, Local, Port};

use super::sys;

/// `IPPROTO_MPTCP`, which is TCP to everybody outside of the machine.
const MPTCP: u32 = 262;

/// An Internet socket of a space that has ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Socket {
    /// TCP or UDP.
    pub(crate) protocol: Protocol,
    /// Its address family.
    pub(crate) domain: Domain,
    /// With whom it shares.
    pub(crate) reuse: Reuse,
    /// `SO_COOKIE`.
    pub(crate) cookie: u64,
    /// What `/proc/PID/fd` shows.
    pub(crate) inode: u64,
    /// Whether lists show another socket in its place, with the same inode: one of Multipath TCP.
    pub(crate) multipath: bool,
}

impl Socket {
    /// What this socket is; `None` if it is not of the network namespace of that cookie, or nothing that has ports.
    pub(super) fn of(socket: impl AsFd, namespace: Option<u64>) -> Option<Self> {
        let socket = socket.as_fd();
        let family = sockopt::socket_domain(socket).ok()?;
        if family != AddressFamily::INET && family != AddressFamily::INET6 {
            return None;
        }
        let number = sockopt::socket_protocol(socket).ok()??.as_raw().get();
        let protocol = match (sockopt::socket_type(socket).ok()?, number) {
            (SocketType::STREAM, 6 | MPTCP) => Protocol::Tcp,
            (SocketType::DGRAM, 17) => Protocol::Udp,
            _ => return None,
        };
        // Where the kernel numbers no namespaces, none can be told apart.
        if namespace.is_some() && sys::netns_cookie(socket).ok() != namespace {
            return None;
        }
        let domain = match family {
            AddressFamily::INET => Domain::V4,
            _ if sockopt::ipv6_v6only(socket).ok()? => Domain::V6Only,
            _ => Domain::Dual,
        };
        Some(Self {
            protocol,
            domain,
            reuse: Reuse::new(
                sockopt::socket_reuseaddr(socket).ok()?,
                sockopt::socket_reuseport(socket).ok()?,
            ),
            cookie: sockopt::socket_cookie(socket).ok()?,
            inode: rustix::fs::fstat(socket).ok()?.st_ino,
            multipath: number == MPTCP,
        })
    }
}

/// The place that a socket has; `None` if it has no port.
pub(super) fn place(socket: impl AsFd) -> Option<Place> {
    let address = SocketAddr::try_from(getsockname(socket).ok()?).ok()?;
    Place::new(address.ip(), address.port())
}

/// An address as a socket has it (IPv4 on an IPv6 socket in mapped form), and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The address.
    pub(crate) address: IpAddr,
    /// The port.
    pub(crate) port: Port,
}

impl Place {
    /// A place; `None` for port 0.
    pub(crate) fn new(address: IpAddr, port: u16) -> Option<Self> {
        let port = Port::new(port)?;
        Some(Self { address, port })
    }

    /// The port's number.
    pub(crate) fn number(self) -> NonZeroU16 {
        NonZeroU16::new(self.port.number()).expect("a port is never 0")
    }

    /// As the table takes it.
    pub(super) fn local(self) -> Local {
        Local {
            address: self.address,
            port: Some(self.port),
        }
    }
}
