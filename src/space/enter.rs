//! How a program gets into a space: between fork and exec its process moves into the two namespaces.
//!
//! The process keeps its user, groups, directory, environment and terminal; of the machine it leaves only the network.
//! It dies with the `wharf run` that started it, so that a killed `wharf run` leaves no program behind. Last of all it
//! takes on the filter that has its binds arrive at the daemon ([`crate::binding`]); it has the right to do so only before exec.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};

use rustix::io::Errno;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{binding, channel, sys};

/// The namespaces of a space.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// The user namespace, which owns the other.
    pub(crate) user: OwnedFd,
    /// The network namespace.
    pub(crate) network: OwnedFd,
}

/// Why a program did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnterError {
    /// The kernel refused the way into the space.
    #[error("cannot enter the space: {0}")]
    Namespace(io::Error),
    /// exec(2) failed, as in a shell.
    #[error("{0}")]
    Exec(io::Error),
}

/// A program that was started.
#[derive(Debug)]
pub(crate) struct Started {
    /// Its process.
    pub(crate) child: Child,
    /// Whether its binds are seen.
    pub(crate) supervision: Supervision,
}

/// Whether the binds of a program are seen when they happen.
#[derive(Debug)]
pub(crate) enum Supervision {
    /// They arrive here.
    Listener(OwnedFd),
    /// They arrive where those of this process do, which is in the space already.
    Inherited,
    /// The kernel refused the filter.
    Refused(Errno),
}

impl Namespaces {
    /// Whether this process is inside already.
    pub(crate) fn are_ours(&self) -> io::Result<bool> {
        let ours = rustix::fs::stat("/proc/self/ns/net")?;
        let theirs = rustix::fs::fstat(&self.network)?;
        Ok((ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino))
    }

    /// Starts `command` inside. This process must have a single thread.
    pub(crate) fn spawn(self, mut command: Command) -> Result<Started, EnterError> {
        let inside = self.are_ours().map_err(EnterError::Namespace)?;
        let parent = rustix::process::getpid();
        let (outcome, report) = UnixStream::pair().map_err(EnterError::Namespace)?;
        let filter = binding::filter::program();
        sys::before_exec(&mut command, move || {
            if !inside {
                enter(self.user.as_fd(), LinkNameSpaceType::User)?;
                enter(self.network.as_fd(), LinkNameSpaceType::Network)?;
            }
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if getppid() != Some(parent) {
                return Err(Errno::SRCH.into());
            }
            let (said, listener) = match inside {
                true => (INSIDE, None),
                false => match binding::install(&filter) {
                    Ok(listener) => (0, Some(listener)),
                    Err(errno) => (errno.raw_os_error(), None),
                },
            };
            let listener = listener.as_ref().map(AsFd::as_fd);
            channel::send_once(report.as_fd(), &said.to_ne_bytes(), listener.as_slice()).map(drop)
        });
        let spawned = command.spawn();
        drop(command);
        let supervision = Supervision::reported(&outcome);
        match (spawned, supervision) {
            (Ok(child), Ok(supervision)) => Ok(Started { child, supervision }),
            (Err(error), Ok(_)) => Err(EnterError::Exec(error)),
            (Err(error), _) | (_, Err(error)) => Err(EnterError::Namespace(error)),
        }
    }
}

/// What the new process says in the place of an error number when it is in the space from the start.
const INSIDE: i32 = -1;

impl Supervision {
    /// What the new process said before exec.
    fn reported(outcome: &UnixStream) -> io::Result<Self> {
        let (said, listener) = channel::receive_once::<4>(outcome.as_fd())?;
        match (i32::from_ne_bytes(said), listener) {
            (0, Some(listener)) => Ok(Self::Listener(listener)),
            (INSIDE, _) => Ok(Self::Inherited),
            (errno, _) => Ok(Self::Refused(Errno::from_raw_os_error(errno))),
        }
    }
}

fn enter(namespace: BorrowedFd<'_>, kind: LinkNameSpaceType) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace, Some(kind))?)
}
