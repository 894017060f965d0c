//! Descriptors for tokio's reactor.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::unix::AsyncFd;

/// Enters a duplicate of `fd` with the reactor of the current runtime: ready whenever the original is, and open as long as it
/// is entered, whatever becomes of the original.
pub(crate) fn readiness(fd: BorrowedFd<'_>) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = fd.try_clone_to_owned()?;
    // SAFETY: an OwnedFd's number never changes, and it is open until it is dropped, which only its AsyncFd does.
    let registered = unsafe { AsyncFd::register(fd) };
    Ok(registered?)
}
