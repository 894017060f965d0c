//! Which address of the machine's network an address inside a space stands for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wharf_net::Unreachable;

use crate::space::network::{GATEWAY_IPV4, GATEWAY_IPV6};

/// The addresses to try, in this order.
pub(super) type Targets = smallvec::SmallVec<[IpAddr; 2]>;

const LOOPBACK4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Where a program inside ends up that names `address`.
///
/// The gateway (`host.internal`) is the machine itself: its loopback. Everything else is what it is, but for addresses
/// that mean "this host" or "this link": a program inside must not reach those of the machine by sending frames that no
/// kernel would route.
///
/// # Errors
/// What to answer instead.
pub(super) fn targets(address: IpAddr) -> Result<Targets, Unreachable> {
    if address == IpAddr::V4(GATEWAY_IPV4) {
        return Ok([LOOPBACK4, LOOPBACK6].into());
    }
    if address == IpAddr::V6(GATEWAY_IPV6) {
        return Ok([LOOPBACK6, LOOPBACK4].into());
    }
    let plain = address.to_canonical();
    let local = match plain {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if plain != address
        || local
        || plain.is_loopback()
        || plain.is_unspecified()
        || plain.is_multicast()
    {
        return Err(Unreachable::Network);
    }
    Ok([address].into_iter().collect())
}

/// What a failed connect or send means for the program inside; `None` if it is no verdict of the network.
pub(super) fn verdict(error: rustix::io::Errno) -> Option<Unreachable> {
    use rustix::io::Errno;
    match error {
        Errno::CONNREFUSED => Some(Unreachable::Port),
        Errno::NETUNREACH | Errno::NETDOWN | Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT => {
            Some(Unreachable::Network)
        }
        Errno::HOSTUNREACH | Errno::HOSTDOWN => Some(Unreachable::Host),
        Errno::ACCESS | Errno::PERM => Some(Unreachable::Prohibited),
        _ => None,
    }
}

/// The error that has [`verdict`] say so.
pub(super) fn errno(verdict: Unreachable) -> rustix::io::Errno {
    use rustix::io::Errno;
    match verdict {
        Unreachable::Network => Errno::NETUNREACH,
        Unreachable::Host => Errno::HOSTUNREACH,
        Unreachable::Port => Errno::CONNREFUSED,
        Unreachable::Prohibited => Errno::ACCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_the_machines_loopback() {
        assert_eq!(
            targets(GATEWAY_IPV4.into()).unwrap()[..],
            [LOOPBACK4, LOOPBACK6]
        );
        assert_eq!(
            targets(GATEWAY_IPV6.into()).unwrap()[..],
            [LOOPBACK6, LOOPBACK4]
        );
    }

    #[test]
    fn the_machines_own_corners_are_out_of_reach() {
        for hidden in [
            "127.0.0.1",
            "127.77.3.2",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.251",
            "169.254.1.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:192.0.2.1",
            "ff02::fb",
            "fe80::1",
        ] {
            assert_eq!(
                targets(hidden.parse().unwrap()),
                Err(Unreachable::Network),
                "{hidden}"
            );
        }
    }

    #[test]
    fn a_verdict_and_its_error_are_one() {
        for said in [
            Unreachable::Network,
            Unreachable::Host,
            Unreachable::Port,
            Unreachable::Prohibited,
        ] {
            assert_eq!(verdict(errno(said)), Some(said));
        }
    }

    #[test]
    fn all_else_is_what_it_is() {
        for address in ["192.0.2.1", "10.255.255.53", "2001:db8::1", "fd00::2"] {
            let address = address.parse().unwrap();
            assert_eq!(targets(address).unwrap()[..], [address]);
        }
    }
}
