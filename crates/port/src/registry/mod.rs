//! What a port is called: by IANA, and by those who use it.
//!
//! The two differ. IANA's registry of service names and port numbers (RFC 6335) knows port 3000 under names that
//! hardly anybody has heard of, and 5173 not at all; a developer means a web application by the one and Vite by the
//! other. So there are two tables: [`names`] and [`ports`] search IANA's, [`common`] and [`COMMON`] have the ports that
//! one meets, in our own words.
//!
//! IANA's has every pair of port and protocol that has a name, 11,641 of them. Both are static: a look-up allocates nothing.
//!
//! ```
//! use wharf_port::Port;
//! use wharf_port::registry::{self, Transport};
//!
//! let postgres = Port::try_from(5432)?;
//! assert_eq!(registry::names(postgres, Transport::Tcp).next(), Some("postgresql"));
//! assert_eq!(registry::ports("https").next(), Some((Port::try_from(443)?, Transport::Tcp)));
//! assert_eq!(registry::common(Port::try_from(5173)?)[0].name, "Vite");
//! # Ok::<(), wharf_port::ParseError>(())
//! ```

mod common;
#[rustfmt::skip]
mod iana;

use core::fmt;
use core::str::FromStr;

use crate::{ParseError, Port, Protocol};

pub use self::common::{COMMON, Common, Uses, taught};

/// A transport protocol that IANA assigns ports for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// The Stream Control Transmission Protocol (RFC 9260).
    Sctp,
    /// The Datagram Congestion Control Protocol (RFC 4340).
    Dccp,
}

impl Transport {
    /// All four, in the order in which answers are sorted.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Udp, Self::Sctp, Self::Dccp];

    /// Its name in small letters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Dccp => "dccp",
        }
    }
}

impl From<Protocol> for Transport {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp,
            Protocol::Udp => Self::Udp,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Transport {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut all = Self::ALL.into_iter();
        all.find(|transport| transport.name().eq_ignore_ascii_case(text))
            .ok_or(ParseError::Protocol)
    }
}

const fn key(port: Port, transport: Transport) -> u32 {
    (port.number() as u32) << 16 | (transport as u32) << 14
}

fn name(number: usize) -> &'static str {
    &iana::NAMES[usize::from(iana::STARTS[number])..usize::from(iana::STARTS[number + 1])]
}

const fn name_number(row: u32) -> usize {
    (row & 0x3fff) as usize
}

/// The names that IANA has for a port, the most usual one first.
pub fn names(port: Port, transport: Transport) -> impl Iterator<Item = &'static str> {
    let key = key(port, transport);
    let from = iana::ROWS.partition_point(|&row| row < key);
    let rows = iana::ROWS[from..].iter();
    rows.take_while(move |&&row| row & !0x3fff == key)
        .map(|&row| name(name_number(row)))
}

/// The ports that have this name, in letters of any case, in ascending order.
pub fn ports(wanted: &str) -> impl Iterator<Item = (Port, Transport)> {
    pairs().filter_map(move |(port, transport, name)| {
        name.eq_ignore_ascii_case(wanted)
            .then_some((port, transport))
    })
}

/// Every assignment: port, transport, name, in ascending order.
pub fn pairs() -> impl Iterator<Item = (Port, Transport, &'static str)> {
    iana::ROWS.iter().filter_map(|&row| {
        let port = Port::new((row >> 16) as u16)?;
        let transport = Transport::ALL[(row >> 14 & 3) as usize];
        Some((port, transport, name(name_number(row))))
    })
}

/// What people use the port for, the most frequent use first; empty for most ports.
#[must_use]
pub fn common(port: Port) -> &'static [Common] {
    let from = COMMON.partition_point(|row| row.port < port);
    let to = COMMON.partition_point(|row| row.port <= port);
    &COMMON[from..to]
}

/// The common uses and IANA's names that a word may have been meant for: those nearest to it, at most
/// two letters away.
pub fn suggestions(word: &str) -> impl Iterator<Item = &'static str> {
    let known = || {
        let common = COMMON.iter().map(|row| row.name);
        common.chain((0..iana::STARTS.len() - 1).map(name))
    };
    let nearest = known().filter_map(|name| distance(word, name)).min();
    known().filter(move |name| nearest.is_some_and(|nearest| distance(word, name) == Some(nearest)))
}

const LONGEST: usize = 24;

/// How many letters must be added, left out or changed to get from one word to the other, if no more than two and
/// fewer than half of them.
fn distance(one: &str, other: &str) -> Option<usize> {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() > LONGEST || other.len() > LONGEST || one.len().abs_diff(other.len()) > 2 {
        return None;
    }
    let mut row: [usize; LONGEST + 1] = core::array::from_fn(|at| at);
    for (at, letter) in one.iter().enumerate() {
        let mut diagonal = core::mem::replace(&mut row[0], at + 1);
        for (column, against) in other.iter().enumerate() {
            let change = diagonal + usize::from(!letter.eq_ignore_ascii_case(against));
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    let distance = row[other.len()];
    (distance <= 2 && distance * 2 < one.len()).then_some(distance)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn port(number: u16) -> Port {
        Port::new(number).unwrap()
    }

    #[test]
    fn known_ports_have_their_names() {
        for (number, transport, expected) in [
            (22, Transport::Tcp, "ssh"),
            (53, Transport::Udp, "domain"),
            (80, Transport::Tcp, "http"),
            (443, Transport::Udp, "https"),
            (514, Transport::Udp, "syslog"),
            (514, Transport::Tcp, "shell"),
            (5432, Transport::Tcp, "postgresql"),
            (5672, Transport::Sctp, "amqp"),
        ] {
            assert_eq!(names(port(number), transport).next(), Some(expected));
        }
        let several: Vec<_> = names(port(3000), Transport::Tcp).collect();
        assert_eq!(several, ["hbci", "remoteware-cl"]);
        assert_eq!(
            names(port(6063), Transport::Tcp).next(),
            Some("x11"),
            "a range's last"
        );
        assert_eq!(
            names(port(47), Transport::Tcp).next(),
            None,
            "reserved by now"
        );
        let web: Vec<_> = names(port(80), Transport::Tcp).collect();
        assert!(web.contains(&"www") && web.contains(&"www-http"), "{web:?}");
        assert_eq!(names(port(5173), Transport::Tcp).count(), 0);
    }

    #[test]
    fn every_pair_is_found_from_both_sides() {
        let mut count = 0;
        for (port, transport, name) in pairs() {
            assert!(names(port, transport).any(|found| found == name));
            count += 1;
            if count % 50 == 0 {
                assert!(
                    ports(name).any(|found| found == (port, transport)),
                    "{name}"
                );
            }
        }
        assert!(count > 11_000, "{count}");
    }

    #[test]
    fn common_uses_are_sorted_and_say_something() {
        assert!(COMMON.is_sorted_by_key(|row| row.port));
        assert!(COMMON.len() >= 150, "{}", COMMON.len());
        for row in COMMON {
            assert!(!row.name.is_empty() && !row.about.is_empty(), "{row:?}");
            assert!(common(row.port).contains(row));
        }
    }

    #[test]
    fn what_is_taught_is_in_common_use() {
        let mut taught: Vec<u16> = taught().map(|row| row.port.number()).collect();
        assert!(taught.is_sorted());
        taught.dedup();
        assert_eq!(taught, common::TAUGHT);
    }

    #[test]
    fn two_uses_of_one_port_come_with_a_hint() {
        for pair in COMMON
            .windows(2)
            .filter(|pair| pair[0].port == pair[1].port)
        {
            let hint = pair[0].hint.or(pair[1].hint);
            assert!(hint.is_some() || pair[0].uses != pair[1].uses, "{pair:?}");
        }
    }

    #[test]
    fn close_misses_find_what_was_meant() {
        let suggested = |word| suggestions(word).collect::<Vec<_>>();
        assert!(suggested("postgre").contains(&"Postgres"));
        assert!(suggested("htps").contains(&"https"));
        assert!(
            suggested("mogodb").contains(&"mongodb") || suggested("mogodb").contains(&"MongoDB")
        );
        assert_eq!(suggested("no-such-service-anywhere"), [""; 0]);
        assert_eq!(suggested(""), [""; 0]);
        assert_eq!(distance("kitten", "sitten"), Some(1));
        assert_eq!(distance("kitten", "kitten"), Some(0));
        assert_eq!(distance("ab", "ba"), None);
    }
}
