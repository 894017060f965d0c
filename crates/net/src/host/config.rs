//! What a host is, at its beginning.

use alloc::vec::Vec;
use core::net::IpAddr;
use wharf_port::{Device, Port, PortRange};

use super::Host;
use super::error_rate::ErrorRate;
use crate::cidr::Cidr;
use crate::frame::Capabilities;
use crate::tcp;
use crate::wire::ethernet::Mac;

/// The smallest MTU every IPv6 link has. RFC 8200 §5.
pub(crate) const MTU_MIN: u16 = 1280;

/// A way to a network through a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network, `0.0.0.0/0` or `::/0` for everything.
    pub network: Cidr,
    /// The neighbour that forwards; of the same family as `network`.
    pub gateway: IpAddr,
}

/// How a host configures itself over IPv6. What happens to its addresses is told by
/// [`Event::Address`](crate::Event::Address).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Autoconfiguration {
    /// How the lower half of an address is made.
    pub identifiers: Identifiers,
    /// How often it is asked whether somebody has an address before it is used (DupAddrDetectTransmits, RFC 4862 §5.1); 0 for not at
    /// all.
    pub probes: u8,
}

impl Default for Autoconfiguration {
    /// Opaque identifiers, one probe.
    fn default() -> Self {
        Self {
            identifiers: Identifiers::default(),
            probes: 1,
        }
    }
}

/// How the lower half of an address is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identifiers {
    /// From the network, the hardware address and the host's secret: always the same in one network as long as
    /// [`Config::seed`] is, another in each network, so that nobody is followed by it (RFC 7217, which RFC 8064 recommends).
    #[default]
    Opaque,
    /// From the hardware address (RFC 4291 appendix A): what others expect who know that.
    Hardware,
}

/// One link of a host with several: see [`Config::further`].
#[derive(Clone, Debug)]
pub struct Interface {
    /// As [`Config::mac`].
    pub mac: Mac,
    /// As [`Config::mtu`].
    pub mtu: u16,
    /// As [`Config::capabilities`].
    pub capabilities: Capabilities,
    /// As [`Config::addresses`].
    pub addresses: Vec<Cidr>,
    /// As [`Config::routes`]: their gateways are neighbours on this link.
    pub routes: Vec<Route>,
    /// As [`Config::autoconfiguration`].
    pub autoconfiguration: Option<Autoconfiguration>,
}

impl Interface {
    /// A link of MTU 1500 without offloads, and no address on it.
    #[must_use]
    pub fn new(mac: Mac) -> Self {
        Self {
            mac,
            mtu: 1500,
            capabilities: Capabilities::NONE,
            addresses: Vec::new(),
            routes: Vec::new(),
            autoconfiguration: None,
        }
    }
}

/// What a [`Host`](crate::Host) is made from: its first link, and everything that holds for all.
#[derive(Clone, Debug)]
pub struct Config {
    /// The host's hardware address.
    pub mac: Mac,
    /// The largest IP packet the link carries, in octets; less than 1280 is taken as 1280 (RFC 8200 §5).
    pub mtu: u16,
    /// What the link can be handed.
    pub capabilities: Capabilities,
    /// The host's own addresses, with the networks that are reached without a gateway.
    pub addresses: Vec<Cidr>,
    /// Ways to everywhere else, by gateways on the link. With [`accept_anything`](Self::accept_anything) whatever no route covers
    /// is sought on the link.
    pub routes: Vec<Route>,
    /// Whether the host answers for every address behind the link, as a gateway does.
    pub accept_anything: bool,
    /// Whether the host makes its IPv6 addresses itself and listens to routers (RFC 4862). Then the addresses of
    /// [`addresses`](Self::addresses) are not the host's before they were probed, either. Without, they are at once, and there is
    /// no link-local address but what is in there: fit for a link with known hosts, such as one to a virtual machine.
    pub autoconfiguration: Option<Autoconfiguration>,
    /// Further links. An address belongs to its link: what is for it has to come by that link, and what is from it leaves by that link (the
    /// strong model of RFC 1122 §3.3.4.2), unless the host [accepts anything](Self::accept_anything). Nothing that comes by one link is
    /// forwarded to another.
    pub further: Vec<Interface>,
    /// With `accept_anything`: whether ARP and neighbour solicitations are answered for every address but
    /// the asker's own. Without, they are answered for own addresses only.
    pub proxy: bool,
    /// The ports that are chosen from for a socket that doesn't name one.
    pub ports: PortRange,
    /// The first port that a socket may be bound to without [`Setting::Right`](crate::Setting::Right): 1024 keeps the system ports
    /// (RFC 6335 §6) for those that have it. A socket without the right fails with
    /// [`BindError::Denied`](wharf_port::table::BindError::Denied).
    pub unprivileged: Port,
    /// How connections behave.
    pub tcp: tcp::Config,
    /// The secret behind initial sequence numbers, ephemeral ports and identifications; must be unpredictable.
    pub seed: [u8; 32],
    /// How many ICMP errors may go out.
    pub icmp_errors: ErrorRate,
}

impl Config {
    /// An ordinary host without addresses, on a link of MTU 1500 without offloads. Every port is for everybody: its sockets are one
    /// program's.
    #[must_use]
    pub fn new(mac: Mac, seed: [u8; 32]) -> Self {
        Self {
            mac,
            mtu: 1500,
            capabilities: Capabilities::NONE,
            addresses: Vec::new(),
            routes: Vec::new(),
            accept_anything: false,
            autoconfiguration: None,
            further: Vec::new(),
            proxy: true,
            ports: PortRange::LINUX,
            unprivileged: Port::MIN,
            tcp: tcp::Config::default(),
            seed,
            icmp_errors: ErrorRate::HOST,
        }
    }

    /// Every link, with its name.
    pub(super) fn links(&self) -> impl Iterator<Item = (Device, Interface)> {
        let first = Interface {
            mac: self.mac,
            mtu: self.mtu,
            capabilities: self.capabilities,
            addresses: self.addresses.clone(),
            routes: self.routes.clone(),
            autoconfiguration: self.autoconfiguration,
        };
        let all = core::iter::once(first).chain(self.further.iter().cloned());
        let devices = (Host::LINK.number()..).filter_map(Device::new);
        devices.zip(all)
    }
}
