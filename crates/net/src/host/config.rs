//! What a host is, at its beginning.

use alloc::vec::Vec;
use core::net::IpAddr;
use wharf_port::PortRange;

use super::icmp_error::ErrorRate;
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

/// What a [`Host`](crate::Host) is made from.
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
    /// Ways to everywhere else. With [`accept_anything`](Self::accept_anything) whatever no route covers
    /// is sought on the link.
    pub routes: Vec<Route>,
    /// Whether the host answers for every address behind the link, as a gateway does.
    pub accept_anything: bool,
    /// With `accept_anything`: whether ARP and neighbour solicitations are answered for every address but
    /// the asker's own. Without, they are answered for own addresses only.
    pub proxy: bool,
    /// The ports that are chosen from for a socket that doesn't name one.
    pub ports: PortRange,
    /// How connections behave.
    pub tcp: tcp::Config,
    /// The secret behind initial sequence numbers, ephemeral ports and identifications; must be unpredictable.
    pub seed: [u8; 32],
    /// How many ICMP errors may go out.
    pub icmp_errors: ErrorRate,
}

impl Config {
    /// An ordinary host without addresses, on a link of MTU 1500 without offloads.
    #[must_use]
    pub fn new(mac: Mac, seed: [u8; 32]) -> Self {
        Self {
            mac,
            mtu: 1500,
            capabilities: Capabilities::NONE,
            addresses: Vec::new(),
            routes: Vec::new(),
            accept_anything: false,
            proxy: true,
            ports: PortRange::LINUX,
            tcp: tcp::Config::default(),
            seed,
            icmp_errors: ErrorRate::HOST,
        }
    }
}
