//! The names that are answered here: `.internal`, `.localhost` and the reverse names of spaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::Spaces;
use super::question::Answer;

/// Seconds that an answer may be kept. A space's address is stable, but the space may end.
const TTL: u32 = 5;

/// Seconds that "there is no such name" may be kept: the space may start at any moment.
const NEGATIVE_TTL: u32 = 1;

/// The zone of spaces, which the root will never delegate.
const INTERNAL: &str = "internal";

/// What a name stands for.
enum Meaning {
    /// These addresses.
    Addresses(Ipv4Addr, Ipv6Addr),
    /// The zone itself.
    Apex,
    /// Nothing.
    Nothing,
}

/// Our answer to a question; `None` if it isn't ours to answer.
pub(super) fn answer<S: Spaces>(spaces: &S, query: &Query) -> Option<Answer> {
    if query.query_class() != DNSClass::IN {
        return None;
    }
    let labels = labels(query.name())?;
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let meaning = match labels[..] {
        [.., "localhost"] => Meaning::Addresses(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
        [INTERNAL] => Meaning::Apex,
        ["host" | "gateway", INTERNAL] => {
            let (v4, v6) = spaces.gateway();
            Meaning::Addresses(v4, v6)
        }
        [name, INTERNAL] => match spaces.addresses(name) {
            Some((v4, v6)) => Meaning::Addresses(v4, v6),
            None => Meaning::Nothing,
        },
        [.., name, INTERNAL] if is_taken(spaces, name) => Meaning::Nothing,
        [.., "arpa"] => return reverse(spaces, query),
        _ => return None,
    };
    let zone = labels.last().copied().unwrap_or_default();
    Some(records(query, &meaning, zone))
}

fn is_taken<S: Spaces>(spaces: &S, name: &str) -> bool {
    name == "host" || name == "gateway" || spaces.addresses(name).is_some()
}

/// The labels of a name in lower case; `None` if one isn't ASCII, and so nothing that we know.
fn labels(name: &Name) -> Option<Vec<String>> {
    let label = |label: &[u8]| {
        let text = label.is_ascii().then(|| label.to_ascii_lowercase())?;
        String::from_utf8(text).ok()
    };
    name.iter().map(label).collect()
}

/// What a meaning has for a type of record.
fn records(query: &Query, meaning: &Meaning, zone: &str) -> Answer {
    let (v4, v6) = match *meaning {
        Meaning::Addresses(v4, v6) => (RData::A(A(v4)), RData::AAAA(AAAA(v6))),
        Meaning::Apex if query.query_type() == RecordType::SOA => {
            return answers(query, vec![soa(zone).data]);
        }
        Meaning::Apex => return nothing(ResponseCode::NoError, zone),
        Meaning::Nothing => return nothing(ResponseCode::NXDomain, zone),
    };
    match query.query_type() {
        RecordType::A => answers(query, vec![v4]),
        RecordType::AAAA => answers(query, vec![v6]),
        // RFC 8482 allows less, but this is all there is.
        RecordType::ANY => answers(query, vec![v4, v6]),
        _ => nothing(ResponseCode::NoError, zone),
    }
}

/// The name of an address: a space's or the gateway's.
fn reverse<S: Spaces>(spaces: &S, query: &Query) -> Option<Answer> {
    if !matches!(query.query_type(), RecordType::PTR | RecordType::ANY) {
        return None;
    }
    let net = query.name().parse_arpa_name().ok()?;
    let address = (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())?;
    let (v4, v6) = spaces.gateway();
    let name = if address == IpAddr::V4(v4) || address == IpAddr::V6(v6) {
        "gateway".to_owned()
    } else {
        spaces.name(address)?
    };
    let name = Name::from_labels([name.as_str(), INTERNAL]).ok()?;
    Some(answers(query, vec![RData::PTR(PTR(name))]))
}

fn answers(query: &Query, data: Vec<RData>) -> Answer {
    let record = |data| Record::from_rdata(query.name().clone(), TTL, data);
    Answer {
        answers: data.into_iter().map(record).collect(),
        ..Answer::default()
    }
}

fn nothing(code: ResponseCode, zone: &str) -> Answer {
    Answer {
        code,
        authority: Some(soa(zone)),
        ..Answer::default()
    }
}

/// The zone's SOA, which says how long "no" may be kept (RFC 2308 §5). Nobody transfers the zone,
/// so the other times only have to be sane.
fn soa(zone: &str) -> Record {
    let (server, person) = (domain(["gateway", INTERNAL]), domain(["nobody", INTERNAL]));
    let soa = SOA::new(server, person, 1, 3600, 600, 86_400, NEGATIVE_TTL);
    Record::from_rdata(domain([zone]), NEGATIVE_TTL, RData::SOA(soa))
}

fn domain<'a>(labels: impl IntoIterator<Item = &'a str>) -> Name {
    Name::from_labels(labels).expect("these are few and short ASCII labels")
}
