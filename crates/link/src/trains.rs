//! Interfaces that are told not to send trains of datagrams.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::sys;

/// Makes `interface` send each UDP datagram by itself, segmented by the kernel.
///
/// Needed on the near end of a veth pair whose far end has a [`Packet`](crate::Packet) link without
/// [`udp_segment`](crate::Capabilities::udp_segment): kernels before 6.2 have no word for such trains in the virtio header, and what a program
/// sends as one would be lost.
///
/// # Errors
///
/// No such interface, no `CAP_NET_ADMIN` in this network namespace, or a device driver that has no such feature
/// ([`Unsupported`](io::ErrorKind::Unsupported)).
pub fn forbid_udp_trains(interface: &str) -> io::Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let count = sys::feature_count(socket.as_fd(), interface)?;
    let names = sys::feature_names(socket.as_fd(), interface, count)?;
    let index = names
        .chunks(sys::FEATURE_NAME)
        .position(|name| CStr::from_bytes_until_nul(name) == Ok(UDP_SEGMENTATION))
        .ok_or(io::ErrorKind::Unsupported)?;
    sys::turn_feature_off(socket.as_fd(), interface, index, count)
}

const UDP_SEGMENTATION: &CStr = c"tx-udp-segmentation";

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::testing::{
        INSIDE_ADDRESS, OUTSIDE_ADDRESS, configure, in_own_network, ip, next_datagram,
    };
    use crate::{HEADER, Packet, Slots};

    #[test]
    fn trains_leave_only_where_they_may() {
        if !in_own_network(module_path!(), "trains_leave_only_where_they_may") {
            return;
        }
        ip("link add wire0 type veth peer name wire1");
        ip("link set wire1 arp off up");
        configure("wire0");
        let mut link = Packet::open("wire1", 1500).unwrap();
        let socket = UdpSocket::bind((INSIDE_ADDRESS, 4000)).unwrap();
        sys::send_trains(socket.as_fd(), 1000).unwrap();
        let mut payloads = || {
            socket.send_to(&[7; 3500], (OUTSIDE_ADDRESS, 5000)).unwrap();
            let mut slots = Slots::default();
            let first = next_datagram(&mut link, &mut slots);
            let rest = (3500 - (first.len() - HEADER - 42)).div_ceil(1000);
            let mut payloads = vec![(first[1], first.len() - HEADER - 42)];
            for _ in 0..rest {
                let frame = next_datagram(&mut link, &mut slots);
                payloads.push((frame[1], frame.len() - HEADER - 42));
            }
            // A packet socket doesn't promise their order.
            payloads.sort_unstable_by(|a, b| b.cmp(a));
            payloads
        };
        assert_eq!(payloads(), [(5, 3500)]);
        forbid_udp_trains("wire0").unwrap();
        assert_eq!(payloads(), [(0, 1000), (0, 1000), (0, 1000), (0, 500)]);
    }

    #[test]
    fn a_missing_interface_is_an_error() {
        if !in_own_network(module_path!(), "a_missing_interface_is_an_error") {
            return;
        }
        assert_eq!(
            forbid_udp_trains("wire0").unwrap_err().raw_os_error(),
            Some(libc::ENODEV)
        );
    }
}
