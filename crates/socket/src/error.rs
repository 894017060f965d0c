//! The host's errors as `std::io::Error`s: the standard kinds, the system's sentence, and what the port table has to say, such as who
//! holds a port.

use std::fmt::Display;
use std::io::{self, ErrorKind};

use wharf_net::tcp::{Error, WriteError};
use wharf_net::{
    Discard, GroupError, OwnBindError, OwnConnectError, OwnListenError, RecvError, SendError,
    SocketId,
};
use wharf_port::table::{BindError, ConnectError, ListenError};

/// "address already in use: tcp/10.0.0.2:80 is taken: …".
fn explained(kind: ErrorKind, why: impl Display) -> io::Error {
    match kind {
        // What every program's users have searched for, word by word.
        ErrorKind::AddrInUse => io::Error::new(kind, format!("address already in use: {why}")),
        _ => io::Error::new(kind, format!("{kind}: {why}")),
    }
}

pub(crate) fn bind(error: OwnBindError) -> io::Error {
    let kind = match &error {
        OwnBindError::Gone(_) => ErrorKind::NotConnected,
        OwnBindError::NotOwn => ErrorKind::AddrNotAvailable,
        OwnBindError::NotPossible => ErrorKind::InvalidInput,
        OwnBindError::Refused(error) => bind_kind(error),
    };
    explained(kind, error)
}

fn bind_kind(error: &BindError<SocketId>) -> ErrorKind {
    match error {
        BindError::InUse(_) | BindError::Exhausted(_) | BindError::Reserved(_) => {
            ErrorKind::AddrInUse
        }
        BindError::Denied(_) => ErrorKind::PermissionDenied,
        _ => ErrorKind::InvalidInput,
    }
}

pub(crate) fn listen(error: OwnListenError) -> io::Error {
    let kind = match &error {
        OwnListenError::Refused(ListenError::Bind(error)) => bind_kind(error),
        OwnListenError::Gone(_) | OwnListenError::Refused(_) => ErrorKind::InvalidInput,
    };
    explained(kind, error)
}

pub(crate) fn connect(error: OwnConnectError) -> io::Error {
    let kind = match &error {
        OwnConnectError::NoRoute => ErrorKind::NetworkUnreachable,
        OwnConnectError::Gone(_) | OwnConnectError::Connected => ErrorKind::InvalidInput,
        OwnConnectError::Refused(error) => match **error {
            ConnectError::InUse(_) => ErrorKind::AddrInUse,
            ConnectError::Taken(_) | ConnectError::Exhausted(_) => ErrorKind::AddrNotAvailable,
            _ => ErrorKind::InvalidInput,
        },
    };
    explained(kind, error)
}

pub(crate) fn stream(error: Error) -> io::Error {
    let kind = match error {
        Error::Refused => ErrorKind::ConnectionRefused,
        Error::Reset => ErrorKind::ConnectionReset,
        Error::Aborted => ErrorKind::ConnectionAborted,
        Error::TimedOut => ErrorKind::TimedOut,
        Error::Unreachable => ErrorKind::HostUnreachable,
    };
    io::Error::new(kind, error)
}

pub(crate) fn write(error: WriteError) -> io::Error {
    match error {
        WriteError::Closed => io::Error::new(ErrorKind::BrokenPipe, error),
        WriteError::Failed(error) => stream(error),
    }
}

pub(crate) fn send(error: SendError) -> io::Error {
    let kind = match error {
        // std has no stable kind for EMSGSIZE.
        SendError::TooLong | SendError::Family | SendError::NotUdp => ErrorKind::InvalidInput,
        SendError::NoDestination | SendError::Gone => ErrorKind::NotConnected,
        SendError::NoSource | SendError::Dropped(Discard::NoRoute) => ErrorKind::NetworkUnreachable,
        SendError::Refused => ErrorKind::ConnectionRefused,
        SendError::Dropped(_) => ErrorKind::HostUnreachable,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

pub(crate) fn group(error: GroupError) -> io::Error {
    let kind = match error {
        GroupError::Gone => ErrorKind::NotConnected,
        GroupError::NotGroup | GroupError::Family => ErrorKind::InvalidInput,
        GroupError::Member => ErrorKind::AddrInUse,
        GroupError::NoMember => ErrorKind::AddrNotAvailable,
        GroupError::Crowded => ErrorKind::OutOfMemory,
    };
    explained(kind, error)
}

pub(crate) fn receive(error: RecvError) -> io::Error {
    let kind = match error {
        RecvError::Empty => ErrorKind::WouldBlock,
        RecvError::Refused => ErrorKind::ConnectionRefused,
        RecvError::Gone => ErrorKind::NotConnected,
    };
    io::Error::new(kind, error)
}

/// No room for one more socket.
pub(crate) fn too_many() -> io::Error {
    io::Error::other(wharf_net::TooMany)
}

/// The socket is not there any more, which only its owner can have brought about.
pub(crate) fn gone() -> io::Error {
    io::Error::new(ErrorKind::NotConnected, wharf_net::NoSuchSocket)
}
