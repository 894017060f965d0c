//! How many ICMP errors may go out. RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f).
//!
//! # Theory of operation
//!
//! Errors are advice, and whoever sends garbage must not get the link filled with it, so there is a bound for all of them together. Alone,
//! that would tell a stranger what happens between the host and others: who sends datagrams to closed ports in somebody's name, and then
//! asks in his own how much of the bound is left, learns which port was open (SAD DNS, CVE-2020-25705). Against that, no peer can take more
//! than a small part of it, as each has a bound of its own; and an error takes nothing, one or two from the common bucket, by
//! chance, so that what is left of it can't be counted.
//!
//! Peers share buckets by a keyed hash: there are always equally many, and nobody knows with whom he shares.

use alloc::boxed::Box;
use alloc::vec;
use core::hash::BuildHasher;
use core::net::IpAddr;
use core::time::Duration;

use super::keys::{Dice, Keyed};
use crate::time::Instant;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Buckets that peers have.
const PEERS: usize = 1024;

/// How many ICMP errors may go out.
///
/// There is always a bound: errors are advice, and whoever sends garbage must not get the link filled with it.
///
/// ```
/// use wharf_net::{Config, ErrorRate};
/// # use wharf_net::wire::ethernet::Mac;
/// let mut config = Config::new(Mac([2, 0, 0, 0, 0, 2]), [0; 32]);
/// assert_eq!(config.icmp_errors, ErrorRate::HOST);
/// config.icmp_errors.peer_per_second = 1;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorRate {
    /// Errors that may go out at once; about so many, as what one of them counts is left to chance.
    pub burst: u32,
    /// Errors that may go out in a second in the long run; 0: the burst is all there is.
    pub per_second: u32,
    /// Of these, to one peer at once. An IPv6 network of 64 bits is one peer.
    pub peer_burst: u32,
    /// And to one peer in a second.
    pub peer_per_second: u32,
}

impl ErrorRate {
    /// For a host among others; to one peer ten at once and ten a second, as RFC 4443 §2.4 (f) has it.
    pub const HOST: Self = Self {
        burst: 200,
        per_second: 1_000,
        peer_burst: 10,
        peer_per_second: 10,
    };
    /// For a link of one's own, whose other end may rely on every error: only a flood goes unanswered.
    pub const TRUSTED: Self = Self {
        burst: 4_000,
        per_second: 10_000,
        peer_burst: 4_000,
        peer_per_second: 10_000,
    };
}

/// A bucket that fills with time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u32,
    since: Instant,
}

impl Bucket {
    fn full(size: u32) -> Self {
        Self {
            left: size,
            since: Instant::ZERO,
        }
    }

    fn fill(&mut self, now: Instant, size: u32, per_second: u32) {
        let elapsed = (now - self.since).as_nanos();
        let earned = elapsed * u128::from(per_second) / NANOS_PER_SECOND;
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(earned).min(size);
            self.since = now;
        }
    }
}

/// What decides whether an error may go out.
#[derive(Debug)]
pub(super) struct Limiter {
    rate: ErrorRate,
    all: Bucket,
    peers: Box<[Bucket]>,
    keyed: Keyed,
    dice: Dice,
}

impl Limiter {
    pub(super) fn new(rate: ErrorRate, seed: &[u8; 32]) -> Self {
        Self {
            rate,
            all: Bucket::full(rate.burst),
            peers: vec![Bucket::full(rate.peer_burst); PEERS].into(),
            keyed: Keyed::new(seed),
            dice: Dice::new(seed, 4),
        }
    }

    /// Whether one more error may go to a peer; it counts then.
    pub(super) fn allows(&mut self, now: Instant, peer: IpAddr) -> bool {
        let rate = self.rate;
        let at = self.keyed.hash_one(neighbourhood(peer)) as usize % PEERS;
        let own = &mut self.peers[at];
        own.fill(now, rate.peer_burst, rate.peer_per_second);
        self.all.fill(now, rate.burst, rate.per_second);
        if own.left == 0 || self.all.left == 0 {
            return false;
        }
        own.left -= 1;
        // One on average.
        let count = self.dice.below(Duration::from_nanos(3)).as_nanos() as u32;
        self.all.left = self.all.left.saturating_sub(count);
        true
    }
}

/// Addresses that one peer may have as many of as it likes count as one.
fn neighbourhood(peer: IpAddr) -> u64 {
    match peer {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};
    use std::vec::Vec;

    use super::*;

    const START: Instant = Instant::from_millis(5_000);

    fn limiter() -> Limiter {
        Limiter::new(ErrorRate::HOST, &[7; 32])
    }

    fn peer(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    fn to_one(limiter: &mut Limiter, now: Instant, peer: IpAddr) -> usize {
        (0..3000).filter(|_| limiter.allows(now, peer)).count()
    }

    fn to_many(limiter: &mut Limiter, now: Instant) -> usize {
        let allowed = |number: &u32| limiter.allows(now, peer(*number));
        (0..3000).filter(allowed).count()
    }

    #[test]
    fn one_peer_gets_a_small_part() {
        let mut limiter = limiter();
        let later = |millis| START + Duration::from_millis(millis);
        assert_eq!(to_one(&mut limiter, START, peer(1)), 10);
        assert_eq!(to_one(&mut limiter, later(200), peer(1)), 2);
        assert_eq!(to_one(&mut limiter, later(60_000), peer(1)), 10);
        let near = |last: u16| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, last));
        let got: usize = (1..100)
            .map(|last| to_one(&mut limiter, later(60_000), near(last)))
            .sum();
        assert_eq!(got, 10);
    }

    #[test]
    fn all_together_get_about_the_bound() {
        let mut limiter = limiter();
        let got = to_many(&mut limiter, START);
        assert!((140..=260).contains(&got), "{got}");
        let got = to_many(&mut limiter, START + Duration::from_millis(50));
        assert!((20..=100).contains(&got), "{got}");
    }

    /// CVE-2020-25705: a stranger spends what is left of the bound, and learns whether somebody else has got errors.
    #[test]
    fn a_stranger_learns_nothing_about_others() {
        let left_for_the_stranger = |victim: u32, seed: u8| {
            let mut limiter = Limiter::new(ErrorRate::HOST, &[seed; 32]);
            let got = (0..victim).filter(|_| limiter.allows(START, peer(1)));
            let got = got.count();
            (got, to_one(&mut limiter, START, peer(2)))
        };
        for seed in 0..20 {
            for victim in [0, 1, 9, 1000] {
                let (got, left) = left_for_the_stranger(victim, seed);
                assert_eq!((got, left), (victim.min(10) as usize, 10));
            }
        }
        // With as many addresses as it takes, what is left is blurred by more than one error.
        let all = |seed: u8| to_many(&mut Limiter::new(ErrorRate::HOST, &[seed; 32]), START);
        let counts: Vec<usize> = (0..20).map(all).collect();
        let (least, most) = (counts.iter().min(), counts.iter().max());
        assert!(most.unwrap() - least.unwrap() > 10, "{counts:?}");
        assert_eq!(all(3), all(3), "the seed decides");
    }
}
