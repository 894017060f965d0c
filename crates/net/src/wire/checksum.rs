//! The Internet checksum: the ones' complement of the ones' complement sum. RFC 1071.
//!
//! # Theory of operation
//!
//! The sum does not depend on byte order (RFC 1071 §2 (B)), so octets are added as native 32-bit words into
//! 64 bits, which compilers turn into vector instructions, and folded at the end. A slice that begins at an odd offset
//! of the whole contributes its own sum with the octets swapped; so a scatter list is summed without being joined.

use core::net::IpAddr;

/// A sum in progress over octets that come in slices.
///
/// ```
/// use wharf_net::wire::checksum::Sum;
///
/// let mut whole = Sum::default();
/// whole.add(&[1, 2, 3, 4, 5]);
/// let mut parts = Sum::default();
/// parts.add(&[1, 2, 3]);
/// parts.add(&[4, 5]);
/// assert_eq!(whole.checksum(), parts.checksum());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    total: u64,
    odd: bool,
}

impl Sum {
    /// The sum of a pseudo-header: addresses, `protocol`, and the octets of transport header and payload.
    /// RFC 9293 §3.1, RFC 8200 §8.1. The addresses are of one family.
    #[must_use]
    pub fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Self {
        let mut sum = Self::default();
        for address in [source, destination] {
            match address {
                IpAddr::V4(address) => sum.add(&address.octets()),
                IpAddr::V6(address) => sum.add(&address.octets()),
            }
        }
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        sum.add(&length.to_be_bytes());
        sum.add(&[0, protocol]);
        sum
    }

    /// Adds what comes next.
    pub fn add(&mut self, bytes: &[u8]) {
        let sum = fold(native_sum(bytes));
        let sum = if self.odd { sum.swap_bytes() } else { sum };
        self.total += u64::from(sum);
        self.odd ^= bytes.len() % 2 == 1;
    }

    /// The sum itself, as a partial checksum's field holds it.
    #[must_use]
    pub fn folded(self) -> u16 {
        u16::from_be_bytes(fold(self.total).to_ne_bytes())
    }

    /// The checksum: what makes the sum of everything, itself included, 0xffff.
    #[must_use]
    pub fn checksum(self) -> u16 {
        !self.folded()
    }

    /// Whether the octets, a checksum among them, are as they were sent.
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.folded() == 0xffff
    }
}

/// The checksum of one slice.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = Sum::default();
    sum.add(bytes);
    sum.checksum()
}

fn native_sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum: u64 = words
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)))
        .sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    sum += u64::from(u32::from_ne_bytes(last));
    sum
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// RFC 1071 §1, by the letter.
    fn by_the_letter(bytes: &[u8]) -> u16 {
        let mut sum = 0u64;
        for pair in bytes.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u64::from(u16::from_be_bytes([pair[0], low]));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(
            checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
            !0xddf2
        );
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(parts: Vec<Vec<u8>>) {
            let mut sum = Sum::default();
            parts.iter().for_each(|part| sum.add(part));
            prop_assert_eq!(sum.checksum(), by_the_letter(&parts.concat()));
        }

        #[test]
        fn a_checksum_makes_its_octets_valid(mut bytes in proptest::collection::vec(any::<u8>(), 2..80)) {
            bytes[0..2].fill(0);
            let value = checksum(&bytes);
            bytes[0..2].copy_from_slice(&value.to_be_bytes());
            let mut sum = Sum::default();
            sum.add(&bytes);
            prop_assert!(sum.is_valid());
        }
    }
}
