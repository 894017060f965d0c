//! Goodput over bad wires, as a table that is checked in: `tests/goodput.txt`. A change of the algorithms shows as a difference
//! of that file, to be looked at and then taken over with `GOODPUT=write cargo test -p wharf-net --test goodput`.
//!
//! Everything follows from seeds and virtual time: the table is the same on every machine.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;

use std::fmt::Write as _;
use std::time::Duration;
use std::{env, fs, thread};

use bytes::Bytes;
use network::{Bottleneck, Chance, Impairment, Network, Side, ordinary};
use wharf_net::tcp::Algorithm;
use wharf_net::{Capabilities, Event, Ready};
use wharf_port::{Domain, Protocol};

const ALGORITHMS: [(&str, Algorithm); 3] = [
    ("BBR", Algorithm::Bbr),
    ("CUBIC", Algorithm::Cubic),
    ("Reno", Algorithm::Reno),
];
/// Of 1000.
const LOSSES: [u64; 4] = [0, 1, 10, 50];
/// One way, in milliseconds.
const DELAYS: [u64; 4] = [1, 20, 100, 200];
/// Octets that may wait at the bottleneck.
const BUFFERS: [u64; 2] = [32 << 10, 512 << 10];
/// Octets a second: 20 Mbit/s.
const RATE: u64 = 2_500_000;
const STREAM: usize = 2 << 20;
const SEEDS: u64 = 2;
/// More than the bandwidth-delay product at its largest, a megabyte: the sockets are not what limits.
const SOCKET_BUFFER: usize = 8 << 20;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goodput.txt");

#[test]
fn goodput_is_what_it_was() {
    let now = table();
    if env::var_os("GOODPUT").is_some_and(|word| word == "write") {
        fs::write(TABLE, &now).unwrap();
    }
    let before = fs::read_to_string(TABLE).unwrap_or_default();
    assert!(
        now == before,
        "goodput has changed:\n{}if that is meant: GOODPUT=write cargo test -p wharf-net --test goodput",
        difference(&before, &now)
    );
}

fn table() -> String {
    let rows: Vec<(u64, u64)> = LOSSES
        .iter()
        .flat_map(|loss| DELAYS.map(|delay| (*loss, delay)))
        .collect();
    let each = rows
        .len()
        .div_ceil(thread::available_parallelism().map_or(1, Into::into));
    let lines: Vec<String> = thread::scope(|scope| {
        let parts: Vec<_> = rows
            .chunks(each)
            .map(|part| scope.spawn(|| part.iter().map(row).collect::<Vec<_>>()))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap())
            .collect()
    });
    format!("{}{}", head(), lines.concat())
}

fn head() -> String {
    let mut head = format!(
        "Goodput in Mbit/s of a stream of {} MiB, the handshake included, on a wire of {} Mbit/s that loses frames both ways;\n\
         the mean of {SEEDS} runs. The delay is one way. A buffer of so many KiB stands before the wire.\n\n\
         loss     delay   buffer",
        STREAM >> 20,
        RATE * 8 / 1_000_000
    );
    for (name, _) in ALGORITHMS {
        write!(head, "{name:>8}").unwrap();
    }
    head + "\n"
}

fn row((loss, delay): &(u64, u64)) -> String {
    let mut lines = String::new();
    for buffer in BUFFERS {
        let share = format!("{} %", *loss as f64 / 10.0);
        write!(lines, "{share:<6} {delay:>4} ms {:>8}", buffer >> 10).unwrap();
        for (_, algorithm) in ALGORITHMS {
            let impairment = Impairment {
                loss: *loss,
                delay: Duration::from_millis(*delay),
                bottleneck: Some(Bottleneck { rate: RATE, buffer }),
                ..Impairment::NONE
            };
            let times = (1..=SEEDS).map(|seed| stream(algorithm, impairment, seed));
            let mean = times.sum::<Duration>() / SEEDS as u32;
            let rate = STREAM as f64 * 8.0 / mean.as_secs_f64() / 1e6;
            write!(lines, "{rate:>8.2}").unwrap();
        }
        lines.push('\n');
    }
    lines
}

/// How long a stream takes, from the SYN until its last octet is read.
fn stream(algorithm: Algorithm, impairment: Impairment, seed: u64) -> Duration {
    let config = |side| {
        let mut config = ordinary(side, Capabilities::NONE);
        config.tcp.congestion = algorithm;
        config.tcp.receive_max = SOCKET_BUFFER;
        config.tcp.send_max = SOCKET_BUFFER;
        config
    };
    let mut network = Network::new(config(Side::Left), config(Side::Right));
    network.impairment = impairment;
    network.chance = Chance(seed);
    let now = network.now;
    let listener = network.right.open(Protocol::Tcp, Domain::V4).unwrap();
    network
        .right
        .bind(listener, "10.0.0.2:80".parse().unwrap())
        .unwrap();
    network.right.listen(listener, 1).unwrap();
    let client = network.left.open(Protocol::Tcp, Domain::V4).unwrap();
    network
        .left
        .connect(now, client, "10.0.0.2:80".parse().unwrap())
        .unwrap();
    network.await_ready(Side::Left, client, Ready::CONNECTED);
    let (mut sent, mut got, mut server) = (0, 0, None);
    network.until(Duration::from_secs(3600), |network| {
        let now = network.now;
        while let Some(event) = network.right.event() {
            if let Event::Incoming { .. } = event {
                server = network.right.accept(listener).ok();
            }
        }
        while sent < STREAM {
            let piece = Bytes::from_static(&[7; 16 << 10]);
            match network.left.write(now, client, piece) {
                Ok(taken) if taken > 0 => sent += taken,
                _ => break,
            }
        }
        while network.left.event().is_some() {}
        if let Some(server) = server {
            let count = network.right.readable(server);
            network.right.consume(now, server, count);
            got += count;
        }
        got >= STREAM
    });
    network.now - now
}

/// The lines that are not in both.
fn difference(before: &str, now: &str) -> String {
    let mut text = String::new();
    let (mut old, mut new) = (before.lines(), now.lines());
    loop {
        match (old.next(), new.next()) {
            (None, None) => return text,
            (old, new) if old == new => {}
            (old, new) => {
                let sides = [("-", old), ("+", new)];
                for (sign, line) in sides
                    .iter()
                    .filter_map(|(sign, line)| Some((sign, (*line)?)))
                {
                    writeln!(text, "{sign} {line}").unwrap();
                }
            }
        }
    }
}
