//! The daemon's thread that performs the calls of the programs in all spaces, and does nothing else.
//!
//! A program waits while its call is dealt with, so nothing here waits for anything but the next call.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use anyhow::{Context, Result};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFlags, eventfd};

use super::act::Desk;
pub(crate) use super::act::Ward;
use super::hand::Hand;
use super::notify::Waiting;

/// The number of the eventfd that says that orders have come.
const ORDERS: u64 = 0;
/// How many listeners are looked at in one round.
const ROUND: usize = 64;

/// The way to the thread, which ends with the last of these.
#[derive(Debug)]
pub(crate) struct Clerk {
    wards: Sender<Ward>,
    bell: Arc<OwnedFd>,
    in_hand: OwnedFd,
}

impl Clerk {
    /// Starts the thread.
    pub(crate) fn start() -> Result<Self> {
        let hand = Hand::new().context("cannot share memory with keepers")?;
        let in_hand = hand.file().try_clone_to_owned()?;
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (wards, arriving) = mpsc::channel();
        let mut office = Office {
            desk: Desk::new(hand),
            wards: HashMap::new(),
            next: ORDERS + 1,
            arriving,
            bell: Arc::clone(&bell),
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
        };
        let data = EventData::new_u64(ORDERS);
        epoll::add(&office.epoll, &*bell, data, EventFlags::IN)?;
        thread::Builder::new()
            .name("wharf-clerk".into())
            .spawn(move || office.work())
            .context("cannot start a thread")?;
        Ok(Self {
            wards,
            bell,
            in_hand,
        })
    }

    /// Deals with the calls at this listener from now on, until nothing is left whose calls arrive there.
    pub(crate) fn attend(&self, ward: Ward) -> io::Result<()> {
        let ended = |_| io::Error::other("the thread that binds has ended");
        self.wards.send(ward).map_err(ended)?;
        self.ring()
    }

    /// What a keeper looks into when this process has died: the call that it had in hand.
    pub(crate) fn in_hand(&self) -> BorrowedFd<'_> {
        self.in_hand.as_fd()
    }

    fn ring(&self) -> io::Result<()> {
        rustix::io::write(&self.bell, &1_u64.to_ne_bytes())?;
        Ok(())
    }
}

impl Drop for Clerk {
    fn drop(&mut self) {
        // The thread finds its channel closed and ends.
        let (closed, _) = mpsc::channel();
        self.wards = closed;
        self.ring().ok();
    }
}

/// The thread's own.
struct Office {
    desk: Desk,
    wards: HashMap<u64, Ward>,
    next: u64,
    arriving: Receiver<Ward>,
    bell: Arc<OwnedFd>,
    epoll: OwnedFd,
}

impl Office {
    fn work(&mut self) {
        let mut events = Vec::with_capacity(ROUND);
        loop {
            events.clear();
            let waited = epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                None,
            );
            match waited {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!("binds can't be waited for: {error}");
                    return;
                }
            }
            for event in &events {
                match event.data.u64() {
                    ORDERS => {
                        if !self.take_wards() {
                            return;
                        }
                    }
                    number => self.look_after(number, event.flags),
                }
            }
        }
    }

    /// Takes what has arrived; whether more may come.
    fn take_wards(&mut self) -> bool {
        // The count itself says nothing.
        rustix::io::read(&self.bell, &mut [0; 8]).ok();
        loop {
            match self.arriving.try_recv() {
                Ok(ward) => self.add(ward),
                Err(mpsc::TryRecvError::Empty) => return true,
                Err(mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn add(&mut self, ward: Ward) {
        let number = self.next;
        self.next += 1;
        let data = EventData::new_u64(number);
        match epoll::add(&self.epoll, &ward.listener, data, EventFlags::IN) {
            Ok(()) => {
                self.wards.insert(number, ward);
            }
            Err(error) => tracing::error!("binds of a run can't be waited for: {error}"),
        }
    }

    fn look_after(&mut self, number: u64, found: EventFlags) {
        let Some(ward) = self.wards.get(&number) else {
            return;
        };
        // The bits of epoll(7) are those of poll(2).
        let found = PollFlags::from_bits_truncate(found.bits().try_into().unwrap_or(0));
        match Waiting::of(found) {
            Waiting::Call => self.desk.serve(ward),
            Waiting::Over => {
                epoll::delete(&self.epoll, &ward.listener).ok();
                self.wards.remove(&number);
            }
            Waiting::Nothing => {}
        }
    }
}
