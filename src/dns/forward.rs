//! Passing a query on to the machine's resolvers.
//!
//! # Theory of operation
//!
//! Resolvers are asked in the order of `resolv.conf`, all of them as often as it says. The next one
//! is asked as soon as one fails (refused, SERVFAIL), or has not answered within [`PATIENCE`];
//! earlier ones may still answer, and the first useful answer wins. That is sooner than the file's
//! timeout, on purpose: the program waits for us as long as we would wait for the first resolver,
//! and would give up just when the second one is asked.
//!
//! Each question goes out from a socket of its own, on a port that the kernel chooses, under a
//! random number, and only a reply from the same address that repeats number and question counts
//! (RFC 5452 §9.1). All other bytes are the program's and the resolver's own, EDNS included. A
//! query that came in a stream goes on in a stream.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use super::question::{Question, is_no_help};
use super::{Transport, Upstreams};

/// How long a resolver may take before the next one is asked as well.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// How long a query may take in all.
const LIMIT: Duration = Duration::from_secs(10);

/// The largest DNS message, in bytes (RFC 1035 §4.2.2).
const MESSAGE_MAX: usize = 65_535;

/// Asks the resolvers; `None` if none of them answers. If all that answer say that they can't help,
/// the last such reply.
pub(super) async fn ask(
    upstreams: &Upstreams,
    query: &[u8],
    question: &Question,
    transport: Transport,
) -> Option<Vec<u8>> {
    let mut no_help = None;
    let search = search(upstreams, query, question, transport, &mut no_help);
    timeout(LIMIT, search).await.ok().flatten().or(no_help)
}

/// Asks one resolver after the other until one helps.
async fn search(
    upstreams: &Upstreams,
    query: &[u8],
    question: &Question,
    transport: Transport,
    no_help: &mut Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let rounds = (0..upstreams.attempts).flat_map(|_| upstreams.servers.iter().copied());
    let one = async |server| {
        let exchange = exchange(server, query, question, transport);
        timeout(upstreams.timeout, exchange).await?
    };
    let mut servers = rounds.peekable();
    let mut asked = FuturesUnordered::new();
    loop {
        match servers.next() {
            Some(server) => asked.push(one(server)),
            None if asked.is_empty() => return None,
            None => {}
        }
        let more = servers.peek().is_some();
        tokio::select! {
            Some(reply) = asked.next() => match reply {
                Ok(reply) if is_no_help(&reply) => *no_help = Some(reply),
                Ok(reply) => return Some(reply),
                Err(error) => tracing::debug!(%error, "dns: a resolver failed"),
            },
            () = sleep(PATIENCE), if more => {}
        }
    }
}

/// Asks one resolver, under a number of this question's own. The reply bears the program's number
/// again.
async fn exchange(
    server: SocketAddr,
    query: &[u8],
    question: &Question,
    transport: Transport,
) -> io::Result<Vec<u8>> {
    let id: u16 = rand::random();
    let mut asked = query.to_vec();
    asked[..2].copy_from_slice(&id.to_be_bytes());
    let mut reply = match transport {
        Transport::Udp => over_udp(server, &asked, question, id).await?,
        Transport::Tcp => over_tcp(server, &asked, question, id).await?,
    };
    reply[..2].copy_from_slice(&query[..2]);
    Ok(reply)
}

async fn over_udp(
    server: SocketAddr,
    asked: &[u8],
    question: &Question,
    id: u16,
) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // A connected socket takes datagrams from this address only, and hears of refusals.
    socket.connect(server).await?;
    socket.send(asked).await?;
    let mut reply = vec![0; MESSAGE_MAX];
    loop {
        let length = socket.recv(&mut reply).await?;
        if question.is_answered_by(&reply[..length], id) {
            reply.truncate(length);
            return Ok(reply);
        }
    }
}

async fn over_tcp(
    server: SocketAddr,
    asked: &[u8],
    question: &Question,
    id: u16,
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    send(&mut stream, asked).await?;
    let length = stream.read_u16().await?;
    let mut reply = vec![0; length.into()];
    stream.read_exact(&mut reply).await?;
    match question.is_answered_by(&reply, id) {
        true => Ok(reply),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "answers something else",
        )),
    }
}

/// Writes a message to a stream, with its length in front, in one piece (RFC 7766 §8).
///
/// # Errors
///
/// `InvalidInput` if it is longer than 65,535 bytes; else those of the stream.
pub(super) async fn send(
    stream: &mut (impl tokio::io::AsyncWrite + Unpin),
    message: &[u8],
) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let whole = [&length.to_be_bytes()[..], message].concat();
    stream.write_all(&whole).await
}
