//! TCP, one connection at a time: RFC 9293 and what has grown around it.
//!
//! A [`Connection`] is a pure machine: segments and time in, segments out. It knows no addresses, ports, packets or clocks; those are the
//! host's, as are listeners, SYN cookies (RFC 4987) and the choice of initial sequence numbers (RFC 6528).
//!
//! # A segment's way
//!
//! ```text
//!            receive                                                  transmit
//!               │                                                        ▲
//!   syn_sent ── arrival: eight checks ── acknowledgment ── recovery    output
//!               │                         │       │                    │    │
//!            receiver                   sender  scoreboard             │    │
//!            inbox, reassembly          outbox  rtt, congestion ───────┘    │
//!               └───────────────────────────────────────────────────────────┘
//! ```
//!
//! # What is in it
//!
//! Window scaling, timestamps and PAWS (RFC 7323), SACK both ways (2018, 2883, 6675), RACK-TLP (8985), proportional rate
//! reduction (6937), recoveries taken back when they were mistakes (Eifel: 3522, 4015), retransmission timeouts (6298), NewReno
//! for peers without SACK (6582), CUBIC (9438), Reno (5681) and BBRv3 (draft-ietf-ccwg-bbr) with its delivery rate samples and
//! pacing, HyStart++ (9406), the initial window of ten (6928), challenge acknowledgments (5961), ECN (3168), TIME-WAIT as a record
//! (1337, 6191), path MTUs sought where nobody tells them (8899).
//!
//! Segments are as long as the link takes them: with segmentation offload up to 64 KiB, and the bookkeeping is per such segment.

mod acknowledgment;
mod active;
mod agreement;
mod arrival;
mod config;
mod congestion;
mod connection;
mod delivery;
mod expiry;
mod inbox;
mod limiter;
mod outbox;
mod output;
mod over;
mod pacer;
mod path;
mod reassembly;
mod receiver;
mod recovery;
mod rtt;
mod scoreboard;
mod sender;
mod settings;
mod stamps;
mod status;
mod syn_sent;
mod time_wait;
mod timers;

#[cfg(test)]
mod tests;

pub(crate) use agreement::Offer;
pub use config::{Config, Ecn, EcnUse, Handshake, KeepAlive, Limits, Setup};
pub use congestion::Algorithm;
pub use connection::{Connection, Outgoing};
pub use status::{Error, Ready, State, WriteError};
pub use time_wait::{Arrival, TimeWait};

use crate::wire::tcp::Control;

/// The reset that answers a segment for which there is no connection (RFC 9293 §3.10.7.1); `None` for a reset, which is never
/// answered. `payload` is the length of the segment's text in octets.
#[must_use]
pub fn reset_for(segment: &Control, payload: usize) -> Option<Control> {
    use crate::wire::tcp::{Flags, SeqNum};
    if segment.flags.contains(Flags::RST) {
        return None;
    }
    if segment.flags.contains(Flags::ACK) {
        return Some(Control {
            seq: segment.ack,
            flags: Flags::RST,
            ..Control::default()
        });
    }
    let ack = segment.seq + segment.segment_len(payload);
    Some(Control {
        seq: SeqNum::new(0),
        ack,
        flags: Flags::RST | Flags::ACK,
        ..Control::default()
    })
}
