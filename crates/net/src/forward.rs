//! What a router does to a frame that it sends on: it lowers the hop count and readdresses the frame, and nothing else.
//!
//! For programs that carry frames between several links; a [`Host`](crate::Host) does not forward. What the frame says
//! about checksums and segmentation stays true, because neither covers what is changed here.
//!
//! RFC 1812 §5.3.1 (time to live), RFC 1624 (incremental update of the checksum), RFC 8200 §3 (hop limit).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::ethernet::Mac;

/// Octets of an Ethernet header.
const ETHERNET: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
/// Where the hop count, and the IPv4 header's checksum, are in their IP headers.
const TTL: usize = 8;
const CHECKSUM: usize = 10;
const HOP_LIMIT: usize = 7;

/// Where an Ethernet frame's packet is going; `None` if it is no whole IP header.
#[must_use]
pub fn destination(frame: &[u8]) -> Option<IpAddr> {
    let packet = frame.get(ETHERNET..)?;
    match (kind(frame)?, packet.first()? >> 4) {
        (IPV4, 4) => Some(Ipv4Addr::from(*packet.get(16..)?.first_chunk::<4>()?).into()),
        (IPV6, 6) => Some(Ipv6Addr::from(*packet.get(24..)?.first_chunk::<16>()?).into()),
        _ => None,
    }
}

/// Makes an Ethernet frame ready for its next link: one hop less, from `source` to `destination`. `false` if it has no
/// hop left, or is no whole IP header; it must then not be sent.
#[must_use]
pub fn prepare(frame: &mut [u8], source: Mac, destination: Mac) -> bool {
    let lowered = match kind(frame) {
        Some(IPV4) => lower_ttl(&mut frame[ETHERNET..]),
        Some(IPV6) => lower_hop_limit(&mut frame[ETHERNET..]),
        _ => None,
    };
    if lowered.is_some() {
        frame[..6].copy_from_slice(&destination.0);
        frame[6..12].copy_from_slice(&source.0);
    }
    lowered.is_some()
}

fn kind(frame: &[u8]) -> Option<[u8; 2]> {
    frame.get(12..ETHERNET)?.try_into().ok()
}

fn lower_ttl(packet: &mut [u8]) -> Option<()> {
    let header = packet.first_chunk_mut::<20>()?;
    header[TTL] = header[TTL].checked_sub(1).filter(|&left| left > 0)?;
    // RFC 1624 §3, for a word that falls by 0x0100: the sum's complement rises by as much, with the carry around.
    let sum = u16::from_be_bytes([header[CHECKSUM], header[CHECKSUM + 1]]);
    let (sum, carry) = sum.overflowing_add(0x0100);
    header[CHECKSUM..CHECKSUM + 2].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
    Some(())
}

fn lower_hop_limit(packet: &mut [u8]) -> Option<()> {
    let header = packet.first_chunk_mut::<40>()?;
    header[HOP_LIMIT] = header[HOP_LIMIT].checked_sub(1).filter(|&left| left > 0)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum::checksum;
    use alloc::vec::Vec;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn ipv4(ttl: u8, ident: u16) -> Vec<u8> {
        let mut frame = [[0xff; 12].as_slice(), &IPV4].concat();
        let mut header = [
            0x45, 0, 0, 20, 0, 0, 0, 0, ttl, 17, 0, 0, 10, 77, 1, 2, 10, 77, 3, 4,
        ];
        header[4..6].copy_from_slice(&ident.to_be_bytes());
        let sum = checksum(&header);
        header[CHECKSUM..12].copy_from_slice(&sum.to_be_bytes());
        frame.extend_from_slice(&header);
        frame
    }

    #[test]
    fn a_packet_loses_one_hop_and_its_checksum_stays_right() {
        for ident in 0..=u16::MAX {
            let mut frame = ipv4(64, ident);
            assert!(prepare(&mut frame, A, B));
            assert_eq!(frame[ETHERNET + TTL], 63);
            assert_eq!(checksum(&frame[ETHERNET..]), 0, "ident {ident}");
        }
    }

    #[test]
    fn the_frame_goes_to_the_next_link() {
        let mut frame = ipv4(64, 7);
        assert_eq!(
            destination(&frame),
            Some(Ipv4Addr::new(10, 77, 3, 4).into())
        );
        assert!(prepare(&mut frame, A, B));
        assert_eq!((&frame[..6], &frame[6..12]), (&B.0[..], &A.0[..]));
    }

    #[test]
    fn the_last_hop_is_the_last() {
        for ttl in [0, 1] {
            assert!(!prepare(&mut ipv4(ttl, 7), A, B));
        }
        let mut ipv6 = [[0xff; 12].as_slice(), &IPV6, &[0x60; 1], &[0; 39]].concat();
        ipv6[ETHERNET + HOP_LIMIT] = 2;
        assert!(prepare(&mut ipv6, A, B));
        assert!(!prepare(&mut ipv6, A, B));
    }

    #[test]
    fn what_is_cut_short_is_not_sent_on() {
        let frame = ipv4(64, 7);
        for length in 0..frame.len() {
            assert!(!prepare(&mut frame[..length].to_vec(), A, B));
            assert_eq!(destination(&frame[..length]), None);
        }
    }
}
