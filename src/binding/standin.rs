//! What a keeper does while no daemon lives, and a run or what it leaves behind ([`crate::space::standby`]) where no keeper does
//! either: it lets every call pass, so that programs go on.
//!
//! It holds a duplicate of every listener of its space, and doesn't look at them as long as a daemon does.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::getsockname;

use super::call::{Call, Notification};
use super::hand::Hand;
use super::hand::{Left, Progress};
use super::notify::{Answer, Listener, Waiting};
use super::target::Target;

/// A run's listener, held for the next daemon.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The run's name.
    pub(crate) run: String,
    /// Its listener.
    pub(crate) listener: Listener,
}

/// Everything that is held.
#[derive(Debug, Default)]
pub(crate) struct StandIn {
    held: Vec<Held>,
    own: Option<Hand>,
}

/// A listener, and what the daemon has in hand of it.
#[derive(Debug)]
struct Held {
    kept: Kept,
    in_hand: Option<OwnedFd>,
}

impl StandIn {
    /// Holds one more listener, of which the daemon has this in hand.
    pub(crate) fn keep(&mut self, kept: Kept, in_hand: OwnedFd) {
        self.held.retain(|held| held.kept.run != kept.run);
        let in_hand = Some(in_hand);
        self.held.push(Held { kept, in_hand });
    }

    /// What is held.
    pub(crate) fn kept(&self) -> impl ExactSizeIterator<Item = &Kept> {
        self.held.iter().map(|held| &held.kept)
    }

    /// Lets go of listeners that nothing uses any more.
    pub(crate) fn tidy(&mut self) {
        self.held
            .retain(|held| held.kept.listener.waiting() != Waiting::Over);
    }

    /// The daemon has died: finishes what it had in hand.
    pub(crate) fn take_over(&mut self) -> io::Result<()> {
        for Held { kept, in_hand } in &mut self.held {
            let Some(in_hand) = in_hand.take() else {
                continue;
            };
            let Some(left) = Left::read(&in_hand)? else {
                continue;
            };
            let id = left.notification.id;
            if kept.listener.waits(id) {
                // If the program has ended since, there is nobody to answer.
                kept.listener.answer(id, finish(&left)).ok();
            }
        }
        Ok(())
    }

    /// Waits for a call at the first listener, or the end of what uses that; answers with whether there is one.
    ///
    /// # Errors
    /// When poll(2) fails.
    pub(crate) fn awaits_calls(&self) -> io::Result<bool> {
        let Some(held) = self.held.first() else {
            return Ok(false);
        };
        match poll(&mut [PollFd::new(&held.kept.listener, PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets every call pass that waits now.
    pub(crate) fn let_pass(&mut self) -> io::Result<()> {
        let hand = match &mut self.own {
            Some(hand) => hand,
            none => none.insert(Hand::new()?),
        };
        for Held { kept, .. } in &self.held {
            while kept.listener.waiting() == Waiting::Call {
                match hand.take(&kept.listener) {
                    Ok(call) => hand.give(&kept.listener, call.id, Answer::Continue).ok(),
                    // Its program was ended, or a signal took it away.
                    Err(_) => {
                        hand.put_down();
                        None
                    }
                };
            }
        }
        self.tidy();
        Ok(())
    }
}

/// The answer to a call that the daemon had begun with.
fn finish(left: &Left) -> Answer {
    match left.progress {
        Progress::Done(result) => Answer::Performed(result),
        // Performed or not? A socket that has a port was bound just then: a second time would fail.
        Progress::Acting if has_port(&left.notification) == Ok(true) => Answer::Performed(Ok(())),
        Progress::Acting | Progress::Received => Answer::Continue,
    }
}

/// Whether the socket of this call has a port.
fn has_port(notification: &Notification) -> Result<bool, Errno> {
    let target = Target::of(notification.thread).ok_or(Errno::SRCH)?;
    let call = notification.call().and_then(|call| target.resolve(call));
    let Some(Call::Bind { descriptor, .. }) = call else {
        return Ok(false);
    };
    let address = getsockname(target.descriptor(descriptor, &mut None)?)?;
    let address = std::net::SocketAddr::try_from(address);
    Ok(address.is_ok_and(|address| address.port() != 0))
}
