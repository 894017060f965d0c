//! What a network port is, what it is called, and whose it is.
//!
//! This crate answers two questions about a port: *what is it?* ([`registry`]) and *whose is it?* ([`Table`]). It does no I/O and
//! reads no clock; it is `no_std` with `alloc`. What follows is a short book about ports; the types link into it.
//!
//! # 1. What a port is
//!
//! An IP packet says which machine it is for. A machine runs many programs, so the message inside says which of them: by a
//! number from 1 to 65535, the *port* ([`Port`]). TCP and UDP ([`Protocol`]) each have a port space of their own, and each local
//! address has one too: `tcp/127.0.0.1:53`, `udp/127.0.0.1:53` and `tcp/127.0.0.2:53` may be three programs. Address and port
//! are an [`Endpoint`], with the protocol an [`End`]. Two endpoints and a protocol are a [`Flow`]: all packets between two sockets.
//!
//! There is no port 0. TCP reserves it, UDP writes it as the source port where there is none (RFC 768), and in a bind
//! call it means "choose one for me", which is `None` in [`Local`].
//!
//! RFC 6335 divides the numbers in three ([`PortClass`]): *system* ports (0–1023), given to well-known services, so that a client
//! knows where to knock; *user* ports (1024–49151), registered by anybody; *dynamic* ports (49152–65535), registered by
//! nobody. The client's own port does not have to be known in advance; it is *ephemeral*, chosen when it is needed.
//!
//! # 2. How a packet finds its socket
//!
//! Every socket has a set of flows that it would receive: a connected one has a single flow, one that is bound to an address all flows to
//! that endpoint, a wildcard all flows to that port. The rule of the whole table follows from one principle:
//!
//! > Two sockets' sets never overlap, unless both agreed to share.
//!
//! Where they were allowed to overlap, the more specific socket wins: full flow, then bound to that address, then
//! wildcard; IPv4 sockets before IPv6 ones at equal rank; sockets bound to the device before those that are not. Sockets
//! that share by reuse port form a group, from which a keyed hash of the flow picks. That is [`Table::who`].
//!
//! # 3. The bind rule
//!
//! What a socket covers ([`Cover`]) depends on its family ([`Domain`]) and on what it was bound to:
//!
//! | bound to | covers |
//! |---|---|
//! | `127.0.0.1`, or `::ffff:127.0.0.1` on an IPv6 socket | that IPv4 address |
//! | `::1` | that IPv6 address |
//! | `0.0.0.0`, or `::ffff:0.0.0.0` on an IPv6 socket | all IPv4 addresses |
//! | `::` with `IPV6_V6ONLY` | all IPv6 addresses |
//! | `::` without (dual-stack) | all addresses of both families |
//!
//! A newcomer *n* is refused if there is an existing hold *e* of the same protocol and port, not bound to another device, whose
//! cover meets *n*'s, and that does not excuse it:
//!
//! | | excused if |
//! |---|---|
//! | TCP | both have reuse address, and *e* does not listen |
//! | TCP | both have reuse port, and *e* is in TIME-WAIT or of the same user |
//! | UDP | both have reuse address |
//! | UDP | both have reuse port and are of the same user |
//!
//! *e* may be bound, listening, connected, accepted (also after its listener closed) or in TIME-WAIT. The options are those
//! that both sides have now. Listening asks again; a refusal leaves the socket bound. Connecting and accepting narrow a wildcard to
//! the one address.
//!
//! A port that somebody got by listening, or by a connection that is over by itself, goes with that; what he was bound to before, he is
//! bound to again.
//!
//! The rule is what Linux answers: all 1,231 recorded cases of it agree (`tests/linux_answers.rs`), and so do thousands of random
//! sequences of calls, but for the accidents of the next chapter.
//!
//! # 4. What Linux does differently
//!
//! Linux comes to the same answers by walking lists and keeping shortcuts, and in places the shortcuts show. The table
//! does not copy these:
//!
//! - *The first match decides.* A UDP bind compares the newcomer with existing sockets one by one, and leaves off at the first
//!   that shares its group: whether a third one conflicts is not looked at, and the answer depends on the order. Here every pair counts.
//! - *The cached reuse port.* A TCP port remembers that its latest socket had reuse port, and lets the next one in by comparing with that
//!   memory alone. Here every pair counts.
//! - *A dual-stack socket that was narrowed to an IPv6 address* still keeps `0.0.0.0` out, because its IPv4 half looks like a
//!   wildcard. Here it covers one IPv6 address and nothing else.
//! - *UDP's choice with a reuse flag* may hand out a port that somebody has, since the flag excuses it. Here a chosen port
//!   is free; when none is, [`Exhausted`](table::Exhausted) says so.
//! - *UDP's choice for connect* takes a whole port from everybody. Here it is as with TCP: one local port serves many peers.
//! - *A mapped wildcard that was narrowed stays so*: bound to `::ffff:0.0.0.0`, connected and disconnected again, it covers one
//!   address for good. Here it covers all IPv4 addresses again, as a socket bound to `0.0.0.0` does.
//! - *A port that was given back* is still told to who asks: after a refused connection, an IPv4 socket of Linux names a port that is free
//!   for others. Here a hold without a port says so.
//! - *bind to port 0 is half a bind*: when such a socket stops listening or is disconnected, Linux gives the port back and keeps the address.
//!   Here the chosen port is the hold's like any other.
//! - *A reuse-port socket ends the search*: of several sockets that would get a packet, Linux takes the first one with reuse port that it
//!   meets, even if one that is bound to the device comes later. Here the device always decides first.
//! - *UDP's disconnect forgets the device*, too. Here it takes the peer away and nothing else.
//! - *A choice slows down as the range fills*: Linux tries one port after the other. Here it costs the same, to the last one.
//! - *A choice on a socket bound to a device* may get a port that somebody has on another device. Here a chosen port is free
//!   on all devices; asking for it by number works as with Linux.
//! - *Two connections with the same flow on different devices* exist in Linux. Here a flow belongs to one hold.
//!
//! # 5. Choosing a port
//!
//! RFC 6056 asks for ephemeral ports that an attacker who can't see the traffic can't guess. A choice here starts at a place in the range that
//! depends on the table's seed and takes the first free port from there (section 3.3.1). For a connection "free" means
//! free towards that peer. Ports that are reserved, and system ports for those without the right, are left out.
//!
//! # 6. What it costs
//!
//! Every answer costs the same however many sockets, flows and owners there are. Holds that the rule can't tell apart are counted together, and a
//! wildcard's conflicts are read off counts that the places below it keep up to date; nobody's list is walked. What
//! does matter is the number of devices in use on one port, and the memory's own speed: among a million flows a packet's look-up waits for
//! one place that no cache has, and binding at random among a million holds for two, the port and the group that leads there. A
//! flow takes about 120 bytes, never more than 128. `cargo bench -p wharf-port --bench report` measures all of it, and the kernel's choice of ports
//! beside it.
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
