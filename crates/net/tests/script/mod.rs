//! Packet scripts: one behaviour of a host each, told as segments that arrive and leave, calls, and the time between them.
//!
//! # The format
//!
//! A script begins with the requirement in a sentence (`# …`) and the section it comes from (`from RFC 9293 §3.10.7.1`). It runs
//! over IPv4 and IPv6; `only IPv4` says otherwise. `not on Linux: why` keeps it from the kernel. Then each line is one
//! happening, `TIME WHAT`:
//!
//! ```text
//! +0      listen                      a call, made at that time after the line before
//! +0    < SYN 0:0 win 1000 mss 1460   a segment that the peer sends
//! +0    > SYN+ACK 0:0 ack 1           the next segment that the host sends, and when
//! +200ms~50ms > ACK 1:1 ack 1         … or not more than so much earlier or later
//! *     > RST 1:1                     … or at any time
//! +1s     silence                     nothing is sent meanwhile
//! ```
//!
//! Numbers are relative to each side's initial sequence number: 0 is the SYN's, 1 the first octet's; `1:1001` is text of 1000
//! octets, SYN and FIN not counted. What a line says of an outgoing segment has to hold (flags but PSH, place, and what else it
//! names; `ACK?` is a flag that may be there); `no sackok`, `no ts`, `no scale`, `no mss` want an option to be absent. Further words of a segment: `win N`, `mss N`,
//! `scale N`, `sackok`, `sack 1001:2001,3001:4001`, `ts VALUE ECHO` (`*`: any; of an arriving one, the host's last), `urg N`,
//! `ect0`, `ce`, `notect`, `damaged`, `anew` (of a SYN that leaves: numbers are counted from it on, as another connection begins), and `peer 1`: another port of the peer's. `icmp unreachable CODE`, `icmp too-big MTU`
//! arrive about the segment that left last; `udp 100` arrives at a port where nobody is; `icmp port-unreachable` leaves.
//!
//! Calls: `flood N` (as many SYNs, each from another port; what answers them is passed over), `listen [BACKLOG]`, `connect`, `accept`, `accept nothing`, `connected`, `write N`, `read N`, `read nothing`,
//! `read end`, `error none|refused|reset|timeout|unreachable`, `shutdown`, `close`, `abort`, `set NAME VALUE…`.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod linux;
pub(crate) mod machine;
pub(crate) mod ours;
pub(crate) mod packet;
pub(crate) mod parse;
pub(crate) mod play;
