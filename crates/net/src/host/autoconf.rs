//! A host that configures itself over IPv6: its link-local address, addresses in the networks that routers tell of, default routers.
//! RFC 4862 (stateless autoconfiguration), RFC 4861 §6.3 (router and prefix discovery), RFC 7217 (identifiers), RFC 7559 (asking for
//! routers).
//!
//! # Theory of operation
//!
//! An address begins tentative: after a random delay the link is asked whether somebody has it, and only when nobody has said so for a
//! second it is the host's. One that is somebody's is given up, or made anew where its identifier is opaque. What a router told of has
//! a lifetime: after the preferred one an address is deprecated (it goes on, but no new connection begins with it), after the valid one
//! it is gone. So a forged advertisement can't cut an address off: it can't bring its lifetime below two hours (RFC 4862 §5.5.3 e).
//!
//! It says what to do and when, as [`Step`]s; messages are [`discovery`](super::discovery)'s.

mod told;

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use super::config::{Autoconfiguration, Identifiers};
use super::keys::Dice;
use super::neighbour::QUESTION_INTERVAL;
use crate::cidr::Cidr;
use crate::time::Instant;
use crate::wire::ethernet::Mac;

/// Addresses at once, networks and routers too: RFC 4862 has no bound, an attacker none either.
const MAX_ADDRESSES: usize = 32;
const MAX_PREFIXES: usize = 32;
const MAX_ROUTERS: usize = 8;
/// RFC 4861 §10: MAX_RTR_SOLICITATION_DELAY.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// RFC 4861 §10: RTR_SOLICITATION_INTERVAL.
const SOLICIT: Duration = Duration::from_secs(4);
/// RFC 7559 §2: MRT.
const SOLICIT_MOST: Duration = Duration::from_secs(3600);
/// RFC 7217 §7: IDGEN_RETRIES, IDGEN_DELAY.
const RETRIES: u8 = 3;
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Begin to hear the solicitations for an address.
    Listen(Ipv6Addr),
    /// Ask whether somebody has the address.
    Probe(Ipv6Addr),
    /// The address is the host's now.
    Assign(Ipv6Addr),
    /// The address is not for new connections any more.
    Deprecate(Ipv6Addr),
    /// The address is the host's no more.
    Remove(Ipv6Addr),
    /// Ask for routers.
    Solicit,
    /// A network or a router is not there any more.
    Forget,
}

/// What came of an address that somebody else has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conflict {
    /// It was none of ours that is still tentative.
    None,
    /// It is given up; another may take its place.
    Lost,
}

/// Where an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The caller named it, with its network.
    Configured(u8),
    /// Made by the host, in a network of this many bits; `attempt` counts those that were somebody's.
    Made { attempt: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// To be probed from then on.
    Waiting(Instant),
    /// So many probes are left; the next, or the end, comes then.
    Probing {
        left: u8,
        at: Instant,
    },
    Preferred,
    Deprecated,
}

/// An address.
#[derive(Clone, Copy, Debug)]
struct Own {
    address: Ipv6Addr,
    origin: Origin,
    stage: Stage,
    /// Until when; nothing for ever.
    preferred: Option<Instant>,
    valid: Option<Instant>,
}

/// The state of it all.
#[derive(Debug)]
pub(super) struct Autoconf {
    config: Autoconfiguration,
    mac: Mac,
    dice: Dice,
    addresses: Vec<Own>,
    prefixes: Vec<(Cidr, Option<Instant>)>,
    routers: Vec<(Ipv6Addr, Instant)>,
    /// When to ask for routers, and how long to wait after that.
    solicit: Option<Instant>,
    wait: Duration,
    /// Time between probes.
    interval: Duration,
    /// Addresses that the caller named, until the first step.
    configured: Option<Vec<Cidr>>,
}

impl Autoconf {
    pub(super) fn new(
        config: Autoconfiguration,
        mac: Mac,
        seed: &[u8; 32],
        configured: Vec<Cidr>,
    ) -> Self {
        Self {
            config,
            mac,
            dice: Dice::new(seed, 2),
            addresses: Vec::new(),
            prefixes: Vec::new(),
            routers: Vec::new(),
            solicit: None,
            wait: SOLICIT,
            interval: QUESTION_INTERVAL,
            configured: Some(configured),
        }
    }

    /// The link is up: a link-local address is made, and what was configured is probed. RFC 4862 §5.3, §5.4.
    fn begin(&mut self, now: Instant, configured: &[Cidr]) {
        let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);
        self.make(now, link_local, [None, None]);
        for cidr in configured {
            if let IpAddr::V6(address) = cidr.address() {
                let at = now + self.dice.below(FIRST_DELAY);
                self.addresses.push(Own {
                    address,
                    origin: Origin::Configured(cidr.prefix()),
                    stage: Stage::Waiting(at),
                    preferred: None,
                    valid: None,
                });
            }
        }
    }

    /// Makes an address in a network of 64 bits.
    fn make(&mut self, now: Instant, network: Ipv6Addr, [preferred, valid]: [Option<Instant>; 2]) {
        if self.addresses.len() >= MAX_ADDRESSES {
            return;
        }
        let (address, attempt) = self.identify(network, 0);
        let at = now + self.dice.below(FIRST_DELAY);
        self.addresses.push(Own {
            address,
            origin: Origin::Made { attempt },
            stage: Stage::Waiting(at),
            preferred,
            valid,
        });
    }

    /// An address in a network, and the attempt that it was: RFC 4291 appendix A, or RFC 7217 §5.
    fn identify(&self, network: Ipv6Addr, mut attempt: u8) -> (Ipv6Addr, u8) {
        let prefix = network.to_bits() >> 64 << 64;
        let [a, b, c, d, e, f] = self.mac.0;
        loop {
            let identifier = match self.config.identifiers {
                Identifiers::Hardware => u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]),
                Identifiers::Opaque => self.dice.hash_of((prefix, self.mac, attempt)),
            };
            if self.config.identifiers == Identifiers::Hardware || !is_reserved(identifier) {
                return (
                    Ipv6Addr::from_bits(prefix | u128::from(identifier)),
                    attempt,
                );
            }
            attempt = attempt.wrapping_add(1);
        }
    }

    /// Whether an address is still in question: nothing is received there but what is about that. RFC 4862 §5.4.
    pub(super) fn is_tentative(&self, address: Ipv6Addr) -> bool {
        let own = self.addresses.iter().find(|own| own.address == address);
        own.is_some_and(|own| matches!(own.stage, Stage::Waiting(_) | Stage::Probing { .. }))
    }

    /// The addresses that are the host's, each with its network and whether it is deprecated.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (Cidr, bool)> {
        let assigned = |own: &&Own| matches!(own.stage, Stage::Preferred | Stage::Deprecated);
        self.addresses.iter().filter(assigned).filter_map(|own| {
            let bits = match own.origin {
                Origin::Configured(bits) => bits,
                // RFC 5942 §4: an address says nothing about what is on the link.
                Origin::Made { .. } => 128,
            };
            let cidr = Cidr::new(own.address.into(), bits)?;
            Some((cidr, own.stage == Stage::Deprecated))
        })
    }

    /// The networks that are reached without a router.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = Cidr> {
        self.prefixes.iter().map(|(prefix, _)| *prefix)
    }

    /// The default routers, the best first.
    pub(super) fn routers(&self) -> impl Iterator<Item = IpAddr> {
        self.routers.iter().map(|(router, _)| (*router).into())
    }

    /// Somebody else has an address, or wants it at the same time. RFC 4862 §5.4.5, RFC 7217 §6.
    pub(super) fn conflict(&mut self, now: Instant, address: Ipv6Addr) -> Conflict {
        if !self.is_tentative(address) {
            return Conflict::None;
        }
        let at = self.addresses.iter().position(|own| own.address == address);
        let Some(own) = at.map(|at| self.addresses.remove(at)) else {
            return Conflict::None;
        };
        match (own.origin, self.config.identifiers) {
            (Origin::Made { attempt }, Identifiers::Opaque) if attempt < RETRIES => {
                let (address, attempt) = self.identify(address, attempt + 1);
                let wait = RETRY_DELAY + self.dice.below(FIRST_DELAY);
                self.addresses.push(Own {
                    address,
                    origin: Origin::Made { attempt },
                    stage: Stage::Waiting(now + wait),
                    ..own
                });
            }
            // Two stations with one hardware address: nothing over IPv6 could work.
            (Origin::Made { .. }, Identifiers::Hardware) if address.is_unicast_link_local() => {
                self.addresses.clear();
                self.solicit = None;
            }
            _ => {}
        }
        Conflict::Lost
    }

    /// A router does not answer: another is to be tried. RFC 4861 §6.3.6. Whether it was one.
    pub(super) fn avoid(&mut self, router: IpAddr) -> bool {
        let at = self
            .routers
            .iter()
            .position(|(known, _)| IpAddr::V6(*known) == router);
        if let Some(at) = at {
            let entry = self.routers.remove(at);
            self.routers.push(entry);
        }
        at.is_some()
    }

    /// A neighbour says that it is no router any more. RFC 4861 §7.2.5.
    pub(super) fn retire(&mut self, router: Ipv6Addr) -> bool {
        let before = self.routers.len();
        self.routers.retain(|(known, _)| *known != router);
        self.routers.len() < before
    }

    /// When there is something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.configured.is_some() {
            return Some(Instant::ZERO);
        }
        let addresses = self.addresses.iter().flat_map(|own| {
            let stage = match own.stage {
                Stage::Waiting(at) | Stage::Probing { at, .. } => Some(at),
                Stage::Preferred => own.preferred,
                Stage::Deprecated => None,
            };
            [stage, own.valid]
        });
        let prefixes = self.prefixes.iter().map(|(_, until)| *until);
        let routers = self.routers.iter().map(|(_, until)| Some(*until));
        let all = addresses
            .chain(prefixes)
            .chain(routers)
            .chain([self.solicit]);
        all.flatten().min()
    }

    /// The next thing to do, if it is due.
    pub(super) fn step(&mut self, now: Instant) -> Option<Step> {
        if let Some(configured) = self.configured.take() {
            self.begin(now, &configured);
        }
        self.step_address(now)
            .or_else(|| self.step_solicit(now))
            .or_else(|| self.step_forget(now))
    }

    fn step_address(&mut self, now: Instant) -> Option<Step> {
        let due = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        if let Some(at) = self.addresses.iter().position(|own| due(own.valid)) {
            return Some(Step::Remove(self.addresses.remove(at).address));
        }
        let (probes, interval) = (self.config.probes, self.interval);
        for own in &mut self.addresses {
            match own.stage {
                Stage::Waiting(at) if at <= now => {
                    own.stage = Stage::Probing {
                        left: probes,
                        at: now,
                    };
                    return Some(Step::Listen(own.address));
                }
                Stage::Probing { left: 0, at } if at <= now => {
                    own.stage = Stage::Preferred;
                    let address = own.address;
                    if address.is_unicast_link_local() && self.routers.is_empty() {
                        self.solicit.get_or_insert(now);
                    }
                    return Some(Step::Assign(address));
                }
                Stage::Probing { left, at } if at <= now => {
                    own.stage = Stage::Probing {
                        left: left - 1,
                        at: now + interval,
                    };
                    return Some(Step::Probe(own.address));
                }
                Stage::Preferred if due(own.preferred) => {
                    own.stage = Stage::Deprecated;
                    return Some(Step::Deprecate(own.address));
                }
                _ => {}
            }
        }
        None
    }

    /// RFC 7559 §2: after 4 seconds, and then at ever longer intervals up to an hour, each a tenth more or less.
    fn step_solicit(&mut self, now: Instant) -> Option<Step> {
        self.solicit.filter(|at| *at <= now)?;
        let wait = self.wait * 9 / 10 + self.dice.below(self.wait / 5);
        self.solicit = Some(now + wait);
        self.wait = (wait * 2).min(SOLICIT_MOST);
        Some(Step::Solicit)
    }

    fn step_forget(&mut self, now: Instant) -> Option<Step> {
        let before = (self.prefixes.len(), self.routers.len());
        self.prefixes
            .retain(|(_, until)| until.is_none_or(|until| until > now));
        self.routers.retain(|(_, until)| *until > now);
        (before != (self.prefixes.len(), self.routers.len())).then_some(Step::Forget)
    }
}

/// Identifiers that no host may make up: RFC 5453.
fn is_reserved(identifier: u64) -> bool {
    matches!(
        identifier,
        0 | 0x0200_5eff_fe00_0000..=0x0200_5eff_feff_ffff | 0xfdff_ffff_ffff_ff80..=0xfdff_ffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests;
