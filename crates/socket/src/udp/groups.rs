//! Multicast: a UDP socket as a member of groups.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wharf_net::{Host, Setting, Settings};

use super::UdpSocket;
use crate::error;

/// Groups of hosts (RFC 1112, RFC 3376, RFC 3810), by tokio's names. A socket hears the groups that it has joined, and no others. Where
/// tokio wants to know the interface, a stack has one: it is named by any address of its host, by the unspecified one, or by 0.
impl UdpSocket {
    /// Hears what is sent to a group and the socket's port.
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    /// use wharf_socket::{Stack, UdpSocket};
    ///
    /// async fn mdns(stack: &Stack) -> std::io::Result<UdpSocket> {
    ///     let socket = UdpSocket::bind_shared(stack, "0.0.0.0:5353").await?;
    ///     socket.join_multicast_v4(Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::UNSPECIFIED)?;
    ///     Ok(socket)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): not a group, or of a family that the socket doesn't have;
    /// - [`AddrInUse`](io::ErrorKind::AddrInUse): the socket is a member already;
    /// - [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable): no such interface;
    /// - [`OutOfMemory`](io::ErrorKind::OutOfMemory): it is a member of 64 groups.
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.held.attempt(|state, now, id| {
            check_v4(&state.host, interface)?;
            state.host.join(now, id, group.into()).map_err(error::group)
        })
    }

    /// Hears what is sent to a group and the socket's port.
    ///
    /// # Errors
    ///
    /// Those of [`join_multicast_v4`](Self::join_multicast_v4).
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.held.attempt(|state, now, id| {
            check_v6(interface)?;
            state
                .host
                .join(now, id, (*group).into())
                .map_err(error::group)
        })
    }

    /// Hears a group no more.
    ///
    /// # Errors
    ///
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable): the socket is no member, or there is no such interface.
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.held.attempt(|state, now, id| {
            check_v4(&state.host, interface)?;
            state
                .host
                .leave(now, id, group.into())
                .map_err(error::group)
        })
    }

    /// Hears a group no more.
    ///
    /// # Errors
    ///
    /// Those of [`leave_multicast_v4`](Self::leave_multicast_v4).
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.held.attempt(|state, now, id| {
            check_v6(interface)?;
            state
                .host
                .leave(now, id, (*group).into())
                .map_err(error::group)
        })
    }

    /// `IP_MULTICAST_TTL`: how many hops a datagram for a group may go. 1 unless set: the link.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for more than 255; when the stack has ended.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.held.set(Setting::GroupHopLimit(hops(ttl)?))
    }

    /// What [`set_multicast_ttl_v4`](Self::set_multicast_ttl_v4) has set.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        Ok(self.settings()?.group_hop_limit.into())
    }

    /// `IP_MULTICAST_LOOP`: whether what the socket sends to a group is heard by members of the same stack, itself among them. It is
    /// unless set otherwise.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        self.held.set(Setting::GroupLoop(on))
    }

    /// What [`set_multicast_loop_v4`](Self::set_multicast_loop_v4) has set.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        Ok(self.settings()?.group_loop)
    }

    /// The same as [`set_multicast_loop_v4`](Self::set_multicast_loop_v4): a socket has one such option for both families.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        self.set_multicast_loop_v4(on)
    }

    /// What [`set_multicast_loop_v6`](Self::set_multicast_loop_v6) has set.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.multicast_loop_v4()
    }

    /// `IP_TTL`: how many hops a datagram for one host may go.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for 0 or more than 255; when the stack has ended.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        match hops(ttl)? {
            0 => Err(io::ErrorKind::InvalidInput.into()),
            hops => self.held.set(Setting::HopLimit(Some(hops))),
        }
    }

    /// What [`set_ttl`](Self::set_ttl) has set, or the host's.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn ttl(&self) -> io::Result<u32> {
        Ok(self.settings()?.hop_limit.into())
    }

    fn settings(&self) -> io::Result<Settings> {
        self.held
            .attempt(|state, _, id| state.host.settings(id).ok_or_else(error::gone))
    }
}

fn hops(ttl: u32) -> io::Result<u8> {
    u8::try_from(ttl).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn check_v4(host: &Host, interface: Ipv4Addr) -> io::Result<()> {
    let own = |address: IpAddr| host.addresses().any(|own| own.address() == address);
    if interface.is_unspecified() || own(interface.into()) {
        return Ok(());
    }
    Err(no_interface())
}

fn check_v6(interface: u32) -> io::Result<()> {
    if interface == 0 || interface == Host::LINK.number() {
        return Ok(());
    }
    Err(no_interface())
}

fn no_interface() -> io::Error {
    io::Error::new(
        io::ErrorKind::AddrNotAvailable,
        "no such interface: a stack has one, which is 0 or any address of its host",
    )
}
