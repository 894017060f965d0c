//! How a port is typed, for every command that is about one: `docs/cli.md` has the table.
//!
//! `PORT`, `HOST:PORT`, either with a protocol before or behind it, or a URL. What it means where it is typed is not
//! decided here: `why` looks at both protocols and everywhere, [`super::Place`] at one place; what is published may be several
//! ports (`src/publish/wish.rs`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

use wharf_port::Protocol;
use wharf_port::registry::{self, Transport};

use crate::daemon::names_port;
use crate::name::{ByName, by_name, is_label};

/// A port as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spelled {
    /// The text.
    pub(crate) typed: String,
    /// The protocol, if one was named; a URL's is TCP.
    pub(crate) protocol: Option<Protocol>,
    /// Where the port is.
    pub(crate) host: Host,
    /// `None` is port 0.
    pub(crate) port: Option<NonZeroU16>,
}

/// Where a port is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// None was named: here, at any address.
    Any,
    /// On the machine, whatever space this is: `host.internal`.
    Machine,
    /// Here, at this address.
    Address(IpAddr),
    /// Here, at 127.0.0.1 and ::1: `localhost`.
    Localhost,
    /// In this space: `NAME`, `NAME.internal`, `PORT.NAME.localhost`.
    Space(String),
    /// In the space of the current directory's project: `.`.
    Project,
    /// At the port of all spaces' web servers, for this one's: `NAME.localhost`.
    ByName(String),
}

/// The two addresses that `localhost` means.
pub(crate) const LOCALHOST: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// What every error ends with.
const WAYS: &str = "a port is typed as 3000, udp/53, 127.0.0.1:3000, [::1]:3000, shop:3000 (of the space shop), .:3000 (of this \
                    directory's space) or http://localhost:3000";

/// The text names no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unclear {
    /// There is no number where the port should be.
    #[error("there is no port in {0:?}; {WAYS}")]
    NoPort(String),
    /// It is a service's name.
    #[error("{name} is no port; `wharf service {name}` says which ports it has, {port} for one")]
    Service {
        /// The name.
        name: String,
        /// One of its ports.
        port: u16,
    },
    /// The number is too large.
    #[error("{0} is no port: the last one is 65535")]
    TooLarge(String),
    /// Port 0, where a port is wanted.
    #[error("port 0 is no port, so nothing can be there; `wharf why 0` says what it is for")]
    Zero,
    /// Neither `tcp` nor `udp` stands beside the slash.
    #[error("{0:?}: beside the slash stands tcp or udp, as in udp/53; {WAYS}")]
    NoProtocol(String),
    /// An IPv6 address without brackets.
    #[error("{0:?}: an IPv6 address stands in brackets, so that its end is seen, as in [::1]:3000")]
    Brackets(String),
    /// A host of which wharf knows nothing.
    #[error(
        "{0:?} is neither an address nor a space's name, and wharf knows only the ports of this machine; ask about an address, \
         a space or localhost"
    )]
    Foreign(String),
    /// A scheme without a port of its own.
    #[error("{scheme}:// has no port of its own; add one: {scheme}://{host}:PORT")]
    NoUsual {
        /// The scheme.
        scheme: String,
        /// What follows it.
        host: String,
    },
    /// `NAME.localhost` where one server is wanted.
    #[error(
        "{0}.localhost is the address of all web servers of space {0}; name one, by its port: 3000.{0}.localhost or {0}:3000"
    )]
    Several(String),
}

impl FromStr for Spelled {
    type Err = Unclear;

    fn from_str(typed: &str) -> Result<Self, Unclear> {
        read(typed, names_port())
    }
}

/// Reads it, if the web servers of all spaces share the port `names`.
fn read(typed: &str, names: Option<u16>) -> Result<Spelled, Unclear> {
    let (scheme, protocol, place) = match typed.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), Some(Protocol::Tcp), authority(rest)),
        None => {
            let (protocol, place) = split_protocol(typed)?;
            (None, protocol, place)
        }
    };
    let (host, port) = split_port(place, typed)?;
    if host.is_empty() && scheme.is_some() {
        return Err(Unclear::NoPort(typed.to_owned()));
    }
    let written = port.map(|port| number(port, typed)).transpose()?;
    let (host, implied) = match local_name(host) {
        // Only at this port the name says whose it is; elsewhere it is one more name of the machine's loopback.
        Some((name, inside)) if written.is_none_or(|port| port.map(NonZeroU16::get) == names) => {
            match (inside, scheme.is_some() && written.is_none()) {
                (_, true) => (Host::Localhost, None),
                (Some(inside), _) => (Host::Space(name), Some(inside)),
                (None, _) => (Host::ByName(name), names.and_then(NonZeroU16::new)),
            }
        }
        Some(_) => (Host::Localhost, None),
        None if scheme.is_none() && written.is_none() => return Err(portless(place, typed)),
        None => (meaning(host, scheme.is_some())?, None),
    };
    let port = match (implied, written, scheme) {
        (Some(implied), ..) => Some(implied),
        (None, Some(written), _) => written,
        (None, None, Some(scheme)) => Some(usual_port(scheme).ok_or_else(|| Unclear::NoUsual {
            scheme: scheme.to_owned(),
            host: place.to_owned(),
        })?),
        (None, None, None) => return Err(portless(place, typed)),
    };
    Ok(Spelled {
        typed: typed.to_owned(),
        protocol,
        host,
        port,
    })
}

/// The host and port of a URL, without its user.
fn authority(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, place)| place)
}

/// `tcp/…` or `…/tcp`.
pub(crate) fn split_protocol(typed: &str) -> Result<(Option<Protocol>, &str), Unclear> {
    let Some((before, after)) = typed.split_once('/') else {
        return Ok((None, typed));
    };
    match (before.parse(), after.parse()) {
        (Ok(protocol), _) => Ok((Some(protocol), after)),
        (_, Ok(protocol)) => Ok((Some(protocol), before)),
        _ => Err(Unclear::NoProtocol(typed.to_owned())),
    }
}

/// The host, and what stands behind the colon after it; digits alone are a port.
fn split_port<'a>(place: &'a str, typed: &str) -> Result<(&'a str, Option<&'a str>), Unclear> {
    if let Some((_, behind)) = place.split_once(']') {
        let host = &place[..place.len() - behind.len()];
        return match behind.strip_prefix(':') {
            _ if behind.is_empty() => Ok((host, None)),
            Some(port) => Ok((host, Some(port))),
            None => Err(Unclear::NoPort(typed.to_owned())),
        };
    }
    match place.rsplit_once(':') {
        Some((host, _)) if is_six(host) || is_six(place) => {
            Err(Unclear::Brackets(typed.to_owned()))
        }
        Some((host, port)) => Ok((host, Some(port))),
        None if place.bytes().all(|byte| byte.is_ascii_digit()) => Ok(("", Some(place))),
        None => Ok((place, None)),
    }
}

fn is_six(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

fn number(text: &str, typed: &str) -> Result<Option<NonZeroU16>, Unclear> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Unclear::NoPort(typed.to_owned()));
    }
    let number: u16 = text
        .parse()
        .map_err(|_| Unclear::TooLarge(text.to_owned()))?;
    Ok(NonZeroU16::new(number))
}

/// `NAME.localhost`, `PORT.NAME.localhost`.
fn local_name(host: &str) -> Option<(String, Option<NonZeroU16>)> {
    match by_name(host)? {
        ByName::Space { name, port } => Some((name, port.and_then(NonZeroU16::new))),
        ByName::Wharf | ByName::Page | ByName::NoSuchPort { .. } | ByName::Foreign => None,
    }
}

/// What stands before the colon; a URL's host is no bare name of a space, since no client would find that.
fn meaning(text: &str, of_url: bool) -> Result<Host, Unclear> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(text).parse::<IpAddr>() {
        let address = address.to_canonical();
        return Ok(match address.is_unspecified() {
            true => Host::Any,
            false => Host::Address(address),
        });
    }
    let name = match text {
        "." => ".".to_owned(),
        text => text.trim_end_matches('.').to_ascii_lowercase(),
    };
    let foreign = || Unclear::Foreign(text.to_owned());
    match name.as_str() {
        "" | "*" => Ok(Host::Any),
        "." if !of_url => Ok(Host::Project),
        "localhost" | "wharf.localhost" => Ok(Host::Localhost),
        "host.internal" | "gateway.internal" => Ok(Host::Machine),
        name => match name.strip_suffix(".internal") {
            // Everything below a space's name is the space.
            Some(inner) => inner.rsplit('.').next().filter(|label| is_label(label)),
            None => Some(name).filter(|name| !of_url && is_label(name)),
        }
        .map(|label| Host::Space(label.to_owned()))
        .ok_or_else(foreign),
    }
}

/// What a host means that stands before ports which are more than one; `None` if it isn't one but ports, in digits, or
/// the beginning of an IPv6 address.
///
/// # Errors
/// When wharf knows nothing of it.
pub(crate) fn host(text: &str) -> Result<Option<Host>, Unclear> {
    let is_name =
        text.is_empty() || text == "." || text.bytes().any(|byte| byte.is_ascii_alphabetic());
    match is_name && !text.starts_with('[') {
        true => meaning(text, false).map(Some),
        false => Ok(None),
    }
}

/// The port that a scheme stands for: by common name, else by IANA's.
fn usual_port(scheme: &str) -> Option<NonZeroU16> {
    let port = match scheme.to_ascii_lowercase().as_str() {
        "ws" => Some(80),
        "wss" => Some(443),
        "postgres" => Some(5432),
        "mongodb" => Some(27017),
        scheme => service_port(scheme),
    };
    NonZeroU16::new(port?)
}

fn service_port(name: &str) -> Option<u16> {
    registry::ports(name)
        .find(|(_, transport)| *transport == Transport::Tcp)
        .map(|(port, _)| port.number())
}

/// Why a text without a port is none.
fn portless(place: &str, typed: &str) -> Unclear {
    match service_port(place) {
        Some(port) => Unclear::Service {
            name: place.to_owned(),
            port,
        },
        None => Unclear::NoPort(typed.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(typed: &str) -> (Option<Protocol>, Host, u16) {
        let spelled = read(typed, Some(7070)).unwrap_or_else(|error| panic!("{typed}: {error}"));
        assert_eq!(spelled.typed, typed);
        (
            spelled.protocol,
            spelled.host,
            spelled.port.map_or(0, NonZeroU16::get),
        )
    }

    #[test]
    fn every_way_to_type_a_port_is_understood() {
        let address = |text: &str| Host::Address(text.parse().unwrap());
        let (tcp, udp) = (Some(Protocol::Tcp), Some(Protocol::Udp));
        let shop = || Host::Space("shop".into());
        let cases = [
            ("3000", (None, Host::Any, 3000)),
            (":3000", (None, Host::Any, 3000)),
            ("tcp/3000", (tcp, Host::Any, 3000)),
            ("3000/udp", (udp, Host::Any, 3000)),
            ("UDP/:53", (udp, Host::Any, 53)),
            ("127.0.0.1:3000", (None, address("127.0.0.1"), 3000)),
            ("tcp/127.0.0.1:3000", (tcp, address("127.0.0.1"), 3000)),
            ("127.0.0.1:3000/TCP", (tcp, address("127.0.0.1"), 3000)),
            ("[::1]:3000", (None, address("::1"), 3000)),
            ("udp/[::1]:53", (udp, address("::1"), 53)),
            ("[::ffff:127.0.0.1]:80", (None, address("127.0.0.1"), 80)),
            ("0.0.0.0:80", (None, Host::Any, 80)),
            ("[::]:80", (None, Host::Any, 80)),
            ("*:80", (None, Host::Any, 80)),
            ("localhost:3000", (None, Host::Localhost, 3000)),
            ("LocalHost.:3000", (None, Host::Localhost, 3000)),
            ("host.internal:3000", (None, Host::Machine, 3000)),
            ("shop:5432", (None, shop(), 5432)),
            ("udp/shop:53", (udp, shop(), 53)),
            ("shop.internal:5432", (None, shop(), 5432)),
            ("api.shop.internal:5432", (None, shop(), 5432)),
            ("2024:5432", (None, Host::Space("2024".into()), 5432)),
            (".:3000", (None, Host::Project, 3000)),
            ("udp/.:53", (udp, Host::Project, 53)),
            ("0", (None, Host::Any, 0)),
            ("udp/0", (udp, Host::Any, 0)),
        ];
        for (typed, expected) in cases {
            assert_eq!(parsed(typed), expected, "{typed}");
        }
    }

    #[test]
    fn urls_are_understood_and_names_below_localhost_mean_spaces() {
        let address = |text: &str| Host::Address(text.parse().unwrap());
        let (shop, by_name) = (Host::Space("shop".into()), Host::ByName("shop".into()));
        let tcp = Some(Protocol::Tcp);
        let cases = [
            ("http://localhost:3000/cart?x=1", Host::Localhost, 3000),
            ("http://127.0.0.1/", address("127.0.0.1"), 80),
            ("https://[::1]/a:b@c", address("::1"), 443),
            ("postgres://me:secret@localhost/shop", Host::Localhost, 5432),
            ("redis://localhost", Host::Localhost, 6379),
            ("ws://localhost:24678#x", Host::Localhost, 24678),
            ("http://shop.internal:8000/", shop.clone(), 8000),
            ("http://3000.shop.localhost:7070/", shop.clone(), 3000),
            ("http://api.3000.shop.localhost:7070/", shop.clone(), 3000),
            ("http://shop.localhost:7070/", by_name.clone(), 7070),
            // Not wharf's port: who has this one is all that counts.
            ("http://shop.localhost:3000/", Host::Localhost, 3000),
            ("http://shop.localhost/", Host::Localhost, 80),
        ];
        for (typed, host, port) in cases {
            assert_eq!(parsed(typed), (tcp, host, port), "{typed}");
        }
        for (typed, host, port) in [
            ("3000.shop.localhost", shop.clone(), 3000),
            ("3000.shop.localhost:7070", shop, 3000),
            ("shop.localhost:7070", by_name.clone(), 7070),
            ("shop.localhost", by_name, 7070),
            ("shop.localhost:3000", Host::Localhost, 3000),
        ] {
            assert_eq!(parsed(typed), (None, host, port), "{typed}");
        }
    }

    #[test]
    fn what_is_no_port_is_refused_with_what_to_type() {
        for (typed, hint) in [
            ("", "no port in"),
            ("x", "no port in"),
            ("postgresql", "wharf service postgresql"),
            ("shop:", "no port in"),
            ("-1", "no port in"),
            ("3000 ", "no port in"),
            ("65536", "65535"),
            ("http://localhost:99999", "65535"),
            ("tcp/", "no port in"),
            ("sctp/80", "tcp or udp"),
            ("3000/http", "tcp or udp"),
            ("127.0.0.1", "no port in"),
            ("[::1]", "no port in"),
            ("[::1]3000", "no port in"),
            ("127.0.0.1:", "no port in"),
            ("::1", "brackets"),
            ("::1:80", "brackets"),
            ("http://::1/", "brackets"),
            ("1:2:3", "neither an address nor a space"),
            ("My Shop:80", "neither an address nor a space"),
            ("http://example.com/", "only the ports of this machine"),
            ("http://shop:3000/", "neither an address nor a space"),
            ("nothing://localhost", "nothing://localhost:PORT"),
            ("http://", "no port in"),
            ("http://:80", "no port in"),
            ("0.shop.localhost", "no"),
        ] {
            let error = read(typed, Some(7070)).expect_err(typed).to_string();
            assert!(error.contains(hint), "{typed}: {error}");
        }
    }

    #[test]
    fn without_a_port_of_names_no_name_is_a_space_s() {
        let spelled = read("http://3000.shop.localhost:7070/", None).unwrap();
        assert_eq!(spelled.host, Host::Localhost);
        assert!(read("shop.localhost", None).is_err());
    }
}
