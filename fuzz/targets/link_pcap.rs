//! Recordings, pcap and pcapng: `fuzz/run link_pcap`.
//!
//! A test of `wharf-link` (`recordings`) reads files of the same form on every machine.
#![no_main]

#[path = "../../crates/link/tests/play/mod.rs"]
mod play;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    play::pcap::play(octets);
});
