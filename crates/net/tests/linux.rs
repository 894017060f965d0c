//! Against Linux: streams to and from a kernel's sockets over a TAP whose two directions lose and delay packets.
//!
//! It runs in a user and network namespace of its own, and says so where there are none to be had. `LINUX_OCTETS` says how
//! much is sent each way in each case; what it took is printed.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant as Clock};
use std::{env, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::{AsFd, OwnedFd};
use wharf_link::{Impaired, Impairment, Link, Slots, Tap, memory};
use wharf_net::tcp::State;
use wharf_net::wire::ethernet::Mac;
use wharf_net::{Capabilities, Config, Frame, Host, Instant, SocketId};
use wharf_port::{Domain, Protocol};

const INSIDE: &str = "WHARF_NET_TEST_INSIDE";
const KERNEL: [&str; 2] = ["10.9.0.1", "fd09::1"];
const OURS: [&str; 2] = ["10.9.0.2", "fd09::2"];

/// Whether this is the run inside of a namespace; outside, begins it and is false.
fn inside() -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let possible = Command::new("unshare")
        .args([
            "--map-root-user",
            "--net",
            "ip",
            "tuntap",
            "add",
            "t",
            "mode",
            "tap",
        ])
        .output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no TAP in a namespace of one's own here");
        return false;
    }
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "--"])
        .arg(env::current_exe().unwrap())
        .arg("--nocapture")
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "inside the namespace:\n{said}");
    false
}

fn ip(line: &str) {
    let status = Command::new("ip").args(line.split(' ')).status().unwrap();
    assert!(status.success(), "ip {line}");
}

/// Our host, and both directions of the wire.
struct World {
    start: Clock,
    host: Host,
    fd: OwnedFd,
    out: Impaired<Tap>,
    back: Impaired<memory::End>,
    arrived: memory::End,
    slots: [Slots; 2],
}

impl World {
    fn new(impairment: Impairment) -> Self {
        let tap = Tap::open("wire", 1500).unwrap();
        // Trains would be lost whole.
        ip("link set wire mtu 1500 gso_max_segs 1 up");
        ip("addr add 10.9.0.1/24 dev wire");
        ip("addr add fd09::1/64 dev wire nodad");
        let mut config = Config::new(Mac([2, 0, 0, 0, 9, 2]), [9; 32]);
        config.addresses = vec![
            "10.9.0.2/24".parse().unwrap(),
            "fd09::2/64".parse().unwrap(),
        ];
        config.capabilities = Capabilities::NONE;
        let (into, arrived) = memory::pair(4096, 1500, tap.capabilities());
        Self {
            start: Clock::now(),
            host: Host::new(config),
            fd: tap.as_fd().try_clone_to_owned().unwrap(),
            out: Impaired::new(tap, impairment, 1),
            back: Impaired::new(into, impairment, 2),
            arrived,
            slots: [Slots::default(), Slots::default()],
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(1_000_000_000 + self.start.elapsed().as_nanos() as u64)
    }

    /// Moves frames, and waits for the next thing to happen.
    fn turn(&mut self) {
        let now = self.now();
        let [from_tap, from_wire] = &mut self.slots;
        self.back.advance(self.start.elapsed()).unwrap();
        self.out.advance(self.start.elapsed()).unwrap();
        while let Some(frame) = received(from_tap.receive(&mut self.out)) {
            self.back.send(&[IoSlice::new(&frame)]).unwrap();
        }
        while let Some(frame) = received(from_wire.receive(&mut self.arrived)) {
            if let Ok(frame) = Frame::from_link(frame) {
                self.host.receive(now, frame);
            }
        }
        if self.host.deadline().is_some_and(|at| at <= now) {
            self.host.expire(now);
        }
        while let Some(frame) = self.host.transmit(now) {
            self.out.send(&[IoSlice::new(&frame.to_link())]).unwrap();
        }
        while self.host.event().is_some() {}
    }

    fn wait(&self) {
        let wire = [self.out.deadline(), self.back.deadline()];
        let wire = wire.into_iter().flatten().min();
        let wire = wire.map(|at| at.saturating_sub(self.start.elapsed()));
        let timer = self.host.deadline().map(|at| at - self.now());
        let patience = [wire, timer, Some(Duration::from_millis(100))];
        let patience = patience.into_iter().flatten().min().unwrap();
        let patience = Timespec::try_from(patience).unwrap();
        poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&patience)).unwrap();
    }

    fn open(&mut self, domain: Domain) -> SocketId {
        self.host.open(Protocol::Tcp, domain).unwrap()
    }

    fn accept(&mut self, listener: SocketId) -> SocketId {
        loop {
            self.turn();
            if let Ok(socket) = self.host.accept(listener) {
                return socket;
            }
            self.wait();
        }
    }

    /// Sends a stream and receives one, both to the end.
    fn exchange(&mut self, socket: SocketId, octets: usize) {
        let (mut sent, mut got) = (0, 0);
        loop {
            self.turn();
            let now = self.now();
            while self.host.state(socket) != Some(State::SynSent) && sent < octets {
                let count = self.host.room(socket).min(octets - sent);
                let taken = self
                    .host
                    .write(now, socket, stream(sent, count).into())
                    .unwrap();
                sent += taken;
                if taken == 0 {
                    break;
                }
            }
            if sent == octets {
                self.host.shutdown(now, socket);
            }
            let came: Vec<u8> = self.host.chunks(socket).flatten().copied().collect();
            assert!(came == stream(got, came.len()), "after {got}");
            got += came.len();
            self.host.consume(now, socket, came.len());
            assert_eq!(self.host.error(socket), None);
            let closed = matches!(
                self.host.state(socket),
                Some(State::Closed | State::TimeWait)
            );
            if closed && self.host.is_read_closed(socket) {
                assert_eq!(got, octets);
                self.host.close(now, socket);
                return;
            }
            self.turn();
            self.wait();
        }
    }
}

fn received<T>(result: io::Result<T>) -> Option<T> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        result => Some(result.unwrap()),
    }
}

fn stream(at: usize, count: usize) -> Vec<u8> {
    (at..at + count)
        .map(|at| (at * 7 + (at >> 8)) as u8)
        .collect()
}

/// The kernel's end: sends a stream, receives one, and says how long it took from the first octet to the last.
fn kernel(mut socket: TcpStream, octets: usize) -> Duration {
    let start = Clock::now();
    let mut writer = socket.try_clone().unwrap();
    let sending = thread::spawn(move || {
        writer.write_all(&stream(0, octets)).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    socket.read_to_end(&mut got).unwrap();
    sending.join().unwrap();
    assert!(got == stream(0, octets), "{} octets came", got.len());
    start.elapsed()
}

#[test]
fn streams_with_the_kernel_stay_whole_on_a_bad_wire() {
    if !inside() {
        return;
    }
    let octets = env::var("LINUX_OCTETS").map_or(300_000, |octets| octets.parse().unwrap());
    ip("link set lo up");
    for (loss, delay) in [(0.01, 1), (0.01, 20), (0.05, 1), (0.05, 5)] {
        let impairment = Impairment {
            loss,
            delay: Duration::from_millis(delay),
            ..Impairment::default()
        };
        let mut world = World::new(impairment);
        for family in 0..2 {
            let domain = [Domain::V4, Domain::V6Only][family];
            let bracket = |address: &str| match family {
                0 => format!("{address}:80"),
                _ => format!("[{address}]:80"),
            };
            // The kernel accepts.
            let listener = TcpListener::bind(bracket(KERNEL[family])).unwrap();
            let accepting = thread::spawn(move || kernel(listener.accept().unwrap().0, octets));
            let client = world.open(domain);
            let now = world.now();
            let remote = bracket(KERNEL[family]).parse().unwrap();
            world.host.connect(now, client, remote).unwrap();
            world.exchange(client, octets);
            let to = accepting.join().unwrap();
            // The kernel connects.
            let server = world.open(domain);
            let local = bracket(OURS[family]).parse().unwrap();
            world.host.bind(server, local).unwrap();
            world.host.listen(server, 1).unwrap();
            let remote = bracket(OURS[family]);
            let connecting =
                thread::spawn(move || kernel(TcpStream::connect(remote).unwrap(), octets));
            let accepted = world.accept(server);
            world.exchange(accepted, octets);
            let from = connecting.join().unwrap();
            let now = world.now();
            world.host.close(now, server);
            eprintln!(
                "IPv{}, {loss} lost, {delay} ms: {octets} octets each way, connecting {to:.2?}, accepting {from:.2?}",
                [4, 6][family]
            );
        }
        drop(world);
    }
}
