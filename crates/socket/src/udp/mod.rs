//! UDP.

mod inbox;
mod socket;

pub use socket::UdpSocket;
