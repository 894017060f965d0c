//! Router advertisements, from the ICMPv6 header on: who forwards, which networks are here, what the link's hosts should know. RFC 4861
//! §4.2, §4.6.
//!
//! Other neighbour discovery messages are [`ndp`](super::ndp)'s.

use super::Malformed;
use super::ethernet::Mac;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;
use core::time::Duration;

/// The ICMPv6 type of a solicitation.
pub const SOLICITATION: u8 = 133;
/// The ICMPv6 type of an advertisement.
pub const ADVERTISEMENT: u8 = 134;
/// Where solicitations go: all routers.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// The octets of an advertisement before its options.
const LEN: usize = 16;
const SOURCE_LINK: u8 = 1;
const PREFIX: u8 = 3;
const MTU: u8 = 5;
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;

/// An advertisement's fields; what is unspecified is 0 or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertisement {
    /// Hops that packets should have at the beginning.
    pub hop_limit: u8,
    /// How long the router is one to send to by default; zero if it is none.
    pub lifetime: Duration,
    /// How long a neighbour counts as reachable after a confirmation.
    pub reachable: Duration,
    /// Time between solicitations that are repeated.
    pub retransmit: Duration,
    /// The router's hardware address.
    pub link: Option<Mac>,
    /// The largest packet on the link.
    pub mtu: Option<u32>,
    /// The networks that are told of.
    pub prefixes: Vec<Prefix>,
}

/// A network. RFC 4861 §4.6.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Its first address; bits beyond the length mean nothing.
    pub network: Ipv6Addr,
    /// How many bits all of its addresses share.
    pub length: u8,
    /// Its addresses are reached without a router.
    pub on_link: bool,
    /// Hosts may make addresses of their own in it.
    pub autonomous: bool,
    /// How long this is true.
    pub valid: Lifetime,
    /// How long addresses in it are to be used for new connections.
    pub preferred: Lifetime,
}

/// How long something is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lifetime {
    /// So many seconds.
    Seconds(u32),
    /// For ever.
    Infinite,
}

impl From<u32> for Lifetime {
    fn from(value: u32) -> Self {
        match value {
            u32::MAX => Self::Infinite,
            seconds => Self::Seconds(seconds),
        }
    }
}

impl Advertisement {
    /// Reads an advertisement, from the ICMPv6 header on; the checksum has been verified. Options that are not known are passed over.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] when it or an option is not whole, [`Malformed::Field`] for an option of length 0 (RFC 4861 §6.1.2).
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some((fixed, mut options)) = bytes.split_first_chunk::<LEN>() else {
            return Err(Malformed::Truncated);
        };
        let word = |at: usize| {
            u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]])
        };
        let mut told = Self {
            hop_limit: fixed[4],
            lifetime: Duration::from_secs((word(4) & 0xffff).into()),
            reachable: Duration::from_millis(word(8).into()),
            retransmit: Duration::from_millis(word(12).into()),
            ..Self::default()
        };
        while let [_, eighths, ..] = *options {
            let length = usize::from(eighths) * 8;
            if length == 0 {
                return Err(Malformed::Field);
            }
            let Some((option, rest)) = options.split_at_checked(length) else {
                return Err(Malformed::Truncated);
            };
            told.take(option);
            options = rest;
        }
        match options {
            [] => Ok(told),
            _ => Err(Malformed::Truncated),
        }
    }

    fn take(&mut self, option: &[u8]) {
        match *option {
            [SOURCE_LINK, 1, a, b, c, d, e, f] => self.link = Some(Mac([a, b, c, d, e, f])),
            [MTU, 1, _, _, a, b, c, d] => self.mtu = Some(u32::from_be_bytes([a, b, c, d])),
            [PREFIX, 4, length, flags, ref rest @ ..] if length <= 128 => {
                let word = |at: usize| {
                    u32::from_be_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]])
                };
                let mut network = [0; 16];
                network.copy_from_slice(&rest[12..28]);
                self.prefixes.push(Prefix {
                    network: network.into(),
                    length,
                    on_link: flags & ON_LINK != 0,
                    autonomous: flags & AUTONOMOUS != 0,
                    valid: word(0).into(),
                    preferred: word(4).into(),
                });
            }
            _ => {}
        }
    }

    /// The octets behind the ICMPv6 header's first four and the word that follows, which is
    /// [`word`](Self::word)'s.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let millis = |span: Duration| {
            u32::try_from(span.as_millis())
                .unwrap_or(u32::MAX)
                .to_be_bytes()
        };
        let mut bytes = Vec::from(millis(self.reachable));
        bytes.extend_from_slice(&millis(self.retransmit));
        if let Some(Mac(mac)) = self.link {
            bytes.extend_from_slice(&[SOURCE_LINK, 1]);
            bytes.extend_from_slice(&mac);
        }
        if let Some(mtu) = self.mtu {
            bytes.extend_from_slice(&[MTU, 1, 0, 0]);
            bytes.extend_from_slice(&mtu.to_be_bytes());
        }
        for prefix in &self.prefixes {
            let seconds = |lifetime| match lifetime {
                Lifetime::Seconds(seconds) => u32::to_be_bytes(seconds),
                Lifetime::Infinite => [0xff; 4],
            };
            let on_link = if prefix.on_link { ON_LINK } else { 0 };
            let autonomous = if prefix.autonomous { AUTONOMOUS } else { 0 };
            bytes.extend_from_slice(&[PREFIX, 4, prefix.length, on_link | autonomous]);
            bytes.extend_from_slice(&seconds(prefix.valid));
            bytes.extend_from_slice(&seconds(prefix.preferred));
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&prefix.network.octets());
        }
        bytes
    }

    /// The second word of the message: hop limit, flags (none), lifetime.
    #[must_use]
    pub fn word(&self) -> [u8; 4] {
        let lifetime = u16::try_from(self.lifetime.as_secs())
            .unwrap_or(u16::MAX)
            .to_be_bytes();
        [self.hop_limit, 0, lifetime[0], lifetime[1]]
    }
}

/// A solicitation's option: the hardware address of the host that asks. RFC 4861 §4.1.
#[must_use]
pub fn solicitation(Mac(mac): Mac) -> [u8; 8] {
    let [a, b, c, d, e, f] = mac;
    [SOURCE_LINK, 1, a, b, c, d, e, f]
}

impl fmt::Display for Advertisement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "router for {:?}", self.lifetime)?;
        self.prefixes
            .iter()
            .try_for_each(|prefix| write!(f, ", {}/{}", prefix.network, prefix.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(told: &Advertisement) -> Vec<u8> {
        [&[ADVERTISEMENT, 0, 0, 0][..], &told.word(), &told.emit()].concat()
    }

    #[test]
    fn an_option_of_no_length_or_cut_short_is_refused() {
        let told = Advertisement {
            mtu: Some(1400),
            ..Advertisement::default()
        };
        let mut bytes = bytes(&told);
        assert_eq!(
            Advertisement::parse(&bytes[..20]),
            Err(Malformed::Truncated)
        );
        assert_eq!(
            Advertisement::parse(&bytes[..15]),
            Err(Malformed::Truncated)
        );
        bytes[17] = 0;
        assert_eq!(Advertisement::parse(&bytes), Err(Malformed::Field));
    }

    proptest! {
        #[test]
        fn round_trip(hop_limit: u8, times: [u16; 3], link in proptest::option::of(any::<[u8; 6]>()),
            mtu: Option<u32>, prefixes in proptest::collection::vec((any::<[u8; 16]>(), 0u8..=128, any::<[bool; 2]>(), any::<[u32; 2]>()), 0..5))
        {
            let told = Advertisement {
                hop_limit,
                lifetime: Duration::from_secs(times[0].into()),
                reachable: Duration::from_millis(times[1].into()),
                retransmit: Duration::from_millis(times[2].into()),
                link: link.map(Mac),
                mtu,
                prefixes: prefixes.into_iter().map(|(network, length, [on_link, autonomous], [valid, preferred])| Prefix {
                    network: network.into(), length, on_link, autonomous, valid: valid.into(), preferred: preferred.into(),
                }).collect(),
            };
            prop_assert_eq!(Advertisement::parse(&bytes(&told)), Ok(told));
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            let _ = Advertisement::parse(&bytes);
        }
    }
}
