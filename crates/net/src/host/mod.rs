//! The host.

mod config;
mod event;

pub use config::{Config, Route};
pub use event::{Event, KnockId, Ready, Refusal, SocketId, Unreachable};
