//! ICMP for IPv6. RFC 4443. Neighbour discovery's bodies: [`ndp`](super::ndp).

use super::Malformed;
use super::checksum::Sum;
use core::fmt;
use core::net::Ipv6Addr;

/// Octets before a message's payload.
pub const LEN: usize = 8;

/// ICMPv6's number in IPv6.
pub const PROTOCOL: u8 = 58;

/// Codes of [`Message::Unreachable`].
pub mod code {
    /// No route to the destination.
    pub const NETWORK: u8 = 0;
    /// Communication administratively prohibited.
    pub const PROHIBITED: u8 = 1;
    /// Address unreachable.
    pub const HOST: u8 = 3;
    /// Port unreachable.
    pub const PORT: u8 = 4;
}

/// A message's fields. The payload of the errors is what is quoted of the packet that they are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Type 1.
    Unreachable {
        /// See [`code`].
        code: u8,
    },
    /// Type 2.
    PacketTooBig {
        /// The next hop's MTU.
        mtu: u32,
    },
    /// Type 3.
    TimeExceeded {
        /// 0 in transit, 1 in reassembly.
        code: u8,
    },
    /// Type 4.
    ParameterProblem {
        /// 0 erroneous field, 1 unrecognized next header, 2 unrecognized option.
        code: u8,
        /// Which octet is at fault.
        pointer: u32,
    },
    /// Type 128.
    EchoRequest {
        /// The asker's mark for its session.
        ident: u16,
        /// The asker's mark for the request.
        sequence: u16,
    },
    /// Type 129.
    EchoReply {
        /// The asker's mark for its session.
        ident: u16,
        /// The asker's mark for the request.
        sequence: u16,
    },
    /// Type 135; the payload is [`ndp`](super::ndp)'s.
    NeighbourSolicitation,
    /// Type 136; the payload is [`ndp`](super::ndp)'s.
    NeighbourAdvertisement {
        /// Router, solicited and override flags: the three highest bits.
        flags: u8,
    },
    /// Any other type.
    Other {
        /// The type; below 128 an error.
        kind: u8,
        /// The code.
        code: u8,
    },
}

impl Message {
    /// Reads a message; the payload is `bytes[LEN..]`.
    ///
    /// # Errors
    /// [`Malformed`] when there is less than [`LEN`] octets or the checksum is wrong.
    pub fn parse(bytes: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> Result<Self, Malformed> {
        let mut sum = Sum::pseudo(source.into(), destination.into(), PROTOCOL, bytes.len());
        sum.add(bytes);
        if !sum.is_valid() {
            return Err(Malformed::Checksum);
        }
        Self::parse_quoted(bytes)
    }

    /// The same for a message quoted in an error, whose end may be missing: the checksum is not looked at.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] when there is less than [`LEN`] octets.
    pub fn parse_quoted(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some(b) = bytes.first_chunk::<LEN>() else {
            return Err(Malformed::Truncated);
        };
        let word = u32::from_be_bytes([b[4], b[5], b[6], b[7]]);
        let (ident, sequence) = (
            u16::from_be_bytes([b[4], b[5]]),
            u16::from_be_bytes([b[6], b[7]]),
        );
        Ok(match (b[0], b[1]) {
            (1, code) => Self::Unreachable { code },
            (2, _) => Self::PacketTooBig { mtu: word },
            (3, code) => Self::TimeExceeded { code },
            (4, code) => Self::ParameterProblem {
                code,
                pointer: word,
            },
            (128, _) => Self::EchoRequest { ident, sequence },
            (129, _) => Self::EchoReply { ident, sequence },
            // RFC 4861 §7.1: the code is 0, or it is something else.
            (135, 0) => Self::NeighbourSolicitation,
            (136, 0) => Self::NeighbourAdvertisement { flags: b[4] & 0xe0 },
            (kind, code) => Self::Other { kind, code },
        })
    }

    /// The octets before `payload`, with the checksum over the pseudo-header and both.
    #[must_use]
    pub fn emit(&self, payload: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> [u8; LEN] {
        let marks = |ident: u16, sequence: u16| u32::from(ident) << 16 | u32::from(sequence);
        let (kind, code, word) = match *self {
            Self::Unreachable { code } => (1, code, 0),
            Self::PacketTooBig { mtu } => (2, 0, mtu),
            Self::TimeExceeded { code } => (3, code, 0),
            Self::ParameterProblem { code, pointer } => (4, code, pointer),
            Self::EchoRequest { ident, sequence } => (128, 0, marks(ident, sequence)),
            Self::EchoReply { ident, sequence } => (129, 0, marks(ident, sequence)),
            Self::NeighbourSolicitation => (135, 0, 0),
            Self::NeighbourAdvertisement { flags } => (136, 0, u32::from(flags) << 24),
            Self::Other { kind, code } => (kind, code, 0),
        };
        let mut b = [kind, code, 0, 0, 0, 0, 0, 0];
        b[4..8].copy_from_slice(&word.to_be_bytes());
        let length = LEN + payload.len();
        let mut sum = Sum::pseudo(source.into(), destination.into(), PROTOCOL, length);
        sum.add(&b);
        sum.add(payload);
        b[2..4].copy_from_slice(&sum.checksum().to_be_bytes());
        b
    }

    /// Whether it is an error, about which no error is ever sent. RFC 4443 §2.4 (e.1).
    #[must_use]
    pub fn is_error(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::PacketTooBig { .. }
            | Self::TimeExceeded { .. }
            | Self::ParameterProblem { .. } => true,
            Self::Other { kind, .. } => *kind < 128,
            _ => false,
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { code } => write!(f, "unreachable code {code}"),
            Self::PacketTooBig { mtu } => write!(f, "packet too big, mtu {mtu}"),
            Self::TimeExceeded { code } => write!(f, "time exceeded code {code}"),
            Self::ParameterProblem { code, pointer } => {
                write!(f, "parameter problem code {code} at {pointer}")
            }
            Self::EchoRequest { ident, sequence } => write!(f, "echo request {ident}/{sequence}"),
            Self::EchoReply { ident, sequence } => write!(f, "echo reply {ident}/{sequence}"),
            Self::NeighbourSolicitation => f.write_str("neighbour solicitation"),
            Self::NeighbourAdvertisement { flags } => {
                write!(f, "neighbour advertisement, flags {flags:02x}")
            }
            Self::Other { kind, code } => write!(f, "type {kind} code {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn any_message() -> impl Strategy<Value = Message> {
        prop_oneof![
            any::<u8>().prop_map(|code| Message::Unreachable { code }),
            any::<u32>().prop_map(|mtu| Message::PacketTooBig { mtu }),
            any::<u8>().prop_map(|code| Message::TimeExceeded { code }),
            (any::<u8>(), any::<u32>())
                .prop_map(|(code, pointer)| Message::ParameterProblem { code, pointer }),
            (any::<u16>(), any::<u16>())
                .prop_map(|(ident, sequence)| Message::EchoRequest { ident, sequence }),
            (any::<u16>(), any::<u16>())
                .prop_map(|(ident, sequence)| Message::EchoReply { ident, sequence }),
            Just(Message::NeighbourSolicitation),
            (0u8..8).prop_map(|bits| Message::NeighbourAdvertisement { flags: bits << 5 }),
        ]
    }

    proptest! {
        #[test]
        fn round_trip(message in any_message(), payload: Vec<u8>, source: [u8; 16], destination: [u8; 16]) {
            let (source, destination) = (source.into(), destination.into());
            let bytes = [&message.emit(&payload, source, destination)[..], &payload].concat();
            prop_assert_eq!(Message::parse(&bytes, source, destination), Ok(message));
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            let _ = Message::parse_quoted(&bytes);
        }
    }

    #[test]
    fn the_pseudo_header_counts() {
        let bytes = Message::EchoRequest {
            ident: 1,
            sequence: 2,
        }
        .emit(&[], Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        let other = Message::parse(&bytes, Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED);
        assert_eq!(other, Err(Malformed::Checksum));
    }
}
