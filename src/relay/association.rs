//! What UDP flows and pings have in common: a socket of the machine that is kept while it is used.
//!
//! Datagrams have no end, so an association ends when it was idle for [`IDLE`], or when it is the one longest unused
//! and room is needed for another. Whoever is in the network may come as a visitor, under as many addresses as it likes: what is kept for
//! the ports that visitors come to has a room of its own, so that it never ends another flow of the space's.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use lru::LruCache;
use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg};
use rustix::event::epoll::EventFlags;
use slotmap::DefaultKey;
use wharf_net::Instant;
use wharf_port::{Flow, Port};

use super::echo::{Ping, Sender};
use super::engine::{Engine, Source};
use super::train::Train;

/// RFC 4787 §4.3 asks for two minutes at least.
const IDLE: Duration = Duration::from_secs(120);
/// Associations that one space may have, apart from those of ports that visitors come to.
const KEPT: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
/// Associations of these ports.
const VISITED: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");
/// Bytes that are received before they are passed on.
pub(super) const SCRATCH: usize = 1 << 18;
/// Messages taken from one socket per turn.
pub(super) const SHARE: usize = 64;

/// A socket of the machine, and whom it serves.
#[derive(Debug)]
pub(super) struct Association {
    pub(super) machine: OwnedFd,
    pub(super) name: Name,
}

/// Whom an association serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Datagrams(Flow),
    Pings(Ping, Sender),
}

/// Datagrams of one flow on their way out.
#[derive(Debug, Default)]
pub(super) struct Departing {
    pub(super) key: DefaultKey,
    /// None while nothing waits.
    pub(super) flow: Option<Flow>,
    pub(super) train: Train,
    pub(super) payloads: Vec<Bytes>,
}

/// All associations of a space.
#[derive(Debug)]
pub(super) struct Associations {
    own: Room,
    /// Visitors, and whatever else is sent from where they come to: a late answer to one that is gone looks like that.
    visited: Room,
    /// The ports inside that visitors have come to.
    ports: BTreeSet<Port>,
    /// Datagrams of programs inside that wait for more of their flow, until the turn's end.
    pub(super) departing: Departing,
    /// Where messages are received.
    pub(super) scratch: Box<[u8]>,
}

/// Associations that make room for one another, the longest unused first.
type Room = LruCache<Name, (DefaultKey, Instant)>;

impl Default for Associations {
    fn default() -> Self {
        Self {
            own: LruCache::new(KEPT),
            visited: LruCache::new(VISITED),
            ports: BTreeSet::new(),
            departing: Departing::default(),
            scratch: vec![0; SCRATCH].into(),
        }
    }
}

impl Associations {
    /// When the next one ends that stays unused.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let ends = [&self.own, &self.visited].map(|room| Some(room.peek_lru()?.1.1 + IDLE));
        ends.into_iter().flatten().min()
    }

    /// The association of that name, which is used now.
    pub(super) fn touch(&mut self, name: &Name, now: Instant) -> Option<DefaultKey> {
        let own = self.own.get_mut(name);
        let (key, used) = own.or_else(|| self.visited.get_mut(name))?;
        *used = now;
        Some(*key)
    }

    /// A visitor comes to this port.
    pub(super) fn visit(&mut self, port: Port) {
        self.ports.insert(port);
    }

    /// Keeps a source under this name as used now. Those whose place it takes come back: the one of that name, the longest unused.
    fn keep(
        &mut self,
        name: Name,
        key: DefaultKey,
        now: Instant,
    ) -> impl Iterator<Item = DefaultKey> + use<> {
        let before = self.forget(&name);
        let room = match name {
            Name::Datagrams(flow) if self.ports.contains(&flow.remote.port()) => &mut self.visited,
            _ => &mut self.own,
        };
        let evicted = room.push(name, (key, now)).map(|(_, (key, _))| key);
        [before, evicted].into_iter().flatten()
    }

    fn forget(&mut self, name: &Name) -> Option<DefaultKey> {
        let known = self.own.pop(name).or_else(|| self.visited.pop(name));
        known.map(|(key, _)| key)
    }

    /// One that was idle for too long.
    fn expire(&mut self, now: Instant) -> Option<DefaultKey> {
        let is_idle = |room: &&mut Room| {
            room.peek_lru()
                .is_some_and(|(_, (_, used))| *used + IDLE <= now)
        };
        let mut rooms = [&mut self.own, &mut self.visited].into_iter();
        let (_, (key, _)) = rooms.find(is_idle)?.pop_lru()?;
        Some(key)
    }
}

impl Engine {
    /// Keeps a new association; the longest unused makes room if need be.
    pub(super) fn associate(&mut self, association: Association) -> rustix::io::Result<DefaultKey> {
        let name = association.name;
        let key = self.sources.insert(Source::Association(association));
        // Nobody waits for room: a datagram that finds none is lost. So that there is some again is nothing to wake up for.
        if let Some(Source::Association(association)) = self.sources.get(key)
            && let Err(error) = self.poll.watch(&association.machine, key, EventFlags::IN)
        {
            self.sources.remove(key);
            return Err(error);
        }
        self.keep_used(name, key);
        Ok(key)
    }

    /// Keeps a source under this name as used now, in the place of the one before; the longest unused makes room if need be.
    pub(super) fn keep_used(&mut self, name: Name, key: DefaultKey) {
        for gone in self.associations.keep(name, key, self.now) {
            self.sources.remove(gone);
        }
    }

    /// Ends an association.
    pub(super) fn dissociate(&mut self, name: &Name) {
        if let Some(key) = self.associations.forget(name) {
            self.sources.remove(key);
        }
    }

    /// Ends those that were idle for too long.
    pub(super) fn expire_associations(&mut self) {
        while let Some(key) = self.associations.expire(self.now) {
            self.sources.remove(key);
        }
    }

    /// Something came for an association, or an error about it.
    pub(super) fn attend_association(&mut self, key: DefaultKey) {
        let Some(Source::Association(association)) = self.sources.get(key) else {
            return;
        };
        let name = association.name;
        self.associations.touch(&name, self.now);
        match name {
            Name::Datagrams(flow) => self.datagrams_in(key, flow),
            Name::Pings(ping, sender) => self.echoes_in(key, ping, sender),
        }
    }

    /// Takes the errors that ICMP brought off a socket's queue; what they said, a call on the socket has said already.
    pub(super) fn clear_errors(&self, key: DefaultKey) {
        let Some(Source::Association(association)) = self.sources.get(key) else {
            return;
        };
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        for _ in 0..SHARE {
            if recvmsg::<SockaddrStorage>(association.machine.as_raw_fd(), &mut [], None, flags)
                .is_err()
            {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use slotmap::SlotMap;
    use wharf_port::{Endpoint, Protocol};

    use super::*;

    /// Associations, and the names of the sources that they keep.
    #[derive(Default)]
    struct Kept {
        associations: Associations,
        sources: SlotMap<DefaultKey, Name>,
        now: Instant,
    }

    impl Kept {
        fn keep(&mut self, name: Name) {
            let key = self.sources.insert(name);
            for gone in self.associations.keep(name, key, self.now) {
                self.sources.remove(gone);
            }
        }

        fn visit(&mut self, name: Name) {
            self.associations.visit(PUBLISHED);
            self.keep(name);
        }

        fn knows(&self, name: &Name) -> bool {
            let Associations { own, visited, .. } = &self.associations;
            own.contains(name) || visited.contains(name)
        }
    }

    const PUBLISHED: Port = Port::new(53).expect("not 0");
    const OTHER: Port = Port::new(4000).expect("not 0");

    /// The flow between a port inside and the n-th address outside.
    fn flow(inside: Port, outside: u32) -> Name {
        let [outside, space] = [
            Ipv4Addr::from_bits(0x0b00_0000 + outside),
            [10, 77, 1, 2].into(),
        ];
        Name::Datagrams(Flow {
            protocol: Protocol::Udp,
            local: Endpoint::new(outside.into(), OTHER),
            remote: Endpoint::new(space.into(), inside),
        })
    }

    #[test]
    fn a_flood_of_visitors_ends_none_of_the_space_s_own_flows() {
        let mut kept = Kept::default();
        for n in 0..KEPT.get() as u32 {
            kept.keep(flow(OTHER, n));
        }
        for n in 0..10_000 {
            kept.visit(flow(PUBLISHED, n));
        }
        assert!((0..KEPT.get() as u32).all(|n| kept.knows(&flow(OTHER, n))));
        // The oldest visitors went first.
        let stayed = 10_000 - VISITED.get() as u32..10_000;
        assert!((0..10_000).all(|n| kept.knows(&flow(PUBLISHED, n)) == stayed.contains(&n)));
        // Answers to those that are gone are new flows of the program's, and no more than visitors.
        for n in 0..5000 {
            kept.keep(flow(PUBLISHED, n));
        }
        assert!((0..KEPT.get() as u32).all(|n| kept.knows(&flow(OTHER, n))));
        assert_eq!(kept.sources.len(), KEPT.get() + VISITED.get());
    }

    #[test]
    fn own_flows_make_room_for_one_another_and_for_no_visitor() {
        let mut kept = Kept::default();
        kept.visit(flow(PUBLISHED, 0));
        for n in 0..=KEPT.get() as u32 {
            kept.keep(flow(OTHER, n));
        }
        assert!(kept.knows(&flow(PUBLISHED, 0)));
        assert!(!kept.knows(&flow(OTHER, 0)) && kept.knows(&flow(OTHER, 1)));
    }

    #[test]
    fn a_flow_that_a_visitor_takes_over_is_kept_once() {
        let mut kept = Kept::default();
        kept.keep(flow(PUBLISHED, 7));
        for n in 0..VISITED.get() as u32 {
            kept.visit(flow(PUBLISHED, 100 + n));
        }
        kept.visit(flow(PUBLISHED, 7));
        assert!(!kept.knows(&flow(PUBLISHED, 100)), "it made room");
        assert_eq!(kept.sources.len(), VISITED.get());
        let name = flow(PUBLISHED, 7);
        let key = kept.associations.touch(&name, kept.now);
        assert!(key.is_some_and(|key| kept.sources.contains_key(key)));
        assert!(kept.associations.forget(&name).is_some());
        assert!(!kept.knows(&name));
    }

    #[test]
    fn whoever_was_idle_for_two_minutes_ends_visitor_or_not() {
        let mut kept = Kept::default();
        kept.keep(flow(OTHER, 1));
        kept.now += Duration::from_secs(1);
        kept.visit(flow(PUBLISHED, 2));
        assert_eq!(
            kept.associations.deadline(),
            Some(Instant::default() + IDLE)
        );
        kept.associations
            .touch(&flow(OTHER, 1), kept.now + Duration::from_secs(1));
        assert_eq!(kept.associations.deadline(), Some(kept.now + IDLE));
        assert_eq!(
            kept.associations
                .expire(kept.now + IDLE - Duration::from_nanos(1)),
            None
        );
        assert!(kept.associations.expire(kept.now + IDLE).is_some());
        assert_eq!(kept.associations.expire(kept.now + IDLE), None);
        assert!(kept.knows(&flow(OTHER, 1)) && !kept.knows(&flow(PUBLISHED, 2)));
    }
}
