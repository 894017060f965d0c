//! How a program gets into a space: between fork and exec its process moves into the two namespaces.
//!
//! The process keeps its user, groups, directory, environment and terminal; of the machine it leaves only the network.
//! It dies with the `wharf run` that started it, so that a killed `wharf run` leaves no program behind.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command};

use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::sys;

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

impl Namespaces {
    /// Whether this process is inside already.
    pub(crate) fn are_ours(&self) -> io::Result<bool> {
        let ours = rustix::fs::stat("/proc/self/ns/net")?;
        let theirs = rustix::fs::fstat(&self.network)?;
        Ok((ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino))
    }

    /// Starts `command` inside. This process must have a single thread.
    pub(crate) fn spawn(self, mut command: Command) -> Result<Child, EnterError> {
        let inside = self.are_ours().map_err(EnterError::Namespace)?;
        let parent = rustix::process::getpid();
        let (mut outcome, report) = io::pipe().map_err(EnterError::Namespace)?;
        sys::before_exec(&mut command, move || {
            if !inside {
                enter(self.user.as_fd(), LinkNameSpaceType::User)?;
                enter(self.network.as_fd(), LinkNameSpaceType::Network)?;
            }
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if getppid() != Some(parent) {
                return Err(rustix::io::Errno::SRCH.into());
            }
            (&report).write_all(&[1])
        });
        command.spawn().map_err(|error| {
            drop(command);
            match outcome.read(&mut [0]) {
                Ok(1) => EnterError::Exec(error),
                _ => EnterError::Namespace(error),
            }
        })
    }
}

fn enter(namespace: BorrowedFd<'_>, kind: LinkNameSpaceType) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace, Some(kind))?)
}
