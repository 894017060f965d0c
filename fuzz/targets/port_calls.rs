//! Sequences of calls to a port table: `fuzz/run port_calls`.
//!
//! A test of `wharf-port` (`storm`) plays sequences of the same form on every machine.
#![no_main]

#[path = "../../crates/port/tests/calls/mod.rs"]
mod calls;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| calls::play(octets));
