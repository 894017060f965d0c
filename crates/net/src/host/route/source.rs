//! Which of our addresses a packet is from. RFC 6724 §4, §5, by its rules 1, 2, 3, 6 and 8: the destination itself, scope, not deprecated,
//! label, longest match. Rule 5 is in what can be chosen from: the addresses of the link that the packet leaves by. The others are about
//! what this host has not.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wharf_port::Device;

use super::{Own, Routes};

impl Routes {
    /// Our address for packets to a destination, by a link or by any.
    pub(in crate::host) fn source_for(
        &self,
        only: Option<Device>,
        destination: IpAddr,
    ) -> Option<IpAddr> {
        // RFC 1122 §3.2.1.3 (g) says what may be a source there, not which; everybody's is this one.
        match destination {
            IpAddr::V4(v4) if v4.is_loopback() => return Some(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(v6) if v6.is_loopback() => return Some(v6.into()),
            _ => {}
        }
        let own = self.device_of(destination);
        let way = || self.next_hop(only, destination).map(|hop| hop.device);
        let device = only.or(own).or_else(way);
        let like = |own: &&Own| own.cidr.address().is_ipv4() == destination.is_ipv4();
        let near = |own: &&Own| device.is_none_or(|device| own.is_on(device));
        let family = self.addresses.iter().filter(like).filter(near);
        // max_by_key prefers the last of equals; the first configured is wanted.
        let best = family.rev().max_by_key(|own| rank(own, destination));
        best.map(|own| own.cidr.address())
    }
}

/// How good an address is: whatever comes first decides.
fn rank(own: &Own, destination: IpAddr) -> impl Ord + use<> {
    let address = own.cidr.address();
    let (reach, needed) = (scope(address), scope(destination));
    let near = !destination.is_multicast() && own.cidr.contains(destination);
    let common = match destination.is_multicast() {
        true => 0,
        false => common_prefix(own, destination),
    };
    (
        address == destination,
        // Wide enough, and then no wider than needed; else as wide as there is.
        reach >= needed,
        if reach >= needed { -reach } else { reach },
        !own.deprecated,
        label(address) == label(destination),
        near,
        common,
    )
}

/// How far an address reaches, in the numbers of RFC 4291 §2.7; of IPv4 addresses as RFC 6724 §3.2 has it.
fn scope(address: IpAddr) -> i8 {
    const LINK: i8 = 2;
    const GLOBAL: i8 = 14;
    let near = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_loopback() || v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) if v6.is_multicast() => return (v6.octets()[1] & 0xf) as i8,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_loopback(),
    };
    if near { LINK } else { GLOBAL }
}

/// RFC 6724 §2.1, the default policy table: networks that are better kept apart. The narrowest counts.
fn label(address: IpAddr) -> u8 {
    const LABELS: [(Ipv6Addr, u32, u8); 8] = [
        (Ipv6Addr::LOCALHOST, 128, 0),
        (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 4),
        (Ipv6Addr::UNSPECIFIED, 96, 3),
        (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, 5),
        (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 2),
        (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16, 12),
        (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, 11),
        (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, 13),
    ];
    let address = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let within = |(network, bits, _): &&(Ipv6Addr, u32, u8)| {
        (network.to_bits() ^ address.to_bits()).leading_zeros() >= *bits
    };
    LABELS.iter().find(within).map_or(1, |(_, _, label)| *label)
}

/// RFC 6724 §2.2: bits that two addresses have in common, up to where the source's network ends.
fn common_prefix(own: &Own, destination: IpAddr) -> u32 {
    match (own.cidr.address(), destination) {
        (IpAddr::V4(own), IpAddr::V4(to)) => (own.to_bits() ^ to.to_bits()).leading_zeros(),
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            // A network of 128 bits says nothing of where the identifier begins (RFC 5942 §4).
            let network = match own.cidr.prefix() {
                128 => 64,
                bits => u32::from(bits),
            };
            (from.to_bits() ^ to.to_bits()).leading_zeros().min(network)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_the_default_policy() {
        for (address, expected) in [
            ("::1", 0),
            ("2600::1", 1),
            ("2002:a00:1::", 2),
            ("::10.0.0.1", 3),
            ("10.0.0.1", 4),
            ("2001::1", 5),
            ("2001:db8::1", 1),
            ("fec0::1", 11),
            ("3ffe::1", 12),
            ("fd00::1", 13),
        ] {
            assert_eq!(label(address.parse().unwrap()), expected, "{address}");
        }
    }
}
