//! The network inside a space: its link, addresses, routes and limits, made once by the keeper.
//!
//! The keeper has just come into a user and a network namespace of its own, alone and with every capability there; the
//! namespace has nothing but a loopback interface that is down. [`set_up`] gives it
//!
//! - loopback;
//! - the interface [`INTERFACE`], whose other end is the [`SetUp::link`]: a TAP, or, without `/dev/net/tun`, a veth pair with a packet
//!   socket at its far end;
//! - one IPv4 and one IPv6 address, each alone in its subnet, so that everything else, other spaces too, goes to the gateway: the host
//!   at the link's other side, known by a permanent neighbour entry and never asked for;
//! - ports from 0 on for everybody, and ping without privilege.
//!
//! What is not necessary, and refused, is a remark and not an error: `/proc/sys` is read-only in many containers, and some
//! kernels have no IPv6. Congestion control stays what the machine has chosen.

mod failure;
mod rtnetlink;
mod sysctl;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use wharf_link::{Link, Packet, Tap, forbid_udp_trains};

pub(crate) use failure::{SetUpError, Step};
use rtnetlink::{Mac, Rtnetlink};

/// The gateway's IPv4 address, the same in every space.
pub(crate) const GATEWAY_IPV4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The gateway's IPv6 address, the same in every space.
pub(crate) const GATEWAY_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0x7761, 0x7266, 0, 0, 0, 0, 1);
/// The gateway's link address: locally administered, unicast.
pub(crate) const GATEWAY_MAC: Mac = [0x02, 0x77, 0x68, 0x00, 0x00, 0x01];
/// The link address of every space's interface; each is alone with its gateway on its link.
pub(crate) const SPACE_MAC: Mac = [0x02, 0x77, 0x68, 0x00, 0x00, 0x02];
/// The interface in a space.
pub(crate) const INTERFACE: &str = "wharf0";
/// The far end of a veth pair, where the packet socket is.
const FAR_END: &str = "wharf1";

/// What a space's network is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The space's IPv4 address.
    pub(crate) ipv4: Ipv4Addr,
    /// The space's IPv6 address.
    pub(crate) ipv6: Ipv6Addr,
    /// The gateway's IPv4 address.
    pub(crate) gateway4: Ipv4Addr,
    /// The gateway's IPv6 address.
    pub(crate) gateway6: Ipv6Addr,
    /// The interface's link address.
    pub(crate) mac: Mac,
    /// The gateway's link address.
    pub(crate) gateway_mac: Mac,
    /// The interface's MTU, 1280 (less has no IPv6, RFC 8200 §5) to 65520 bytes.
    pub(crate) mtu: u16,
    /// What carries the frames.
    pub(crate) device: Device,
}

/// What is to carry a space's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub(crate) enum Device {
    /// A TAP, or a packet socket where that can't be had.
    Auto,
    /// A TAP or nothing.
    Tap,
    /// A packet socket on a veth pair.
    Packet,
}

/// What carries a space's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// A TAP; take the descriptor up with [`Tap::from_fd`].
    Tap,
    /// A packet socket on a veth pair; take the descriptor up with [`Packet::from_fd`].
    Packet,
}

/// A space's network, made.
#[derive(Debug)]
pub(crate) struct SetUp {
    /// The link's descriptor, nonblocking; it is all that need be passed on. The interface lives as long as a TAP's descriptor does.
    pub(crate) link: OwnedFd,
    /// What the descriptor is.
    pub(crate) kind: Kind,
    /// What could not be had although it was wanted, a sentence each.
    pub(crate) remarks: Vec<String>,
}

impl Plan {
    /// The plan of the space with these addresses.
    pub(crate) fn new(ipv4: Ipv4Addr, ipv6: Ipv6Addr, mtu: u16, device: Device) -> Self {
        Self {
            ipv4,
            ipv6,
            gateway4: GATEWAY_IPV4,
            gateway6: GATEWAY_IPV6,
            mac: SPACE_MAC,
            gateway_mac: GATEWAY_MAC,
            mtu,
            device,
        }
    }
}

/// Makes the network that `plan` describes in this thread's network namespace, which is new.
///
/// # Errors
///
/// [`SetUpError`]; what was made until then goes with the namespace.
pub(crate) fn set_up(plan: &Plan) -> Result<SetUp, SetUpError> {
    let mut remarks = Vec::new();
    // Interfaces take these over as they are made.
    sysctl::quiet_ipv6(&mut remarks);
    sysctl::open_ports(&mut remarks);
    let mut netlink = Step::Netlink.of(Rtnetlink::open())?;
    Step::Loopback.of(netlink.set_loopback_up())?;
    let (link, kind) = make_link(plan, &mut netlink, &mut remarks)?;
    let index = Step::FindInterface.of(netlink.index_of(INTERFACE))?;
    Step::ConfigureInterface.of(netlink.configure(index, plan.mac, plan.mtu))?;
    if kind == Kind::Packet {
        let far_end = Step::FindInterface.of(netlink.index_of(FAR_END))?;
        Step::ConfigureInterface.of(netlink.await_queue(far_end))?;
    }
    connect(
        &mut netlink,
        index,
        plan.ipv4.into(),
        plan.gateway4.into(),
        plan.gateway_mac,
    )?;
    match connect(
        &mut netlink,
        index,
        plan.ipv6.into(),
        plan.gateway6.into(),
        plan.gateway_mac,
    ) {
        Err(SetUpError::Step { source, .. }) if is_without_ipv6(&source) => {
            remarks.push(format!(
                "this space has no IPv6, which the kernel refuses: {source}"
            ));
        }
        result => result?,
    }
    Ok(SetUp {
        link,
        kind,
        remarks,
    })
}

fn make_link(
    plan: &Plan,
    netlink: &mut Rtnetlink,
    remarks: &mut Vec<String>,
) -> Result<(OwnedFd, Kind), SetUpError> {
    let tap = match plan.device {
        Device::Packet => return make_packet(plan, netlink, remarks),
        Device::Tap | Device::Auto => Tap::open(INTERFACE, plan.mtu),
    };
    match tap {
        Ok(tap) => Ok((tap.into(), Kind::Tap)),
        Err(error) if plan.device == Device::Tap => Err(SetUpError::Tap(error)),
        // As good as a TAP; that there is none, `wharf doctor` tells those who wonder.
        Err(tap) => make_packet(plan, netlink, remarks).map_err(|packet| SetUpError::NoDevice {
            tap,
            packet: Box::new(packet),
        }),
    }
}

/// Makes a veth pair whose far end no protocol of the kernel listens at, and opens a packet socket there.
///
/// The far end's own link address isn't the gateway's: to the kernel, what is meant for the gateway is somebody else's,
/// and dropped as soon as the packet socket has its copy.
fn make_packet(
    plan: &Plan,
    netlink: &mut Rtnetlink,
    remarks: &mut Vec<String>,
) -> Result<(OwnedFd, Kind), SetUpError> {
    Step::MakeVeth.of(netlink.make_veth(INTERFACE, FAR_END, plan.mtu))?;
    sysctl::without_ipv6(FAR_END, remarks);
    let index = Step::FindInterface.of(netlink.index_of(FAR_END))?;
    Step::ConfigureInterface.of(netlink.set_up_without_arp(index))?;
    let packet = Packet::open(FAR_END, plan.mtu).map_err(SetUpError::Packet)?;
    if !packet.capabilities().udp_segment
        && let Err(error) = forbid_udp_trains(INTERFACE)
    {
        remarks.push(format!(
            "what programs send by UDP_SEGMENT is lost on this kernel: {error}"
        ));
    }
    Ok((packet.into(), Kind::Packet))
}

/// Gives the interface `address`, and sends everything but it to `gateway`.
fn connect(
    netlink: &mut Rtnetlink,
    index: u32,
    address: IpAddr,
    gateway: IpAddr,
    gateway_mac: Mac,
) -> Result<(), SetUpError> {
    Step::AddAddress.of(netlink.add_address(index, address))?;
    Step::AddNeighbour.of(netlink.add_neighbour(index, gateway, gateway_mac))?;
    Step::AddRoute.of(netlink.add_host_route(index, gateway, address))?;
    Step::AddRoute.of(netlink.add_default_route(index, gateway))
}

/// Whether `error` is how a kernel without IPv6, or with it disabled, answers a request for it.
fn is_without_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    [Errno::AFNOSUPPORT, Errno::OPNOTSUPP, Errno::ACCESS]
        .map(Some)
        .contains(&errno)
}

#[cfg(test)]
mod tests;
