//! Unsafe code of the program: what runs between fork(2) and exec(2), new namespaces, descriptors that are waited for,
//! and reading into memory that nothing has written yet.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use bytes::{BufMut, BytesMut};
use rustix::net::{RecvFlags, recv};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has `step` run in the child of `command`, after fork(2) and before exec(2).
///
/// `step` must be a plain sequence of system calls: no allocation, no lock, no panic. The callers' steps are, and the
/// commands that start programs this way have a single thread, so that even a violation could not deadlock.
pub(crate) fn before_exec(
    command: &mut Command,
    step: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: per the contract above `step` is async-signal-safe, which is what pre_exec asks.
    unsafe { command.pre_exec(step) };
}

/// Has the program of `command` find these descriptors under the numbers from 3 on, whatever is there in this process.
pub(crate) fn pass_from_3(command: &mut Command, descriptors: &[OwnedFd]) -> io::Result<()> {
    let end = 3 + i32::try_from(descriptors.len()).map_err(io::Error::other)?;
    // Out of the way first, so that none is overwritten before it is in its place.
    let aside: Vec<_> = descriptors
        .iter()
        .map(|descriptor| rustix::io::fcntl_dupfd_cloexec(descriptor, end))
        .collect::<Result<_, _>>()?;
    before_exec(command, move || {
        for (number, descriptor) in (3..end).zip(&aside) {
            // SAFETY: the numbers below `end` are nobody's any more: exec(2) follows, or the end of this process.
            if unsafe { libc::dup2(descriptor.as_raw_fd(), number) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    });
    Ok(())
}

/// The first descriptor that systemd passed to this process, `sd_listen_fds(3)`; programs that this one starts don't have it.
pub(crate) fn inherited_socket() -> Option<OwnedFd> {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let (pid, count) = (number(LISTEN_PID)?, number(LISTEN_FDS)?);
    if pid != std::process::id() || count == 0 {
        return None;
    }
    // SAFETY: that it is open, and this process's own to take, is what the two variables say.
    let socket = unsafe { OwnedFd::from_raw_fd(3) };
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).ok()?;
    Some(socket)
}

/// The variables that say whose the passed descriptors are, and how many.
const LISTEN_PID: &str = "LISTEN_PID";
const LISTEN_FDS: &str = "LISTEN_FDS";

/// Moves this process, which must have a single thread, into a user and a network namespace of its own.
pub(crate) fn unshare() -> io::Result<()> {
    // SAFETY: only unsharing the descriptor table could take descriptors from under other threads; it stays shared.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) }?)
}

/// `descriptor`, to be waited for until it is readable.
pub(crate) fn awaitable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the result owns the descriptor, so that it stays open, and the same, for as long as it is watched.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}

/// Has a write to a pipe that nobody reads end this process without a word, as it ends other commands.
pub(crate) fn end_with_a_broken_pipe() {
    // SAFETY: only the disposition of one signal changes, to the default; no handler runs.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Sets a variable of the environment. To be called before this process has a second thread.
pub(crate) fn set_variable(name: &str, value: impl AsRef<OsStr>) {
    // SAFETY: nobody reads or writes the environment meanwhile, since there is no other thread.
    unsafe { std::env::set_var(name, value) };
}

/// Has the allocator give back to the kernel what it keeps for later.
pub(crate) fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time from any thread; it touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Appends to `buffer`, within its capacity, at most `limit` bytes from `socket`; 0 is the end of the stream.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut BytesMut,
    limit: usize,
) -> rustix::io::Result<usize> {
    let room = buffer.spare_capacity_mut();
    let limit = limit.min(room.len());
    let ((read, _), _) = recv(socket, &mut room[..limit], RecvFlags::empty())?;
    let length = read.len();
    // SAFETY: the kernel has written the first `length` bytes of the spare capacity, which is at least that long.
    unsafe { buffer.advance_mut(length) };
    Ok(length)
}
