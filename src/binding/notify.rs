//! A listener: where the calls of everything that one `wharf run` started arrive, and are answered.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::sys;

/// The listener of one filter.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

/// What the program that waits is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The call was performed for it, with this outcome.
    Performed(Result<(), Errno>),
    /// The kernel goes on with the call as if there were no filter.
    Continue,
}

/// What is the matter with a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// A call waits.
    Call,
    /// None does now.
    Nothing,
    /// Nothing runs any more whose calls would arrive here.
    Over,
}

impl Listener {
    /// The listener that [`super::install`] has made.
    pub(crate) fn new(descriptor: OwnedFd) -> Self {
        sys::wake_in_step(descriptor.as_fd());
        Self(descriptor)
    }

    /// Whether this call's program still waits: then nothing that was found by its thread's number was another's.
    pub(super) fn waits(&self, id: u64) -> bool {
        sys::waits(self.as_fd(), id)
    }

    /// Answers a call.
    ///
    /// # Errors
    /// ENOENT if the program doesn't wait any more.
    pub(super) fn answer(&self, id: u64, answer: Answer) -> rustix::io::Result<()> {
        let result = match answer {
            Answer::Performed(result) => Some(result),
            Answer::Continue => None,
        };
        sys::answer(self.as_fd(), id, result)
    }

    /// Whether nothing runs any more whose calls would arrive here.
    pub(crate) fn is_over(&self) -> bool {
        self.waiting() == Waiting::Over
    }

    /// Looks, without waiting.
    pub(super) fn waiting(&self) -> Waiting {
        self.look(Some(&Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        }))
    }

    /// Waits until a call waits, or it is over. A signal may end it sooner.
    pub(super) fn wait(&self) -> Waiting {
        self.look(None)
    }

    fn look(&self, time: Option<&Timespec>) -> Waiting {
        let mut polled = [PollFd::new(self, PollFlags::IN)];
        match poll(&mut polled, time) {
            Ok(_) => Waiting::of(polled[0].revents()),
            Err(_) => Waiting::Nothing,
        }
    }
}

impl Waiting {
    /// What poll(2) says of a listener.
    fn of(found: PollFlags) -> Self {
        if found.contains(PollFlags::IN) {
            return Self::Call;
        }
        if found.intersects(PollFlags::HUP | PollFlags::ERR) {
            return Self::Over;
        }
        Self::Nothing
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
