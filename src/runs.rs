//! What is written down of each run, in a file of its own in the state directory: of one in the background from its
//! start, of any other when it has ended.
//!
//! So it is known without a daemon what runs in the background, where its log is, and how the last runs ended. Who attends a
//! run in the background holds a lock on its log: that, and no file, says that it still does.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::background::log::Log;
use crate::paths;
use crate::protocol::SpaceInfo;

/// So many accounts are kept; they are looked through when there are twice as many files.
const KEPT: usize = 100;
/// So many bytes of logs of what has ended are kept; the oldest go first.
const KEPT_BYTES: u64 = 128 << 20;
/// A command line is written down up to so many bytes.
const COMMAND_BYTES: usize = 4096;

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Its name, in the program's environment as `WHARF_RUN`.
    pub(crate) run: String,
    /// The space.
    pub(crate) space: String,
    /// The project that the space belongs to.
    pub(crate) project: Option<PathBuf>,
    /// The program's process id.
    pub(crate) pid: i32,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// The directory that it was started in.
    pub(crate) directory: Option<PathBuf>,
    /// When it was started.
    pub(crate) started: Timestamp,
    /// The process that attends it in the background; `None` of one in a terminal.
    pub(crate) attendant: Option<i32>,
    /// How it ended; `None` if it runs, or if that was never heard of.
    pub(crate) ended: Option<Ended>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// When.
    pub(crate) at: Timestamp,
    /// With which exit status, as a shell has it.
    pub(crate) status: u8,
}

impl Account {
    /// Of a program that was started right now, in a terminal.
    pub(crate) fn begin(
        run: &str,
        space: &SpaceInfo,
        pid: i32,
        words: &[std::ffi::OsString],
    ) -> Self {
        Self {
            run: run.to_owned(),
            space: space.name.clone(),
            project: space.directory.clone(),
            pid,
            command: written(words),
            directory: std::env::current_dir().ok(),
            started: Timestamp::now(),
            attendant: None,
            ended: None,
        }
    }

    /// The program has ended just now. That this can't be written down, as on a full disk, is nobody's failure.
    pub(crate) fn end(&mut self, status: u8) {
        let at = Timestamp::now();
        self.ended = Some(Ended { at, status });
        self.write().ok();
    }

    /// Whether the program was started in the background.
    pub(crate) fn is_background(&self) -> bool {
        self.attendant.is_some()
    }

    /// Whether somebody attends it in the background still.
    pub(crate) fn is_attended(&self) -> bool {
        self.file("log").is_ok_and(|log| is_held(&log))
    }

    /// Writes it down, and forgets what is too old.
    ///
    /// # Errors
    /// Those of writing files.
    pub(crate) fn write(&self) -> Result<()> {
        let file = self.file("json")?;
        let draft = file.with_extension("new");
        fs::write(&draft, serde_json::to_vec(self)?)
            .and_then(|()| fs::rename(&draft, &file))
            .with_context(|| format!("cannot write {}", file.display()))?;
        prune()
    }

    /// Its file of this kind: `json`, `log`, or `old`, the part of the log before the last turn.
    pub(crate) fn file(&self, kind: &str) -> Result<PathBuf> {
        let name = format!("{:013}-{}.{kind}", self.started.as_millisecond(), self.run);
        Ok(paths::runs()?.join(name))
    }

    /// Opens its log, to be written.
    ///
    /// # Errors
    /// Those of making and locking a file.
    pub(crate) fn open_log(&self) -> Result<Log> {
        let file = self.file("log")?;
        Log::open(file.clone(), self.file("old")?)
            .with_context(|| format!("cannot write the log {}", file.display()))
    }

    fn forget(&self) -> Result<()> {
        for kind in ["json", "log", "old", "next"] {
            match fs::remove_file(self.file(kind)?) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn log_bytes(&self) -> u64 {
        let length = |kind| Some(fs::metadata(self.file(kind).ok()?).ok()?.len());
        ["log", "old"].into_iter().filter_map(length).sum()
    }
}

/// The words of a command line as they are kept: those that fit.
fn written(words: &[std::ffi::OsString]) -> Vec<String> {
    let mut room = COMMAND_BYTES;
    let words = words.iter().map(|word| word.to_string_lossy().into_owned());
    words
        .take_while(|word| {
            let fits = word.len() < room;
            room = room.saturating_sub(word.len() + 1);
            fits
        })
        .collect()
}

/// Whether somebody writes this log.
fn is_held(log: &Path) -> bool {
    File::open(log).is_ok_and(|log| flock(&log, FlockOperation::NonBlockingLockShared).is_err())
}

/// The runs that are known, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Those that somebody attends in the background.
    pub(crate) attended: Vec<Account>,
    /// The others: nothing will be added to what their accounts say.
    pub(crate) over: Vec<Account>,
}

impl Known {
    /// Forgets those that aren't meant.
    pub(crate) fn retain(&mut self, mut meant: impl FnMut(&Account) -> bool) {
        self.attended.retain(&mut meant);
        self.over.retain(&mut meant);
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.attended.is_empty() && self.over.is_empty()
    }
}

/// All that are known.
///
/// # Errors
/// Those of reading the directory; a file that isn't understood is left alone.
pub(crate) fn all() -> Result<Known> {
    let directory = paths::runs()?;
    let listed = fs::read_dir(&directory);
    let listed = listed.with_context(|| format!("cannot read {}", directory.display()))?;
    let mut known = Known::default();
    for entry in listed.flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|kind| kind != "json") {
            continue;
        }
        // An attendant writes the end down before it lets the log go, so this order doesn't miss an end.
        let place = match is_held(&path.with_extension("log")) {
            true => &mut known.attended,
            false => &mut known.over,
        };
        let account = fs::read(path).ok();
        place.extend(account.and_then(|text| serde_json::from_slice(&text).ok()));
    }
    for accounts in [&mut known.attended, &mut known.over] {
        accounts.sort_by(|a: &Account, b| (a.started, &a.run).cmp(&(b.started, &b.run)));
    }
    Ok(known)
}

/// Forgets the oldest that have ended, beyond what is kept.
fn prune() -> Result<()> {
    let count = fs::read_dir(paths::runs()?)?.count();
    if count <= 2 * KEPT {
        return Ok(());
    }
    let ended = all()?.over;
    let mut room = KEPT_BYTES;
    for (place, account) in ended.iter().rev().enumerate() {
        let bytes = account.log_bytes();
        if place >= KEPT || bytes > room {
            account.forget()?;
        }
        room = room.saturating_sub(bytes);
    }
    Ok(())
}
