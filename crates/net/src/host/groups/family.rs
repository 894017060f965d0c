//! What a host knows of the multicast routers of one family: which version they speak, and how often they ask. RFC 3376 §7.2.1, RFC 3810
//! §8.2.1.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::time::Instant;

/// RFC 3376 §8.1, RFC 3810 §9.1.
const ROBUSTNESS: u8 = 2;
/// RFC 3376 §8.2, RFC 3810 §9.2.
const QUERY_INTERVAL: Duration = Duration::from_secs(125);
/// RFC 3376 §8.3, RFC 3810 §9.3.
const RESPONSE_INTERVAL: Duration = Duration::from_secs(10);

/// Which version a family's routers know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::host) enum Version {
    /// IGMPv1: nobody says that a group is left.
    First,
    /// IGMPv2, MLDv1.
    Older,
    /// IGMPv3, MLDv2.
    Current,
}

/// A router's question.
#[derive(Clone, Debug)]
pub(in crate::host) struct Question {
    pub(in crate::host) version: Version,
    /// Nothing for all groups of the family.
    pub(in crate::host) group: Option<IpAddr>,
    pub(in crate::host) response: Duration,
    /// The querier's robustness variable, if it says so, and how often it asks.
    pub(in crate::host) robustness: u8,
    pub(in crate::host) interval: Duration,
    pub(in crate::host) sources: Vec<IpAddr>,
}

/// What is known of a family's routers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    pub(super) robustness: u8,
    interval: Duration,
    first_until: Instant,
    older_until: Instant,
    /// When a general query is answered.
    pub(super) answer: Option<Instant>,
}

pub(super) const UNASKED: Family = Family {
    robustness: ROBUSTNESS,
    interval: QUERY_INTERVAL,
    first_until: Instant::ZERO,
    older_until: Instant::ZERO,
    answer: None,
};

impl Family {
    pub(super) fn version(&self, now: Instant) -> Version {
        if now < self.first_until {
            Version::First
        } else if now < self.older_until {
            Version::Older
        } else {
            Version::Current
        }
    }

    /// Notes what a query says of its router; whether its version is now another.
    pub(super) fn hear(&mut self, now: Instant, question: &Question) -> bool {
        let before = self.version(now);
        if question.version == Version::Current {
            // RFC 3376 §4.1.6, §4.1.7: 0 tells nothing.
            self.robustness = match question.robustness {
                0 => ROBUSTNESS,
                robustness => robustness,
            };
            if question.interval > Duration::ZERO {
                self.interval = question.interval;
            }
        }
        // RFC 3376 §8.12, RFC 3810 §9.12.
        let until = now + self.interval * u32::from(self.robustness) + RESPONSE_INTERVAL;
        match question.version {
            Version::First => self.first_until = until,
            Version::Older => self.older_until = until,
            Version::Current => {}
        }
        self.version(now) != before
    }
}
