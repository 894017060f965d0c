//! Many small worlds, each from a seed: bad wires, odd hosts, ends that break off. The example `storm` runs more of them.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;

use network::storm;

#[test]
fn every_octet_arrives_or_both_ends_know() {
    let outcomes: Vec<_> = (0..60).map(storm::run).collect();
    let whole: usize = outcomes.iter().map(|outcome| outcome.whole).sum();
    assert!(whole > 50, "{whole} connections carried everything");
}

#[test]
fn a_seed_says_everything() {
    assert_eq!(storm::run(7), storm::run(7));
}
