//! Whom a request is for: from `Host` or `:authority` to a space and perhaps a port.

use std::net::IpAddr;

use hyper::http::uri::Authority;

/// The place that a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// wharf itself: the page of what there is.
    Wharf,
    /// `wharf.localhost`: wharf's own page.
    Page,
    /// A space, if there is one of this name (in lower case).
    Space {
        /// The label left of `.localhost`.
        name: String,
        /// The label left of that, if it is a number.
        port: Option<u16>,
    },
    /// `PORT.NAME.localhost` with a number that no port has, such as 0 or 70000.
    NoSuchPort {
        /// The number as it was written.
        number: String,
    },
    /// A name that isn't ours to answer.
    Foreign,
}

/// Reads a name, with or without the port of the machine. `None` if it is no authority at all, or
/// names a user (RFC 9110 §4.2.4).
pub(crate) fn place(authority: &str) -> Option<Place> {
    if authority.contains('@') {
        return None;
    }
    let host = Authority::try_from(authority).ok()?;
    let host = host.host().to_ascii_lowercase();
    if let Some(address) = address(&host) {
        let own = address.to_canonical().is_loopback();
        return Some(if own { Place::Wharf } else { Place::Foreign });
    }
    let name = host.strip_suffix('.').unwrap_or(&host);
    if name.split('.').any(str::is_empty) {
        return None;
    }
    match name.strip_suffix(".localhost") {
        None if name == "localhost" => Some(Place::Wharf),
        None => Some(Place::Foreign),
        Some("wharf") => Some(Place::Page),
        Some(labels) => Some(space(labels)),
    }
}

/// Reads what stands left of `.localhost`, from right to left.
fn space(labels: &str) -> Place {
    let mut labels = labels.rsplit('.');
    let name = labels.next().unwrap_or_default().to_owned();
    let number = labels
        .next()
        .filter(|label| label.bytes().all(|b| b.is_ascii_digit()));
    let Some(number) = number else {
        return Place::Space { name, port: None };
    };
    match number.parse() {
        Ok(port) if port != 0 => Place::Space {
            name,
            port: Some(port),
        },
        _ => Place::NoSuchPort {
            number: number.to_owned(),
        },
    }
}

/// An address as it stands in an authority: IPv6 in brackets.
fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(name: &str, port: impl Into<Option<u16>>) -> Option<Place> {
        let name = name.to_owned();
        let port = port.into();
        Some(Place::Space { name, port })
    }

    #[test]
    fn names_mean_places() {
        let no_port = |number: &str| {
            let number = number.to_owned();
            Some(Place::NoSuchPort { number })
        };
        let cases = [
            ("shop.localhost", space("shop", None)),
            ("shop.localhost:7070", space("shop", None)),
            ("SHOP.LocalHost.:7070", space("shop", None)),
            ("3000.shop.localhost:7070", space("shop", 3000)),
            ("tenant.shop.localhost", space("shop", None)),
            ("tenant.3000.shop.localhost", space("shop", 3000)),
            ("3000.tenant.shop.localhost", space("shop", None)),
            ("3000.localhost", space("3000", None)),
            ("80.2024.localhost", space("2024", 80)),
            ("0.shop.localhost", no_port("0")),
            ("70000.shop.localhost", no_port("70000")),
            ("localhost", Some(Place::Wharf)),
            ("wharf.localhost:7070", Some(Place::Page)),
            ("127.0.0.1:7070", Some(Place::Wharf)),
            ("127.77.3.2", Some(Place::Wharf)),
            ("[::1]:7070", Some(Place::Wharf)),
            ("[::ffff:127.0.0.1]", Some(Place::Wharf)),
            ("192.0.2.1:7070", Some(Place::Foreign)),
            ("example.com", Some(Place::Foreign)),
            ("shop.localhost.example.com", Some(Place::Foreign)),
            ("notlocalhost", Some(Place::Foreign)),
            (".localhost", None),
            ("a..localhost", None),
            ("", None),
            ("user@shop.localhost", None),
            ("shop localhost", None),
        ];
        for (name, expected) in cases {
            assert_eq!(place(name), expected, "{name:?}");
        }
    }
}
