//! A network namespace for a test of its own, and frames by hand.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, poll};

use crate::{HEADER, Link, Slots};

/// Set in the process that runs a test inside its namespace.
const INSIDE: &str = "WHARF_LINK_TEST_INSIDE";
/// The inside's address and the outside's, and the outside's MAC.
pub(crate) const INSIDE_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(crate) const OUTSIDE_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const INSIDE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const OUTSIDE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// True in a new user and network namespace; outside, runs the test there, asserts that it passes, and is false.
///
/// Says so and is false where the kernel forbids such namespaces, or a program that sets them up is missing.
pub(crate) fn in_own_network(module: &str, test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let possible = Command::new("unshare")
        .args(["--map-root-user", "--net", "ip", "link"])
        .output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped {test}: `unshare --map-root-user --net ip link` doesn't work here");
        return false;
    }
    let (_, module) = module.split_once("::").expect("a module lies in its crate");
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{test}"), "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && said.contains("1 passed"),
        "inside the namespace:\n{said}"
    );
    false
}

/// Runs `ip` with the words of `line`.
pub(crate) fn ip(line: &str) {
    let output = Command::new("ip")
        .args(line.split_whitespace())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "ip {line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Gives the interface its addresses and neighbour, and sets it up.
pub(crate) fn configure(interface: &str) {
    ip(&format!(
        "link set {interface} address 02:00:00:00:00:02 mtu 1500 up"
    ));
    ip(&format!("addr add {INSIDE_ADDRESS}/24 dev {interface}"));
    ip(&format!(
        "neigh replace {OUTSIDE_ADDRESS} lladdr 02:00:00:00:00:01 dev {interface}"
    ));
}

/// Waits until both ends of a cable carry frames. The kernel makes them ready a moment after they are up, and drops all before.
pub(crate) fn await_carrier(ends: [&str; 2]) {
    let ready = |end: &&str| {
        let output = Command::new("ip").args(["link", "show", end]).output();
        let said = String::from_utf8(output.unwrap().stdout).unwrap();
        said.contains(" state UP ") && !said.contains(" qdisc noop ")
    };
    let until = Instant::now() + Duration::from_secs(5);
    while !ends.iter().all(ready) {
        assert!(Instant::now() < until, "{ends:?} don't come up");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The next frame of IPv4 and UDP; others (the kernel's own IPv6 chatter) are passed over.
pub(crate) fn next_datagram(
    link: &mut (impl Link + std::os::fd::AsFd),
    slots: &mut Slots,
) -> Bytes {
    loop {
        match slots.receive(link) {
            Ok(frame) if frame.len() > 42 && frame[24..26] == [8, 0] && frame[35] == 17 => {
                return frame;
            }
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                let mut wait = [PollFd::new(link, PollFlags::IN)];
                let limit = Duration::from_secs(5).try_into().unwrap();
                assert_eq!(
                    poll(&mut wait, Some(&limit)).unwrap(),
                    1,
                    "no frame arrived"
                );
            }
        }
    }
}

/// What a program inside sends is received, header and all; what is sent to it arrives, alone or as a train.
pub(crate) fn assert_carries(link: &mut (impl Link + std::os::fd::AsFd)) {
    let socket = UdpSocket::bind((INSIDE_ADDRESS, 4000)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    socket.send_to(b"outward", (OUTSIDE_ADDRESS, 5000)).unwrap();
    let frame = next_datagram(link, &mut Slots::default());
    let virtio = &frame[..HEADER];
    // NEEDS_CSUM, no segmentation, checksum from the UDP header on, at its offset 6.
    assert_eq!((virtio[0], virtio[1]), (1, 0), "{virtio:?}");
    assert_eq!(virtio[6..10], [34, 0, 6, 0], "{virtio:?}");
    assert_eq!(
        frame[HEADER..HEADER + 12],
        [OUTSIDE_MAC, INSIDE_MAC].concat()
    );
    assert_eq!(&frame[HEADER + 42..], b"outward");

    send_datagram(link, b"inward", None);
    let mut buffer = [0; 2048];
    assert_eq!(socket.recv(&mut buffer).unwrap(), 6);
    if link.capabilities().udp_segment {
        send_datagram(link, &[7; 5500], Some(1000));
        let lengths = [(); 6].map(|()| socket.recv(&mut buffer).unwrap());
        assert_eq!(lengths, [1000, 1000, 1000, 1000, 1000, 500]);
    }
}

/// Sends a datagram, or a train of them, in three parts, its checksum left to the kernel.
fn send_datagram(link: &mut impl Link, payload: &[u8], segment: Option<u16>) {
    let (gso_type, size) = segment.map_or((0, 0), |size| (5, size));
    let mut head = vec![1, gso_type, 42, 0];
    head.extend_from_slice(&size.to_le_bytes());
    head.extend_from_slice(&[34, 0, 6, 0, 0, 0]);
    head.extend_from_slice(&INSIDE_MAC);
    head.extend_from_slice(&OUTSIDE_MAC);
    head.extend_from_slice(&[8, 0]);
    head.extend_from_slice(&headers(payload.len() as u16));
    let (left, right) = payload.split_at(payload.len() / 3);
    link.send(&[IoSlice::new(&head), IoSlice::new(left), IoSlice::new(right)])
        .unwrap();
}

/// IPv4 and UDP headers; the UDP checksum is the pseudo header's sum, as a partial checksum wants it.
fn headers(payload: u16) -> Vec<u8> {
    let mut ip = vec![0x45, 0];
    ip.extend_from_slice(&(28 + payload).to_be_bytes());
    ip.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0]);
    ip.extend_from_slice(&OUTSIDE_ADDRESS.octets());
    ip.extend_from_slice(&INSIDE_ADDRESS.octets());
    let sum = !fold(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut pseudo = ip[12..20].to_vec();
    pseudo.extend_from_slice(&[0, 17]);
    pseudo.extend_from_slice(&(8 + payload).to_be_bytes());
    let partial = fold(&pseudo);
    for field in [5000, 4000, 8 + payload, partial] {
        ip.extend_from_slice(&field.to_be_bytes());
    }
    ip
}

/// The ones' complement sum of 16-bit words (RFC 1071).
fn fold(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
