//! The TAP link: an Ethernet interface whose cable ends in this process.
//!
//! See the kernel's `Documentation/networking/tuntap.rst`. One queue, no `IFF_NAPI`: both were measured not to pay
//! for the one reader that a space has.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::BytesMut;
use rustix::fs::{Mode, OFlags};
use thiserror::Error;

use crate::{Capabilities, FRAME_CAPACITY, HEADER, Link, network_down, require_header, sys};

/// A TAP interface with virtio headers (`IFF_VNET_HDR`) and every offload that the kernel grants.
///
/// The interface belongs to the network namespace that [`open`](Self::open) ran in, wherever the descriptor is carried
/// to; it vanishes with its last descriptor. Frames arrive in the order in which they were sent.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
    mtu: u16,
    capabilities: Capabilities,
}

/// Why there is no TAP.
#[derive(Debug, Error)]
pub enum TapError {
    /// The device file is missing, or closed to this user.
    #[error("{DEVICE} can't be opened")]
    Device(#[source] io::Error),
    /// The kernel refuses the interface: no `CAP_NET_ADMIN` in this network namespace, a name that is taken, …
    #[error("the TAP interface can't be made")]
    Attach(#[source] io::Error),
    /// The descriptor is not attached to a TAP interface with `IFF_VNET_HDR`.
    #[error("the descriptor isn't a TAP interface with virtio headers")]
    NotTap,
    /// The kernel refuses the header's size or byte order, or to set the descriptor nonblocking.
    #[error("the TAP interface can't be configured")]
    Configure(#[source] io::Error),
}

impl Tap {
    /// Makes the interface `name`, down and without addresses, in this thread's network namespace.
    ///
    /// `mtu` is what [`Link::mtu`] will answer; setting it on the interface is its configurer's.
    ///
    /// # Errors
    ///
    /// Every [`TapError`] but [`NotTap`](TapError::NotTap).
    pub fn open(name: &str, mtu: u16) -> Result<Self, TapError> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(DEVICE, flags, Mode::empty())
            .map_err(|error| TapError::Device(error.into()))?;
        sys::attach(fd.as_fd(), name, libc::IFF_NO_PI | WANTED_FLAGS).map_err(TapError::Attach)?;
        Self::configure(fd, mtu)
    }

    /// Takes over a descriptor that [`open`](Self::open) made, perhaps in another process and namespace.
    ///
    /// What the kernel offers is negotiated anew: nothing but the descriptor need be carried along.
    ///
    /// # Errors
    ///
    /// [`TapError::NotTap`] and [`TapError::Configure`].
    pub fn from_fd(fd: OwnedFd, mtu: u16) -> Result<Self, TapError> {
        let flags = sys::attached_flags(fd.as_fd()).map_err(|_| TapError::NotTap)?;
        if flags & WANTED_FLAGS != WANTED_FLAGS {
            return Err(TapError::NotTap);
        }
        let status =
            rustix::fs::fcntl_getfl(&fd).map_err(|error| TapError::Configure(error.into()))?;
        rustix::fs::fcntl_setfl(&fd, status | OFlags::NONBLOCK)
            .map_err(|error| TapError::Configure(error.into()))?;
        Self::configure(fd, mtu)
    }

    /// Takes less from the kernel than it offers: for a reader that wants every frame complete.
    ///
    /// # Errors
    ///
    /// [`TapError::Configure`] when the kernel doesn't grant these, which it never does to more than it offered.
    pub fn limit(mut self, capabilities: Capabilities) -> Result<Self, TapError> {
        sys::set_offload(self.fd.as_fd(), offload(capabilities)).map_err(TapError::Configure)?;
        self.capabilities = capabilities;
        Ok(self)
    }

    fn configure(fd: OwnedFd, mtu: u16) -> Result<Self, TapError> {
        sys::set_header_size(fd.as_fd(), HEADER as i32).map_err(TapError::Configure)?;
        if cfg!(target_endian = "big") {
            sys::set_little_endian(fd.as_fd()).map_err(TapError::Configure)?;
        }
        let capabilities = negotiate(fd.as_fd());
        Ok(Self {
            fd,
            mtu,
            capabilities,
        })
    }
}

impl Link for Tap {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn queue_bytes(&self) -> usize {
        let frame = if self.capabilities.tcp_segment {
            FULL_FRAME
        } else {
            usize::from(self.mtu)
        };
        QUEUE_FRAMES * frame
    }

    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        buffer.reserve(FRAME_CAPACITY);
        sys::read(self.fd.as_fd(), buffer)
    }

    fn send(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        require_header(parts)?;
        match rustix::io::writev(&self.fd, parts) {
            Ok(_) => Ok(()),
            // What tun_get_user answers when the interface is down.
            Err(rustix::io::Errno::IO) => Err(network_down()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Tap> for OwnedFd {
    fn from(tap: Tap) -> Self {
        tap.fd
    }
}

/// Asks for every offload, then for fewer: kernels before 6.2 don't know UDP segmentation, and answer EINVAL.
fn negotiate(tun: BorrowedFd<'_>) -> Capabilities {
    [Capabilities::ALL, Capabilities::TCP, Capabilities::CHECKSUM]
        .into_iter()
        .find(|capabilities| sys::set_offload(tun, offload(*capabilities)).is_ok())
        .unwrap_or(Capabilities::NONE)
}

/// The capabilities in the kernel's words; without a checksum there is no segmentation.
fn offload(capabilities: Capabilities) -> u32 {
    const TCP: u32 = libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    const UDP: u32 = libc::TUN_F_USO4 | libc::TUN_F_USO6;
    if !capabilities.checksum {
        return 0;
    }
    let tcp = if capabilities.tcp_segment { TCP } else { 0 };
    let udp = if capabilities.udp_segment { UDP } else { 0 };
    libc::TUN_F_CSUM | tcp | udp
}

const DEVICE: &str = "/dev/net/tun";
const WANTED_FLAGS: i32 = libc::IFF_TAP | libc::IFF_VNET_HDR;
/// The transmit queue's length that the kernel gives every Ethernet interface (`DEFAULT_TX_QUEUE_LEN`).
const QUEUE_FRAMES: usize = 1000;
/// The payload of a full train of segments.
const FULL_FRAME: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slots;
    use crate::testing::{
        INSIDE_ADDRESS, OUTSIDE_ADDRESS, assert_carries, configure, in_own_network, ip,
        next_datagram,
    };

    /// A TAP, or None, said aloud, where the device file is missing or closed.
    fn tap() -> Option<Tap> {
        match Tap::open("tap0", 1500) {
            Err(TapError::Device(error)) => {
                eprintln!("skipped: {DEVICE}: {error}");
                None
            }
            tap => Some(tap.unwrap()),
        }
    }

    #[test]
    fn a_tap_carries_frames_both_ways() {
        if !in_own_network(module_path!(), "a_tap_carries_frames_both_ways") {
            return;
        }
        let Some(mut tap) = tap() else { return };
        configure("tap0");
        assert_carries(&mut tap);
    }

    #[test]
    fn a_descriptor_is_all_that_need_be_passed() {
        if !in_own_network(module_path!(), "a_descriptor_is_all_that_need_be_passed") {
            return;
        }
        let Some(tap) = tap() else { return };
        configure("tap0");
        let capabilities = tap.capabilities();
        let fd = OwnedFd::from(tap);
        rustix::fs::fcntl_setfl(&fd, OFlags::RDWR).unwrap();
        let mut tap = Tap::from_fd(fd, 9000).unwrap();
        assert_eq!((tap.capabilities(), tap.mtu()), (capabilities, 9000));
        assert_carries(&mut tap);
    }

    #[test]
    fn an_interface_that_is_down_says_so() {
        if !in_own_network(module_path!(), "an_interface_that_is_down_says_so") {
            return;
        }
        let Some(mut tap) = tap() else { return };
        let error = tap.send(&[IoSlice::new(&[0; 60])]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NetworkDown);
        configure("tap0");
        assert_carries(&mut tap);
    }

    #[test]
    fn a_limited_tap_gets_complete_frames() {
        if !in_own_network(module_path!(), "a_limited_tap_gets_complete_frames") {
            return;
        }
        let Some(tap) = tap() else { return };
        let mut tap = tap.limit(Capabilities::NONE).unwrap();
        configure("tap0");
        assert_eq!(tap.capabilities(), Capabilities::NONE);
        let socket = std::net::UdpSocket::bind((INSIDE_ADDRESS, 4000)).unwrap();
        socket.send_to(b"whole", (OUTSIDE_ADDRESS, 5000)).unwrap();
        let frame = next_datagram(&mut tap, &mut Slots::default());
        assert_eq!(frame[..2], [0, 0], "neither a partial checksum nor a train");
    }

    #[test]
    fn a_removed_interface_is_an_error_and_not_a_wait() {
        if !in_own_network(
            module_path!(),
            "a_removed_interface_is_an_error_and_not_a_wait",
        ) {
            return;
        }
        let Some(mut tap) = tap() else { return };
        ip("link delete tap0");
        let error = Slots::default().receive(&mut tap).unwrap_err();
        assert!(
            ![io::ErrorKind::WouldBlock, io::ErrorKind::NetworkDown].contains(&error.kind()),
            "{error}"
        );
    }

    #[test]
    fn another_descriptor_is_not_taken_for_a_tap() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(matches!(
            Tap::from_fd(file.into(), 1500),
            Err(TapError::NotTap)
        ));
    }
}
