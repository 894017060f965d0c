//! Taking a port of the machine, and why one can't be had.

use std::num::NonZeroU16;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::Place;
use crate::failure::{Failure, status};
use crate::list::{self, Protocol};

/// Takes a port of the machine.
pub(crate) fn take(place: Place) -> Result<OwnedFd, Errno> {
    let family = if place.address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let kind = match place.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    if place.address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if place.protocol == Protocol::Tcp {
        // Connections of before are in nobody's way; of UDP this would let two share the port.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &place.endpoint())?;
    Ok(socket)
}

/// A place that somebody else has.
pub(crate) fn conflict(message: String) -> Failure {
    Failure {
        message,
        status: status::CONFLICT,
    }
}

/// Why a place can't be had.
pub(crate) fn why_not(place: Place, error: Errno) -> Failure {
    let (at, port) = (place.address, place.port);
    match error {
        Errno::ADDRINUSE => conflict(format!(
            "address already in use: {place}{}",
            list::holder_at(place.protocol, at, port)
                .map_or_else(String::new, |holder| format!(" is held by {holder}")),
        )),
        Errno::ACCESS => Failure {
            message: format!(
                "permission denied: the machine keeps ports below 1024 for root, so {place} can't be taken"
            ),
            status: status::NOT_PERMITTED,
        },
        Errno::ADDRNOTAVAIL => Failure::usage(format!(
            "{at} is no address of this machine; `ip address` lists those"
        )),
        error => Failure {
            message: format!("cannot publish at {place}: {error}"),
            status: status::WHARF_FAILED,
        },
    }
}

/// The same for whoever publishes there what listens at a port inside, with what to do.
pub(crate) fn with_ways_out(mut failure: Failure, place: Place, inside: NonZeroU16) -> Failure {
    let ways = match failure.status {
        status::CONFLICT => format!(
            "; ways out: the next free port ({}+:{inside}), the space's face ({inside}), or --wait",
            place.endpoint()
        ),
        status::NOT_PERMITTED => format!("; publish at another, as in 8080:{inside}"),
        _ => String::new(),
    };
    failure.message.push_str(&ways);
    failure
}
