//! Multicast listener discovery, by which IPv6 hosts tell routers the groups that they want to hear. RFC 3810 §5; of the older version
//! RFC 2710 §3.
//!
//! It is a part of ICMPv6. IPv4's is [`igmp`](super::igmp).

use super::checksum::Sum;
use super::igmp::Filter;
use super::{Malformed, icmpv6};
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;
use core::time::Duration;

/// The ICMPv6 type of a query.
pub const QUERY: u8 = 130;
/// The ICMPv6 type of a report of version 1.
pub const REPORT_V1: u8 = 131;
/// The ICMPv6 type of version 1's word that a group is left.
pub const DONE_V1: u8 = 132;
/// The ICMPv6 type of a report of version 2.
pub const REPORT_V2: u8 = 143;

/// Where reports of version 2 go: all routers that know it.
pub const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// Where version 1 says that a group is left: all routers.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// The octets of a report of version 2 before its records.
pub const REPORT_LEN: usize = 8;
/// The octets of a record without sources.
pub const RECORD_LEN: usize = 20;

/// Which version a query is of, and what only that has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// 24 octets.
    First,
    /// 28 or more.
    Second {
        /// The querier's robustness variable; 0 when it is more than 7.
        robustness: u8,
        /// Time between the querier's general queries.
        interval: Duration,
        /// The sources that are asked for; none in most queries.
        sources: Vec<Ipv6Addr>,
    },
}

/// A query's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The group that is asked for; unspecified for all.
    pub group: Ipv6Addr,
    /// The longest that an answer may take.
    pub response: Duration,
    /// The version.
    pub version: Version,
}

impl Query {
    /// Reads a query, from the ICMPv6 header on; the checksum has been verified.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] for a length that no version has (RFC 3810 §8.1), or when sources are missing.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let code = match bytes {
            [_, _, _, _, high, low, ..] => u16::from_be_bytes([*high, *low]),
            _ => return Err(Malformed::Truncated),
        };
        let group = group(bytes).ok_or(Malformed::Truncated)?;
        let (version, response) = match bytes.len() {
            24 => (Version::First, code.into()),
            _ => (second(&bytes[24..])?, coded(code)),
        };
        Ok(Self {
            group,
            response: Duration::from_millis(response.into()),
            version,
        })
    }
}

/// The group that a query, a report of version 1 or a farewell is about, from the ICMPv6 header on.
#[must_use]
pub fn group(bytes: &[u8]) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
    Some(octets.into())
}

fn second(rest: &[u8]) -> Result<Version, Malformed> {
    let Some((&[flags, interval, high, low], sources)) = rest.split_first_chunk::<4>() else {
        return Err(Malformed::Truncated);
    };
    let count = usize::from(u16::from_be_bytes([high, low]));
    let Some(sources) = sources.get(..count * 16) else {
        return Err(Malformed::Truncated);
    };
    let (sources, _) = sources.as_chunks::<16>();
    Ok(Version::Second {
        robustness: flags & 7,
        interval: Duration::from_secs(super::igmp::coded(interval).into()),
        sources: sources.iter().map(|octets| (*octets).into()).collect(),
    })
}

/// RFC 3810 §5.1.3: from 32,768 on, a number of three bits and twelve of mantissa.
fn coded(code: u16) -> u32 {
    match code {
        0..0x8000 => code.into(),
        _ => u32::from(code & 0x0fff | 0x1000) << ((code >> 12 & 7) + 3),
    }
}

/// Version 1's report about a group, or its farewell to it, as `kind` says.
#[must_use]
pub fn old(kind: u8, group: Ipv6Addr, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let mut bytes = Vec::from([kind, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&group.octets());
    summed(bytes, source, destination)
}

/// A report of version 2: of each group its filter and sources.
#[must_use]
pub fn report(records: &[(Filter, Ipv6Addr, Vec<Ipv6Addr>)], source: Ipv6Addr) -> Vec<u8> {
    let mut bytes = Vec::from([REPORT_V2, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&(records.len() as u16).to_be_bytes());
    for (filter, group, sources) in records {
        bytes.extend_from_slice(&[*filter as u8, 0]);
        bytes.extend_from_slice(&(sources.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&group.octets());
        sources
            .iter()
            .for_each(|source| bytes.extend_from_slice(&source.octets()));
    }
    summed(bytes, source, ROUTERS)
}

fn summed(mut bytes: Vec<u8>, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let number = icmpv6::PROTOCOL;
    let mut sum = Sum::pseudo(source.into(), destination.into(), number, bytes.len());
    sum.add(&bytes);
    bytes[2..4].copy_from_slice(&sum.checksum().to_be_bytes());
    bytes
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group.is_unspecified() {
            true => f.write_str("who hears what?"),
            false => write!(f, "who hears {}?", self.group),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GROUP: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0x99);

    fn query(code: u16, rest: &[u8]) -> Result<Query, Malformed> {
        let [high, low] = code.to_be_bytes();
        Query::parse(
            &[
                &[QUERY, 0, 0, 0, high, low, 0, 0][..],
                &GROUP.octets(),
                rest,
            ]
            .concat(),
        )
    }

    #[test]
    fn queries_are_told_apart_by_length() {
        let expected = |ms, version| {
            Ok(Query {
                group: GROUP,
                response: Duration::from_millis(ms),
                version,
            })
        };
        assert_eq!(query(1000, &[]), expected(1000, Version::First));
        let sources = Vec::from([Ipv6Addr::LOCALHOST]);
        let second = Version::Second {
            robustness: 2,
            interval: Duration::from_secs(125),
            sources,
        };
        let rest = [&[2, 125, 0, 1][..], &Ipv6Addr::LOCALHOST.octets()].concat();
        assert_eq!(query(0x8000, &rest), expected(32_768, second));
        assert_eq!(query(1, &rest[..19]), Err(Malformed::Truncated));
        assert_eq!(query(1, &[0]), Err(Malformed::Truncated));
    }

    #[test]
    fn reports_have_their_layout_and_checksum() {
        let source = "fe80::1".parse().unwrap();
        let bytes = report(&[(Filter::ToExclude, GROUP, Vec::new())], source);
        assert_eq!(bytes.len(), REPORT_LEN + RECORD_LEN);
        assert_eq!(bytes[6..12], [0, 1, 4, 0, 0, 0]);
        assert_eq!(bytes[12..], GROUP.octets());
        let kind = |bytes: &[u8], to| icmpv6::Message::parse(bytes, source, to);
        let other = |kind| Ok(icmpv6::Message::Other { kind, code: 0 });
        assert_eq!(kind(&bytes, ROUTERS), other(REPORT_V2));
        let bytes = old(DONE_V1, GROUP, source, ALL_ROUTERS);
        assert_eq!(kind(&bytes, ALL_ROUTERS), other(DONE_V1));
        assert_eq!(group(&bytes), Some(GROUP));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            let _ = Query::parse(&bytes);
        }
    }
}
