//! What a caller says about a socket, and about a table, to begin with.

use core::num::NonZeroU32;

use crate::{Domain, Port, PortRange, Protocol};

/// A network device, by a number that the caller gives it (the interface index, say); never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device(NonZeroU32);

impl Device {
    /// The device of this number; `None` for 0, which means no device.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

/// With whom a socket agrees to share its place: `SO_REUSEADDR` and `SO_REUSEPORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reuse {
    /// With nobody.
    #[default]
    Nothing,
    /// With others that have reuse address, as long as they don't listen.
    Address,
    /// With others of the same user that have reuse port.
    Port,
    /// Both.
    Both,
}

impl Reuse {
    /// The options as a socket has them, each on or off.
    #[must_use]
    pub const fn new(address: bool, port: bool) -> Self {
        match (address, port) {
            (false, false) => Self::Nothing,
            (true, false) => Self::Address,
            (false, true) => Self::Port,
            (true, true) => Self::Both,
        }
    }

    /// Whether reuse address is on.
    #[must_use]
    pub const fn address(self) -> bool {
        matches!(self, Self::Address | Self::Both)
    }

    /// Whether reuse port is on.
    #[must_use]
    pub const fn port(self) -> bool {
        matches!(self, Self::Port | Self::Both)
    }
}

/// Which ports a socket may bind to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Right {
    /// Those from [`Config::unprivileged`] on.
    #[default]
    Ordinary,
    /// All.
    System,
}

/// What a socket is opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Its address family.
    pub domain: Domain,
    /// With whom it shares.
    pub reuse: Reuse,
    /// The user that it belongs to; only users of one number share by reuse port.
    pub user: u32,
    /// The device that it is bound to, if any. It gets packets from there only.
    pub device: Option<Device>,
    /// Which ports it may bind to.
    pub right: Right,
}

impl Request {
    /// A socket that shares nothing, of user 0, on no device in particular, with ordinary rights.
    #[must_use]
    pub const fn new(protocol: Protocol, domain: Domain) -> Self {
        Self {
            protocol,
            domain,
            reuse: Reuse::Nothing,
            user: 0,
            device: None,
            right: Right::Ordinary,
        }
    }
}

/// How a table behaves.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// The secret that hashing and choosing depend on. Take it from the system's random numbers; a fixed one
    /// makes a table reproducible, in tests for instance.
    pub seed: [u8; 32],
    /// The ports that are chosen from when the caller doesn't name one.
    pub ephemeral: PortRange,
    /// The first port that needs no [`Right::System`].
    pub unprivileged: Port,
    /// How many changes are kept for watchers; 0 for none.
    pub feed: usize,
}

impl Config {
    /// Linux's range of ephemeral ports, every port for everybody, no feed.
    #[must_use]
    pub const fn new(seed: [u8; 32]) -> Self {
        Self {
            seed,
            ephemeral: PortRange::LINUX,
            unprivileged: Port::MIN,
            feed: 0,
        }
    }
}
