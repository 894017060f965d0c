//! What an idle connection costs: `idle [CONNECTIONS]`, 1,000,000 unless said otherwise.
//!
//! One host holds them all. Their peers are frames made by hand, so that every octet counted is the host's: the allocator says
//! how much was asked for, the kernel how much of it is in memory. Afterwards some of them are spoken to, to see that they live,
//! and all are closed by the host, which leaves their TIME-WAIT.

#![allow(clippy::unwrap_used, reason = "a measurement ends by it")]

mod peers;
mod sys;

use std::time::{Duration, Instant as Clock};
use std::{env, fs};

use wharf_net::wire::tcp::{Control, Flags, SeqNum};
use wharf_net::{Config, Event, Frame, Host, Instant, Route, SocketId, tcp};
use wharf_port::{Domain, Protocol};

#[global_allocator]
static ALLOCATOR: sys::Counting = sys::Counting;

/// A connection, from the peer's side.
struct Peer {
    socket: SocketId,
    /// Octets that it has sent.
    sent: u32,
    /// What it acknowledges next, and which timestamp it echoes.
    heard: (SeqNum, u32),
}

fn main() {
    let count = env::args()
        .nth(1)
        .map_or(Ok(1_000_000), |word| word.parse());
    let Ok(count) = count else {
        return eprintln!("usage: idle [CONNECTIONS]");
    };
    let mut now = Instant::from_millis(1000);
    let mut host = host(now);
    let mut peers = Vec::with_capacity(count as usize);
    let before = (sys::held(), resident());
    let clock = Clock::now();
    for number in 0..count {
        now += Duration::from_micros(10);
        peers.push(connect(&mut host, now, number));
    }
    let open = Report::new("idle connections", count, before, clock.elapsed());
    println!("{open}");
    now += Duration::from_secs(60);
    drain(&mut host, now);
    for (number, peer) in (0..count).zip(&mut peers).step_by(count as usize / 100 + 1) {
        speak(&mut host, now, number, peer);
    }
    let clock = Clock::now();
    for (number, peer) in (0..count).zip(&mut peers) {
        now += Duration::from_micros(10);
        close(&mut host, now, number, peer);
    }
    assert_eq!(host.socket_count(), count as usize + 1);
    println!(
        "{}",
        Report::new("of them in TIME-WAIT", count, before, clock.elapsed())
    );
    let clock = Clock::now();
    host.expire(now + Duration::from_secs(61));
    assert_eq!(host.socket_count(), 1);
    println!("all expired in {:.2} s", clock.elapsed().as_secs_f64());
    assert!(
        open.each <= 1536.0,
        "an idle connection takes more than 1.5 KiB"
    );
}

fn host(now: Instant) -> Host {
    let mut config = Config::new(peers::HOST.0, [7; 32]);
    config.addresses = vec!["10.0.0.2/24".parse().unwrap()];
    config.routes = vec![Route {
        network: "0.0.0.0/0".parse().unwrap(),
        gateway: peers::GATEWAY.1.into(),
    }];
    let mut host = Host::new(config);
    let listener = host.open(Protocol::Tcp, Domain::V4).unwrap();
    host.bind(listener, "0.0.0.0:80".parse().unwrap()).unwrap();
    host.listen(listener, 128).unwrap();
    // The first answer asks where the gateway is.
    host.receive(now, peers::syn(u32::MAX >> 8));
    host.transmit(now).unwrap();
    host.receive(now, peers::gateway_is_here());
    let answer = drain(&mut host, now).unwrap();
    let last = (answer.seq + 1, 0);
    host.receive(now, peers::word(u32::MAX >> 8, Flags::RST, 0, last, b""));
    host
}

/// Everything that the host has to say; the last of it comes back.
fn drain(host: &mut Host, now: Instant) -> Option<Control> {
    let frames = std::iter::from_fn(|| host.transmit(now));
    frames.last().and_then(|frame: Frame| peers::said(&frame))
}

fn connect(host: &mut Host, now: Instant, number: u32) -> Peer {
    host.receive(now, peers::syn(number));
    let answer = drain(host, now).unwrap();
    let heard = (answer.seq + 1, answer.options.timestamps.unwrap().value);
    host.receive(now, peers::word(number, Flags::NONE, 0, heard, b""));
    drain(host, now);
    let listener = loop {
        match host.event().unwrap() {
            Event::Incoming { listener, .. } => break listener,
            _ => continue,
        }
    };
    let socket = host.accept(listener).unwrap();
    while host.event().is_some() {}
    assert_eq!(host.state(socket), Some(tcp::State::Established));
    Peer {
        socket,
        sent: 0,
        heard,
    }
}

/// A word there and back, however long it was silent.
fn speak(host: &mut Host, now: Instant, number: u32, peer: &mut Peer) {
    host.receive(now, peers::word(number, Flags::PSH, 0, peer.heard, b"?"));
    assert_eq!(host.chunks(peer.socket).collect::<Vec<_>>().concat(), b"?");
    host.consume(now, peer.socket, 1);
    host.write(now, peer.socket, (&b"!"[..]).into()).unwrap();
    let answer = drain(host, now).unwrap();
    assert_eq!(answer.seq, peer.heard.0);
    peer.heard.0 = answer.seq + 1;
    peer.sent = 1;
    host.receive(now, peers::word(number, Flags::NONE, 1, peer.heard, b""));
    while host.event().is_some() {}
}

/// The host closes first, so that it is the one to wait.
fn close(host: &mut Host, now: Instant, number: u32, peer: &mut Peer) {
    if number.is_multiple_of(10_000) {
        // Asked or not: the gateway is still there.
        host.receive(now, peers::gateway_is_here());
    }
    host.close(now, peer.socket);
    let fin = drain(host, now).unwrap();
    assert!(fin.flags.contains(Flags::FIN));
    host.receive(
        now,
        peers::word(number, Flags::FIN, peer.sent, (fin.seq + 1, 0), b""),
    );
    drain(host, now);
    while host.event().is_some() {}
}

/// Octets in memory, as the kernel sees it.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split(' ').nth(1).and_then(|word| word.parse().ok());
    pages.unwrap_or(0) * 4096
}

/// One line of the result.
struct Report {
    what: &'static str,
    count: u32,
    /// Octets asked for, and in memory, for each.
    each: f64,
    resident: f64,
    took: Duration,
}

impl Report {
    fn new(what: &'static str, count: u32, before: (usize, usize), took: Duration) -> Self {
        let each = |octets: usize| octets as f64 / f64::from(count);
        Self {
            what,
            count,
            each: each(sys::held().saturating_sub(before.0)),
            resident: each(resident().saturating_sub(before.1)),
            took,
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let each_us = self.took.as_secs_f64() * 1e6 / f64::from(self.count);
        write!(
            f,
            "{} {}: {:.0} octets each ({:.0} in memory), {:.2} s, {each_us:.2} µs each",
            self.count,
            self.what,
            self.each,
            self.resident,
            self.took.as_secs_f64(),
        )
    }
}
