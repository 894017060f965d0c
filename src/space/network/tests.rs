//! What a space's network does, each test in a namespace of its own.

use std::io::{self, IoSlice, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, poll};
use wharf_link::{HEADER, Slots, TapError};

use super::*;

const IPV4: Ipv4Addr = Ipv4Addr::new(10, 77, 3, 2);
const IPV6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0x7761, 0x7266, 0, 0, 0, 3, 2);
/// Somebody behind the gateway (RFC 5737, RFC 3849).
const FAR_IPV4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const FAR_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);

/// Set in the process that runs a test inside its namespace.
const INSIDE: &str = "WHARF_NETWORK_TEST_INSIDE";
/// As the keeper is: own user and group, all capabilities.
const KEEPER: &[&str] = &[
    "unshare",
    "--user",
    "--net",
    "--map-current-user",
    "--keep-caps",
    "--",
];
/// As the keeper is, but without capabilities.
const POWERLESS: &[&str] = &["unshare", "--user", "--net", "--map-current-user", "--"];
/// Some user who isn't root.
const ORDINARY: &[&str] = &[
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--",
];
/// With mounts of its own, for a shell that changes them first.
const MOUNTS: &[&str] = &[
    "unshare",
    "--user",
    "--net",
    "--mount",
    "--map-root-user",
    "--",
    "sh",
    "-ec",
];

/// True inside; outside, runs the test by way of the command `way`, asserts that it passes, and is false.
///
/// Says so and is false where `way` doesn't work.
fn inside(way: &[&[&str]], test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let (_, module) = module_path!().split_once("::").unwrap();
    let way = way.concat();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(way[0]);
        command
            .args(&way[1..])
            .arg(std::env::current_exe().unwrap())
            .args(arguments)
            .env(INSIDE, "1");
        command.output()
    };
    if !run(&["--list"]).is_ok_and(|output| output.status.success()) {
        eprintln!("skipped {test}: `{}` doesn't work here", way.join(" "));
        return false;
    }
    let output = run(&["--exact", &format!("{module}::{test}"), "--nocapture"]).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && said.contains("1 passed"),
        "inside the namespace:\n{said}"
    );
    false
}

/// The way to a user who isn't root: for root another one, for others none.
fn ordinary() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() {
        ORDINARY
    } else {
        &["env"]
    }
}

fn plan(device: Device) -> Plan {
    Plan::new(IPV4, IPV6, 1500, device)
}

fn set_up_in_time(device: Device) -> SetUp {
    let start = Instant::now();
    let made = set_up(&plan(device)).unwrap();
    eprintln!(
        "{:?} set up in {:?}; {:?}",
        made.kind,
        start.elapsed(),
        made.remarks
    );
    made
}

/// The other side of the link: a peer that waits for its frames.
struct Gateway {
    link: Box<dyn GatewayLink>,
    slots: Slots,
}

trait GatewayLink: Link + std::os::fd::AsFd {}
impl<L: Link + std::os::fd::AsFd> GatewayLink for L {}

impl Gateway {
    fn new(made: SetUp) -> Self {
        let link: Box<dyn GatewayLink> = match made.kind {
            Kind::Tap => Box::new(Tap::from_fd(made.link, 1500).unwrap()),
            Kind::Packet => Box::new(Packet::from_fd(made.link, 1500).unwrap()),
        };
        assert!(link.capabilities().tcp_segment);
        Self {
            link,
            slots: Slots::default(),
        }
    }

    /// The next frame that isn't the kernel's own multicast chatter (RFC 3810); it must be for the gateway.
    fn next(&mut self) -> Bytes {
        loop {
            match self.slots.receive(&mut *self.link) {
                Ok(frame) if frame[HEADER..HEADER + 2] == [0x33, 0x33] => {}
                Ok(frame) => {
                    assert_eq!(
                        frame[HEADER..HEADER + 12],
                        [GATEWAY_MAC, SPACE_MAC].concat()
                    );
                    return frame;
                }
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                    let limit = Duration::from_secs(5).try_into().unwrap();
                    let mut wait = [PollFd::new(&self.link, PollFlags::IN)];
                    assert_eq!(
                        poll(&mut wait, Some(&limit)).unwrap(),
                        1,
                        "no frame arrived"
                    );
                }
            }
        }
    }

    /// Answers the SYN in `frame`, which must be IPv4 and TCP.
    fn accept(&mut self, frame: &[u8]) {
        let ip = &frame[HEADER + 14..];
        assert_eq!((ip[9], ip[33] & 0x3f), (6, 0x02), "not a SYN: {ip:?}");
        let sequence = u32::from_be_bytes(ip[24..28].try_into().unwrap());
        let mut tcp = [
            &ip[22..24],
            &ip[20..22],
            &7_u32.to_be_bytes(),
            &(sequence + 1).to_be_bytes(),
        ]
        .concat();
        // 24 bytes with one option, MSS 1460; SYN and ACK; the largest window without scaling.
        tcp.extend_from_slice(&[0x60, 0x12, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 0x05, 0xb4]);
        let mut packet = vec![0x45, 0, 0, 44, 0, 0, 0, 0, 64, 6, 0, 0];
        packet.extend_from_slice(&[&ip[16..20], &ip[12..16]].concat());
        let sum = !fold(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        let partial = fold(&[&packet[12..20], &[0, 6, 0, 24]].concat());
        tcp[16..18].copy_from_slice(&partial.to_be_bytes());
        let head = [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0];
        let ethernet = [&SPACE_MAC[..], &GATEWAY_MAC, &[8, 0]].concat();
        self.link
            .send(&[&head[..], &ethernet, &packet, &tcp].map(IoSlice::new))
            .unwrap();
    }
}

/// The ones' complement sum of 16-bit words (RFC 1071).
fn fold(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// Everything that a link must carry and a space must have, whatever the device is.
fn assert_connected(made: SetUp) {
    let mut gateway = Gateway::new(made);
    assert_datagrams_leave(&mut gateway);
    assert_trains_leave(&mut gateway);
    assert_loopback();
}

/// A datagram leaves at once, its checksum left undone; nobody is asked for an address first.
fn assert_datagrams_leave(gateway: &mut Gateway) {
    let targets: [(SocketAddr, SocketAddr, [u8; 4], usize); 2] = [
        ((IPV4, 0).into(), (FAR_IPV4, 53).into(), [34, 0, 6, 0], 42),
        ((IPV6, 0).into(), (FAR_IPV6, 53).into(), [54, 0, 6, 0], 62),
    ];
    for (from, to, checksum, headers) in targets {
        UdpSocket::bind(from)
            .unwrap()
            .send_to(b"question", to)
            .unwrap();
        let frame = gateway.next();
        assert_eq!(frame[..2], [1, 0], "{to}: a partial checksum, no train");
        assert_eq!(frame[6..10], checksum, "{to}: where the checksum goes");
        assert_eq!(frame[HEADER + headers..], *b"question", "{to}");
    }
}

/// A stream's first flight leaves as a train of segments.
fn assert_trains_leave(gateway: &mut Gateway) {
    let writer = thread::spawn(|| {
        let mut stream = TcpStream::connect((FAR_IPV4, 80)).unwrap();
        stream.write_all(&[b'x'; 60_000]).unwrap();
        stream
    });
    let syn = gateway.next();
    gateway.accept(&syn);
    let train = loop {
        let frame = gateway.next();
        // An acknowledgement comes first, and is no train.
        if frame[1] != 0 {
            break frame;
        }
    };
    // Needs a checksum, TCP over IPv4, 1460 bytes a segment.
    assert_eq!(train[..2], [1, 1]);
    assert_eq!(u16::from_le_bytes([train[4], train[5]]), 1460);
    assert!(train.len() > 2 * 1460, "{} bytes", train.len());
    drop(writer.join().unwrap());
}

fn assert_loopback() {
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let listener = TcpListener::bind((address, 80)).unwrap();
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    }
}

#[test]
fn a_tap_carries_what_programs_send() {
    if !inside(&[KEEPER], "a_tap_carries_what_programs_send") {
        return;
    }
    if let Err(error) = std::fs::File::open("/dev/net/tun") {
        eprintln!("skipped a_tap_carries_what_programs_send: /dev/net/tun: {error}");
        return;
    }
    let made = set_up_in_time(Device::Auto);
    assert_eq!((made.kind, &made.remarks), (Kind::Tap, &Vec::new()));
    assert_connected(made);
}

#[test]
fn a_packet_socket_carries_what_programs_send() {
    if !inside(&[KEEPER], "a_packet_socket_carries_what_programs_send") {
        return;
    }
    let made = set_up_in_time(Device::Packet);
    assert_eq!((made.kind, &made.remarks), (Kind::Packet, &Vec::new()));
    assert_connected(made);
}

#[test]
fn an_ordinary_user_has_a_network_too() {
    let ordinary = if rustix::process::geteuid().is_root() {
        ORDINARY
    } else {
        &["env"]
    };
    if !inside(&[ordinary, KEEPER], "an_ordinary_user_has_a_network_too") {
        return;
    }
    assert!(!rustix::process::geteuid().is_root());
    let tun = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun");
    let made = set_up_in_time(Device::Auto);
    assert_eq!(
        made.kind,
        if tun.is_ok() { Kind::Tap } else { Kind::Packet }
    );
    assert_connected(made);
}

#[test]
fn without_tun_a_packet_socket_takes_its_place() {
    let hidden = [
        MOUNTS,
        &["mount -t tmpfs none /dev/net; exec \"$0\" \"$@\""],
    ];
    if !inside(&hidden, "without_tun_a_packet_socket_takes_its_place") {
        return;
    }
    let made = set_up_in_time(Device::Auto);
    assert_eq!(made.kind, Kind::Packet);
    assert!(made.remarks.is_empty(), "{:?}", made.remarks);
    assert_connected(made);
}

#[test]
fn a_tap_that_was_asked_for_has_no_substitute() {
    let hidden = [
        MOUNTS,
        &["mount -t tmpfs none /dev/net; exec \"$0\" \"$@\""],
    ];
    if !inside(&hidden, "a_tap_that_was_asked_for_has_no_substitute") {
        return;
    }
    let error = set_up(&plan(Device::Tap)).unwrap_err();
    assert!(
        matches!(error, SetUpError::Tap(TapError::Device(_))),
        "{error:?}"
    );
    assert!(error.to_string().contains("/dev/net/tun"), "{error}");
}

#[test]
fn read_only_settings_are_remarks() {
    let script =
        "mount --rbind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys; exec \"$0\" \"$@\"";
    if !inside(&[MOUNTS, &[script]], "read_only_settings_are_remarks") {
        return;
    }
    let made = set_up_in_time(Device::Packet);
    let said = made.remarks.join("\n");
    for setting in [
        "ip_unprivileged_port_start",
        "ping_group_range",
        "accept_dad",
        "wharf1.disable_ipv6",
    ] {
        assert!(said.contains(setting), "{setting} is missing in:\n{said}");
    }
    assert_connected(made);
}

#[test]
fn a_kernel_without_ipv6_leaves_ipv4() {
    let script = "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; exec \"$0\" \"$@\"";
    if !inside(&[MOUNTS, &[script]], "a_kernel_without_ipv6_leaves_ipv4") {
        return;
    }
    let made = set_up_in_time(Device::Packet);
    assert!(
        made.remarks.iter().any(|remark| remark.contains("no IPv6")),
        "{:?}",
        made.remarks
    );
    assert_trains_leave(&mut Gateway::new(made));
}

#[test]
fn settings_are_those_of_a_space() {
    if !inside(&[KEEPER], "settings_are_those_of_a_space") {
        return;
    }
    set_up(&plan(Device::Packet)).unwrap();
    let group = rustix::process::getegid().as_raw();
    let settings = [
        ("ipv4/ip_unprivileged_port_start", "0".into()),
        ("ipv4/ping_group_range", format!("{group}\t{group}")),
        ("ipv6/conf/wharf0/accept_dad", "0".into()),
        ("ipv6/conf/wharf0/accept_ra", "0".into()),
        ("ipv6/conf/wharf1/disable_ipv6", "1".into()),
    ];
    for (setting, value) in settings {
        let found = std::fs::read_to_string(format!("/proc/sys/net/{setting}")).unwrap();
        assert_eq!(found.trim(), value, "{setting}");
    }
}

#[test]
fn a_missing_right_is_named() {
    if !inside(&[ordinary(), POWERLESS], "a_missing_right_is_named") {
        return;
    }
    let error = set_up(&plan(Device::Auto)).unwrap_err();
    let SetUpError::Step {
        step: Step::Loopback,
        source,
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(source.kind(), io::ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
}
