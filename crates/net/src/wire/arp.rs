//! ARP for IPv4 over Ethernet. RFC 826, RFC 5227.

use super::Malformed;
use super::ethernet::Mac;
use core::fmt;
use core::net::Ipv4Addr;

/// The packet's octets.
pub const LEN: usize = 28;

/// Hardware type Ethernet, protocol type IPv4, and their address lengths.
const FIXED: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// Question or answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has it.
    Reply,
}

/// The packet's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Question or answer.
    pub operation: Operation,
    /// The sender's hardware address.
    pub sender_mac: Mac,
    /// The sender's address; unspecified in a probe (RFC 5227 §2.1.1).
    pub sender: Ipv4Addr,
    /// The target's hardware address; meaningless in a request.
    pub target_mac: Mac,
    /// The address asked for, or the asker's.
    pub target: Ipv4Addr,
}

impl Packet {
    /// Reads a packet; what follows it is padding.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] below [`LEN`] octets, [`Malformed::Field`] when it is not about IPv4 on Ethernet.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some(b) = bytes.first_chunk::<LEN>() else {
            return Err(Malformed::Truncated);
        };
        if b[..6] != FIXED {
            return Err(Malformed::Field);
        }
        let operation = match b[6..8] {
            [0, 1] => Operation::Request,
            [0, 2] => Operation::Reply,
            _ => return Err(Malformed::Field),
        };
        Ok(Self {
            operation,
            sender_mac: Mac([b[8], b[9], b[10], b[11], b[12], b[13]]),
            sender: Ipv4Addr::new(b[14], b[15], b[16], b[17]),
            target_mac: Mac([b[18], b[19], b[20], b[21], b[22], b[23]]),
            target: Ipv4Addr::new(b[24], b[25], b[26], b[27]),
        })
    }

    /// The packet's octets.
    #[must_use]
    pub fn emit(&self) -> [u8; LEN] {
        let mut b = [0; LEN];
        b[..6].copy_from_slice(&FIXED);
        b[7] = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        b[8..14].copy_from_slice(&self.sender_mac.0);
        b[14..18].copy_from_slice(&self.sender.octets());
        b[18..24].copy_from_slice(&self.target_mac.0);
        b[24..28].copy_from_slice(&self.target.octets());
        b
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operation {
            Operation::Request => write!(f, "who has {}? tell {}", self.target, self.sender),
            Operation::Reply => write!(f, "{} is at {}", self.sender, self.sender_mac),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(addresses: [u8; 20], reply: bool) {
            let mut bytes = [0; LEN];
            bytes[..6].copy_from_slice(&FIXED);
            bytes[7] = 1 + u8::from(reply);
            bytes[8..].copy_from_slice(&addresses);
            prop_assert_eq!(Packet::parse(&bytes).unwrap().emit(), bytes);
        }

        #[test]
        fn any_bytes(bytes: alloc::vec::Vec<u8>) {
            let _ = Packet::parse(&bytes);
        }
    }

    #[test]
    fn other_hardware_is_refused() {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&[0, 6, 8, 0, 6, 4, 0, 1]);
        assert_eq!(Packet::parse(&bytes), Err(Malformed::Field));
    }
}
