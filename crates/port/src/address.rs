//! Which addresses a socket covers: by its domain, and by what it was bound to.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address family that a socket was opened with; the `AF_INET` and `AF_INET6` of a socket call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Domain {
    /// IPv4.
    V4,
    /// IPv6 with `IPV6_V6ONLY`: no IPv4 traffic (RFC 3493, section 5.3).
    V6Only,
    /// IPv6 that also takes IPv4 traffic, in IPv4-mapped form (RFC 3493, section 3.7).
    Dual,
}

/// The local addresses at which a socket receives.
///
/// Two sockets can be in each other's way only where their covers meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cover {
    /// One IPv4 address, also when it was given in IPv4-mapped form.
    V4(Ipv4Addr),
    /// One IPv6 address.
    V6(Ipv6Addr),
    /// Every IPv4 address: `0.0.0.0` or `::ffff:0.0.0.0`.
    AllV4,
    /// Every IPv6 address: `::` of a v6only socket.
    AllV6,
    /// Every address of both families: `::` of a dual-stack socket.
    All,
}

/// An address of a family that the socket's domain doesn't have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongFamily {
    /// The socket's domain.
    pub domain: Domain,
    /// The address that it can't be bound to.
    pub address: IpAddr,
}

impl Domain {
    /// What a socket of this domain covers when it is bound to no address in particular.
    #[must_use]
    pub const fn wildcard(self) -> Cover {
        match self {
            Self::V4 => Cover::AllV4,
            Self::V6Only => Cover::AllV6,
            Self::Dual => Cover::All,
        }
    }

    /// What a socket of this domain covers once it is bound to the address.
    ///
    /// # Errors
    /// [`WrongFamily`] for an IPv6 address on an IPv4 socket, the reverse, and an IPv4-mapped
    /// address on a v6only socket.
    pub const fn cover(self, address: IpAddr) -> Result<Cover, WrongFamily> {
        let cover = match (self, address) {
            (Self::V6Only | Self::Dual, IpAddr::V6(v6)) if v6.is_unspecified() => self.wildcard(),
            (Self::V4, IpAddr::V4(v4)) => Cover::v4(v4),
            (Self::Dual | Self::V6Only, IpAddr::V6(v6)) => match (self, v6.to_ipv4_mapped()) {
                (Self::Dual, Some(v4)) => Cover::v4(v4),
                (_, None) => Cover::V6(v6),
                _ => {
                    return Err(WrongFamily {
                        domain: self,
                        address,
                    });
                }
            },
            _ => {
                return Err(WrongFamily {
                    domain: self,
                    address,
                });
            }
        };
        Ok(cover)
    }

    /// Whether a socket of this domain can send to and receive from the address.
    #[must_use]
    pub const fn speaks(self, address: IpAddr) -> bool {
        match self {
            Self::V4 => address.to_canonical().is_ipv4(),
            Self::V6Only => address.to_canonical().is_ipv6(),
            Self::Dual => true,
        }
    }
}

impl Cover {
    const fn v4(address: Ipv4Addr) -> Self {
        if address.is_unspecified() {
            return Self::AllV4;
        }
        Self::V4(address)
    }

    /// The cover of one address, never a wildcard.
    pub(crate) const fn one(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => Self::V6(v6),
        }
    }

    /// The one address that it covers; `None` for a wildcard.
    #[must_use]
    pub const fn address(self) -> Option<IpAddr> {
        match self {
            Self::V4(address) => Some(IpAddr::V4(address)),
            Self::V6(address) => Some(IpAddr::V6(address)),
            Self::AllV4 | Self::AllV6 | Self::All => None,
        }
    }

    /// Whether it covers more than one address.
    #[must_use]
    pub const fn is_wildcard(self) -> bool {
        self.address().is_none()
    }

    /// Whether any address is in both covers.
    ///
    /// ```
    /// use wharf_port::Domain;
    ///
    /// let all = Domain::Dual.cover("::".parse()?)?;
    /// let one = Domain::V4.cover("127.0.0.1".parse()?)?;
    /// assert!(all.meets(one));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        let all4 = |cover| matches!(cover, Self::AllV4 | Self::All);
        let all6 = |cover| matches!(cover, Self::AllV6 | Self::All);
        let some4 = |cover| all4(cover) || matches!(cover, Self::V4(_));
        let some6 = |cover| all6(cover) || matches!(cover, Self::V6(_));
        self == other
            || (all4(self) && some4(other) || all4(other) && some4(self))
            || (all6(self) && some6(other) || all6(other) && some6(self))
    }
}

impl fmt::Display for Cover {
    /// The address, or the wildcard as it is bound: `0.0.0.0`, `::`, and `[::] v6only`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => address.fmt(f),
            Self::AllV4 => f.pad("0.0.0.0"),
            Self::AllV6 => f.pad(":: (v6only)"),
            Self::All => f.pad("::"),
        }
    }
}

impl fmt::Display for WrongFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domain = match self.domain {
            Domain::V4 => "an IPv4 socket",
            Domain::V6Only => "an IPv6-only socket",
            Domain::Dual => "an IPv6 socket",
        };
        write!(f, "{domain} can't be bound to {}", self.address)
    }
}

impl core::error::Error for WrongFamily {}

/// An address in two machine words, IPv4 in IPv4-mapped form: quick to compare and to hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Packed([u64; 2]);

const MAPPED: u64 = 0xffff << 32;

impl Packed {
    pub(crate) const NONE: Self = Self([0, 0]);

    pub(crate) const fn is_v4(self) -> bool {
        self.0[0] == 0 && self.0[1] >> 32 == MAPPED >> 32
    }

    pub(crate) const fn words(self) -> [u64; 2] {
        self.0
    }
}

impl From<IpAddr> for Packed {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self([0, MAPPED | u64::from(v4.to_bits())]),
            IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                Self([(bits >> 64) as u64, bits as u64])
            }
        }
    }
}

impl From<Packed> for IpAddr {
    fn from(packed: Packed) -> Self {
        if packed.is_v4() {
            return Self::V4(Ipv4Addr::from_bits(packed.0[1] as u32));
        }
        let bits = u128::from(packed.0[0]) << 64 | u128::from(packed.0[1]);
        Self::V6(Ipv6Addr::from_bits(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cover(domain: Domain, address: &str) -> Cover {
        domain.cover(address.parse().unwrap()).unwrap()
    }

    #[test]
    fn covers_follow_domain_and_address() {
        assert_eq!(cover(Domain::V4, "0.0.0.0"), Cover::AllV4);
        assert_eq!(cover(Domain::Dual, "::ffff:0.0.0.0"), Cover::AllV4);
        assert_eq!(cover(Domain::Dual, "::"), Cover::All);
        assert_eq!(cover(Domain::V6Only, "::"), Cover::AllV6);
        assert_eq!(
            cover(Domain::Dual, "::ffff:127.0.0.1"),
            cover(Domain::V4, "127.0.0.1")
        );
        for (domain, address) in [
            (Domain::V4, "::"),
            (Domain::Dual, "127.0.0.1"),
            (Domain::V6Only, "::ffff:127.0.0.1"),
        ] {
            assert!(
                domain.cover(address.parse().unwrap()).is_err(),
                "{domain:?} {address}"
            );
        }
    }

    #[test]
    fn covers_meet_in_both_directions_or_in_none() {
        let [a4, b4] = [
            cover(Domain::V4, "127.0.0.1"),
            cover(Domain::V4, "127.0.0.2"),
        ];
        let [a6, all4] = [cover(Domain::Dual, "::1"), Cover::AllV4];
        let meeting = [
            (a4, a4, true),
            (a4, b4, false),
            (a4, a6, false),
            (a4, all4, true),
            (a4, Cover::AllV6, false),
            (a4, Cover::All, true),
            (a6, all4, false),
            (a6, Cover::AllV6, true),
            (a6, Cover::All, true),
            (all4, Cover::AllV6, false),
            (all4, Cover::All, true),
            (Cover::AllV6, Cover::All, true),
            (all4, all4, true),
        ];
        for (one, other, meets) in meeting {
            assert_eq!(
                (one.meets(other), other.meets(one)),
                (meets, meets),
                "{one} {other}"
            );
        }
    }

    #[test]
    fn packing_keeps_every_address() {
        for text in [
            "0.0.0.0",
            "255.255.255.255",
            "10.77.3.2",
            "::",
            "::1",
            "fd77::2",
            "::fffe:1.2.3.4",
        ] {
            let address: IpAddr = text.parse().unwrap();
            let packed = Packed::from(address);
            assert_eq!(
                (IpAddr::from(packed), packed.is_v4()),
                (address, address.is_ipv4())
            );
        }
    }
}
