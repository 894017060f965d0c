//! What a user types to have ports published: `[ADDRESS:][PORTS:]PORTS`, with a protocol before or behind it
//! ([`spelling`](crate::place::spelling)).
//!
//! The second `PORTS` are those of the space, the first those of the machine, the same unless they are given. `PORTS` are one
//! port, a range `8000-8005`, or for the machine `3000+`: the first that is free from there on. Without an address, ports are
//! published at the space's face.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Publication;
use crate::list::{Protocol, protocol_by_name};
use crate::place::spelling::split_protocol;

/// One port that is to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wish {
    /// The machine's address; none: the space's face.
    pub(crate) at: Option<IpAddr>,
    /// The machine's port.
    pub(crate) outside: Outside,
    /// The space's port.
    pub(crate) inside: NonZeroU16,
    /// TCP or UDP.
    #[serde(with = "protocol_by_name")]
    pub(crate) protocol: Protocol,
}

/// Which port of the machine is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outside {
    /// This one.
    Exactly(NonZeroU16),
    /// The first from this one on that is free.
    From(NonZeroU16),
}

/// What one specification asks for: a range is several wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wishes(pub(crate) Vec<Wish>);

/// A published port as it is named to end it: `[ADDRESS:]PORT`, the machine's port or the space's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    /// The machine's address, if it is to be this one.
    pub(crate) at: Option<IpAddr>,
    port: NonZeroU16,
    #[serde(with = "protocol_by_name")]
    protocol: Protocol,
}

impl Named {
    pub(crate) fn means(&self, publication: &Publication) -> bool {
        let place = publication.place;
        let port = if self.at.is_some() {
            self.port == place.port
        } else {
            self.port == place.port || self.port == publication.inside
        };
        port && self.protocol == place.protocol && self.at.is_none_or(|at| at == place.address)
    }
}

impl TryFrom<Wishes> for Named {
    type Error = String;

    fn try_from(Wishes(wishes): Wishes) -> Result<Self, String> {
        match wishes[..] {
            [
                Wish {
                    at,
                    outside: Outside::Exactly(port),
                    inside,
                    protocol,
                },
            ] if port == inside => Ok(Self { at, port, protocol }),
            _ => Err("this is not one published port: 5432, 127.0.0.1:3000, udp/53".to_owned()),
        }
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<Wishes>()?.try_into()
    }
}

/// A range of ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ports {
    first: NonZeroU16,
    last: NonZeroU16,
}

impl Ports {
    fn count(self) -> u16 {
        self.last.get() - self.first.get()
    }

    fn all(self) -> impl Iterator<Item = NonZeroU16> {
        (self.first.get()..=self.last.get()).filter_map(NonZeroU16::new)
    }
}

impl FromStr for Wishes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (protocol, rest) = split_protocol(text).map_err(|unclear| unclear.to_string())?;
        Self::read(rest, protocol.unwrap_or(Protocol::Tcp))
    }
}

impl Wishes {
    /// One port, the same on both sides, at the space's face.
    pub(super) fn one(port: NonZeroU16, protocol: Protocol) -> Self {
        Self(vec![Wish {
            at: None,
            outside: Outside::Exactly(port),
            inside: port,
            protocol,
        }])
    }

    /// `[ADDRESS:][PORTS:]PORTS`.
    pub(super) fn read(text: &str, protocol: Protocol) -> Result<Self, String> {
        let (rest, inside) = match text.rsplit_once(':') {
            Some((rest, inside)) => (Some(rest), inside),
            None => (None, text),
        };
        let (at, outside) = match rest {
            None => (None, None),
            Some(rest) => place(rest)?,
        };
        let (at, outside) = (at, outside.unwrap_or(inside));
        // `3000+` alone is a wish about the machine's port; inside it is 3000.
        let inside = ports(
            inside
                .strip_suffix('+')
                .filter(|_| outside == inside)
                .unwrap_or(inside),
        )?;
        let wish = |outside, inside| Wish {
            at,
            outside,
            inside,
            protocol,
        };
        if let Some(first) = outside.strip_suffix('+') {
            let first = ports(first)?;
            if first.count() != 0 || inside.count() != 0 {
                return Err(format!(
                    "{outside} is about one port; name ports of a range one by one"
                ));
            }
            return Ok(Self(vec![wish(Outside::From(first.first), inside.first)]));
        }
        let outside = ports(outside)?;
        if outside.count() != inside.count() {
            return Err("the two ranges are not of the same length".to_owned());
        }
        let pairs = outside.all().zip(inside.all());
        Ok(Self(
            pairs
                .map(|(outside, inside)| wish(Outside::Exactly(outside), inside))
                .collect(),
        ))
    }
}

/// What stands in front of the space's ports: an address, the machine's ports, or both.
fn place(text: &str) -> Result<(Option<IpAddr>, Option<&str>), String> {
    if let Ok(address) = address(text) {
        return Ok((Some(address), None));
    }
    match text.rsplit_once(':') {
        Some((at, outside)) => Ok((Some(address(at)?), Some(outside))),
        None => Ok((None, Some(text))),
    }
}

/// An address that stands alone, where an IPv6 one needs no brackets.
pub(crate) fn address_alone(text: &str) -> Result<IpAddr, String> {
    text.parse().or_else(|_| address(text))
}

/// An address as it is written in a specification, an IPv6 one in brackets.
fn address(text: &str) -> Result<IpAddr, String> {
    if text == "localhost" {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let parsed: Option<IpAddr> = match bare {
        Some(text) => text.parse().ok().map(IpAddr::V6),
        None => text.parse().ok().map(IpAddr::V4),
    };
    parsed
        .ok_or_else(|| format!("{text} is no address of the machine: 127.0.0.1, localhost, [::1]"))
}

fn ports(text: &str) -> Result<Ports, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let ports = Ports {
        first: port(first)?,
        last: port(last)?,
    };
    if ports.first > ports.last {
        return Err(format!("{text} ends before it begins"));
    }
    Ok(ports)
}

fn port(text: &str) -> Result<NonZeroU16, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or_else(|| {
        format!("{text:?} is no port: a number from 1 to 65535 (8080, 8080:80, 8000-8005, 3000+, 127.0.0.1:3000:3000, udp/53)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<String>, String> {
        let wishes: Wishes = text.parse()?;
        let write = |wish: &Wish| {
            let at = wish
                .at
                .map_or_else(|| "face".to_owned(), |at| at.to_string());
            let outside = match wish.outside {
                Outside::Exactly(port) => port.to_string(),
                Outside::From(port) => format!("{port}+"),
            };
            format!("{at} {outside} {} {}", wish.inside, wish.protocol)
        };
        Ok(wishes.0.iter().map(write).collect())
    }

    #[test]
    fn what_docker_users_type() {
        for (text, expected) in [
            ("5432", &["face 5432 5432 tcp"][..]),
            ("8080:80", &["face 8080 80 tcp"]),
            ("127.0.0.1:8080:80", &["127.0.0.1 8080 80 tcp"]),
            ("127.0.0.1:80", &["127.0.0.1 80 80 tcp"]),
            ("localhost:3000", &["127.0.0.1 3000 3000 tcp"]),
            ("[::1]:8080:80/tcp", &["::1 8080 80 tcp"]),
            ("udp/0.0.0.0:53:5353", &["0.0.0.0 53 5353 udp"]),
            ("tcp/8080:80", &["face 8080 80 tcp"]),
            ("0.0.0.0:53:5353/udp", &["0.0.0.0 53 5353 udp"]),
            ("3000+", &["face 3000+ 3000 tcp"]),
            ("9000+:3000/udp", &["face 9000+ 3000 udp"]),
            ("127.0.0.1:3000+:80", &["127.0.0.1 3000+ 80 tcp"]),
            ("8000-8001", &["face 8000 8000 tcp", "face 8001 8001 tcp"]),
            ("9000-9001:80-81", &["face 9000 80 tcp", "face 9001 81 tcp"]),
        ] {
            let expected: Vec<_> = expected.iter().map(|&wish| wish.to_owned()).collect();
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant() {
        for text in [
            "",
            ":",
            "0",
            "65536",
            "-1",
            "+80",
            "80:",
            ":80",
            "80/sctp",
            "80/",
            "9000-8000",
            "1-2:3",
            "80-81+",
            "1+:1-2",
            "80:81+",
            "::1:80:80",
            "[127.0.0.1]:80:80",
            "example.com:80:80",
            "1:2:3",
            "127.0.0.1:1:2:3",
        ] {
            assert!(parse(text).is_err(), "{text}: {:?}", parse(text));
        }
    }
}
