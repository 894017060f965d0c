//! The protocols that have ports here: TCP and UDP, each with a port space of its own.

use core::fmt;
use core::str::FromStr;

use crate::ParseError;

/// TCP or UDP. The same number under the other protocol is another port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// The Transmission Control Protocol (RFC 9293).
    Tcp = 6,
    /// The User Datagram Protocol (RFC 768).
    Udp = 17,
}

impl Protocol {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    /// The number in an IP header: 6 for TCP, 17 for UDP.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The protocol with this number in an IP header, if it is one of the two.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }

    /// 0 for TCP and 1 for UDP, for arrays with something for each.
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Tcp => 0,
            Self::Udp => 1,
        }
    }

    /// Its name in small letters, as `/etc/services` writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Protocol {
    type Err = ParseError;

    /// Takes the name in letters of any case.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(text))
            .ok_or(ParseError::Protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back() {
        for protocol in Protocol::ALL {
            assert_eq!(protocol.name().parse(), Ok(protocol));
            assert_eq!(Protocol::from_number(protocol.number()), Some(protocol));
        }
        assert_eq!("TCP".parse(), Ok(Protocol::Tcp));
        assert_eq!("sctp".parse::<Protocol>(), Err(ParseError::Protocol));
        assert_eq!(Protocol::from_number(1), None);
    }
}
