//! The command's end of the conversation with the daemon, which is started here if it doesn't run.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

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

/// Asks the daemon.
pub(crate) fn ask(ask: &Ask, absence: Absence) -> Result<Answer> {
    let request = Request {
        version: VERSION,
        ask: ask.clone(),
    };
    // A daemon may go with its last space just when it is asked; then the next round starts another.
    for _ in 0..3 {
        let Some(mut channel) = connect()? else {
            if absence == Absence::Report {
                return Err(nothing_runs().into());
            }
            start()?;
            continue;
        };
        if channel.send(&request, &[]).is_err() {
            continue;
        }
        match channel
            .receive()
            .context("cannot read the daemon's answer")?
        {
            Some((Reply::Refused { message, status }, _)) => {
                return Err(Failure { message, status }.into());
            }
            Some((reply, descriptors)) => {
                return Ok(Answer {
                    reply,
                    descriptors,
                    channel,
                });
            }
            None => {}
        }
    }
    bail!(
        "the daemon ends before it answers; its log is {}",
        daemon::log_file()?.display()
    )
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
