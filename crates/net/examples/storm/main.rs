//! Storms over simulated networks: `storm [CONNECTIONS [FIRST_SEED]]`, 100,000 from seed 0 unless said otherwise.
//!
//! Each seed is a world of its own, as `tests/network/storm.rs` tells. A seed that fails is printed; `storm 1 SEED` runs it
//! alone.

#![allow(clippy::unwrap_used, reason = "a storm ends by it")]

#[path = "../../tests/network/mod.rs"]
mod network;

use std::time::Instant;
use std::{env, panic, process};

use network::storm;

fn main() {
    let mut words = env::args().skip(1).map(|word| word.parse());
    let (Ok(wanted), Ok(first)) = (
        words.next().unwrap_or(Ok(100_000)),
        words.next().unwrap_or(Ok(0)),
    ) else {
        eprintln!("storm: two numbers are understood: CONNECTIONS FIRST_SEED");
        process::exit(2);
    };
    let start = Instant::now();
    let mut total = storm::Outcome::default();
    let mut seed = first;
    while total.connections < wanted as usize {
        let Ok(outcome) = panic::catch_unwind(|| storm::run(seed)) else {
            eprintln!("storm: seed {seed} failed; again: storm 1 {seed}");
            process::exit(1);
        };
        total.connections += outcome.connections;
        total.whole += outcome.whole;
        total.octets += outcome.octets;
        seed += 1;
    }
    println!(
        "{} connections in {} storms, {} of them whole, {} MiB, {:.1} s",
        total.connections,
        seed - first,
        total.whole,
        total.octets >> 20,
        start.elapsed().as_secs_f64()
    );
}
