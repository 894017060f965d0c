//! An address with the length of its network's prefix.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr};
use core::str::FromStr;
use thiserror::Error;

/// An address and its prefix length, such as `10.0.0.2/24` or `fd00::2/64`. RFC 4632 §3.1, RFC 4291 §2.3.
///
/// ```
/// use wharf_net::Cidr;
///
/// let own: Cidr = "10.0.0.2/24".parse().unwrap();
/// assert!(own.contains("10.0.0.77".parse().unwrap()));
/// assert!(!own.contains("10.0.1.77".parse().unwrap()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Text that is not an address, a slash and a prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an address with a prefix length, such as 10.0.0.2/24")]
pub struct NotCidr;

impl Cidr {
    /// An address in a network; nothing when the prefix is longer than the address.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        (prefix <= bits(address)).then_some(Self { address, prefix })
    }

    /// The address alone.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self {
            address,
            prefix: bits(address),
        }
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The prefix length in bits, at most 32 for IPv4 and 128 for IPv6.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether an address is in this network.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.prefix);
                (own.to_bits() ^ other.to_bits())
                    .checked_shr(shift)
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.prefix);
                (own.to_bits() ^ other.to_bits())
                    .checked_shr(shift)
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }

    /// The address that reaches everybody in this network: IPv4 with a prefix of at most 30 bits. RFC 919, RFC 3021.
    #[must_use]
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(own) if self.prefix <= 30 => Some(Ipv4Addr::from_bits(
                own.to_bits() | (u32::MAX >> self.prefix),
            )),
            _ => None,
        }
    }
}

fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl FromStr for Cidr {
    type Err = NotCidr;

    fn from_str(text: &str) -> Result<Self, NotCidr> {
        let (address, prefix) = text.split_once('/').ok_or(NotCidr)?;
        let address = address.parse().map_err(|_| NotCidr)?;
        let prefix = prefix.parse().map_err(|_| NotCidr)?;
        Self::new(address, prefix).ok_or(NotCidr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_own_and_nobody_else() {
        let table = [
            ("10.0.0.2/24", "10.0.0.255", true),
            ("10.0.0.2/24", "10.0.1.0", false),
            ("10.0.0.2/24", "fd00::1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("10.0.0.2/32", "10.0.0.2", true),
            ("10.0.0.2/32", "10.0.0.3", false),
            ("fd00::2/64", "fd00::ffff:1", true),
            ("fd00::2/64", "fd00:0:0:1::1", false),
            ("::/0", "2001:db8::1", true),
            ("fd00::2/128", "fd00::3", false),
        ];
        for (network, address, inside) in table {
            let network: Cidr = network.parse().unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                inside,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn broadcast_addresses() {
        let broadcast = |text: &str| text.parse::<Cidr>().unwrap().broadcast();
        assert_eq!(broadcast("10.0.0.2/24"), Some(Ipv4Addr::new(10, 0, 0, 255)));
        assert_eq!(broadcast("10.0.0.2/31"), None);
        assert_eq!(broadcast("fd00::1/64"), None);
    }

    #[test]
    fn what_is_not_a_network_is_refused() {
        for text in [
            "10.0.0.2",
            "10.0.0.2/33",
            "fd00::/129",
            "x/1",
            "10.0.0.0/-1",
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(NotCidr), "{text}");
        }
    }
}
