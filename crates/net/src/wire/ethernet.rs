//! Ethernet II: destination, source, ethertype. IEEE 802.3, RFC 894.

use super::Malformed;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The header's octets.
pub const LEN: usize = 14;

/// A hardware address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everybody on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether it names a group of stations, or all.
    #[must_use]
    pub fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Where a packet for an IP multicast group or the limited broadcast goes; nothing for unicast.
    /// RFC 1112 §6.4, RFC 2464 §7.
    #[must_use]
    pub fn of_group(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(Ipv4Addr::BROADCAST) => Some(Self::BROADCAST),
            IpAddr::V4(group) if group.is_multicast() => {
                let [_, b, c, d] = group.octets();
                Some(Self([1, 0, 0x5e, b & 0x7f, c, d]))
            }
            IpAddr::V6(group) if group.is_multicast() => Some(Self::of_group_v6(group)),
            _ => None,
        }
    }

    /// Where a packet for an IPv6 multicast group goes. RFC 2464 §7.
    #[must_use]
    pub fn of_group_v6(group: Ipv6Addr) -> Self {
        let [.., a, b, c, d] = group.octets();
        Self([0x33, 0x33, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtherType {
    /// 0x0800.
    Ipv4,
    /// 0x0806.
    Arp,
    /// 0x86dd.
    Ipv6,
    /// Anything else.
    Other(u16),
}

impl From<u16> for EtherType {
    fn from(value: u16) -> Self {
        match value {
            0x0800 => Self::Ipv4,
            0x0806 => Self::Arp,
            0x86dd => Self::Ipv6,
            other => Self::Other(other),
        }
    }
}

impl From<EtherType> for u16 {
    fn from(value: EtherType) -> Self {
        match value {
            EtherType::Ipv4 => 0x0800,
            EtherType::Arp => 0x0806,
            EtherType::Ipv6 => 0x86dd,
            EtherType::Other(other) => other,
        }
    }
}

/// The header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// To whom.
    pub destination: Mac,
    /// From whom.
    pub source: Mac,
    /// What follows.
    pub ethertype: EtherType,
}

impl Header {
    /// Reads the header that `frame` begins with.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] when there are fewer than [`LEN`] octets.
    pub fn parse(frame: &[u8]) -> Result<Self, Malformed> {
        let Some(b) = frame.first_chunk::<LEN>() else {
            return Err(Malformed::Truncated);
        };
        Ok(Self {
            destination: Mac([b[0], b[1], b[2], b[3], b[4], b[5]]),
            source: Mac([b[6], b[7], b[8], b[9], b[10], b[11]]),
            ethertype: u16::from_be_bytes([b[12], b[13]]).into(),
        })
    }

    /// The header's octets.
    #[must_use]
    pub fn emit(&self) -> [u8; LEN] {
        let mut b = [0; LEN];
        b[0..6].copy_from_slice(&self.destination.0);
        b[6..12].copy_from_slice(&self.source.0);
        b[12..14].copy_from_slice(&u16::from(self.ethertype).to_be_bytes());
        b
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} > {} {:?}",
            self.source, self.destination, self.ethertype
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn groups_have_their_own_hardware_addresses() {
        let mac = |text: &str| Mac::of_group(text.parse().unwrap());
        assert_eq!(mac("224.128.0.251"), Some(Mac([1, 0, 0x5e, 0, 0, 0xfb])));
        assert_eq!(
            mac("ff02::1:ff00:2"),
            Some(Mac([0x33, 0x33, 0xff, 0, 0, 2]))
        );
        assert_eq!(mac("255.255.255.255"), Some(Mac::BROADCAST));
        assert_eq!(mac("10.0.0.1"), None);
    }

    proptest! {
        #[test]
        fn round_trip(bytes: [u8; LEN]) {
            prop_assert_eq!(Header::parse(&bytes).unwrap().emit(), bytes);
        }
    }
}
