//! `wharf logs`: what programs in the background say, and said. Their logs are files, so no daemon is asked.
//!
//! - [`page`]: the log of one program, read as it grows.

mod page;

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::ExitCode;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use rustix::io::Errno;

use crate::failure::{Failure, status};
use crate::protocol::Target;
use crate::runs::{self, Account};
use crate::{cli, paths, run};
use page::Page;

/// Shows them; exit status 1 if there are none.
pub(crate) fn logs(typed: cli::Logs) -> Result<ExitCode> {
    // Before anything is read, so that nothing is missed.
    let changes = typed.follow.then(watch).transpose()?;
    let pages: Vec<_> = meant(typed.what)?
        .into_iter()
        .map(Page::of)
        .collect::<Result<_>>()?;
    let mut shown = Shown::of(pages);
    shown.begin(typed.lines)?;
    if let Some(changes) = changes {
        shown.follow(&changes)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The programs that are meant: those that run, else the one that ended last.
fn meant(what: Option<String>) -> Result<Vec<Account>> {
    let mut known = runs::all()?;
    known.retain(Account::is_background);
    let none = match what.as_deref().map(str::parse::<i32>) {
        Some(Ok(pid)) => {
            known.retain(|account| account.pid == pid);
            format!("no program in the background has or had the process id {pid}")
        }
        _ => {
            let target = run::target(what)?;
            known.retain(|account| match &target {
                Target::Name(name) => account.space == *name,
                target => target.is_of(account.project.as_deref()),
            });
            match target {
                Target::Name(name) => {
                    format!("nothing was run in the background in a space called {name}")
                }
                _ => "nothing was run in the background in this directory's space".into(),
            }
        }
    };
    if known.attended.is_empty() {
        let message = format!("{none}; `wharf run -d -- CMD` does that");
        let last = known.over.pop().ok_or(Failure {
            message,
            status: status::NOTHING,
        })?;
        return Ok(vec![last]);
    }
    Ok(known.attended)
}

/// Tells of every change in the directory of the logs.
fn watch() -> Result<OwnedFd> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let on =
        inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    let directory = paths::runs()?;
    inotify::add_watch(&watch, &directory, on)
        .with_context(|| format!("cannot watch {}", directory.display()))?;
    Ok(watch)
}

/// What is shown: with several programs, each under its name, as tail(1) does.
struct Shown {
    pages: Vec<Page>,
    /// The program that spoke last.
    last: Option<usize>,
}

impl Shown {
    fn of(pages: Vec<Page>) -> Self {
        Self { pages, last: None }
    }

    /// What is there; of each only the last `lines`, if these are limited.
    fn begin(&mut self, lines: Option<usize>) -> Result<()> {
        for place in 0..self.pages.len() {
            let all = self.pages[place].all()?;
            let said = lines.map_or(&all[..], |lines| last(&all, lines));
            self.show(place, said)?;
        }
        Ok(())
    }

    /// What follows, until everybody has ended.
    fn follow(&mut self, changes: &OwnedFd) -> Result<()> {
        loop {
            let attended: Vec<_> = self.pages.iter().map(Page::is_attended).collect();
            for place in 0..self.pages.len() {
                for said in self.pages[place].more()? {
                    self.show(place, &said)?;
                }
            }
            if !attended.contains(&true) {
                return Ok(());
            }
            self.wait(changes)?;
        }
    }

    /// Waits until a file has changed, or somebody has ended.
    fn wait(&self, changes: &OwnedFd) -> Result<()> {
        let mut watched = vec![PollFd::from_borrowed_fd(changes.as_fd(), PollFlags::IN)];
        let attendants = self.pages.iter().filter_map(Page::attendant);
        watched.extend(attendants.map(|one| PollFd::from_borrowed_fd(one, PollFlags::IN)));
        match poll(&mut watched, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for the logs"),
        }
        // What has changed is looked at, whatever it is.
        let mut told = [0; 4096];
        while rustix::io::read(changes, &mut told).is_ok_and(|length| length > 0) {}
        Ok(())
    }

    fn show(&mut self, place: usize, said: &[u8]) -> Result<()> {
        let mut stdout = io::stdout().lock();
        let mut heading = String::new();
        if self.pages.len() > 1 && self.last != Some(place) {
            let gap = if self.last.is_some() { "\n" } else { "" };
            heading = format!("{gap}==> {} <==\n", self.pages[place].name());
        }
        self.last = Some(place);
        stdout
            .write_all(heading.as_bytes())
            .and_then(|()| stdout.write_all(said))
            .and_then(|()| stdout.flush())
            .context("cannot write")
    }
}

/// The last `lines` of a text; the last one may be unfinished.
fn last(text: &[u8], lines: usize) -> &[u8] {
    let ended = text.strip_suffix(b"\n").unwrap_or(text);
    let mut breaks = ended
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n');
    match lines.checked_sub(1) {
        None => &[],
        Some(before) => breaks
            .nth(before)
            .map_or(text, |(place, _)| &text[place + 1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::last;

    #[test]
    fn the_last_lines_are_whole() {
        let text = b"one\ntwo\n\nfour\n";
        for (lines, expected) in [
            (0, &b""[..]),
            (1, b"four\n"),
            (2, b"\nfour\n"),
            (3, b"two\n\nfour\n"),
            (4, text),
            (9, text),
        ] {
            assert_eq!(last(text, lines), expected, "{lines}");
        }
        assert_eq!(last(b"one\ntwo", 1), b"two");
        assert_eq!(last(b"", 3), b"");
    }
}
