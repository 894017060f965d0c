//! Millions of damaged and arbitrary frames for a gateway: `frames [MILLIONS]`, 10 unless said otherwise.
//!
//! What they are is told in `tests/play/frames.rs`. Nothing may panic; memory is printed, and must not grow once all queues have
//! been full; in the end the gateway still has to serve.

#![allow(clippy::unwrap_used, reason = "a run ends by it")]

#[path = "../../tests/network/mod.rs"]
mod network;
#[path = "../../tests/play/mod.rs"]
mod play;

use std::time::{Duration, Instant};
use std::{env, fs, process};

use play::frames::World;
use play::random;

const MILLION: usize = 1_000_000;
/// Octets of a batch, a few thousand frames.
const BATCH: usize = 100_000;
/// What memory may grow by after the first million: an allocator's own waste.
const GROWTH: usize = 8 << 20;

fn main() {
    let word = env::args().nth(1).unwrap_or_else(|| "10".to_owned());
    let Ok(millions) = word.parse::<usize>() else {
        eprintln!("frames: one number is understood: MILLIONS");
        process::exit(2);
    };
    let start = Instant::now();
    let mut world = World::new();
    let (mut seed, mut settled) = (0, 0);
    for million in 1..=millions {
        while world.count < million * MILLION {
            world.play(&random(seed, BATCH));
            seed += 1;
        }
        let octets = resident();
        if million == 1 {
            settled = octets;
        }
        println!("{million} million frames: {} KiB of memory", octets >> 10);
        assert!(octets < settled + GROWTH, "memory grows");
    }
    // What half a handshake has left behind is given up in this time.
    world.network.pass(Duration::from_secs(300));
    world.still_serves();
    let discards = world.network.left.discards().total();
    println!(
        "{} frames, {discards} discarded, {} sockets left; it still serves; {:.1} s",
        world.count,
        world.network.left.socket_count(),
        start.elapsed().as_secs_f64()
    );
}

/// Octets of this process in memory.
fn resident() -> usize {
    let text = fs::read_to_string("/proc/self/statm").expect("Linux says what a process has");
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("the second field is a number") * 4096
}
