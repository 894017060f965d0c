//! A sans-IO TCP/IP host: frames and time in, frames and events out.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod tcp;
pub mod time;
pub mod wire;
