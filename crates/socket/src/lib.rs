//! Asynchronous TCP and UDP sockets over any wharf link.
//!
//! A [`Stack`] is a network host of its own in the program: its own addresses, its own 65,535 ports for TCP and for UDP,
//! no privileges. On it, [`TcpListener`], [`TcpStream`], [`TcpSocket`] and [`UdpSocket`] are what tokio's are on the kernel's network, and have
//! the same names: moving over is a change of imports, and a `&stack` as the first argument of `bind` and `connect`.
//!
//! What frames travel on is a [link](wharf_link): within the process, to a virtual machine, through a TAP to the kernel;
//! [several](Stack::start_on) of them, or several [joined](wharf_link::Joined) to one; with [`Impaired`](wharf_link::Impaired) around it for the weather of one's choice. With [`Gateway`], a stack answers for every address behind its link.
//!
//! # What can be relied upon
//!
//! - **Errors** are [`std::io::Error`]s of the kinds that the kernel's sockets have, and say more: who holds the
//!   address in use, and why that excludes the newcomer; [`holder`] has it for programs.
//! - **Cancelling** is safe: a future that is dropped has done nothing, unless it was ready.
//! - **Back-pressure** is everywhere: who writes faster than the peer reads waits, and so does who sends datagrams faster
//!   than the link takes them. Nothing that a peer or a program does grows a queue without bound.
//! - **Time** is tokio's: with `tokio::time::pause`, a test runs minutes of network in no time.
//!
//! # Not like tokio
//!
//! - Names are not resolved ([`ToSocketAddr`]).
//! - An IPv4 peer of a dual-stack socket has its IPv4 address, not one of the form `::ffff:10.0.0.1`.
//! - Dropping a stream never waits, and there is no linger but [zero](TcpStream::set_zero_linger).
//! - [`set_keepalive`](TcpStream::set_keepalive) takes the times as well.
//!
//! What tokio's types have in addition and these don't, on purpose:
//!
//! | tokio's | instead |
//! |---|---|
//! | `from_std`, `into_std`, `from_std_stream`, `AsRawFd` and relatives | nothing: there is no descriptor; [`Descriptor`] is for links |
//! | `try_io`, `async_io` | [`readable`](TcpStream::readable) and [`try_read`](TcpStream::try_read), … : nothing but the stack's own calls could be tried |
//! | `set_linger`, `set_quickack` | [`set_zero_linger`](TcpStream::set_zero_linger); acknowledgments are held back for [`ack_delay`](wharf_net::tcp::Config::ack_delay), the host's |
//! | `ttl`, `tos`, `tclass_v6`, their setters | packets leave with 64 and with what congestion notification needs |
//! | `bind_device`, `device` | an address of the host's: that is where packets come in |
//! | `TcpSocket::take_error` | errors are told where they happen, [`TcpStream::take_error`] afterwards |
//! | `broadcast`, `set_broadcast` | always allowed |
//!
//! See [`Stack`] for an example, and `examples/` for an echo server, a gateway and a whole host; [`manual`] says what the defaults
//! are, and why.

#![deny(unsafe_code)]

mod address;
mod driver;
mod error;
mod gateway;
mod held;
mod links;
pub mod manual;
mod ping;
mod ready;
mod shared;
mod stack;
#[allow(unsafe_code)]
mod sys;
mod tcp;
mod udp;
mod wakers;
mod wire;

pub use address::ToSocketAddr;
pub use error::{Holder, holder};
pub use gateway::{Arrival, Echo, Gateway, Knock};
pub use links::{Descriptor, QemuServer};
pub use ping::ping;
pub use stack::Stack;
pub use tcp::{
    OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, TcpListener, TcpSocket, TcpStream,
    WriteHalf,
};
pub use udp::UdpSocket;
pub use wharf_net::tcp::KeepAlive;
pub use wharf_net::{
    Autoconfiguration, Config, Identifiers, Interface, Received, Refusal, Unreachable,
};
