//! The IPv4 header. RFC 791 §3.1, RFC 6864 (identification), RFC 2474 and RFC 3168 (the type-of-service octet).

use super::{Malformed, checksum};
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

/// Octets of a header without options.
pub const LEN: usize = 20;

/// Octets of the longest header.
pub const MAX_LEN: usize = 60;

/// The header's fields, options left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// DSCP (six bits) and ECN (two).
    pub traffic_class: u8,
    /// Octets that follow the header.
    pub payload_len: u16,
    /// Which datagram a fragment belongs to.
    pub ident: u16,
    /// "Don't fragment".
    pub dont_fragment: bool,
    /// More fragments follow.
    pub more_fragments: bool,
    /// Where a fragment belongs, in octets; a multiple of 8 up to 65,528.
    pub fragment_offset: u16,
    /// Time to live, in hops.
    pub ttl: u8,
    /// What follows: 1 ICMP, 6 TCP, 17 UDP.
    pub protocol: u8,
    /// From whom.
    pub source: Ipv4Addr,
    /// To whom.
    pub destination: Ipv4Addr,
}

impl Header {
    /// Reads the header that `packet` begins with; returns it and its octets, options included. The payload is whole: it
    /// is `packet[length..][..payload_len]`, what follows is padding.
    ///
    /// # Errors
    /// [`Malformed`] when the packet is shorter than it says, is not version 4, or the header's checksum is wrong.
    pub fn parse(packet: &[u8]) -> Result<(Self, usize), Malformed> {
        let (header, length) = Self::parse_quoted(packet)?;
        if packet.len() < length + usize::from(header.payload_len) {
            return Err(Malformed::Truncated);
        }
        let checksum = match packet.first_chunk::<LEN>() {
            Some(plain) if length == LEN => checksum::checksum(plain),
            _ => checksum::checksum(&packet[..length]),
        };
        if checksum != 0 {
            return Err(Malformed::Checksum);
        }
        Ok((header, length))
    }

    /// The same for a packet quoted in an ICMP error, of which the end is often missing and the checksum may
    /// be stale: neither is looked at.
    ///
    /// # Errors
    /// [`Malformed`] when the header is not whole or not version 4.
    pub fn parse_quoted(packet: &[u8]) -> Result<(Self, usize), Malformed> {
        let Some(b) = packet.first_chunk::<LEN>() else {
            return Err(Malformed::Truncated);
        };
        let length = usize::from(b[0] & 15) * 4;
        let total = u16::from_be_bytes([b[2], b[3]]);
        if b[0] >> 4 != 4 || length < LEN {
            return Err(Malformed::Field);
        }
        if usize::from(total) < length || packet.len() < length {
            return Err(Malformed::Truncated);
        }
        let fragment = u16::from_be_bytes([b[6], b[7]]);
        let header = Self {
            traffic_class: b[1],
            payload_len: total - u16::from(b[0] & 15) * 4,
            ident: u16::from_be_bytes([b[4], b[5]]),
            dont_fragment: fragment & 0x4000 != 0,
            more_fragments: fragment & 0x2000 != 0,
            fragment_offset: fragment << 3,
            ttl: b[8],
            protocol: b[9],
            source: Ipv4Addr::new(b[12], b[13], b[14], b[15]),
            destination: Ipv4Addr::new(b[16], b[17], b[18], b[19]),
        };
        Ok((header, length))
    }

    /// The header's octets, checksum included. A payload beyond 65,515 octets is a fault of the caller's, and is
    /// stated as 65,515.
    #[must_use]
    pub fn emit(&self) -> [u8; LEN] {
        let mut b = [0; LEN];
        b[0] = 0x45;
        b[1] = self.traffic_class;
        b[2..4].copy_from_slice(&self.payload_len.saturating_add(LEN as u16).to_be_bytes());
        b[4..6].copy_from_slice(&self.ident.to_be_bytes());
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(self.more_fragments) << 13;
        b[6..8].copy_from_slice(&(flags | self.fragment_offset >> 3).to_be_bytes());
        b[8] = self.ttl;
        b[9] = self.protocol;
        b[12..16].copy_from_slice(&self.source.octets());
        b[16..20].copy_from_slice(&self.destination.octets());
        let checksum = checksum::checksum(&b);
        b[10..12].copy_from_slice(&checksum.to_be_bytes());
        b
    }

    /// The same with options: at most 40 octets, a multiple of four.
    #[must_use]
    pub fn emit_with(&self, options: &[u8]) -> Vec<u8> {
        debug_assert!(options.len() <= MAX_LEN - LEN && options.len().is_multiple_of(4));
        let longer = Self {
            payload_len: self.payload_len.saturating_add(options.len() as u16),
            ..*self
        };
        let mut b = longer.emit().to_vec();
        b.extend_from_slice(options);
        b[0] = 0x40 | (b.len() / 4) as u8;
        b[10..12].fill(0);
        let checksum = checksum::checksum(&b);
        b[10..12].copy_from_slice(&checksum.to_be_bytes());
        b
    }

    /// Whether this is a part of a datagram only.
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            source,
            destination,
            protocol,
            payload_len,
            ..
        } = self;
        write!(
            f,
            "{source} > {destination} protocol {protocol} length {payload_len}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BYTES: [u8; 22] = [
        0x45, 0, 0, 22, 0x12, 0x34, 0x40, 0, 64, 17, 0x14, 0xa1, 10, 0, 0, 1, 10, 0, 0, 2, 7, 8,
    ];

    fn bytes() -> [u8; 22] {
        let mut bytes = BYTES;
        let (header, _) = Header::parse_quoted(&bytes).unwrap();
        bytes[..20].copy_from_slice(&header.emit());
        bytes
    }

    #[test]
    fn every_cut_is_truncated() {
        let bytes = bytes();
        assert_eq!(Header::parse(&bytes).unwrap().1, 20);
        for end in 0..22 {
            assert_eq!(
                Header::parse(&bytes[..end]),
                Err(Malformed::Truncated),
                "{end}"
            );
        }
    }

    #[test]
    fn each_flipped_bit_of_the_header_is_noticed() {
        for bit in 0..160 {
            let mut bytes = bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::parse(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn options_are_passed_over() {
        let mut bytes = [0; 26];
        bytes[..20].copy_from_slice(&bytes_with_length(26));
        bytes[0] = 0x46;
        bytes[10..12].fill(0);
        let sum = checksum::checksum(&bytes[..24]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        let (header, length) = Header::parse(&bytes).unwrap();
        assert_eq!((length, header.payload_len), (24, 2));
    }

    #[test]
    fn options_stand_behind_the_header() {
        let (header, _) = Header::parse_quoted(&BYTES).unwrap();
        for options in [&[][..], &[0x94, 4, 0, 0], &[1; 40]] {
            let bytes = [&header.emit_with(options)[..], &[7, 8]].concat();
            let length = LEN + options.len();
            assert_eq!(Header::parse(&bytes), Ok((header, length)));
            assert_eq!(bytes[20..length], *options);
        }
    }

    fn bytes_with_length(total: u16) -> [u8; 20] {
        let (mut header, _) = Header::parse_quoted(&BYTES).unwrap();
        header.payload_len = total - 20;
        header.emit()
    }

    proptest! {
        #[test]
        fn round_trip(traffic_class: u8, payload_len in 0u16..=65515, ident: u16, dont_fragment: bool,
            more_fragments: bool, eighths in 0u16..8192, ttl: u8, protocol: u8, source: [u8; 4],
            destination: [u8; 4])
        {
            let header = Header {
                traffic_class, payload_len, ident, dont_fragment, more_fragments,
                fragment_offset: eighths * 8, ttl, protocol,
                source: source.into(), destination: destination.into(),
            };
            prop_assert_eq!(Header::parse_quoted(&header.emit()), Ok((header, 20)));
        }
    }
}
