//! Keyed hashing and chance, both from the table's seed.
//!
//! Everything that a peer can choose is hashed with a secret key (SipHash-1-3), so that nobody can
//! make entries collide, foresee a chosen port, or pick the member of a group that he gets.

use core::hash::BuildHasher;

use siphasher::sip::SipHasher13;

use crate::address::Packed;
use crate::{Flow, Protocol};

/// A flow in the form that the table compares and hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FlowKey {
    pub(super) protocol: Protocol,
    pub(super) local: Packed,
    pub(super) remote: Packed,
    pub(super) local_port: u16,
    pub(super) remote_port: u16,
}

impl From<&Flow> for FlowKey {
    fn from(flow: &Flow) -> Self {
        Self {
            protocol: flow.protocol,
            local: flow.local.address().into(),
            remote: flow.remote.address().into(),
            local_port: flow.local.port().number(),
            remote_port: flow.remote.port().number(),
        }
    }
}

/// The two secrets of a table: one for hashing, one for choosing.
#[derive(Debug)]
pub(super) struct Keys {
    hashing: SipHasher13,
    choosing: SipHasher13,
    drawn: u64,
}

impl Keys {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        let half = |from: usize| {
            let word = |at: usize| {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&seed[at..at + 8]);
                u64::from_le_bytes(bytes)
            };
            SipHasher13::new_with_keys(word(from), word(from + 8))
        };
        Self {
            hashing: half(0),
            choosing: half(16),
            drawn: 0,
        }
    }

    pub(super) fn flow(&self, key: &FlowKey) -> u64 {
        let mut bytes = [0; 40];
        let ports = u64::from(key.local_port) << 16 | u64::from(key.remote_port);
        let words = [key.local.words(), key.remote.words()];
        let last = u64::from(key.protocol.number()) << 32 | ports;
        let words = words.iter().flatten().chain(core::iter::once(&last));
        for (at, word) in bytes.chunks_exact_mut(8).zip(words) {
            at.copy_from_slice(&word.to_le_bytes());
        }
        self.hashing.hash(&bytes)
    }

    pub(super) fn place(&self, protocol: Protocol, address: Packed, port: u16) -> u64 {
        let [high, low] = address.words();
        let mut bytes = [0; 19];
        bytes[..8].copy_from_slice(&high.to_le_bytes());
        bytes[8..16].copy_from_slice(&low.to_le_bytes());
        bytes[16..18].copy_from_slice(&port.to_le_bytes());
        bytes[18] = protocol.number();
        self.hashing.hash(&bytes)
    }

    pub(super) fn maps(&self) -> Keyed {
        Keyed(self.hashing)
    }

    /// The next number of an endless sequence that nobody without the seed can continue.
    pub(super) fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.choosing.hash(&self.drawn.to_le_bytes())
    }
}

/// The keyed hasher, for ordinary maps.
#[derive(Debug, Clone)]
pub(super) struct Keyed(SipHasher13);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        self.0
    }
}
