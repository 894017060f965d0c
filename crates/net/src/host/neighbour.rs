//! Who is where on the link: the neighbour cache, for IPv4 and IPv6 alike. RFC 826, RFC 1122 §2.3.2, RFC 4861 §7.2–7.3.
//!
//! # Theory of operation
//!
//! The states are RFC 4861's (§7.3.2). A neighbour that is not known (INCOMPLETE) is asked for three times, while a few
//! frames wait. When it answers it is REACHABLE for about half a minute, and again whenever a connection through it makes progress
//! (§7.3.1). Afterwards, and when it was only overheard, it is STALE: nothing happens before it is used. Then it has five
//! seconds to be confirmed by what goes on anyway (DELAY); if it isn't, it is asked itself, three times (PROBE), and forgotten without an
//! answer. Frames flow on all the while. ARP has no states; its entries have these, with a reply to us as the confirmation. The cache
//! has a bound, and the entry that was made first makes room. It says *when* to ask; the questions are
//! [`resolve`](super::resolve)'s.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;
use hashbrown::HashMap;

use super::event::SocketId;
use super::keys::{Keyed, Map};
use crate::frame::Frame;
use crate::time::Instant;
use crate::wire::ethernet::Mac;

/// Neighbours at once.
const MAX_NEIGHBOURS: usize = 1024;
/// Frames that wait for one neighbour: the fragments of the largest datagram. RFC 1122 §2.3.2.2 wants at least one,
/// RFC 4861 §7.2.2 too.
const MAX_WAITING: usize = 64;
/// Frames that wait for any.
const MAX_WAITING_ALL: usize = 1024;
/// RFC 4861 §10: MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT.
const MAX_QUESTIONS: u8 = 3;
/// RFC 4861 §10: RETRANS_TIMER.
pub(super) const QUESTION_INTERVAL: Duration = Duration::from_secs(1);
/// RFC 4861 §10: REACHABLE_TIME.
pub(super) const REACHABLE: Duration = Duration::from_secs(30);
/// RFC 4861 §10: DELAY_FIRST_PROBE_TIME.
const DELAY: Duration = Duration::from_secs(5);

/// A frame that waits for a neighbour, and the socket to tell if that never answers.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) frame: Frame,
    pub(super) socket: Option<SocketId>,
}

/// What to do about a frame for a neighbour.
#[derive(Debug)]
pub(super) enum Way {
    /// Send it there.
    Known(Mac),
    /// It waits; ask everybody.
    Ask,
    /// It waits; the question was asked.
    Asked,
    /// It is dropped: too many wait already.
    Full,
}

/// What the time has come for.
#[derive(Debug)]
pub(super) enum Due {
    /// Ask everybody for this address.
    Ask(IpAddr),
    /// Ask the neighbour itself whether it is still there.
    Probe(IpAddr, Mac),
    /// The neighbour does not answer.
    Unanswered(IpAddr, Vec<Waiting>),
}

/// A neighbour says where it is. RFC 4861 §7.2.5.
#[derive(Clone, Copy, Debug)]
pub(super) struct Advertised {
    /// Its hardware address, if it says so.
    pub(super) mac: Option<Mac>,
    /// We have asked.
    pub(super) solicited: bool,
    /// It means what it says: what was known is wrong.
    pub(super) overrides: bool,
}

#[derive(Debug)]
enum Entry {
    Incomplete {
        questions: u8,
        waiting: Vec<Waiting>,
        at: Instant,
    },
    Known {
        mac: Mac,
        state: State,
    },
}

/// RFC 4861 §7.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Confirmed, until then.
    Reachable(Instant),
    Stale,
    /// Used without confirmation, until then.
    Delay(Instant),
    /// Asked itself, again then.
    Probe {
        questions: u8,
        at: Instant,
    },
}

/// The cache.
#[derive(Debug)]
pub(super) struct Neighbours {
    entries: Map<IpAddr, Entry>,
    /// In the order of their making.
    order: VecDeque<IpAddr>,
    /// Of entries in INCOMPLETE, DELAY and PROBE: when something is to be done.
    due: BTreeSet<(Instant, IpAddr)>,
    /// Entries in DELAY and PROBE.
    doubts: usize,
    /// Frames that wait.
    waiting: usize,
    changes: u64,
    /// Frames that made room for others.
    evicted: usize,
    reachable: Duration,
    interval: Duration,
}

impl Neighbours {
    pub(super) fn new(keyed: Keyed) -> Self {
        Self {
            entries: HashMap::with_hasher(keyed),
            order: VecDeque::new(),
            due: BTreeSet::new(),
            doubts: 0,
            waiting: 0,
            changes: 0,
            evicted: 0,
            reachable: REACHABLE,
            interval: QUESTION_INTERVAL,
        }
    }

    /// Where a neighbour is that needs no question now: what almost every packet asks.
    /// Until when, too, if nothing changes.
    pub(super) fn at_hand(&self, now: Instant, address: IpAddr) -> Option<(Mac, Instant)> {
        match self.entries.get(&address)? {
            Entry::Known {
                mac,
                state: State::Reachable(until),
            } if now < *until => Some((*mac, *until)),
            _ => None,
        }
    }

    /// How often any of it has changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// How long a confirmation counts, and how long between questions: a router may say so (RFC 4861 §6.3.4).
    pub(super) fn set_times(&mut self, reachable: Duration, interval: Duration) {
        (self.reachable, self.interval) = (reachable, interval);
    }

    /// The way for a frame to a neighbour; the frame comes back unless it waits.
    pub(super) fn way(
        &mut self,
        now: Instant,
        address: IpAddr,
        waiting: Waiting,
    ) -> (Way, Option<Frame>) {
        match self.entries.get_mut(&address) {
            Some(Entry::Known { mac, state }) => {
                let mac = *mac;
                let believed = match state {
                    State::Reachable(until) => now < *until,
                    State::Stale => false,
                    State::Delay(_) | State::Probe { .. } => true,
                };
                if !believed {
                    self.turn(address, mac, State::Delay(now + DELAY));
                }
                return (Way::Known(mac), Some(waiting.frame));
            }
            Some(Entry::Incomplete { waiting: queue, .. }) => {
                if queue.len() >= MAX_WAITING || self.waiting >= MAX_WAITING_ALL {
                    return (Way::Full, None);
                }
                self.waiting += 1;
                queue.push(waiting);
                return (Way::Asked, None);
            }
            None => {}
        }
        if self.waiting >= MAX_WAITING_ALL {
            return (Way::Full, None);
        }
        let at = now + self.interval;
        self.insert(
            address,
            Entry::Incomplete {
                questions: 1,
                waiting: Vec::from([waiting]),
                at,
            },
        );
        self.waiting += 1;
        self.due.insert((at, address));
        (Way::Ask, None)
    }

    /// Somebody was overheard, by a question or by packets: it is there, which doesn't say that it hears us. Whoever waited for it
    /// comes back.
    pub(super) fn heard(&mut self, now: Instant, address: IpAddr, mac: Mac) -> Vec<Waiting> {
        if !self.entries.contains_key(&address) {
            self.insert(
                address,
                Entry::Known {
                    mac,
                    state: State::Stale,
                },
            );
            return Vec::new();
        }
        self.overheard(now, address, mac)
    }

    /// The same, but only for an address that is in the cache or asked for. RFC 826.
    pub(super) fn overheard(&mut self, now: Instant, address: IpAddr, mac: Mac) -> Vec<Waiting> {
        match self.entries.get(&address) {
            None => Vec::new(),
            Some(Entry::Known { mac: known, .. }) if *known == mac => Vec::new(),
            Some(_) => {
                let told = Advertised {
                    mac: Some(mac),
                    solicited: false,
                    overrides: true,
                };
                self.advertised(now, address, told)
            }
        }
    }

    /// A neighbour tells where it is. RFC 4861 §7.2.5, appendix C.
    pub(super) fn advertised(
        &mut self,
        now: Instant,
        address: IpAddr,
        told: Advertised,
    ) -> Vec<Waiting> {
        let confirmed = State::Reachable(now + self.reachable);
        match (self.entries.get(&address), told.mac) {
            (None, _) | (Some(Entry::Incomplete { .. }), None) => {}
            (Some(Entry::Incomplete { .. }), Some(mac)) => {
                let state = if told.solicited {
                    confirmed
                } else {
                    State::Stale
                };
                return self.turn(address, mac, state);
            }
            (Some(Entry::Known { mac, state }), new) => {
                let (mac, state) = (*mac, *state);
                match new.filter(|new| *new != mac) {
                    Some(_) if !told.overrides => {
                        if matches!(state, State::Reachable(_)) {
                            self.turn(address, mac, State::Stale);
                        }
                    }
                    Some(new) if !told.solicited => drop(self.turn(address, new, State::Stale)),
                    changed if told.solicited => {
                        self.turn(address, changed.unwrap_or(mac), confirmed);
                    }
                    _ => {}
                }
            }
        }
        Vec::new()
    }

    /// A connection through this neighbour makes progress, so it forwards what we send. RFC 4861 §7.3.1.
    pub(super) fn confirm(&mut self, now: Instant, address: IpAddr) {
        if let Some(Entry::Known { mac, .. }) = self.entries.get(&address) {
            let mac = *mac;
            self.turn(address, mac, State::Reachable(now + self.reachable));
        }
    }

    /// Whether a confirmation would make a difference to anybody.
    pub(super) fn has_doubts(&self) -> bool {
        self.doubts > 0
    }

    /// Whether the cache has this neighbour, or it is asked for.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.entries.contains_key(&address)
    }

    /// Whether the cache has this neighbour at this hardware address.
    pub(super) fn knows(&self, address: IpAddr, mac: Mac) -> bool {
        matches!(self.entries.get(&address), Some(Entry::Known { mac: known, .. }) if *known == mac)
    }

    /// Gives an entry another state. Whoever waited for it comes back.
    fn turn(&mut self, address: IpAddr, mac: Mac, state: State) -> Vec<Waiting> {
        let Some(entry) = self.entries.get_mut(&address) else {
            return Vec::new();
        };
        self.changes += 1;
        let old = core::mem::replace(entry, Entry::Known { mac, state });
        let waiting = self.unplan(address, old);
        match state {
            State::Delay(at) | State::Probe { at, .. } => {
                self.doubts += 1;
                self.due.insert((at, address));
            }
            State::Reachable(_) | State::Stale => {}
        }
        waiting
    }

    /// Forgets what was planned for an entry.
    fn unplan(&mut self, address: IpAddr, entry: Entry) -> Vec<Waiting> {
        match entry {
            Entry::Incomplete { waiting, at, .. } => {
                self.due.remove(&(at, address));
                self.waiting -= waiting.len();
                waiting
            }
            Entry::Known {
                state: State::Delay(at) | State::Probe { at, .. },
                ..
            } => {
                self.doubts -= 1;
                self.due.remove(&(at, address));
                Vec::new()
            }
            Entry::Known { .. } => Vec::new(),
        }
    }

    fn insert(&mut self, address: IpAddr, entry: Entry) {
        while self.order.len() >= MAX_NEIGHBOURS {
            let Some(oldest) = self.order.front().copied() else {
                break;
            };
            self.evicted += self.forget(oldest).len();
        }
        self.changes += 1;
        self.entries.insert(address, entry);
        self.order.push_back(address);
    }

    fn forget(&mut self, address: IpAddr) -> Vec<Waiting> {
        self.changes += 1;
        self.order.retain(|other| *other != address);
        match self.entries.remove(&address) {
            Some(entry) => self.unplan(address, entry),
            None => Vec::new(),
        }
    }

    /// How many frames made room for others since this was last asked.
    pub(super) fn take_evicted(&mut self) -> usize {
        core::mem::take(&mut self.evicted)
    }

    /// When something is to be done.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next thing that is to be done.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Due> {
        let (_, address) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
        let again = now + self.interval;
        let asked = match self.entries.get_mut(&address)? {
            Entry::Incomplete { questions, at, .. } if *questions < MAX_QUESTIONS => {
                *questions += 1;
                self.due.remove(&(core::mem::replace(at, again), address));
                self.due.insert((again, address));
                return Some(Due::Ask(address));
            }
            Entry::Known { mac, state } => match state {
                State::Probe { questions, .. } if *questions >= MAX_QUESTIONS => None,
                State::Probe { questions, .. } => Some((*mac, *questions)),
                _ => Some((*mac, 0)),
            },
            Entry::Incomplete { .. } => None,
        };
        let Some((mac, questions)) = asked else {
            return Some(Due::Unanswered(address, self.forget(address)));
        };
        let state = State::Probe {
            questions: questions + 1,
            at: again,
        };
        self.turn(address, mac, state);
        Some(Due::Probe(address, mac))
    }
}

#[cfg(test)]
mod tests;
