//! How a command ends when it can't do what was asked: a sentence and an exit status.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use rustix::io::Errno;

/// Exit statuses, as the help lists them.
pub(crate) mod status {
    /// No, or nothing to show.
    pub(crate) const NOTHING: u8 = 1;
    /// The command line can't be understood.
    pub(crate) const USAGE: u8 = 2;
    /// The machine does not permit it.
    pub(crate) const NOT_PERMITTED: u8 = 3;
    /// Somebody else has it.
    pub(crate) const CONFLICT: u8 = 4;
    /// The time was over first.
    pub(crate) const TIMEOUT: u8 = 124;
    /// wharf itself failed.
    pub(crate) const WHARF_FAILED: u8 = 125;
    /// The program is there and can't be run.
    pub(crate) const CANNOT_RUN: u8 = 126;
    /// There is no such program.
    pub(crate) const NOT_FOUND: u8 = 127;
}

/// An error that knows its exit status.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// What, why and what to do.
    pub(crate) message: String,
    /// The command's exit status.
    pub(crate) status: u8,
}

impl Failure {
    /// What was typed means nothing.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            status: status::USAGE,
        }
    }
}

/// That a program can't be run, or that there is none of that name.
pub(crate) fn cannot_run(program: &OsStr, error: io::Error) -> Failure {
    // execvp(3) says "permission denied" of a name that it doesn't find, too, where it may not look into all of PATH.
    let error = match error.kind() {
        io::ErrorKind::PermissionDenied if !is_there(program) => Errno::NOENT.into(),
        _ => error,
    };
    Failure {
        status: match error.kind() {
            io::ErrorKind::NotFound => status::NOT_FOUND,
            _ => status::CANNOT_RUN,
        },
        message: format!("cannot run {}: {error}", program.display()),
    }
}

/// Whether there is a file of that name where a shell would look for it.
fn is_there(program: &OsStr) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    program.as_bytes().contains(&b'/')
        || std::env::split_paths(&path).any(|directory| directory.join(program).exists())
}

/// The exit status that goes with `error`.
pub(crate) fn status_of(error: &anyhow::Error) -> u8 {
    error
        .downcast_ref::<Failure>()
        .map_or(status::WHARF_FAILED, |failure| failure.status)
}
