//! Frames in, frames out: TAP, packet socket and memory links, recordings, and one that makes any of them worse.
//!
//! A [`Link`] moves whole frames. Each frame is a byte string that begins with the 12-byte
//! [`virtio_net_hdr_v1`][virtio] header, little-endian, followed by an Ethernet frame without its
//! check sequence. The header is how a frame says that its checksum is still to be completed, or that
//! it stands for a train of up to 64 KiB of TCP segments or UDP datagrams; [`Capabilities`] says which of
//! these a link takes. This crate carries the header and, but for its size, doesn't read it.
//!
//! | link | carries frames over |
//! |---|---|
//! | [`Tap`] | `/dev/net/tun`, the fast and orderly one |
//! | [`Packet`] | a packet socket at one end of a veth pair, where there is no `/dev/net/tun` |
//! | [`memory::End`] | a queue within the process |
//! | [`qemu::Stream`] | a Unix stream socket, each frame behind its length, as QEMU's `-netdev stream` does |
//! | [`pcap::Recorded`] | another link, and writes down what passes |
//! | [`pcap::Replay`] | a recording, one way |
//! | [`Joined`] | several links, as if they were one |
//! | [`Impaired`] | another link, with loss, delay, reordering, … that a seed repeats |
//!
//! Nothing here waits: an empty link answers [`WouldBlock`](io::ErrorKind::WouldBlock), and links with a
//! descriptor are [`AsFd`](std::os::fd::AsFd), for whichever event loop drives them. [`AsyncLink`] is for tasks that wait.
//!
//! [virtio]: https://docs.oasis-open.org/virtio/virtio/v1.2/virtio-v1.2.html (§5.1.6)
//!
//! # Example
//!
//! ```
//! use std::io::{self, IoSlice};
//! use wharf_link::{Capabilities, HEADER, Link, Slots, memory};
//!
//! # fn main() -> io::Result<()> {
//! let (mut here, mut there) = memory::pair(8, 1500, Capabilities::ALL);
//! let head = [0; HEADER + 14];
//! here.send(&[IoSlice::new(&head), IoSlice::new(b"payload")])?;
//!
//! let mut slots = Slots::default();
//! let frame = slots.receive(&mut there)?;
//! assert_eq!(&frame[HEADER + 14..], b"payload");
//! assert_eq!(slots.receive(&mut there).unwrap_err().kind(), io::ErrorKind::WouldBlock);
//! # Ok(())
//! # }
//! ```

use std::io::{self, IoSlice};

use bytes::BytesMut;

mod boxed;
mod impaired;
mod joined;
pub mod memory;
mod packet;
pub mod pcap;
pub mod qemu;
mod slots;
#[allow(unsafe_code)]
mod sys;
mod tap;
#[cfg(test)]
mod testing;
mod trains;
mod waiting;

pub use impaired::{Impaired, Impairment, Rate, Tally};
pub use joined::Joined;
pub use packet::{Packet, PacketError};
pub use slots::{BATCH, Slots};
pub use tap::{Tap, TapError};
pub use trains::forbid_udp_trains;
pub use waiting::AsyncLink;

/// Bytes of the virtio header that every frame begins with.
pub const HEADER: usize = 12;

/// Bytes that any received frame fits in, header included: 66 KiB.
///
/// Linux keeps a super-frame of segments within 64 KiB unless it was told otherwise
/// (`gso_max_size`, `ip-link(8)`); the rest is room for the virtio header, Ethernet and VLAN tags.
pub const FRAME_CAPACITY: usize = 66 * 1024;

/// Something that carries whole frames, both ways.
///
/// # Errors
///
/// [`receive`](Self::receive) and [`send`](Self::send) of all links fail with
/// - [`WouldBlock`](io::ErrorKind::WouldBlock): nothing has arrived, or there is no room; nothing happened;
/// - [`NetworkDown`](io::ErrorKind::NetworkDown): the interface was set down; a frame that was to be sent is lost, the
///   link itself may come back;
/// - [`InvalidInput`](io::ErrorKind::InvalidInput): the frame to send was refused as malformed, and is lost;
/// - anything else: the link is gone.
pub trait Link: Send {
    /// What this link leaves to its other side, and takes from it.
    fn capabilities(&self) -> Capabilities;

    /// The largest IP packet, in bytes, that a frame without segmentation carries.
    fn mtu(&self) -> u16;

    /// How many bytes of frames the link holds for a reader that is late, before it drops.
    ///
    /// A TCP receiver that offers a larger window than this asks for loss.
    fn queue_bytes(&self) -> usize;

    /// Appends the next frame to `buffer` and returns its length in bytes, virtio header included.
    ///
    /// The link reserves [`FRAME_CAPACITY`] bytes in `buffer` itself, and doesn't zero them. A longer frame is
    /// cut there; as its IP length then exceeds it, a host discards it.
    ///
    /// # Errors
    ///
    /// See [the trait](Self#errors). `buffer` has then kept its content.
    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize>;

    /// Sends one frame, the concatenation of `parts`. The first part holds at least the virtio header.
    ///
    /// # Errors
    ///
    /// See [the trait](Self#errors). A frame is sent as a whole or not at all.
    fn send(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()>;

    /// Sends what is left of a frame that the link took and passed on in part only. Links without frames in parts, which
    /// is all but byte streams, have nothing to do.
    ///
    /// # Errors
    ///
    /// See [the trait](Self#errors). With [`WouldBlock`](io::ErrorKind::WouldBlock) something is still left.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The work on a frame that a link's two sides may leave to each other, named as in the virtio header.
///
/// Segmentation includes the checksum: without `checksum` neither of the others is ever set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Capabilities {
    /// Transport checksums may be partial (`VIRTIO_NET_HDR_F_NEEDS_CSUM`).
    pub checksum: bool,
    /// TCP segments may come as a train (`VIRTIO_NET_HDR_GSO_TCPV4`, `_TCPV6`; with `_ECN` in addition, RFC 3168 §6.1.2).
    pub tcp_segment: bool,
    /// UDP datagrams may come as a train (`VIRTIO_NET_HDR_GSO_UDP_L4`).
    pub udp_segment: bool,
}

impl Capabilities {
    /// Every frame is complete, and its virtio header all zero.
    pub const NONE: Self = Self {
        checksum: false,
        tcp_segment: false,
        udp_segment: false,
    };
    /// Partial checksums only.
    pub const CHECKSUM: Self = Self {
        checksum: true,
        ..Self::NONE
    };
    /// Partial checksums and trains of TCP segments.
    pub const TCP: Self = Self {
        tcp_segment: true,
        ..Self::CHECKSUM
    };
    /// Partial checksums and trains of TCP segments and UDP datagrams.
    pub const ALL: Self = Self {
        udp_segment: true,
        ..Self::TCP
    };
}

/// The bytes of all parts together.
fn total(parts: &[IoSlice<'_>]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}

/// Refuses a frame whose first part doesn't hold the virtio header.
fn require_header(parts: &[IoSlice<'_>]) -> io::Result<()> {
    match parts.first() {
        Some(first) if first.len() >= HEADER => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a frame's first part must hold the whole virtio header",
        )),
    }
}

/// Names the error that Linux gives for an interface that is set down alike for all links.
fn network_down() -> io::Error {
    io::Error::from_raw_os_error(libc::ENETDOWN)
}
