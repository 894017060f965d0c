//! What all that reads and writes a connection has in common: the connection, closed when the last of them is dropped.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::ReadBuf;
use wharf_net::tcp::State as Phase;
use wharf_net::{Host, Instant, SocketId};
use wharf_port::Flow;

use crate::error;
use crate::held::Held;
use crate::shared::State;

/// A connection that somebody has.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) held: Held,
    pub(super) flow: Flow,
    /// `SO_LINGER` with time zero: it ends with a reset.
    pub(super) reset_on_drop: AtomicBool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.reset_on_drop.load(Ordering::Relaxed) {
            let Held { stack, id } = &self.held;
            stack.shared().with(|state, now| state.host.abort(now, *id));
        }
    }
}

/// Whether the handshake is over, one way or the other.
pub(super) fn connected(state: &mut State, _now: Instant, id: SocketId) -> Poll<io::Result<()>> {
    if let Some(failure) = state.host.error(id) {
        return Poll::Ready(Err(error::stream(failure)));
    }
    match state.host.state(id) {
        Some(Phase::SynSent | Phase::SynReceived) => Poll::Pending,
        Some(_) => Poll::Ready(Ok(())),
        None => Poll::Ready(Err(error::gone())),
    }
}

/// Copies what is unread, and leaves it; pending when nothing is, and something may come.
pub(super) fn peek(host: &Host, id: SocketId, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
    if buffer.remaining() == 0 {
        return Poll::Ready(Ok(0));
    }
    let before = buffer.filled().len();
    for chunk in host.chunks(id) {
        let count = chunk.len().min(buffer.remaining());
        buffer.put_slice(&chunk[..count]);
        if buffer.remaining() == 0 {
            break;
        }
    }
    let count = buffer.filled().len() - before;
    if count > 0 {
        return Poll::Ready(Ok(count));
    }
    readable(host, id).map_ok(|()| 0)
}

/// Copies what is unread, as far as there is room, and takes it.
pub(super) fn read_to(
    host: &mut Host,
    now: Instant,
    id: SocketId,
    buffer: &mut impl BufMut,
) -> Poll<io::Result<usize>> {
    if !buffer.has_remaining_mut() {
        return Poll::Ready(Ok(0));
    }
    let mut count = 0;
    for chunk in host.chunks(id) {
        let part = chunk.len().min(buffer.remaining_mut());
        buffer.put_slice(&chunk[..part]);
        count += part;
    }
    if count == 0 {
        return readable(host, id).map_ok(|()| 0);
    }
    host.consume(now, id, count);
    Poll::Ready(Ok(count))
}

/// Copies what is unread, and takes it.
pub(super) fn read(
    host: &mut Host,
    now: Instant,
    id: SocketId,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<usize>> {
    let result = peek(host, id, buffer);
    if let Poll::Ready(Ok(count)) = result {
        host.consume(now, id, count);
    }
    result
}

/// Whether reading would give something: data, the end, or an error.
pub(super) fn readable(host: &Host, id: SocketId) -> Poll<io::Result<()>> {
    if host.readable(id) > 0 {
        return Poll::Ready(Ok(()));
    }
    // Before the end: what a reset cut off is not whole.
    if let Some(failure) = host.error(id) {
        return Poll::Ready(Err(error::stream(failure)));
    }
    if host.is_read_closed(id) {
        return Poll::Ready(Ok(()));
    }
    match host.state(id) {
        // Over in good order, though the peer's FIN was never needed.
        Some(Phase::Closed) => Poll::Ready(Ok(())),
        Some(_) => Poll::Pending,
        None => Poll::Ready(Err(error::gone())),
    }
}

/// Whether writing would take something, or fail.
pub(super) fn writable(host: &mut Host, now: Instant, id: SocketId) -> Poll<io::Result<()>> {
    if host.room(id) > 0 {
        return Poll::Ready(Ok(()));
    }
    match host.write(now, id, Bytes::new()) {
        Ok(_) => Poll::Pending,
        Err(error) => Poll::Ready(Err(error::write(error))),
    }
}

/// Queues as much of `parts` as there is room for.
pub(super) fn write(
    host: &mut Host,
    now: Instant,
    id: SocketId,
    parts: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let wanted: usize = parts.iter().map(|part| part.len()).sum();
    let room = host.room(id);
    if wanted > 0 && room == 0 {
        return writable(host, now, id).map_ok(|()| 0);
    }
    let mut data = BytesMut::with_capacity(wanted.min(room));
    for part in parts {
        let count = part.len().min(room - data.len());
        data.extend_from_slice(&part[..count]);
    }
    Poll::Ready(host.write(now, id, data.freeze()).map_err(error::write))
}
