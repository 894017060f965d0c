//! The log of a program in the background: what it says, in a file that never grows beyond a bound.
//!
//! Nothing is added to what the program says. A full file makes room for a new one, and only the last full one is kept, so
//! that between one and two times [`TURN`] bytes are there.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};

/// A file that is longer is full, in bytes.
pub(crate) const TURN: u64 = 8 << 20;

/// The log, being written. As long as this lives, the file is locked.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    old: PathBuf,
    file: File,
    length: u64,
}

/// In which file something was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    Same,
    New,
}

impl Log {
    /// Begins a log at `path`; full files go to `old`.
    pub(crate) fn open(path: PathBuf, old: PathBuf) -> io::Result<Self> {
        let file = begin(&path)?;
        Ok(Self {
            path,
            old,
            file,
            length: 0,
        })
    }

    /// Adds what the program said.
    ///
    /// # Errors
    /// Those of writing a file: a full disk, mostly. What couldn't be written is lost.
    pub(crate) fn add(&mut self, said: &[u8]) -> io::Result<Page> {
        let mut page = Page::Same;
        if self.length >= TURN {
            self.file = self.turn()?;
            self.length = 0;
            page = Page::New;
        }
        self.length += said.len() as u64;
        self.file.write_all(said)?;
        Ok(page)
    }

    /// At every moment there is a file at the path, and it is locked.
    fn turn(&self) -> io::Result<File> {
        let next = self.path.with_extension("next");
        let file = begin(&next)?;
        match fs::remove_file(&self.old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::hard_link(&self.path, &self.old)?,
        }
        fs::rename(&next, &self.path)?;
        Ok(file)
    }

    /// Has this process itself write into the log what it has to say.
    pub(crate) fn speak_into(&self) -> io::Result<()> {
        rustix::stdio::dup2_stdout(&self.file)?;
        Ok(rustix::stdio::dup2_stderr(&self.file)?)
    }
}

fn begin(path: &PathBuf) -> io::Result<File> {
    // Of an earlier attempt that a full disk ended, something may be left.
    let file = File::options()
        .create(true)
        .truncate(false)
        .append(true)
        .open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_a_bound_and_keeps_what_was_said_last() {
        let top = tempfile::tempdir().unwrap();
        let (path, old) = (top.path().join("log"), top.path().join("old"));
        let mut log = Log::open(path.clone(), old.clone()).unwrap();
        let piece = vec![b'x'; 1 << 20];
        let pieces = 2 * TURN / piece.len() as u64 + 1;
        let turns = (0..pieces).filter(|_| log.add(&piece).unwrap() == Page::New);
        assert_eq!(turns.count(), 2);
        log.add(b"last").unwrap();
        assert_eq!(fs::metadata(&old).unwrap().len(), TURN);
        assert!(fs::read(&path).unwrap().ends_with(b"xlast"));
        let other = File::open(&path).unwrap();
        assert!(flock(&other, FlockOperation::NonBlockingLockShared).is_err());
        drop(log);
        assert!(flock(&other, FlockOperation::NonBlockingLockShared).is_ok());
    }
}
