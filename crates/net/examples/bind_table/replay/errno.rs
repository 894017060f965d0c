//! The host's errors in the words of the C library.

use std::net::IpAddr;

use wharf_net::{OwnBindError, OwnConnectError, OwnListenError, SocketId, tcp};
use wharf_port::table::{BindError, ConnectError, ListenError};
use wharf_port::{Domain, Protocol, WrongFamily};

pub(crate) fn of_bind(error: &OwnBindError) -> &'static str {
    match error {
        OwnBindError::Gone(_) => "EBADF",
        OwnBindError::NotOwn => "EADDRNOTAVAIL",
        OwnBindError::NotPossible => "EINVAL",
        OwnBindError::Refused(error) => of_refused_bind(error),
    }
}

fn of_refused_bind(error: &BindError<SocketId>) -> &'static str {
    match error {
        BindError::InUse(_) | BindError::Exhausted(_) => "EADDRINUSE",
        BindError::AlreadyBound => "EINVAL",
        // An IPv4-mapped address on a socket that wants none.
        BindError::Family(error) if error.domain == Domain::V6Only => "EINVAL",
        BindError::Family(_) => "EAFNOSUPPORT",
        BindError::Denied(_) | BindError::Reserved(_) => "EACCES",
        _ => "EBADF",
    }
}

pub(crate) fn of_listen(error: &OwnListenError) -> &'static str {
    match error {
        OwnListenError::Refused(ListenError::Datagram) => "EOPNOTSUPP",
        OwnListenError::Refused(ListenError::Bind(error)) => of_refused_bind(error),
        // What is connected can't listen, nor can what was.
        _ => "EINVAL",
    }
}

pub(crate) fn of_connect(error: &OwnConnectError) -> &'static str {
    match error {
        OwnConnectError::Gone(_) => "EBADF",
        OwnConnectError::Connected => "EISCONN",
        OwnConnectError::NoRoute => "ENETUNREACH",
        OwnConnectError::Refused(error) => match &**error {
            ConnectError::Connected | ConnectError::Listening => "EISCONN",
            ConnectError::Exhausted(full) if full.protocol == Protocol::Udp => "EAGAIN",
            ConnectError::Exhausted(_) | ConnectError::Taken(_) => "EADDRNOTAVAIL",
            ConnectError::InUse(_) => "EADDRINUSE",
            ConnectError::Family(error) => of_family(error),
            _ => "EBADF",
        },
    }
}

fn of_family(error: &WrongFamily) -> &'static str {
    match (error.domain, error.address.to_canonical()) {
        (Domain::V6Only, IpAddr::V4(_)) => "ENETUNREACH",
        _ => "EAFNOSUPPORT",
    }
}

/// Why a connection did not come about.
pub(crate) fn of_attempt(error: Option<tcp::Error>) -> &'static str {
    match error {
        Some(tcp::Error::Refused) => "ECONNREFUSED",
        Some(tcp::Error::TimedOut) => "ETIMEDOUT",
        Some(tcp::Error::Unreachable) => "EHOSTUNREACH",
        _ => "ECONNRESET",
    }
}
