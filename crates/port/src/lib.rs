//! What a network port is, what it is called, and whose it is.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod address;
mod endpoint;
mod flow;
mod number;
mod protocol;
pub mod registry;
pub mod table;

pub use address::{Cover, Domain, WrongFamily};
pub use endpoint::{End, Endpoint, Local};
pub use flow::Flow;
pub use number::{Port, PortClass, PortRange};
pub use protocol::Protocol;
pub use table::{Device, Hold, Reuse, Table};

/// Why a text is not a port, an endpoint, a flow or a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// Not a number from 1 to 65535. Port 0 is no port: it is reserved (RFC 6335, section 6).
    Port,
    /// Neither `tcp` nor `udp`.
    Protocol,
    /// Not `ADDRESS:PORT`; an IPv6 address stands in brackets, as in `[::1]:80`.
    Endpoint,
    /// No `/` between protocol and endpoint, as in `tcp/127.0.0.1:80`.
    Slash,
    /// No `-` between a flow's two endpoints, as in `tcp/10.0.0.1:80-10.0.0.2:40000`.
    Dash,
    /// Not `FIRST-LAST` with both of them ports, the first no higher than the last.
    Range,
}

impl core::fmt::Display for ParseError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Port => "a port is a number from 1 to 65535",
            Self::Protocol => "the protocol is tcp or udp",
            Self::Endpoint => {
                "an endpoint is written ADDRESS:PORT, with IPv6 in brackets: [::1]:80"
            }
            Self::Slash => "the protocol comes first, before a slash: tcp/127.0.0.1:80",
            Self::Dash => {
                "a flow is two endpoints with a dash between: tcp/10.0.0.1:80-10.0.0.2:40000"
            }
            Self::Range => "a range is written FIRST-LAST, the first no higher than the last",
        })
    }
}

impl core::error::Error for ParseError {}
