//! What travels on a link, one file per format, all of one shape: a struct of the header's fields,
//! `parse` from octets, `emit` to octets, `Display`.
//!
//! Parsers never panic, never allocate, and give back only what is whole: lengths that a format states are
//! checked against the octets that are there. What a value *means* is not judged here: nothing in this module knows
//! a connection, a host or a clock.

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod extension;
pub mod icmpv4;
pub mod icmpv6;
pub mod igmp;
pub mod ipv4;
pub mod ipv4_options;
pub mod ipv6;
pub mod mld;
pub mod ndp;
pub mod router;
pub mod tcp;
pub mod udp;
pub mod virtio;

use thiserror::Error;

/// Why octets are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Fewer octets than the format's fixed part, or than a length field states.
    #[error("fewer octets than the header states")]
    Truncated,
    /// A field has a value that the format does not allow.
    #[error("a field holds a value that the format does not allow")]
    Field,
    /// The checksum does not match.
    #[error("the checksum does not match")]
    Checksum,
}
