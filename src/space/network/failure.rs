//! Why a space has no network, and what to do about it.

use std::fmt;
use std::io;

use rustix::io::Errno;
use thiserror::Error;
use wharf_link::{PacketError, TapError};

/// Why there is no network.
///
/// As usual the cause isn't part of the message but its source.
#[derive(Debug, Error)]
pub(crate) enum SetUpError {
    /// The kernel refused a netlink request.
    #[error("can't {step}{}", remedy(*.step, .source))]
    Step {
        /// What was asked for.
        step: Step,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A TAP was asked for and can't be had.
    #[error(
        "no TAP for this space (give this user access to /dev/net/tun, or leave the choice of device to wharf)"
    )]
    Tap(#[source] TapError),
    /// A packet socket can't be had.
    #[error("no packet socket for this space")]
    Packet(#[source] PacketError),
    /// Neither of the two.
    #[error("neither a TAP ({}) nor a packet socket for this space (give this user access to /dev/net/tun)", told(.tap))]
    NoDevice {
        /// Why there is no TAP.
        tap: TapError,
        /// Why there is no packet socket.
        #[source]
        packet: Box<Self>,
    },
}

/// What is done by netlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Opening the netlink socket.
    Netlink,
    /// Setting loopback up.
    Loopback,
    /// Making the veth pair.
    MakeVeth,
    /// Finding an interface that was just made.
    FindInterface,
    /// Setting an interface's address, MTU and state.
    ConfigureInterface,
    /// Adding an address.
    AddAddress,
    /// Adding a route.
    AddRoute,
    /// Adding the gateway's neighbour entry.
    AddNeighbour,
}

impl Step {
    /// The outcome of this step, its failure told as such.
    pub(super) fn of<T>(self, outcome: io::Result<T>) -> Result<T, SetUpError> {
        outcome.map_err(|source| SetUpError::Step { step: self, source })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Netlink => "open a netlink socket",
            Self::Loopback => "set the loopback interface up",
            Self::MakeVeth => "make a veth pair",
            Self::FindInterface => "find the interface that was just made",
            Self::ConfigureInterface => "set an interface's address, MTU and state",
            Self::AddAddress => "add an address",
            Self::AddRoute => "add a route",
            Self::AddNeighbour => "add the gateway as a neighbour",
        })
    }
}

/// An error and its causes in one line.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

/// What can be done about it, where something can.
fn remedy(step: Step, error: &io::Error) -> &'static str {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match (step, errno) {
        (Step::MakeVeth, Some(Errno::OPNOTSUPP)) => " (load the kernel module: `modprobe veth`)",
        (_, Some(Errno::PERM | Errno::ACCESS)) => {
            " (a security module, AppArmor or SELinux, may withhold CAP_NET_ADMIN from user namespaces)"
        }
        _ => "",
    }
}
