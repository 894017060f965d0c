//! Who lives in a network namespace: a walk over `/proc`, repeated until the answer is certain.
//!
//! A walk lists the numbers of all processes and then looks at each. A process that forks after they were listed, and
//! ends before it is looked at, leaves a child that this walk can't see: that is how programs turn themselves into daemons. So
//! a walk that finds nobody is believed only if nobody who may have lived there ended under its eyes.
//!
//! That suffices. Of a family that lives on, someone is alive when the numbers are listed. If that one isn't found alive, it
//! has ended since; and it is none of those that were settled before, which had ended already or live elsewhere.
//! (The kernel lists in ascending order, and gives a child a higher number than its parent's. At the moment at which the
//! numbers start anew at the low end, a child may be passed over.)
//!
//! To have read: `namespaces(7)`, `pidfd_open(2)`.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::holders::{DIRECTORY, NetNamespace, pids, walk};
use super::process::{Detail, Lookup, Process};

/// A process in a namespace, with a handle that no later process can inherit.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its number, as seen from here.
    pub(crate) pid: Pid,
    /// Readable once the process has ended; for `pidfd_send_signal(2)`.
    pub(crate) pidfd: OwnedFd,
}

/// How often it is looked before that is given up, on a machine whose processes come and go without a pause.
const WALKS: usize = 100;

/// What one look at a process tells.
enum Look {
    /// It lives there and is meant.
    Member(Member),
    /// It lives elsewhere, or isn't meant, and so is whatever it starts.
    Other,
    /// It has ended, or doesn't show where it lives.
    Unknown,
}

/// Those processes of a network namespace that are `meant`. Zombies don't live.
///
/// That there is none is certain. Among several, one that was just started may be missing.
///
/// # Errors
/// Those of opening and reading `/proc`, and of `pidfd_open(2)`: an incomplete list would make an inhabited namespace look
/// empty. EAGAIN when processes come and go so fast that none of [`WALKS`] looks was certain.
pub(crate) fn processes_in(
    namespace: NetNamespace,
    meant: impl Fn(Pid) -> bool,
) -> Result<Vec<Member>, Errno> {
    let mut settled = HashSet::new();
    for _ in 0..WALKS {
        let (mut members, mut others, mut unknown) = (Vec::new(), HashSet::new(), HashSet::new());
        for pid in pids()? {
            match look(pid, namespace, &meant)? {
                Look::Member(member) => members.push(member),
                Look::Other => drop(others.insert(pid)),
                Look::Unknown => drop(unknown.insert(pid)),
            }
        }
        if !members.is_empty() || unknown.is_subset(&settled) {
            return Ok(members);
        }
        settled = others;
        settled.extend(unknown);
    }
    Err(Errno::AGAIN)
}

/// Those processes of a network namespace that are `meant`, as they are listed; one that was just started may be missing.
///
/// # Errors
/// Those of opening and reading `/proc` itself.
pub(crate) fn residents(
    namespace: NetNamespace,
    meant: impl Fn(Pid) -> bool,
) -> Result<Vec<Process>, Errno> {
    let lookup = Lookup::new(Detail::Row);
    let mut residents = Vec::new();
    walk(|pid, process| {
        if NetNamespace::of_process(process) == Some(namespace) && meant(pid) {
            residents.extend(Process::read(pid, process, &lookup));
        }
    })?;
    Ok(residents)
}

fn look(pid: Pid, namespace: NetNamespace, meant: impl Fn(Pid) -> bool) -> Result<Look, Errno> {
    let path = format!("/proc/{}", pid.as_raw_pid());
    let process = match rustix::fs::open(path, DIRECTORY, Mode::empty()) {
        Ok(process) => process,
        Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => return Err(errno),
        Err(_) => return Ok(Look::Unknown),
    };
    let lives_in = || NetNamespace::of_process(process.as_fd());
    match lives_in() {
        Some(found) if found == namespace => {}
        Some(_) => return Ok(Look::Other),
        None => return Ok(Look::Unknown),
    }
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(Look::Unknown),
        Err(errno) => return Err(errno),
    };
    let meant = meant(pid);
    // `process` can't be read any more once it has ended, so if it still can, all this was said of it, and not of a
    // successor with the same number.
    Ok(match lives_in() {
        Some(found) if found == namespace && meant => Look::Member(Member { pid, pidfd }),
        Some(_) => Look::Other,
        None => Look::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use rustix::process::{Signal, WaitId, WaitIdOptions, kill_process_group};

    use super::super::testing::Standing;
    use super::*;

    #[test]
    fn a_member_of_a_namespace_is_reached_by_its_pidfd_and_not_once_it_has_ended() {
        let Some((mut child, namespace)) = child_in_namespace() else {
            return;
        };
        let members = all_in(namespace);
        let [Member { pid, pidfd }] = members.as_slice() else {
            panic!("one process lives there: {members:?}");
        };
        assert_eq!(*pid, child.pid());
        let kill = Signal::KILL;
        rustix::process::pidfd_send_signal(pidfd, kill).unwrap();
        child.wait();
        assert_eq!(all_in(namespace).len(), 0);
        assert_eq!(
            rustix::process::pidfd_send_signal(pidfd, kill),
            Err(Errno::SRCH)
        );
    }

    #[test]
    fn a_zombie_does_not_live_in_its_namespace() {
        let Some((mut child, namespace)) = child_in_namespace() else {
            return;
        };
        child.kill();
        // Waits for the end, and leaves the zombie.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::process::waitid(WaitId::Pid(child.pid()), options).unwrap();
        assert_eq!(all_in(namespace).len(), 0);
    }

    #[test]
    fn the_own_namespace_holds_the_own_process() {
        let members = all_in(NetNamespace::own().unwrap());
        assert!(
            members
                .iter()
                .any(|member| member.pid == rustix::process::getpid())
        );
    }

    /// A process in a network namespace of its own; `None`, said aloud, where there can't be one.
    fn child_in_namespace() -> Option<(Standing, NetNamespace)> {
        let mut unshare = Command::new("unshare");
        let child = Standing::start(unshare.args(["--map-root-user", "--net", "sh"]));
        let Some(child) = child else {
            eprintln!("skipped: this machine grants no user namespace");
            return None;
        };
        let path = format!("/proc/{}/ns/net", child.number());
        let namespace = NetNamespace::of(File::open(path).unwrap()).unwrap();
        Some((child, namespace))
    }

    fn all_in(namespace: NetNamespace) -> Vec<Member> {
        processes_in(namespace, |_| true).unwrap()
    }

    #[test]
    fn only_those_are_named_who_are_meant() {
        let own = rustix::process::getpid();
        let namespace = NetNamespace::own().unwrap();
        let found = processes_in(namespace, |pid| pid == own).unwrap();
        assert!(matches!(&found[..], [Member { pid, .. }] if *pid == own));
        assert_eq!(processes_in(namespace, |_| false).unwrap().len(), 0);
    }

    /// Ends a process group.
    struct Group(Pid);

    impl Drop for Group {
        fn drop(&mut self) {
            kill_process_group(self.0, Signal::KILL).ok();
        }
    }

    #[test]
    fn a_family_whose_members_end_as_soon_as_they_have_a_child_is_never_taken_for_nobody() {
        // Each process starts the next one and ends.
        const NEXT: &str = "sh -c \"$0\" \"$0\" &";
        const FIRST: &str = "readlink /proc/self/ns/net; sh -c \"$0\" \"$0\" &";
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--net", "sh", "-c", FIRST, NEXT]);
        let mut first = unshare
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let _ended = Group(Pid::from_child(&first));
        let mut line = String::new();
        BufReader::new(first.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let number = line.trim_end().strip_prefix("net:[");
        let number = number.and_then(|rest| rest.strip_suffix(']')?.parse().ok());
        let Some(number) = number else {
            eprintln!("skipped: this machine grants no user namespace");
            first.wait().unwrap();
            return;
        };
        let namespace = NetNamespace::numbered(number);
        for _ in 0..100 {
            match processes_in(namespace, |_| true) {
                Ok(found) => assert!(!found.is_empty()),
                Err(errno) => assert_eq!(errno, Errno::AGAIN),
            }
        }
        first.wait().unwrap();
    }
}
