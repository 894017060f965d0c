//! The clerk of one run: a thread of the daemon that performs the calls of the run's programs, and does nothing else.
//!
//! A program waits while its call is dealt with, so nothing here waits for anything but the next call. Each clerk waits at one
//! listener alone, with nothing between the two: the kernel then switches from the program to the clerk and back on one processor
//! (`SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`).

use std::io;
use std::os::fd::BorrowedFd;
use std::thread;

use super::act::Desk;
pub(crate) use super::act::Ward;
use super::hand::Hand;
use super::notify::Waiting;

/// A clerk who has nothing to do yet.
#[derive(Debug)]
pub(crate) struct Clerk(Desk);

impl Clerk {
    /// Makes what it shares with the keeper.
    pub(crate) fn new() -> io::Result<Self> {
        Hand::new().map(|hand| Self(Desk::new(hand)))
    }

    /// What a keeper looks into when this process has died: the call that it had in hand.
    pub(crate) fn in_hand(&self) -> BorrowedFd<'_> {
        self.0.in_hand()
    }

    /// Deals with the calls at this listener from now on, until nothing is left whose calls arrive there.
    pub(crate) fn attend(self, ward: Ward) -> io::Result<()> {
        let Self(mut desk) = self;
        let thread = thread::Builder::new().name("wharf-clerk".into());
        thread.spawn(move || {
            loop {
                match ward.listener.wait() {
                    Waiting::Call => desk.serve(&ward),
                    Waiting::Nothing => {}
                    Waiting::Over => return,
                }
            }
        })?;
        Ok(())
    }
}
