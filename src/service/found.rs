//! What is known of a port or a name.

use std::collections::BTreeSet;

use serde::Serialize;
use wharf_port::registry::{self, Common, Transport};
use wharf_port::{Port, PortClass, Protocol};

use super::local::Names;
use super::query::{Query, Subject};

/// Names that are offered for a close miss, at most.
const SUGGESTIONS: usize = 5;

const ZERO: &str = "\
Port 0 is no port. In a bind call it means: choose a free port for me, as `wharf ls` then shows. TCP reserves \
it: nobody can connect to it. In a UDP datagram a source port of 0 says that there is nobody to answer to (RFC 768).";

/// An answer: the JSON form is what `docs/json.md` describes.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    pub(crate) schema: u32,
    /// As it was typed; `None` for the list of common ports.
    pub(crate) query: Option<String>,
    pub(crate) services: Vec<Service>,
    /// Names that may have been meant, if nothing was found.
    pub(crate) suggestions: Vec<&'static str>,
    /// What is to be said about the number itself.
    pub(crate) note: Option<String>,
}

/// A port under one protocol.
#[derive(Debug, Serialize)]
pub(crate) struct Service {
    pub(crate) port: u16,
    pub(crate) protocol: &'static str,
    /// What it is used for, the most frequent use first.
    pub(crate) common: Vec<Use>,
    /// IANA's names, the most usual first.
    pub(crate) iana: Vec<&'static str>,
    /// Names that only this machine has.
    pub(crate) local: Vec<String>,
}

/// A use that a port has in practice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Use {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) hint: Option<&'static str>,
}

impl Answer {
    const SCHEMA: u32 = 1;

    /// What is known about what was asked; `typed` is how.
    pub(crate) fn to(query: &Query, typed: &str, names: &Names) -> Self {
        let mut answer = Self {
            schema: Self::SCHEMA,
            query: Some(typed.to_owned()),
            services: Vec::new(),
            suggestions: Vec::new(),
            note: None,
        };
        match &query.subject {
            Subject::Zero => answer.note = Some(ZERO.to_owned()),
            Subject::Port(port) => {
                answer.services = by_port(*port, query.transport, names);
                answer.note = Some(about_number(*port));
            }
            Subject::Name(name) => {
                answer.services = by_name(name, query.transport, names);
                if answer.services.is_empty() {
                    answer.suggestions = suggestions(name);
                }
            }
        }
        answer
    }

    /// The ports that everybody should know.
    pub(crate) fn taught(names: &Names) -> Self {
        let pairs: BTreeSet<_> = registry::taught().flat_map(pairs_of).collect();
        Self {
            schema: Self::SCHEMA,
            query: None,
            services: pairs
                .into_iter()
                .map(|(port, transport)| service(port, transport, names))
                .collect(),
            suggestions: Vec::new(),
            note: None,
        }
    }

    /// Whether nothing is known. Of port 0 it is known that it is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.services.is_empty() && self.note.as_deref() != Some(ZERO)
    }
}

impl From<&Common> for Use {
    fn from(row: &Common) -> Self {
        Self {
            name: row.name,
            about: row.about,
            hint: row.hint,
        }
    }
}

/// What is known of a port under one protocol.
fn service(port: Port, transport: Transport, names: &Names) -> Service {
    let uses = registry::common(port).iter();
    let iana: Vec<_> = registry::names(port, transport).collect();
    let is_new = |name: &&String| !iana.iter().any(|known| known.eq_ignore_ascii_case(name));
    let local = names.of(port, transport).iter().filter(is_new);
    Service {
        port: port.number(),
        protocol: transport.name(),
        common: uses
            .filter(|row| pairs_of(row).any(|(_, used)| used == transport))
            .map(Use::from)
            .collect(),
        local: local.cloned().collect(),
        iana,
    }
}

fn by_port(port: Port, transport: Option<Transport>, names: &Names) -> Vec<Service> {
    Transport::ALL
        .into_iter()
        .filter(|known| transport.is_none_or(|wanted| wanted == *known))
        .map(|transport| service(port, transport, names))
        .filter(|service| {
            !(service.common.is_empty() && service.iana.is_empty() && service.local.is_empty())
        })
        .collect()
}

fn by_name(name: &str, transport: Option<Transport>, names: &Names) -> Vec<Service> {
    let common = registry::COMMON.iter();
    let mut pairs: BTreeSet<_> = common
        .clone()
        .filter(|row| has_word(row.name, name))
        .flat_map(pairs_of)
        .chain(registry::ports(name))
        .chain(names.ports(name))
        .collect();
    if pairs.is_empty() {
        // Not called so, but described so: django, grpc, airplay.
        let told = |row: &&Common| {
            has_word(row.about, name) || row.hint.is_some_and(|hint| has_word(hint, name))
        };
        pairs = common.filter(told).flat_map(pairs_of).collect();
    }
    pairs
        .into_iter()
        .filter(|(_, known)| transport.is_none_or(|wanted| wanted == *known))
        .map(|(port, transport)| service(port, transport, names))
        .collect()
}

/// The port of a use, under each of its protocols.
fn pairs_of(row: &Common) -> impl Iterator<Item = (Port, Transport)> + use<> {
    let (port, uses) = (row.port, row.uses);
    [Protocol::Tcp, Protocol::Udp]
        .into_iter()
        .filter(move |protocol| uses.has(*protocol))
        .map(move |protocol| (port, protocol.into()))
}

/// Whether a text is this, or has it as a word, in letters of any case.
fn has_word(text: &str, wanted: &str) -> bool {
    let ends = |letter: char| matches!(letter, ' ' | ',' | ';' | ':');
    let mut words = text.split(ends).map(|word| word.trim_end_matches('.'));
    text.eq_ignore_ascii_case(wanted)
        || words.any(|word| !word.is_empty() && word.eq_ignore_ascii_case(wanted))
}

fn suggestions(name: &str) -> Vec<&'static str> {
    let mut suggested: Vec<&str> = Vec::new();
    for name in registry::suggestions(name) {
        if !suggested
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
        {
            suggested.push(name);
        }
    }
    suggested.truncate(SUGGESTIONS);
    suggested
}

/// What the number alone says (RFC 6335, section 6).
fn about_number(port: Port) -> String {
    match port.class() {
        PortClass::System => format!(
            "{port} is a system port (1 to 1023), for well-known services. Linux wants a privilege for it; in a \
             space anybody may have it."
        ),
        PortClass::User => {
            format!(
                "{port} is a user port (1024 to 49151): registered on request, free for everybody."
            )
        }
        PortClass::Dynamic => format!(
            "{port} is a dynamic port (49152 to 65535): never registered, for whoever needs one for a while."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(what: &str) -> Answer {
        let names = Names::parse("shop 7777/tcp shopd\npostgresql 5432/tcp postgres pg\n");
        Answer::to(&Query::parse(what).unwrap(), what, &names)
    }

    fn ports(what: &str) -> Vec<(u16, &'static str)> {
        let services = answer(what).services;
        services.iter().map(|it| (it.port, it.protocol)).collect()
    }

    #[test]
    fn a_port_has_its_common_use_iana_s_name_and_the_machine_s() {
        let services = answer("5432").services;
        assert_eq!(services[0].common[0].name, "Postgres");
        assert_eq!(services[0].iana[0], "postgresql");
        assert_eq!(services[0].local, ["pg"]);
        assert_eq!((services[1].protocol, services[1].common.len()), ("udp", 0));
    }

    #[test]
    fn a_name_is_sought_in_common_use_at_iana_and_on_the_machine() {
        assert_eq!(ports("grafana"), [(3000, "tcp")]);
        assert_eq!(ports("PostgreSQL/udp"), [(5432, "udp")]);
        assert_eq!(ports("shopd"), [(7777, "tcp")]);
        assert_eq!(ports("mariadb"), [(3306, "tcp")]);
        assert_eq!(ports("django"), [(8000, "tcp")]);
        assert!(ports("postgres").contains(&(5433, "tcp")));
        assert!(ports("https").contains(&(443, "tcp")));
    }

    #[test]
    fn both_uses_of_a_contended_port_are_told_with_a_hint() {
        let services = answer("3000/tcp").services;
        let names: Vec<_> = services[0].common.iter().map(|it| it.name).collect();
        assert_eq!(names, ["Web application", "Grafana"]);
        assert!(services[0].common.iter().any(|it| it.hint.is_some()));
    }

    #[test]
    fn a_close_miss_gets_suggestions_and_a_far_one_none() {
        let missed = answer("postgre");
        assert!(missed.is_empty() && missed.suggestions.contains(&"Postgres"));
        assert!(missed.suggestions.len() <= SUGGESTIONS);
        assert_eq!(answer("no-such-service-anywhere").suggestions, [""; 0]);
    }

    #[test]
    fn port_0_is_explained_and_a_free_number_is_classed() {
        assert!(!answer("0").is_empty());
        let free = answer("49999");
        assert!(free.is_empty() && free.note.unwrap().contains("dynamic"));
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("MySQL and MariaDB", "mariadb") && has_word("HTTP/3", "http/3"));
        assert!(has_word("it is taken.", "taken") && has_word("SSH, alternative", "ssh"));
        assert!(!has_word("MySQL", "sql") && !has_word("a b", ""));
    }
}
