//! Who is where on the link: the neighbour cache, for IPv4 and IPv6 alike. RFC 826, RFC 1122 §2.3.2, RFC 4861 §7.2–7.3.
//!
//! # Theory of operation
//!
//! A neighbour that is not known is asked for three times, a second apart, while a few frames wait. One that is known is
//! believed for a minute; used after that, it is asked for again, to its last known hardware address, while frames go on
//! flowing; three questions without an answer and it is forgotten. The cache has a bound, and the entry that was made
//! first makes room. It says *when* to ask; the questions are [`resolve`](super::resolve)'s.

use alloc::collections::VecDeque;
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
const QUESTION_INTERVAL: Duration = Duration::from_secs(1);
/// How long an answer is believed. RFC 1122 §2.3.2.1: in the order of a minute.
const CONFIDENCE: Duration = Duration::from_secs(60);

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
    /// Send it there, and ask the neighbour itself whether it still is.
    Doubtful(Mac),
    /// It waits; ask everybody.
    Ask,
    /// It waits; the question was asked.
    Asked,
    /// It is dropped: too many wait already.
    Full,
}

/// A question that is due again, or one too many.
#[derive(Debug)]
pub(super) enum Due {
    /// Ask everybody for this address.
    Ask(IpAddr),
    /// The neighbour does not answer.
    Unanswered(Vec<Waiting>),
}

#[derive(Debug)]
enum Entry {
    Unknown {
        questions: u8,
        waiting: Vec<Waiting>,
    },
    Known {
        mac: Mac,
        until: Instant,
        questions: u8,
    },
}

/// The cache.
#[derive(Debug)]
pub(super) struct Neighbours {
    entries: Map<IpAddr, Entry>,
    /// In the order of their making.
    order: VecDeque<IpAddr>,
    /// Questions without an answer, in the order of their time.
    asked: VecDeque<(Instant, IpAddr)>,
    /// Frames that wait.
    waiting: usize,
}

impl Neighbours {
    pub(super) fn new(keyed: Keyed) -> Self {
        Self {
            entries: HashMap::with_hasher(keyed),
            order: VecDeque::new(),
            asked: VecDeque::new(),
            waiting: 0,
        }
    }

    /// Where a neighbour is that needs no question now: what almost every packet asks.
    pub(super) fn at_hand(&self, now: Instant, address: IpAddr) -> Option<Mac> {
        match self.entries.get(&address)? {
            Entry::Known { mac, until, .. } if now < *until => Some(*mac),
            _ => None,
        }
    }

    /// The way for a frame to a neighbour; the frame comes back unless it waits.
    pub(super) fn way(
        &mut self,
        now: Instant,
        address: IpAddr,
        waiting: Waiting,
    ) -> (Way, Option<Frame>) {
        match self.entries.get_mut(&address) {
            Some(Entry::Known {
                mac,
                until,
                questions,
            }) => {
                let mac = *mac;
                if now < *until {
                    return (Way::Known(mac), Some(waiting.frame));
                }
                if *questions < MAX_QUESTIONS {
                    *questions += 1;
                    *until = now + QUESTION_INTERVAL;
                    return (Way::Doubtful(mac), Some(waiting.frame));
                }
                self.forget(address);
            }
            Some(Entry::Unknown { waiting: queue, .. }) => {
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
        self.waiting += 1;
        self.insert(
            address,
            Entry::Unknown {
                questions: 1,
                waiting: Vec::from([waiting]),
            },
        );
        self.asked.push_back((now + QUESTION_INTERVAL, address));
        (Way::Ask, None)
    }

    /// Notes where a neighbour is; whoever waited for it comes back.
    pub(super) fn learn(&mut self, now: Instant, address: IpAddr, mac: Mac) -> Vec<Waiting> {
        let known = Entry::Known {
            mac,
            until: now + CONFIDENCE,
            questions: 0,
        };
        match self.entries.get_mut(&address) {
            Some(entry) => match core::mem::replace(entry, known) {
                Entry::Unknown { waiting, .. } => {
                    self.asked.retain(|(_, other)| *other != address);
                    self.waiting -= waiting.len();
                    waiting
                }
                Entry::Known { .. } => Vec::new(),
            },
            None => {
                self.insert(address, known);
                Vec::new()
            }
        }
    }

    /// The same, but only for an address that is in the cache or asked for. RFC 826, RFC 4861 §7.2.5.
    pub(super) fn update(&mut self, now: Instant, address: IpAddr, mac: Mac) -> Vec<Waiting> {
        if !self.entries.contains_key(&address) {
            return Vec::new();
        }
        self.learn(now, address, mac)
    }

    /// Whether the cache has this neighbour at this hardware address and has no doubts.
    pub(super) fn confirms(&self, now: Instant, address: IpAddr, mac: Mac) -> bool {
        self.at_hand(now, address) == Some(mac)
    }

    fn insert(&mut self, address: IpAddr, entry: Entry) {
        while self.order.len() >= MAX_NEIGHBOURS {
            let Some(oldest) = self.order.front().copied() else {
                break;
            };
            self.forget(oldest);
        }
        self.entries.insert(address, entry);
        self.order.push_back(address);
    }

    fn forget(&mut self, address: IpAddr) -> Option<Entry> {
        self.order.retain(|other| *other != address);
        self.asked.retain(|(_, other)| *other != address);
        let entry = self.entries.remove(&address)?;
        if let Entry::Unknown { waiting, .. } = &entry {
            self.waiting -= waiting.len();
        }
        Some(entry)
    }

    /// When a question is due again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.asked.front().map(|(at, _)| *at)
    }

    /// The next question that is due again.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Due> {
        let (at, address) = self.asked.front().copied()?;
        if at > now {
            return None;
        }
        self.asked.pop_front();
        if let Some(Entry::Unknown { questions, .. }) = self.entries.get_mut(&address)
            && *questions < MAX_QUESTIONS
        {
            *questions += 1;
            self.asked.push_back((now + QUESTION_INTERVAL, address));
            return Some(Due::Ask(address));
        }
        match self.forget(address) {
            Some(Entry::Unknown { waiting, .. }) => Some(Due::Unanswered(waiting)),
            _ => Some(Due::Unanswered(Vec::new())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Offload;
    use bytes::Bytes;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn waiting() -> Waiting {
        let frame = Frame::from_ethernet(Bytes::from_static(&[0; 14]), Offload::default());
        Waiting {
            frame,
            socket: None,
        }
    }

    fn address(last: u32) -> IpAddr {
        IpAddr::V4(core::net::Ipv4Addr::from_bits(0x0a00_0000 + last))
    }

    #[test]
    fn a_neighbour_is_asked_for_three_times_while_frames_wait() {
        let mut cache = Neighbours::new(Keyed::new(&[7; 32]));
        let mut now = Instant::ZERO;
        assert!(matches!(
            cache.way(now, address(1), waiting()),
            (Way::Ask, None)
        ));
        assert!(matches!(
            cache.way(now, address(1), waiting()),
            (Way::Asked, None)
        ));
        for _ in 0..2 {
            now = cache.deadline().unwrap();
            assert!(matches!(cache.expire(now), Some(Due::Ask(_))));
        }
        now = cache.deadline().unwrap();
        assert_eq!(now, Instant::from_millis(3000));
        assert!(matches!(cache.expire(now), Some(Due::Unanswered(waiting)) if waiting.len() == 2));
        assert!(cache.deadline().is_none() && cache.entries.is_empty());
    }

    #[test]
    fn an_answer_releases_who_waits() {
        let mut cache = Neighbours::new(Keyed::new(&[7; 32]));
        let now = Instant::ZERO;
        for _ in 0..MAX_WAITING {
            let _ = cache.way(now, address(1), waiting());
        }
        assert!(matches!(
            cache.way(now, address(1), waiting()),
            (Way::Full, None)
        ));
        assert_eq!(cache.update(now, address(1), MAC).len(), MAX_WAITING);
        assert!(matches!(
            cache.way(now, address(1), waiting()),
            (Way::Known(MAC), Some(_))
        ));
        assert!(cache.deadline().is_none() && cache.waiting == 0);
    }

    #[test]
    fn frames_that_wait_have_a_bound_over_all_neighbours() {
        let mut cache = Neighbours::new(Keyed::new(&[7; 32]));
        let full = (0..3000).filter(|last| {
            matches!(
                cache.way(Instant::ZERO, address(*last), waiting()),
                (Way::Full, None)
            )
        });
        assert_eq!(full.count(), 3000 - MAX_WAITING_ALL);
    }

    #[test]
    fn an_old_answer_is_doubted_and_forgotten_when_nobody_confirms_it() {
        let mut cache = Neighbours::new(Keyed::new(&[7; 32]));
        cache.learn(Instant::ZERO, address(1), MAC);
        let mut now = Instant::ZERO + CONFIDENCE;
        for _ in 0..MAX_QUESTIONS {
            assert!(matches!(
                cache.way(now, address(1), waiting()),
                (Way::Doubtful(MAC), Some(_))
            ));
            assert!(matches!(
                cache.way(now, address(1), waiting()),
                (Way::Known(MAC), Some(_))
            ));
            now += QUESTION_INTERVAL;
        }
        assert!(matches!(
            cache.way(now, address(1), waiting()),
            (Way::Ask, None)
        ));
    }

    #[test]
    fn strangers_are_not_remembered_and_there_is_a_bound() {
        let mut cache = Neighbours::new(Keyed::new(&[7; 32]));
        cache.update(Instant::ZERO, address(1), MAC);
        assert!(cache.entries.is_empty());
        for last in 0..3000 {
            cache.learn(Instant::ZERO, address(last), MAC);
        }
        assert_eq!(
            (cache.entries.len(), cache.order.len()),
            (MAX_NEIGHBOURS, MAX_NEIGHBOURS)
        );
        assert!(
            cache.entries.contains_key(&address(2999)) && !cache.entries.contains_key(&address(0))
        );
    }
}
