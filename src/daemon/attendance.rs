//! The runs that are attached to a space, and what they are told.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::mpsc;

use crate::binding::record::Conflict;
use crate::event::{Event, Kind, Reason};
use crate::list::Protocol;
use crate::protocol::Notice;

/// How many notices may wait for a run that doesn't read; further ones it isn't told.
const NOTICES: usize = 64;
/// How many conflicts of one run are remembered as told.
const TOLD: usize = 1024;

/// Whoever is there, by the run's name.
#[derive(Debug, Default)]
pub(super) struct Attendance(RefCell<HashMap<String, Rc<Run>>>);

/// One run.
#[derive(Debug)]
struct Run {
    notices: mpsc::Sender<Notice>,
    told: RefCell<HashSet<Told>>,
    supervised: RefCell<bool>,
}

/// A conflict that a run was told: where, and with whom.
type Told = (Protocol, IpAddr, u16, Vec<i32>);

impl Attendance {
    /// A run is there; what it is told comes out here.
    pub(super) fn enter(&self, run: &str) -> mpsc::Receiver<Notice> {
        let (notices, told) = mpsc::channel(NOTICES);
        let entered = Run {
            notices,
            told: RefCell::default(),
            supervised: RefCell::new(true),
        };
        self.0.borrow_mut().insert(run.to_owned(), Rc::new(entered));
        told
    }

    /// A run has left.
    pub(super) fn leave(&self, run: &str) {
        self.0.borrow_mut().remove(run);
    }

    /// The binds of a run aren't seen.
    pub(super) fn is_unsupervised(&self, run: &str) {
        if let Some(run) = self.0.borrow().get(run) {
            run.supervised.replace(false);
        }
    }

    /// Whether there is a run whose binds aren't seen.
    pub(super) fn someone_is_unsupervised(&self) -> bool {
        self.0
            .borrow()
            .values()
            .any(|run| !*run.supervised.borrow())
    }

    /// Tells the run that the program belongs to of its conflict; of the same conflict only once.
    pub(super) fn tell(&self, conflict: &Conflict, event: &Event) {
        let runs = self.0.borrow();
        // A `wharf run` inside of another has its own terminal, perhaps.
        let inner = conflict
            .asker
            .mark
            .as_ref()
            .and_then(|run| runs.get(&**run));
        let Some(run) = inner.or_else(|| runs.get(&*conflict.deed.caller.run)) else {
            return;
        };
        let mut told = run.told.borrow_mut();
        if told.len() < TOLD && told.insert(key(event)) {
            run.notices.try_send(Notice::Conflict(event.clone())).ok();
        }
    }
}

fn key(event: &Event) -> Told {
    let mut holders = Vec::new();
    if let Kind::Conflict {
        reason: Reason::Held(held),
    } = &event.kind
    {
        holders.extend(
            held.iter()
                .filter_map(|holder| Some(holder.program.as_ref()?.pid)),
        );
    }
    holders.sort_unstable();
    (event.protocol, event.address, event.port.get(), holders)
}
