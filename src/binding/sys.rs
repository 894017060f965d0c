//! Unsafe code of binding: the seccomp(2) calls that no crate covers, and memory shared with the keeper.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{c_int, c_ulong, sock_filter, sock_fprog};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;

use super::call::Notification;

/// `SECCOMP_FILTER_FLAG_…`: asks for the listener, has signals other than deadly ones wait until a received call is
/// answered, and leaves speculation as it is.
const FLAGS: c_ulong = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
    | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;

/// `SECCOMP_IOCTL_NOTIF_RECV`, `_IOWR('!', 0, struct seccomp_notif)`.
const RECEIVE: c_ulong = 0xc050_2100;
/// `SECCOMP_IOCTL_NOTIF_SEND`, `_IOWR('!', 1, struct seccomp_notif_resp)`.
const SEND: c_ulong = 0xc018_2101;
/// `SECCOMP_IOCTL_NOTIF_ID_VALID`, `_IOW('!', 2, __u64)`.
const ID_VALID: c_ulong = 0x4008_2102;
/// `SECCOMP_IOCTL_NOTIF_SET_FLAGS`, `_IOW('!', 4, __u64)`.
const SET_FLAGS: c_ulong = 0x4008_2104;
/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`: the woken thread goes on at the same processor.
const SYNC_WAKE_UP: c_ulong = 1;

/// Bytes of the shared page: two parts of one page.
const PAGE: usize = 4096;
/// Where the state is; before it there is room for a notification that has grown.
pub(super) const STATE_AT: usize = 2048;

/// Installs the filter in this thread and whatever it starts; returns the listener. Between fork and exec: it is one
/// system call.
pub(crate) fn install(program: &[sock_filter]) -> rustix::io::Result<OwnedFd> {
    let program = sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies the program, which `program` describes truly, and writes nowhere.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            FLAGS,
            &raw const program,
        )
    };
    let listener = c_int::try_from(outcome(listener)?).map_err(|_| Errno::INVAL)?;
    // SAFETY: the kernel has just made this descriptor for the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(listener) })
}

/// The last system call's result, or why it failed.
fn outcome(returned: libc::c_long) -> rustix::io::Result<libc::c_long> {
    if returned < 0 {
        let error = io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL));
    }
    Ok(returned)
}

/// Has a program that waits be woken on the answering processor. Kernels before 6.6 don't know that.
pub(super) fn wake_in_step(listener: BorrowedFd<'_>) {
    // SAFETY: the argument is a number.
    unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS, SYNC_WAKE_UP) };
}

/// Whether the call with this id still waits for its answer.
pub(super) fn waits(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the kernel reads eight bytes.
    unsafe { libc::ioctl(listener.as_raw_fd(), ID_VALID, &raw const id) == 0 }
}

/// What the kernel copies of an answer, with room for an answer that has grown.
#[repr(C)]
struct Response {
    response: libc::seccomp_notif_resp,
    room: [u64; 8],
}

/// Answers: with 0, with an error, or, without either, that the kernel go on with the call.
pub(super) fn answer(
    listener: BorrowedFd<'_>,
    id: u64,
    result: Option<Result<(), Errno>>,
) -> rustix::io::Result<()> {
    let (error, flags) = match result {
        None => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
        Some(result) => (result.err().map_or(0, |errno| -errno.raw_os_error()), 0),
    };
    let mut response = Response {
        response: libc::seccomp_notif_resp {
            id,
            val: 0,
            error,
            flags,
        },
        room: [0; 8],
    };
    // SAFETY: the kernel copies its `struct seccomp_notif_resp` out of the larger `Response`.
    let sent = unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw mut response) };
    outcome(sent.into()).map(drop)
}

/// bind(2) with the bytes that a program gave.
pub(super) fn bind(socket: BorrowedFd<'_>, address: &[u8]) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(address.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the kernel reads the bytes of the slice.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr().cast(), length) };
    outcome(bound.into()).map(drop)
}

/// `SO_NETNS_COOKIE`: the number of the socket's network namespace. Kernels before 5.14 have none.
pub(crate) fn netns_cookie(socket: BorrowedFd<'_>) -> rustix::io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to the cookie.
    let asked = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast::<c_void>(),
            &raw mut length,
        )
    };
    outcome(asked.into()).map(|_| cookie)
}

/// A page of memory that is also a file, so that another process can read what is in it when this one has died.
#[derive(Debug)]
pub(super) struct SharedPage {
    memory: NonNull<u8>,
    file: OwnedFd,
}

// SAFETY: the memory belongs to the value, which no two threads use at once without a lock of their own: all that writes
// to it takes `&mut self`.
unsafe impl Send for SharedPage {}

impl SharedPage {
    /// A page of zeros.
    pub(super) fn new() -> io::Result<Self> {
        let file = rustix::fs::memfd_create(c"wharf-in-hand", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&file, PAGE as u64)?;
        // SAFETY: a new mapping at a place of the kernel's choice touches nothing that is there.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { memory, file })
    }

    /// The file that shows the page.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Receives the next notification into the page, which holds none.
    pub(super) fn receive(&mut self, listener: BorrowedFd<'_>) -> rustix::io::Result<Notification> {
        let place = self.memory.as_ptr();
        // SAFETY: the page has room for the kernel's `struct seccomp_notif`, 80 bytes today, up to `STATE_AT`.
        let received = unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, place) };
        outcome(received.into())?;
        // SAFETY: the mapping is aligned to a page, and the kernel has just filled this structure of plain numbers.
        let found = unsafe { place.cast::<libc::seccomp_notif>().read_volatile() };
        Ok(Notification {
            id: found.id,
            thread: found.pid as i32,
            architecture: found.data.arch,
            number: found.data.nr as u32,
            arguments: found.data.args,
        })
    }

    /// Sets the state, after everything that was done before.
    pub(super) fn set_state(&mut self, state: u32) {
        let place = self.memory.as_ptr().wrapping_add(STATE_AT).cast();
        // SAFETY: the place is inside the page, aligned, and only this value writes there.
        let word = unsafe { AtomicU32::from_ptr(place) };
        word.store(state, Ordering::SeqCst);
    }

    /// Forgets the notification, whose state was set to none before.
    pub(super) fn clear(&mut self) {
        // SAFETY: this is the first part of the page, which only this value writes to.
        unsafe { ptr::write_bytes(self.memory.as_ptr(), 0, 256) };
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing borrows from it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), PAGE) };
    }
}
