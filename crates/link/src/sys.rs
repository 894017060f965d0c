//! The system calls of TAP devices and packet sockets that no safe wrapper covers.

use std::ffi::{c_int, c_uint};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

use bytes::BytesMut;

/// Appends what one read(2) of `fd` gives to `buffer`, within its spare capacity.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut BytesMut) -> io::Result<usize> {
    let (filled, _) = rustix::io::read(fd, buffer.spare_capacity_mut())?;
    let count = filled.len();
    // SAFETY: the `count` bytes that follow the length lie within the capacity, and the read initialised them.
    unsafe { buffer.set_len(buffer.len() + count) };
    Ok(count)
}

/// `TUNSETIFF`: attaches `tun` to the interface `name`, made if missing, with `flags` (`IFF_TAP`, …).
pub(crate) fn attach(tun: BorrowedFd<'_>, name: &str, flags: c_int) -> io::Result<()> {
    let mut request = interface_request();
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = byte.cast_signed();
    }
    request.ifr_ifru.ifru_flags = flags as i16;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which `request` is, in full size.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })
}

/// `TUNGETIFF`: the flags of the interface that `tun` is attached to.
pub(crate) fn attached_flags(tun: BorrowedFd<'_>) -> io::Result<c_int> {
    let mut request = interface_request();
    // SAFETY: TUNGETIFF writes one `ifreq`, which `request` is, in full size.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNGETIFF, &raw mut request) })?;
    // SAFETY: TUNGETIFF fills the union's `ifru_flags`; any bit pattern is an integer.
    Ok(c_int::from(unsafe { request.ifr_ifru.ifru_flags }))
}

/// `TUNSETVNETHDRSZ`: the size of the virtio header, in bytes.
pub(crate) fn set_header_size(tun: BorrowedFd<'_>, size: c_int) -> io::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads one int.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const size) })
}

/// `TUNSETVNETLE`: the virtio header is little-endian, whatever the machine is.
pub(crate) fn set_little_endian(tun: BorrowedFd<'_>) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: TUNSETVNETLE reads one int.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETVNETLE, &raw const on) })
}

/// `TUNSETOFFLOAD`: what the reader of `tun` takes (`TUN_F_CSUM`, …).
pub(crate) fn set_offload(tun: BorrowedFd<'_>, offload: c_uint) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    check(unsafe {
        libc::ioctl(
            tun.as_raw_fd(),
            libc::TUNSETOFFLOAD,
            libc::c_ulong::from(offload),
        )
    })
}

/// Sets an option of a packet socket (level `SOL_PACKET`).
pub(crate) fn set_packet_option(
    socket: BorrowedFd<'_>,
    option: c_int,
    value: c_int,
) -> io::Result<()> {
    let length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `value`, one int.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const value).cast(),
            length,
        )
    })
}

/// Reads an option of a packet socket (level `SOL_PACKET`).
pub(crate) fn packet_option(socket: BorrowedFd<'_>, option: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the pointers describe `value`, one int, and its length.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw mut value).cast(),
            &raw mut length,
        )
    })?;
    Ok(value)
}

/// Binds a packet socket to all protocols of the interface `index`.
pub(crate) fn bind_packet(socket: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    // SAFETY: `sockaddr_ll` is integers only; all zero is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index.cast_signed();
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `address`.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })
}

/// An `ifreq` of zeros: of the kernel's full size, since it copies all of it.
fn interface_request() -> libc::ifreq {
    // SAFETY: `ifreq` is integers and a union of integers and null pointers; all zero is a valid value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
