//! One call, from its notification to its answer.

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use jiff::Timestamp;
use lru::LruCache;
use rustix::io::Errno;
use rustix::process::Pid;
use wharf_port::Port;

use super::call::{Call, Notification};
use super::caller::{Asker, Caller};
use super::hand::{Hand, Progress};
use super::notify::{Answer, Listener};
use super::policy::Verdict;
use super::record::{Deed, Ledger, Obstacle, Record};
use super::socket::{Place, Socket, place};
use super::sys;
use super::target::{Address, Descriptors, Target};
use crate::list;

/// How many outcomes that a program didn't hear of are kept for when it asks again.
const UNHEARD: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// What the calls of one run are dealt with by.
#[derive(Debug)]
pub(crate) struct Ward {
    /// Where they arrive.
    pub(crate) listener: Listener,
    /// The run's name.
    pub(crate) run: Arc<str>,
    /// Where they are noted.
    pub(crate) ledger: Arc<Ledger>,
    /// The number of the space's network namespace, where the kernel gives numbers.
    pub(crate) namespace: Option<u64>,
}

impl Ward {
    /// What the record has of a socket: what that is doesn't change once it has a port.
    fn known(&self, socket: &OwnedFd) -> Option<Socket> {
        let cookie = rustix::net::sockopt::socket_cookie(socket).ok()?;
        self.ledger.record().socket(cookie)
    }
}

/// Deals with one call at a time.
#[derive(Debug)]
pub(super) struct Desk {
    hand: Hand,
    /// Of the program whose call came last.
    descriptors: Option<Descriptors>,
    /// A signal can take a program from a call that was performed, and have it repeat the call: then it gets
    /// the first outcome. By the cookie of the socket.
    unheard: LruCache<u64, Unheard>,
}

/// An outcome that a program didn't hear of.
#[derive(Debug, Clone, Copy)]
struct Unheard {
    address: Address,
    result: Result<(), Errno>,
}

/// A call on a socket that is wharf's business.
struct Matter<'a> {
    ward: &'a Ward,
    descriptor: OwnedFd,
    socket: Socket,
    caller: Caller,
}

/// What was decided, and what to remember if the program doesn't hear of it.
struct Outcome {
    answer: Answer,
    bound: Option<(u64, Unheard)>,
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self {
            answer,
            bound: None,
        }
    }
}

impl Desk {
    pub(super) fn new(hand: Hand) -> Self {
        Self {
            hand,
            descriptors: None,
            unheard: LruCache::new(UNHEARD),
        }
    }

    /// What a keeper looks into.
    pub(super) fn in_hand(&self) -> BorrowedFd<'_> {
        self.hand.file()
    }

    /// Deals with the next call at this listener. To be called when there is one.
    pub(super) fn serve(&mut self, ward: &Ward) {
        let Ok(notification) = self.hand.take(&ward.listener) else {
            // Its program was ended, or a signal took it away.
            self.hand.put_down();
            return;
        };
        // The duplicate of the socket is closed by now: as long as it is open, the program can't let go of its port.
        let Outcome { answer, bound } = self.decide(&notification, ward);
        let given = self.hand.give(&ward.listener, notification.id, answer);
        if let (Err(_), Some((cookie, unheard))) = (given, bound) {
            self.unheard.put(cookie, unheard);
        }
        ward.ledger.tell();
    }

    fn decide(&mut self, notification: &Notification, ward: &Ward) -> Outcome {
        let pass_unseen = || {
            ward.ledger.writing().doubt();
            Outcome::from(Answer::Continue)
        };
        let Some(decoded) = notification.call() else {
            return Answer::Continue.into();
        };
        let Some(target) = Target::of(notification.thread) else {
            return pass_unseen();
        };
        let Some(call) = target.resolve(decoded) else {
            return Answer::Continue.into();
        };
        let descriptor = match target.descriptor(call.descriptor(), &mut self.descriptors) {
            Ok(descriptor) => descriptor,
            Err(Errno::BADF) => return Answer::Continue.into(),
            Err(_) => return pass_unseen(),
        };
        let known = match call {
            Call::Listen { .. } => ward.known(&descriptor),
            Call::Bind { .. } => None,
        };
        let Some(socket) = known.or_else(|| Socket::of(&descriptor, ward.namespace)) else {
            return Answer::Continue.into();
        };
        let address = match call {
            Call::Listen { .. } => None,
            Call::Bind {
                address, length, ..
            } => match target.address(address, length) {
                None => return Answer::Continue.into(),
                read => read,
            },
        };
        if !ward.listener.waits(notification.id) {
            return Answer::Continue.into();
        }
        let caller = Caller {
            thread: notification.thread,
            run: Arc::clone(&ward.run),
        };
        let matter = Matter {
            ward,
            descriptor,
            socket,
            caller,
        };
        match (call, address) {
            (Call::Bind { .. }, Some(address)) => self.bind(matter, address),
            (Call::Listen { backlog, .. }, _) => matter.listen(backlog).into(),
            (Call::Bind { .. }, None) => Answer::Continue.into(),
        }
    }

    fn bind(&mut self, matter: Matter<'_>, address: Address) -> Outcome {
        let cookie = matter.socket.cookie;
        if let Some(unheard) = self.unheard.pop(&cookie)
            && unheard.address == address
        {
            return Answer::Performed(unheard.result).into();
        }
        if let Err(errno) = matter.permit(address) {
            return Answer::Performed(Err(errno)).into();
        }
        // The record tells in the order in which the kernel decides, whichever clerk performs.
        let mut record = matter.ward.ledger.writing();
        self.hand.note(Progress::Acting);
        let result = sys::bind(matter.descriptor(), address.bytes());
        self.hand.note(Progress::Done(result));
        if result.is_ok() {
            matter.note_bind(&mut record, address);
        }
        drop(record);
        if result == Err(Errno::ADDRINUSE) {
            matter.note_refusal(address.place(), Obstacle::Taken);
        }
        Outcome {
            answer: Answer::Performed(result),
            bound: Some((cookie, Unheard { address, result })),
        }
    }
}

impl Matter<'_> {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    fn deed(&self) -> Deed {
        Deed {
            socket: self.socket,
            caller: self.caller.clone(),
            at: Timestamp::now(),
        }
    }

    /// What the project's rules say to this bind; a refusal is noted.
    fn permit(&self, address: Address) -> Result<(), Errno> {
        let Some(port) = Port::new(address.port()) else {
            return Ok(());
        };
        let verdict = self
            .ward
            .ledger
            .record()
            .verdict(self.socket.protocol, port);
        let (errno, obstacle) = match verdict {
            Verdict::Free => return Ok(()),
            Verdict::Reserved(name) if self.is_called(&name) => return Ok(()),
            Verdict::Reserved(name) => (Errno::ADDRINUSE, Obstacle::Reserved(name)),
            Verdict::Forbidden(why) => (Errno::ACCESS, Obstacle::Forbidden(why)),
        };
        self.note_refusal(address.place(), obstacle);
        Err(errno)
    }

    /// Whether the caller's executable has that name.
    fn is_called(&self, name: &str) -> bool {
        Pid::from_raw(self.caller.thread)
            .and_then(list::program_of_thread)
            .is_some_and(|program| program == name)
    }

    fn note_bind(&self, record: &mut Record, address: Address) {
        // The kernel chose only where the program left it open.
        if let Some(place) = address.place().or_else(|| place(&self.descriptor)) {
            record.bound(&self.deed(), place);
        }
    }

    fn note_refusal(&self, place: Option<Place>, obstacle: Obstacle) {
        if let Some(place) = place {
            let asker = Asker::of(&self.caller);
            let mut record = self.ward.ledger.writing();
            record.refused(self.deed(), asker, place, obstacle);
        }
    }

    fn listen(self, backlog: i32) -> Answer {
        let mut record = self.ward.ledger.writing();
        let result = rustix::net::listen(&self.descriptor, backlog);
        if result.is_ok()
            && let Some(place) = place(&self.descriptor)
        {
            record.listens(&self.deed(), place);
        }
        drop(record);
        if result == Err(Errno::ADDRINUSE) {
            self.note_refusal(place(&self.descriptor), Obstacle::Taken);
        }
        Answer::Performed(result)
    }
}
