//! Which requests may ask for more than the page's own files: those of the page itself, with the key.
//!
//! Whoever guards a server of the machine guards it against web pages: any site may have a browser send requests to
//! loopback. The name (`wharf.localhost`, which no foreign name server can claim) was looked at before; here come the marks
//! that browsers put on requests and no page can change, and the key, which no browser sends by itself.
//!
//! To have read: Fetch Metadata Request Headers (W3C), RFC 6454 §7 (`Origin`), RFC 6750 §2.1 (`Bearer`).

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, ORIGIN};
use hyper::http::uri::Authority;

/// What a browser says about where a request comes from.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether the request is the page's own, as far as a browser can tell; what isn't a browser has nothing to tell.
pub(crate) fn is_own(headers: &HeaderMap, authority: &Authority) -> bool {
    let site_is_own = headers
        .get_all(SEC_FETCH_SITE)
        .iter()
        .all(|site| site.as_bytes() == b"same-origin");
    let origin_is_own = headers.get_all(ORIGIN).iter().all(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        let name = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        name.is_some_and(|name| name.eq_ignore_ascii_case(authority.as_str()))
    });
    site_is_own && origin_is_own
}

/// The key, or ticket, that the request has.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, key) = only.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(key.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_the_page_itself_may_ask() {
        let authority = Authority::from_static("wharf.localhost:7070");
        for (own, marks) in [
            (true, &[][..]),
            (true, &[("origin", "http://wharf.localhost:7070")]),
            (true, &[("origin", "https://wharf.localhost:7070")]),
            (
                true,
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "http://Wharf.localhost:7070"),
                ],
            ),
            (false, &[("origin", "null")]),
            (false, &[("origin", "http://shop.localhost:7070")]),
            (false, &[("origin", "http://wharf.localhost")]),
            (false, &[("origin", "http://wharf.localhost:7071")]),
            (
                false,
                &[("origin", "http://wharf.localhost:7070.example.com")],
            ),
            (false, &[("sec-fetch-site", "same-site")]),
            (false, &[("sec-fetch-site", "cross-site")]),
            (false, &[("sec-fetch-site", "none")]),
            (
                false,
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "http://example.com"),
                ],
            ),
            (
                false,
                &[
                    ("origin", "http://wharf.localhost:7070"),
                    ("origin", "http://example.com"),
                ],
            ),
        ] {
            assert_eq!(is_own(&headers(marks), &authority), own, "{marks:?}");
        }
    }

    #[test]
    fn the_key_is_read_from_one_field() {
        for (key, fields) in [
            (Some("abc"), &[("authorization", "Bearer abc")][..]),
            (Some("abc"), &[("authorization", "bearer  abc")]),
            (None, &[]),
            (None, &[("authorization", "Basic abc")]),
            (None, &[("authorization", "abc")]),
            (
                None,
                &[
                    ("authorization", "Bearer abc"),
                    ("authorization", "Bearer abc"),
                ],
            ),
        ] {
            assert_eq!(bearer(&headers(fields)), key, "{fields:?}");
        }
    }
}
