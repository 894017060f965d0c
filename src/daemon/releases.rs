//! The ends of sockets in one space, as the kernel announces them.
//!
//! `NETLINK_SOCK_DIAG` has four multicast groups that tell of each Internet socket that is destroyed: TCP and UDP, IPv4 and
//! IPv6. They need no capability. What they tell of all the space's connections costs some microseconds each, so where
//! connections end by the thousand, the groups are left for a while; the record is then compared with the
//! kernel's list more often instead.
//!
//! To have read: `sock_diag(7)`, `netlink(7)`.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{RecvFlags, bind, getsockname, recv, sockopt};

use crate::sys;

/// `SKNLGRP_INET_TCP_DESTROY` to `SKNLGRP_INET6_UDP_DESTROY`, groups 1 to 4.
const GROUPS: u32 = 0b1111;
/// As many messages within [`WINDOW`] are worth hearing.
const BEARABLE: u32 = 2000;
const WINDOW: Duration = Duration::from_secs(1);
/// How long the groups are left at first, and at most; each time twice as long.
const REST: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(64));
/// Bytes that the kernel may keep for this socket; it grants less where `net.core.rmem_max` says so.
const BACKLOG: usize = 4 << 20;

/// Hears of sockets that end.
#[derive(Debug)]
pub(super) struct Releases {
    socket: OwnedFd,
    /// This socket's netlink address.
    port: u32,
    rate: RefCell<Rate>,
}

/// What was heard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Cookies of sockets that are no more.
    pub(super) ended: Vec<u64>,
    /// Whether there were more that can't be told.
    pub(super) missed: bool,
}

impl Releases {
    /// Listens with a diag socket of the space, which has asked nothing yet.
    pub(super) fn listen(socket: OwnedFd) -> io::Result<Self> {
        sockopt::set_socket_recv_buffer_size(&socket, BACKLOG)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        let address = SocketAddrNetlink::try_from(getsockname(&socket)?)?;
        Ok(Self {
            port: address.pid(),
            socket,
            rate: RefCell::new(Rate::new(Instant::now())),
        })
    }

    /// Waits until there is something to hear. As long as nobody waits here, nothing that comes wakes this thread.
    pub(super) async fn arrival(&self) {
        let waited = match self.socket.try_clone().and_then(sys::awaitable) {
            Ok(socket) => socket.readable().await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = waited {
            tracing::error!("ends of sockets are not heard: {error}");
            std::future::pending().await
        }
    }

    /// Whether every end is announced at present.
    pub(super) fn complete(&self) -> bool {
        self.rate.borrow().resting_until.is_none()
    }

    /// Everything that there is to hear, without waiting; `each` hears every message as it came.
    pub(super) fn hear(&self, now: Instant, mut each: impl FnMut(&[u8])) -> Heard {
        let mut heard = Heard::default();
        let mut buffer = [0; 8 << 10];
        loop {
            match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, length)) => {
                    let message = &buffer[..length.min(buffer.len())];
                    heard.ended.extend(cookie(message));
                    each(message);
                    if self.rate.borrow_mut().count(now) == Turn::Rest {
                        self.join(0);
                        heard.missed = true;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => heard.missed = true,
                Err(_) => break,
            }
        }
        if self.rate.borrow_mut().look(now) == Turn::Resume {
            self.join(GROUPS);
            // What ended meanwhile.
            heard.missed = true;
        }
        heard
    }

    fn join(&self, groups: u32) {
        let address = SocketAddrNetlink::new(self.port, groups);
        if let Err(error) = bind(self.socket.as_fd(), &address) {
            tracing::error!("cannot change what is heard of sockets: {error}");
        }
    }
}

/// The cookie in one message: behind the header (16 bytes) there is `struct inet_diag_msg`, with its
/// `struct inet_diag_sockid` at 4, and in that the cookie at 40, in two halves, the lower one first.
fn cookie(message: &[u8]) -> Option<u64> {
    const AT: usize = 16 + 4 + 40;
    let half = |at: usize| {
        Some(u32::from_ne_bytes(
            message.get(at..at + 4)?.try_into().ok()?,
        ))
    };
    Some(u64::from(half(AT)?) | u64::from(half(AT + 4)?) << 32)
}

/// How fast messages come, and whether they are worth it.
#[derive(Debug)]
struct Rate {
    since: Instant,
    count: u32,
    rest: Duration,
    resting_until: Option<Instant>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// Nothing.
    GoOn,
    /// Leave the groups.
    Rest,
    /// Join them again.
    Resume,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            count: 0,
            rest: REST.0,
            resting_until: None,
        }
    }

    /// One more message.
    fn count(&mut self, now: Instant) -> Turn {
        if now.duration_since(self.since) >= WINDOW {
            if self.count < BEARABLE / 2 {
                self.rest = REST.0;
            }
            (self.since, self.count) = (now, 0);
        }
        self.count += 1;
        if self.count < BEARABLE || self.resting_until.is_some() {
            return Turn::GoOn;
        }
        self.resting_until = Some(now + self.rest);
        self.rest = (self.rest * 2).min(REST.1);
        Turn::Rest
    }

    fn look(&mut self, now: Instant) -> Turn {
        match self.resting_until {
            Some(until) if now >= until => {
                self.resting_until = None;
                (self.since, self.count) = (now, 0);
                Turn::Resume
            }
            _ => Turn::GoOn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[tokio::test]
    async fn the_end_of_a_socket_is_heard_by_its_cookie() {
        let releases = Releases::listen(crate::list::diag::open().unwrap()).unwrap();
        let (tcp, udp) = (
            TcpListener::bind("127.0.0.1:0").unwrap(),
            UdpSocket::bind("[::1]:0").unwrap(),
        );
        let cookies = [
            sockopt::socket_cookie(&tcp).unwrap(),
            sockopt::socket_cookie(&udp).unwrap(),
        ];
        drop((tcp, udp));
        let mut heard = Vec::new();
        while !cookies.iter().all(|cookie| heard.contains(cookie)) {
            releases.arrival().await;
            heard.extend(releases.hear(Instant::now(), |_| {}).ended);
        }
    }

    #[test]
    fn too_many_messages_are_not_worth_hearing_for_longer_and_longer() {
        let begin = Instant::now();
        let mut rate = Rate::new(begin);
        let mut now = begin;
        let mut rests = Vec::new();
        for _ in 0..8 {
            let turns: Vec<_> = (0..BEARABLE).map(|_| rate.count(now)).collect();
            let (last, before) = turns.split_last().unwrap();
            assert_eq!(*last, Turn::Rest);
            assert!(before.iter().all(|turn| *turn == Turn::GoOn));
            let until = rate.resting_until.unwrap();
            rests.push(until.duration_since(now).as_secs());
            assert_eq!(rate.look(until - Duration::from_nanos(1)), Turn::GoOn);
            assert_eq!(rate.look(until), Turn::Resume);
            now = until;
        }
        assert_eq!(rests, [2, 4, 8, 16, 32, 64, 64, 64]);
        // A quiet while, and the next rest is short again.
        rate.count(now);
        now += WINDOW;
        let turns = (0..BEARABLE).map(|_| rate.count(now)).last().unwrap();
        assert_eq!(turns, Turn::Rest);
        assert_eq!(rate.resting_until, Some(now + REST.0));
    }

    #[test]
    fn a_message_that_is_cut_off_has_no_cookie() {
        let mut message = [0; 68];
        message[60..68].copy_from_slice(&[1, 0, 0, 0, 2, 0, 0, 0]);
        let (low, high) = (1_u32, 2_u32);
        if cfg!(target_endian = "little") {
            assert_eq!(
                cookie(&message),
                Some(u64::from(high) << 32 | u64::from(low))
            );
        }
        assert_eq!(cookie(&message[..67]), None);
        assert_eq!(cookie(&[]), None);
    }
}
