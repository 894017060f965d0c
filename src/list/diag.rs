//! What the kernel says is bound: dumps of one network namespace's sockets.
//!
//! A `NETLINK_SOCK_DIAG` socket answers for the namespace that it was made in,
//! whoever holds it, and needs no capability. Four dumps (TCP and UDP, IPv4
//! and IPv6) name every TCP listener and every UDP socket that takes datagrams
//! from anybody. The kernel's own answer is the truth that everything else in
//! the list is held against.
//!
//! It doesn't say which process holds a socket: [`super::holders`] does. And it
//! doesn't follow events: give it a socket that has joined no multicast group,
//! because it throws away whatever it hasn't asked for.
//!
//! To have read: `sock_diag(7)`, `netlink(7)`.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla,
};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};

use super::Protocol;

/// One socket that takes connections (TCP) or datagrams from anybody (UDP).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Socket {
    /// TCP or UDP.
    pub(crate) protocol: Protocol,
    /// The address it is bound to; a wildcard is `0.0.0.0` or `::`.
    pub(crate) address: IpAddr,
    /// The port it is bound to.
    pub(crate) port: NonZeroU16,
    /// Whether an IPv6 socket leaves IPv4 to others (`IPV6_V6ONLY`); `None` for IPv4 sockets.
    pub(crate) ipv6_only: Option<bool>,
    /// The inode that `/proc/PID/fd` shows as `socket:[N]`; 0 when no process holds it any more.
    pub(crate) inode: u64,
    /// The user who made it, as seen from the user namespace of the diag socket.
    pub(crate) uid: u32,
    /// `SO_COOKIE`: never used twice as long as the machine runs.
    pub(crate) cookie: u64,
}

/// Why a dump failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DumpError {
    /// The diag socket could not be opened, or not be written or read.
    #[error("the kernel's list of sockets can't be read: {0}")]
    Socket(#[from] Errno),
    /// The kernel has no such list (its `tcp_diag` or `udp_diag` module is missing).
    #[error("the kernel refuses to list {protocol} sockets: {errno}")]
    Refused {
        /// What was asked for.
        protocol: Protocol,
        /// The kernel's answer.
        errno: Errno,
    },
    /// Every attempt was interrupted by changes or lost an answer.
    #[error("the kernel's list of sockets changed faster than it could be read")]
    Restless,
    /// An answer that `sock_diag(7)` doesn't allow.
    #[error("the kernel's list of sockets is malformed: {0}")]
    Malformed(String),
}

/// The longest answer the kernel puts together is 32 KiB; one that doesn't fit here was cut off.
const ANSWER_BYTES: usize = 64 * 1024;

/// How often an interrupted dump is begun anew.
const ATTEMPTS: usize = 8;

/// Tells one dump's answers from what an earlier, given-up dump left behind.
static SEQUENCE: AtomicU32 = AtomicU32::new(1);

/// Opens a diag socket of the network namespace that the calling thread is in.
pub(crate) fn open() -> Result<OwnedFd, DumpError> {
    Ok(rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(rustix::net::netlink::SOCK_DIAG),
    )?)
}

/// All TCP listeners and unconnected UDP sockets of the diag socket's namespace, in no order.
///
/// `diag` may be blocking or not. It must not be read by anybody else meanwhile.
pub(crate) fn dump(diag: BorrowedFd<'_>) -> Result<Vec<Socket>, DumpError> {
    let mut sockets = Vec::new();
    let mut buffer = vec![0; ANSWER_BYTES];
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for family in [AddressFamily::INET, AddressFamily::INET6] {
            dump_one(diag, protocol, family, &mut buffer, &mut sockets)?;
        }
    }
    // A socket that changes its place in the kernel's table during the dump may be met twice.
    sockets.sort_unstable_by_key(|socket| socket.cookie);
    sockets.dedup_by_key(|socket| socket.cookie);
    Ok(sockets)
}

/// One of the four dumps, begun anew until it was consistent.
fn dump_one(
    diag: BorrowedFd<'_>,
    protocol: Protocol,
    family: AddressFamily,
    buffer: &mut [u8],
    sockets: &mut Vec<Socket>,
) -> Result<(), DumpError> {
    let before = sockets.len();
    for _ in 0..ATTEMPTS {
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let request = request(protocol, family, sequence);
        rustix::net::send(diag, &request, SendFlags::empty())?;
        match collect(diag, protocol, sequence, buffer, sockets)? {
            Outcome::Complete => return Ok(()),
            Outcome::Interrupted => {
                sockets.truncate(before);
                drain(diag, buffer)?;
            }
        }
    }
    Err(DumpError::Restless)
}

/// How a dump ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It is whole.
    Complete,
    /// Something changed or got lost on the way: ask again.
    Interrupted,
}

/// Reads answers up to the end of the dump.
fn collect(
    diag: BorrowedFd<'_>,
    protocol: Protocol,
    sequence: u32,
    buffer: &mut [u8],
    sockets: &mut Vec<Socket>,
) -> Result<Outcome, DumpError> {
    let mut reading = Reading {
        protocol,
        sequence,
        consistency: Outcome::Complete,
    };
    loop {
        // The kernel has the next answer ready before it returns the one before it, so not to
        // wait loses nothing, and a lost answer can't hang the caller.
        let flags = RecvFlags::TRUNC | RecvFlags::DONTWAIT;
        let length = match rustix::net::recv(diag, &mut *buffer, flags) {
            Ok((_, length)) => length,
            Err(Errno::INTR) => continue,
            Err(Errno::NOBUFS | Errno::AGAIN) => return Ok(Outcome::Interrupted),
            Err(errno) => return Err(errno.into()),
        };
        let Some(answer) = buffer.get(..length) else {
            return Ok(Outcome::Interrupted);
        };
        if let Some(outcome) = reading.answer(answer, sockets)? {
            return Ok(outcome);
        }
    }
}

/// Throws away what a given-up dump has left, so that the next one isn't refused as a second.
fn drain(diag: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(), DumpError> {
    loop {
        match rustix::net::recv(diag, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok(_) | Err(Errno::INTR | Errno::NOBUFS) => {}
            Err(Errno::AGAIN) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The bytes that ask for one dump.
fn request(protocol: Protocol, family: AddressFamily, sequence: u32) -> Vec<u8> {
    let (number, states) = match protocol {
        Protocol::Tcp => (ipproto::TCP, StateFlags::LISTEN),
        // UDP knows two of TCP's states: CLOSE is an unconnected socket.
        Protocol::Udp => (ipproto::UDP, StateFlags::CLOSE),
    };
    let socket_id = if family == AddressFamily::INET {
        SocketId::new_v4()
    } else {
        SocketId::new_v6()
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = sequence;
    let message = SockDiagMessage::InetRequest(InetRequest {
        family: u8::try_from(family.as_raw()).expect("AF_INET and AF_INET6 are below 256"),
        protocol: u8::try_from(number.as_raw().get()).expect("TCP and UDP are below 256"),
        extensions: ExtensionFlags::empty(),
        states,
        socket_id,
    });
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// The state of one dump while its answers come in.
#[derive(Debug)]
struct Reading {
    protocol: Protocol,
    sequence: u32,
    consistency: Outcome,
}

impl Reading {
    /// Takes one answer, which holds several messages; `Some` when it was the last.
    fn answer(
        &mut self,
        mut bytes: &[u8],
        sockets: &mut Vec<Socket>,
    ) -> Result<Option<Outcome>, DumpError> {
        while !bytes.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(bytes)
                .map_err(|error| DumpError::Malformed(error.to_string()))?;
            let length = usize::try_from(message.header.length)
                .map_err(|_| DumpError::Malformed("an endless message".to_owned()))?;
            // netlink(7): messages are aligned to four bytes.
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
            if message.header.sequence_number != self.sequence {
                continue;
            }
            if message.header.flags & NLM_F_DUMP_INTR != 0 {
                self.consistency = Outcome::Interrupted;
            }
            if let Some(outcome) = self.message(message.payload, sockets)? {
                return Ok(Some(outcome));
            }
        }
        Ok(None)
    }

    /// Takes one message; `Some` when it ends the dump.
    fn message(
        &self,
        payload: NetlinkPayload<SockDiagMessage>,
        sockets: &mut Vec<Socket>,
    ) -> Result<Option<Outcome>, DumpError> {
        match payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                sockets.extend(socket(self.protocol, &response));
                Ok(None)
            }
            NetlinkPayload::Done(done) => match done.code {
                0.. => Ok(Some(self.consistency)),
                code => Err(self.refused(code)),
            },
            NetlinkPayload::Error(error) => match error.code {
                None => Ok(None),
                Some(code) if Errno::from_raw_os_error(-code.get()) == Errno::BUSY => {
                    Ok(Some(Outcome::Interrupted))
                }
                Some(code) => Err(self.refused(code.get())),
            },
            NetlinkPayload::Overrun(_) => Ok(Some(Outcome::Interrupted)),
            _ => Ok(None),
        }
    }

    /// The error that a negative errno of the kernel means.
    fn refused(&self, code: i32) -> DumpError {
        let errno = Errno::from_raw_os_error(code.saturating_neg());
        DumpError::Refused {
            protocol: self.protocol,
            errno,
        }
    }
}

/// What one answer says; `None` for a socket that is bound to no port.
fn socket(protocol: Protocol, response: &InetResponse) -> Option<Socket> {
    let header = &response.header;
    let port = NonZeroU16::new(header.socket_id.source_port)?;
    let ipv6_only = response.nlas.iter().find_map(|attribute| match attribute {
        Nla::SkV6Only(only) => Some(*only),
        _ => None,
    });
    Some(Socket {
        protocol,
        address: header.socket_id.source_address,
        port,
        ipv6_only,
        inode: u64::from(header.inode),
        uid: header.uid,
        cookie: cookie(header.socket_id.cookie),
    })
}

/// Joins a cookie's two halves: the lower one comes first, each in the machine's byte order.
fn cookie(bytes: [u8; 8]) -> u64 {
    let [a, b, c, d, e, f, g, h] = bytes;
    let low = u32::from_ne_bytes([a, b, c, d]);
    let high = u32::from_ne_bytes([e, f, g, h]);
    u64::from(high) << 32 | u64::from(low)
}
