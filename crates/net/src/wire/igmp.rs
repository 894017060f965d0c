//! IGMP, by which IPv4 hosts tell routers the groups that they want to hear. RFC 3376 §4; of older versions RFC 2236 §2 and RFC 1112
//! appendix I.
//!
//! IPv6's is [`mld`](super::mld), and says the same in other numbers.

use super::{Malformed, checksum};
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;
use core::time::Duration;

/// IGMP's number in IPv4.
pub const PROTOCOL: u8 = 2;
/// Where reports of version 3 go: all routers that know it.
pub const ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
/// Where version 2 says that a group is left: all routers.
pub const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
/// All systems of a link: a group that nobody has to join, and that is never reported.
pub const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

/// The octets of a report of version 3 before its records.
pub const REPORT_LEN: usize = 8;
/// The octets of a record without sources.
pub const RECORD_LEN: usize = 8;

const QUERY: u8 = 0x11;
const REPORT_V1: u8 = 0x12;
const REPORT_V2: u8 = 0x16;
const LEAVE_V2: u8 = 0x17;
const REPORT_V3: u8 = 0x22;

/// Which version a query is of, and what only that has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// Eight octets, and no time to answer in.
    First,
    /// Eight octets.
    Second,
    /// Twelve or more.
    Third {
        /// The querier's robustness variable; 0 when it is more than 7.
        robustness: u8,
        /// Time between the querier's general queries.
        interval: Duration,
        /// The sources that are asked for; none in most queries.
        sources: Vec<Ipv4Addr>,
    },
}

/// A message's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A router asks who hears what.
    Query {
        /// The group that is asked for; unspecified for all.
        group: Ipv4Addr,
        /// The longest that an answer may take.
        response: Duration,
        /// The version.
        version: Version,
    },
    /// A report of version 1 or 2: a host hears this group.
    Heard(Ipv4Addr),
    /// Anything else: meant for routers.
    Other(u8),
}

/// What a record of a report says about its group. RFC 3376 §4.2.12, RFC 3810 §5.2.12.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Filter {
    /// Nothing has changed: only the record's sources are heard.
    IsInclude = 1,
    /// Nothing has changed: all sources but the record's are heard.
    IsExclude = 2,
    /// From now on only the record's sources are heard: without sources, the group is left.
    ToInclude = 3,
    /// From now on all sources but the record's are heard: without sources, the group is joined.
    ToExclude = 4,
}

impl Message {
    /// Reads a message, which is a packet's whole payload.
    ///
    /// # Errors
    /// [`Malformed`] below 8 octets, when the checksum is wrong, and for queries of a length that no version has (RFC 3376 §7.1).
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some(&[kind, code, _, _, a, b, c, d]) = bytes.first_chunk::<8>() else {
            return Err(Malformed::Truncated);
        };
        if checksum::checksum(bytes) != 0 {
            return Err(Malformed::Checksum);
        }
        let group = Ipv4Addr::new(a, b, c, d);
        Ok(match kind {
            QUERY => {
                let (version, tenths) = match (bytes.len(), code) {
                    (8, 0) => (Version::First, 100),
                    (8, code) => (Version::Second, u64::from(code)),
                    _ => (third(bytes)?, u64::from(coded(code))),
                };
                Self::Query {
                    group,
                    response: Duration::from_millis(tenths * 100),
                    version,
                }
            }
            REPORT_V1 | REPORT_V2 => Self::Heard(group),
            kind => Self::Other(kind),
        })
    }
}

fn third(bytes: &[u8]) -> Result<Version, Malformed> {
    let Some((&[flags, interval, high, low], sources)) = bytes
        .get(8..)
        .and_then(|rest| rest.split_first_chunk::<4>())
    else {
        return Err(Malformed::Truncated);
    };
    let count = usize::from(u16::from_be_bytes([high, low]));
    let Some(sources) = sources.get(..count * 4) else {
        return Err(Malformed::Truncated);
    };
    let address = |chunk: &[u8]| Ipv4Addr::new(chunk[0], chunk[1], chunk[2], chunk[3]);
    Ok(Version::Third {
        robustness: flags & 7,
        interval: Duration::from_secs(coded(interval).into()),
        sources: sources.chunks_exact(4).map(address).collect(),
    })
}

/// RFC 3376 §4.1.1, §4.1.7: from 128 on, a number of three bits and four of mantissa.
#[must_use]
pub fn coded(code: u8) -> u16 {
    match code {
        0..128 => code.into(),
        _ => u16::from(code & 0x0f | 0x10) << ((code >> 4 & 7) + 3),
    }
}

/// A report of version 1 or 2 about a group.
#[must_use]
pub fn heard(first_version: bool, group: Ipv4Addr) -> Vec<u8> {
    let kind = if first_version { REPORT_V1 } else { REPORT_V2 };
    old(kind, group)
}

/// Version 2's word that a group is left.
#[must_use]
pub fn leave(group: Ipv4Addr) -> Vec<u8> {
    old(LEAVE_V2, group)
}

fn old(kind: u8, group: Ipv4Addr) -> Vec<u8> {
    let mut bytes = Vec::from([kind, 0, 0, 0]);
    bytes.extend_from_slice(&group.octets());
    summed(bytes)
}

/// A report of version 3: of each group its filter and sources.
#[must_use]
pub fn report(records: &[(Filter, Ipv4Addr, Vec<Ipv4Addr>)]) -> Vec<u8> {
    let mut bytes = Vec::from([REPORT_V3, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&(records.len() as u16).to_be_bytes());
    for (filter, group, sources) in records {
        bytes.extend_from_slice(&[*filter as u8, 0]);
        bytes.extend_from_slice(&(sources.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&group.octets());
        sources
            .iter()
            .for_each(|source| bytes.extend_from_slice(&source.octets()));
    }
    summed(bytes)
}

fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = checksum::checksum(&bytes);
    bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query { group, .. } if group.is_unspecified() => f.write_str("who hears what?"),
            Self::Query { group, .. } => write!(f, "who hears {group}?"),
            Self::Heard(group) => write!(f, "{group} is heard"),
            Self::Other(kind) => write!(f, "type {kind}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn queries_are_told_apart_by_length_and_time() {
        let query = |code: u8, rest: &[u8]| {
            let mut bytes = Vec::from([QUERY, code, 0, 0, 239, 1, 2, 3]);
            bytes.extend_from_slice(rest);
            Message::parse(&summed(bytes))
        };
        let expected = |tenths: u64, version| {
            Ok(Message::Query {
                group: Ipv4Addr::new(239, 1, 2, 3),
                response: Duration::from_millis(tenths * 100),
                version,
            })
        };
        assert_eq!(query(0, &[]), expected(100, Version::First));
        assert_eq!(query(200, &[]), expected(200, Version::Second));
        let third = Version::Third {
            robustness: 3,
            interval: Duration::from_secs(125),
            sources: Vec::from([Ipv4Addr::new(10, 0, 0, 1)]),
        };
        let rest = [0x0b, 125, 0, 1, 10, 0, 0, 1];
        assert_eq!(query(0x80, &rest), expected(128, third));
        assert_eq!(query(1, &rest[..7]), Err(Malformed::Truncated));
        assert_eq!(query(1, &[0, 0]), Err(Malformed::Truncated));
    }

    #[test]
    fn large_codes_are_floating_point() {
        for (code, value) in [(127, 127), (128, 128), (0x8f, 248), (0xff, 31_744)] {
            assert_eq!(coded(code), value, "{code}");
        }
    }

    #[test]
    fn reports_have_their_layout() {
        let group = Ipv4Addr::new(239, 1, 2, 3);
        let sources = [Ipv4Addr::new(10, 0, 0, 9)];
        let bytes = report(&[
            (Filter::ToExclude, group, Vec::new()),
            (Filter::IsInclude, group, sources.to_vec()),
        ]);
        assert_eq!(checksum::checksum(&bytes), 0);
        assert_eq!(bytes[..2], [0x22, 0]);
        assert_eq!(bytes[4..16], [0, 0, 0, 2, 4, 0, 0, 0, 239, 1, 2, 3]);
        assert_eq!(bytes[16..], [1, 0, 0, 1, 239, 1, 2, 3, 10, 0, 0, 9]);
        assert_eq!(
            Message::parse(&heard(false, group)),
            Ok(Message::Heard(group))
        );
        assert_eq!(
            Message::parse(&heard(true, group)),
            Ok(Message::Heard(group))
        );
        assert_eq!(Message::parse(&leave(group)), Ok(Message::Other(LEAVE_V2)));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            let _ = Message::parse(&summed([&[QUERY, 0, 0, 0][..], &bytes].concat()));
        }
    }
}
