//! What UDP flows and pings have in common: a socket of the machine that is kept while it is used.
//!
//! Datagrams have no end, so an association ends when it was idle for [`IDLE`], or when it is the one longest unused
//! and room is needed for another.

use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use lru::LruCache;
use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg};
use rustix::event::epoll::EventFlags;
use slotmap::DefaultKey;
use wharf_net::Instant;
use wharf_port::Flow;

use super::echo::{Ping, Sender};
use super::engine::{Engine, Source};
use super::train::Train;

/// RFC 4787 §4.3 asks for two minutes at least.
const IDLE: Duration = Duration::from_secs(120);
/// Associations that one space may have.
const KEPT: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
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

/// All associations of a space, the longest unused first.
#[derive(Debug)]
pub(super) struct Associations {
    used: LruCache<Name, (DefaultKey, Instant)>,
    /// Datagrams of programs inside that wait for more of their flow, until the turn's end.
    pub(super) departing: Departing,
    /// Where messages are received.
    pub(super) scratch: Box<[u8]>,
}

impl Default for Associations {
    fn default() -> Self {
        Self {
            used: LruCache::new(KEPT),
            departing: Departing::default(),
            scratch: vec![0; SCRATCH].into(),
        }
    }
}

impl Associations {
    /// When the longest unused one ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.used.peek_lru().map(|(_, (_, used))| *used + IDLE)
    }

    /// The association of that name, which is used now.
    pub(super) fn touch(&mut self, name: &Name, now: Instant) -> Option<DefaultKey> {
        let (key, used) = self.used.get_mut(name)?;
        *used = now;
        Some(*key)
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
        if let Some((_, (evicted, _))) = self.associations.used.push(name, (key, self.now)) {
            self.sources.remove(evicted);
        }
    }

    /// Ends an association.
    pub(super) fn dissociate(&mut self, name: &Name) {
        if let Some((key, _)) = self.associations.used.pop(name) {
            self.sources.remove(key);
        }
    }

    /// Ends those that were idle for too long.
    pub(super) fn expire_associations(&mut self) {
        while self
            .associations
            .deadline()
            .is_some_and(|deadline| deadline <= self.now)
        {
            if let Some((_, (key, _))) = self.associations.used.pop_lru() {
                self.sources.remove(key);
            }
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
