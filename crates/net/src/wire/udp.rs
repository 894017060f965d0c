//! The UDP header. RFC 768, RFC 8200 §8.1.

use super::Malformed;
use super::checksum::Sum;
use core::fmt;
use core::net::IpAddr;

/// The header's octets.
pub const LEN: usize = 8;

/// UDP's number in IP.
pub const PROTOCOL: u8 = 17;

/// Where in the header the checksum is.
pub const CHECKSUM_OFFSET: u16 = 6;

/// The header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender's port, 0 for none.
    pub source: u16,
    /// The receiver's port.
    pub destination: u16,
    /// Octets of header and payload, at least 8.
    pub length: u16,
    /// The checksum, 0 for none (IPv4 only).
    pub checksum: u16,
}

impl Header {
    /// Reads the header; the payload is whole: it is `packet[LEN..length]`, what follows is padding.
    ///
    /// # Errors
    /// [`Malformed`] when there is less than the header, or than its length states, or that is below 8.
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let header = Self::parse_quoted(packet)?;
        match usize::from(header.length) {
            length if length < LEN => Err(Malformed::Field),
            length if length > packet.len() => Err(Malformed::Truncated),
            _ => Ok(header),
        }
    }

    /// The same for a packet quoted in an ICMP error, whose end may be missing.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] when there is less than the header.
    pub fn parse_quoted(packet: &[u8]) -> Result<Self, Malformed> {
        let Some(b) = packet.first_chunk::<LEN>() else {
            return Err(Malformed::Truncated);
        };
        let word = |at: usize| u16::from_be_bytes([b[at], b[at + 1]]);
        Ok(Self {
            source: word(0),
            destination: word(2),
            length: word(4),
            checksum: word(6),
        })
    }

    /// The header's octets.
    #[must_use]
    pub fn emit(&self) -> [u8; LEN] {
        let mut b = [0; LEN];
        b[0..2].copy_from_slice(&self.source.to_be_bytes());
        b[2..4].copy_from_slice(&self.destination.to_be_bytes());
        b[4..6].copy_from_slice(&self.length.to_be_bytes());
        b[6..8].copy_from_slice(&self.checksum.to_be_bytes());
        b
    }

    /// Whether a datagram, header first, is as it was sent. Over IPv4 none may have been computed.
    #[must_use]
    pub fn verify(&self, datagram: &[u8], source: IpAddr, destination: IpAddr) -> bool {
        if self.checksum == 0 {
            // RFC 8200 §8.1: over IPv6 the checksum is not optional.
            return source.is_ipv4();
        }
        let mut sum = Sum::pseudo(source, destination, PROTOCOL, datagram.len());
        sum.add(datagram);
        sum.is_valid()
    }
}

/// What is transmitted for a computed checksum: 0 means none, so all ones takes its place. RFC 768.
#[must_use]
pub fn never_zero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// The longest payload of a datagram between addresses of this one's family: what lengths of 16 bits leave. The length of an
/// IPv4 packet counts its header.
#[must_use]
pub fn max_payload(family: IpAddr) -> usize {
    match family {
        IpAddr::V4(_) => 65_535 - 20 - LEN,
        IpAddr::V6(_) => 65_535 - LEN,
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "udp {} > {} length {}",
            self.source, self.destination, self.length
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_judged() {
        let packet = |length: u16| {
            Header {
                source: 1,
                destination: 2,
                length,
                checksum: 0,
            }
            .emit()
        };
        assert_eq!(Header::parse(&packet(7)), Err(Malformed::Field));
        assert!(Header::parse(&packet(8)).is_ok());
        assert_eq!(Header::parse(&packet(9)), Err(Malformed::Truncated));
        assert_eq!(Header::parse(&[0; 7]), Err(Malformed::Truncated));
    }

    #[test]
    fn no_checksum_is_fine_over_ipv4_only() {
        let header = Header {
            source: 1,
            destination: 2,
            length: 8,
            checksum: 0,
        };
        let own = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(header.verify(&header.emit(), own("10.0.0.1"), own("10.0.0.2")));
        assert!(!header.verify(&header.emit(), own("fd00::1"), own("fd00::2")));
    }

    proptest! {
        #[test]
        fn round_trip(bytes: [u8; LEN]) {
            prop_assert_eq!(Header::parse_quoted(&bytes).unwrap().emit(), bytes);
        }
    }
}
