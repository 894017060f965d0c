//! `wharf ls --watch`: a list that stays true, as a table to work in, or as a line for each change.
//!
//! - [`feed`]: makes the list anew whenever something may have changed;
//! - [`change`]: what differs between two lists;
//! - [`board`]: what is on the screen, and what keys do to it; [`draw`] draws it;
//! - [`screen`]: the terminal, and everything that happens to it.

mod board;
mod change;
mod draw;
mod feed;
mod screen;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::failure::Failure;
use crate::list::Question;
use crate::protocol::Places;

use feed::Feed;

/// What is watched.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    /// Where.
    pub(crate) places: Places,
    /// Which sockets.
    pub(crate) question: Question,
}

/// A table in the terminal, until its user leaves.
///
/// # Errors
/// With exit status 2 if standard input or output is no terminal.
pub(crate) fn in_terminal(watched: Watched) -> Result<ExitCode> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let message = "--watch shows a table to work in and wants a terminal; --watch --json writes a line for each change";
        return Err(Failure::usage(message).into());
    }
    screen::run(watched)?;
    Ok(ExitCode::SUCCESS)
}

/// A line of JSON for each change, what there is at the beginning first, until nobody reads them any more.
///
/// # Errors
/// When the list can't be made.
pub(crate) fn as_json(watched: Watched) -> Result<ExitCode> {
    let mut feed = Feed::of(watched);
    let mut before = None;
    loop {
        let now = feed.next()?;
        for line in change::lines(before.as_deref(), &now) {
            match say(&line) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(ExitCode::SUCCESS);
                }
                said => said.context("cannot write")?,
            }
        }
        before = Some(now);
    }
}

fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
