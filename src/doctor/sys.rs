//! Trying out namespaces in a child process, which a process with threads can't do itself.

use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitOptions};
use rustix::thread::UnshareFlags;

use super::NamespaceStep;

/// Makes a user and a network namespace in a child process, maps the user into it, and ends it.
///
/// The error says at which step it failed, and how. A failure to make the child counts as one of
/// the first step.
pub(super) fn attempt_namespace() -> Result<(), (NamespaceStep, Errno)> {
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    attempt(&Maps {
        user: format!("{user} {user} 1"),
        group: format!("{group} {group} 1"),
    })
}

/// What is written into the namespace's maps; made before the fork, because making it allocates.
struct Maps {
    user: String,
    group: String,
}

/// Forks the child that takes the steps, and hears its report.
fn attempt(maps: &Maps) -> Result<(), (NamespaceStep, Errno)> {
    let first = |errno| (NamespaceStep::Unshare, errno);
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(first)?;
    // SAFETY: the child calls only `run_child`, which makes plain system calls: it allocates
    // nothing, takes no lock and unwinds nowhere, whatever other threads held at the fork.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(first(last_errno())),
        0 => run_child(maps, writer.as_fd()),
        pid => Pid::from_raw(pid),
    };
    drop(writer);
    let mut report = Vec::new();
    let read = std::fs::File::from(reader).read_to_end(&mut report);
    // Nobody else waits for this child, so waiting can only fail by interruption.
    while rustix::process::waitpid(pid, WaitOptions::empty()).err() == Some(Errno::INTR) {}
    match (read, report.as_slice()) {
        (Ok(_), [DONE]) => Ok(()),
        (Ok(_), &[step, errno]) => Err(reported(step, errno)),
        // The child was killed before it could say anything, as a strict seccomp filter does.
        _ => Err(first(Errno::PERM)),
    }
}

/// The report of a child that got through.
const DONE: u8 = u8::MAX;

/// What the two bytes of a failed child's report mean.
fn reported(step: u8, errno: u8) -> (NamespaceStep, Errno) {
    let step = NamespaceStep::ALL.get(usize::from(step)).copied();
    let errno = Errno::from_raw_os_error(i32::from(errno.max(1)));
    (step.unwrap_or(NamespaceStep::Unshare), errno)
}

/// The child: goes through the steps, reports and ends.
fn run_child(maps: &Maps, report: BorrowedFd<'_>) -> ! {
    let failed = NamespaceStep::ALL
        .iter()
        .zip(0_u8..)
        .find_map(|(step, number)| {
            let errno = take(*step, maps).err()?;
            // All errors of these steps are below 134.
            Some([
                number,
                u8::try_from(errno.raw_os_error()).unwrap_or(u8::MAX),
            ])
        });
    let bytes = failed
        .as_ref()
        .map_or([DONE].as_slice(), |failed| failed.as_slice());
    // A report that can't be written reads as an empty one.
    let _ = rustix::io::write(report, bytes);
    // SAFETY: ends the process at once, without the parent's exit handlers.
    unsafe { libc::_exit(0) }
}

/// Takes one step.
fn take(step: NamespaceStep, maps: &Maps) -> Result<(), Errno> {
    match step {
        NamespaceStep::Unshare => {
            // SAFETY: the child has one thread and shares no memory, and descriptors stay shared
            // with nobody: none of the flags is about file descriptors.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) }
        }
        NamespaceStep::UidMap => write(c"/proc/self/uid_map", maps.user.as_bytes()),
        NamespaceStep::Setgroups => write(c"/proc/self/setgroups", b"deny"),
        NamespaceStep::GidMap => write(c"/proc/self/gid_map", maps.group.as_bytes()),
    }
}

/// Writes one of the files of `/proc`, which take their content in one piece.
fn write(path: &std::ffi::CStr, content: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, content).map(drop)
}

/// The error of the C library's last call.
fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::PERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_step_and_error() {
        let permission = u8::try_from(Errno::PERM.raw_os_error()).unwrap();
        assert_eq!(
            reported(0, permission),
            (NamespaceStep::Unshare, Errno::PERM)
        );
        assert_eq!(
            reported(3, permission),
            (NamespaceStep::GidMap, Errno::PERM)
        );
        assert_eq!(reported(200, permission).0, NamespaceStep::Unshare);
    }

    #[test]
    fn the_attempt_agrees_with_unshare_1_and_leaves_no_child() {
        let status = std::process::Command::new("unshare")
            .args(["--map-current-user", "--net", "true"])
            .stderr(std::process::Stdio::null())
            .status();
        assert_eq!(attempt_namespace().is_ok(), status.unwrap().success());
    }

    #[test]
    fn the_step_that_fails_is_told() {
        if attempt_namespace().is_err() {
            eprintln!("skipped: this machine grants no user namespace");
            return;
        }
        let nonsense = || "nonsense".to_owned();
        let own = rustix::process::geteuid().as_raw();
        let maps = Maps {
            user: nonsense(),
            group: nonsense(),
        };
        assert_eq!(attempt(&maps), Err((NamespaceStep::UidMap, Errno::INVAL)));
        let maps = Maps {
            user: format!("{own} {own} 1"),
            group: nonsense(),
        };
        assert_eq!(attempt(&maps), Err((NamespaceStep::GidMap, Errno::INVAL)));
    }
}
