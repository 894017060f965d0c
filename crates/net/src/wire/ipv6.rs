//! The IPv6 header and the fragment header. RFC 8200 §3, §4.5. Other extension headers: [`extension`](super::extension).

use super::Malformed;
use core::fmt;
use core::net::Ipv6Addr;

/// The header's octets.
pub const LEN: usize = 40;

/// The fragment header's octets.
pub const FRAGMENT_LEN: usize = 8;

/// The header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// DSCP (six bits) and ECN (two).
    pub traffic_class: u8,
    /// 20 bits that name a flow (RFC 6437).
    pub flow_label: u32,
    /// Octets that follow the header, extension headers included.
    pub payload_len: u16,
    /// What follows the header.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// From whom.
    pub source: Ipv6Addr,
    /// To whom.
    pub destination: Ipv6Addr,
}

impl Header {
    /// Reads the header; the payload is whole: it is `packet[LEN..][..payload_len]`, what follows is padding.
    ///
    /// # Errors
    /// [`Malformed`] when the packet is shorter than it says or is not version 6.
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let header = Self::parse_quoted(packet)?;
        if packet.len() < LEN + usize::from(header.payload_len) {
            return Err(Malformed::Truncated);
        }
        Ok(header)
    }

    /// The same for a packet quoted in an ICMP error, whose end may be missing.
    ///
    /// # Errors
    /// [`Malformed`] when the header is not whole or not version 6.
    pub fn parse_quoted(packet: &[u8]) -> Result<Self, Malformed> {
        let Some(b) = packet.first_chunk::<LEN>() else {
            return Err(Malformed::Truncated);
        };
        if b[0] >> 4 != 6 {
            return Err(Malformed::Field);
        }
        let address = |at: usize| {
            let mut octets = [0; 16];
            octets.copy_from_slice(&b[at..at + 16]);
            Ipv6Addr::from(octets)
        };
        Ok(Self {
            traffic_class: b[0] << 4 | b[1] >> 4,
            flow_label: u32::from_be_bytes([0, b[1] & 15, b[2], b[3]]),
            payload_len: u16::from_be_bytes([b[4], b[5]]),
            next_header: b[6],
            hop_limit: b[7],
            source: address(8),
            destination: address(24),
        })
    }

    /// The header's octets.
    #[must_use]
    pub fn emit(&self) -> [u8; LEN] {
        let mut b = [0; LEN];
        let class = u32::from(self.traffic_class) << 20;
        let first = 6 << 28 | class | (self.flow_label & 0xf_ffff);
        b[0..4].copy_from_slice(&first.to_be_bytes());
        b[4..6].copy_from_slice(&self.payload_len.to_be_bytes());
        b[6] = self.next_header;
        b[7] = self.hop_limit;
        b[8..24].copy_from_slice(&self.source.octets());
        b[24..40].copy_from_slice(&self.destination.octets());
        b
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            source,
            destination,
            next_header,
            payload_len,
            ..
        } = self;
        write!(
            f,
            "{source} > {destination} next {next_header} length {payload_len}"
        )
    }
}

/// The fragment header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// What the first fragment carries first.
    pub next_header: u8,
    /// Where the fragment belongs, in octets; a multiple of 8.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// Which packet it belongs to.
    pub ident: u32,
}

impl Fragment {
    /// Reads a fragment header.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] when it is not whole.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some(b) = bytes.first_chunk::<FRAGMENT_LEN>() else {
            return Err(Malformed::Truncated);
        };
        let field = u16::from_be_bytes([b[2], b[3]]);
        Ok(Self {
            next_header: b[0],
            offset: field & !7,
            more: field & 1 != 0,
            ident: u32::from_be_bytes([b[4], b[5], b[6], b[7]]),
        })
    }

    /// The header's octets.
    #[must_use]
    pub fn emit(&self) -> [u8; FRAGMENT_LEN] {
        let mut b = [0; FRAGMENT_LEN];
        b[0] = self.next_header;
        b[2..4].copy_from_slice(&(self.offset & !7 | u16::from(self.more)).to_be_bytes());
        b[4..8].copy_from_slice(&self.ident.to_be_bytes());
        b
    }

    /// Whether it is a whole packet all the same. RFC 6946.
    #[must_use]
    pub fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

impl fmt::Display for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = if self.more { "more follow" } else { "the last" };
        write!(
            f,
            "fragment of {:08x} at {}, {last}",
            self.ident, self.offset
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(mut bytes: [u8; LEN]) {
            bytes[0] = 0x60 | bytes[0] & 15;
            prop_assert_eq!(Header::parse_quoted(&bytes).unwrap().emit(), bytes);
        }

        #[test]
        fn fragment_round_trip(next_header: u8, eighths in 0u16..8192, more: bool, ident: u32) {
            let fragment = Fragment { next_header, offset: eighths * 8, more, ident };
            prop_assert_eq!(Fragment::parse(&fragment.emit()), Ok(fragment));
        }
    }

    #[test]
    fn a_payload_that_is_not_there_is_truncated() {
        let mut bytes = [0; 48];
        bytes[0] = 0x60;
        bytes[5] = 8;
        assert!(Header::parse(&bytes).is_ok());
        bytes[5] = 9;
        assert_eq!(Header::parse(&bytes), Err(Malformed::Truncated));
    }
}
