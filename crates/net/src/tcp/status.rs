//! What a connection tells its holder: its state, what it is ready for, and how it failed.

use core::fmt;
use core::ops::{BitOr, BitOrAssign};

/// The state of a connection (RFC 9293 §3.3.2). LISTEN is a listener's, not a connection's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No connection: over, reset, or given up.
    Closed,
    /// A SYN was sent, nothing came back yet.
    SynSent,
    /// SYNs went both ways; ours is not acknowledged yet.
    SynReceived,
    /// Data flows.
    Established,
    /// We closed, our FIN is not acknowledged.
    FinWait1,
    /// We closed, the peer has not.
    FinWait2,
    /// The peer closed, we have not.
    CloseWait,
    /// Both closed at once, our FIN is not acknowledged.
    Closing,
    /// The peer closed, then we; our FIN is not acknowledged.
    LastAck,
    /// Both closed; late segments of this connection are still answered.
    TimeWait,
}

/// What has become possible or has happened since the last look: a small set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ready(u8);

impl Ready {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The handshake is complete.
    pub const CONNECTED: Self = Self(0x01);
    /// In-order data came.
    pub const READABLE: Self = Self(0x02);
    /// Room for writing rose to at least half of the send buffer, or everything written was acknowledged.
    pub const WRITABLE: Self = Self(0x04);
    /// The peer's FIN came: after what is still unread there is nothing more.
    pub const READ_CLOSED: Self = Self(0x08);
    /// The connection is over in good order: both directions closed and acknowledged. Unread data can still be read.
    pub const CLOSED: Self = Self(0x10);
    /// The connection failed; `error()` says how.
    pub const FAILED: Self = Self(0x20);

    /// Whether every part of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any part of `other` is in this set.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Ready {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Ready {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            "CONNECTED",
            "READABLE",
            "WRITABLE",
            "READ_CLOSED",
            "CLOSED",
            "FAILED",
        ];
        let mut separator = "";
        for (_, name) in names
            .iter()
            .enumerate()
            .filter(|(bit, _)| (self.0 >> bit) & 1 == 1)
        {
            f.write_str(separator)?;
            f.write_str(name)?;
            separator = ",";
        }
        if separator.is_empty() {
            f.write_str("none")
        } else {
            Ok(())
        }
    }
}

/// How a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Error {
    /// The peer answered the SYN with a reset: nobody listens there.
    #[error("connection refused by the peer")]
    Refused,
    /// The peer reset the connection.
    #[error("connection reset by the peer")]
    Reset,
    /// We reset it: [`abort`](crate::tcp::Connection::abort) was called.
    #[error("connection aborted by this side")]
    Aborted,
    /// The peer did not answer: retransmissions, keep-alive probes or the user timeout ran out.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// The network said that the peer cannot be reached.
    #[error("the peer cannot be reached")]
    Unreachable,
}

/// Why [`write`](crate::tcp::Connection::write) took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WriteError {
    /// The caller shut this direction down, or the connection is over in good order.
    #[error("this side has closed its direction")]
    Closed,
    /// The connection failed.
    #[error(transparent)]
    Failed(#[from] Error),
}
