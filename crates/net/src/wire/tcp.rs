//! The TCP header (RFC 9293 §3.1): its fields as values, parsed from bytes and emitted to them.
//!
//! The checksum is not this file's: it covers the payload and a pseudo-header, and often the link computes it. What a segment
//! means is not here either, but in [`tcp`](crate::tcp).

mod options;
mod seq;

pub use options::{MAX_OPTIONS_LEN, MAX_WINDOW_SCALE, Options, SackBlock, SackBlocks, Timestamps};
pub use seq::SeqNum;

use core::fmt;
use core::ops::BitOr;

/// Octets of a header without options.
pub const HEADER_LEN: usize = 20;

/// Octets of the longest header: 20 fixed and 40 of options.
pub const MAX_HEADER_LEN: usize = HEADER_LEN + MAX_OPTIONS_LEN;

/// Where in the header the checksum field is, in octets.
pub const CHECKSUM_OFFSET: usize = 16;

/// A set of control bits (RFC 9293 §3.1, RFC 3168 §6.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u8);

impl Flags {
    /// No bit at all.
    pub const NONE: Self = Self(0);
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronize sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push: a hint that what was written together ends here.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment field is significant.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is significant.
    pub const URG: Self = Self(0x20);
    /// ECN-Echo (RFC 3168 §6.1).
    pub const ECE: Self = Self(0x40);
    /// Congestion Window Reduced (RFC 3168 §6.1).
    pub const CWR: Self = Self(0x80);

    /// The eight bits as they are on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set of these wire bits.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Whether every bit of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is in this set.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// This set less the bits of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// This set and the bits of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let mut separator = "";
        for (_, name) in names
            .iter()
            .enumerate()
            .filter(|(bit, _)| (self.0 >> bit) & 1 == 1)
        {
            f.write_str(separator)?;
            f.write_str(name)?;
            separator = ",";
        }
        if separator.is_empty() {
            f.write_str("none")
        } else {
            Ok(())
        }
    }
}

/// What a segment's header says to the connection: everything but the ports, which have done their work once the connection
/// is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// SEG.SEQ: of the first octet of payload, or of the SYN.
    pub seq: SeqNum,
    /// SEG.ACK: the next sequence number expected; only with [`Flags::ACK`].
    pub ack: SeqNum,
    /// The control bits.
    pub flags: Flags,
    /// SEG.WND as on the wire: not yet shifted by the window scale.
    pub window: u16,
    /// SEG.UP: offset of the urgent pointer from `seq`; only with [`Flags::URG`].
    pub urgent: u16,
    /// The options.
    pub options: Options,
}

impl Control {
    /// Octets of the header that carries this, options included: 20–60.
    #[must_use]
    pub fn header_len(&self) -> usize {
        HEADER_LEN + self.options.len()
    }

    /// SEG.LEN: the sequence space that the segment takes, SYN and FIN counted (RFC 9293 §3.4).
    #[must_use]
    pub fn segment_len(&self, payload: usize) -> usize {
        payload
            + usize::from(self.flags.contains(Flags::SYN))
            + usize::from(self.flags.contains(Flags::FIN))
    }
}

/// A whole TCP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The sender's port. Zero is reserved; whoever demultiplexes refuses it.
    pub source: u16,
    /// The receiver's port.
    pub destination: u16,
    /// Everything else.
    pub control: Control,
}

/// Why bytes are not a TCP header; in each case the segment is to be discarded in silence (RFC 9293 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer than 20 octets, or fewer than the data offset says.
    #[error("the segment ends within its TCP header")]
    Truncated,
    /// A data offset below five words.
    #[error("the data offset points into the fixed TCP header")]
    DataOffset,
}

impl Header {
    /// Reads a header from the front of `segment`; returns it and its length: where the payload begins.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Truncated`] or [`HeaderError::DataOffset`]; malformed options are no error, they are passed over.
    pub fn parse(segment: &[u8]) -> Result<(Self, usize), HeaderError> {
        let Some(fixed) = segment.first_chunk::<HEADER_LEN>() else {
            return Err(HeaderError::Truncated);
        };
        let len = usize::from(fixed[12] >> 4) * 4;
        if len < HEADER_LEN {
            return Err(HeaderError::DataOffset);
        }
        let Some(options) = segment.get(HEADER_LEN..len) else {
            return Err(HeaderError::Truncated);
        };
        let short = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let long = |at: usize| u32::from(short(at)) << 16 | u32::from(short(at + 2));
        let control = Control {
            seq: SeqNum::new(long(4)),
            ack: SeqNum::new(long(8)),
            flags: Flags::from_bits(fixed[13]),
            window: short(14),
            urgent: short(18),
            options: Options::parse(options),
        };
        Ok((
            Self {
                source: short(0),
                destination: short(2),
                control,
            },
            len,
        ))
    }

    /// Octets that [`emit`](Self::emit) writes: 20–60, a multiple of four.
    #[must_use]
    pub fn len(&self) -> usize {
        self.control.header_len()
    }

    /// Never: a header has at least 20 octets.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Writes the header at the front of `out`, its checksum zero, and returns its length.
    ///
    /// # Panics
    ///
    /// If `out` is shorter than [`len`](Self::len).
    pub fn emit(&self, out: &mut [u8]) -> usize {
        let control = &self.control;
        let len = HEADER_LEN + control.options.emit(&mut out[HEADER_LEN..]);
        out[0..2].copy_from_slice(&self.source.to_be_bytes());
        out[2..4].copy_from_slice(&self.destination.to_be_bytes());
        out[4..8].copy_from_slice(&control.seq.value().to_be_bytes());
        out[8..12].copy_from_slice(&control.ack.value().to_be_bytes());
        out[12] = (len as u8 / 4) << 4;
        out[13] = control.flags.bits();
        out[14..16].copy_from_slice(&control.window.to_be_bytes());
        out[16..18].fill(0);
        out[18..20].copy_from_slice(&control.urgent.to_be_bytes());
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    fn header() -> Header {
        let options = Options {
            mss: Some(1460),
            ..Options::default()
        };
        let control = Control {
            seq: SeqNum::new(0x0102_0304),
            ack: SeqNum::new(0x0506_0708),
            flags: Flags::SYN | Flags::ACK,
            window: 0x0a0b,
            urgent: 0x0c0d,
            options,
        };
        Header {
            source: 0x1f90,
            destination: 0xc001,
            control,
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_rfc() {
        let mut bytes = [0xff; MAX_HEADER_LEN];
        let len = header().emit(&mut bytes);
        let expected = [
            0x1f, 0x90, 0xc0, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 0x60, 0x12, 0x0a, 0x0b, 0, 0, 0x0c,
            0x0d, 2, 4, 0x05, 0xb4,
        ];
        assert_eq!(bytes[..len], expected);
        assert_eq!(Header::parse(&bytes[..len]), Ok((header(), 24)));
    }

    #[test]
    fn a_data_offset_below_five_or_beyond_the_segment_is_refused() {
        let mut bytes = [0; HEADER_LEN];
        for words in 0..16u8 {
            bytes[12] = words << 4;
            let expected = match words {
                0..5 => Err(HeaderError::DataOffset),
                5 => Ok(20),
                _ => Err(HeaderError::Truncated),
            };
            assert_eq!(
                Header::parse(&bytes).map(|(_, len)| len),
                expected,
                "{words} words"
            );
        }
        for len in 0..HEADER_LEN {
            assert_eq!(Header::parse(&bytes[..len]), Err(HeaderError::Truncated));
        }
    }

    #[test]
    fn flags_are_printed_by_name() {
        let shown: Vec<_> = [Flags::NONE, Flags::SYN | Flags::ACK]
            .iter()
            .map(|flags| format!("{flags:?}"))
            .collect();
        assert_eq!(shown, ["none", "SYN,ACK"]);
    }
}
