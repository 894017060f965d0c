//! Recordings: frames in files, as packet analysers write and read them.
//!
//! [`Recorded`] wraps a link and writes down what passes, in the newer format, pcapng
//! ([draft-ietf-opsawg-pcapng][pcapng]), which a [`Writer`] writes block by block; [`Replay`] is a link on which a recording is heard again; [`Reader`] reads one,
//! pcapng or the older pcap ([draft-ietf-opsawg-pcap][pcap]), of either byte order.
//!
//! Nothing in a file can make a reader panic, or hold more in memory than one packet of at most [`MAX_PACKET`] bytes and what it
//! must know of [`MAX_INTERFACES`] interfaces.
//!
//! [pcapng]: https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/
//! [pcap]: https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/

mod blocks;
mod reader;
mod recorded;
mod replay;
mod writer;

#[cfg(test)]
mod tests;

pub use reader::Reader;
pub use recorded::Recorded;
pub use replay::{Pace, Replay};
pub use writer::Writer;

use std::time::Duration;

/// Bytes of a recorded packet beyond which a file is not believed: 256 KiB, more than any link carries.
pub const MAX_PACKET: usize = 256 << 10;
/// Interfaces of one section of a pcapng file beyond which it is not believed.
pub const MAX_INTERFACES: usize = 1024;

/// A recorded Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// When it passed, since 1970.
    pub time: Duration,
    /// Which way it went, if the file says so.
    pub direction: Option<Direction>,
    /// The frame, as far as it was recorded.
    pub frame: Vec<u8>,
    /// What the file says about it.
    pub comment: Option<String>,
}

/// Which way a frame went, seen from the end of the link that recorded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It was received.
    Inbound,
    /// It was sent.
    Outbound,
}

/// The type of link that is recorded and read: Ethernet.
const ETHERNET: u32 = 1;
/// The kinds of pcapng block that matter here.
mod kind {
    pub(super) const SECTION: u32 = 0x0a0d_0d0a;
    pub(super) const INTERFACE: u32 = 1;
    /// Obsolete, but there are files.
    pub(super) const PACKET: u32 = 2;
    pub(super) const SIMPLE: u32 = 3;
    pub(super) const NAMES: u32 = 4;
    pub(super) const STATISTICS: u32 = 5;
    pub(super) const ENHANCED: u32 = 6;
}
/// Options of blocks.
mod option {
    pub(super) const COMMENT: u16 = 1;
    /// Of an enhanced packet block: a bit set with the direction in its lowest two bits.
    pub(super) const FLAGS: u16 = 2;
    /// Of interface statistics: frames that came by, and frames that were lost to the recording.
    pub(super) const RECEIVED: u16 = 4;
    pub(super) const DROPPED: u16 = 5;
    /// Of an interface: a timestamp's unit.
    pub(super) const RESOLUTION: u16 = 9;
    /// Of an interface: seconds to add to timestamps.
    pub(super) const OFFSET: u16 = 14;
}
/// What a section begins with, to tell its byte order.
const ORDER_MAGIC: u32 = 0x1a2b_3c4d;
