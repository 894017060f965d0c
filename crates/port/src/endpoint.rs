//! One end of a flow, and what a bind call asks for.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;

use crate::{ParseError, Port, Protocol};

/// An address and a port. With the protocol, an [`End`], it is one end of a flow.
///
/// An IPv4-mapped IPv6 address is turned into the IPv4 address that it stands for, so that one
/// endpoint has one form (RFC 4291, section 2.5.5.2).
///
/// ```
/// use wharf_port::Endpoint;
///
/// let endpoint: Endpoint = "[::ffff:10.0.0.1]:80".parse()?;
/// assert_eq!(endpoint.to_string(), "10.0.0.1:80");
/// # Ok::<(), wharf_port::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    address: IpAddr,
    port: Port,
}

impl Endpoint {
    /// The endpoint at this address and port.
    #[must_use]
    #[inline]
    pub const fn new(address: IpAddr, port: Port) -> Self {
        Self {
            address: address.to_canonical(),
            port,
        }
    }

    /// Its address, never in IPv4-mapped form.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// Its port.
    #[must_use]
    pub const fn port(self) -> Port {
        self.port
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

impl FromStr for Endpoint {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let address: SocketAddr = text.parse().map_err(|_| ParseError::Endpoint)?;
        address.try_into()
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(endpoint: Endpoint) -> Self {
        Self::new(endpoint.address, endpoint.port.number())
    }
}

impl TryFrom<SocketAddr> for Endpoint {
    type Error = ParseError;

    fn try_from(address: SocketAddr) -> Result<Self, ParseError> {
        let port = Port::try_from(address.port())?;
        Ok(Self::new(address.ip(), port))
    }
}

/// An endpoint with its protocol, written `tcp/127.0.0.1:3000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Address and port.
    pub endpoint: Endpoint,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.endpoint)
    }
}

impl FromStr for End {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (protocol, endpoint) = text.split_once('/').ok_or(ParseError::Slash)?;
        Ok(Self {
            protocol: protocol.parse()?,
            endpoint: endpoint.parse()?,
        })
    }
}

/// What a bind call asks for: an address, perhaps a wildcard, and a port, perhaps any.
///
/// The wildcard is the unspecified address, `0.0.0.0` or `::`; what it covers depends on the
/// socket's [`Domain`](crate::Domain). No port means "choose one"; it is written as 0.
///
/// ```
/// use wharf_port::Local;
///
/// let local: Local = "0.0.0.0:0".parse()?;
/// assert_eq!(local.port, None);
/// assert!(local.address.is_unspecified());
/// # Ok::<(), wharf_port::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Local {
    /// The address as the caller gave it: specific, wildcard, or IPv4-mapped.
    pub address: IpAddr,
    /// The port, or `None` for one that the table chooses.
    pub port: Option<Port>,
}

impl From<Endpoint> for Local {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            address: endpoint.address,
            port: Some(endpoint.port),
        }
    }
}

impl From<SocketAddr> for Local {
    fn from(address: SocketAddr) -> Self {
        Self {
            address: address.ip(),
            port: Port::new(address.port()),
        }
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.port.map_or(0, Port::number);
        SocketAddr::new(self.address, number).fmt(f)
    }
}

impl FromStr for Local {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let address: SocketAddr = text.parse().map_err(|_| ParseError::Endpoint)?;
        Ok(address.into())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn ends_parse_and_print() {
        for text in ["tcp/127.0.0.1:3000", "udp/[::1]:53"] {
            assert_eq!(text.parse::<End>().unwrap().to_string(), text);
        }
        assert_eq!("tcp127.0.0.1:1".parse::<End>(), Err(ParseError::Slash));
        assert_eq!("tcp/127.0.0.1:0".parse::<End>(), Err(ParseError::Port));
        assert_eq!("tcp/127.0.0.1".parse::<End>(), Err(ParseError::Endpoint));
        assert_eq!("ip/127.0.0.1:1".parse::<End>(), Err(ParseError::Protocol));
    }

    #[test]
    fn a_local_keeps_the_mapped_form_that_it_was_given() {
        let local: Local = "[::ffff:0.0.0.0]:80".parse().unwrap();
        assert!(local.address.is_ipv6());
        assert_eq!("[::]:0".parse::<Local>().unwrap().to_string(), "[::]:0");
    }
}
