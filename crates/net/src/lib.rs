//! A sans-IO TCP/IP host: frames and time in, frames and events out.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod cidr;
mod discard;
pub mod forward;
mod frame;
mod host;
pub mod tcp;
pub mod time;
pub mod wire;

pub use cidr::{Cidr, NotCidr};
pub use discard::{Discard, Discards};
pub use frame::{Capabilities, Checksum, Frame, Offload, Segmentation};
pub use host::{
    AcceptError, AddressState, Autoconfiguration, Config, ErrorRate, Event, GroupError, Host,
    Identifiers, Interface, KnockError, KnockId, NoSuchSocket, OwnBindError, OwnConnectError,
    OwnListenError, Ready, Received, RecvError, Refusal, Route, SendError, Setting, Settings,
    SocketId, TooMany, Unreachable,
};
pub use time::Instant;
