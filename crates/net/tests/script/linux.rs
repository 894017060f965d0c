//! The kernel, over a TAP in a network namespace of its own, in real time.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, sockopt,
};
use wharf_link::{HEADER, Link, Slots, Tap};
use wharf_net::wire::ethernet::Mac;

use super::machine::{Machine, Read};
use super::parse::Family;
use crate::network::LEFT_MAC;
use crate::play::craft;

pub(crate) struct Linux {
    start: Instant,
    tap: Tap,
    slots: Slots,
    sent: VecDeque<(Duration, Vec<u8>)>,
    listener: Option<OwnedFd>,
    socket: Option<OwnedFd>,
    /// Sockets before that, kept open for as long as the script is played.
    others: Vec<OwnedFd>,
}

impl Linux {
    /// The kernel of this namespace behind a TAP called `wire` that is up and has the host's addresses, that of
    /// hardware too.
    pub(crate) fn new(tap: Tap) -> Self {
        Self {
            start: Instant::now(),
            tap,
            slots: Slots::default(),
            sent: VecDeque::new(),
            listener: None,
            socket: None,
            others: Vec::new(),
        }
    }

    /// Forgets the sockets of the script before, and what the kernel had to say about that.
    pub(crate) fn forget(&mut self) {
        self.abort();
        while let Some(socket) = self.others.pop() {
            self.socket = Some(socket);
            self.abort();
        }
        self.listener = None;
        let end = self.now() + Duration::from_millis(30);
        while self.now() < end {
            self.collect(end);
            self.sent.clear();
        }
    }

    /// Takes what the kernel has sent, or waits for it.
    fn collect(&mut self, until: Duration) {
        let mut any = false;
        while let Ok(frame) = self.slots.receive(&mut self.tap) {
            any = true;
            let frame = frame[HEADER..].to_vec();
            match craft::answer(&frame) {
                Some(answer) => self.give(answer),
                // Of everything that a kernel says by itself only this is about sockets.
                None if is_about_sockets(&frame) => self.sent.push_back((self.now(), frame)),
                None => {}
            }
        }
        if !any {
            let left = until.saturating_sub(self.now()).min(Duration::from_secs(1));
            let left = Timespec::try_from(left).expect("a second at most");
            let _ = poll(&mut [PollFd::new(&self.tap, PollFlags::IN)], Some(&left));
        }
    }

    fn socket(&self) -> &OwnedFd {
        self.socket
            .as_ref()
            .expect("a script has a socket before it calls")
    }

    fn open(&mut self, address: IpAddr) -> OwnedFd {
        let family = match address {
            IpAddr::V4(_) => AddressFamily::INET,
            IpAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(family, SocketType::STREAM, flags, None).expect("a socket");
        sockopt::set_tcp_congestion(&socket, "reno").expect("every kernel has it");
        // Where RFC 6093 §6 wants urgent data read; what is accepted has it from its listener.
        sockopt::set_socket_oobinline(&socket, true).expect("every kernel has it");
        socket
    }
}

fn is_about_sockets(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([8, 0]) => matches!(frame.get(23), Some(6 | 1)),
        Some([0x86, 0xdd]) => match frame.get(20) {
            Some(6) => true,
            Some(58) => frame.get(54).is_some_and(|kind| *kind < 128),
            _ => false,
        },
        _ => false,
    }
}

fn name(errno: Errno) -> &'static str {
    match errno {
        Errno::CONNREFUSED => "refused",
        Errno::CONNRESET | Errno::PIPE => "reset",
        Errno::TIMEDOUT => "timeout",
        Errno::HOSTUNREACH | Errno::NETUNREACH => "unreachable",
        _ => "another",
    }
}

impl Machine for Linux {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn slack(&self) -> Duration {
        Duration::from_millis(60)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(3)
    }

    fn mac(&self) -> Mac {
        LEFT_MAC
    }

    fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => [10, 0, 0, 1].into(),
            Family::V6 => "fd00::1".parse().expect("an address"),
        }
    }

    fn give(&mut self, frame: Vec<u8>) {
        let header = [0; HEADER];
        let sent = self
            .tap
            .send(&[IoSlice::new(&header), IoSlice::new(&frame)]);
        sent.expect("a TAP that is up takes frames");
    }

    fn sent(&mut self, until: Duration) -> Option<(Duration, Vec<u8>)> {
        loop {
            if let Some(sent) = self.sent.pop_front() {
                return Some(sent);
            }
            let over = self.now() >= until;
            self.collect(until);
            if over && self.sent.is_empty() {
                return None;
            }
        }
    }

    fn listen(&mut self, family: Family, port: u16, backlog: usize) {
        let address = self.address(family);
        let listener = self.open(address);
        rustix::net::bind(&listener, &SocketAddr::new(address, port)).expect("it is free");
        rustix::net::listen(&listener, backlog as i32).expect("it is free");
        self.listener = Some(listener);
    }

    fn connect(&mut self, to: IpAddr, port: u16) -> u16 {
        let socket = self.open(to);
        let _ = rustix::net::connect(&socket, &SocketAddr::new(to, port));
        let own = rustix::net::getsockname(&socket).expect("it has a port");
        self.socket = Some(socket);
        SocketAddr::try_from(own).expect("an IP address").port()
    }

    fn accept(&mut self) -> bool {
        let listener = self
            .listener
            .as_ref()
            .expect("a script listens before it accepts");
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accepted = rustix::net::accept_with(listener, flags);
        let Ok(accepted) = accepted else {
            return false;
        };
        self.others.extend(self.socket.replace(accepted));
        true
    }

    fn is_connected(&mut self) -> bool {
        rustix::net::getpeername(self.socket()).is_ok_and(|peer| peer.is_some())
    }

    fn write(&mut self, octets: &[u8]) -> usize {
        rustix::net::send(self.socket(), octets, SendFlags::NOSIGNAL).unwrap_or(0)
    }

    fn read(&mut self, count: usize) -> Read {
        let mut buffer = vec![0; count];
        match rustix::net::recv(self.socket(), &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => Read::End,
            Ok((got, _)) => {
                buffer.truncate(got);
                Read::Octets(buffer)
            }
            Err(Errno::AGAIN) => Read::Nothing,
            Err(errno) => Read::Error(name(errno)),
        }
    }

    fn error(&mut self) -> &'static str {
        match sockopt::socket_error(self.socket()) {
            Ok(Err(errno)) => name(errno),
            _ => "none",
        }
    }

    fn shutdown(&mut self) {
        let _ = rustix::net::shutdown(self.socket(), Shutdown::Write);
    }

    fn close(&mut self) {
        self.socket = None;
    }

    fn abort(&mut self) {
        if let Some(socket) = self.socket.take() {
            let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
        }
    }

    fn set(&mut self, words: &[String]) -> bool {
        let socket = self
            .socket
            .as_ref()
            .or(self.listener.as_ref())
            .expect("a script has a socket");
        let number = |at: usize| {
            words
                .get(at)
                .and_then(|word| word.parse::<u64>().ok())
                .unwrap_or(1)
        };
        let set = match words[0].as_str() {
            "nodelay" => sockopt::set_tcp_nodelay(socket, true),
            "cork" => sockopt::set_tcp_cork(socket, true),
            "uncork" => sockopt::set_tcp_cork(socket, false),
            "keepalive" => sockopt::set_tcp_keepidle(socket, Duration::from_secs(number(1)))
                .and_then(|()| sockopt::set_tcp_keepintvl(socket, Duration::from_secs(number(2))))
                .and_then(|()| sockopt::set_tcp_keepcnt(socket, number(3) as u32))
                .and_then(|()| sockopt::set_socket_keepalive(socket, true)),
            "user_timeout" => sockopt::set_tcp_user_timeout(socket, number(1) as u32 * 1000),
            "receive" => sockopt::set_socket_recv_buffer_size(socket, number(1) as usize),
            _ => return false,
        };
        set.is_ok()
    }
}
