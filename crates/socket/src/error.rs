//! The host's errors as `std::io::Error`s: the standard kinds, the system's sentence, and what the port table has to say, such as who
//! holds a port.

use std::fmt::{self, Display};
use std::io::{self, ErrorKind};

use thiserror::Error;
use wharf_net::tcp::{self, WriteError};
use wharf_net::{
    Discard, GroupError, OwnBindError, OwnConnectError, OwnListenError, RecvError, SendError,
    SocketId, Unreachable,
};
use wharf_port::table::{BindError, ConnectError, Holding, ListenError};

/// Who holds a place, and how: what an [`AddrInUse`](ErrorKind::AddrInUse) error is about.
pub type Holder = Holding<SocketId>;

/// Who holds what the failed call wanted, if that is why it failed: of an error of `bind`, `listen` or `connect`.
///
/// ```
/// use std::io;
/// use wharf_socket::{Stack, TcpListener, holder};
///
/// async fn listen(stack: &Stack) -> io::Result<TcpListener> {
///     let result = TcpListener::bind(stack, "10.0.0.1:80").await;
///     if let Some(holder) = result.as_ref().err().and_then(holder) {
///         eprintln!("no web server here, since {holder}");
///     }
///     result
/// }
/// ```
#[must_use]
pub fn holder(error: &io::Error) -> Option<&Holder> {
    let explained: &Explained = error.get_ref()?.downcast_ref()?;
    match &explained.cause {
        Cause::Bind(OwnBindError::Refused(BindError::InUse(taken)))
        | Cause::Listen(OwnListenError::Refused(ListenError::Bind(BindError::InUse(taken)))) => {
            Some(&taken.holder)
        }
        Cause::Connect(OwnConnectError::Refused(refused)) => match &**refused {
            ConnectError::InUse(taken) => Some(&taken.holder),
            ConnectError::Taken(taken) => Some(&taken.holder),
            _ => None,
        },
        _ => None,
    }
}

/// "address already in use: tcp/10.0.0.2:80 is taken: …", and the host's own error as its source.
#[derive(Debug)]
struct Explained {
    kind: ErrorKind,
    cause: Cause,
}

/// The host's own error.
#[derive(Debug, Error)]
enum Cause {
    #[error(transparent)]
    Bind(OwnBindError),
    #[error(transparent)]
    Listen(OwnListenError),
    #[error(transparent)]
    Connect(OwnConnectError),
    #[error(transparent)]
    Group(GroupError),
}

impl Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            // What every program's users have searched for, word by word.
            ErrorKind::AddrInUse => f.write_str("address already in use")?,
            kind => kind.fmt(f)?,
        }
        write!(f, ": {}", self.cause)
    }
}

impl std::error::Error for Explained {}

fn explained(kind: ErrorKind, cause: Cause) -> io::Error {
    io::Error::new(kind, Explained { kind, cause })
}

pub(crate) fn bind(error: OwnBindError) -> io::Error {
    let kind = match &error {
        OwnBindError::Gone(_) => ErrorKind::NotConnected,
        OwnBindError::NotOwn => ErrorKind::AddrNotAvailable,
        OwnBindError::NotPossible => ErrorKind::InvalidInput,
        OwnBindError::Refused(error) => bind_kind(error),
    };
    explained(kind, Cause::Bind(error))
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
    explained(kind, Cause::Listen(error))
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
    explained(kind, Cause::Connect(error))
}

pub(crate) fn stream(error: tcp::Error) -> io::Error {
    let kind = match error {
        tcp::Error::Refused => ErrorKind::ConnectionRefused,
        tcp::Error::Reset => ErrorKind::ConnectionReset,
        tcp::Error::Aborted => ErrorKind::ConnectionAborted,
        tcp::Error::TimedOut => ErrorKind::TimedOut,
        tcp::Error::Unreachable => ErrorKind::HostUnreachable,
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
        SendError::Unreachable(told) => undelivered(told),
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
        GroupError::NoMember | GroupError::Device => ErrorKind::AddrNotAvailable,
        GroupError::Crowded => ErrorKind::OutOfMemory,
    };
    explained(kind, Cause::Group(error))
}

/// What the network has said, by the kernel's word for it.
fn undelivered(told: Unreachable) -> ErrorKind {
    match told {
        Unreachable::Port => ErrorKind::ConnectionRefused,
        Unreachable::Network => ErrorKind::NetworkUnreachable,
        Unreachable::Host | Unreachable::Prohibited => ErrorKind::HostUnreachable,
    }
}

pub(crate) fn receive(error: RecvError) -> io::Error {
    let kind = match error {
        RecvError::Empty => ErrorKind::WouldBlock,
        RecvError::Refused => ErrorKind::ConnectionRefused,
        RecvError::Unreachable(told) => undelivered(told),
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
