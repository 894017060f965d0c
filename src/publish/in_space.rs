//! Ports of a space, as they are typed to be reached from the machine: [`spelling`] reads which space, as for every command.
//!
//! A port alone is one of this directory's space: what is published, or connected to, is always in some space. An address is the
//! machine's, where a port is published; digits before a colon are the machine's port.

use std::num::NonZeroU16;
use std::str::FromStr;

use super::wish::Wishes;
use crate::list::Protocol;
use crate::place::spelling::{self, Host, Spelled, Unclear, split_protocol};
use crate::place::{Place, Where};

/// A space, this directory's if none is named, and ports of it.
#[derive(Debug, Clone)]
pub(crate) struct InSpace<T> {
    pub(super) space: Option<String>,
    pub(super) what: T,
}

impl<T: TryFrom<Wishes, Error: Into<Wrong>>> FromStr for InSpace<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (space, wishes) = read(text)?;
        let what = T::try_from(wishes).map_err(|error| error.into().0)?;
        Ok(Self { space, what })
    }
}

/// Why the ports can't be meant.
#[derive(Debug)]
pub(crate) struct Wrong(String);

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self(why)
    }
}

impl From<std::convert::Infallible> for Wrong {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

fn read(text: &str) -> Result<(Option<String>, Wishes), String> {
    let said = |unclear: Unclear| unclear.to_string();
    if text.contains("://") || text.contains(".localhost") {
        return one(text.parse().map_err(said)?);
    }
    let (protocol, place) = split_protocol(text).map_err(said)?;
    let (head, behind) = place.split_once(':').unwrap_or(("", place));
    let (space, ports) = match spelling::host(head).map_err(said)? {
        Some(Host::Space(name)) => (Some(name), behind),
        Some(Host::Machine) => return Err(no_spaces(text)),
        Some(Host::Any | Host::Project) => (None, behind),
        Some(Host::Address(_) | Host::Localhost | Host::ByName(_)) | None => (None, place),
    };
    let wishes = Wishes::read(ports, protocol.unwrap_or(Protocol::Tcp))?;
    Ok((space, wishes))
}

/// What a URL, or a name of a space, means.
fn one(spelled: Spelled) -> Result<(Option<String>, Wishes), String> {
    let space = match spelled.host {
        Host::Space(name) => name,
        Host::ByName(name) => return Err(Unclear::Several(name).to_string()),
        _ => return Err(no_spaces(&spelled.typed)),
    };
    let port = spelled.port.ok_or_else(|| Unclear::Zero.to_string())?;
    let protocol = spelled.protocol.unwrap_or(Protocol::Tcp);
    Ok((Some(space), Wishes::one(port, protocol)))
}

fn no_spaces(typed: &str) -> String {
    format!(
        "{typed} is no space's port: 3000 and .:3000 are of this directory's, shop:3000 and http://3000.shop.localhost:7070 of \
         the space shop"
    )
}

/// The space, this directory's if none is named, and the port of TCP, to be connected to.
pub(super) fn port_of_space(place: &Place) -> Result<(Option<String>, NonZeroU16), String> {
    let space = match &place.within {
        Where::Here | Where::Project if place.addresses.is_empty() => None,
        Where::Space(name) => Some(name.clone()),
        Where::Here | Where::Project | Where::Machine => {
            return Err(no_spaces(&place.typed()));
        }
    };
    if place.protocol != Protocol::Tcp {
        return Err(format!(
            "{} is of UDP, which has no connections",
            place.typed()
        ));
    }
    let port = NonZeroU16::new(place.port.number()).expect("a port is never 0");
    Ok((space, port))
}

#[cfg(test)]
mod tests {
    use super::super::wish::Named;
    use super::*;

    fn space_of(text: &str) -> Result<Option<String>, String> {
        text.parse::<InSpace<Named>>().map(|read| read.space)
    }

    #[test]
    fn a_space_is_named_as_everywhere() {
        for text in [
            "shop:3000",
            "shop.internal:3000",
            "api.shop.internal:3000",
            "Shop:3000",
            "tcp/shop:3000",
            "udp/shop:53",
            "shop:53/udp",
            "shop:127.0.0.1:3000",
            "3000.shop.localhost",
        ] {
            assert_eq!(space_of(text), Ok(Some("shop".to_owned())), "{text}");
        }
        for text in [
            "3000",
            ":3000",
            ".:3000",
            "udp/.:53",
            "tcp/3000",
            "127.0.0.1:3000",
            "localhost:3000",
            "[::1]:3000",
        ] {
            assert_eq!(space_of(text), Ok(None), "{text}");
        }
        let wishes = |text: &str| {
            let read: InSpace<Wishes> = text.parse().unwrap();
            (read.space, read.what)
        };
        let bare = |text: &str| text.parse::<Wishes>().unwrap();
        for (text, rest) in [
            ("8080:80", "8080:80"),
            ("8000-8001:90-91", "8000-8001:90-91"),
            (".:8080:80", "8080:80"),
            ("udp/.:9000+:53", "9000+:53/udp"),
        ] {
            assert_eq!(wishes(text), (None, bare(rest)), "{text}");
        }
    }

    #[test]
    fn what_names_no_space_s_port_is_refused() {
        for (text, hint) in [
            ("http://localhost:3000/", "no space's"),
            ("host.internal:3000", "no space's"),
            ("example.com:3000", "neither an address nor a space"),
            ("shop:", "no port"),
            ("shop:http", "no port"),
            ("sctp/shop:80", "tcp or udp"),
            ("8080:80", "not one published port"),
        ] {
            let error = space_of(text).expect_err(text);
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn only_a_space_s_port_of_tcp_is_connected_to() {
        let port = |text: &str| port_of_space(&text.parse().unwrap());
        let number = |port: u16| NonZeroU16::new(port).unwrap();
        assert_eq!(port("tcp/22"), Ok((None, number(22))));
        assert_eq!(port(".:22"), Ok((None, number(22))));
        assert_eq!(port("box:22"), Ok((Some("box".into()), number(22))));
        for text in [
            "udp/box:53",
            "127.0.0.1:22",
            "localhost:22",
            "host.internal:22",
        ] {
            assert!(port(text).is_err(), "{text}");
        }
    }
}
