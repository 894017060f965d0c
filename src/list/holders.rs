//! Who holds a socket, and who lives in a network namespace: a walk over `/proc`.
//!
//! The kernel keeps no way back from a socket to its processes, so the file
//! descriptors of every process in question are read. The walk allocates
//! nothing per descriptor; a process is looked at closely only when it holds
//! one of the sockets asked for.
//!
//! Processes come and go meanwhile, and some refuse to be looked at
//! (`PR_SET_DUMPABLE`, another user's). Both are normal: they are left out.
//!
//! To have read: `proc_pid_fd(5)`, `namespaces(7)`, `pidfd_open(2)`.

use std::collections::HashSet;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use super::process::{Moment, Process};

/// A network namespace, by the inode of its file in `/proc/PID/ns/net`.
///
/// All namespaces of a machine lie in one file system (`nsfs`), so the inode tells them apart;
/// it may be given again after a namespace's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NetNamespace(u64);

impl NetNamespace {
    /// The namespace that `namespace`, an open `/proc/PID/ns/net`, stands for.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    pub(crate) fn of(namespace: impl AsFd) -> Result<Self, Errno> {
        Ok(Self(rustix::fs::fstat(namespace)?.st_ino))
    }

    /// The namespace that a process, given by its open `/proc/PID`, is in.
    fn of_process(process: BorrowedFd<'_>) -> Option<Self> {
        let mut target = [MaybeUninit::uninit(); LINK_BYTES];
        let (target, _) = rustix::fs::readlinkat_raw(process, c"ns/net", &mut target).ok()?;
        inode(target, b"net:[").map(Self)
    }
}

/// Which processes a walk looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope<'a> {
    /// All that may be looked at.
    Everywhere,
    /// Those in these network namespaces.
    In(&'a [NetNamespace]),
}

impl Scope<'_> {
    fn includes(self, process: BorrowedFd<'_>) -> bool {
        match self {
            Self::Everywhere => true,
            Self::In(namespaces) => NetNamespace::of_process(process)
                .is_some_and(|namespace| namespaces.contains(&namespace)),
        }
    }
}

/// A process and those of the sockets asked for that it holds.
#[derive(Debug)]
pub(crate) struct Holder {
    /// Who it is.
    pub(crate) process: Process,
    /// Inodes of the sockets, each once.
    pub(crate) inodes: Vec<u64>,
}

/// A process in a namespace, with a handle that no later process can inherit.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its number, as seen from here.
    pub(crate) pid: Pid,
    /// Readable once the process has ended; for `pidfd_send_signal(2)`.
    pub(crate) pidfd: OwnedFd,
}

/// `socket:[18446744073709551615]` has 29 bytes. Longer targets are no sockets.
const LINK_BYTES: usize = 32;

/// Room for the entries of a directory in `/proc`, about 300 descriptors at a time.
const DIRECTORY_BYTES: usize = 8 * 1024;

/// The processes in `scope` that hold sockets with these inodes.
///
/// # Errors
/// Only those of opening and reading `/proc` itself.
pub(crate) fn holders(inodes: &HashSet<u64>, scope: Scope<'_>) -> Result<Vec<Holder>, Errno> {
    let mut holders = Vec::new();
    if inodes.is_empty() {
        return Ok(holders);
    }
    let moment = Moment::now();
    walk(|pid, process| {
        if !scope.includes(process) {
            return;
        }
        // A process that refuses to show its descriptors may hold what it likes: unknown.
        let held = held(process, inodes).unwrap_or_default();
        if held.is_empty() {
            return;
        }
        // One that has ended since holds nothing any more.
        if let Some(process) = Process::read(pid, process, &moment) {
            holders.push(Holder {
                process,
                inodes: held,
            });
        }
    })?;
    Ok(holders)
}

/// The processes that live in a network namespace. Zombies don't live.
///
/// # Errors
/// Those of opening and reading `/proc`, and of `pidfd_open(2)` when this process has no
/// descriptor left: an incomplete list would make an inhabited namespace look empty.
pub(crate) fn processes_in(namespace: NetNamespace) -> Result<Vec<Member>, Errno> {
    let mut members = Vec::new();
    let mut failure = None;
    walk(|pid, process| {
        if NetNamespace::of_process(process) != Some(namespace) {
            return;
        }
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            // `process` can't be read any more once it has ended, so if it still can, the pidfd
            // is its own and not that of a successor with the same number.
            Ok(pidfd) if NetNamespace::of_process(process) == Some(namespace) => {
                members.push(Member { pid, pidfd });
            }
            Ok(_) | Err(Errno::SRCH) => {}
            Err(errno) => failure = Some(errno),
        }
    })?;
    failure.map_or(Ok(members), Err)
}

/// Calls `visit` with the number and the open `/proc/PID` of every process.
fn walk(mut visit: impl FnMut(Pid, BorrowedFd<'_>)) -> Result<(), Errno> {
    let proc = rustix::fs::open(c"/proc", DIRECTORY, Mode::empty())?;
    let mut space = [MaybeUninit::uninit(); DIRECTORY_BYTES];
    let mut entries = RawDir::new(&proc, &mut space);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let Some(pid) = number(entry.file_name()).and_then(Pid::from_raw) else {
            continue;
        };
        if let Ok(process) = rustix::fs::openat(&proc, entry.file_name(), DIRECTORY, Mode::empty())
        {
            visit(pid, process.as_fd());
        }
    }
    Ok(())
}

/// The flags that every directory is opened with.
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Those of `inodes` that the process holds as sockets.
fn held(process: BorrowedFd<'_>, inodes: &HashSet<u64>) -> Result<Vec<u64>, Errno> {
    let descriptors = rustix::fs::openat(process, c"fd", DIRECTORY, Mode::empty())?;
    let mut held = Vec::new();
    let mut space = [MaybeUninit::uninit(); DIRECTORY_BYTES];
    let mut entries = RawDir::new(&descriptors, &mut space);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let mut target = [MaybeUninit::uninit(); LINK_BYTES];
        let Ok((target, _)) =
            rustix::fs::readlinkat_raw(&descriptors, entry.file_name(), &mut target)
        else {
            continue;
        };
        held.extend(inode(target, b"socket:[").filter(|inode| inodes.contains(inode)));
    }
    held.sort_unstable();
    held.dedup();
    Ok(held)
}

/// The number in a link's target such as `socket:[42]`.
fn inode(target: &[u8], prefix: &[u8]) -> Option<u64> {
    let digits = target.strip_prefix(prefix)?.strip_suffix(b"]")?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// The number that a directory entry is named by.
fn number(name: &CStr) -> Option<i32> {
    name.to_str().ok()?.parse().ok()
}
