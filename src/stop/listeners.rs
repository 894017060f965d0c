//! Ends who listens at a port: asks with SIGTERM, and after a while insists.
//!
//! A process is held by a descriptor before it is looked at a second time, so that no other can be hit that was given its
//! number meanwhile. Clients of the port are left alone, and so is what belongs to another project, unless that is wanted.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::client;
use crate::failure::{Failure, status};
use crate::list::{Detail, Hold, Process};
use crate::place::{Place, named, who};
use crate::process::ends_by;
use crate::space::project;

/// How long a process has after SIGTERM, before SIGKILL, and how long after that, when nothing can hold it any more.
const GRACE: Duration = Duration::from_secs(5);

/// Whose programs may be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Only those of the project that the command is run in.
    Project,
    /// Anybody's.
    Anybody,
}

impl From<bool> for Reach {
    /// `--force`.
    fn from(force: bool) -> Self {
        match force {
            true => Self::Anybody,
            false => Self::Project,
        }
    }
}

/// Who will be ended.
#[derive(Debug)]
pub(crate) struct Plan {
    place: Place,
    doomed: Vec<(Process, OwnedFd)>,
}

impl Plan {
    /// Finds who listens at the port.
    ///
    /// # Errors
    /// With exit status 1 if nobody does, 3 if somebody may not be ended.
    pub(crate) fn make(place: &Place, reach: Reach) -> Result<Self> {
        let mut held = HashMap::new();
        for program in programs(place)? {
            let pid = Pid::from_raw(program.pid).context("a process has no number")?;
            match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(pidfd) => drop(held.insert(program.pid, pidfd)),
                Err(Errno::SRCH) => {}
                Err(errno) => bail!("cannot get hold of {}: {errno}", named(&program)),
            }
        }
        // Who is seen now and has not ended has had its number since it was got hold of: it is no successor.
        let mut doomed = Vec::new();
        for program in programs(place)? {
            let Some(pidfd) = held.remove(&program.pid) else {
                continue;
            };
            if !ends_by(&pidfd, Instant::now())? {
                allowed(place, &program, reach)?;
                doomed.push((program, pidfd));
            }
        }
        Ok(Self {
            place: place.clone(),
            doomed,
        })
    }

    /// The programs, oldest first.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Process> {
        self.doomed.iter().map(|(program, _)| program)
    }

    /// Ends them, and makes sure that the port is free.
    ///
    /// # Errors
    /// With exit status 1 if somebody listens there again, 3 if they may not be ended.
    pub(crate) fn carry_out(&self) -> Result<()> {
        self.signal(Signal::TERM)?;
        // A stopped process hears of it only when it goes on.
        self.signal(Signal::CONT)?;
        if !self.all_end_within(GRACE)? {
            self.signal(Signal::KILL)?;
            if !self.all_end_within(GRACE)? {
                bail!(
                    "who listens at {} does not end even when it is killed",
                    self.place
                );
            }
        }
        match self.place.listeners(Detail::Row)?.first() {
            None => Ok(()),
            Some(again) => Err(Failure {
                message: format!(
                    "{} is taken again by {}: somebody starts it anew; `wharf why {}` says who",
                    self.place,
                    who(again),
                    self.place.port
                ),
                status: status::NOTHING,
            }
            .into()),
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        for (program, pidfd) in &self.doomed {
            match pidfd_send_signal(pidfd, signal) {
                // It has ended by itself.
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => {
                    return Err(Failure {
                        message: format!("cannot end {}: {errno}", named(program)),
                        status: status::NOT_PERMITTED,
                    }
                    .into());
                }
            }
        }
        Ok(())
    }

    /// Whether each has ended in that time.
    fn all_end_within(&self, time: Duration) -> Result<bool> {
        let deadline = Instant::now() + time;
        for (_, pidfd) in &self.doomed {
            if !ends_by(pidfd, deadline).context("cannot wait for a process")? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Every program that listens there, each once.
fn programs(place: &Place) -> Result<Vec<Process>> {
    let listeners = place.listeners(Detail::Row)?;
    if listeners.is_empty() {
        let message = format!("nothing listens at {place}");
        return Err(refusal(message, status::NOTHING));
    }
    if let Some(hidden) = listeners.iter().find(|hold| hold.programs.is_empty()) {
        let message = format!(
            "{place} is held by {}, which may not be seen; try sudo",
            who(hidden)
        );
        return Err(refusal(message, status::NOT_PERMITTED));
    }
    let mut programs: Vec<_> = listeners
        .into_iter()
        .flat_map(|hold: Hold| hold.programs)
        .collect();
    programs.sort_by_key(|program| (program.started, program.pid));
    programs.dedup_by_key(|program| program.pid);
    Ok(programs)
}

/// Whether the program may be ended by this command.
fn allowed(place: &Place, program: &Process, reach: Reach) -> Result<()> {
    if client::daemon_pid() == Some(program.pid) {
        let message = format!(
            "{place} is wharf's own; `wharf stop --all` ends all spaces and with them wharf"
        );
        return Err(refusal(message, status::NOT_PERMITTED));
    }
    let ours =
        project::root(&std::env::current_dir().context("cannot tell the current directory")?);
    if reach == Reach::Project && !is_of(program, &ours) {
        let message = format!(
            "{} listens at {place} and is not of this project, {}; --force ends it all the same",
            named(program),
            ours.display()
        );
        return Err(refusal(message, status::NOT_PERMITTED));
    }
    Ok(())
}

/// Whether a program works in the project with this root directory.
pub(crate) fn is_of(program: &Process, project: &Path) -> bool {
    let directory = program.directory.as_deref().map(Path::new);
    directory.is_some_and(|directory| project::root(directory) == project)
}

fn refusal(message: String, status: u8) -> anyhow::Error {
    Failure { message, status }.into()
}
