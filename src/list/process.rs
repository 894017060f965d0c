//! One process as a person knows it: program, command, directory, since when.
//!
//! Everything is read through one open `/proc/PID`, so that the answers are
//! all about the same process even when its number is given to another one.
//!
//! To have read: `proc_pid_stat(5)`, `proc_pid_exe(5)`, `proc_pid_cmdline(5)`.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::str::FromStr;
use std::sync::{LazyLock, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::process::Pid;
use rustix::time::ClockId;
use serde::{Deserialize, Serialize};

use super::background::Background;
use super::users::Users;
use super::worktree::Worktrees;

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
    /// That user's name, if the machine knows one.
    pub(crate) user: Option<String>,
    /// The root of the git worktree that holds the current directory.
    pub(crate) worktree: Option<String>,
    /// The branch that is checked out there, or the beginning of the commit's name.
    pub(crate) branch: Option<String>,
    /// Where it comes from. Only where a story is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) background: Option<Background>,
}

/// How much is to be known of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Detail {
    /// What a row of a table has.
    Row,
    /// Its background, too.
    Story,
}

/// What is needed to read processes, read once for all of them.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) moment: Moment,
    pub(super) users: LazyLock<Users>,
    worktrees: Mutex<Worktrees>,
    detail: Detail,
}

impl Lookup {
    /// Reads the clocks. The names of users are read when one is wanted.
    pub(super) fn new(detail: Detail) -> Self {
        Self {
            moment: Moment::now(),
            users: LazyLock::new(Users::of_machine),
            worktrees: Mutex::default(),
            detail,
        }
    }
}

/// A command line longer than this is cut off.
const COMMAND_BYTES: usize = 64 * 1024;

/// `/proc/PID/stat` and `status` are far shorter.
pub(super) const RECORD_BYTES: usize = 16 * 1024;

impl Process {
    /// Reads the process whose open `/proc/PID` this is; `None` when it has ended.
    pub(super) fn read(pid: Pid, process: BorrowedFd<'_>, lookup: &Lookup) -> Option<Self> {
        let stat = file(process, c"stat", RECORD_BYTES)?;
        let stat = Stat::parse(&stat)?;
        let command = arguments(&file(process, c"cmdline", COMMAND_BYTES)?);
        let executable = link(process, c"exe");
        let directory = link(process, c"cwd");
        let worktree = directory.as_deref().and_then(|path| {
            // What a panic may have left undone is only looked up again.
            let worktrees = lookup.worktrees.lock();
            worktrees
                .unwrap_or_else(PoisonError::into_inner)
                .of(process, path)
        });
        let (worktree, branch) = worktree.map_or((None, None), |it| (Some(it.root), it.branch));
        let uid = real_uid(process)?;
        Some(Self {
            pid: pid.as_raw_nonzero().get(),
            program: program(process, executable.as_deref(), &command, stat.name),
            command,
            directory,
            started: lookup.moment.started(stat.start_ticks),
            uid,
            user: lookup.users.name(uid),
            worktree,
            branch,
            background: (lookup.detail == Detail::Story).then(|| Background::of(process, &stat)),
        })
    }
}

/// The process that a thread belongs to; `None` when the thread has ended.
pub(crate) fn process_of_thread(thread: Pid) -> Option<Pid> {
    let status = std::fs::read(format!("/proc/{}/status", thread.as_raw_nonzero())).ok()?;
    Pid::from_raw(number(&status, b"Tgid:")?)
}

/// The name of the program that a thread runs; `None` when it may not be seen.
pub(crate) fn program_of_thread(thread: Pid) -> Option<String> {
    let path = format!("/proc/{}", thread.as_raw_nonzero());
    let process = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let executable = link(process.as_fd(), c"exe")?;
    let command = arguments(&file(process.as_fd(), c"cmdline", COMMAND_BYTES)?);
    Some(program(process.as_fd(), Some(&executable), &command, b""))
}

/// The reading of two clocks at once, which turns "ticks since boot" into a time of day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// The time of day when the machine started, had its clock been right all the time.
    boot: Timestamp,
    ticks_per_second: u64,
}

/// When the machine started.
pub(crate) fn boot() -> Timestamp {
    Moment::now().boot
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
pub(super) struct Stat<'a> {
    /// The name that the process gave itself, at most 15 bytes, any of them.
    pub(super) name: &'a [u8],
    /// Field 3: whether it has ended, and its parent hasn't asked how.
    pub(super) ended: bool,
    /// Field 4: the parent's number.
    pub(super) parent: i32,
    /// Field 5: the number of the process group, which is that of its leader.
    pub(super) group: i32,
    /// Field 22: clock ticks between boot and start.
    start_ticks: u64,
}

impl<'a> Stat<'a> {
    /// The name stands in parentheses and may hold parentheses, spaces and newlines, so the last
    /// closing one ends it.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let opening = line.iter().position(|&byte| byte == b'(')?;
        let closing = line.iter().rposition(|&byte| byte == b')')?;
        let name = line.get(opening + 1..closing)?;
        let rest = str::from_utf8(line.get(closing + 1..)?).ok()?;
        // Field 3 is the first one after the name.
        let mut fields = rest.split_ascii_whitespace();
        let ended = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let start_ticks = fields.nth(22 - 6)?.parse().ok()?;
        Some(Self {
            name,
            ended,
            parent,
            group,
            start_ticks,
        })
    }
}

/// The real user id.
///
/// Whoever may be looked at has one user id for everything, which owns `/proc/PID`. Programs that changed theirs belong to
/// root there; only of those the longer way is needed.
fn real_uid(process: BorrowedFd<'_>) -> Option<u32> {
    match rustix::fs::fstat(process).ok()?.st_uid {
        0 => uid_in_status(&file(process, c"status", RECORD_BYTES)?),
        owner => Some(owner),
    }
}

/// The real user id in `/proc/PID/status`: `Uid:`, then real, effective, saved, file system.
fn uid_in_status(status: &[u8]) -> Option<u32> {
    number(status, b"Uid:")
}

/// The first number behind a name in `/proc/PID/status`.
fn number<N: FromStr>(status: &[u8], name: &[u8]) -> Option<N> {
    let line = status
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(name))?;
    str::from_utf8(line)
        .ok()?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()
}

/// The program's name: its executable's file, by the name that it was called by if it has several; else what it was called as,
/// else what it calls itself.
pub(super) fn program(
    process: BorrowedFd<'_>,
    executable: Option<&str>,
    command: &[String],
    name: &[u8],
) -> String {
    let executable = executable.map(|path| path.strip_suffix(" (deleted)").unwrap_or(path));
    let called = command.first().map(String::as_str);
    let file = match (executable, called) {
        (Some(executable), Some(called)) => {
            other_name(process, executable, called).or_else(|| Some(file_name(executable)))
        }
        (path, None) | (None, path) => path.map(file_name),
    };
    match file {
        Some(file) if !file.is_empty() => file.to_owned(),
        _ => String::from_utf8_lossy(name).into_owned(),
    }
}

/// What a program was called as, where that is another name of its executable in the same directory: `redis-server`, which
/// Debian has as a link to `redis-check-rdb`; `httpd`, which is busybox. A shorter form of the same name says less: `python3`.
///
/// A program may change the line of words that it was called by, but not make a name that is no link to its file.
fn other_name<'a>(process: BorrowedFd<'_>, executable: &str, called: &'a str) -> Option<&'a str> {
    // Many write behind it what they do, in the same word: `redis-server *:6379`.
    let called = file_name(called.split_ascii_whitespace().next()?);
    let (directory, own) = executable.rsplit_once('/')?;
    if called.is_empty() || own.starts_with(called) {
        return None;
    }
    // As the program sees it, whose root may be a container's.
    let other = format!("root{directory}/{called}");
    let identity = |path: &str| {
        let stat = rustix::fs::statat(process, path, AtFlags::empty()).ok()?;
        Some((stat.st_dev, stat.st_ino))
    };
    (identity(&other)? == identity("exe")?).then_some(called)
}

/// What follows the last slash.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, file)| file)
}

/// Splits a command line at its NUL bytes. The last argument ends with one; a program that wrote a shorter title over its
/// arguments leaves more.
pub(super) fn arguments(bytes: &[u8]) -> Vec<String> {
    let Some(last) = bytes.iter().rposition(|&byte| byte != 0) else {
        return Vec::new();
    };
    bytes[..=last]
        .split(|&byte| byte == 0)
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect()
}

/// A link's target; `None` when it may not be read.
pub(super) fn link(process: BorrowedFd<'_>, name: &CStr) -> Option<String> {
    let target = rustix::fs::readlinkat(process, name, Vec::new()).ok()?;
    Some(target.to_string_lossy().into_owned())
}

/// A file's first `limit` bytes; `None` when it can't be read.
pub(super) fn file(process: BorrowedFd<'_>, name: &CStr, limit: usize) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(process, name, flags, Mode::empty()).ok()?;
    let mut bytes = Vec::with_capacity(4096);
    while bytes.len() < limit {
        bytes.reserve(1024);
        let room = bytes.spare_capacity_mut().len();
        let spare = rustix::buffer::spare_capacity(&mut bytes);
        // These files are made on reading: where there is room left, that was all.
        if rustix::io::read(&file, spare).ok()? < room {
            break;
        }
    }
    bytes.truncate(limit);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs::File;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::process::CommandExt as _;
    use std::path::Path;
    use std::process::Command;

    use super::super::testing::Standing;
    use super::*;

    /// What is known about a child, before and after `change`, and after its end.
    fn look(mut child: Standing, change: impl FnOnce()) -> (Process, Process, Option<Process>) {
        let directory = File::open(format!("/proc/{}", child.number())).unwrap();
        let lookup = Lookup::new(Detail::Row);
        let pid = child.pid();
        let read = || Process::read(pid, directory.as_fd(), &lookup);
        let before = read().unwrap();
        change();
        let after = read().unwrap();
        child.kill();
        child.wait();
        (before, after, read())
    }

    /// A copy of the shell at this path. Another process writes it, so that no child of a test
    /// running beside this one can hold it open for writing (`ETXTBSY`).
    fn copy_of_shell(path: &Path) {
        let script = "cp \"$(command -v sh)\" \"$0\"";
        let copied = Command::new("sh").args(["-c", script]).arg(path).status();
        assert!(copied.unwrap().success());
    }

    #[test]
    fn a_strangely_named_program_in_a_strange_directory_is_read_and_outlives_its_file() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join(OsStr::from_bytes(b"a\xff b\nc"));
        std::fs::create_dir(&directory).unwrap();
        let executable = directory.join("x) (y\nz");
        copy_of_shell(&executable);
        let child = Standing::start(Command::new(&executable).current_dir(&directory)).unwrap();
        let pid = child.number();
        let (before, after, ended) = look(child, || std::fs::remove_dir_all(&directory).unwrap());

        let shown = directory.to_string_lossy().into_owned();
        assert_eq!(before.pid, pid);
        assert_eq!(before.program, "x) (y\nz");
        assert_eq!(
            before.command[..2],
            [executable.to_string_lossy().into_owned(), "-c".to_owned()]
        );
        assert_eq!(before.directory.as_deref(), Some(shown.as_str()));
        assert_eq!(before.uid, rustix::process::getuid().as_raw());
        assert_eq!(after.program, "x) (y\nz");
        assert_eq!(after.directory, Some(format!("{shown} (deleted)")));
        assert_eq!(after.started, before.started);
        assert_eq!(ended, None);
    }

    #[test]
    fn the_start_is_told_in_the_time_of_day() {
        let before = Timestamp::now();
        let child = Standing::start(&mut Command::new("sh")).unwrap();
        let after = Timestamp::now();
        let (process, ..) = look(child, || ());
        // The kernel counts whole ticks, 10 ms each, and cuts off the rest.
        let tick = SignedDuration::from_millis(20);
        assert!(process.started >= before.checked_sub(tick).unwrap());
        assert!(process.started <= after.checked_add(tick).unwrap());
    }

    #[test]
    fn two_readings_of_the_clocks_agree_about_a_start() {
        let times: Vec<_> = (0..2).map(|_| Moment::now().started(123_456)).collect();
        assert!(times[0].duration_until(times[1]).abs() <= SignedDuration::from_millis(10));
        assert_eq!(times[0].as_millisecond() % 10, 0);
    }

    #[test]
    fn ticks_beyond_all_time_don_t_overflow() {
        let moment = Moment::now();
        assert_eq!(moment.started(u64::MAX), hundredth(moment.boot));
    }

    #[test]
    fn a_name_may_hold_parentheses_spaces_and_newlines() {
        let fields = "S 7 8 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987 11 12";
        for name in ["sleep", "a b", ") (", ") S 1 (x", "\n)", "", "\u{1f6a2}"] {
            let line = format!("42 ({name}) {fields}\n");
            let stat = Stat::parse(line.as_bytes()).unwrap();
            assert_eq!(
                stat,
                Stat {
                    name: name.as_bytes(),
                    ended: false,
                    parent: 7,
                    group: 8,
                    start_ticks: 987
                }
            );
        }
        let mut not_utf8 = b"42 (\xff\xfe) ".to_vec();
        not_utf8.extend(fields.as_bytes());
        assert_eq!(Stat::parse(&not_utf8).unwrap().name, b"\xff\xfe");
    }

    #[test]
    fn a_cut_off_stat_line_is_no_stat() {
        for line in [
            "",
            "42",
            "42 (",
            "42 (a",
            "42 )a(",
            "42 (a) S 1 1",
            "42 (a) S 1 1 1 0 x",
        ] {
            assert_eq!(Stat::parse(line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn a_program_is_named_by_what_is_known() {
        let process = File::open("/proc/self").unwrap();
        let program =
            |executable, command: &[String]| program(process.as_fd(), executable, command, b"comm");
        let command = ["/usr/bin/python3".to_owned()];
        assert_eq!(program(Some("/usr/bin/python3.11"), &command), "python3.11");
        assert_eq!(program(Some("/opt/x (deleted)"), &command), "x");
        assert_eq!(program(None, &command), "python3");
        assert_eq!(program(None, &[]), "comm");
        assert_eq!(program(None, &[String::new()]), "comm");
    }

    #[test]
    fn one_of_several_names_is_the_one_that_was_called() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        copy_of_shell(&path("check"));
        std::os::unix::fs::symlink("check", path("serve")).unwrap();
        copy_of_shell(&path("false"));
        for (called, name) in [
            ("check", "check"),
            ("serve", "serve"),
            ("/elsewhere/serve", "serve"),
            ("serve: of port 80", "check"),
            ("serve *:80", "serve"),
            ("che", "check"),
            ("false", "check"),
            ("true", "check"),
            ("", "check"),
        ] {
            let mut command = Command::new(path("check"));
            let child = Standing::start(command.arg0(called)).unwrap();
            let process = File::open(format!("/proc/{}", child.number())).unwrap();
            let lookup = Lookup::new(Detail::Row);
            let pid = Pid::from_raw(child.number()).unwrap();
            let read = Process::read(pid, process.as_fd(), &lookup).unwrap();
            assert_eq!(read.program, name, "{called:?}");
            assert_eq!(program_of_thread(pid).as_deref(), Some(name), "{called:?}");
        }
    }

    #[test]
    fn arguments_may_be_empty_or_not_utf8() {
        assert_eq!(arguments(b""), Vec::<String>::new());
        assert_eq!(arguments(b"a\0"), ["a"]);
        assert_eq!(arguments(b"a\0\0b c\0"), ["a", "", "b c"]);
        assert_eq!(
            arguments(b"nginx: master process"),
            ["nginx: master process"]
        );
        assert_eq!(arguments(b"\xff\0"), ["\u{fffd}"]);
        assert_eq!(
            arguments(b"redis-server *:6379\0\0\0\0"),
            ["redis-server *:6379"]
        );
    }

    #[test]
    fn the_real_user_is_the_first_of_four() {
        assert_eq!(
            uid_in_status(b"Name:\tx\nUid:\t1001\t0\t0\t0\nGid:\t5\t5\t5\t5\n"),
            Some(1001)
        );
        assert_eq!(uid_in_status(b"Name:\tUid: 5\n"), None);
    }
}
