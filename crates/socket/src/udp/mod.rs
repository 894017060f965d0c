//! UDP.

mod groups;
mod inbox;
mod socket;

pub use socket::UdpSocket;
