//! How a command ends when it can't do what was asked: a sentence and an exit status.

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

/// The exit status that goes with `error`.
pub(crate) fn status_of(error: &anyhow::Error) -> u8 {
    error
        .downcast_ref::<Failure>()
        .map_or(status::WHARF_FAILED, |failure| failure.status)
}
