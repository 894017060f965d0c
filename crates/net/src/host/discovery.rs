//! The messages of a host that configures itself: probes for addresses, questions for routers, and what these answer. RFC 4862 §5.4,
//! RFC 4861 §6.
//!
//! What to do and when is [`autoconf`](super::autoconf)'s to know; questions about neighbours are [`resolve`](super::resolve)'s.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use wharf_port::Device;

use super::Host;
use super::autoconf::{Conflict, Step};
use super::event::{AddressState, Event};
use super::groups::Telling;
use super::inbound::Inbound;
use super::keys::Dice;
use super::links::Link;
use super::neighbour::{QUESTION_INTERVAL, REACHABLE};
use super::outbound::Outbound;
use super::resolve::NDP_HOP_LIMIT;
use crate::discard::Discard;
use crate::time::Instant;
use crate::wire::icmpv6::{self, Message};
use crate::wire::ndp;
use crate::wire::router::{self, Advertisement};

/// RFC 4861 §6.3.2: a confirmation counts for half as long as told to half as long again, so that hosts don't act at once.
fn spread(dice: &mut Dice, base: Duration) -> Duration {
    base / 2 + dice.below(base)
}

impl Host {
    /// Whether an address is not ours yet.
    pub(super) fn is_tentative(&self, device: Device, address: IpAddr) -> bool {
        let autoconf = self.link(device).and_then(|link| link.autoconf.as_deref());
        match (autoconf, address) {
            (Some(autoconf), IpAddr::V6(address)) => autoconf.is_tentative(address),
            _ => false,
        }
    }

    /// Does what is due.
    pub(super) fn expire_autoconf(&mut self, now: Instant) {
        let mut step = |link: &mut Link| Some((link.device, link.autoconf.as_mut()?.step(now)?));
        while let Some((device, step)) = self.links.iter_mut().find_map(&mut step) {
            match step {
                Step::Listen(address) => {
                    self.hear_solicitations(now, device, address, Telling::Aloud);
                    self.expire_groups(now);
                    self.announce_address(address, AddressState::Tentative);
                }
                Step::Probe(address) => self.probe(now, device, address),
                Step::Assign(address) => self.announce_address(address, AddressState::Preferred),
                Step::Deprecate(address) => {
                    self.announce_address(address, AddressState::Deprecated)
                }
                Step::Remove(address) => {
                    self.ignore_solicitations(now, device, address);
                    self.expire_groups(now);
                    self.announce_address(address, AddressState::Gone);
                }
                Step::Solicit => self.solicit_router(now, device),
                Step::Forget => {}
            }
            self.adopt(device);
        }
    }

    /// Takes over what was learnt on a link: addresses, networks, routers.
    fn adopt(&mut self, device: Device) {
        let mut links = self.links.iter().filter(|link| link.device == device);
        if let Some(autoconf) = links.find_map(|link| link.autoconf.as_deref()) {
            self.routes.adopt(device, autoconf);
        }
    }

    fn announce_address(&mut self, address: Ipv6Addr, state: AddressState) {
        // A router makes these, so they have the bound of what peers make.
        let changed = Event::Address {
            address: address.into(),
            state,
        };
        if !self.events.offer(changed) {
            self.drop_for(Discard::EventLimit);
        }
    }

    /// RFC 4862 §5.4.2: a solicitation from nobody, for the address itself.
    fn probe(&mut self, now: Instant, device: Device, address: Ipv6Addr) {
        let to = ndp::solicited_node(address);
        let header =
            Message::NeighbourSolicitation.emit(&address.octets(), Ipv6Addr::UNSPECIFIED, to);
        let ends = (Ipv6Addr::UNSPECIFIED, to);
        self.say(now, device, ends, (&header, &address.octets()));
    }

    /// RFC 4861 §6.3.7.
    fn solicit_router(&mut self, now: Instant, device: Device) {
        let from = self.routes.link_local(device);
        let mac = self.link(device).map(|link| link.mac);
        let named = mac.filter(|_| !from.is_unspecified());
        let option = named.map(router::solicitation);
        let option = option.as_ref().map_or(&[][..], |option| &option[..]);
        let message = Message::Other {
            kind: router::SOLICITATION,
            code: 0,
        };
        let header = message.emit(option, from, router::ALL_ROUTERS);
        let ends = (from, router::ALL_ROUTERS);
        self.say(now, device, ends, (&header, option));
    }

    fn say(
        &mut self,
        now: Instant,
        device: Device,
        (from, to): (Ipv6Addr, Ipv6Addr),
        (header, body): (&[u8], &[u8]),
    ) {
        let message = [header, body].concat();
        let mut packet = Outbound::new(from.into(), to.into(), icmpv6::PROTOCOL, &message);
        packet.hop_limit = Some(NDP_HOP_LIMIT);
        packet.device = Some(device);
        // Without room it is counted there, and lost as on any link.
        let _ = self.send(now, &mut packet);
    }

    /// Somebody asks for an address that we are still probing, or says that it has it. RFC 4862 §5.4.3, §5.4.4.
    pub(super) fn contested(&mut self, now: Instant, device: Device, address: Ipv6Addr) {
        let link = self.link_mut(device);
        let autoconf = link.and_then(|link| link.autoconf.as_mut());
        if autoconf.map(|autoconf| autoconf.conflict(now, address)) == Some(Conflict::Lost) {
            self.ignore_solicitations(now, device, address);
            self.expire_groups(now);
            self.announce_address(address, AddressState::Duplicate);
            self.adopt(device);
        }
    }

    /// A router advertisement. RFC 4861 §6.1.2, §6.3.4.
    pub(super) fn receive_router(
        &mut self,
        now: Instant,
        inbound: &Inbound,
    ) -> Result<(), Discard> {
        let IpAddr::V6(source) = inbound.source else {
            return Err(Discard::Neighbour);
        };
        if inbound.hop_limit != NDP_HOP_LIMIT || !source.is_unicast_link_local() {
            return Err(Discard::Neighbour);
        }
        let told = Advertisement::parse(inbound.payload()).map_err(|_| Discard::Neighbour)?;
        let device = inbound.device;
        let link = self.link_mut(device).ok_or(Discard::Neighbour)?;
        let autoconf = link.autoconf.as_mut();
        let autoconf = autoconf.ok_or(Discard::Unconfigurable)?;
        autoconf.advertised(now, source, &told);
        if let Some(mac) = told.link.filter(|mac| !mac.is_group()) {
            let waiting = link.neighbours.heard(now, inbound.source, mac);
            self.release(device, waiting, mac);
        }
        let or = |told: Duration, default| if told.is_zero() { default } else { told };
        let reachable = spread(
            &mut self.dice,
            or(told.reachable, REACHABLE).min(MAX_REACHABLE),
        );
        let interval = or(told.retransmit, QUESTION_INTERVAL);
        if let Some(link) = self.link_mut(device) {
            let interval = interval.min(MAX_INTERVAL);
            link.neighbours.set_times(reachable, interval);
        }
        self.routes.set_link(device, told.hop_limit, told.mtu);
        self.adopt(device);
        self.expire_autoconf(now);
        Ok(())
    }

    /// A neighbour that was a router does not answer, or says that it is none. RFC 4861 §6.3.6, §7.2.5.
    pub(super) fn doubt_router(&mut self, device: Device, router: IpAddr, retired: Retired) {
        let link = self.link_mut(device);
        let autoconf = link.and_then(|link| link.autoconf.as_mut());
        let changed = match (autoconf, router, retired) {
            (Some(autoconf), IpAddr::V6(router), Retired::Yes) => autoconf.retire(router),
            (Some(autoconf), router, Retired::Perhaps) => autoconf.avoid(router),
            _ => false,
        };
        if changed {
            self.adopt(device);
        }
    }
}

/// Whether a router is one no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retired {
    Yes,
    Perhaps,
}

/// RFC 4861 §6.2.1: the longest reachable time that a router may tell, an hour.
const MAX_REACHABLE: Duration = Duration::from_secs(3600);
/// Longer between questions than this, and nobody would be found in time.
const MAX_INTERVAL: Duration = Duration::from_secs(60);
