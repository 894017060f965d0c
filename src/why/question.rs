//! What was asked: a port, with or without a protocol and an address, or a URL.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use wharf_port::registry::{self, Transport};
use wharf_port::{Port, Protocol};

use crate::failure::{Failure, status};

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// Only under this protocol.
    pub(super) protocol: Option<Protocol>,
    /// At which addresses.
    pub(super) host: Host,
    /// `None` is port 0.
    pub(super) port: Option<NonZeroU16>,
    /// As it was typed.
    pub(super) typed: String,
}

/// Where the port is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// At any address.
    Any,
    /// At this one.
    Address(IpAddr),
    /// At 127.0.0.1 and ::1: `localhost`.
    Localhost,
    /// In this space: `NAME.internal`.
    Space(String),
    /// At the port of all spaces' web servers, for this one's: `NAME.localhost`.
    ByName(String),
}

impl Asked {
    /// Reads `3000`, `:3000`, `tcp/3000`, `3000/udp`, `127.0.0.1:3000`, `[::1]:3000`, `localhost:3000`, `tcp/ADDRESS:PORT`, URLs.
    pub(super) fn parse(typed: &str) -> Result<Self, Failure> {
        let (protocol, place) = match typed.split_once("://") {
            Some((scheme, rest)) => return url(typed, scheme, rest),
            None => split_protocol(typed)?,
        };
        let (host, port) = split_port(place);
        let port = port.ok_or_else(|| not_understood(typed))?;
        Ok(Self {
            protocol,
            host: self::host(host, typed)?,
            port: number(port, typed)?,
            typed: typed.to_owned(),
        })
    }
}

/// The two addresses that `localhost` means.
pub(super) const LOCALHOST: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// `SCHEME://[USER@]HOST[:PORT][/…]`; the port is the scheme's own if none is named.
fn url(typed: &str, scheme: &str, rest: &str) -> Result<Asked, Failure> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let place = authority
        .rsplit_once('@')
        .map_or(authority, |(_, place)| place);
    let (host, port) = match place.parse::<IpAddr>() {
        Ok(_) => (place, None),
        Err(_) if place.ends_with(']') || !place.contains(':') => (place, None),
        Err(_) => split_port(place),
    };
    let port = match port {
        Some(port) => number(port, typed)?,
        None => Some(usual_port(scheme).ok_or_else(|| not_understood(typed))?),
    };
    if host.is_empty() {
        return Err(not_understood(typed));
    }
    Ok(Asked {
        protocol: Some(Protocol::Tcp),
        host: self::host(host, typed)?,
        port,
        typed: typed.to_owned(),
    })
}

/// The port that a scheme stands for: by common name, else by IANA's.
fn usual_port(scheme: &str) -> Option<NonZeroU16> {
    let port = match scheme.to_ascii_lowercase().as_str() {
        "ws" => Some(80),
        "wss" => Some(443),
        "postgres" => Some(5432),
        "mongodb" => Some(27017),
        scheme => registry::ports(scheme)
            .find(|(_, transport)| *transport == Transport::Tcp)
            .map(|(port, _)| port.number()),
    };
    NonZeroU16::new(port?)
}

/// `tcp/…` or `…/tcp`.
fn split_protocol(typed: &str) -> Result<(Option<Protocol>, &str), Failure> {
    let Some((before, after)) = typed.split_once('/') else {
        return Ok((None, typed));
    };
    match (before.parse(), after.parse()) {
        (Ok(protocol), _) => Ok((Some(protocol), after)),
        (_, Ok(protocol)) => Ok((Some(protocol), before)),
        _ => Err(not_understood(typed)),
    }
}

/// What stands before the last colon, and behind it; a text without a colon is a port.
fn split_port(place: &str) -> (&str, Option<&str>) {
    match place.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => ("", Some(place)),
    }
}

fn host(text: &str, typed: &str) -> Result<Host, Failure> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let text = bare.unwrap_or(text);
    if let Ok(address) = text.parse::<IpAddr>() {
        let address = address.to_canonical();
        return Ok(match address.is_unspecified() {
            true => Host::Any,
            false => Host::Address(address),
        });
    }
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let space = |rest: &str| rest.rsplit('.').next().unwrap_or_default().to_owned();
    match name.as_str() {
        "" | "*" => Ok(Host::Any),
        "localhost" => Ok(Host::Localhost),
        "host.internal" => Ok(Host::Any),
        name => match (
            name.strip_suffix(".localhost"),
            name.strip_suffix(".internal"),
        ) {
            (Some(rest), _) => Ok(Host::ByName(space(rest))),
            (_, Some(rest)) => Ok(Host::Space(space(rest))),
            _ => Err(Failure {
                message: format!(
                    "{text} is not an address of this machine, and wharf knows only this machine's ports; \
                     ask about an address or about localhost instead of {typed}"
                ),
                status: status::USAGE,
            }),
        },
    }
}

fn number(text: &str, typed: &str) -> Result<Option<NonZeroU16>, Failure> {
    if !text.is_empty() && text.bytes().all(|byte| byte == b'0') {
        return Ok(None);
    }
    let port: Port = text.parse().map_err(|_| not_understood(typed))?;
    Ok(NonZeroU16::new(port.number()))
}

fn not_understood(typed: &str) -> Failure {
    Failure {
        message: format!(
            "{typed} is no port (1 to 65535), nor a port with an address or protocol: \
             3000, tcp/3000, 127.0.0.1:3000, [::1]:3000, http://localhost:3000"
        ),
        status: status::USAGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(typed: &str) -> (Option<Protocol>, Host, u16) {
        let asked = Asked::parse(typed).unwrap_or_else(|error| panic!("{typed}: {error}"));
        (
            asked.protocol,
            asked.host,
            asked.port.map_or(0, NonZeroU16::get),
        )
    }

    #[test]
    fn every_way_to_ask_is_understood() {
        let address = |text: &str| Host::Address(text.parse().unwrap());
        let (tcp, udp) = (Some(Protocol::Tcp), Some(Protocol::Udp));
        let cases = [
            ("3000", (None, Host::Any, 3000)),
            (":3000", (None, Host::Any, 3000)),
            ("tcp/3000", (tcp, Host::Any, 3000)),
            ("3000/udp", (udp, Host::Any, 3000)),
            ("UDP/:53", (udp, Host::Any, 53)),
            ("127.0.0.1:3000", (None, address("127.0.0.1"), 3000)),
            ("tcp/127.0.0.1:3000", (tcp, address("127.0.0.1"), 3000)),
            ("[::1]:3000", (None, address("::1"), 3000)),
            ("udp/[::1]:53", (udp, address("::1"), 53)),
            ("[::ffff:127.0.0.1]:80", (None, address("127.0.0.1"), 80)),
            ("0.0.0.0:80", (None, Host::Any, 80)),
            ("*:80", (None, Host::Any, 80)),
            ("localhost:3000", (None, Host::Localhost, 3000)),
            (
                "shop.internal:5432",
                (None, Host::Space("shop".into()), 5432),
            ),
            (
                "http://localhost:3000/cart?x=1",
                (tcp, Host::Localhost, 3000),
            ),
            ("http://127.0.0.1/", (tcp, address("127.0.0.1"), 80)),
            ("https://[::1]/a:b@c", (tcp, address("::1"), 443)),
            (
                "postgres://me:secret@localhost/shop",
                (tcp, Host::Localhost, 5432),
            ),
            ("redis://localhost", (tcp, Host::Localhost, 6379)),
            ("ws://localhost:24678#x", (tcp, Host::Localhost, 24678)),
            (
                "http://3000.shop.localhost:7070/",
                (tcp, Host::ByName("shop".into()), 7070),
            ),
            ("0", (None, Host::Any, 0)),
            ("udp/0", (udp, Host::Any, 0)),
        ];
        for (typed, expected) in cases {
            assert_eq!(parsed(typed), expected, "{typed}");
        }
    }

    #[test]
    fn what_is_no_port_is_refused_with_examples() {
        for typed in [
            "",
            "x",
            "65536",
            "-1",
            "tcp/",
            "tcp/x",
            "sctp/80",
            "127.0.0.1",
            "::1",
            "[::1]",
            "127.0.0.1:",
            "1:2:3",
            "3000 ",
            "nothing://localhost",
            "http://",
            "http://:80",
            "http://localhost:99999",
        ] {
            let error = Asked::parse(typed).expect_err(typed);
            assert_eq!(error.status, status::USAGE, "{typed}");
        }
        let error = Asked::parse("http://example.com/").unwrap_err();
        assert!(
            error
                .message
                .contains("example.com is not an address of this machine")
        );
    }
}
