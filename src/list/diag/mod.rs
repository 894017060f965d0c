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

mod request;
mod row;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::Protocol;

pub(crate) use request::{Bytes, States, Wanted};
pub(crate) use row::{Carried, Socket, State};

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
    Malformed(&'static str),
}

/// The longest answer the kernel puts together is 32 KiB; one that doesn't fit here was cut off.
const ANSWER_BYTES: usize = 64 * 1024;

/// The kernel's error numbers are below this.
const MAX_ERRNO: i32 = 4095;

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

/// Whether the kernel shows TCP sockets that are bound and do not listen, which it does from Linux 6.8 on.
pub(crate) fn shows_bound() -> bool {
    let system = rustix::system::uname();
    release(&system.release().to_string_lossy()).is_none_or(|release| release >= (6, 8))
}

/// The first two numbers of a kernel's release, such as `6.18.44-fc`.
fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text
        .split(|letter: char| !letter.is_ascii_digit())
        .map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// All TCP listeners and unconnected UDP sockets of the diag socket's namespace, in no order.
///
/// `diag` may be blocking or not. It must not be read by anybody else meanwhile.
pub(crate) fn dump(diag: BorrowedFd<'_>) -> Result<Vec<Socket>, DumpError> {
    dump_wanted(diag, &Wanted::LISTENERS)
}

/// All sockets of the diag socket's namespace that are wanted, in no order; otherwise as [`dump`].
///
/// Before Linux 6.8 the kernel doesn't show TCP sockets that are bound and do not listen.
pub(crate) fn dump_wanted(diag: BorrowedFd<'_>, wanted: &Wanted) -> Result<Vec<Socket>, DumpError> {
    let mut sockets = Vec::new();
    let mut buffer = vec![0; ANSWER_BYTES];
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        if wanted.protocol.is_some_and(|only| only != protocol) {
            continue;
        }
        for family in [AddressFamily::INET, AddressFamily::INET6] {
            dump_one(diag, protocol, family, wanted, &mut buffer, &mut sockets)?;
        }
    }
    // A socket that changes its place in the kernel's table during the dump may be met twice. In TIME-WAIT it has no
    // cookie, but its flow is its own.
    sockets.sort_unstable_by_key(|socket| (socket.cookie, socket.port, socket.peer));
    sockets.dedup_by_key(|socket| {
        (
            socket.cookie,
            socket.protocol,
            socket.address,
            socket.port,
            socket.peer,
        )
    });
    Ok(sockets)
}

/// The socket that a message of the kernel's groups about ended sockets is about; `None` if it isn't about one that had a port.
///
/// Behind the header there is what a dump has, and of TCP what it has carried.
pub(crate) fn ended(message: &[u8]) -> Option<Socket> {
    // Of UDP there is nothing more to know, and nothing that looks like a connection that was made.
    row::read(Protocol::Tcp, message.get(HEAD_BYTES..)?).ok()?
}

/// One of the four dumps, begun anew until it was consistent.
fn dump_one(
    diag: BorrowedFd<'_>,
    protocol: Protocol,
    family: AddressFamily,
    wanted: &Wanted,
    buffer: &mut [u8],
    sockets: &mut Vec<Socket>,
) -> Result<(), DumpError> {
    let before = sockets.len();
    for _ in 0..ATTEMPTS {
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let request = request::bytes(protocol, family, wanted, sequence);
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

/// The state of one dump while its answers come in.
#[derive(Debug)]
struct Reading {
    protocol: Protocol,
    sequence: u32,
    consistency: Outcome,
}

/// A message's head (`struct nlmsghdr`) in bytes.
const HEAD_BYTES: usize = 16;

// Kinds of messages, netlink(7).
const ERROR: u16 = 2;
const DONE: u16 = 3;
const OVERRUN: u16 = 4;

/// Something changed while the kernel dumped (`NLM_F_DUMP_INTR`).
const INTERRUPTED: u16 = 16;

impl Reading {
    /// Takes one answer, which holds several messages; `Some` when it was the last.
    fn answer(
        &mut self,
        mut bytes: &[u8],
        sockets: &mut Vec<Socket>,
    ) -> Result<Option<Outcome>, DumpError> {
        while !bytes.is_empty() {
            let malformed = || DumpError::Malformed("a message that is cut off");
            let head: &[u8; HEAD_BYTES] = bytes.first_chunk().ok_or_else(malformed)?;
            let word = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
            let length = usize::try_from(u32::from_ne_bytes(word(0))).unwrap_or(usize::MAX);
            let content = bytes.get(HEAD_BYTES..length).ok_or_else(malformed)?;
            let (kind, flags) = (
                u16::from_ne_bytes([head[4], head[5]]),
                u16::from_ne_bytes([head[6], head[7]]),
            );
            // netlink(7): messages are aligned to four bytes.
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
            if u32::from_ne_bytes(word(8)) != self.sequence {
                continue;
            }
            if flags & INTERRUPTED != 0 {
                self.consistency = Outcome::Interrupted;
            }
            if let Some(outcome) = self.message(kind, content, sockets)? {
                return Ok(Some(outcome));
            }
        }
        Ok(None)
    }

    /// Takes one message; `Some` when it ends the dump.
    fn message(
        &self,
        kind: u16,
        content: &[u8],
        sockets: &mut Vec<Socket>,
    ) -> Result<Option<Outcome>, DumpError> {
        let code = || content.first_chunk().copied().map_or(0, i32::from_ne_bytes);
        match kind {
            request::BY_FAMILY => {
                let socket = row::read(self.protocol, content);
                sockets.extend(socket.map_err(|row::Malformed(what)| DumpError::Malformed(what))?);
                Ok(None)
            }
            DONE if code() >= 0 => Ok(Some(self.consistency)),
            // An acknowledgment is an error of number 0.
            ERROR if code() == 0 => Ok(None),
            DONE | ERROR => self.refused(code()),
            OVERRUN => Ok(Some(Outcome::Interrupted)),
            _ => Ok(None),
        }
    }

    /// What a negative error number of the kernel means for the dump.
    fn refused(&self, code: i32) -> Result<Option<Outcome>, DumpError> {
        if !(-MAX_ERRNO..0).contains(&code) {
            return Err(DumpError::Malformed("an error number that is none"));
        }
        match Errno::from_raw_os_error(-code) {
            // An earlier dump on this socket was never read to its end.
            Errno::BUSY => Ok(Some(Outcome::Interrupted)),
            errno => Err(DumpError::Refused {
                protocol: self.protocol,
                errno,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
    use std::num::NonZeroU16;
    use std::os::fd::AsFd;

    use proptest::prelude::*;
    use rustix::net::{SocketAddrV6, sockopt};

    use super::*;

    /// The dumped row of the socket behind `fd`.
    fn find(sockets: &[Socket], fd: impl AsFd) -> Option<Socket> {
        let cookie = sockopt::socket_cookie(fd).unwrap();
        sockets
            .iter()
            .find(|socket| socket.cookie == cookie)
            .copied()
    }

    fn dump_machine() -> Vec<Socket> {
        dump(open().unwrap().as_fd()).unwrap()
    }

    /// A TCP listener at a port of `::`, with `IPV6_V6ONLY` on or off.
    fn listener_v6(only: bool) -> OwnedFd {
        let socket = rustix::net::socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
        sockopt::set_ipv6_v6only(&socket, only).unwrap();
        let any = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0);
        rustix::net::bind(&socket, &any).unwrap();
        rustix::net::listen(&socket, 1).unwrap();
        socket
    }

    #[test]
    fn tcp_listeners_are_found_with_address_port_inode_and_owner() {
        let any = TcpListener::bind("0.0.0.0:0").unwrap();
        let one = TcpListener::bind("127.77.1.2:0").unwrap();
        let sockets = dump_machine();
        for listener in [&any, &one] {
            let address = listener.local_addr().unwrap();
            let found = find(&sockets, listener).unwrap();
            assert_eq!(found.protocol, Protocol::Tcp);
            assert_eq!(found.address, address.ip());
            assert_eq!(found.port.get(), address.port());
            assert_eq!(found.ipv6_only, None);
            assert_eq!(found.inode, rustix::fs::fstat(listener).unwrap().st_ino);
            assert_eq!(found.uid, rustix::process::geteuid().as_raw());
        }
    }

    #[test]
    fn an_ipv6_wildcard_tells_whether_it_takes_ipv4_too() {
        let (dual, only) = (listener_v6(false), listener_v6(true));
        let sockets = dump_machine();
        let (dual, only) = (
            find(&sockets, &dual).unwrap(),
            find(&sockets, &only).unwrap(),
        );
        assert_eq!(dual.address, Ipv6Addr::UNSPECIFIED);
        assert_eq!(dual.ipv6_only, Some(false));
        assert_eq!(only.address, Ipv6Addr::UNSPECIFIED);
        assert_eq!(only.ipv6_only, Some(true));
    }

    #[test]
    fn udp_counts_unless_it_is_connected() {
        let open_to_all = UdpSocket::bind("127.0.0.1:0").unwrap();
        let six = UdpSocket::bind("[::1]:0").unwrap();
        let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
        connected
            .connect(open_to_all.local_addr().unwrap())
            .unwrap();
        let sockets = dump_machine();
        let found = find(&sockets, &open_to_all).unwrap();
        assert_eq!(found.protocol, Protocol::Udp);
        assert_eq!(found.address, Ipv4Addr::LOCALHOST);
        assert_eq!(found.port.get(), open_to_all.local_addr().unwrap().port());
        assert_eq!(find(&sockets, &six).unwrap().address, Ipv6Addr::LOCALHOST);
        assert_eq!(find(&sockets, &connected), None);
    }

    #[test]
    fn what_is_bound_or_connected_only_is_no_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let bound = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        let address = std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        rustix::net::bind(&bound, &address).unwrap();
        let sockets = dump_machine();
        assert!(find(&sockets, &listener).is_some());
        assert_eq!(find(&sockets, &client), None);
        assert_eq!(find(&sockets, &bound), None);
    }

    #[test]
    fn what_is_wanted_besides_is_found_and_nothing_at_other_ports() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let port = client.local_addr().unwrap().port();
        let wanted = |states, port| Wanted {
            bytes: Bytes::Untold,
            states,
            protocol: Some(Protocol::Tcp),
            port: NonZeroU16::new(port),
        };
        let ask = |wanted: &Wanted| dump_wanted(open().unwrap().as_fd(), wanted).unwrap();
        let [found] = ask(&wanted(States::All, port))[..] else {
            panic!("one socket has that port");
        };
        assert_eq!(found.state, State::Connected);
        assert_eq!(found.peer, listener.local_addr().ok());
        assert_eq!(ask(&wanted(States::Idle, port)), []);
        let at_listener = ask(&wanted(States::All, listener.local_addr().unwrap().port()));
        let listening = find(&at_listener, &listener).unwrap();
        // The connection waits to be accepted.
        assert_eq!((listening.state, listening.waiting), (State::Listening, 1));
        let udp = Wanted {
            bytes: Bytes::Untold,
            protocol: Some(Protocol::Udp),
            ..wanted(States::All, port)
        };
        assert!(ask(&udp).iter().all(|it| it.protocol == Protocol::Udp));
    }

    #[test]
    fn releases_are_numbers() {
        assert_eq!(release("6.18.44-fc-v657"), Some((6, 18)));
        assert_eq!(release("5.14.0-427.el9"), Some((5, 14)));
        assert_eq!(release("next"), None);
    }

    #[test]
    fn more_listeners_than_one_answer_holds_are_all_found_once() {
        let listeners: Vec<_> = (0..400)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let sockets = dump_machine();
        for listener in &listeners {
            assert!(find(&sockets, listener).is_some());
        }
        let cookies: std::collections::HashSet<_> =
            sockets.iter().map(|socket| socket.cookie).collect();
        assert_eq!(cookies.len(), sockets.len());
    }

    #[test]
    fn answers_to_a_dump_that_nobody_read_do_no_harm() {
        let listeners: Vec<_> = (0..400)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let diag = open().unwrap();
        // Unread and longer than one answer, so the kernel refuses a second dump meanwhile.
        let stale = request::bytes(
            Protocol::Tcp,
            AddressFamily::INET,
            &Wanted::LISTENERS,
            0xdead_beef,
        );
        rustix::net::send(&diag, &stale, SendFlags::empty()).unwrap();
        let sockets = dump(diag.as_fd()).unwrap();
        for listener in &listeners {
            assert!(find(&sockets, listener).is_some());
        }
    }

    /// One netlink message of `kind` with these flags and this content.
    fn message(kind: u16, flags: u16, sequence: u32, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + content.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// The content of an answer about an IPv4 socket bound to this port.
    fn row(port: u16) -> Vec<u8> {
        let mut row = vec![2, 10, 0, 0];
        row.extend(port.to_be_bytes());
        row.extend([0; 2]);
        row.extend([127, 0, 0, 1]);
        row.extend([0; 12 + 16 + 4]);
        row.extend(7_u32.to_ne_bytes());
        row.extend(1_u32.to_ne_bytes());
        row.extend([0; 12]);
        row.extend(1001_u32.to_ne_bytes());
        row.extend(4242_u32.to_ne_bytes());
        row
    }

    const ROW: u16 = 20;

    /// Feeds one answer to a reading of sequence 5.
    fn read(bytes: &[u8]) -> (Result<Option<Outcome>, DumpError>, Vec<Socket>) {
        let mut reading = Reading {
            protocol: Protocol::Tcp,
            sequence: 5,
            consistency: Outcome::Complete,
        };
        let mut sockets = Vec::new();
        (reading.answer(bytes, &mut sockets), sockets)
    }

    #[test]
    fn a_row_is_read_field_by_field() {
        let bytes = [message(ROW, 2, 5, &row(3000)), message(DONE, 2, 5, &[0; 4])].concat();
        let (outcome, sockets) = read(&bytes);
        assert_eq!(outcome.unwrap(), Some(Outcome::Complete));
        let expected = Socket {
            protocol: Protocol::Tcp,
            address: Ipv4Addr::LOCALHOST.into(),
            port: NonZeroU16::new(3000).unwrap(),
            state: State::Listening,
            peer: None,
            expires: None,
            waiting: 0,
            ipv6_only: None,
            inode: 4242,
            uid: 1001,
            cookie: 0x1_0000_0007,
            cgroup: None,
            carried: None,
        };
        assert_eq!(sockets, [expected]);
    }

    #[test]
    fn an_unbound_socket_and_another_dumps_answer_are_passed_over() {
        let bytes = [
            message(ROW, 2, 5, &row(0)),
            message(ROW, 2, 4, &row(3000)),
            message(DONE, 2, 4, &[0; 4]),
        ];
        let (outcome, sockets) = read(&bytes.concat());
        assert_eq!(outcome.unwrap(), None);
        assert_eq!(sockets, []);
    }

    #[test]
    fn an_interrupted_or_overrun_dump_is_not_complete() {
        let interrupted = [
            message(ROW, 2 | 16, 5, &row(3000)),
            message(DONE, 2, 5, &[0; 4]),
        ]
        .concat();
        assert_eq!(read(&interrupted).0.unwrap(), Some(Outcome::Interrupted));
        let at_the_end = message(DONE, 2 | 16, 5, &[0; 4]);
        assert_eq!(read(&at_the_end).0.unwrap(), Some(Outcome::Interrupted));
        let overrun = message(OVERRUN, 2, 5, &[0; 4]);
        assert_eq!(read(&overrun).0.unwrap(), Some(Outcome::Interrupted));
    }

    #[test]
    fn the_kernels_refusal_is_an_error_unless_it_is_busy() {
        let refusal = |errno: Errno| {
            let code = (-errno.raw_os_error()).to_ne_bytes();
            message(ERROR, 0, 5, &[&code[..], &[0; 16]].concat())
        };
        assert_eq!(
            read(&refusal(Errno::BUSY)).0.unwrap(),
            Some(Outcome::Interrupted)
        );
        let Err(DumpError::Refused { protocol, errno }) = read(&refusal(Errno::NOENT)).0 else {
            panic!("an error of the kernel is an error");
        };
        assert_eq!((protocol, errno), (Protocol::Tcp, Errno::NOENT));
        for code in [i32::MIN, -4096, 1, i32::MAX] {
            let strange = message(ERROR, 0, 5, &[&code.to_ne_bytes()[..], &[0; 16]].concat());
            assert!(
                matches!(read(&strange).0, Err(DumpError::Malformed(_))),
                "{code}"
            );
        }
        let failed = message(DONE, 2, 5, &(-Errno::NOMEM.raw_os_error()).to_ne_bytes());
        assert!(matches!(
            read(&failed).0,
            Err(DumpError::Refused {
                errno: Errno::NOMEM,
                ..
            })
        ));
    }

    #[test]
    fn a_message_that_lies_about_its_length_is_malformed() {
        for length in [0_u32, 15, 1000, u32::MAX] {
            let mut bytes = message(ROW, 2, 5, &row(3000));
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(
                matches!(read(&bytes).0, Err(DumpError::Malformed(_))),
                "{length}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_answer_can_hurt(
            kind in 0_u16..22,
            content in proptest::collection::vec(any::<u8>(), 0..200),
            length in 0_u32..240,
        ) {
            let mut bytes = message(kind, 2, 5, &content);
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            let (_, sockets) = read(&bytes);
            prop_assert!(sockets.len() <= 3);
        }
    }
}
