//! Whom a client names in its first words, where several spaces are offered at one place.
//!
//! # Theory of operation
//!
//! Browsers and curl say in the first bytes of a connection whom they want: HTTP/1.1 in `Host`, TLS in SNI. At a place that
//! several spaces share, `http://shop.localhost:3000` therefore means shop, whoever has the focus. So the carrier reads
//! until it has heard a name, or knows that there is none to come; what it read goes to the program first. A client that
//! keeps silent waits for the server's word, as some protocols have it, and is let through after [`FIRST_WORD`]. Where a
//! place leads to one space only, nothing of this happens.

use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::name::{self, ByName};

/// How long a client may take to say anything.
const FIRST_WORD: Duration = Duration::from_millis(300);
/// How long it may take to say whom it wants, once it speaks.
const WHOLE_HEAD: Duration = Duration::from_secs(5);
/// How much of its words is read for a name, in bytes.
const HEAD_MAX: usize = 16 << 10;
/// How many fields a request may have before one is the name.
const FIELDS_MAX: usize = 100;
/// What TLS connections begin with (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// What a client said first.
#[derive(Debug, Default)]
pub(super) struct FirstWords {
    /// What was read of its connection, and is the program's.
    pub(super) said: Vec<u8>,
    /// The space that it named.
    pub(super) space: Option<String>,
}

/// What its words tell so far.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// A name may still come.
    Nothing,
    /// This is the name, or there is none.
    Name(Option<String>),
}

/// Listens to a client until it has named somebody or is known not to.
pub(super) async fn listen(stream: &mut TcpStream) -> FirstWords {
    let mut said = Vec::new();
    let begun = Instant::now();
    let mut deadline = begun + FIRST_WORD;
    loop {
        match timeout_at(deadline, stream.read_buf(&mut said)).await {
            Ok(Ok(length @ 1..)) if length <= HEAD_MAX => {}
            // Silent, ended or failed: whatever it is, the program will hear of it.
            _ => return FirstWords { said, space: None },
        }
        deadline = begun + WHOLE_HEAD;
        match name(&said) {
            Heard::Name(space) => return FirstWords { said, space },
            Heard::Nothing if said.len() >= HEAD_MAX => return FirstWords { said, space: None },
            Heard::Nothing => {}
        }
    }
}

fn name(said: &[u8]) -> Heard {
    let heard = if said.first() == Some(&HANDSHAKE) {
        of_tls(said)
    } else {
        of_http(said)
    };
    match heard {
        Some(authority) => Heard::Name(authority.and_then(|authority| space(&authority))),
        None => Heard::Nothing,
    }
}

/// The space that an authority names, whether there is one or not.
fn space(authority: &str) -> Option<String> {
    match name::by_name(authority)? {
        ByName::Space { name, .. } => Some(name),
        _ => None,
    }
}

/// The server that a TLS greeting is for; nothing while that isn't whole.
fn of_tls(mut said: &[u8]) -> Option<Option<String>> {
    let mut acceptor = Acceptor::default();
    while !said.is_empty() {
        if acceptor.read_tls(&mut said).is_err() {
            return Some(None);
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                return Some(accepted.client_hello().server_name().map(str::to_owned));
            }
            Ok(None) => {}
            Err(_) => return Some(None),
        }
    }
    None
}

/// The host that a request is for; nothing while its head isn't whole.
fn of_http(said: &[u8]) -> Option<Option<String>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(said) {
        Ok(httparse::Status::Partial) => None,
        Err(_) => Some(None),
        Ok(httparse::Status::Complete(_)) => {
            let mut hosts = request
                .headers
                .iter()
                .filter(|field| field.name.eq_ignore_ascii_case("host"));
            // Two hosts are for the program to refuse.
            let host = hosts.next().filter(|_| hosts.next().is_none());
            let host = host.and_then(|host| std::str::from_utf8(host.value).ok());
            Some(host.map(str::to_owned))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    /// What is heard of words that come byte by byte.
    fn heard(words: &[u8]) -> (usize, Heard) {
        (1..=words.len())
            .map(|length| (length, name(&words[..length])))
            .find(|(_, heard)| *heard != Heard::Nothing)
            .unwrap_or((words.len(), Heard::Nothing))
    }

    fn named(space: &str) -> Heard {
        Heard::Name(Some(space.to_owned()))
    }

    #[test]
    fn a_host_names_a_space() {
        let cases = [
            ("Host: shop.localhost:3000\r\n", named("shop")),
            ("A: b\r\nhOST:\tx.3000.Shop.localhost \r\n", named("shop")),
            ("Host: localhost:3000\r\n", Heard::Name(None)),
            ("Host: 127.0.0.1:3000\r\n", Heard::Name(None)),
            ("Host: example.com\r\n", Heard::Name(None)),
            (
                "Host: a.localhost\r\nHost: b.localhost\r\n",
                Heard::Name(None),
            ),
            ("", Heard::Name(None)),
        ];
        for (fields, expected) in cases {
            let request = format!("GET /x HTTP/1.1\r\n{fields}\r\n");
            let whole = (request.len(), expected);
            assert_eq!(heard(request.as_bytes()), whole, "{request:?}");
        }
    }

    #[test]
    fn other_protocols_name_nobody() {
        let postgres = [0, 0, 0, 8, 4, 210, 22, 47];
        let words = [
            &b"SSH-2.0-x\r\n"[..],
            &postgres,
            b"*1\r\n$4\r\nPING\r\n",
            &[22, 3, 9],
        ];
        for words in words {
            assert_ne!(heard(words).1, named("shop"), "{words:?}");
        }
        assert_eq!(heard(b"*1\r\n").1, Heard::Name(None));
    }

    #[test]
    fn a_tls_greeting_names_a_space() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let server = "shop.localhost".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(config), server).unwrap();
        let mut greeting = Vec::new();
        client.write_tls(&mut greeting).unwrap();
        assert_eq!(heard(&greeting), (greeting.len(), named("shop")));
    }
}
