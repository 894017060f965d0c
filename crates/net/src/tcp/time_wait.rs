//! TIME-WAIT as a small record: what is needed to answer late segments and to let a new connection take the place.

use crate::time::Instant;
use crate::wire::tcp::{Control, SeqNum};

/// A connection in TIME-WAIT (RFC 9293 §3.6.1): its holder drops it when [`deadline`](Self::deadline) has passed.
#[derive(Clone, Debug)]
pub struct TimeWait {
    pub(super) deadline: Instant,
}

/// What a segment that arrived in TIME-WAIT asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Nothing.
    Ignore,
    /// Send this segment (without payload).
    Answer(Control),
    /// A new connection may take this one's place: treat the SYN as one for a listener, with an initial sequence number after
    /// `isn_after` if there is a listener (RFC 6191 §2, RFC 9293 §3.10.7.4 fourth); otherwise refuse it.
    Reopen {
        /// The sequence numbers of the old connection ended here.
        isn_after: SeqNum,
    },
}

impl TimeWait {
    /// When the record may be dropped; moves when the peer repeats its FIN.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Judges a segment of the connection; `payload` is the length of its text in octets.
    pub fn receive(&mut self, now: Instant, segment: &Control, payload: usize) -> Arrival {
        let _ = (now, segment, payload);
        Arrival::Ignore
    }
}
