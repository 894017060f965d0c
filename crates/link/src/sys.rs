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
    let mut request = named(name)?;
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

/// How many features (ethtool(8), `-k`) the kernel knows.
pub(crate) fn feature_count(socket: BorrowedFd<'_>, interface: &str) -> io::Result<usize> {
    // struct ethtool_sset_info: cmd, reserved, a 64-bit mask of the sets, the first set's count.
    let mut info = [ETHTOOL_GSSET_INFO, 0, 0, 0, 0];
    let mask = u64::to_ne_bytes(1 << FEATURES);
    for (word, half) in info[2..4].iter_mut().zip(mask.as_chunks().0) {
        *word = u32::from_ne_bytes(*half);
    }
    // SAFETY: for a mask of one bit GSSET_INFO writes at most one count, which `info` has room for.
    unsafe { ethtool(socket, interface, info.as_mut_ptr().cast()) }?;
    Ok(info[4] as usize)
}

/// The names of the kernel's `count` features, as [`feature_count`] gave it; each ends with a NUL.
pub(crate) fn feature_names(
    socket: BorrowedFd<'_>,
    interface: &str,
    count: usize,
) -> io::Result<Vec<u8>> {
    // struct ethtool_gstrings: cmd, set, count, then the strings; as bytes.
    let head = [ETHTOOL_GSTRINGS, FEATURES, count as u32].map(u32::to_ne_bytes);
    let mut strings = head.concat();
    strings.resize(strings.len() + count * FEATURE_NAME, 0);
    // SAFETY: GSTRINGS writes the set's strings, whose number never changes while a kernel runs: `count`, for which
    // there is room.
    unsafe { ethtool(socket, interface, strings.as_mut_ptr().cast()) }?;
    Ok(strings.split_off(head.as_flattened().len()))
}

/// Turns the feature `index` of `count` off.
pub(crate) fn turn_feature_off(
    socket: BorrowedFd<'_>,
    interface: &str,
    index: usize,
    count: usize,
) -> io::Result<()> {
    // struct ethtool_sfeatures: cmd, blocks, then for each block of 32 features a mask of what is set and its values.
    let blocks = count.div_ceil(32);
    let mut features = vec![0_u32; 2 + 2 * blocks];
    features[..2].copy_from_slice(&[ETHTOOL_SFEATURES, blocks as u32]);
    features[2 + 2 * (index / 32)] = 1 << (index % 32);
    // SAFETY: SFEATURES reads as many blocks as the second word says, all of which `features` has, and writes none.
    unsafe { ethtool(socket, interface, features.as_mut_ptr().cast()) }
}

/// `SIOCETHTOOL` about `interface`, by any socket of its network namespace.
///
/// # Safety
///
/// `data` points to what the command in its first word reads, with room for what it writes.
unsafe fn ethtool(
    socket: BorrowedFd<'_>,
    interface: &str,
    data: *mut libc::c_char,
) -> io::Result<()> {
    let mut request = named(interface)?;
    request.ifr_ifru.ifru_data = data;
    // SAFETY: SIOCETHTOOL reads one `ifreq`, which `request` is; where its pointer leads is the caller's promise.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) })
}

/// `UDP_SEGMENT`: what is sent at once becomes a train of datagrams of `size` bytes.
#[cfg(test)]
pub(crate) fn send_trains(socket: BorrowedFd<'_>, size: c_int) -> io::Result<()> {
    let length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `size`, one int.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const size).cast(),
            length,
        )
    })
}

/// An `ifreq` that names an interface.
fn named(interface: &str) -> io::Result<libc::ifreq> {
    let mut request = interface_request();
    if interface.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (slot, byte) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *slot = byte as libc::c_char;
    }
    Ok(request)
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

// From linux/ethtool.h.
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_SFEATURES: u32 = 0x3b;
/// `ETH_SS_FEATURES`: the set of strings that names features.
const FEATURES: u32 = 4;
/// `ETH_GSTRING_LEN`: bytes of a name.
pub(crate) const FEATURE_NAME: usize = 32;
