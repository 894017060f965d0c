//! Which multicast groups are heard, and when routers are told. RFC 3376 (IGMPv3) §5, §7; RFC 3810 (MLDv2) §6, §8; RFC 2236 and RFC 2710
//! for routers that know no better.
//!
//! # Theory of operation
//!
//! Both protocols are one machine. Whoever joins or leaves a group has that reported at once and, as a report may be lost, again after
//! random delays, as often as the robustness variable says. What a router asks is answered after a random delay within the time
//! that it gives: a general query by one report about all groups, one for a group by a report about that. A router of an older
//! version is answered in its version as long as it is heard: group by group, and not at all if another host was faster. Sources
//! are not filtered: a group is heard from everybody or not at all, so the filter is always "all but none".
//!
//! It says *what* to report and when; packets are [`membership`](super::membership)'s.

mod family;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use self::family::{Family, UNASKED};
pub(super) use self::family::{Question, Version};
use super::event::SocketId;
use super::keys::Dice;
use crate::time::Instant;
use crate::wire::igmp::Filter;

/// Groups that are heard at once.
const MAX_GROUPS: usize = 512;
/// Sources of one query that are kept for its answer. RFC 3376 §9.1 wants a bound.
const MAX_SOURCES: usize = 64;
/// RFC 3376 §8.11, RFC 3810 §9.11: the longest delay between repetitions of a change.
const CHANGE_INTERVAL: Duration = Duration::from_secs(1);
/// The same of the older versions: RFC 2236 §8.10, RFC 2710 §7.10.
const OLD_CHANGE_INTERVAL: Duration = Duration::from_secs(10);

/// What is to be told to routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// In the current version: filters of groups, and the sources among those asked for that are heard.
    Records(Vec<(Filter, IpAddr, Vec<IpAddr>)>),
    /// In an older version: this group is heard.
    Heard(Version, IpAddr),
    /// In an older version: this group is left.
    Left(IpAddr),
}

/// Who hears a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    Socket(SocketId),
    /// The host itself, for an address that it has. RFC 4291 §2.8.
    Host,
}

/// How a group is joined or left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// Routers are told.
    Aloud,
    /// They hear of it when they ask.
    Quiet,
}

#[derive(Debug, Default)]
struct Group {
    members: Vec<Member>,
    change: Option<Change>,
    answer: Option<Answer>,
}

/// A change that is still to be reported.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: Instant,
    left: u8,
}

/// An answer that is due.
#[derive(Clone, Debug)]
struct Answer {
    at: Instant,
    /// The sources that were asked for; none when all were.
    sources: Vec<IpAddr>,
}

/// The groups of a host.
#[derive(Debug)]
pub(super) struct Groups {
    groups: BTreeMap<IpAddr, Group>,
    families: [Family; 2],
    dice: Dice,
    deadline: Option<Instant>,
}

/// There is no room for one more group.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crowded;

impl Groups {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        Self {
            groups: BTreeMap::new(),
            families: [UNASKED; 2],
            dice: Dice::new(seed, 1),
            deadline: None,
        }
    }

    /// Whether anybody here hears a group.
    pub(super) fn hears(&self, group: IpAddr) -> bool {
        let found = self.groups.get(&group);
        found.is_some_and(|group| !group.members.is_empty())
    }

    /// The sockets that hear a group.
    pub(super) fn sockets(&self, group: IpAddr) -> impl Iterator<Item = SocketId> {
        let members = self.groups.get(&group).map_or(&[][..], |it| &it.members);
        members.iter().filter_map(|member| match member {
            Member::Socket(socket) => Some(*socket),
            Member::Host => None,
        })
    }

    /// Enters a member, and plans the report if it is the first.
    pub(super) fn join(
        &mut self,
        now: Instant,
        address: IpAddr,
        member: Member,
        telling: Telling,
    ) -> Result<(), Crowded> {
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&address) {
            return Err(Crowded);
        }
        let group = self.groups.entry(address).or_default();
        group.members.push(member);
        if group.members.len() == 1 && telling == Telling::Aloud {
            self.change(now, address);
        }
        Ok(())
    }

    /// Takes a member out, and plans the report if it was the last.
    pub(super) fn leave(&mut self, now: Instant, address: IpAddr, member: Member) {
        let Some(group) = self.groups.get_mut(&address) else {
            return;
        };
        let Some(at) = group.members.iter().position(|other| *other == member) else {
            return;
        };
        group.members.swap_remove(at);
        if group.members.is_empty() {
            group.answer = None;
            self.change(now, address);
        }
    }

    /// A group has its first member, or lost its last: that is told at once, and then again.
    fn change(&mut self, now: Instant, address: IpAddr) {
        let family = self.families[index(address)];
        let version = family.version(now);
        let Some(group) = self.groups.get_mut(&address) else {
            return;
        };
        let told = match (group.members.is_empty(), version) {
            _ if !is_reported(address) => 0,
            (true, Version::First) => 0,
            // RFC 2236 §3, RFC 2710 §4: a farewell is said once.
            (true, Version::Older) => 1,
            _ => family.robustness,
        };
        group.change = (told > 0).then_some(Change {
            at: now,
            left: told,
        });
        if told == 0 && group.members.is_empty() {
            self.groups.remove(&address);
        }
        self.plan();
    }

    /// A router asks. RFC 3376 §5.2, §7.2.1; RFC 3810 §6.2, §8.2.1.
    pub(super) fn ask(&mut self, now: Instant, v6: bool, question: &Question) {
        let family = &mut self.families[usize::from(v6)];
        if family.hear(now, question) {
            self.cancel(v6);
        }
        let at = now + self.dice.below(question.response);
        let family = &mut self.families[usize::from(v6)];
        let version = family.version(now);
        match (question.group, version) {
            (None, Version::Current) => {
                family.answer = Some(family.answer.map_or(at, |pending| pending.min(at)));
            }
            (None, _) => self.ask_each(now, v6, question.response),
            (Some(_), Version::Current) if family.answer.is_some_and(|pending| pending <= at) => {}
            (Some(address), _) => self.ask_one(address, at, &question.sources),
        }
        self.plan();
    }

    /// An older router asks for everything: each group has its own delay.
    fn ask_each(&mut self, now: Instant, v6: bool, response: Duration) {
        let of_family = |address: &&IpAddr| address.is_ipv6() == v6;
        let addresses: Vec<IpAddr> = self.groups.keys().filter(of_family).copied().collect();
        for address in addresses {
            let at = now + self.dice.below(response);
            self.ask_one(address, at, &[]);
        }
    }

    fn ask_one(&mut self, address: IpAddr, at: Instant, sources: &[IpAddr]) {
        let group = self.groups.get_mut(&address);
        let Some(group) = group.filter(|it| !it.members.is_empty() && is_reported(address)) else {
            return;
        };
        group.answer = Some(match group.answer.take() {
            None => Answer {
                at,
                sources: sources[..sources.len().min(MAX_SOURCES)].to_vec(),
            },
            Some(mut pending) => {
                pending.at = pending.at.min(at);
                if sources.is_empty() || pending.sources.is_empty() {
                    pending.sources.clear();
                } else {
                    let new = |source: &&IpAddr| !pending.sources.contains(source);
                    let new: Vec<IpAddr> = sources.iter().filter(new).copied().collect();
                    pending.sources.extend(new);
                    pending.sources.truncate(MAX_SOURCES);
                }
                pending
            }
        });
    }

    /// Another host has answered an older router: one answer is enough. RFC 2236 §3, RFC 2710 §4.
    pub(super) fn overhear(&mut self, now: Instant, address: IpAddr) {
        if self.families[index(address)].version(now) == Version::Current {
            return;
        }
        if let Some(group) = self.groups.get_mut(&address) {
            group.answer = None;
            if !group.members.is_empty() {
                group.change = None;
            }
            self.plan();
        }
    }

    /// The version has changed: what was planned in the other is void. RFC 3376 §7.2.1, RFC 3810 §8.2.1.
    fn cancel(&mut self, v6: bool) {
        self.families[usize::from(v6)].answer = None;
        for (address, group) in &mut self.groups {
            if address.is_ipv6() == v6 {
                (group.answer, group.change) = (None, None);
            }
        }
        self.groups.retain(|_, group| !group.members.is_empty());
    }

    /// When something is to be reported.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn plan(&mut self) {
        let groups = self.groups.values().flat_map(|group| {
            let change = group.change.map(|change| change.at);
            [change, group.answer.as_ref().map(|answer| answer.at)]
        });
        let families = self.families.iter().map(|family| family.answer);
        self.deadline = groups.chain(families).flatten().min();
    }

    /// The next report that is due.
    pub(super) fn report(&mut self, now: Instant) -> Option<Report> {
        if self.deadline.is_none_or(|at| at > now) {
            return None;
        }
        let report = self.general(now).or_else(|| self.single(now));
        self.plan();
        report
    }

    /// The answer to a general query.
    fn general(&mut self, now: Instant) -> Option<Report> {
        let due = |family: &Family| family.answer.is_some_and(|at| at <= now);
        let v6 = self.families.iter().position(due)? == 1;
        self.families[usize::from(v6)].answer = None;
        let heard = self.groups.iter().filter(|(address, group)| {
            address.is_ipv6() == v6 && is_reported(**address) && !group.members.is_empty()
        });
        let records = heard.map(|(address, _)| (Filter::IsExclude, *address, Vec::new()));
        Some(Report::Records(records.collect()))
    }

    /// A change, or the answer to a query for one group.
    fn single(&mut self, now: Instant) -> Option<Report> {
        let due = |(_, group): &(&IpAddr, &Group)| {
            group.change.is_some_and(|change| change.at <= now)
                || group.answer.as_ref().is_some_and(|answer| answer.at <= now)
        };
        let address = *self.groups.iter().find(due)?.0;
        let version = self.families[index(address)].version(now);
        let group = self.groups.get_mut(&address)?;
        let present = !group.members.is_empty();
        let Some(change) = group.change.filter(|change| change.at <= now) else {
            let answer = group.answer.take()?;
            // RFC 3376 §5.2: everything but nothing is heard, so all of the sources asked for.
            let filter = match answer.sources.is_empty() {
                true => Filter::IsExclude,
                false => Filter::IsInclude,
            };
            return Some(match version {
                Version::Current => Report::Records(Vec::from([(filter, address, answer.sources)])),
                older => Report::Heard(older, address),
            });
        };
        let interval = match version {
            Version::Current => CHANGE_INTERVAL,
            _ => OLD_CHANGE_INTERVAL,
        };
        group.change = (change.left > 1).then(|| Change {
            at: now + self.dice.below(interval),
            left: change.left - 1,
        });
        if !present && group.change.is_none() {
            self.groups.remove(&address);
        }
        Some(match (version, present) {
            (Version::Current, true) => {
                Report::Records(Vec::from([(Filter::ToExclude, address, Vec::new())]))
            }
            (Version::Current, false) => {
                Report::Records(Vec::from([(Filter::ToInclude, address, Vec::new())]))
            }
            (older, true) => Report::Heard(older, address),
            (_, false) => Report::Left(address),
        })
    }
}

fn index(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

/// Whether routers are told of a group at all. RFC 3376 §6: not of all systems; RFC 3810 §6: not of all nodes, nor of what stays within
/// the node.
fn is_reported(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group != crate::wire::igmp::ALL_SYSTEMS,
        IpAddr::V6(group) => group.octets()[1] & 0xf > 1 && group != super::resolve::ALL_NODES,
    }
}

#[cfg(test)]
mod tests;
