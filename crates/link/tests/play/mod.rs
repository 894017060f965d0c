//! Octets as what comes from outside, for whoever makes octets: tests on every machine, a fuzzer on a patient one (`fuzz/`).

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod pcap;
pub(crate) mod qemu;
