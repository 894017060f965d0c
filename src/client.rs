//! The command's end of the conversation with the daemon, which is started here if it doesn't run.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::channel::Channel;
use crate::failure::{Failure, status};
use crate::protocol::{Ask, Reply, Request, VERSION};
use crate::{daemon, paths};

/// What to do where no daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absence {
    /// Start one.
    Start,
    /// Say that no space runs, with exit status 1.
    Report,
}

/// An answer, and the conversation, which may go on.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    pub(crate) descriptors: Vec<OwnedFd>,
    pub(crate) channel: Channel,
}

/// How often a daemon that comes or goes just now is tried again, with pauses from 5 ms on, each twice the one before.
///
/// One may go with its last space just when it is asked. One that was killed holds its socket and its lock until the
/// kernel has ended it, which a run that hears of its end may be quicker than.
const ROUNDS: u32 = 8;

/// Asks the daemon.
pub(crate) fn ask(ask: &Ask, absence: Absence) -> Result<Answer> {
    let request = Request {
        version: VERSION,
        ask: ask.clone(),
    };
    for round in 0..ROUNDS {
        if let Some(answer) = ask_once(&request, absence)? {
            return Ok(answer);
        }
        std::thread::sleep(Duration::from_millis(5 << round));
    }
    bail!(
        "the daemon ends before it answers; its log is {}",
        daemon::log_file()?.display()
    )
}

/// Asks the daemon; `None` if it ended before it answered.
fn ask_once(request: &Request, absence: Absence) -> Result<Option<Answer>> {
    let channel = match connect()? {
        None if absence == Absence::Report => return Err(nothing_runs().into()),
        None => {
            start()?;
            connect()?
        }
        found => found,
    };
    let Some(mut channel) = channel else {
        return Ok(None);
    };
    if channel.send(request, &[]).is_err() {
        return Ok(None);
    }
    let answer = channel.receive();
    match answer.context("cannot read the daemon's answer")? {
        Some((Reply::Refused { message, status }, _)) => Err(Failure { message, status }.into()),
        answer => Ok(answer.map(|(reply, descriptors)| Answer {
            reply,
            descriptors,
            channel,
        })),
    }
}

fn nothing_runs() -> Failure {
    let message = "no space runs; `wharf run -- CMD` starts one".into();
    Failure {
        message,
        status: status::NOTHING,
    }
}

fn connect() -> Result<Option<Channel>> {
    let path = paths::daemon_socket()?;
    match UnixStream::connect(&path) {
        Ok(socket) => Ok(Some(Channel::new(socket))),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => {
            Err(error).with_context(|| format!("cannot reach the daemon at {}", path.display()))
        }
    }
}

/// Starts the daemon and waits until it says that it serves, or what keeps it from that.
fn start() -> Result<()> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(daemon::log_file()?);
    let mut child = Command::new("/proc/self/exe")
        .arg0("wharf")
        .arg("daemon")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.map_or_else(|_| Stdio::null(), Stdio::from))
        .spawn()
        .context("cannot start the daemon")?;
    let mut said = String::new();
    let stdout = child.stdout.as_mut().expect("stdout is piped");
    stdout
        .read_to_string(&mut said)
        .context("cannot hear the daemon")?;
    match said.trim() {
        daemon::SERVING => Ok(()),
        "" => bail!(
            "the daemon did not start; its log is {}",
            daemon::log_file()?.display()
        ),
        why => bail!("the daemon did not start: {why}"),
    }
}

/// The daemon's process id, if a daemon runs. Nothing is made or changed to find out.
pub(crate) fn daemon_pid() -> Option<i32> {
    let socket = UnixStream::connect(paths::socket_in(&paths::runtime_place())).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(socket).ok()?;
    Some(peer.pid.as_raw_pid())
}
