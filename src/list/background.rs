//! Where a process comes from: its parents up to the first process, its terminal pane, its systemd unit, its container.
//!
//! To have read: `proc_pid_stat(5)`, `cgroups(7)`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::cgroup::{self, Container, Unit};
use super::process::{RECORD_BYTES, Stat, arguments, file, link, program};

/// A process's background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Background {
    /// Its parent, its parent's parent, and so on; not the first process, nor what isn't seen.
    pub(crate) parents: Vec<Ancestor>,
    /// What it is left over from, if its parent has ended.
    pub(crate) orphan: Option<Orphan>,
    /// The tmux pane that it runs in, such as `%3`.
    pub(crate) tmux_pane: Option<String>,
    /// The systemd unit that it belongs to.
    pub(crate) unit: Option<Unit>,
    /// The container that it runs in.
    pub(crate) container: Option<Container>,
}

/// A process that is told by its number and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ancestor {
    /// Its number, as seen from the machine.
    pub(crate) pid: i32,
    /// The name of its executable's file, or what it calls itself.
    pub(crate) program: String,
    /// Its command line; empty when it may not be seen.
    pub(crate) command: Vec<String>,
}

/// A process whose parent has ended, and the leader of its process group as well: what a server leaves behind that was
/// killed, not what was meant to be a daemon, since that leads its own group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Orphan {
    /// The number of the process that led the group, and is no more.
    pub(crate) leader: i32,
}

/// Longer chains are cut off.
const GENERATIONS: usize = 32;

/// More than this of a command line is not needed to know a parent by.
const COMMAND_BYTES: usize = 4096;

/// An environment is looked through as far as this.
const ENVIRONMENT_BYTES: usize = 64 * 1024;

/// The first process of the machine.
const INIT: i32 = 1;

impl Background {
    /// The background of the process whose open `/proc/PID` and stat this is.
    pub(super) fn of(process: BorrowedFd<'_>, stat: &Stat<'_>) -> Self {
        let parents = parents(stat.parent);
        let groups = file(process, c"cgroup", RECORD_BYTES).unwrap_or_default();
        let place = cgroup::place(&String::from_utf8_lossy(&groups));
        let in_tmux = parents.iter().any(|it| it.program.starts_with("tmux"));
        Self {
            orphan: orphan(stat, &parents),
            tmux_pane: in_tmux.then(|| variable(process, b"TMUX_PANE=")).flatten(),
            unit: place.unit,
            container: place.container,
            parents,
        }
    }
}

impl Ancestor {
    /// The process with this number, whose open `/proc/PID` this is.
    pub(super) fn at(pid: Pid, process: BorrowedFd<'_>) -> Option<Self> {
        Self::read(pid.as_raw_nonzero().get(), process).map(|(found, _)| found)
    }

    /// The process, and its parent's number; `None` if it has ended.
    fn read(pid: i32, process: BorrowedFd<'_>) -> Option<(Self, i32)> {
        let line = file(process, c"stat", RECORD_BYTES)?;
        let stat = Stat::parse(&line)?;
        let command = arguments(&file(process, c"cmdline", COMMAND_BYTES)?);
        let executable = link(process, c"exe");
        let program = match executable.as_deref() {
            Some(path) => program(process, Some(path), &command, stat.name),
            // What a program calls itself is truer than its first argument, which `tmux: server` and `sshd: …` overwrite.
            None => String::from_utf8_lossy(stat.name).into_owned(),
        };
        let ancestor = Self {
            pid,
            program,
            command,
        };
        Some((ancestor, stat.parent))
    }
}

fn parents(first: i32) -> Vec<Ancestor> {
    let mut parents = Vec::new();
    let mut next = first;
    while next > INIT && parents.len() < GENERATIONS {
        let read = |process: OwnedFd| Ancestor::read(next, process.as_fd());
        let Some((parent, above)) = open(next).and_then(read) else {
            break;
        };
        parents.push(parent);
        next = above;
    }
    parents
}

/// Whether nobody is left of those who started it: the parent is who adopts orphans (the first process, or one that asked for
/// that, like the user's systemd), and the leader of the process group is gone.
fn orphan(stat: &Stat<'_>, parents: &[Ancestor]) -> Option<Orphan> {
    let adopts = |parent: &Ancestor| ["systemd", "init"].contains(&parent.program.as_str());
    let adopted = stat.parent == INIT || parents.first().is_some_and(adopts);
    let leader = stat.group;
    let led = leader <= 0 || runs(leader);
    (adopted && !led).then_some(Orphan { leader })
}

/// Whether that process has not ended; one whose parent hasn't asked how it ended has.
fn runs(pid: i32) -> bool {
    let stat = open(pid).and_then(|process| file(process.as_fd(), c"stat", RECORD_BYTES));
    stat.is_some_and(|line| Stat::parse(&line).is_none_or(|stat| !stat.ended))
}

/// The value of a variable in a process's environment as it was started; `prefix` is its name and `=`.
fn variable(process: BorrowedFd<'_>, prefix: &[u8]) -> Option<String> {
    let environment = file(process, c"environ", ENVIRONMENT_BYTES)?;
    let value = environment
        .split(|&byte| byte == 0)
        .find_map(|one| one.strip_prefix(prefix))?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// `/proc/PID`.
fn open(pid: i32) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(format!("/proc/{pid}"), flags, Mode::empty()).ok()
}
