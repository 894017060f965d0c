//! The daemon: one per user, carries all of that user's spaces.
//!
//! It starts with the first space and goes with the last. Control runs here on one thread (tokio); each space's packets
//! run on a thread of their own ([`crate::relay`]). It holds no right that its user does not have.

mod attendance;
mod board;
mod capture;
mod chronicle;
mod claims;
mod denials;
mod eye;
mod from_host;
mod front;
mod keeper;
mod listeners;
mod names;
mod ports;
mod reach;
mod releases;
mod session;
mod space;
mod spaces;
mod web;
mod who;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::UnixListener;
use tokio::task::LocalSet;

use crate::{confine, paths, sys};
pub(crate) use front::{https_port, names_port};
use spaces::Spaces;

/// What the daemon says on standard output when it can be asked.
pub(crate) const SERVING: &str = "serving";
/// How long the daemon stays when its last space is gone, so that a series of short runs needs only one.
const LINGER: Duration = Duration::from_secs(1);
/// The log starts anew when it is longer, in bytes.
const LOG_MAX: u64 = 1 << 20;

/// Where the daemon writes what it has to say.
pub(crate) fn log_file() -> Result<PathBuf> {
    Ok(paths::state()?.join("daemon.log"))
}

/// Serves until the last space is gone.
pub(crate) fn serve() -> Result<()> {
    let outcome = match sys::inherited_socket() {
        Some(socket) => serve_at(socket.into()),
        None => lock().and_then(|lock| match lock {
            Some(lock) => {
                let served = prepare().and_then(|()| run(listen()?));
                // As long as the lock is held, it is this daemon's.
                fs::remove_file(paths::daemon_socket()?).ok();
                drop(lock);
                served
            }
            None => await_other(),
        }),
    };
    if let Err(error) = &outcome {
        say(&format!("{error:#}"))?;
    }
    outcome
}

/// Serves at a socket that systemd listens at, and goes on doing so afterwards.
fn serve_at(listener: std::os::unix::net::UnixListener) -> Result<()> {
    for _ in 0..400 {
        if let Some(_lock) = lock()? {
            listener.set_nonblocking(true)?;
            return prepare().and_then(|()| run(listener));
        }
        // The former one is about to end.
        std::thread::sleep(Duration::from_millis(5));
    }
    bail!("another daemon, which systemd did not start, holds the lock")
}

/// The lock that one daemon holds for its life; `None` if another has it.
fn lock() -> Result<Option<File>> {
    let path = paths::runtime()?.join("lock");
    let options = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let file = options.with_context(|| format!("cannot open {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Another daemon has the lock: it is about to serve, or about to end (then the command tries again).
fn await_other() -> Result<()> {
    let socket = paths::daemon_socket()?;
    for _ in 0..400 {
        if UnixStream::connect(&socket).is_ok() || lock()?.is_some() {
            return say(SERVING);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    bail!(
        "another daemon holds the lock and does not answer at {}",
        socket.display()
    )
}

/// Says one line to the command that started this daemon, and closes standard output, for which that waits.
fn say(line: &str) -> Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .context("cannot report to the command")?;
    let null = File::options()
        .write(true)
        .open("/dev/null")
        .context("cannot open /dev/null")?;
    Ok(rustix::stdio::dup2_stdout(null)?)
}

/// Leaves the terminal, begins the log, and raises the limit of open files.
fn prepare() -> Result<()> {
    // It fails only for a group's leader, which is in no terminal's way.
    rustix::process::setsid().ok();
    let log = log_file()?;
    if fs::metadata(&log).is_ok_and(|found| found.len() > LOG_MAX) {
        File::options().write(true).open(&log)?.set_len(0)?;
    }
    let filter = tracing_subscriber::EnvFilter::try_from_env("WHARF_LOG");
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| "info".into()))
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")
}

fn listen() -> Result<std::os::unix::net::UnixListener> {
    let path = paths::daemon_socket()?;
    // The lock says that whoever left it is gone.
    fs::remove_file(&path).ok();
    let listener = std::os::unix::net::UnixListener::bind(&path);
    let listener = listener.with_context(|| format!("cannot listen at {}", path.display()))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn run(listener: std::os::unix::net::UnixListener) -> Result<()> {
    // Before there are threads, so that it holds for all of them.
    if let Err(error) = confine::process() {
        tracing::warn!("the daemon is not confined: {error:#}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = UnixListener::from_std(listener)?;
        let spaces = Spaces::start()?;
        let history = keep_history(&spaces);
        spaces.adopt().await?;
        spaces.publish_again();
        // Whoever comes first is told what stands in the way.
        drop(spaces.open_doors().await);
        say(SERVING)?;
        tracing::info!("serving");
        while let Some(socket) = next_command(&listener, &spaces).await? {
            let spaces = Rc::clone(&spaces);
            tokio::task::spawn_local(async move { session::converse(socket, spaces).await });
        }
        tracing::info!("the last space is gone; {}", spaces.summary());
        if let Some(history) = history {
            history.finish().await;
        }
        spaces.keepers_end().await;
        Ok(())
    })
}

/// Has the history written, if it can be.
fn keep_history(spaces: &Spaces) -> Option<chronicle::Chronicle> {
    match chronicle::Chronicle::begin(spaces.events.subscribe()) {
        Ok(history) => Some(history),
        Err(error) => {
            tracing::error!("no history is kept: {error:#}");
            None
        }
    }
}

/// The next command that wants something; `None` when nothing is left to serve for [`LINGER`].
async fn next_command(
    listener: &UnixListener,
    spaces: &Spaces,
) -> Result<Option<tokio::net::UnixStream>> {
    loop {
        tokio::select! {
            biased;
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => return Ok(Some(socket)),
                // Out of descriptors: those who wait are served when some are free again.
                Err(error) => {
                    tracing::error!("cannot accept a command: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            () = spaces.idle_for(LINGER) => return Ok(None),
        }
    }
}
