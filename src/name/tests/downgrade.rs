//! Requests of HTTP/2 that would be two, or others, if they were written down in HTTP/1.1 as they are (RFC 9113 §8.2,
//! §10.3). They are sent in frames made by hand: no well-kept client would.

use super::*;

/// Kinds of frames (RFC 9113 §6), and the flags that end a header block and a stream.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200` and `:status: 400` as one byte (RFC 7541 appendix A).
const OK: u8 = 0x88;
const BAD_REQUEST: u8 = 0x8c;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&[kind, flags, 0, 0, 0, stream]);
    frame.extend_from_slice(payload);
    frame
}

/// A header block without compression (RFC 7541 §6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            assert!(text.len() < 127);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Refused,
}

/// Sends one request and says what the front did.
async fn send(town: &Town, fields: &[(&str, &str)], body: Option<&str>) -> Fate {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    let ends = if body.is_none() { END_STREAM } else { 0 };
    bytes.extend(frame(HEADERS, END_HEADERS | ends, 1, &block(fields)));
    if let Some(body) = body {
        bytes.extend(frame(DATA, END_STREAM, 1, body.as_bytes()));
    }
    let mut stream = TcpStream::connect(town.address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return Fate::Refused;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        match (head[3], payload.first()) {
            (HEADERS, Some(&OK)) => return Fate::Answered,
            (HEADERS, Some(&BAD_REQUEST)) | (RST_STREAM | GOAWAY, _) => return Fate::Refused,
            (HEADERS, other) => panic!("an answer that begins with {other:?}"),
            _ => {}
        }
    }
}

const USUAL: [(&str, &str); 4] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "shop.localhost"),
    (":path", "/"),
];

/// The usual fields, with one in another's place or added.
fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut fields = USUAL.to_vec();
    match fields.iter_mut().find(|(known, _)| *known == name) {
        Some(field) => field.1 = value,
        None => fields.push((name, value)),
    }
    fields
}

const REFUSED: [(&str, &str); 19] = [
    (
        ":path",
        "/ HTTP/1.1\r\nHost: other.localhost\r\n\r\nGET /smuggled",
    ),
    (":path", "/a b"),
    (":path", "/a\nb"),
    (":path", ""),
    (":method", "GET / HTTP/1.1\r\nX: y"),
    (":authority", "shop.localhost\r\nX: y"),
    (":authority", "shop.localhost other.localhost"),
    ("host", "other.localhost"),
    ("x", "a\r\nTransfer-Encoding: chunked"),
    ("x", "a\nb"),
    ("x", "a\0b"),
    ("x\r\ny", "a"),
    ("x y", "a"),
    ("X", "a"),
    ("connection", "keep-alive"),
    ("transfer-encoding", "chunked"),
    ("upgrade", "websocket"),
    ("te", "gzip"),
    ("content-length", "+5"),
];

#[test]
fn what_can_t_be_written_down_is_refused_and_never_arrives() {
    town(async |town| {
        let pot = smuggling::pot(&town).await;
        for (name, value) in REFUSED {
            let fate = send(&town, &with(name, value), None).await;
            assert_eq!(fate, Fate::Refused, "{name:?}: {value:?}");
            assert_eq!(*pot.borrow(), [""; 0], "{name:?}: {value:?}");
        }
        // So that it isn't all refused.
        assert_eq!(send(&town, &USUAL, None).await, Fate::Answered);
        assert_eq!(
            send(&town, &with("te", "trailers"), None).await,
            Fate::Answered
        );
    });
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_is_cut_off() {
    town(async |town| {
        let pot = smuggling::pot(&town).await;
        let smuggled = "helloGET /smuggled HTTP/1.1\r\nHost: shop.localhost\r\n\r\n";
        for (length, body) in [("5", smuggled), ("500", "hello")] {
            pot.borrow_mut().clear();
            let fate = send(&town, &with("content-length", length), Some(body)).await;
            assert_eq!(fate, Fate::Refused, "{length}");
            let arrived = pot.borrow().join("");
            assert!(!arrived.contains("smuggled"), "{length}: {arrived}");
        }
        let fate = send(&town, &with("content-length", "5"), Some("hello")).await;
        assert_eq!(fate, Fate::Answered);
    });
}

#[test]
fn a_body_of_unknown_length_arrives_in_chunks_whatever_it_holds() {
    town(async |town| {
        let pot = smuggling::pot(&town).await;
        let body = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: shop.localhost\r\n\r\n";
        assert_eq!(send(&town, &USUAL, Some(body)).await, Fate::Answered);
        let arrived = pot.borrow().join("");
        let chunk = format!("\r\n\r\n{:X}\r\n{body}\r\n", body.len());
        assert!(arrived.contains(&chunk), "{arrived:?}");
    });
}
