//! Unsafe code of the bench: seccomp(2), which no crate covers.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_ulong, sock_filter, sock_fprog};

/// `SECCOMP_IOCTL_NOTIF_RECV`, `_IOWR('!', 0, struct seccomp_notif)`.
const RECEIVE: c_ulong = 0xc050_2100;
/// `SECCOMP_IOCTL_NOTIF_SEND`, `_IOWR('!', 1, struct seccomp_notif_resp)`.
const SEND: c_ulong = 0xc018_2101;
/// `SECCOMP_IOCTL_NOTIF_SET_FLAGS`, `_IOW('!', 4, __u64)`.
const SET_FLAGS: c_ulong = 0x4008_2104;
/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`.
const SYNC_WAKE_UP: c_ulong = 1;

/// Installs a filter in this process, which must have a single thread, and in whatever it starts; answers with the listener if `flags`
/// ask for one.
pub(crate) fn install(program: &[sock_filter], flags: c_ulong) -> io::Result<Option<OwnedFd>> {
    let program = sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies the program, which `program` describes truly, and writes nowhere.
    let listener = outcome(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    })?;
    if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    let listener = c_int::try_from(listener).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for the caller.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(listener) }))
}

/// Has both sides of a notification be woken on the other's processor.
pub(crate) fn wake_in_step(listener: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the argument is a number.
    let set = unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS, SYNC_WAKE_UP) };
    outcome(set.into()).map(drop)
}

/// Waits for a call, and answers with its id.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes = [0_u64; 10];
    // SAFETY: the kernel fills its `struct seccomp_notif`, which has these 80 bytes.
    let received = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            RECEIVE,
            (&raw mut bytes).cast::<c_void>(),
        )
    };
    outcome(received.into())?;
    Ok(bytes[0])
}

/// Has the kernel go on with a call.
pub(crate) fn let_pass(listener: BorrowedFd<'_>, id: u64) -> io::Result<()> {
    let mut response = libc::seccomp_notif_resp {
        id,
        val: 0,
        error: 0,
        flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
    };
    // SAFETY: the kernel copies the structure.
    let sent = unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw mut response) };
    outcome(sent.into()).map(drop)
}

fn outcome(returned: libc::c_long) -> io::Result<libc::c_long> {
    if returned < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(returned)
}
