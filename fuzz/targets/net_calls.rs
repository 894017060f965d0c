//! Sequences of socket calls to two hosts on one wire: `fuzz/run net_calls`.
//!
//! A test of `wharf-net` (`hostile`) plays sequences of the same form on every machine.
#![no_main]

#[path = "../../crates/net/tests/network/mod.rs"]
mod network;
#[path = "../../crates/net/tests/play/mod.rs"]
mod play;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    play::calls::play(octets);
});
