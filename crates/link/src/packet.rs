//! The packet-socket link: one end of a veth pair, where `/dev/net/tun` is missing or closed.
//!
//! See packet(7). As fast as a TAP, with two differences: on several processors the kernel may deliver frames out of order, and
//! its queue holds no more than `net.core.rmem_max` allows (see [`Link::queue_bytes`]).

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::{BufMut, BytesMut};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, sockopt};
use smallvec::SmallVec;
use thiserror::Error;

use crate::{Capabilities, FRAME_CAPACITY, HEADER, Link, require_header, sys};

/// A packet socket with virtio headers (`PACKET_VNET_HDR`), bound to an interface.
///
/// It receives what arrives at that interface and sends out of it. Meant for one end of a veth pair whose other
/// end is a space's interface: a veth end passes on every frame, whatever its address, so promiscuous mode isn't needed.
#[derive(Debug)]
pub struct Packet {
    fd: OwnedFd,
    mtu: u16,
    header: Header,
}

/// The header's size on the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Header {
    /// 10 bytes, without `num_buffers`: kernels before 6.6.
    Short,
    /// 12 bytes, as on every link.
    Full,
}

/// Why there is no packet socket.
#[derive(Debug, Error)]
pub enum PacketError {
    /// The kernel refuses packet sockets: no `CAP_NET_RAW` in this network namespace, or built without them.
    #[error("a packet socket can't be made")]
    Socket(#[source] io::Error),
    /// There is no interface of this name.
    #[error("the interface can't be found")]
    Interface(#[source] io::Error),
    /// The kernel refuses virtio headers, or to bind.
    #[error("the packet socket can't be configured")]
    Configure(#[source] io::Error),
    /// The descriptor isn't a packet socket with virtio headers.
    #[error("the descriptor isn't a packet socket with virtio headers")]
    NotPacket,
    /// Linux gives the header in the machine's byte order here, and this machine is big-endian.
    #[error("packet sockets have no little-endian virtio headers on this machine")]
    BigEndian,
}

impl Packet {
    /// Opens a socket on the interface `name`, which should be up, in this thread's network namespace.
    ///
    /// `mtu`, in bytes, is what [`Link::mtu`] will answer and should be the interface's.
    ///
    /// # Errors
    ///
    /// Every [`PacketError`] but [`NotPacket`](PacketError::NotPacket).
    pub fn open(name: &str, mtu: u16) -> Result<Self, PacketError> {
        Self::open_with(name, mtu, Header::Full)
    }

    fn open_with(name: &str, mtu: u16, best: Header) -> Result<Self, PacketError> {
        if cfg!(target_endian = "big") {
            return Err(PacketError::BigEndian);
        }
        // Protocol 0: nothing is received before it is bound, so nothing from another interface.
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)
            .map_err(|error| PacketError::Socket(error.into()))?;
        let index = netdevice::name_to_index(&fd, name)
            .map_err(|error| PacketError::Interface(error.into()))?;
        let header = set_options(fd.as_fd(), best).map_err(PacketError::Configure)?;
        sys::bind_packet(fd.as_fd(), index).map_err(PacketError::Configure)?;
        Ok(Self { fd, mtu, header })
    }

    /// Takes over a descriptor that [`open`](Self::open) made, perhaps in another process and namespace.
    ///
    /// # Errors
    ///
    /// [`PacketError::NotPacket`] and [`PacketError::Configure`].
    pub fn from_fd(fd: OwnedFd, mtu: u16) -> Result<Self, PacketError> {
        let on = sys::packet_option(fd.as_fd(), libc::PACKET_VNET_HDR)
            .map_err(|_| PacketError::NotPacket)?;
        let header = match sys::packet_option(fd.as_fd(), libc::PACKET_VNET_HDR_SZ) {
            Ok(size) if size == HEADER as i32 => Header::Full,
            _ if on == 1 => Header::Short,
            _ => return Err(PacketError::NotPacket),
        };
        let status =
            rustix::fs::fcntl_getfl(&fd).map_err(|error| PacketError::Configure(error.into()))?;
        rustix::fs::fcntl_setfl(&fd, status | OFlags::NONBLOCK)
            .map_err(|error| PacketError::Configure(error.into()))?;
        Ok(Self { fd, mtu, header })
    }

    fn receive_once(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        if self.header == Header::Full {
            return sys::read(self.fd.as_fd(), buffer);
        }
        let start = buffer.len();
        buffer.put_bytes(0, HEADER - SHORT_HEADER);
        let result = sys::read(self.fd.as_fd(), buffer);
        let Ok(count) = result else {
            buffer.truncate(start);
            return result;
        };
        widen(&mut buffer[start..]);
        Ok(count + HEADER - SHORT_HEADER)
    }
}

impl Link for Packet {
    fn capabilities(&self) -> Capabilities {
        match self.header {
            Header::Full => Capabilities::ALL,
            Header::Short => Capabilities::TCP,
        }
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn queue_bytes(&self) -> usize {
        // The kernel doubles what was asked for, to pay for its own bookkeeping (socket(7)).
        sockopt::socket_recv_buffer_size(&self.fd).unwrap_or(0) / 2
    }

    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        buffer.reserve(FRAME_CAPACITY);
        for _ in 0..MAX_DISCARDS {
            match self.receive_once(buffer) {
                // A frame, now gone, whose offload the virtio header has no word for: a tunnel's, say.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                result => return result,
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn send(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        require_header(parts)?;
        let sent = match self.header {
            Header::Full => rustix::io::writev(&self.fd, parts),
            Header::Short => rustix::io::writev(&self.fd, &narrow(parts)),
        };
        match sent {
            Ok(_) => Ok(()),
            // The device's queue is full: the same to a caller as a full socket.
            Err(Errno::NOBUFS) => Err(io::ErrorKind::WouldBlock.into()),
            Err(Errno::MSGSIZE) => Err(io::ErrorKind::InvalidInput.into()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Packet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Packet> for OwnedFd {
    fn from(packet: Packet) -> Self {
        packet.fd
    }
}

fn set_options(socket: BorrowedFd<'_>, best: Header) -> io::Result<Header> {
    let header = match best {
        Header::Full
            if sys::set_packet_option(socket, libc::PACKET_VNET_HDR_SZ, HEADER as i32).is_ok() =>
        {
            Header::Full
        }
        _ => {
            sys::set_packet_option(socket, libc::PACKET_VNET_HDR, 1)?;
            Header::Short
        }
    };
    sys::set_packet_option(socket, libc::PACKET_IGNORE_OUTGOING, 1)?;
    // Cut to net.core.rmem_max and wmem_max.
    sockopt::set_socket_recv_buffer_size(socket, WANTED_QUEUE)?;
    sockopt::set_socket_send_buffer_size(socket, WANTED_QUEUE)?;
    Ok(header)
}

/// Moves a 10-byte header from behind the gap that was left for it to the front, where the 12-byte one has it.
fn widen(frame: &mut [u8]) {
    let gap = HEADER - SHORT_HEADER;
    frame.copy_within(gap..HEADER.min(frame.len()), 0);
    let padding = SHORT_HEADER.min(frame.len())..HEADER.min(frame.len());
    frame[padding].fill(0);
}

/// The same frame with the last two bytes of its header left out. The first part holds the header.
fn narrow<'a>(parts: &'a [IoSlice<'a>]) -> SmallVec<[IoSlice<'a>; 8]> {
    let (first, rest) = parts
        .split_first()
        .expect("the header's presence was checked");
    let mut narrowed = SmallVec::with_capacity(parts.len() + 1);
    narrowed.push(IoSlice::new(&first[..SHORT_HEADER]));
    narrowed.push(IoSlice::new(&first[HEADER..]));
    narrowed.extend(rest.iter().copied());
    narrowed
}

/// Bytes of the header without `num_buffers`.
const SHORT_HEADER: usize = 10;
/// How many undeliverable frames are passed over in one call.
const MAX_DISCARDS: usize = 16;
/// Bytes asked for in each direction: what 64 full frames and their bookkeeping take.
const WANTED_QUEUE: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_carries, await_carrier, configure, in_own_network, ip};

    fn veth() {
        ip("link add wire0 type veth peer name wire1");
        ip("link set wire1 arp off up");
        configure("wire0");
        await_carrier(["wire0", "wire1"]);
    }

    #[test]
    fn a_packet_socket_carries_frames_both_ways() {
        if !in_own_network(module_path!(), "a_packet_socket_carries_frames_both_ways") {
            return;
        }
        veth();
        let mut link = Packet::open("wire1", 1500).unwrap();
        assert_carries(&mut link);
        assert!(link.queue_bytes() >= 64 * 1024, "{}", link.queue_bytes());
    }

    #[test]
    fn the_short_header_looks_like_the_full_one() {
        if !in_own_network(module_path!(), "the_short_header_looks_like_the_full_one") {
            return;
        }
        veth();
        let mut link = Packet::open_with("wire1", 1500, Header::Short).unwrap();
        assert_eq!(link.capabilities(), Capabilities::TCP);
        assert_carries(&mut link);
        let mut link = Packet::from_fd(link.into(), 1500).unwrap();
        assert_eq!(link.header, Header::Short);
        assert_carries(&mut link);
    }

    #[test]
    fn a_descriptor_is_all_that_need_be_passed() {
        if !in_own_network(module_path!(), "a_descriptor_is_all_that_need_be_passed") {
            return;
        }
        veth();
        let link = Packet::open("wire1", 1500).unwrap();
        let header = link.header;
        let mut link = Packet::from_fd(link.into(), 9000).unwrap();
        assert_eq!((link.header, link.mtu()), (header, 9000));
        assert_carries(&mut link);
    }

    #[test]
    fn an_interface_that_is_down_says_so_and_comes_back() {
        if !in_own_network(
            module_path!(),
            "an_interface_that_is_down_says_so_and_comes_back",
        ) {
            return;
        }
        veth();
        let mut link = Packet::open("wire1", 1500).unwrap();
        ip("link set wire1 down");
        let error = loop {
            if let Err(error) = link.receive(&mut BytesMut::new()) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::NetworkDown);
        let error = link.send(&[IoSlice::new(&[0; 80])]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NetworkDown);
        ip("link set wire1 up");
        await_carrier(["wire0", "wire1"]);
        assert_carries(&mut link);
    }

    #[test]
    fn a_missing_interface_is_named_as_such() {
        if !in_own_network(module_path!(), "a_missing_interface_is_named_as_such") {
            return;
        }
        assert!(matches!(
            Packet::open("wire1", 1500),
            Err(PacketError::Interface(_))
        ));
    }

    #[test]
    fn another_descriptor_is_not_taken_for_a_packet_socket() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(matches!(
            Packet::from_fd(file.into(), 1500),
            Err(PacketError::NotPacket)
        ));
    }

    #[test]
    fn a_short_header_is_widened_wherever_the_frame_ends() {
        let mut frame: Vec<u8> = [0, 0].into_iter().chain(1..=13).collect();
        widen(&mut frame);
        assert_eq!(frame, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 0, 11, 12, 13]);
        for length in HEADER - SHORT_HEADER..HEADER {
            widen(&mut vec![0; length]);
        }
    }
}
