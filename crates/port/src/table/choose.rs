//! A port for a connection: one that is free towards this peer.
//!
//! # Theory of operation
//!
//! A connection needs a flow of its own, not a port of its own. Candidates are the ports that nobody has for
//! himself at the local address; a candidate is tried by looking its flow up. As long as few of them are taken
//! towards the peer, a random one or two will do (RFC 6056, section 3.3.1). Once eight in a row are taken, the
//! table builds the exact set of ports taken towards this peer and keeps it while it stays crowded; from then on
//! a choice is one look at bitmaps, to the last free port.

use core::hash::{Hash, Hasher};

use hashbrown::HashMap;

use super::keys::{FlowKey, Keyed};
use super::ports::Bitmap;
use super::register::{Grip, Span, Spot};
use super::{Exhausted, Table};
use crate::address::Packed;
use crate::{Endpoint, Port, PortRange, Protocol};

const TRIES: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    protocol: Protocol,
    local: Packed,
    remote: Packed,
    remote_port: u16,
}

impl From<&FlowKey> for Pair {
    fn from(key: &FlowKey) -> Self {
        Self {
            protocol: key.protocol,
            local: key.local,
            remote: key.remote,
            remote_port: key.remote_port,
        }
    }
}

impl Hash for Pair {
    /// In one piece, which the hasher takes several times faster than field by field.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let words = [self.local.words(), self.remote.words()];
        let last = u64::from(self.protocol.number()) << 16 | u64::from(self.remote_port);
        let mut bytes = [0; 40];
        let words = words.iter().flatten().chain(core::iter::once(&last));
        for (at, word) in bytes.chunks_exact_mut(8).zip(words) {
            at.copy_from_slice(&word.to_le_bytes());
        }
        state.write(&bytes);
    }
}

#[derive(Debug)]
struct Crowd {
    ports: Bitmap,
    at_first: u32,
}

/// The local ports taken between an address and a peer, for pairs between which many are.
#[derive(Debug)]
pub(super) struct Dense {
    crowds: HashMap<Pair, Crowd, Keyed>,
}

impl Dense {
    pub(super) fn new(hasher: Keyed) -> Self {
        Self {
            crowds: HashMap::with_hasher(hasher),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.crowds.is_empty()
    }

    pub(super) fn insert(&mut self, key: &FlowKey) {
        if self.crowds.is_empty() {
            return;
        }
        if let Some(crowd) = self.crowds.get_mut(&Pair::from(key)) {
            crowd.ports.set(key.local_port, true);
        }
    }

    /// A set goes when three quarters of what it was built with have gone: what building it cost is long earned then.
    pub(super) fn remove(&mut self, key: &FlowKey) {
        if self.crowds.is_empty() {
            return;
        }
        let pair = Pair::from(key);
        if let Some(crowd) = self.crowds.get_mut(&pair) {
            crowd.ports.set(key.local_port, false);
            if crowd.ports.count() <= crowd.at_first / 4 {
                self.crowds.remove(&pair);
            }
        }
    }
}

impl<O: Clone> Table<O> {
    /// A local port for a connection from `local` to `remote`.
    pub(super) fn choose_towards(
        &mut self,
        slot: u32,
        local: Packed,
        remote: Endpoint,
    ) -> Result<Port, Exhausted> {
        let entire = self.range(slot);
        let key = FlowKey {
            protocol: self.entries[slot].protocol,
            local,
            remote: remote.address().into(),
            local_port: 0,
            remote_port: remote.port().number(),
        };
        let full = Exhausted {
            protocol: key.protocol,
            range: entire,
            cover: Span::One.cover(local),
            remote: Some(remote),
        };
        let range = self.permitted(slot, entire).ok_or(full)?;
        if !self.dense.crowds.contains_key(&Pair::from(&key)) {
            for _ in 0..TRIES {
                let port = self.candidate(&key, range).ok_or(full)?;
                if !self.taken_towards(&key, port.number()) {
                    return Ok(port);
                }
            }
            self.count_crowd(&key, range);
        }
        self.candidate(&key, range).ok_or(full)
    }

    /// A port that nobody has for himself at the local address, and, if the pair is crowded, that is free between the two.
    fn candidate(&mut self, key: &FlowKey, range: PortRange) -> Option<Port> {
        let random = self.keys.draw();
        let spot = Spot {
            protocol: key.protocol,
            port: 0,
            span: Span::One,
            address: key.local,
        };
        let taken = self.register.taken(&self.keys, &spot, Grip::Flow);
        let mut taken = taken.with(self.reservations.taken(key.protocol));
        if let Some(crowd) = self.dense.crowds.get(&Pair::from(key)) {
            taken = taken.with(&crowd.ports);
        }
        taken.choose(range, random)
    }

    fn taken_towards(&self, key: &FlowKey, local_port: u16) -> bool {
        let key = FlowKey { local_port, ..*key };
        self.find_flow(&key).is_some()
    }

    fn count_crowd(&mut self, key: &FlowKey, range: PortRange) {
        let mut ports = Bitmap::new();
        for port in range.first().number()..=range.last().number() {
            if self.taken_towards(key, port) {
                ports.set(port, true);
            }
        }
        let at_first = ports.count();
        let crowd = Crowd { ports, at_first };
        self.dense.crowds.insert(Pair::from(key), crowd);
    }
}
