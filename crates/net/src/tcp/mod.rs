//! TCP.

mod config;
mod congestion;
mod connection;
mod status;
mod time_wait;

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
