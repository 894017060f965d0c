//! Questions to a listener: what it has at `/`, whether it speaks TLS, and whether it speaks HTTP/2 without being asked
//! in HTTP/1.1 first.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::route::{self, Kind};

/// How long a listener may think about its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// As much of an answer as is read, in bytes. The status and the content type stand at the
/// beginning.
const HEAD_MAX: usize = 8 * 1024;

/// The client's preface and an empty SETTINGS frame (RFC 9113 §3.4, §6.5).
const HTTP2_HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Bytes of a frame's header (RFC 9113 §4.1).
const FRAME_HEADER: usize = 9;

/// Asks for `/` and says what answers. `host` is the name that the server is asked by. Who can't be reached is silent.
pub(super) async fn kind(dial: impl AsyncFn() -> io::Result<TcpStream>, host: &str) -> Kind {
    let Ok(stream) = dial().await else {
        return Kind::Silent;
    };
    let found = match timeout(PATIENCE, head(stream, host)).await {
        Ok(Ok(head)) => route::Answer::of(&head),
        Ok(Err(_)) => route::Answer::NONE,
        Err(_) => return Kind::Silent,
    };
    if !found.may_want_tls {
        return found.kind;
    }
    let Ok(stream) = dial().await else {
        return found.kind;
    };
    if speaks_tls(stream, host).await {
        Kind::Secure
    } else {
        found.kind
    }
}

/// Whether a server answers a TLS greeting in TLS, be it only that it refuses.
async fn speaks_tls(mut stream: TcpStream, host: &str) -> bool {
    let Ok(greeting) = tls_greeting(host) else {
        return false;
    };
    let answer = async {
        stream.write_all(&greeting).await?;
        let mut record = [0; 3];
        stream.read_exact(&mut record).await?;
        io::Result::Ok(record)
    };
    // RFC 8446 §5.1: the kind of record, an alert or a handshake, and a version that begins with 3.
    matches!(timeout(PATIENCE, answer).await, Ok(Ok([21 | 22, 3, _])))
}

/// The first message of a client that offers everything.
fn tls_greeting(host: &str) -> io::Result<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        // Nothing is believed: the connection ends with the server's first word.
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let host = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let client = ClientConnection::new(Arc::new(config), host);
    let mut greeting = Vec::new();
    client.map_err(io::Error::other)?.write_tls(&mut greeting)?;
    Ok(greeting)
}

/// The answer's beginning: up to the empty line, the bound, or the end.
async fn head(mut stream: TcpStream, host: &str) -> io::Result<Vec<u8>> {
    let question = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nUser-Agent: wharf\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(question.as_bytes()).await?;
    let mut head = Vec::new();
    let mut answer = stream.take(HEAD_MAX as u64);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if answer.read_buf(&mut head).await? == 0 || !may_be_http(&head) {
            break;
        }
    }
    Ok(head)
}

fn may_be_http(head: &[u8]) -> bool {
    let length = head.len().min(7);
    head[..length] == b"HTTP/1."[..length]
}

/// Whether the server greets in HTTP/2: a server's first frame is always SETTINGS (RFC 9113 §3.4).
/// One that has not answered in two seconds does not.
pub(super) async fn speaks_http2(mut stream: TcpStream) -> bool {
    let greeting = async {
        stream.write_all(HTTP2_HELLO).await?;
        let mut frame = [0; FRAME_HEADER];
        stream.read_exact(&mut frame).await?;
        io::Result::Ok(frame)
    };
    let Ok(Ok(frame)) = timeout(PATIENCE, greeting).await else {
        return false;
    };
    let [length @ .., kind, flags, _, _, _, _] = frame;
    let stream = &frame[5..];
    // Each setting takes six bytes; the flag says that it acknowledges ours, which can't come
    // first.
    length[0] == 0
        && length[1] == 0
        && length[2] % 6 == 0
        && kind == 4
        && flags == 0
        && stream == [0; 4]
}
