//! Standard output, where the answers go.
//!
//! Whoever stops reading ends a command that only prints (SIGPIPE); a disk that is full fails it, as any other write would.

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::{Context, Result};

/// Writes `text` as it is.
///
/// # Errors
/// When it can't be written to its end.
pub(crate) fn print(text: impl Display) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = write!(stdout, "{text}").and_then(|()| stdout.flush());
    written.context("cannot write to standard output")
}

/// Writes `text` and ends the line.
///
/// # Errors
/// As [`print()`].
pub(crate) fn line(text: impl Display) -> Result<()> {
    print(format_args!("{text}\n"))
}
