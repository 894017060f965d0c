//! The programs that run in namespaces: what a person wants to know of a process, whatever sockets it holds.
//!
//! To have read: `proc_pid_stat(5)`, `proc_pid_environ(5)`.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::os::fd::AsFd as _;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::holders::DIRECTORY;
use super::process::{Detail, Lookup, Process, RECORD_BYTES, file};
use super::{Hold, Member, NetNamespace, Protocol, processes_in, protocol_by_name};

/// An environment longer than this is cut off.
const ENVIRONMENT_BYTES: usize = 256 << 10;

/// A process of a space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// The space.
    pub(crate) space: String,
    /// Who it is.
    #[serde(flatten)]
    pub(crate) process: Process,
    /// The number of its parent.
    pub(crate) parent: i32,
    /// What it does at this moment.
    pub(crate) state: Doing,
    /// The processor time that it has had, in milliseconds.
    pub(crate) cpu_ms: u64,
    /// The bytes of memory that it has at this moment, those that it shares with others included.
    pub(crate) memory_bytes: u64,
    /// Where it listens.
    pub(crate) listens: Vec<Listens>,
    /// The run that it belongs to, from the environment that it was started with.
    pub(crate) run: Option<String>,
}

/// A place where a process listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listens {
    /// TCP or UDP.
    #[serde(with = "protocol_by_name")]
    pub(crate) protocol: Protocol,
    /// The address; `0.0.0.0` and `::` stand for every address.
    pub(crate) address: IpAddr,
    /// The port.
    pub(crate) port: NonZeroU16,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Doing {
    /// It computes, or would if there were a processor free.
    Running,
    /// It waits for something.
    Sleeping,
    /// It waits for a disk, mostly, and can't be interrupted.
    Waiting,
    /// It was stopped, by Ctrl-Z or a debugger.
    Stopped,
    /// It has ended, and its parent hasn't heard of it.
    Ended,
}

impl Doing {
    fn of(letter: u8) -> Self {
        match letter {
            b'R' => Self::Running,
            b'D' => Self::Waiting,
            b'T' | b't' => Self::Stopped,
            b'Z' | b'X' => Self::Ended,
            _ => Self::Sleeping,
        }
    }

    /// The word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
            Self::Ended => "ended",
        }
    }
}

/// The processes of these namespaces, each with its space's name and a process that isn't shown (the keeper), the oldest of
/// each first; `holds` says where they listen.
///
/// # Errors
/// As [`processes_in`].
pub(crate) fn running(
    spaces: &[(&str, NetNamespace, Pid)],
    holds: &[Hold],
) -> Result<Vec<Running>, Errno> {
    let lookup = Lookup::new(Detail::Row);
    let mut all = Vec::new();
    for &(space, namespace, keeper) in spaces {
        let members = processes_in(namespace, |pid| pid != keeper)?;
        let mut found: Vec<_> = members
            .iter()
            .filter_map(|member| read(space, member, &lookup))
            .collect();
        found.sort_by_key(|one| (one.process.started, one.process.pid));
        all.extend(found);
    }
    for one in &mut all {
        let own = holds
            .iter()
            .filter(|hold| hold.space.as_deref() == Some(&*one.space));
        let own = own.filter(|hold| hold.programs.iter().any(|it| it.pid == one.process.pid));
        one.listens = own
            .map(|hold| Listens {
                protocol: hold.protocol,
                address: hold.address,
                port: hold.port,
            })
            .collect();
    }
    Ok(all)
}

/// `None` if it has ended.
fn read(space: &str, member: &Member, lookup: &Lookup) -> Option<Running> {
    let path = format!("/proc/{}", member.pid.as_raw_pid());
    let directory = rustix::fs::open(path, DIRECTORY, Mode::empty()).ok()?;
    let directory = directory.as_fd();
    let process = Process::read(member.pid, directory, lookup)?;
    let measured = Measured::parse(&file(directory, c"stat", RECORD_BYTES)?)?;
    Some(Running {
        space: space.to_owned(),
        process,
        parent: measured.parent,
        state: measured.state,
        cpu_ms: measured.cpu_ms,
        memory_bytes: measured.memory_bytes,
        listens: Vec::new(),
        run: file(directory, c"environ", ENVIRONMENT_BYTES).and_then(|all| mark(&all)),
    })
}

/// The run's name in an environment.
pub(crate) fn mark(environment: &[u8]) -> Option<String> {
    let mut variables = environment.split(|&byte| byte == 0);
    let run = variables.find_map(|variable| variable.strip_prefix(b"WHARF_RUN="))?;
    String::from_utf8(run.to_vec()).ok()
}

/// What `/proc/PID/stat` says of a process's work.
#[derive(Debug, PartialEq, Eq)]
struct Measured {
    state: Doing,
    parent: i32,
    cpu_ms: u64,
    memory_bytes: u64,
}

impl Measured {
    /// Behind the name, which ends with the last `)`: field 3 is the state, 4 the parent, 14 and 15 are ticks of user and
    /// system time, 24 is the resident memory in pages.
    fn parse(stat: &[u8]) -> Option<Self> {
        let end = stat.iter().rposition(|&byte| byte == b')')?;
        let rest = str::from_utf8(stat.get(end + 1..)?).ok()?;
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let ticks = number(14)?.saturating_add(number(15)?);
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let milliseconds = u128::from(ticks) * 1000 / u128::from(per_second);
        Some(Self {
            state: Doing::of(*fields.first()?.as_bytes().first()?),
            parent: fields.get(1)?.parse().ok()?,
            cpu_ms: u64::try_from(milliseconds).unwrap_or(u64::MAX),
            memory_bytes: number(24)?.saturating_mul(rustix::param::page_size() as u64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_a_process_is_read() {
        let stat = b"42 (a) b) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 999 1000000 25 18446744073709551615 1";
        let measured = Measured::parse(stat).unwrap();
        assert_eq!((measured.state, measured.parent), (Doing::Sleeping, 7));
        let per_second = u128::from(rustix::param::clock_ticks_per_second());
        assert_eq!(u128::from(measured.cpu_ms), 200_000 / per_second);
        assert_eq!(
            measured.memory_bytes,
            25 * rustix::param::page_size() as u64
        );
        for broken in [&b"42 (a) S 7"[..], b"", b"42 (a", b"42 (a) "] {
            assert_eq!(Measured::parse(broken), None);
        }
    }

    #[test]
    fn a_run_marks_its_programs() {
        assert_eq!(mark(b"A=1\0WHARF_RUN=00ff\0B=2\0").as_deref(), Some("00ff"));
        assert_eq!(mark(b"XWHARF_RUN=00ff\0"), None);
    }
}
