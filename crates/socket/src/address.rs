//! Addresses as callers write them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use wharf_port::{Domain, Endpoint, Local};

/// What can be taken for the address of a socket: a [`SocketAddr`], an address with a port, or the text of either.
///
/// Names are not resolved, unlike by the trait of the same name in the standard library, which would ask the machine's
/// resolver about a network that isn't the machine's.
///
/// ```
/// use wharf_socket::ToSocketAddr;
///
/// assert_eq!("[fd00::2]:80".to_socket_addr()?.port(), 80);
/// assert_eq!(([10, 0, 0, 2], 80).to_socket_addr()?.to_string(), "10.0.0.2:80");
/// assert!("localhost:80".to_socket_addr().is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait ToSocketAddr {
    /// The address.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for text that is not an address and a port.
    fn to_socket_addr(&self) -> io::Result<SocketAddr>;
}

impl<T: ToSocketAddr + ?Sized> ToSocketAddr for &T {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        (**self).to_socket_addr()
    }
}

impl ToSocketAddr for str {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        self.parse().map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{self:?} is not an IP address and a port, and names are not resolved here"
                ),
            )
        })
    }
}

impl ToSocketAddr for String {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        self.as_str().to_socket_addr()
    }
}

/// What converts without fail.
macro_rules! plain {
    ($($address:ty),*) => {$(
        impl ToSocketAddr for $address {
            fn to_socket_addr(&self) -> io::Result<SocketAddr> {
                Ok((*self).into())
            }
        }
    )*};
}

plain!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    Endpoint,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16),
    ([u8; 4], u16),
    ([u8; 16], u16)
);

/// Where to bind; port 0 leaves the choice to the port table.
pub(crate) fn local(address: &impl ToSocketAddr) -> io::Result<Local> {
    address.to_socket_addr().map(Local::from)
}

/// A peer. An IPv4-mapped address means the IPv4 peer.
pub(crate) fn remote(address: &impl ToSocketAddr) -> io::Result<Endpoint> {
    let mut address = address.to_socket_addr()?;
    address.set_ip(address.ip().to_canonical());
    Endpoint::try_from(address).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{address} is nobody's: no peer has port 0"),
        )
    })
}

/// The domain of a socket that is to be bound there: an IPv6 wildcard takes IPv4 too, as Linux has it.
pub(crate) fn domain(address: IpAddr) -> Domain {
    match address {
        IpAddr::V4(_) => Domain::V4,
        IpAddr::V6(_) => Domain::Dual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_0_is_no_peer_but_may_be_bound() {
        assert_eq!(
            remote(&"10.0.0.2:0").unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
        assert_eq!(local(&"10.0.0.2:0").unwrap().port, None);
    }

    #[test]
    fn a_mapped_peer_is_an_ipv4_peer() {
        assert_eq!(
            remote(&"[::ffff:10.0.0.1]:7").unwrap().to_string(),
            "10.0.0.1:7"
        );
    }
}
