//! Neighbour discovery: the bodies of solicitations and advertisements. RFC 4861 §4.3, §4.4, §4.6.1.

use super::Malformed;
use super::ethernet::Mac;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;

/// The flag of an advertisement that says: I am a router.
pub const ROUTER: u8 = 0x80;
/// The flag of an advertisement that answers a solicitation.
pub const SOLICITED: u8 = 0x40;
/// The flag of an advertisement that overrides what was known.
pub const OVERRIDE: u8 = 0x20;

/// The option with the sender's hardware address, in solicitations.
const SOURCE_LINK: u8 = 1;
/// The option with the target's hardware address, in advertisements.
const TARGET_LINK: u8 = 2;

/// Which of the two messages a body belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who has the target address?
    Solicitation,
    /// The sender has it.
    Advertisement,
}

impl Kind {
    fn option(self) -> u8 {
        match self {
            Self::Solicitation => SOURCE_LINK,
            Self::Advertisement => TARGET_LINK,
        }
    }
}

/// The body's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    /// The address asked for, or told of.
    pub target: Ipv6Addr,
    /// The hardware address that its kind of message carries, if it does.
    pub link: Option<Mac>,
}

impl Body {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] when it or an option is not whole, [`Malformed::Field`] for an option of length
    /// 0 or a multicast target (RFC 4861 §7.1).
    pub fn parse(kind: Kind, bytes: &[u8]) -> Result<Self, Malformed> {
        let Some((target, mut options)) = bytes.split_first_chunk::<16>() else {
            return Err(Malformed::Truncated);
        };
        let target = Ipv6Addr::from(*target);
        if target.is_multicast() {
            return Err(Malformed::Field);
        }
        let mut link = None;
        while let [option, eighths, ..] = *options {
            let length = usize::from(eighths) * 8;
            if length == 0 {
                return Err(Malformed::Field);
            }
            let Some((this, rest)) = options.split_at_checked(length) else {
                return Err(Malformed::Truncated);
            };
            if let (true, &[_, _, a, b, c, d, e, f]) = (option == kind.option(), this) {
                link = Some(Mac([a, b, c, d, e, f]));
            }
            options = rest;
        }
        Ok(Self { target, link })
    }

    /// The body's octets.
    #[must_use]
    pub fn emit(&self, kind: Kind) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(24);
        bytes.extend_from_slice(&self.target.octets());
        if let Some(Mac(mac)) = self.link {
            bytes.extend_from_slice(&[kind.option(), 1]);
            bytes.extend_from_slice(&mac);
        }
        bytes
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.link {
            Some(link) => write!(f, "target {} link {link}", self.target),
            None => write!(f, "target {}", self.target),
        }
    }
}

/// The group in which the holder of `address` listens for solicitations. RFC 4291 §2.7.1.
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    let low = u16::from_be_bytes([b, c]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn options_of_no_length_do_not_loop() {
        let mut bytes = [0; 24];
        bytes[16] = SOURCE_LINK;
        assert_eq!(
            Body::parse(Kind::Solicitation, &bytes),
            Err(Malformed::Field)
        );
    }

    #[test]
    fn the_group_of_a_node() {
        let address = "fd00::12:3456".parse().unwrap();
        assert_eq!(
            solicited_node(address),
            "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap()
        );
    }

    proptest! {
        #[test]
        fn round_trip(mut target: [u8; 16], link in proptest::option::of(any::<[u8; 6]>()), told: bool) {
            target[0] &= 0x7f;
            let kind = if told { Kind::Advertisement } else { Kind::Solicitation };
            let body = Body { target: target.into(), link: link.map(Mac) };
            prop_assert_eq!(Body::parse(kind, &body.emit(kind)), Ok(body));
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            let _ = Body::parse(Kind::Advertisement, &bytes);
        }
    }
}
