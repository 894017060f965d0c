//! What a peer of a QEMU link writes, in pieces of any size: `fuzz/run link_qemu`.
//!
//! A test of `wharf-link` (`qemu_stream`) plays sequences of the same form on every machine.
#![no_main]

#[path = "../../crates/link/tests/play/mod.rs"]
mod play;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    play::qemu::play(octets);
});
