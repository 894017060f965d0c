//! One socket as the kernel describes it: `struct inet_diag_msg` and the attributes behind it.
//!
//! To have read: `sock_diag(7)`, and `include/uapi/linux/inet_diag.h` of the kernel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::Protocol;
use super::request::INFO;

/// One socket that has a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Socket {
    /// TCP or UDP.
    pub(crate) protocol: Protocol,
    /// The address it is bound to; a wildcard is `0.0.0.0` or `::`.
    pub(crate) address: IpAddr,
    /// The port it is bound to.
    pub(crate) port: NonZeroU16,
    /// What it does.
    pub(crate) state: State,
    /// The other end, if it has one.
    pub(crate) peer: Option<SocketAddr>,
    /// How long the kernel keeps it, if only the kernel does.
    pub(crate) expires: Option<Duration>,
    /// Of a TCP listener, how many connections wait to be accepted; else how many bytes wait to be read.
    pub(crate) waiting: u32,
    /// Whether an IPv6 socket leaves IPv4 to others (`IPV6_V6ONLY`); `None` for IPv4 sockets.
    pub(crate) ipv6_only: Option<bool>,
    /// The inode that `/proc/PID/fd` shows as `socket:[N]`; 0 when no process holds it any more.
    pub(crate) inode: u64,
    /// The user who made it, as seen from the user namespace of the diag socket.
    pub(crate) uid: u32,
    /// `SO_COOKIE`: never used twice as long as the machine runs.
    pub(crate) cookie: u64,
    /// The control group (of version 2) that it was made in, by the inode of its directory.
    pub(crate) cgroup: Option<u64>,
    /// Of a TCP connection, how much it has carried, if that was asked.
    pub(crate) carried: Option<Carried>,
}

/// What a TCP connection has carried, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// To the other end, which has acknowledged it; its SYN and FIN count as one byte each.
    pub(crate) sent: u64,
    /// From the other end.
    pub(crate) received: u64,
}

/// What a socket does with its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It takes connections (TCP), or datagrams from anybody (UDP).
    Listening,
    /// It has the port and does nothing with it: bound, and not listening.
    Bound,
    /// It is about to be connected.
    Connecting,
    /// It has a peer.
    Connected,
    /// One side at least has closed.
    Closing,
    /// It is closed, and the kernel keeps its flow from being used again (RFC 9293, section 3.6.1).
    TimeWait,
}

impl State {
    /// What the kernel's number means (`include/net/tcp_states.h`), which UDP borrows.
    pub(in crate::list) const fn of(number: u8, protocol: Protocol) -> Self {
        match (protocol, number) {
            (Protocol::Udp, 1) | (Protocol::Tcp, 1) => Self::Connected,
            (Protocol::Udp, _) | (Protocol::Tcp, 10) => Self::Listening,
            // SYN-SENT, SYN-RECEIVED, and a received SYN that is no socket yet.
            (Protocol::Tcp, 2 | 3 | 12) => Self::Connecting,
            (Protocol::Tcp, 6) => Self::TimeWait,
            // CLOSE is asked for only together with "bound", which is shown as CLOSE.
            (Protocol::Tcp, 7 | 13) => Self::Bound,
            (Protocol::Tcp, _) => Self::Closing,
        }
    }

    /// Its name, as JSON and tables have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Listening => "listening",
            Self::Bound => "bound",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Closing => "closing",
            Self::TimeWait => "time-wait",
        }
    }
}

/// The fixed part's length in bytes; attributes follow.
const FIXED_BYTES: usize = 72;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// `INET_DIAG_SKV6ONLY`: one byte.
const V6_ONLY: u16 = 11;

/// `INET_DIAG_CGROUP_ID`: eight bytes.
const CGROUP: u16 = 21;

/// The kind of `idiag_timer` that ends a socket: TIME-WAIT's, which lonely FIN-WAIT-2 sockets have too.
const TIME_WAIT_TIMER: u8 = 3;

/// The kernel writes this where a socket has no cgroup of version 2.
const NO_CGROUP: u64 = 0;

/// Reads one row; `Ok(None)` for a socket that has no port, `Err` if it is too short or of a strange family.
pub(super) fn read(protocol: Protocol, bytes: &[u8]) -> Result<Option<Socket>, Malformed> {
    let (fixed, attributes) = bytes
        .split_first_chunk::<FIXED_BYTES>()
        .ok_or(Malformed("a socket that is cut off"))?;
    let [family, state, timer, ..] = *fixed;
    let Some(port) = NonZeroU16::new(port_at(fixed, 4)) else {
        return Ok(None);
    };
    let mut socket = Socket {
        protocol,
        address: address_at(fixed, 8, family)?,
        port,
        state: State::of(state, protocol),
        peer: peer(fixed, family)?,
        expires: (timer == TIME_WAIT_TIMER)
            .then(|| Duration::from_millis(word_at(fixed, 52).into())),
        waiting: word_at(fixed, 56),
        ipv6_only: None,
        inode: u64::from(word_at(fixed, 68)),
        uid: word_at(fixed, 64),
        cookie: u64::from(word_at(fixed, 48)) << 32 | u64::from(word_at(fixed, 44)),
        cgroup: None,
        carried: None,
    };
    take_attributes(&mut socket, attributes)?;
    Ok(Some(socket))
}

/// Why a row can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// What the attributes add; those that aren't known are passed over.
fn take_attributes(socket: &mut Socket, mut bytes: &[u8]) -> Result<(), Malformed> {
    while let Some((head, rest)) = bytes.split_first_chunk::<4>() {
        let [a, b, c, d] = *head;
        let (length, kind) = (u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]));
        let length = usize::from(length)
            .checked_sub(head.len())
            .ok_or(Malformed("an attribute of no length"))?;
        let content = rest
            .get(..length)
            .ok_or(Malformed("an attribute that is cut off"))?;
        match (kind, content) {
            (V6_ONLY, [only, ..]) => socket.ipv6_only = Some(*only != 0),
            (CGROUP, content) => {
                let id = content.first_chunk().copied().map(u64::from_ne_bytes);
                socket.cgroup = id.filter(|&id| id != NO_CGROUP);
            }
            (INFO, content) => socket.carried = carried(content),
            _ => {}
        }
        // netlink(7): attributes are aligned to four bytes.
        bytes = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}

/// `tcpi_bytes_acked` and `tcpi_bytes_received`, which `struct tcp_info` has since Linux 4.1.
fn carried(info: &[u8]) -> Option<Carried> {
    let number = |at: usize| Some(u64::from_ne_bytes(*info.get(at..)?.first_chunk()?));
    Some(Carried {
        sent: number(120)?,
        received: number(128)?,
    })
}

fn peer(fixed: &[u8; FIXED_BYTES], family: u8) -> Result<Option<SocketAddr>, Malformed> {
    let port = port_at(fixed, 6);
    let address = address_at(fixed, 24, family)?;
    Ok((port != 0).then(|| SocketAddr::new(address, port)))
}

fn address_at(fixed: &[u8; FIXED_BYTES], at: usize, family: u8) -> Result<IpAddr, Malformed> {
    let bytes: [u8; 16] = fixed[at..at + 16].try_into().expect("sixteen bytes");
    match family {
        AF_INET => Ok(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
        AF_INET6 => Ok(Ipv6Addr::from(bytes).into()),
        _ => Err(Malformed("a socket of another family")),
    }
}

/// A port, in network byte order.
fn port_at(fixed: &[u8; FIXED_BYTES], at: usize) -> u16 {
    u16::from_be_bytes([fixed[at], fixed[at + 1]])
}

/// A number, in the machine's byte order.
fn word_at(fixed: &[u8; FIXED_BYTES], at: usize) -> u32 {
    u32::from_ne_bytes(fixed[at..at + 4].try_into().expect("four bytes"))
}
