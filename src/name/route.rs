//! Which of a space's listeners answers to the space's bare name.
//!
//! # Theory of operation
//!
//! A guess that is sometimes wrong is worse than a question: it is how people end up talking to the
//! wrong server. So the rule looks only at what the listeners are, never at their order or age:
//!
//! 1. The only listener is the one, whatever it is.
//! 2. Of several, those on ports of well-known protocols other than HTTP are left aside, unasked: a
//!    database should not find our question in its log.
//! 3. The others are asked for `/` once, and the answer is remembered as long as the socket
//!    listens. The best kind that occurs decides: a *page* (HTML, a redirect, a login) before other
//!    *HTTP* (an API, a debugger, a reload socket) before *silence* (connected, but no answer:
//!    perhaps still starting).
//! 4. If exactly one listener is of the best kind, it is the one. If there are more, a page with
//!    links lets the person choose.
//!
//! Who closes the connection, or calls the question bad, may want TLS: that one is greeted in it. A listener that
//! answers so is *secure*: behind that may well be a page, so only one that is seen goes before it.
//!
//! While no listener gives a page, those that spoke HTTP or kept silent are asked again after
//! [`ASK_AGAIN`], since development servers listen before they can answer.

use std::time::Duration;

use super::PortInfo;

/// How long an answer that was not a page is believed while there is no page.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(10);

/// What a listener was found to be; the better one is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// It closed the connection, or answered in another language.
    Other,
    /// It accepted the connection, and then said nothing.
    Silent,
    /// It speaks HTTP, but what it has at `/` is not for people.
    Http,
    /// It speaks TLS, and what is inside can't be seen.
    Secure,
    /// It has a page at `/`.
    Page,
}

/// The outcome of the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice<'a> {
    /// This one answers.
    One(&'a PortInfo),
    /// These would do equally well.
    Several(Vec<&'a PortInfo>),
    /// None of them can be a web server.
    Nobody,
}

/// Ports where a listener surely is no web server: SSH, mail, DNS, LDAP, SMB, SQL Server, Oracle,
/// MQTT, ZooKeeper, MySQL, PostgreSQL (and poolers), AMQP, Redis (and Sentinel), Cassandra, Kafka,
/// memcached, MongoDB.
const NOT_WEB: [u16; 25] = [
    22, 25, 53, 110, 143, 389, 445, 465, 587, 636, 993, 995, 1433, 1521, 1883, 2181, 3306, 5432,
    5672, 6379, 6432, 9042, 9092, 11211, 27017,
];

/// Whether a listener should be asked what it is.
pub(super) fn worth_asking(listener: &PortInfo) -> bool {
    is_web(listener.port)
}

/// Whether a port isn't one where surely no web server is.
pub(super) fn is_web(port: u16) -> bool {
    NOT_WEB.binary_search(&port).is_err()
}

/// Applies the rule's last two steps to listeners whose kinds are known.
pub(super) fn choose<'a>(found: &[(&'a PortInfo, Kind)]) -> Choice<'a> {
    let kinds = found.iter().map(|(_, kind)| *kind);
    let Some(best) = kinds.filter(|kind| *kind > Kind::Other).max() else {
        return Choice::Nobody;
    };
    let best: Vec<_> = found
        .iter()
        .filter(|(_, kind)| *kind == best)
        .map(|(listener, _)| *listener)
        .collect();
    match best[..] {
        [one] => Choice::One(one),
        _ => Choice::Several(best),
    }
}

/// What the answer to a question for `/` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) kind: Kind,
    /// Whether it is what servers say that wanted to be asked over TLS.
    pub(super) may_want_tls: bool,
}

impl Answer {
    /// That there was none: the connection was closed or cut off.
    pub(super) const NONE: Self = Self {
        kind: Kind::Other,
        may_want_tls: true,
    };

    /// Reads the beginning of an answer.
    pub(super) fn of(head: &[u8]) -> Self {
        if head.is_empty() || is_alert(head) {
            return Self::NONE;
        }
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines();
        let Some(status) = lines.next().and_then(status) else {
            return Self {
                kind: Kind::Other,
                may_want_tls: false,
            };
        };
        let html = lines
            .take_while(|line| !line.is_empty())
            .map(str::to_ascii_lowercase)
            .any(|field| field.starts_with("content-type:") && field.contains("html"));
        let kind = match status {
            300..=399 | 401 => Kind::Page,
            200..=299 if html => Kind::Page,
            _ => Kind::Http,
        };
        Self {
            kind,
            may_want_tls: status == 400,
        }
    }
}

/// Whether this begins like an alert of TLS (RFC 8446 §5.1).
fn is_alert(head: &[u8]) -> bool {
    head.starts_with(&[21, 3])
}

/// The status of an HTTP/1 response (RFC 9112 §4).
fn status(line: &str) -> Option<u16> {
    let status = line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse();
    status.ok().filter(|status| (100..=999).contains(status))
}

#[cfg(test)]
mod tests {
    use super::Kind::{Http, Other, Page, Secure, Silent};
    use super::*;

    fn listener(port: u16) -> PortInfo {
        PortInfo {
            port,
            addresses: Vec::new(),
            program: String::new(),
            listener: u64::from(port),
        }
    }

    #[test]
    fn the_best_kind_decides_if_it_is_the_only_one() {
        let [a, b, c] = [3000, 5173, 9229].map(listener);
        let cases = [
            ([Page, Http, Silent], Choice::One(&a)),
            ([Http, Page, Http], Choice::One(&b)),
            ([Other, Other, Http], Choice::One(&c)),
            ([Silent, Other, Other], Choice::One(&a)),
            ([Http, Secure, Silent], Choice::One(&b)),
            ([Secure, Page, Secure], Choice::One(&b)),
            ([Page, Page, Http], Choice::Several(vec![&a, &b])),
            ([Other, Http, Http], Choice::Several(vec![&b, &c])),
            ([Other, Other, Other], Choice::Nobody),
        ];
        for (kinds, expected) in cases {
            let found = [(&a, kinds[0]), (&b, kinds[1]), (&c, kinds[2])];
            assert_eq!(choose(&found), expected, "{kinds:?}");
            let reversed = [(&c, kinds[2]), (&b, kinds[1]), (&a, kinds[0])];
            match (choose(&reversed), expected) {
                (Choice::Several(mut found), Choice::Several(expected)) => {
                    found.reverse();
                    assert_eq!(found, expected, "{kinds:?}");
                }
                (found, expected) => assert_eq!(found, expected, "order plays no part"),
            }
        }
        assert_eq!(choose(&[]), Choice::Nobody);
    }

    #[test]
    fn answers_tell_what_a_listener_is() {
        let cases: [(&str, Kind); 10] = [
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n",
                Page,
            ),
            ("HTTP/1.0 302 Found\r\nLocation: /login\r\n\r\n", Page),
            ("HTTP/1.1 401 Unauthorized\r\n\r\n", Page),
            (
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n",
                Http,
            ),
            (
                "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n",
                Http,
            ),
            ("HTTP/1.1 426 Upgrade Required\r\n\r\n", Http),
            ("HTTP/1.1 200 OK\r\n\r\ncontent-type: text/html", Http),
            ("SSH-2.0-OpenSSH_9.2\r\n", Other),
            ("-ERR unknown command\r\n", Other),
            ("", Other),
        ];
        for (head, expected) in cases {
            assert_eq!(Answer::of(head.as_bytes()).kind, expected, "{head:?}");
        }
        assert_eq!(Answer::of(b"\xff\xfe\x00").kind, Other);
    }

    #[test]
    fn who_may_want_tls_is_told_by_the_answer() {
        let bad = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n";
        let alert = [21, 3, 1, 0, 2, 2, 70];
        for answer in [&b""[..], bad, &alert] {
            assert!(Answer::of(answer).may_want_tls, "{answer:?}");
        }
        let page = b"HTTP/1.1 200 OK\r\n\r\n";
        for answer in [&page[..], b"SSH-2.0-OpenSSH_9.2\r\n"] {
            assert!(!Answer::of(answer).may_want_tls, "{answer:?}");
        }
    }

    #[test]
    fn databases_are_not_asked() {
        assert!(NOT_WEB.is_sorted());
        assert!(!worth_asking(&listener(5432)));
        assert!(worth_asking(&listener(3000)));
    }
}
