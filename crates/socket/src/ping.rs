//! Echo requests, and who waits for the replies.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::shared::On;
use crate::{Stack, error};

/// An echo request that waits for its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pending {
    pub(crate) remote: IpAddr,
    pub(crate) ident: u16,
    pub(crate) sequence: u16,
}

/// All of a stack's; with what came back, until it is fetched.
#[derive(Debug, Default)]
pub(crate) struct Pings(HashMap<Pending, Option<Bytes>>);

impl Pings {
    /// A reply has come. One that nobody waits for any more is dropped.
    pub(crate) fn reply(&mut self, pending: Pending, payload: Bytes) {
        if let Some(place) = self.0.get_mut(&pending) {
            *place = Some(payload);
        }
    }
}

/// Asks a host for an echo (ICMP, RFC 792 and RFC 4443 §4), and returns how long that took once it has answered with the same payload.
///
/// Without an answer it waits forever; [`tokio::time::timeout`] doesn't. Cancel-safe.
///
/// # Errors
///
/// - [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable): no address of the stack's host leads there;
/// - [`InvalidInput`](io::ErrorKind::InvalidInput): the payload is longer than any packet takes;
/// - [`InvalidData`](io::ErrorKind::InvalidData): the payload came back changed;
/// - [`HostUnreachable`](io::ErrorKind::HostUnreachable): 1,024 requests wait already.
///
/// ```
/// use std::time::Duration;
/// use tokio::time::timeout;
/// use wharf_socket::{Stack, ping};
///
/// async fn is_there(stack: &Stack) -> bool {
///     let answer = ping(stack, [10, 0, 0, 1].into(), b"anybody there?");
///     matches!(timeout(Duration::from_secs(1), answer).await, Ok(Ok(_)))
/// }
/// ```
pub async fn ping(stack: &Stack, remote: IpAddr, payload: &[u8]) -> io::Result<Duration> {
    let pending = Pending {
        remote,
        ident: rand::random(),
        sequence: rand::random(),
    };
    let start = Instant::now();
    let payload = Bytes::copy_from_slice(payload);
    let waiting = Waiting::send(stack, pending, payload.clone())?;
    let reply = stack
        .shared()
        .until(On::Reply(pending), |state, _| {
            match state.pings.0.get_mut(&pending).and_then(Option::take) {
                Some(reply) => Poll::Ready(Ok(reply)),
                None => Poll::Pending,
            }
        })
        .await?;
    drop(waiting);
    if reply != payload {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the payload came back changed",
        ));
    }
    Ok(start.elapsed())
}

/// A request that is forgotten when nobody waits for its reply any more.
struct Waiting<'a> {
    stack: &'a Stack,
    pending: Pending,
}

impl<'a> Waiting<'a> {
    fn send(stack: &'a Stack, pending: Pending, payload: Bytes) -> io::Result<Self> {
        let Pending {
            remote,
            ident,
            sequence,
        } = pending;
        stack.shared().attempt(|state, now| {
            let sent = state.host.ping(now, remote, ident, sequence, payload);
            sent.map_err(error::send)?;
            state.pings.0.insert(pending, None);
            Ok(())
        })?;
        Ok(Self { stack, pending })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Pending {
            remote,
            ident,
            sequence,
        } = self.pending;
        self.stack.shared().with(|state, _| {
            state.pings.0.remove(&self.pending);
            state.host.forget_ping(remote, ident, sequence);
        });
    }
}
