//! The log of one program in the background, read as it grows and turns.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::columns::visible;
use crate::runs::Account;

/// A log.
pub(super) struct Page {
    account: Account,
    file: File,
    /// Who writes it, as long as somebody does.
    attendant: Option<OwnedFd>,
}

impl Page {
    /// The log of that run.
    pub(super) fn of(account: Account) -> Result<Self> {
        let file = open(&account)?;
        let pid = account.attendant.and_then(Pid::from_raw);
        let attendant = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // Another process may have its number by now, but not its lock.
        let attendant = attendant.filter(|_| account.is_attended());
        Ok(Self {
            account,
            file,
            attendant,
        })
    }

    /// The program, in a heading.
    pub(super) fn name(&self) -> String {
        let words = self.account.command.join(" ");
        visible(&format!("{words} (pid {})", self.account.pid))
    }

    /// Who writes it.
    pub(super) fn attendant(&self) -> Option<BorrowedFd<'_>> {
        self.attendant.as_ref().map(OwnedFd::as_fd)
    }

    /// Whether more may be written. If not, [`Self::more`] gives what there ever will be.
    pub(super) fn is_attended(&self) -> bool {
        let Some(attendant) = &self.attendant else {
            return false;
        };
        let now = Timespec::default();
        poll(&mut [PollFd::new(attendant, PollFlags::IN)], Some(&now)) == Ok(0)
    }

    /// Everything that is kept.
    pub(super) fn all(&mut self) -> Result<Vec<u8>> {
        let old = self.account.file("old")?;
        let mut all = match fs::read(&old) {
            Ok(said) => said,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", old.display()));
            }
        };
        for said in self.more()? {
            all.extend(said);
        }
        Ok(all)
    }

    /// What was added since the last look, in pieces.
    pub(super) fn more(&mut self) -> Result<Vec<Vec<u8>>> {
        let mut pieces = vec![rest(&mut self.file)?];
        loop {
            let (next, own) = (open(&self.account)?, self.file.metadata()?.ino());
            if next.metadata()?.ino() == own {
                break;
            }
            // It turned, so what is in the hand gets nothing more, but it may have got something since it was read.
            pieces.push(rest(&mut self.file)?);
            if let Ok(mut old) = File::open(self.account.file("old")?)
                && old.metadata()?.ino() != own
            {
                // It turned twice.
                pieces.push(rest(&mut old)?);
            }
            self.file = next;
            pieces.push(rest(&mut self.file)?);
        }
        pieces.retain(|piece| !piece.is_empty());
        Ok(pieces)
    }
}

fn open(account: &Account) -> Result<File> {
    let path = account.file("log")?;
    File::open(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn rest(file: &mut File) -> Result<Vec<u8>> {
    let mut said = Vec::new();
    file.read_to_end(&mut said).context("cannot read a log")?;
    Ok(said)
}
