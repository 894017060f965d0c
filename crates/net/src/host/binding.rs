//! Binding own sockets: which addresses a socket can be at is the host's to say, who is there already the port table's.

use core::net::{IpAddr, Ipv6Addr};
use thiserror::Error;
use wharf_port::table::{BindError, Hold};
use wharf_port::{Local, Port, Protocol};

use super::Host;
use super::event::SocketId;
use super::own::NoSuchSocket;

/// Why a socket was not bound.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OwnBindError {
    /// There is no such socket.
    #[error(transparent)]
    Gone(#[from] NoSuchSocket),
    /// The address is not the host's.
    #[error("the address is not one of this host")]
    NotOwn,
    /// A TCP socket can't be at an IPv6 multicast address; a link-local address means nothing to a socket that is bound to no
    /// device (RFC 4007 §6).
    #[error(
        "the address is a group's, or it is good on one link only and the socket has no device"
    )]
    NotPossible,
    /// The port table's refusal.
    #[error("{0}")]
    Refused(BindError<SocketId>),
}

impl Host {
    /// Binds a socket to an own address, a group's or everybody's, or, in a host that accepts anything, to any. The port is
    /// returned.
    ///
    /// # Errors
    /// [`OwnBindError`].
    pub fn bind(&mut self, socket: SocketId, local: Local) -> Result<Port, OwnBindError> {
        let hold = self.bindable(socket, local.address)?;
        let bound = self
            .table
            .bind(hold, local)
            .map_err(OwnBindError::Refused)?;
        if let Some(found) = self.sockets.named_mut(socket) {
            found.address = None;
        }
        Ok(bound)
    }

    /// Binds a socket to an address and leaves the port for later (`IP_BIND_ADDRESS_NO_PORT`): connecting chooses one that is free
    /// towards the peer, listening one that is free altogether. It can be bound again before that.
    ///
    /// # Errors
    /// [`OwnBindError`]; without a port there is nobody in the way.
    pub fn bind_address(&mut self, socket: SocketId, address: IpAddr) -> Result<(), OwnBindError> {
        let hold = self.bindable(socket, address)?;
        let found = self.sockets.named_mut(socket).ok_or(NoSuchSocket)?;
        if self.table.port(hold).is_some() {
            return Err(OwnBindError::Refused(BindError::AlreadyBound));
        }
        let cover = found.domain.cover(address);
        let cover = cover.map_err(|error| OwnBindError::Refused(error.into()))?;
        found.address = cover.address();
        Ok(())
    }

    /// Whether a socket can be bound to an address as far as the host is concerned.
    fn bindable(&self, socket: SocketId, address: IpAddr) -> Result<Hold, OwnBindError> {
        let hold = self.sockets.named(socket).ok_or(NoSuchSocket)?.hold;
        let holding = self.table.holding(hold).ok_or(NoSuchSocket)?;
        let address = address.to_canonical();
        if let IpAddr::V6(v6) = address {
            let group = v6.is_multicast() && holding.protocol == Protocol::Tcp;
            if group || is_link_scoped(v6) && holding.device.is_none() {
                return Err(OwnBindError::NotPossible);
            }
            if holding.port.is_some() {
                return Err(OwnBindError::Refused(BindError::AlreadyBound));
            }
            // RFC 4291 §2.5.3: ::1 is loopback's and no other device's. 127.0.0.1 is the whole host's, as all others are.
            if v6.is_loopback()
                && holding
                    .device
                    .is_some_and(|device| device != Self::LOOPBACK)
            {
                return Err(OwnBindError::NotOwn);
            }
        }
        let everybody = matches!(address, IpAddr::V4(v4) if self.routes.is_broadcast(v4));
        let own = address.is_unspecified() || self.routes.is_internal(address);
        if own || everybody || address.is_multicast() || self.config.accept_anything {
            return Ok(hold);
        }
        Err(OwnBindError::NotOwn)
    }
}

/// Whether an address means something on one link, or within one host, only. RFC 4291 §2.5.6, §2.7.
fn is_link_scoped(address: Ipv6Addr) -> bool {
    let scope = address.octets()[1] & 0xf;
    address.is_unicast_link_local() || address.is_multicast() && scope <= 2
}
