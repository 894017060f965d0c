//! Which frames are wanted: a small language, of the words that tcpdump(8) has for the same.
//!
//! ```text
//! filter = part { "or" part }
//! part   = test { [ "and" ] test }
//! test   = "not" test | "(" filter ")" | "tcp" | "udp" | "icmp" | "arp" | "ip" | "ip6"
//!        | [ "src" | "dst" ] ( "port" NUMBER | "host" ADDRESS )
//! ```

use std::iter::Peekable;
use std::net::IpAddr;
use std::str::FromStr;
use std::vec::IntoIter;

use serde::{Deserialize, Serialize};

use super::headers::{Content, Headers};

/// How deep brackets and negations may be nested.
const DEPTH_MAX: usize = 16;

/// A condition on a frame's headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Filter {
    /// All of them.
    All(Vec<Self>),
    /// One of them at least.
    Any(Vec<Self>),
    /// The contrary.
    Not(Box<Self>),
    /// Of this kind.
    Kind(Kind),
    /// A port of TCP or UDP.
    Port(End, u16),
    /// An address of IP.
    Host(End, IpAddr),
}

/// Kinds of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Tcp,
    Udp,
    Icmp,
    Arp,
    Ipv4,
    Ipv6,
}

/// Which end of a packet is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    Source,
    Destination,
    Either,
}

impl Filter {
    /// Whether a frame with these headers is wanted.
    pub(crate) fn takes(&self, headers: &Headers) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.takes(headers)),
            Self::Any(parts) => parts.iter().any(|part| part.takes(headers)),
            Self::Not(one) => !one.takes(headers),
            Self::Kind(kind) => kind.is(headers),
            Self::Port(end, port) => headers
                .endpoints()
                .is_some_and(|ends| end.of(ends.map(|it| it.port())).contains(port)),
            Self::Host(end, address) => match headers {
                Headers::Ip {
                    source,
                    destination,
                    ..
                } => end.of([*source, *destination]).contains(address),
                _ => false,
            },
        }
    }
}

impl Kind {
    fn is(self, headers: &Headers) -> bool {
        match (self, headers) {
            (Self::Arp, Headers::Arp) => true,
            (Self::Ipv4, Headers::Ip { source, .. }) => source.is_ipv4(),
            (Self::Ipv6, Headers::Ip { source, .. }) => source.is_ipv6(),
            (kind, Headers::Ip { content, .. }) => matches!(
                (kind, content),
                (Self::Tcp, Content::Tcp { .. } | Content::Fragment(6))
                    | (Self::Udp, Content::Udp { .. } | Content::Fragment(17))
                    | (Self::Icmp, Content::Icmp { .. } | Content::Fragment(1 | 58))
            ),
            _ => false,
        }
    }
}

impl End {
    /// Those of two values that are meant.
    fn of<T: Copy>(self, [source, destination]: [T; 2]) -> [T; 2] {
        match self {
            Self::Source => [source; 2],
            Self::Destination => [destination; 2],
            Self::Either => [source, destination],
        }
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let spaced = text.replace('(', " ( ").replace(')', " ) ");
        let words: Vec<_> = spaced.split_whitespace().map(str::to_owned).collect();
        let mut reader = Reader {
            words: words.into_iter().peekable(),
            depth: 0,
        };
        let filter = reader.filter()?;
        match reader.words.next() {
            None => Ok(filter),
            Some(word) => Err(format!("{word:?} is not expected there")),
        }
    }
}

struct Reader {
    words: Peekable<IntoIter<String>>,
    depth: usize,
}

impl Reader {
    fn filter(&mut self) -> Result<Filter, String> {
        let mut parts = vec![self.part()?];
        while self.words.next_if(|word| word == "or").is_some() {
            parts.push(self.part()?);
        }
        Ok(one_of(parts, Filter::Any))
    }

    fn part(&mut self) -> Result<Filter, String> {
        let mut tests = vec![self.test()?];
        while let Some(word) = self.words.peek()
            && ![")", "or"].contains(&&**word)
        {
            self.words.next_if(|word| word == "and");
            tests.push(self.test()?);
        }
        Ok(one_of(tests, Filter::All))
    }

    fn test(&mut self) -> Result<Filter, String> {
        let word = self.word("tcp, udp, icmp, arp, ip, ip6, port, host, src, dst, not or (")?;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("it is nested too deep".into());
        }
        let test = match &*word {
            "not" => Filter::Not(Box::new(self.test()?)),
            "(" => {
                let inner = self.filter()?;
                match self.words.next().as_deref() {
                    Some(")") => inner,
                    _ => return Err("a ) is missing".into()),
                }
            }
            "src" => self.end(End::Source)?,
            "dst" => self.end(End::Destination)?,
            "port" => Filter::Port(End::Either, self.port()?),
            "host" => Filter::Host(End::Either, self.host()?),
            word => Filter::Kind(kind(word)?),
        };
        self.depth -= 1;
        Ok(test)
    }

    fn end(&mut self, end: End) -> Result<Filter, String> {
        match &*self.word("port or host")? {
            "port" => Ok(Filter::Port(end, self.port()?)),
            "host" => Ok(Filter::Host(end, self.host()?)),
            word => Err(format!("port or host is wanted, not {word:?}")),
        }
    }

    fn port(&mut self) -> Result<u16, String> {
        let word = self.word("a port")?;
        word.parse()
            .map_err(|_| format!("{word:?} is no port: a number from 0 to 65535"))
    }

    fn host(&mut self) -> Result<IpAddr, String> {
        let word = self.word("an address")?;
        word.parse()
            .map_err(|_| format!("{word:?} is no address, such as 10.77.0.1 or fd77::1"))
    }

    fn word(&mut self, wanted: &str) -> Result<String, String> {
        let word = self.words.next();
        word.ok_or_else(|| format!("it ends where {wanted} is wanted"))
    }
}

/// The only one, or all of them together.
fn one_of(mut parts: Vec<Filter>, together: fn(Vec<Filter>) -> Filter) -> Filter {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            together(parts)
        }
    }
}

fn kind(word: &str) -> Result<Kind, String> {
    Ok(match word {
        "tcp" => Kind::Tcp,
        "udp" => Kind::Udp,
        "icmp" | "icmp6" => Kind::Icmp,
        "arp" => Kind::Arp,
        "ip" => Kind::Ipv4,
        "ip6" => Kind::Ipv6,
        _ => {
            return Err(format!(
                "{word:?} is not known; tcp, udp, icmp, arp, ip, ip6, [src|dst] port N, [src|dst] host A, and, or, not and brackets are"
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::headers::testing::{datagram, ping, syn};
    use super::*;

    #[test]
    fn frames_are_told_apart() {
        let frames = [syn(), datagram(), ping()].map(|frame| Headers::of(&frame));
        for (text, taken) in [
            ("tcp", [true, false, false]),
            ("udp", [false, true, false]),
            ("icmp", [false, false, true]),
            ("arp", [false, false, false]),
            ("ip", [true, false, true]),
            ("ip6", [false, true, false]),
            ("port 80", [true, false, false]),
            ("src port 80", [false, false, false]),
            ("dst port 80 or src port 5000", [true, true, false]),
            ("host 10.77.1.2", [true, false, true]),
            ("dst host 10.77.1.2", [false, false, false]),
            ("dst host fd77::2", [false, true, false]),
            ("not host 10.77.1.2", [false, true, false]),
            ("not tcp and not udp", [false, false, true]),
            ("ip not tcp", [false, false, true]),
            ("tcp or udp and port 53", [true, true, false]),
            ("(tcp or udp) and port 53", [false, true, false]),
            ("not (tcp or (port 53))", [false, false, true]),
            ("not not tcp", [true, false, false]),
        ] {
            let filter: Filter = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(frames.map(|frame| filter.takes(&frame)), taken, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("", "it ends where tcp"),
            ("tcp and", "it ends where tcp"),
            ("port", "it ends where a port"),
            ("port http", "\"http\" is no port"),
            ("port 65536", "\"65536\" is no port"),
            ("host shop", "\"shop\" is no address"),
            ("src tcp", "port or host is wanted"),
            ("tcp (udp", "a ) is missing"),
            ("tcp )", "\")\" is not expected"),
            ("sctp", "\"sctp\" is not known"),
        ] {
            let said = text.parse::<Filter>().unwrap_err();
            assert!(said.starts_with(why), "{text:?}: {said}");
        }
        let deep = "(".repeat(100_000);
        assert_eq!(deep.parse::<Filter>().unwrap_err(), "it is nested too deep");
    }

    #[test]
    fn whatever_can_be_typed_can_be_told_to_the_daemon() {
        let deep = format!("{}tcp or udp{}", "not (ip ".repeat(7), ")".repeat(7));
        let long = vec!["port 1"; 10_000].join(" or ");
        for text in [deep, long] {
            let filter: Filter = text.parse().unwrap();
            let told = serde_json::to_string(&filter).unwrap();
            assert_eq!(serde_json::from_str::<Filter>(&told).unwrap(), filter);
        }
    }
}
