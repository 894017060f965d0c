//! The notification that a clerk has in hand, for the keeper to see if the daemon dies over it.
//!
//! The kernel writes it into shared memory, and the daemon beside it how far it has come. What matters is bind(2), which
//! must not be done twice: the second would fail.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::call::Notification;
use super::notify::{Answer, Listener};
use super::sys::{STATE_AT, SharedPage};

/// The call is about to be performed, or was just now.
const ACTING: u32 = 1;
/// It was performed; the rest is the error number, 0 for none.
const DONE: u32 = 1 << 31;

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing was done.
    Received,
    /// It was performed, or will never be: nobody knows.
    Acting,
    /// It was performed, with this outcome.
    Done(Result<(), Errno>),
}

impl Progress {
    const fn state(self) -> u32 {
        match self {
            Self::Received => 0,
            Self::Acting => ACTING,
            Self::Done(Ok(())) => DONE,
            Self::Done(Err(errno)) => DONE | errno.raw_os_error().cast_unsigned(),
        }
    }

    fn of_state(state: u32) -> Self {
        match (state & DONE, state & !DONE) {
            (0, ACTING) => Self::Acting,
            (0, _) => Self::Received,
            (_, 0) => Self::Done(Ok(())),
            (_, errno) => Self::Done(Err(Errno::from_raw_os_error(
                i32::try_from(errno).unwrap_or(libc::EINVAL),
            ))),
        }
    }
}

/// The daemon's side: one notification at a time.
#[derive(Debug)]
pub(super) struct Hand(SharedPage);

impl Hand {
    pub(super) fn new() -> io::Result<Self> {
        SharedPage::new().map(Self)
    }

    /// What a keeper looks into.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.0.file()
    }

    /// Takes the next notification. To be called when there is one; else it waits for one.
    ///
    /// # Errors
    /// ENOENT, and EINTR, if the program was ended meanwhile.
    pub(super) fn take(&mut self, listener: &Listener) -> rustix::io::Result<Notification> {
        self.0.receive(listener.as_fd())
    }

    pub(super) fn note(&mut self, progress: Progress) {
        self.0.set_state(progress.state());
    }

    /// Answers, and has nothing in hand any more.
    ///
    /// # Errors
    /// ENOENT if the program doesn't wait any more.
    pub(super) fn give(
        &mut self,
        listener: &Listener,
        id: u64,
        answer: Answer,
    ) -> rustix::io::Result<()> {
        let given = listener.answer(id, answer);
        self.put_down();
        given
    }

    /// Has nothing in hand any more.
    pub(super) fn put_down(&mut self) {
        self.0.clear();
        self.note(Progress::Received);
    }
}

/// What is in a hand that never held anything.
///
/// # Errors
/// When there is no memory for it.
pub(crate) fn empty() -> io::Result<OwnedFd> {
    Hand::new()?.file().try_clone_to_owned()
}

/// The other side: what a daemon had in hand when it died.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) notification: Notification,
    pub(super) progress: Progress,
}

impl Left {
    /// What is in the file; `None` if the hand was empty.
    pub(super) fn read(file: &OwnedFd) -> io::Result<Option<Self>> {
        let (mut bytes, mut state) = ([0; 80], [0; 4]);
        rustix::io::pread(file, &mut bytes, 0)?;
        rustix::io::pread(file, &mut state, STATE_AT as u64)?;
        let notification = Notification::of_bytes(&bytes);
        let progress = Progress::of_state(u32::from_ne_bytes(state));
        let left = Self {
            notification,
            progress,
        };
        Ok((notification.id != 0).then_some(left))
    }
}

impl Notification {
    /// `struct seccomp_notif`.
    fn of_bytes(bytes: &[u8; 80]) -> Self {
        let word = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let long = |at: usize| {
            let halves = [word(at).to_ne_bytes(), word(at + 4).to_ne_bytes()].concat();
            u64::from_ne_bytes(halves.try_into().expect("two halves of four bytes"))
        };
        Self {
            id: long(0),
            thread: word(8).cast_signed(),
            number: word(16),
            architecture: word(20),
            arguments: [32, 40, 48, 56, 64, 72].map(long),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_survives_its_number() {
        for progress in [
            Progress::Received,
            Progress::Acting,
            Progress::Done(Ok(())),
            Progress::Done(Err(Errno::ADDRINUSE)),
            Progress::Done(Err(Errno::PERM)),
        ] {
            assert_eq!(Progress::of_state(progress.state()), progress);
        }
    }

    #[test]
    fn what_is_in_hand_is_seen_through_the_file() {
        let mut hand = Hand::new().unwrap();
        let file = hand.file().try_clone_to_owned().unwrap();
        assert!(Left::read(&file).unwrap().is_none());
        // As the kernel would write it.
        let mut bytes = [0_u8; 80];
        bytes[0..8].copy_from_slice(&7_u64.to_ne_bytes());
        bytes[8..12].copy_from_slice(&4242_u32.to_ne_bytes());
        bytes[16..20].copy_from_slice(&49_u32.to_ne_bytes());
        bytes[20..24].copy_from_slice(&0xc000_003e_u32.to_ne_bytes());
        bytes[72..80].copy_from_slice(&u64::MAX.to_ne_bytes());
        rustix::io::pwrite(&file, &bytes, 0).unwrap();
        hand.note(Progress::Done(Err(Errno::ADDRINUSE)));
        let left = Left::read(&file).unwrap().unwrap();
        let expected = Notification {
            id: 7,
            thread: 4242,
            architecture: 0xc000_003e,
            number: 49,
            arguments: [0, 0, 0, 0, 0, u64::MAX],
        };
        assert_eq!(left.notification, expected);
        assert_eq!(left.progress, Progress::Done(Err(Errno::ADDRINUSE)));
        hand.put_down();
        assert!(Left::read(&file).unwrap().is_none());
    }
}
