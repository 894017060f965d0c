//! Programs in the background: `wharf run -d`.
//!
//! The command starts an *attendant*, which is a `wharf run` with a session of its own: it is the program's parent, reads
//! what the program says into a [`log`], and ends when nobody is left who could say more. Everything else it does as any
//! `wharf run`: the space lives as long as it does, and when the daemon dies, it tells the next one of its program.

pub(crate) mod log;

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;

use crate::failure::status;
use crate::runs::Account;
use crate::signals::{Caught, Signals};
use crate::{cli, config, run};
use log::{Log, Page};

/// What the attendant says when the program runs.
const BEGUN: u8 = 1;
/// So many bytes of what the program says are taken at once.
const PIECE: usize = 64 << 10;

/// Starts an attendant with the same command line, and waits until its program runs, or can't.
pub(crate) fn launch() -> Result<ExitCode> {
    let (mut near, far) = UnixStream::pair().context("cannot make a socket")?;
    let mut attendant = Command::new("/proc/self/exe")
        .arg0("wharf")
        .arg(cli::ATTENDANT)
        .args(std::env::args_os().skip(1))
        .stdin(OwnedFd::from(far))
        .spawn()
        .context("cannot start an attendant")?;
    let mut said = [0];
    if near.read_exact(&mut said).is_ok() {
        return Ok(ExitCode::SUCCESS);
    }
    // It has said why.
    let ended = attendant.wait().context("cannot wait for the attendant")?;
    let code = ended.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(status::WHARF_FAILED)))
}

/// The attendant's life.
pub(crate) fn attend() -> Result<ExitCode> {
    let report = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdin(null()?)?;
    // It fails only for a group's leader, which whoever was started just now is not.
    rustix::process::setsid().context("cannot leave the session")?;
    let cli::Command::Run(typed) = cli::typed_for_attendant() else {
        anyhow::bail!("only `wharf run` has an attendant");
    };
    let (said, output) = pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
    rustix::io::ioctl_fionbio(&said, true)?;
    let attendant = Attendant {
        report: Some(report),
        said: Some(said),
        output: Some(output),
        log: None,
    };
    let outcome = run::carry(typed, config::of_here()?, Stage::Background(attendant))?;
    Ok(ExitCode::from(outcome.status))
}

fn null() -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open("/dev/null", flags, Mode::empty()).context("cannot open /dev/null")
}

/// Where a run's program says what it says.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Where this process does.
    Terminal,
    /// Into a log.
    Background(Attendant),
}

/// What an attendant has in hand.
#[derive(Debug)]
pub(crate) struct Attendant {
    /// Who waits for the program's start.
    report: Option<UnixStream>,
    /// What is said; gone when nobody can say more.
    said: Option<OwnedFd>,
    /// Where the program is to say it.
    output: Option<OwnedFd>,
    log: Option<Log>,
}

impl Stage {
    /// Gives a program its input and output.
    pub(crate) fn furnish(&mut self, command: &mut Command) -> Result<()> {
        if let Self::Background(attendant) = self {
            let output = attendant.output.take().context("it has its output")?;
            command.stdin(Stdio::null());
            command.stdout(output.try_clone()?).stderr(output);
        }
        Ok(())
    }

    /// The program runs: from here on, this process is on its own.
    pub(crate) fn begun(&mut self, account: &mut Account, quiet: bool) -> Result<()> {
        let Self::Background(attendant) = self else {
            return Ok(());
        };
        account.attendant = Some(rustix::process::getpid().as_raw_pid());
        let log = account.open_log()?;
        account.write()?;
        if !quiet {
            eprintln!(
                "wharf: in the background; `wharf logs -f {}` shows what it says, `wharf stop {}` ends the space",
                account.pid, account.space
            );
        }
        // Who started this may not be interested.
        writeln!(io::stdout(), "{}", account.pid).ok();
        log.speak_into()?;
        attendant.log = Some(log);
        if let Some(mut report) = attendant.report.take() {
            report.write_all(&[BEGUN]).ok();
        }
        Ok(())
    }

    /// Where it can be waited for that the program says something.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Terminal => None,
            Self::Background(attendant) => attendant.said.as_ref().map(AsFd::as_fd),
        }
    }

    /// Whether this process belongs to a terminal, and is stopped when its program is.
    pub(crate) fn is_in_terminal(&self) -> bool {
        matches!(self, Self::Terminal)
    }

    /// Keeps what the program says.
    pub(crate) fn hear(&mut self) {
        if let Self::Background(attendant) = self {
            attendant.hear();
        }
    }

    /// The program has ended: what others of its children say is kept until they have ended as well, or until this process
    /// is to end.
    pub(crate) fn outlast(mut self, mut signals: Signals) {
        while let Some(said) = self.descriptor() {
            let mut watched = [
                PollFd::from_borrowed_fd(said, PollFlags::IN),
                PollFd::new(&signals, PollFlags::IN),
            ];
            if poll(&mut watched, None).is_err_and(|errno| errno != Errno::INTR) {
                return;
            }
            if signals.pending().any(is_an_end) {
                return;
            }
            self.hear();
        }
    }
}

/// Whether a process is to end when it is sent this.
fn is_an_end(caught: Caught) -> bool {
    let ends = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];
    matches!(caught, Caught::FromProcess(signal) if ends.contains(&signal))
}

impl Attendant {
    /// Takes a piece of what there is.
    fn hear(&mut self) {
        let Some(said) = &self.said else { return };
        let mut piece = [0; PIECE];
        match rustix::io::read(said, &mut piece) {
            Ok(0) => self.said = None,
            Ok(length) => self.keep(&piece[..length]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.said = None,
        }
    }

    /// With a full disk, the program goes on all the same.
    fn keep(&mut self, said: &[u8]) {
        let Some(log) = &mut self.log else { return };
        if log.add(said).is_ok_and(|page| page == Page::New) {
            log.speak_into().ok();
        }
    }
}
