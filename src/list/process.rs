//! One process as a person knows it: program, command, directory, since when.
//!
//! Everything is read through one open `/proc/PID`, so that the answers are
//! all about the same process even when its number is given to another one.
//!
//! To have read: `proc_pid_stat(5)`, `proc_pid_exe(5)`, `proc_pid_cmdline(5)`.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use jiff::{SignedDuration, Timestamp};
use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;
use rustix::time::ClockId;
use serde::{Deserialize, Serialize};

/// A process that holds a socket.
///
/// Names that aren't UTF-8 are shown with U+FFFD in the place of what isn't.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its number, as seen from the machine.
    pub(crate) pid: i32,
    /// The name of the executable's file, such as `python3.11`.
    pub(crate) program: String,
    /// The command line, one string per argument; empty when the process has wiped it.
    pub(crate) command: Vec<String>,
    /// The current directory; `None` when it may not be seen.
    pub(crate) directory: Option<String>,
    /// When it started, exact to 10 ms.
    pub(crate) started: Timestamp,
    /// The real user id, as seen from the machine.
    pub(crate) uid: u32,
}

/// A command line longer than this is cut off.
const COMMAND_BYTES: usize = 64 * 1024;

/// `/proc/PID/stat` and `status` are far shorter.
const RECORD_BYTES: usize = 16 * 1024;

impl Process {
    /// Reads the process whose open `/proc/PID` this is; `None` when it has ended.
    pub(crate) fn read(pid: Pid, process: BorrowedFd<'_>, moment: &Moment) -> Option<Self> {
        let stat = file(process, c"stat", RECORD_BYTES)?;
        let stat = Stat::parse(&stat)?;
        let status = file(process, c"status", RECORD_BYTES)?;
        let command = arguments(&file(process, c"cmdline", COMMAND_BYTES)?);
        let executable = link(process, c"exe");
        Some(Self {
            pid: pid.as_raw_nonzero().get(),
            program: program(executable.as_deref(), &command, stat.name),
            command,
            directory: link(process, c"cwd"),
            started: moment.started(stat.start_ticks),
            uid: real_uid(&status)?,
        })
    }
}

/// The reading of two clocks at once, which turns "ticks since boot" into a time of day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// The time of day when the machine started, had its clock been right all the time.
    boot: Timestamp,
    ticks_per_second: u64,
}

impl Moment {
    /// Reads the clocks.
    pub(crate) fn now() -> Self {
        let since_boot = rustix::time::clock_gettime(ClockId::Boottime);
        let nanoseconds = i32::try_from(since_boot.tv_nsec).expect("tv_nsec is below 10^9");
        let since_boot = SignedDuration::new(since_boot.tv_sec, nanoseconds);
        let boot = Timestamp::now()
            .checked_sub(since_boot)
            .unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            boot,
            ticks_per_second: rustix::param::clock_ticks_per_second(),
        }
    }

    /// The time of day of a moment counted in clock ticks since boot.
    fn started(&self, ticks: u64) -> Timestamp {
        let hundredths = u128::from(ticks) * 100 / u128::from(self.ticks_per_second.max(1));
        let since_boot = i64::try_from(hundredths * 10).unwrap_or(i64::MAX);
        let started = self
            .boot
            .checked_add(SignedDuration::from_millis(since_boot));
        hundredth(started.unwrap_or(self.boot))
    }
}

/// Rounds to 10 ms: the clocks are read one after the other, and two lists should agree.
fn hundredth(time: Timestamp) -> Timestamp {
    let milliseconds = (time.as_millisecond() + 5).div_euclid(10) * 10;
    Timestamp::from_millisecond(milliseconds).unwrap_or(time)
}

/// What is needed of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat<'a> {
    /// The name that the process gave itself, at most 15 bytes, any of them.
    name: &'a [u8],
    /// Field 22: clock ticks between boot and start.
    start_ticks: u64,
}

impl<'a> Stat<'a> {
    /// The name stands in parentheses and may hold parentheses, spaces and newlines, so the last
    /// closing one ends it.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let opening = line.iter().position(|&byte| byte == b'(')?;
        let closing = line.iter().rposition(|&byte| byte == b')')?;
        let name = line.get(opening + 1..closing)?;
        let rest = str::from_utf8(line.get(closing + 1..)?).ok()?;
        // Field 3 is the first one after the name.
        let start_ticks = rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()?;
        Some(Self { name, start_ticks })
    }
}

/// The real user id in `/proc/PID/status`: `Uid:`, then real, effective, saved, file system.
fn real_uid(status: &[u8]) -> Option<u32> {
    let line = status
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"Uid:"))?;
    str::from_utf8(line)
        .ok()?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()
}

/// The program's name: its executable's file, else what it was called as, else what it calls itself.
fn program(executable: Option<&str>, command: &[String], name: &[u8]) -> String {
    let executable = executable.map(|path| path.strip_suffix(" (deleted)").unwrap_or(path));
    let path = executable.or_else(|| command.first().map(String::as_str));
    match path.map(file_name) {
        Some(file) if !file.is_empty() => file.to_owned(),
        _ => String::from_utf8_lossy(name).into_owned(),
    }
}

/// What follows the last slash.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, file)| file)
}

/// Splits a command line at its NUL bytes. The last argument ends with one.
fn arguments(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes
        .split(|&byte| byte == 0)
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect()
}

/// A link's target; `None` when it may not be read.
fn link(process: BorrowedFd<'_>, name: &CStr) -> Option<String> {
    let target = rustix::fs::readlinkat(process, name, Vec::new()).ok()?;
    Some(target.to_string_lossy().into_owned())
}

/// A file's first `limit` bytes; `None` when it can't be read.
fn file(process: BorrowedFd<'_>, name: &CStr, limit: usize) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(process, name, flags, Mode::empty()).ok()?;
    let mut bytes = Vec::with_capacity(1024);
    while bytes.len() < limit {
        bytes.reserve(1024);
        let spare = rustix::buffer::spare_capacity(&mut bytes);
        if rustix::io::read(&file, spare).ok()? == 0 {
            break;
        }
    }
    bytes.truncate(limit);
    Some(bytes)
}
