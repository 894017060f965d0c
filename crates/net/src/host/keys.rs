//! What must be unpredictable to others: initial sequence numbers, timestamp offsets, identifications.
//!
//! RFC 6528 (initial sequence numbers), RFC 7323 §7.1 (timestamp offsets), RFC 6864 and RFC 7739 (identifications), RFC 6437 (flow labels).

use core::hash::{BuildHasher, Hash, Hasher};
use core::net::IpAddr;
use core::time::Duration;
use hashbrown::HashMap;
use siphasher::sip::{SipHasher13, SipHasher24};
use wharf_port::Flow;

use super::cookie::Cookies;
use super::outbound::Outbound;
use crate::time::Instant;
use crate::wire::tcp::SeqNum;

/// How many counters identifications are taken from; pairs of addresses share one by chance.
const COUNTERS: usize = 256;

/// A map whose keys a peer can choose: hashed with a secret, so that nobody can make them collide.
pub(super) type Map<K, V> = HashMap<K, V, Keyed>;

/// The secret of a [`Map`].
#[derive(Clone, Copy)]
pub(super) struct Keyed(u64, u64);

impl Keyed {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        let mut state = SipHasher24::new_with_key(seed.last_chunk().expect("32 octets hold 16"));
        state.write(seed);
        let first = state.finish();
        state.write_u8(1);
        Self(first, state.finish())
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

impl core::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Keyed")
    }
}

/// Delays that others can't foresee, so that hosts which were asked at once don't answer at once.
pub(super) struct Dice {
    keyed: SipHasher24,
    thrown: u64,
}

impl Dice {
    /// `purpose` tells several dice of one seed apart.
    pub(super) fn new(seed: &[u8; 32], purpose: u8) -> Self {
        let mut state = SipHasher24::new_with_key(seed.first_chunk().expect("32 octets hold 16"));
        state.write(&seed[16..]);
        state.write(&[0xd1, 0xce, purpose]);
        let first = state.finish();
        state.write_u8(1);
        Self {
            keyed: SipHasher24::new_with_keys(first, state.finish()),
            thrown: 0,
        }
    }

    /// A time shorter than `span`; none at all if that is zero.
    pub(super) fn below(&mut self, span: Duration) -> Duration {
        self.thrown += 1;
        let random = u128::from(hash(&self.keyed, self.thrown));
        let nanos = (span.as_nanos() * random) >> 64;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// A keyed hash of something, the same for the same seed and purpose. RFC 7217 §5 wants such a function.
    pub(super) fn hash_of(&self, value: impl Hash) -> u64 {
        hash(&self.keyed, value)
    }
}

impl core::fmt::Debug for Dice {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Dice")
    }
}

/// The host's secret and what follows from it.
pub(super) struct Keys {
    sequence: SipHasher24,
    timestamp: SipHasher24,
    ident: SipHasher24,
    flow_label: SipHasher24,
    cookies: Cookies,
    idents: [u32; COUNTERS],
}

impl Keys {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        let mut state = SipHasher24::new_with_key(seed.first_chunk().expect("32 octets hold 16"));
        state.write(&seed[16..]);
        let mut next = |purpose: u8| {
            state.write_u8(purpose);
            state.finish()
        };
        let mut hasher = |purpose: u8| SipHasher24::new_with_keys(next(purpose), next(purpose));
        let (sequence, timestamp, ident) = (hasher(1), hasher(2), hasher(3));
        let cookies = Cookies::new(hasher(4));
        let flow_label = hasher(5);
        let mut idents = [0; COUNTERS];
        for (index, counter) in idents.iter_mut().enumerate() {
            *counter = hash(&ident, index) as u32;
        }
        Self {
            sequence,
            timestamp,
            ident,
            flow_label,
            cookies,
            idents,
        }
    }

    /// RFC 6528 §3: a clock of 4 µs plus a keyed hash of the flow.
    pub(super) fn isn(&self, now: Instant, flow: &Flow) -> SeqNum {
        let clock = (now.as_nanos() / 4_000) as u32;
        SeqNum::new(clock.wrapping_add(hash(&self.sequence, flow) as u32))
    }

    /// The same for every connection of two addresses, so that their timestamps keep growing.
    pub(super) fn timestamp_offset(&self, flow: &Flow) -> u32 {
        hash(
            &self.timestamp,
            (flow.local.address(), flow.remote.address()),
        ) as u32
    }

    /// What all packets of a packet's flow have, and hardly another flow: 20 bits, not zero. RFC 6437 §3.
    pub(super) fn flow_label(&self, packet: &Outbound) -> u32 {
        let addresses = (packet.source, packet.destination);
        let flow = (addresses, packet.protocol, packet.ports());
        (hash(&self.flow_label, flow) % 0xf_ffff) as u32 + 1
    }

    /// What makes and checks SYN cookies.
    pub(super) fn cookies(&self) -> &Cookies {
        &self.cookies
    }

    /// `count` identifications in a row for packets from one address to another; the first is returned.
    pub(super) fn ident(&mut self, source: IpAddr, destination: IpAddr, count: u32) -> u32 {
        let index = hash(&self.ident, (source, destination)) as usize % COUNTERS;
        let first = self.idents[index];
        self.idents[index] = first.wrapping_add(count);
        first
    }
}

pub(super) fn hash(keyed: &SipHasher24, value: impl Hash) -> u64 {
    let mut hasher = *keyed;
    value.hash(&mut hasher);
    hasher.finish()
}

impl core::fmt::Debug for Keys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Keys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_s_sequence_numbers_follow_the_clock_and_differ_from_others() {
        let keys = Keys::new(&[7; 32]);
        let flow: Flow = "tcp/10.0.0.1:80-10.0.0.2:40000".parse().unwrap();
        let other: Flow = "tcp/10.0.0.1:80-10.0.0.2:40001".parse().unwrap();
        let now = Instant::from_millis(1000);
        let later = keys.isn(now + Duration::from_millis(4), &flow);
        assert_eq!(
            later.value(),
            keys.isn(now, &flow).value().wrapping_add(1000)
        );
        assert_ne!(keys.isn(now, &flow), keys.isn(now, &other));
        assert_ne!(keys.isn(now, &flow), Keys::new(&[8; 32]).isn(now, &flow));
        assert_eq!(keys.timestamp_offset(&flow), keys.timestamp_offset(&other));
    }

    #[test]
    fn delays_are_spread_over_their_span() {
        let mut dice = Dice::new(&[7; 32], 1);
        let span = Duration::from_secs(10);
        let thrown: alloc::vec::Vec<_> = (0..1000).map(|_| dice.below(span)).collect();
        assert!(thrown.iter().all(|delay| *delay < span));
        let early = thrown.iter().filter(|delay| **delay < span / 2).count();
        assert!((400..600).contains(&early), "{early}");
        assert_eq!(dice.below(Duration::ZERO), Duration::ZERO);
        let other = Dice::new(&[7; 32], 2);
        assert_ne!(dice.hash_of(5u8), other.hash_of(5u8));
    }

    #[test]
    fn identifications_of_a_pair_do_not_repeat() {
        let mut keys = Keys::new(&[7; 32]);
        let (source, destination) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let first = keys.ident(source, destination, 3);
        assert_eq!(keys.ident(source, destination, 1), first.wrapping_add(3));
    }
}
