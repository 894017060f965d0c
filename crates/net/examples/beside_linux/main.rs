//! Goodput over bad wires beside Linux: what a kernel sends to a kernel, what our host sends to a kernel, and what a kernel sends to
//! our host, through the same impairment in the same run.
//!
//! `cargo run --release -p wharf-net --example beside_linux [SECONDS [STREAMS]]`: so long for each figure (5), with so many streams
//! at once (8), whose losses are independent: their sum scatters less than one. Everybody uses CUBIC. It runs in namespaces of its own. The wires
//! are TAPs whose frames this program carries through `wharf_link::Impaired`, delay and loss in both directions.

#![allow(clippy::unwrap_used, reason = "a measurement ends by it")]

mod namespace;
mod ours;
mod wires;

use std::env;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use namespace::{Elsewhere, Place};
use ours::World;
use rustix::net::sockopt;
use wharf_link::Impairment;
use wires::{Between, Pump};

/// Both families: our kernel on the wire to the other kernel, and on that to our host; our host.
const NEAR: [&str; 2] = ["10.8.0.1", "fd08::1"];
const KERNEL: [&str; 2] = ["10.9.0.1", "fd09::1"];
const OURS: [&str; 2] = ["10.9.0.2", "fd09::2"];
const FAR: [&str; 2] = ["10.8.0.2", "fd08::2"];

const LOSSES: [f64; 2] = [0.01, 0.05];
const DELAYS_MS: [u64; 4] = [1, 20, 50, 200];
/// What is looked for in each figure.
const REACH: f64 = 0.9;

/// What is measured, and for how long.
#[derive(Clone, Copy, Debug)]
struct Plan {
    time: Duration,
    streams: usize,
}

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let number =
        |at: usize, default: u64| words.get(at).map_or(default, |word| word.parse().unwrap());
    match namespace::place() {
        Place::Outside => return namespace::enter(&words),
        // The sender in the other namespace: it ends with the measurement.
        Place::Far => return send(words[0].parse().unwrap(), number(1, 1) as usize),
        Place::Near => {}
    }
    let plan = Plan {
        time: Duration::from_secs(number(0, 5)),
        streams: number(1, 8) as usize,
    };
    let elsewhere = Elsewhere::new();
    let mut between = Between::new(&elsewhere);
    let mut world = World::new();
    println!(
        "| loss | delay | family | kernel to kernel | ours to kernel | | kernel to ours | |\n|---|---|---|---|---|---|---|---|"
    );
    let mut ratios = [Vec::new(), Vec::new()];
    for loss in LOSSES {
        for delay in DELAYS_MS {
            let impairment = Impairment {
                loss,
                delay: Duration::from_millis(delay),
                ..Impairment::default()
            };
            between.impair(impairment);
            world.impair(impairment);
            for family in 0..2 {
                let base = kernels(&mut between, &elsewhere, family, plan);
                let sent = we_send(&mut world, family, plan);
                let received = we_receive(&mut world, family, plan);
                ratios[0].push(sent / base);
                ratios[1].push(received / base);
                println!(
                    "| {} % | {delay} ms | IPv{} | {base:.2} Mbit/s | {sent:.2} | {:.2} × | {received:.2} | {:.2} × |",
                    loss * 100.0,
                    [4, 6][family],
                    sent / base,
                    received / base
                );
            }
        }
    }
    for (what, ratios) in ["ours to kernel", "kernel to ours"].into_iter().zip(ratios) {
        let mean = ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64;
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "{what}: {:.2} × in the geometric mean, {least:.2} × at least; {REACH} × is to be reached",
            mean.exp()
        );
    }
}

fn place(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse::<IpAddr>().unwrap(), port)
}

/// Sends without end on so many connections, each made anew until it is there.
fn send(to: SocketAddr, streams: usize) {
    thread::scope(|scope| {
        for _ in 0..streams {
            scope.spawn(|| {
                let Some(mut stream) = (0..20).find_map(|_| TcpStream::connect(to).ok()) else {
                    return;
                };
                sockopt::set_tcp_congestion(&stream, "cubic").unwrap();
                let piece = vec![7; 64 << 10];
                while stream.write_all(&piece).is_ok() {}
            });
        }
    });
}

/// A kernel's end that takes all that comes, and counts.
struct Sink {
    octets: Arc<AtomicU64>,
    streams: Arc<AtomicU64>,
}

impl Sink {
    fn new(address: &str) -> (Self, SocketAddr) {
        let listener = TcpListener::bind(place(address, 0)).unwrap();
        let here = listener.local_addr().unwrap();
        let sink = Self {
            octets: Arc::default(),
            streams: Arc::default(),
        };
        let (octets, streams) = (Arc::clone(&sink.octets), Arc::clone(&sink.streams));
        thread::spawn(move || {
            for stream in listener.incoming() {
                streams.fetch_add(1, Ordering::Relaxed);
                let octets = Arc::clone(&octets);
                thread::spawn(move || take(stream.unwrap(), &octets));
            }
        });
        (sink, here)
    }
}

fn take(mut stream: TcpStream, octets: &AtomicU64) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        octets.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Lets a wire do its work until all streams are there, and then for as long as is measured; Mbit/s.
fn rate<P: Pump>(
    pump: &mut P,
    plan: Plan,
    streams: impl Fn(&P) -> u64,
    octets: impl Fn(&P) -> u64,
) -> f64 {
    let start = Instant::now();
    while streams(pump) < plan.streams as u64 {
        pump.turn();
        pump.wait();
        let patience = Duration::from_secs(120);
        assert!(start.elapsed() < patience, "only {} streams", streams(pump));
    }
    let (start, before) = (Instant::now(), octets(pump));
    while start.elapsed() < plan.time {
        pump.turn();
        pump.wait();
    }
    (octets(pump) - before) as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e6
}

fn kernels(between: &mut Between, elsewhere: &Elsewhere, family: usize, plan: Plan) -> f64 {
    let (sink, here) = Sink::new(NEAR[family]);
    let sender = elsewhere.send(here, plan.streams);
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let rate = rate(
        between,
        plan,
        |_| count(&sink.streams),
        |_| count(&sink.octets),
    );
    drop(sender);
    rate
}

fn we_send(world: &mut World, family: usize, plan: Plan) -> f64 {
    let (sink, here) = Sink::new(KERNEL[family]);
    (0..plan.streams).for_each(|_| world.connect(here));
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let rate = rate(
        world,
        plan,
        |_| count(&sink.streams),
        |_| count(&sink.octets),
    );
    world.forget();
    rate
}

fn we_receive(world: &mut World, family: usize, plan: Plan) -> f64 {
    let here = place(OURS[family], world.listen());
    thread::spawn(move || send(here, plan.streams));
    let rate = rate(world, plan, |world| world.accepted, |world| world.octets);
    world.forget();
    rate
}
