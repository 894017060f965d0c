//! Which header fields go on to the other side: hop-by-hop ones stay, forged ones are replaced.
//!
//! RFC 9110 §7.6 (forwarding), RFC 7239 (Forwarded), RFC 9113 §8.2 (what HTTP/2 forbids).

use std::borrow::Cow;
use std::net::IpAddr;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use hyper::{Version, header};

use super::Scheme;

/// Fields that concern one connection only, beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    header::TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// `Connection` may name any field, but these decide whom a message is for and where it ends.
const NEVER_HOP_BY_HOP: [HeaderName; 2] = [HOST, CONTENT_LENGTH];

/// How often a request may pass this front before it is taken for a loop. More than once is
/// legitimate: a server in one space may pass it on to another by name.
const PASSES_MAX: usize = 8;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Bytes that are enough for most values of `Forwarded`.
const FORWARDED_USUAL: usize = 96;

/// How this front calls itself in `Via`.
const PSEUDONYM: &str = "wharf";

/// What the hop-by-hop fields asked for, once they are removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hop {
    /// The protocols of `Upgrade`, if `Connection` says that it is meant. Never `h2c`: RFC 9113
    /// §3.1 gave that up.
    pub(super) upgrade: Option<HeaderValue>,
    /// Whether trailers are welcome.
    pub(super) trailers: bool,
}

/// Removes the hop-by-hop fields and says what they asked for.
pub(super) fn strip(headers: &mut HeaderMap) -> Hop {
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .collect();
    let hop = Hop {
        upgrade: named
            .contains(&UPGRADE)
            .then(|| headers.get(UPGRADE).cloned())
            .flatten()
            .filter(|protocols| !protocols.as_bytes().eq_ignore_ascii_case(b"h2c")),
        trailers: tokens(headers, &header::TE).any(|t| t.eq_ignore_ascii_case("trailers")),
    };
    for name in named.iter().filter(|name| !NEVER_HOP_BY_HOP.contains(name)) {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    hop
}

/// The comma-separated elements of a field.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Whether a message's transfer coding is one that survives being taken off and put on again: none,
/// or exactly `chunked`. Anything else would lose a coding, or is an attempt to have two servers
/// read two different messages.
pub(super) fn plain_coding(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// Whether a request has passed here so often that it must be going round in a circle.
pub(super) fn loops(headers: &HeaderMap) -> bool {
    let passes = tokens(headers, &VIA).filter(|via| via.split(' ').nth(1) == Some(PSEUDONYM));
    passes.count() >= PASSES_MAX
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    pub(super) client: IpAddr,
    /// The name that was asked for, with the machine's port.
    pub(super) host: &'a HeaderValue,
    pub(super) scheme: Scheme,
}

/// Replaces what a request says about where it comes from. Whatever the client claimed is gone: the
/// front is the first hop that a server may believe.
pub(super) fn forward(headers: &mut HeaderMap, origin: &Origin<'_>, version: Version) {
    let Origin {
        client,
        host,
        scheme,
    } = origin;
    let forged: Vec<HeaderName> = headers.keys().filter(|n| is_forged(n)).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
    let client = client.to_canonical();
    let address = client.to_string();
    let scheme = scheme.as_str();
    let mut forwarded = Vec::with_capacity(FORWARDED_USUAL);
    // RFC 7239 §6: an IPv6 address is in brackets, therefore quoted.
    let (open, close) = if client.is_ipv6() {
        ("\"[", "]\"")
    } else {
        ("", "")
    };
    for part in ["for=", open, &address, close, ";host=\""] {
        forwarded.extend_from_slice(part.as_bytes());
    }
    forwarded.extend_from_slice(host.as_bytes());
    for part in ["\";proto=", scheme] {
        forwarded.extend_from_slice(part.as_bytes());
    }
    let ascii = "an authority and an address are ASCII";
    let forwarded = HeaderValue::try_from(forwarded).expect(ascii);
    let address = HeaderValue::try_from(address).expect(ascii);
    let via = match version {
        Version::HTTP_2 => HeaderValue::from_static("2 wharf"),
        _ => HeaderValue::from_static("1.1 wharf"),
    };
    headers.reserve(6);
    headers.insert(FORWARDED, forwarded);
    headers.insert(X_FORWARDED_FOR, address.clone());
    headers.insert(X_REAL_IP, address);
    headers.insert(X_FORWARDED_HOST, HeaderValue::clone(host));
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    headers.append(VIA, via);
}

/// Whether a field speaks about the way that a request took. Gateway interfaces such as WSGI read
/// `_` and `-` alike, so a name with underscores could pass for one of these, or for one that
/// frames the message.
fn is_forged(name: &HeaderName) -> bool {
    let name = name.as_str();
    let plain = match name.contains('_') {
        true => Cow::Owned(name.replace('_', "-")),
        false => Cow::Borrowed(name),
    };
    let origin = plain == "forwarded" || plain == "x-real-ip" || plain.starts_with("x-forwarded-");
    let framing = plain == "host" || plain == "content-length" || plain == "transfer-encoding";
    origin || (framing && plain != name)
}

/// Joins cookies that HTTP/2 may have split (RFC 9113 §8.2.3); HTTP/1.1 allows one field only.
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(|c| c.as_bytes())
        .collect();
    let whole = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
        .expect("valid values joined by valid bytes are valid");
    headers.insert(COOKIE, whole);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        headers
    }

    #[test]
    fn hop_by_hop_fields_stay_behind() {
        let mut headers = map(&[
            ("connection", "X-Mine, keep-alive, host, Content-Length"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip;q=0.5, trailers"),
            ("transfer-encoding", "chunked"),
            ("proxy-connection", "close"),
            ("upgrade", "websocket"),
            ("host", "shop.localhost"),
            ("content-length", "3"),
            ("trailer", "x-sum"),
        ]);
        let hop = strip(&mut headers);
        assert!(hop.trailers);
        assert_eq!(hop.upgrade, None, "Connection did not name it");
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host", "trailer"]);
    }

    #[test]
    fn an_upgrade_is_understood_unless_it_is_to_http2() {
        let mut headers = map(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ]);
        assert_eq!(strip(&mut headers).upgrade.unwrap(), "websocket");
        let mut headers = map(&[
            ("connection", "upgrade, http2-settings"),
            ("upgrade", "H2C"),
        ]);
        assert_eq!(strip(&mut headers), Hop::default());
    }

    #[test]
    fn only_chunked_survives_a_hop() {
        assert!(plain_coding(&map(&[])));
        assert!(plain_coding(&map(&[("transfer-encoding", "Chunked")])));
        assert!(!plain_coding(&map(&[(
            "transfer-encoding",
            "gzip, chunked"
        )])));
        let twice = [
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ];
        assert!(!plain_coding(&map(&twice)));
    }

    #[test]
    fn forged_origins_are_replaced() {
        let mut headers = map(&[
            ("x-forwarded-for", "6.6.6.6"),
            ("X_Forwarded_Host", "evil"),
            ("x-forwarded-prefix", "/evil"),
            ("forwarded", "for=6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("content_length", "7"),
            ("x_mine", "1"),
        ]);
        let origin = Origin {
            client: IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()),
            host: &HeaderValue::from_static("shop.localhost:7070"),
            scheme: Scheme::Http,
        };
        forward(&mut headers, &origin, Version::HTTP_11);
        let expected = map(&[
            ("x_mine", "1"),
            (
                "forwarded",
                "for=127.0.0.1;host=\"shop.localhost:7070\";proto=http",
            ),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-real-ip", "127.0.0.1"),
            ("x-forwarded-host", "shop.localhost:7070"),
            ("x-forwarded-proto", "http"),
            ("via", "1.1 wharf"),
        ]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn an_ipv6_client_is_quoted() {
        let mut headers = HeaderMap::new();
        let origin = Origin {
            client: Ipv6Addr::LOCALHOST.into(),
            host: &HeaderValue::from_static("a.localhost"),
            scheme: Scheme::Https,
        };
        forward(&mut headers, &origin, Version::HTTP_2);
        assert_eq!(
            headers[FORWARDED],
            "for=\"[::1]\";host=\"a.localhost\";proto=https"
        );
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-for"], "::1");
        assert_eq!(headers[VIA], "2 wharf");
    }

    #[test]
    fn a_request_that_comes_back_too_often_loops() {
        assert!(!loops(&map(&[("via", "1.1 other, 1.1 wharf")])));
        assert!(loops(&map(&[(
            "via",
            ["1.1 wharf"; 8].join(", ").as_str()
        )])));
    }

    #[test]
    fn cookies_are_joined() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2; c=3")]);
        join_cookies(&mut headers);
        assert_eq!(headers, map(&[("cookie", "a=1; b=2; c=3")]));
    }
}
