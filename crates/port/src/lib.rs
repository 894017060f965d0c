//! What a network port is, what it is called, and whose it is.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
