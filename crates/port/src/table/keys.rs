//! Keyed hashing and chance, both from the table's seed.
//!
//! Everything that a peer can choose is hashed with a secret key (SipHash-1-3), so that nobody can
//! make entries collide, foresee a chosen port, or pick the member of a group that he gets.

use core::hash::BuildHasher;

use siphasher::sip::SipHasher13;
use siphasher::sip128;

use super::index::Print;
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
    printing: sip128::SipHasher13,
    choosing: SipHasher13,
    drawn: u64,
}

impl Keys {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&seed[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        Self {
            hashing: SipHasher13::new_with_keys(word(0), word(8)),
            printing: sip128::SipHasher13::new_with_keys(word(0), word(8)),
            choosing: SipHasher13::new_with_keys(word(16), word(24)),
            drawn: 0,
        }
    }

    /// The print of a flow. Between IPv4 addresses, the usual case, it is made of half the words.
    pub(super) fn flow(&self, key: &FlowKey) -> Print {
        let ports = u64::from(key.local_port) << 16 | u64::from(key.remote_port);
        let last = u64::from(key.protocol.number()) << 32 | ports;
        let [local, remote] = [key.local.words(), key.remote.words()];
        if key.local.is_v4() && key.remote.is_v4() {
            return self.print([local[1] << 32 | remote[1] & 0xffff_ffff, last]);
        }
        self.print([local[0], local[1], remote[0], remote[1], last])
    }

    /// The print of an address under one protocol.
    pub(super) fn address(&self, protocol: Protocol, address: Packed) -> Print {
        let [high, low] = address.words();
        self.print([high, low, u64::from(protocol.number())])
    }

    /// SipHash takes the length in, so that prints of different kinds have nothing in common.
    fn print<const WORDS: usize>(&self, words: [u64; WORDS]) -> Print {
        let bytes = words.map(u64::to_le_bytes);
        let hash = self.printing.hash(bytes.as_flattened());
        Print {
            high: hash.h1,
            low: hash.h2 as u32,
        }
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
