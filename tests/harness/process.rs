//! Running programs: what they say is kept, and whatever is awaited has a deadline.

use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::{DEADLINE, traces};

/// A command line, yet to be run.
#[must_use]
pub(crate) struct Line {
    command: Command,
}

impl Line {
    pub(crate) fn new(command: Command) -> Self {
        Self { command }
    }

    /// One more word.
    pub(crate) fn word(mut self, word: impl AsRef<OsStr>) -> Self {
        self.command.arg(word);
        self
    }

    /// More words.
    pub(crate) fn words<W: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.command.args(words);
        self
    }

    /// With this in its environment.
    pub(crate) fn with(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it; it can be written to.
    #[track_caller]
    pub(crate) fn start(mut self) -> Process {
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let line = format!("{:?}", self.command);
        let mut child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {line}: {error}"));
        let stdout = Transcript::of(child.stdout.take().expect("it is piped"));
        let stderr = Transcript::of(child.stderr.take().expect("it is piped"));
        Process {
            child,
            stdout,
            stderr,
            line,
        }
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(self) -> Outcome {
        let mut process = self.start();
        process.close_input();
        process.outcome()
    }

    /// Runs it to its end, which must be a success; answers with its standard output.
    #[track_caller]
    pub(crate) fn out(self) -> String {
        let outcome = self.run();
        assert!(outcome.status.success(), "{outcome}");
        outcome.stdout
    }

    /// The command, for what is not a pipe.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
    line: String,
}

impl Outcome {
    /// Its exit status, if it wasn't a signal that ended it.
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| panic!("ended by signal {:?}: {self}", self.status.signal()))
    }

    /// Fails unless it ended with `code`.
    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "{self}");
        self
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            status,
            stdout,
            stderr,
            line,
            ..
        } = self;
        write!(
            f,
            "{line}\nended with {status}; it said\n{stdout}\nand on standard error\n{stderr}"
        )
    }
}

/// A program that runs; it is killed when this goes.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdout: Transcript,
    stderr: Transcript,
    line: String,
}

impl Process {
    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The program of a `wharf run`, which is its child. So may be the daemon, if this run started it.
    #[track_caller]
    pub(crate) fn program(&self) -> Pid {
        let children = traces::children(self.pid()).into_iter();
        let programs: Vec<_> = children
            .filter(|&child| {
                traces::words(child)
                    .get(1)
                    .is_none_or(|word| word != "daemon")
            })
            .collect();
        assert_eq!(programs.len(), 1, "children of {}: {programs:?}", self.line);
        programs[0]
    }

    /// Waits until it has said `text` on standard output.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        self.stdout.await_text(text).unwrap_or_else(|said| {
            panic!(
                "{}\nnever said {text:?}; it said\n{said}\nand on standard error\n{}",
                self.line,
                self.stderr.text()
            );
        });
    }

    /// What it has said on standard output until now.
    pub(crate) fn stdout_so_far(&self) -> String {
        self.stdout.text()
    }

    /// Waits until it has said `text` on standard error.
    #[track_caller]
    pub(crate) fn warns(&self, text: &str) {
        self.stderr.await_text(text).unwrap_or_else(|said| {
            panic!(
                "{}\nnever said {text:?} on standard error; it said\n{said}",
                self.line
            );
        });
    }

    /// Waits for a whole line on standard output that begins with `head`; answers with what follows.
    #[track_caller]
    pub(crate) fn line_after(&self, head: &str) -> String {
        self.says(head);
        let found = self.stdout.await_that(|said| {
            let (_, rest) = said.split_once(head)?;
            Some(rest.split_once('\n')?.0.trim().to_owned())
        });
        found.unwrap_or_else(|said| {
            panic!(
                "{}\nnever ended the line {head:?}; it said\n{said}",
                self.line
            )
        })
    }

    /// Waits for a whole line on standard output in which `look` finds what it looks for.
    #[track_caller]
    pub(crate) fn line_that<T>(&self, look: impl Fn(&str) -> Option<T>) -> T {
        let whole = |said: &str| said.rfind('\n').map(|end| said[..end].to_owned());
        let found = self
            .stdout
            .await_that(|said| whole(said)?.lines().find_map(&look));
        found.unwrap_or_else(|said| {
            panic!(
                "{}\nnever said what was awaited, but\n{said}\nand on standard error\n{}",
                self.line,
                self.stderr.text()
            )
        })
    }

    /// Writes to its standard input.
    pub(crate) fn write(&mut self, input: &[u8]) {
        let stdin = self.child.stdin.as_mut().expect("its input is open");
        // A program that has ended reads nothing more; its outcome says why.
        stdin.write_all(input).and_then(|()| stdin.flush()).ok();
    }

    /// Ends its standard input.
    pub(crate) fn close_input(&mut self) {
        self.child.stdin.take();
    }

    /// Sends it a signal.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal)
            .unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.line));
    }

    /// Whether it runs still.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn outcome(mut self) -> Outcome {
        let begun = Instant::now();
        if !ends_within(self.pid(), DEADLINE) {
            let (said, warned) = (self.stdout.text(), self.stderr.text());
            panic!(
                "{}\ndoesn't end; it said\n{said}\nand on standard error\n{warned}",
                self.line
            );
        }
        let took = begun.elapsed();
        let status = self.child.wait().expect("it is our child");
        let whole = |transcript: &Transcript, which: &str| {
            transcript.whole().unwrap_or_else(|said| {
                panic!(
                    "{}\nhas ended, but somebody holds its {which} open; it said\n{said}",
                    self.line
                )
            })
        };
        let (stdout, stderr) = (
            whole(&self.stdout, "standard output"),
            whole(&self.stderr, "standard error"),
        );
        Outcome {
            status,
            stdout,
            stderr,
            took,
            line: self.line.clone(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.runs() {
            if std::thread::panicking() {
                let (said, warned) = (self.stdout.text(), self.stderr.text());
                eprintln!(
                    "still ran: {}\nit said\n{said}\nand on standard error\n{warned}",
                    self.line
                );
            }
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// Whether the process has ended, or does so in time.
pub(crate) fn ends_within(pid: Pid, time: Duration) -> bool {
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return true;
    };
    let time = Timespec::try_from(time).expect("it is a short time");
    poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&time)).is_ok_and(|ended| ended == 1)
}

/// All that a program says, read as it comes.
#[derive(Debug, Clone)]
pub(crate) struct Transcript(Arc<(Mutex<Said>, Condvar)>);

#[derive(Debug, Default)]
struct Said {
    bytes: Vec<u8>,
    ended: bool,
}

impl Transcript {
    /// Begins to read.
    pub(crate) fn of(mut source: impl Read + Send + 'static) -> Self {
        let transcript = Self(Arc::default());
        let writer = transcript.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                // A terminal that nobody has open any more reads as an error.
                let read = source.read(&mut buffer).unwrap_or(0);
                let (said, changed) = &*writer.0;
                let mut said = said.lock().expect("no holder panics");
                said.bytes.extend_from_slice(&buffer[..read]);
                said.ended = read == 0;
                changed.notify_all();
                if said.ended {
                    return;
                }
            }
        });
        transcript
    }

    /// What was said so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.0.lock().expect("no holder panics").bytes).into_owned()
    }

    /// Waits until `text` was said.
    ///
    /// # Errors
    /// What was said instead.
    pub(crate) fn await_text(&self, text: &str) -> Result<(), String> {
        self.await_that(|said| said.contains(text).then_some(()))
    }

    /// Waits until `look` finds what it looks for in what was said.
    ///
    /// # Errors
    /// What was said instead.
    pub(crate) fn await_that<T>(&self, look: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        self.wait(|said| {
            let text = String::from_utf8_lossy(&said.bytes);
            match look(&text) {
                None if said.ended => Some(Err(text.into_owned())),
                found => found.map(Ok),
            }
        })
    }

    /// Waits for the end and answers with everything.
    ///
    /// # Errors
    /// What was said without end.
    pub(crate) fn whole(&self) -> Result<String, String> {
        self.wait(|said| {
            said.ended
                .then(|| Ok(String::from_utf8_lossy(&said.bytes).into_owned()))
        })
    }

    fn wait<T>(&self, look: impl Fn(&Said) -> Option<Result<T, String>>) -> Result<T, String> {
        let begun = Instant::now();
        let (said, changed) = &*self.0;
        let mut said = said.lock().expect("no holder panics");
        loop {
            if let Some(found) = look(&said) {
                return found;
            }
            let Some(left) = DEADLINE.checked_sub(begun.elapsed()) else {
                return Err(String::from_utf8_lossy(&said.bytes).into_owned());
            };
            said = changed
                .wait_timeout(said, left)
                .expect("no holder panics")
                .0;
        }
    }
}
