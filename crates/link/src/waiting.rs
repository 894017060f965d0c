//! Links that a task can wait for.
//!
//! Which events wake the task is the link's own affair: a queue within the process remembers the task's waker itself, a
//! descriptor wants the reactor of the caller's runtime, so such links are wrapped there and not here.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;

use crate::Link;

/// A [`Link`] that wakes the task that waits for it.
///
/// Each method that answers [`Poll::Pending`] has seen to it that the task is woken when asking again makes sense; only
/// the last task to ask, receiving and sending apart. Errors are those of [the link](Link#errors), never
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
pub trait AsyncLink: Link {
    /// [`Link::receive`], or a promise to wake.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>>;

    /// [`Link::send`], or a promise to wake.
    fn poll_send(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<()>>;

    /// [`Link::flush`], or a promise to wake.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// When the link wants to be told the time: since the moment that the first call of [`advance`](Self::advance)
    /// counted from. Most links don't care.
    fn deadline(&self) -> Option<Duration> {
        None
    }

    /// It is `now`.
    ///
    /// # Errors
    ///
    /// Those of [`Link::send`].
    fn advance(&mut self, now: Duration) -> io::Result<()> {
        let _ = now;
        Ok(())
    }
}
