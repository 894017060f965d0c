//! Waiting for either direction.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use tokio::io::{Interest, Ready};

/// Waits for a direction of `interest`, and says which are ready.
///
/// # Errors
///
/// That of whichever fails first.
pub(crate) async fn either(
    interest: Interest,
    readable: impl Future<Output = io::Result<()>>,
    writable: impl Future<Output = io::Result<()>>,
) -> io::Result<Ready> {
    let (mut readable, mut writable) = (pin!(readable), pin!(writable));
    poll_fn(|cx| {
        let mut ready = Ready::EMPTY;
        if interest.is_readable()
            && let Poll::Ready(result) = readable.as_mut().poll(cx)
        {
            result?;
            ready |= Ready::READABLE;
        }
        if interest.is_writable()
            && let Poll::Ready(result) = writable.as_mut().poll(cx)
        {
            result?;
            ready |= Ready::WRITABLE;
        }
        if ready.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(ready))
    })
    .await
}
