//! A sans-IO TCP/IP host: frames and time in, frames and events out.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod cidr;
mod frame;
mod host;
pub mod tcp;
pub mod time;
pub mod wire;

pub use cidr::{Cidr, NotCidr};
pub use frame::{Capabilities, Checksum, Frame, Offload, Segmentation};
pub use host::{Config, Event, KnockId, Ready, Refusal, Route, SocketId, Unreachable};
pub use time::Instant;
pub use host::{Host, fwd as forward};
