//! `virtio_net_hdr_v1`: what precedes each frame on a link with offloads. Little-endian.
//!
//! Virtual I/O Device (VIRTIO) 1.2, §5.1.6; Linux `include/uapi/linux/virtio_net.h`.

use super::Malformed;

/// The header's octets.
pub const LEN: usize = 12;

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// The header's fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// `NEEDS_CSUM` (1) and `DATA_VALID` (2).
    pub flags: u8,
    /// Which segmentation, 0 for none.
    pub gso_type: u8,
    /// Octets of all protocol headers of a train; a hint.
    pub hdr_len: u16,
    /// Payload octets of each packet to be cut from a train.
    pub gso_size: u16,
    /// Where summing begins, from the Ethernet header's start.
    pub csum_start: u16,
    /// Where the checksum field is, from `csum_start`.
    pub csum_offset: u16,
}

/// Whether a frame's transport checksum is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// The checksum field holds the whole checksum, which nobody has verified yet.
    #[default]
    Complete,
    /// The checksum field holds the pseudo-header's sum only; whoever puts the frame on a wire sums from
    /// `start` to the end and stores the result at `start + offset`. Data that comes this way has not left the
    /// machine and needs no verification.
    Partial {
        /// Where summing begins, in octets from the start of the Ethernet header.
        start: u16,
        /// Where the field is, in octets from `start`.
        offset: u16,
    },
    /// Only on received frames: the link has verified the checksum.
    Verified,
}

/// Whether a frame is a train of several segments or datagrams, to be cut by whoever needs it cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Segmentation {
    /// One packet.
    #[default]
    None,
    /// A TCP segment larger than the MTU.
    Tcp {
        /// Payload octets of each segment to be made, the last may be shorter.
        mss: u16,
    },
    /// Several UDP datagrams of one flow, back to back.
    Udp {
        /// Payload octets of each datagram to be made, the last may be shorter.
        size: u16,
    },
}

/// What a frame says about its checksum and its segmentation: the vocabulary of `virtio_net_hdr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// The state of the transport checksum.
    pub checksum: Checksum,
    /// Whether the frame is a train.
    pub segment: Segmentation,
}

impl Header {
    /// Reads the header that `bytes` begin with.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] when there are fewer than [`LEN`] octets.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some(b) = bytes.first_chunk::<LEN>() else {
            return Err(Malformed::Truncated);
        };
        Ok(Self {
            flags: b[0],
            gso_type: b[1],
            hdr_len: u16::from_le_bytes([b[2], b[3]]),
            gso_size: u16::from_le_bytes([b[4], b[5]]),
            csum_start: u16::from_le_bytes([b[6], b[7]]),
            csum_offset: u16::from_le_bytes([b[8], b[9]]),
        })
    }

    /// The header's octets; `num_buffers` is 0.
    #[must_use]
    pub fn emit(&self) -> [u8; LEN] {
        let mut b = [0; LEN];
        b[0] = self.flags;
        b[1] = self.gso_type;
        b[2..4].copy_from_slice(&self.hdr_len.to_le_bytes());
        b[4..6].copy_from_slice(&self.gso_size.to_le_bytes());
        b[6..8].copy_from_slice(&self.csum_start.to_le_bytes());
        b[8..10].copy_from_slice(&self.csum_offset.to_le_bytes());
        b
    }

    /// The header that states `offload` of a frame whose protocol headers, from Ethernet on, are `headers`.
    #[must_use]
    pub fn new(offload: Offload, headers: &[u8]) -> Self {
        let mut header = Self::default();
        match offload.checksum {
            Checksum::Complete => {}
            Checksum::Verified => header.flags = DATA_VALID,
            Checksum::Partial { start, offset } => {
                header.flags = NEEDS_CSUM;
                header.csum_start = start;
                header.csum_offset = offset;
            }
        }
        let (gso_type, gso_size) = match offload.segment {
            Segmentation::None => return header,
            Segmentation::Tcp { mss } if headers.get(12..14) == Some(&[0x86, 0xdd]) => {
                (GSO_TCPV6, mss)
            }
            Segmentation::Tcp { mss } => (GSO_TCPV4, mss),
            Segmentation::Udp { size } => (GSO_UDP_L4, size),
        };
        header.gso_type = gso_type;
        header.gso_size = gso_size;
        header.hdr_len = u16::try_from(headers.len()).unwrap_or(u16::MAX);
        header
    }

    /// What the header says in the host's words.
    ///
    /// # Errors
    /// [`Malformed::Field`] for a segmentation that is not TCP's or UDP's, or a train of empty packets.
    pub fn offload(&self) -> Result<Offload, Malformed> {
        let checksum = if self.flags & NEEDS_CSUM != 0 {
            Checksum::Partial {
                start: self.csum_start,
                offset: self.csum_offset,
            }
        } else if self.flags & DATA_VALID != 0 {
            Checksum::Verified
        } else {
            Checksum::Complete
        };
        let segment = match (self.gso_type & !GSO_ECN, self.gso_size) {
            (GSO_NONE, _) => Segmentation::None,
            (_, 0) => return Err(Malformed::Field),
            (GSO_TCPV4 | GSO_TCPV6, mss) => Segmentation::Tcp { mss },
            (GSO_UDP_L4, size) => Segmentation::Udp { size },
            _ => return Err(Malformed::Field),
        };
        Ok(Offload { checksum, segment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unknown_segmentation_is_refused() {
        // 3 was UDP fragmentation offload, which Linux no longer speaks.
        let header = Header {
            gso_type: 3,
            gso_size: 1480,
            ..Header::default()
        };
        assert_eq!(header.offload(), Err(Malformed::Field));
        let header = Header {
            gso_type: GSO_TCPV4,
            gso_size: 0,
            ..Header::default()
        };
        assert_eq!(header.offload(), Err(Malformed::Field));
    }

    #[test]
    fn a_train_states_its_family_and_header_length() {
        let mut headers = [0; 74];
        headers[12..14].copy_from_slice(&[0x86, 0xdd]);
        let offload = Offload {
            segment: Segmentation::Tcp { mss: 1440 },
            ..Offload::default()
        };
        let bytes = Header::new(offload, &headers).emit();
        assert_eq!(bytes, [0, 4, 74, 0, 0xa0, 5, 0, 0, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn round_trip(flags: u8, gso_type: u8, hdr_len: u16, gso_size: u16, csum_start: u16, csum_offset: u16) {
            let header = Header { flags, gso_type, hdr_len, gso_size, csum_start, csum_offset };
            prop_assert_eq!(Header::parse(&header.emit()), Ok(header));
        }
    }
}
