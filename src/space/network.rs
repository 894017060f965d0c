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

mod rtnetlink;
mod sysctl;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use wharf_link::{Capabilities, Link, Packet, PacketError, Tap, TapError};

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
    /// The link's descriptor, nonblocking. The interface lives as long as a TAP's descriptor does.
    pub(crate) link: OwnedFd,
    /// What the descriptor is.
    pub(crate) kind: Kind,
    /// What the link takes.
    pub(crate) capabilities: Capabilities,
    /// What could not be had although it was wanted, a sentence each.
    pub(crate) remarks: Vec<String>,
}

/// Why there is no network.
///
/// As usual the cause isn't part of the message but its source.
#[derive(Debug, Error)]
pub(crate) enum SetUpError {
    /// The kernel refused a netlink request.
    #[error("can't {step}{}", remedy(*.step, .source))]
    Step {
        /// What was asked for.
        step: Step,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A TAP was asked for and can't be had.
    #[error(
        "no TAP for this space (give this user access to /dev/net/tun, or leave the choice of device to wharf)"
    )]
    Tap(#[source] TapError),
    /// A packet socket can't be had.
    #[error("no packet socket for this space")]
    Packet(#[source] PacketError),
    /// Neither of the two.
    #[error("neither a TAP ({}) nor a packet socket for this space (give this user access to /dev/net/tun)", told(.tap))]
    NoDevice {
        /// Why there is no TAP.
        tap: TapError,
        /// Why there is no packet socket.
        #[source]
        packet: Box<Self>,
    },
}

/// What is done by netlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Opening the netlink socket.
    Netlink,
    /// Setting loopback up.
    Loopback,
    /// Making the veth pair.
    MakeVeth,
    /// Finding an interface that was just made.
    FindInterface,
    /// Setting an interface's address, MTU and state.
    ConfigureInterface,
    /// Adding an address.
    AddAddress,
    /// Adding a route.
    AddRoute,
    /// Adding the gateway's neighbour entry.
    AddNeighbour,
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
    let mut netlink = Rtnetlink::open().map_err(|source| Step::Netlink.failed(source))?;
    netlink
        .set_loopback_up()
        .map_err(|source| Step::Loopback.failed(source))?;
    let (link, kind, capabilities) = make_link(plan, &mut netlink, &mut remarks)?;
    let index = netlink
        .index_of(INTERFACE)
        .map_err(|source| Step::FindInterface.failed(source))?;
    netlink
        .configure(index, plan.mac, plan.mtu)
        .map_err(|source| Step::ConfigureInterface.failed(source))?;
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
        capabilities,
        remarks,
    })
}

fn make_link(
    plan: &Plan,
    netlink: &mut Rtnetlink,
    remarks: &mut Vec<String>,
) -> Result<(OwnedFd, Kind, Capabilities), SetUpError> {
    let tap = match plan.device {
        Device::Packet => return make_packet(plan, netlink, remarks),
        Device::Tap | Device::Auto => Tap::open(INTERFACE, plan.mtu),
    };
    match tap {
        Ok(tap) => {
            let capabilities = tap.capabilities();
            Ok((tap.into(), Kind::Tap, capabilities))
        }
        Err(error) if plan.device == Device::Tap => Err(SetUpError::Tap(error)),
        Err(tap) => match make_packet(plan, netlink, remarks) {
            Ok(link) => {
                remarks.push(format!(
                    "a packet socket carries this space's frames, since {}",
                    told(&tap)
                ));
                Ok(link)
            }
            Err(packet) => Err(SetUpError::NoDevice {
                tap,
                packet: Box::new(packet),
            }),
        },
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
) -> Result<(OwnedFd, Kind, Capabilities), SetUpError> {
    netlink
        .make_veth(INTERFACE, FAR_END, plan.mtu)
        .map_err(|source| Step::MakeVeth.failed(source))?;
    sysctl::without_ipv6(FAR_END, remarks);
    let index = netlink
        .index_of(FAR_END)
        .map_err(|source| Step::FindInterface.failed(source))?;
    netlink
        .set_up_without_arp(index)
        .map_err(|source| Step::ConfigureInterface.failed(source))?;
    let packet = Packet::open(FAR_END, plan.mtu).map_err(SetUpError::Packet)?;
    let capabilities = packet.capabilities();
    Ok((packet.into(), Kind::Packet, capabilities))
}

/// Gives the interface `address`, and sends everything but it to `gateway`.
fn connect(
    netlink: &mut Rtnetlink,
    index: u32,
    address: IpAddr,
    gateway: IpAddr,
    gateway_mac: Mac,
) -> Result<(), SetUpError> {
    netlink
        .add_address(index, address)
        .map_err(|source| Step::AddAddress.failed(source))?;
    netlink
        .add_neighbour(index, gateway, gateway_mac)
        .map_err(|source| Step::AddNeighbour.failed(source))?;
    netlink
        .add_host_route(index, gateway, address)
        .map_err(|source| Step::AddRoute.failed(source))?;
    netlink
        .add_default_route(index, gateway)
        .map_err(|source| Step::AddRoute.failed(source))
}

/// Whether `error` is how a kernel without IPv6, or with it disabled, answers a request for it.
fn is_without_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    [Errno::AFNOSUPPORT, Errno::OPNOTSUPP, Errno::ACCESS]
        .map(Some)
        .contains(&errno)
}

impl Step {
    fn failed(self, source: io::Error) -> SetUpError {
        SetUpError::Step { step: self, source }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Netlink => "open a netlink socket",
            Self::Loopback => "set the loopback interface up",
            Self::MakeVeth => "make a veth pair",
            Self::FindInterface => "find the interface that was just made",
            Self::ConfigureInterface => "set an interface's address, MTU and state",
            Self::AddAddress => "add an address",
            Self::AddRoute => "add a route",
            Self::AddNeighbour => "add the gateway as a neighbour",
        })
    }
}

/// An error and its causes in one line.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

/// What can be done about it, where something can.
fn remedy(step: Step, error: &io::Error) -> &'static str {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match (step, errno) {
        (Step::MakeVeth, Some(Errno::OPNOTSUPP)) => " (load the kernel module: `modprobe veth`)",
        (_, Some(Errno::PERM | Errno::ACCESS)) => {
            " (a security module, AppArmor or SELinux, may withhold CAP_NET_ADMIN from user namespaces)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests;
