//! The host's links, and what each has for itself: hardware address, neighbours, groups, configuration, frames that wait for it.
//!
//! A link is named by its [`Device`]: the first is [`Host::LINK`], the others follow in the order of
//! [`Config::further`](crate::Config::further). Which addresses and networks a link has is [`route`](super::route)'s to know.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::IpAddr;
use wharf_port::Device;

use super::autoconf::Autoconf;
use super::config::{Config, Interface};
use super::defence::Defences;
use super::groups::{Groups, Member, Telling};
use super::keys::Keyed;
use super::neighbour::Neighbours;
use super::{Earliest, Host};
use crate::frame::{Capabilities, Frame};
use crate::time::Instant;
use crate::wire::ethernet::Mac;

/// What belongs to one link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) device: Device,
    pub(super) mac: Mac,
    pub(super) capabilities: Capabilities,
    pub(super) neighbours: Neighbours,
    pub(super) defences: Defences,
    pub(super) groups: Groups,
    pub(super) autoconf: Option<Box<Autoconf>>,
    /// Frames for it.
    pub(super) output: VecDeque<Frame>,
}

impl Link {
    pub(super) fn new(device: Device, interface: Interface, config: &Config) -> Self {
        let seed = secret(&config.seed, device);
        let groups = hearing(Groups::new(&seed), &interface);
        let (mac, capabilities) = (interface.mac, interface.capabilities);
        let addresses = interface.addresses;
        Self {
            device,
            mac,
            capabilities,
            neighbours: Neighbours::new(Keyed::new(&seed)),
            defences: Defences::default(),
            groups,
            autoconf: interface
                .autoconfiguration
                .map(|how| Box::new(Autoconf::new(how, mac, &seed, addresses))),
            output: VecDeque::new(),
        }
    }

    /// When something is to be done about it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let mut first = Earliest::default();
        first.note(self.neighbours.deadline());
        first.note(self.groups.deadline());
        first.note(self.autoconf.as_deref().and_then(Autoconf::deadline));
        first.0
    }
}

/// Links throw dice of their own: what one does at random tells nothing about another.
fn secret(seed: &[u8; 32], device: Device) -> [u8; 32] {
    let number = device.number() - Host::LINK.number();
    let mut seed = *seed;
    for (octet, other) in seed.iter_mut().zip(number.to_be_bytes()) {
        *octet ^= other;
    }
    seed
}

/// Own addresses are listened for from the start, unless they are to be probed first.
fn hearing(mut groups: Groups, interface: &Interface) -> Groups {
    if interface.autoconfiguration.is_some() {
        return groups;
    }
    for own in &interface.addresses {
        if let IpAddr::V6(own) = own.address() {
            let group = crate::wire::ndp::solicited_node(own).into();
            // Unicast questions are heard anyway.
            let _ = groups.join(Instant::ZERO, group, Member::Host, Telling::Quiet);
        }
    }
    groups
}

impl Host {
    /// The devices of the host's links, for [`receive_on`](Self::receive_on), [`transmit_on`](Self::transmit_on) and
    /// [`Setting::Device`](crate::Setting::Device): [`LINK`](Self::LINK) first.
    pub fn links(&self) -> impl Iterator<Item = Device> {
        self.links.iter().map(|link| link.device)
    }

    pub(super) fn link(&self, device: Device) -> Option<&Link> {
        let at = device.number().checked_sub(Self::LINK.number())?;
        self.links.get(at as usize)
    }

    pub(super) fn link_mut(&mut self, device: Device) -> Option<&mut Link> {
        let at = device.number().checked_sub(Self::LINK.number())?;
        self.links.get_mut(at as usize)
    }
}
