//! The Internet checksum: the ones' complement of the ones' complement sum. RFC 1071.
//!
//! # Theory of operation
//!
//! The sum does not depend on byte order (RFC 1071 §2 (B)), and 16-bit words add up alike however many of them are in a larger
//! one. So octets are read as native 64-bit words, and each half of a word is added to 64 bits of its own, where nothing
//! overflows. Eight words side by side, none waiting for another, are what compilers make vector instructions of.
//! Everything is folded at the end. A slice that begins at an odd offset of the whole contributes its own sum with the octets
//! swapped; so a scatter list is summed without being joined.

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
        let addresses = [source, destination].map(|address| match address {
            IpAddr::V4(address) => native(address.octets()),
            IpAddr::V6(address) => {
                let octets = address.octets();
                let (words, _) = octets.as_chunks::<4>();
                words.iter().map(|word| native(*word)).sum()
            }
        });
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let rest = native(length.to_be_bytes()) + native([0, 0, 0, protocol]);
        Self {
            total: addresses[0] + addresses[1] + rest,
            odd: false,
        }
    }

    /// Adds what comes next.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        let sum = native_sum(bytes);
        self.total += if self.odd {
            fold(sum).swap_bytes().into()
        } else {
            halve(sum)
        };
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
#[inline]
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = Sum::default();
    sum.add(bytes);
    sum.checksum()
}

/// Words that are added side by side.
const LANES: usize = 8;

/// The sum of native 32-bit words.
#[inline]
fn native_sum(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<{ 8 * LANES }>();
    let mut sum = if blocks.is_empty() {
        0
    } else {
        block_sum(blocks)
    };
    let (words, rest) = rest.as_chunks::<4>();
    for word in words {
        sum += native(*word);
    }
    sum + match *rest {
        [a] => native([a, 0, 0, 0]),
        [a, b] => native([a, b, 0, 0]),
        [a, b, c] => native([a, b, c, 0]),
        _ => 0,
    }
}

#[inline(never)]
fn block_sum(blocks: &[[u8; 8 * LANES]]) -> u64 {
    let mut lanes = [[0; 2]; LANES];
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            let word = u64::from_ne_bytes(*word);
            lane[0] += word & 0xffff_ffff;
            lane[1] += word >> 32;
        }
    }
    lanes.as_flattened().iter().sum()
}

fn native(word: [u8; 4]) -> u64 {
    u32::from_ne_bytes(word).into()
}

/// The ones' complement sum of two 32-bit words: 33 bits.
const fn halve(sum: u64) -> u64 {
    (sum & 0xffff_ffff) + (sum >> 32)
}

/// The ones' complement sum of four 16-bit words: 0 only if all of them are.
const fn fold(sum: u64) -> u16 {
    let sum = halve(halve(sum));
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
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
        fn long_slices_and_large_words_are_summed_alike(
            parts in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![Just(0xff_u8), any::<u8>()], 0..700), 1..4),
        ) {
            let mut sum = Sum::default();
            parts.iter().for_each(|part| sum.add(part));
            prop_assert_eq!(sum.checksum(), by_the_letter(&parts.concat()));
        }

        #[test]
        fn a_checksum_makes_its_octets_valid(mut bytes in proptest::collection::vec(any::<u8>(), 2..400)) {
            bytes[0..2].fill(0);
            let value = checksum(&bytes);
            bytes[0..2].copy_from_slice(&value.to_be_bytes());
            let mut sum = Sum::default();
            sum.add(&bytes);
            prop_assert!(sum.is_valid());
        }
    }
}
