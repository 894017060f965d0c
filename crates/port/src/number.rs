//! Port numbers: one, a class of them, a range of them.
//!
//! Not the registry, which says what a number is called. RFC 6335 is the one to have read.

use core::fmt;
use core::num::NonZeroU16;
use core::str::FromStr;

use crate::ParseError;

/// A port: a number from 1 to 65535 that names a socket's end within one (protocol, address).
///
/// It is never 0: TCP port 0 is reserved, a UDP source port of 0 means that there is none (RFC 768),
/// and in a bind call 0 means "choose one", which [`Local`](crate::Local) says with `None`.
///
/// ```
/// use wharf_port::{Port, PortClass};
///
/// let port: Port = "5432".parse()?;
/// assert_eq!(port.number(), 5432);
/// assert_eq!(port.class(), PortClass::User);
/// assert_eq!(Port::new(0), None);
/// # Ok::<(), wharf_port::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(NonZeroU16);

/// The three ranges of RFC 6335, section 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortClass {
    /// 1–1023, assigned by IETF review; also "well-known".
    System,
    /// 1024–49151, assigned on request; also "registered".
    User,
    /// 49152–65535, never assigned; also "private" or "ephemeral".
    Dynamic,
}

impl Port {
    /// The lowest port, 1.
    pub const MIN: Self = Self(NonZeroU16::MIN);
    /// The highest port, 65535.
    pub const MAX: Self = Self(NonZeroU16::MAX);

    /// The port of this number; `None` for 0, which is no port.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number, 1–65535.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0.get()
    }

    /// Which of RFC 6335's ranges it lies in.
    #[must_use]
    pub const fn class(self) -> PortClass {
        match self.number() {
            0..=1023 => PortClass::System,
            1024..=49151 => PortClass::User,
            49152.. => PortClass::Dynamic,
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Port {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse().ok() } else { None };
        number.and_then(Self::new).ok_or(ParseError::Port)
    }
}

impl TryFrom<u16> for Port {
    type Error = ParseError;

    fn try_from(number: u16) -> Result<Self, ParseError> {
        Self::new(number).ok_or(ParseError::Port)
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> Self {
        port.number()
    }
}

/// The ports from one to another, both included; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortRange {
    first: Port,
    last: Port,
}

impl PortRange {
    /// The dynamic ports of RFC 6335, 49152–65535.
    pub const DYNAMIC: Self = Self {
        first: Port(NonZeroU16::new(49152).expect("not zero")),
        last: Port::MAX,
    };
    /// What Linux chooses from unless it is told otherwise, 32768–60999.
    pub const LINUX: Self = Self {
        first: Port(NonZeroU16::new(32768).expect("not zero")),
        last: Port(NonZeroU16::new(60999).expect("not zero")),
    };

    /// From `first` to `last`, both included; `None` if `first` is the higher one.
    #[must_use]
    pub const fn new(first: Port, last: Port) -> Option<Self> {
        if first.number() > last.number() {
            return None;
        }
        Some(Self { first, last })
    }

    /// The lowest port of the range.
    #[must_use]
    pub const fn first(self) -> Port {
        self.first
    }

    /// The highest port of the range.
    #[must_use]
    pub const fn last(self) -> Port {
        self.last
    }

    /// How many ports there are in it, 1–65535.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.last.number() as u32 - self.first.number() as u32 + 1
    }

    /// Whether the port lies in it.
    #[must_use]
    pub const fn contains(self, port: Port) -> bool {
        self.first.number() <= port.number() && port.number() <= self.last.number()
    }
}

impl From<Port> for PortRange {
    fn from(port: Port) -> Self {
        Self {
            first: port,
            last: port,
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for PortRange {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let Some((first, last)) = text.split_once('-') else {
            return text.parse::<Port>().map(Self::from);
        };
        Self::new(first.parse()?, last.parse()?).ok_or(ParseError::Range)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn ranges_begin_and_end_where_rfc_6335_says() {
        let class = |number| Port::new(number).unwrap().class();
        assert_eq!(class(1), PortClass::System);
        assert_eq!(class(1023), PortClass::System);
        assert_eq!(class(1024), PortClass::User);
        assert_eq!(class(49151), PortClass::User);
        assert_eq!(class(49152), PortClass::Dynamic);
        assert_eq!(class(65535), PortClass::Dynamic);
    }

    #[test]
    fn what_is_no_port_does_not_parse() {
        for text in ["", "0", "65536", "-1", "+80", " 80", "80 ", "0x50", "http"] {
            assert_eq!(text.parse::<Port>(), Err(ParseError::Port), "{text:?}");
        }
    }

    #[test]
    fn ranges_parse_and_print() {
        let range: PortRange = "3000-3009".parse().unwrap();
        assert_eq!(
            (range.count(), range.to_string().as_str()),
            (10, "3000-3009")
        );
        assert!(range.contains(Port::new(3009).unwrap()));
        assert!(!range.contains(Port::new(3010).unwrap()));
        assert_eq!("80".parse::<PortRange>().unwrap().count(), 1);
        assert_eq!("9-8".parse::<PortRange>(), Err(ParseError::Range));
        assert_eq!("9-".parse::<PortRange>(), Err(ParseError::Port));
    }
}
