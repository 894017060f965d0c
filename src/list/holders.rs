//! Who holds a socket: a walk over `/proc`.
//!
//! The kernel keeps no way back from a socket to its processes, so the file
//! descriptors of every process in question are read. The walk allocates
//! nothing per descriptor; a process is looked at closely only when it holds
//! one of the sockets asked for.
//!
//! Processes come and go meanwhile, and some refuse to be looked at
//! (`PR_SET_DUMPABLE`, another user's). Both are normal: they are left out.
//!
//! To have read: `proc_pid_fd(5)`, `namespaces(7)`.

use std::collections::HashSet;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;
use rustix::process::Pid;

use super::process::{Detail, Lookup, Process};

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

    /// The one that this process is in.
    pub(crate) fn own() -> Option<Self> {
        let own = rustix::fs::open(
            c"/proc/self/ns/net",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        Self::of(own.ok()?).ok()
    }

    /// The number by which other programs know it (`net:[N]`).
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// The namespace with this number.
    pub(crate) fn numbered(number: u64) -> Self {
        Self(number)
    }

    /// The namespace that a process, given by its open `/proc/PID`, is in.
    pub(super) fn of_process(process: BorrowedFd<'_>) -> Option<Self> {
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

/// `socket:[18446744073709551615]` has 29 bytes. Longer targets are no sockets.
const LINK_BYTES: usize = 32;

/// Room for the entries of a directory in `/proc`, about 300 descriptors at a time.
const DIRECTORY_BYTES: usize = 8 * 1024;

/// The processes in `scope` that hold sockets with these inodes.
///
/// # Errors
/// Only those of opening and reading `/proc` itself.
pub(crate) fn holders(inodes: &HashSet<u64>, scope: Scope<'_>) -> Result<Vec<Holder>, Errno> {
    holders_with(inodes, scope, &Lookup::new(Detail::Row))
}

/// As [`holders`], with as much known of them as `lookup` is for.
pub(super) fn holders_with(
    inodes: &HashSet<u64>,
    scope: Scope<'_>,
    lookup: &Lookup,
) -> Result<Vec<Holder>, Errno> {
    if inodes.is_empty() {
        return Ok(Vec::new());
    }
    let pids = pids()?;
    let look = |pids: &[Pid]| -> Vec<Holder> {
        pids.iter()
            .filter_map(|&pid| holder(pid, inodes, scope, lookup))
            .collect()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(THREADS).min(pids.len() / PER_THREAD + 1);
    // Neighbours are alike (a server's workers), so every thread gets some of all.
    let shares: Vec<Vec<Pid>> = (0..threads)
        .map(|first| pids.iter().copied().skip(first).step_by(threads).collect())
        .collect();
    let [own, others @ ..] = shares.as_slice() else {
        return Ok(Vec::new());
    };
    Ok(std::thread::scope(|scope| {
        let running: Vec<_> = others
            .iter()
            .map(|share| scope.spawn(|| look(share)))
            .collect();
        let mut holders = look(own);
        for thread in running {
            // A panic in there is a bug of ours, and goes on here.
            holders.extend(
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
        }
        holders
    }))
}

/// No more threads look at processes, however many processors there are.
const THREADS: usize = 8;

/// For fewer processes than this, a thread costs more than it saves.
const PER_THREAD: usize = 64;

/// The process of this number, if it is in `scope` and holds any of these sockets.
fn holder(pid: Pid, inodes: &HashSet<u64>, scope: Scope<'_>, lookup: &Lookup) -> Option<Holder> {
    let path = format!("/proc/{}", pid.as_raw_pid());
    let process = rustix::fs::open(path, DIRECTORY, Mode::empty()).ok()?;
    if !scope.includes(process.as_fd()) {
        return None;
    }
    // A process that refuses to show its descriptors may hold what it likes: unknown.
    let inodes = held(process.as_fd(), inodes).unwrap_or_default();
    if inodes.is_empty() {
        return None;
    }
    // One that has ended since holds nothing any more.
    let process = Process::read(pid, process.as_fd(), lookup)?;
    Some(Holder { process, inodes })
}

/// Calls `visit` with the number and the open `/proc/PID` of every process.
pub(super) fn walk(mut visit: impl FnMut(Pid, BorrowedFd<'_>)) -> Result<(), Errno> {
    for pid in pids()? {
        let path = format!("/proc/{}", pid.as_raw_pid());
        if let Ok(process) = rustix::fs::open(path, DIRECTORY, Mode::empty()) {
            visit(pid, process.as_fd());
        }
    }
    Ok(())
}

/// The numbers of all processes.
pub(super) fn pids() -> Result<Vec<Pid>, Errno> {
    let proc = rustix::fs::open(c"/proc", DIRECTORY, Mode::empty())?;
    let mut space = [MaybeUninit::uninit(); DIRECTORY_BYTES];
    let mut entries = RawDir::new(&proc, &mut space);
    let mut pids = Vec::new();
    while let Some(entry) = entries.next() {
        pids.extend(number(entry?.file_name()).and_then(Pid::from_raw));
    }
    Ok(pids)
}

/// The flags that every directory is opened with.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Those of `inodes` that the process holds as sockets.
fn held(process: BorrowedFd<'_>, inodes: &HashSet<u64>) -> Result<Vec<u64>, Errno> {
    let mut held = Vec::new();
    each_socket(process, |_, inode| {
        if inodes.contains(&inode) {
            held.push(inode);
        }
    })?;
    held.sort_unstable();
    held.dedup();
    Ok(held)
}

/// Every socket that the process holds: descriptor and inode.
pub(super) fn sockets_of(process: BorrowedFd<'_>) -> Result<Vec<(i32, u64)>, Errno> {
    let mut sockets = Vec::new();
    each_socket(process, |name, inode| {
        sockets.extend(number(name).map(|descriptor| (descriptor, inode)));
    })?;
    Ok(sockets)
}

/// Calls `visit` with the name and the inode of every descriptor of the process that is a socket.
fn each_socket(process: BorrowedFd<'_>, mut visit: impl FnMut(&CStr, u64)) -> Result<(), Errno> {
    let descriptors = rustix::fs::openat(process, c"fd", DIRECTORY, Mode::empty())?;
    let mut space = [MaybeUninit::uninit(); DIRECTORY_BYTES];
    let mut entries = RawDir::new(&descriptors, &mut space);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        // The directory's own two entries are no links.
        if entry.file_name().to_bytes().starts_with(b".") {
            continue;
        }
        let mut target = [MaybeUninit::uninit(); LINK_BYTES];
        let target = match rustix::fs::readlinkat_raw(&descriptors, entry.file_name(), &mut target)
        {
            Ok((target, _)) => target,
            // Refused once is refused for all.
            Err(Errno::ACCESS) => return Err(Errno::ACCESS),
            // Closed meanwhile.
            Err(_) => continue,
        };
        if let Some(inode) = inode(target, b"socket:[") {
            visit(entry.file_name(), inode);
        }
    }
    Ok(())
}

/// The number in a link's target such as `socket:[42]`.
fn inode(target: &[u8], prefix: &[u8]) -> Option<u64> {
    let digits = target.strip_prefix(prefix)?.strip_suffix(b"]")?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// The number that a directory entry is named by.
pub(super) fn number(name: &CStr) -> Option<i32> {
    name.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;
    use std::process::{Command, Stdio};

    use super::super::testing::{Standing, own_pid};
    use super::*;

    /// A child that holds `fd` as its standard input, and no other socket.
    fn child_with(fd: impl Into<Stdio>) -> Standing {
        Standing::start(Command::new("sh").stdin(fd)).unwrap()
    }

    fn inode_of(fd: impl AsFd) -> u64 {
        rustix::fs::fstat(fd).unwrap().st_ino
    }

    /// By process, what it holds of these inodes.
    fn found(inodes: &[u64], scope: Scope<'_>) -> Vec<(i32, Vec<u64>)> {
        let inodes = inodes.iter().copied().collect();
        let holders = holders(&inodes, scope).unwrap();
        holders
            .into_iter()
            .map(|holder| (holder.process.pid, holder.inodes))
            .collect()
    }

    fn own_namespace() -> NetNamespace {
        NetNamespace::of(File::open("/proc/self/ns/net").unwrap()).unwrap()
    }

    #[test]
    fn a_socket_is_held_by_its_opener_and_by_a_child_that_inherited_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = inode_of(&listener);
        let child = child_with(OwnedFd::from(listener.try_clone().unwrap()));
        let own = own_namespace();
        for scope in [Scope::Everywhere, Scope::In(&[own])] {
            let found = found(&[inode], scope);
            assert!(found.contains(&(own_pid(), vec![inode])), "{found:?}");
            assert!(found.contains(&(child.number(), vec![inode])), "{found:?}");
        }
        drop(listener);
        let found = found(&[inode], Scope::Everywhere);
        assert!(found.contains(&(child.number(), vec![inode])), "{found:?}");
        assert!(found.iter().all(|(pid, _)| *pid != own_pid()), "{found:?}");
    }

    #[test]
    fn a_socket_held_twice_by_one_process_is_named_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let again = listener.try_clone().unwrap();
        let inode = inode_of(&again);
        let found = found(&[inode], Scope::Everywhere);
        assert!(found.contains(&(own_pid(), vec![inode])), "{found:?}");
    }

    #[test]
    fn nobody_outside_the_scope_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = inode_of(&listener);
        assert_eq!(found(&[inode], Scope::In(&[NetNamespace(1)])), []);
        assert_eq!(found(&[inode], Scope::In(&[])), []);
    }

    #[test]
    fn a_process_that_holds_none_of_the_sockets_is_not_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let bystander = child_with(Stdio::null());
        let found = found(&[inode_of(&listener)], Scope::Everywhere);
        assert!(
            found.iter().all(|(pid, _)| *pid != bystander.number()),
            "{found:?}"
        );
        assert_eq!(
            holders(&HashSet::new(), Scope::Everywhere).unwrap().len(),
            0
        );
    }

    #[test]
    fn only_a_whole_socket_link_has_an_inode() {
        let cases: [(&[u8], Option<u64>); 7] = [
            (b"socket:[42]", Some(42)),
            (b"socket:[18446744073709551615]", Some(u64::MAX)),
            (b"socket:[18446744073709551616]", None),
            (b"socket:[42", None),
            (b"socket:[]", None),
            (b"/tmp/socket:[42]", None),
            (b"pipe:[42]", None),
        ];
        for (target, expected) in cases {
            assert_eq!(inode(target, b"socket:["), expected, "{target:?}");
        }
    }
}
