//! Goodput over bad wires beside Linux, through the same impairment in the same run: what a kernel sends to a kernel, and what our host
//! sends to a kernel and takes from it, in each case whoever opens the connections.
//!
//! `cargo run --release -p wharf-net --example beside_linux [SECONDS [STREAMS [ROUNDS [cubic|reno|bbr]]]]`: so long for each figure
//! (5, and 30 round trips), with so many streams at once (8), whose losses are independent: their sum scatters less than one. Each figure is taken in so many rounds (1),
//! one after the other, so that what else the machine does meets all of them. It runs in namespaces of its own. The wires
//! are TAPs whose frames this program carries through `wharf_link::Impaired`, delay and loss in both directions.
//!
//! All of it is in real time, and our host shares a thread with its wire: on a machine that is busy with other things figures scatter by a
//! third, and ours are the lower ones. Only what an idle machine says counts.

#![allow(clippy::unwrap_used, reason = "a measurement ends by it")]

mod namespace;
mod ours;
mod wires;

use std::env;
use std::io::{Read, Write};
use std::mem;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use namespace::{Elsewhere, Place};
use ours::{Role, World};
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
/// What is measured lasts for so many at least: how a stream begins is not what it comes to.
const ROUND_TRIPS: u32 = 30;
/// What is looked for in each figure.
const REACH: f64 = 0.9;

/// What is measured, for how long, and how often.
#[derive(Clone, Debug)]
struct Plan {
    time: Duration,
    streams: usize,
    rounds: usize,
    congestion: String,
    /// Of the wire of the moment.
    round_trip: Duration,
}

impl Plan {
    fn new(words: &[String]) -> Self {
        let number =
            |at: usize, default: u64| words.get(at).map_or(default, |word| word.parse().unwrap());
        Self {
            time: Duration::from_secs(number(0, 5)),
            streams: number(1, 8) as usize,
            rounds: number(2, 1) as usize,
            congestion: words.get(3).map_or("cubic", String::as_str).to_owned(),
            round_trip: Duration::ZERO,
        }
    }
}

/// Who sends, and who opens the connections.
const FIGURES: [&str; 5] = [
    "kernel to kernel",
    "ours to kernel, ours opens",
    "ours to kernel, kernel opens",
    "kernel to ours, kernel opens",
    "kernel to ours, ours opens",
];

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    match namespace::place() {
        Place::Outside => return namespace::enter(&words),
        // The sender in the other namespace: it ends with the measurement.
        Place::Far => {
            return send(
                words[0].parse().unwrap(),
                words[1].parse().unwrap(),
                &words[2],
            );
        }
        Place::Near => {}
    }
    let mut plan = Plan::new(&words);
    let elsewhere = Elsewhere::new();
    let mut between = Between::new(&elsewhere);
    let mut world = World::new(&plan.congestion);
    println!(
        "{plan:?}\n| loss | delay | family | {} |",
        FIGURES.join(" | ")
    );
    println!("|---|---|---|{}", "---|".repeat(FIGURES.len()));
    let mut ratios: [Vec<f64>; 4] = Default::default();
    for loss in LOSSES {
        for delay in DELAYS_MS {
            let impairment = Impairment {
                loss,
                delay: Duration::from_millis(delay),
                ..Impairment::default()
            };
            between.impair(impairment);
            world.impair(impairment);
            plan.round_trip = 2 * impairment.delay;
            for family in 0..2 {
                let rates = figures(&mut between, &mut world, &elsewhere, family, &plan);
                let cells = (1..FIGURES.len()).map(|at| {
                    let ratio = rates[at] / rates[0];
                    ratios[at - 1].push(ratio);
                    format!("{:.2} ({ratio:.2} ×)", rates[at])
                });
                let cells: Vec<String> = cells.collect();
                println!(
                    "| {} % | {delay} ms | IPv{} | {:.2} Mbit/s | {} |",
                    loss * 100.0,
                    [4, 6][family],
                    rates[0],
                    cells.join(" | ")
                );
            }
        }
    }
    for (what, ratios) in FIGURES[1..].iter().zip(ratios) {
        let mean = ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64;
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "{what}: {:.2} × in the geometric mean, {least:.2} × at least; {REACH} × is to be reached",
            mean.exp()
        );
    }
}

/// Every figure, the mean of its rounds, in Mbit/s.
fn figures(
    between: &mut Between,
    world: &mut World,
    elsewhere: &Elsewhere,
    family: usize,
    plan: &Plan,
) -> [f64; FIGURES.len()] {
    let mut sums = [0.0; FIGURES.len()];
    for _ in 0..plan.rounds {
        sums[0] += kernels(between, elsewhere, family, plan);
        sums[1] += we_send(world, family, plan);
        sums[2] += we_send_on_theirs(world, family, plan);
        sums[3] += we_take(world, family, plan);
        sums[4] += we_take_on_ours(world, family, plan);
    }
    sums.map(|sum| sum / plan.rounds as f64)
}

fn place(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse::<IpAddr>().unwrap(), port)
}

/// Sends without end on so many connections, each made anew until it is there.
fn send(to: SocketAddr, streams: usize, congestion: &str) {
    thread::scope(|scope| {
        for _ in 0..streams {
            scope.spawn(|| {
                if let Some(stream) = open(to) {
                    pour(stream, congestion);
                }
            });
        }
    });
}

fn open(to: SocketAddr) -> Option<TcpStream> {
    (0..20).find_map(|_| TcpStream::connect(to).ok())
}

fn pour(mut stream: TcpStream, congestion: &str) {
    sockopt::set_tcp_congestion(&stream, congestion).unwrap();
    let piece = vec![7; 64 << 10];
    while stream.write_all(&piece).is_ok() {}
}

/// A kernel's end that takes all that comes, and counts.
#[derive(Clone, Default)]
struct Sink {
    octets: Arc<AtomicU64>,
    streams: Arc<AtomicU64>,
}

impl Sink {
    fn new(address: &str) -> (Self, SocketAddr) {
        let listener = TcpListener::bind(place(address, 0)).unwrap();
        let here = listener.local_addr().unwrap();
        let sink = Self::default();
        let taking = sink.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let sink = taking.clone();
                thread::spawn(move || sink.take(stream.unwrap()));
            }
        });
        (sink, here)
    }

    fn take(&self, mut stream: TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        let mut streams = 1;
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            self.streams
                .fetch_add(mem::take(&mut streams), Ordering::Relaxed);
            self.octets.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    fn streams(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }

    fn octets(&self) -> u64 {
        self.octets.load(Ordering::Relaxed)
    }
}

/// Lets a wire do its work until something has come on all streams, and then for as long as is measured; Mbit/s.
fn rate<P: Pump>(
    pump: &mut P,
    plan: &Plan,
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
    while start.elapsed() < plan.time.max(ROUND_TRIPS * plan.round_trip) {
        pump.turn();
        pump.wait();
    }
    (octets(pump) - before) as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e6
}

fn kernels(between: &mut Between, elsewhere: &Elsewhere, family: usize, plan: &Plan) -> f64 {
    let (sink, here) = Sink::new(NEAR[family]);
    let sender = elsewhere.send(here, plan.streams, &plan.congestion);
    let rate = rate(between, plan, |_| sink.streams(), |_| sink.octets());
    drop(sender);
    rate
}

fn we_send(world: &mut World, family: usize, plan: &Plan) -> f64 {
    let (sink, here) = Sink::new(KERNEL[family]);
    world.begin(Role::Sends);
    (0..plan.streams).for_each(|_| world.connect(here));
    let rate = rate(world, plan, |_| sink.streams(), |_| sink.octets());
    world.forget();
    rate
}

fn we_send_on_theirs(world: &mut World, family: usize, plan: &Plan) -> f64 {
    world.begin(Role::Sends);
    let there = place(OURS[family], world.listen());
    let sink = Sink::default();
    for _ in 0..plan.streams {
        let sink = sink.clone();
        thread::spawn(move || {
            if let Some(stream) = open(there) {
                sink.take(stream);
            }
        });
    }
    let rate = rate(world, plan, |_| sink.streams(), |_| sink.octets());
    world.forget();
    rate
}

fn we_take(world: &mut World, family: usize, plan: &Plan) -> f64 {
    world.begin(Role::Takes);
    let here = place(OURS[family], world.listen());
    let (streams, congestion) = (plan.streams, plan.congestion.clone());
    thread::spawn(move || send(here, streams, &congestion));
    let rate = rate(world, plan, |world| world.begun, |world| world.octets);
    world.forget();
    rate
}

fn we_take_on_ours(world: &mut World, family: usize, plan: &Plan) -> f64 {
    world.begin(Role::Takes);
    let listener = TcpListener::bind(place(KERNEL[family], 0)).unwrap();
    let there = listener.local_addr().unwrap();
    let congestion = plan.congestion.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let congestion = congestion.clone();
            thread::spawn(move || pour(stream.unwrap(), &congestion));
        }
    });
    (0..plan.streams).for_each(|_| world.connect(there));
    let rate = rate(world, plan, |world| world.begun, |world| world.octets);
    world.forget();
    rate
}
