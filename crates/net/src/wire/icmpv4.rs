//! ICMP for IPv4. RFC 792, RFC 1122 §3.2.2, RFC 1191 (next-hop MTU), RFC 1812 §5.2.7.

use super::{Malformed, checksum};
use core::fmt;

/// Octets before a message's payload.
pub const LEN: usize = 8;

/// ICMP's number in IPv4.
pub const PROTOCOL: u8 = 1;

/// Codes of [`Message::Unreachable`].
pub mod code {
    /// Network unreachable.
    pub const NETWORK: u8 = 0;
    /// Host unreachable.
    pub const HOST: u8 = 1;
    /// Protocol unreachable.
    pub const PROTOCOL: u8 = 2;
    /// Port unreachable.
    pub const PORT: u8 = 3;
    /// Fragmentation needed and "don't fragment" set.
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Source route failed.
    pub const SOURCE_ROUTE: u8 = 5;
    /// Communication administratively prohibited.
    pub const PROHIBITED: u8 = 13;
}

/// A message's fields. The payload of the errors is what is quoted of the packet that they are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Type 0.
    EchoReply {
        /// The asker's mark for its session.
        ident: u16,
        /// The asker's mark for the request.
        sequence: u16,
    },
    /// Type 3.
    Unreachable {
        /// See [`code`].
        code: u8,
        /// With code 4: the next hop's MTU, 0 from routers older than RFC 1191.
        mtu: u16,
    },
    /// Type 8.
    EchoRequest {
        /// The asker's mark for its session.
        ident: u16,
        /// The asker's mark for the request.
        sequence: u16,
    },
    /// Type 11.
    TimeExceeded {
        /// 0 in transit, 1 in reassembly.
        code: u8,
    },
    /// Type 12.
    ParameterProblem {
        /// Which octet is at fault.
        pointer: u8,
    },
    /// Any other type.
    Other {
        /// The type.
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
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some(b) = bytes.first_chunk::<LEN>() else {
            return Err(Malformed::Truncated);
        };
        if checksum::checksum(bytes) != 0 {
            return Err(Malformed::Checksum);
        }
        let (high, low) = (
            u16::from_be_bytes([b[4], b[5]]),
            u16::from_be_bytes([b[6], b[7]]),
        );
        Ok(match (b[0], b[1]) {
            (0, _) => Self::EchoReply {
                ident: high,
                sequence: low,
            },
            (3, code) => Self::Unreachable { code, mtu: low },
            (8, _) => Self::EchoRequest {
                ident: high,
                sequence: low,
            },
            (11, code) => Self::TimeExceeded { code },
            (12, _) => Self::ParameterProblem { pointer: b[4] },
            (kind, code) => Self::Other { kind, code },
        })
    }

    /// The octets before `payload`, with the checksum over both.
    #[must_use]
    pub fn emit(&self, payload: &[u8]) -> [u8; LEN] {
        let (kind, code, high, low) = match *self {
            Self::EchoReply { ident, sequence } => (0, 0, ident, sequence),
            Self::Unreachable { code, mtu } => (3, code, 0, mtu),
            Self::EchoRequest { ident, sequence } => (8, 0, ident, sequence),
            Self::TimeExceeded { code } => (11, code, 0, 0),
            Self::ParameterProblem { pointer } => (12, 0, u16::from(pointer) << 8, 0),
            Self::Other { kind, code } => (kind, code, 0, 0),
        };
        let mut b = [kind, code, 0, 0, 0, 0, 0, 0];
        b[4..6].copy_from_slice(&high.to_be_bytes());
        b[6..8].copy_from_slice(&low.to_be_bytes());
        let mut sum = checksum::Sum::default();
        sum.add(&b);
        sum.add(payload);
        b[2..4].copy_from_slice(&sum.checksum().to_be_bytes());
        b
    }

    /// Whether an error is never sent about it: it is an error itself, or of a type that we don't know (which may
    /// be one). RFC 1122 §3.2.2.
    #[must_use]
    pub fn is_error(&self) -> bool {
        !matches!(self, Self::EchoReply { .. } | Self::EchoRequest { .. })
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EchoReply { ident, sequence } => write!(f, "echo reply {ident}/{sequence}"),
            Self::EchoRequest { ident, sequence } => write!(f, "echo request {ident}/{sequence}"),
            Self::Unreachable { code, mtu } => write!(f, "unreachable code {code} mtu {mtu}"),
            Self::TimeExceeded { code } => write!(f, "time exceeded code {code}"),
            Self::ParameterProblem { pointer } => write!(f, "parameter problem at {pointer}"),
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
        let marks = (any::<u16>(), any::<u16>());
        prop_oneof![
            marks.prop_map(|(ident, sequence)| Message::EchoReply { ident, sequence }),
            (any::<u16>(), any::<u16>())
                .prop_map(|(ident, sequence)| Message::EchoRequest { ident, sequence }),
            (any::<u8>(), any::<u16>()).prop_map(|(code, mtu)| Message::Unreachable { code, mtu }),
            any::<u8>().prop_map(|code| Message::TimeExceeded { code }),
            any::<u8>().prop_map(|pointer| Message::ParameterProblem { pointer }),
        ]
    }

    proptest! {
        #[test]
        fn round_trip(message in any_message(), payload: Vec<u8>) {
            let bytes = [&message.emit(&payload)[..], &payload].concat();
            prop_assert_eq!(Message::parse(&bytes), Ok(message));
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            let _ = Message::parse(&bytes);
        }
    }

    #[test]
    fn a_wrong_checksum_is_refused() {
        let mut bytes = Message::EchoRequest {
            ident: 1,
            sequence: 2,
        }
        .emit(&[]);
        bytes[7] ^= 1;
        assert_eq!(Message::parse(&bytes), Err(Malformed::Checksum));
    }
}
