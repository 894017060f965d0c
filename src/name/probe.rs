//! Questions to a listener: what it has at `/`, and whether it speaks HTTP/2 without being asked in
//! HTTP/1.1 first.

use std::io;
use std::time::Duration;

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

/// Asks for `/` and says what answers. `host` is the name that the server is asked by.
pub(super) async fn kind(stream: TcpStream, host: &str) -> Kind {
    match timeout(PATIENCE, head(stream, host)).await {
        Ok(Ok(head)) => route::kind(&head),
        Ok(Err(_)) => Kind::Other,
        Err(_) => Kind::Silent,
    }
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
