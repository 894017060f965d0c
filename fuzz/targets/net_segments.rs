//! TCP segments on one live connection, in every state: `fuzz/run net_segments`.
//!
//! A test of `wharf-net` (`hostile`) plays sequences of the same form on every machine.
#![no_main]

#[path = "../../crates/net/tests/network/mod.rs"]
mod network;
#[path = "../../crates/net/tests/play/mod.rs"]
mod play;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    play::segments::play(octets);
});
