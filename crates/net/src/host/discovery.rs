//! The messages of a host that configures itself: probes for addresses, questions for routers, and what these answer. RFC 4862 §5.4,
//! RFC 4861 §6.
//!
//! What to do and when is [`autoconf`](super::autoconf)'s to know; questions about neighbours are [`resolve`](super::resolve)'s.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use super::Host;
use super::autoconf::{Autoconf, Conflict, Step};
use super::discard::Discard;
use super::egress::Outbound;
use super::event::{AddressState, Event};
use super::groups::Telling;
use super::inbound::Inbound;
use super::keys::Dice;
use super::neighbour::{QUESTION_INTERVAL, REACHABLE};
use super::resolve::NDP_HOP_LIMIT;
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
    pub(super) fn is_tentative(&self, address: IpAddr) -> bool {
        match (&self.autoconf, address) {
            (Some(autoconf), IpAddr::V6(address)) => autoconf.is_tentative(address),
            _ => false,
        }
    }

    /// When this host has something to do about its own configuration.
    pub(super) fn autoconf_deadline(&self) -> Option<Instant> {
        self.autoconf.as_deref().and_then(Autoconf::deadline)
    }

    /// Does what is due.
    pub(super) fn expire_autoconf(&mut self, now: Instant) {
        while let Some(step) = self
            .autoconf
            .as_mut()
            .and_then(|autoconf| autoconf.step(now))
        {
            match step {
                Step::Listen(address) => {
                    self.hear_solicitations(now, address, Telling::Aloud);
                    self.expire_groups(now);
                    self.announce_address(address, AddressState::Tentative);
                }
                Step::Probe(address) => self.probe(now, address),
                Step::Assign(address) => self.announce_address(address, AddressState::Preferred),
                Step::Deprecate(address) => {
                    self.announce_address(address, AddressState::Deprecated)
                }
                Step::Remove(address) => {
                    self.ignore_solicitations(now, address);
                    self.expire_groups(now);
                    self.announce_address(address, AddressState::Gone);
                }
                Step::Solicit => self.solicit_router(now),
                Step::Forget => {}
            }
            self.adopt();
        }
    }

    /// Takes over what was learnt: addresses, networks, routers.
    fn adopt(&mut self) {
        if let Some(autoconf) = &self.autoconf {
            self.routes.adopt(autoconf);
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
    fn probe(&mut self, now: Instant, address: Ipv6Addr) {
        let to = ndp::solicited_node(address);
        let header =
            Message::NeighbourSolicitation.emit(&address.octets(), Ipv6Addr::UNSPECIFIED, to);
        self.say(now, (Ipv6Addr::UNSPECIFIED, to), &header, &address.octets());
    }

    /// RFC 4861 §6.3.7.
    fn solicit_router(&mut self, now: Instant) {
        let from = self.routes.link_local();
        let option = match from.is_unspecified() {
            true => &[][..],
            false => &router::solicitation(self.config.mac)[..],
        };
        let message = Message::Other {
            kind: router::SOLICITATION,
            code: 0,
        };
        let header = message.emit(option, from, router::ALL_ROUTERS);
        self.say(now, (from, router::ALL_ROUTERS), &header, option);
    }

    fn say(&mut self, now: Instant, (from, to): (Ipv6Addr, Ipv6Addr), header: &[u8], body: &[u8]) {
        let message = [header, body].concat();
        let mut packet = Outbound::new(from.into(), to.into(), icmpv6::PROTOCOL, &message);
        packet.hop_limit = Some(NDP_HOP_LIMIT);
        // Without room it is counted there, and lost as on any link.
        let _ = self.send(now, &mut packet);
    }

    /// Somebody asks for an address that we are still probing, or says that it has it. RFC 4862 §5.4.3, §5.4.4.
    pub(super) fn contested(&mut self, now: Instant, address: Ipv6Addr) {
        let autoconf = self.autoconf.as_mut();
        if autoconf.map(|autoconf| autoconf.conflict(now, address)) == Some(Conflict::Lost) {
            self.ignore_solicitations(now, address);
            self.expire_groups(now);
            self.announce_address(address, AddressState::Duplicate);
            self.adopt();
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
        let Some(autoconf) = &mut self.autoconf else {
            return Err(Discard::Unconfigurable);
        };
        autoconf.advertised(now, source, &told);
        if let Some(mac) = told.link.filter(|mac| !mac.is_group()) {
            let waiting = self.neighbours.heard(now, inbound.source, mac);
            self.release(waiting, mac);
        }
        let or = |told: Duration, default| if told.is_zero() { default } else { told };
        let reachable = spread(
            &mut self.dice,
            or(told.reachable, REACHABLE).min(MAX_REACHABLE),
        );
        let interval = or(told.retransmit, QUESTION_INTERVAL);
        self.neighbours
            .set_times(reachable, interval.min(MAX_INTERVAL));
        self.routes.set_link(told.hop_limit, told.mtu);
        self.adopt();
        self.expire_autoconf(now);
        Ok(())
    }

    /// A neighbour that was a router does not answer, or says that it is none. RFC 4861 §6.3.6, §7.2.5.
    pub(super) fn doubt_router(&mut self, router: IpAddr, retired: Retired) {
        let changed = match (&mut self.autoconf, router, retired) {
            (Some(autoconf), IpAddr::V6(router), Retired::Yes) => autoconf.retire(router),
            (Some(autoconf), router, Retired::Perhaps) => autoconf.avoid(router),
            _ => false,
        };
        if changed {
            self.adopt();
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
