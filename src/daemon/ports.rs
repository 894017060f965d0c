//! What happens to the ports of one space: from its record to those who follow it.
//!
//! The clerk notes binds ([`crate::binding`]), the kernel announces the ends of sockets ([`super::releases`]), and the
//! record is compared with the kernel's own list: when something is doubtful, when a port was refused, and every few
//! seconds for what nobody announced. Whatever changed is told as events, and conflicts to the run that had them.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::broadcast;
use wharf_port::table::{self, Change, State};
use wharf_port::{Hold, Protocol};

use super::attendance::Attendance;
use super::releases::Releases;
use crate::binding::record::{Conflict, Ledger, Obstacle, Owner};
use crate::event::{Actor, Event, Holder, Kind, Reason, Source};
use crate::list::holders::{self, Scope};
use crate::list::{NetNamespace, Process, diag};

/// How long what happens may wait for what happens next.
const PORTION: Duration = Duration::from_millis(5);
/// How often the record is compared with the kernel's list when nothing gives a reason to.
const LOOK: Duration = Duration::from_secs(5);
/// How often where something isn't announced.
const LOOK_OFTEN: Duration = Duration::from_millis(250);

/// The ports of one space.
#[derive(Debug)]
pub(super) struct Ports {
    space: String,
    namespace: NetNamespace,
    diag: OwnedFd,
    pub(super) ledger: Arc<Ledger>,
    pub(super) attendance: Attendance,
    events: broadcast::Sender<Event>,
    untold: Untold,
    releases: OnceCell<Releases>,
    /// Cookies of wharf's own sockets inside, which nobody is told of.
    hidden: RefCell<HashSet<u64>>,
    /// Since when sockets are as they are that a former daemon has seen, by their cookies.
    recalled: RefCell<HashMap<u64, Timestamp>>,
    /// Sockets that have ended, what their connections carried included; noted only while a page is open.
    pub(super) ended: RefCell<Option<Vec<diag::Socket>>>,
    /// Whether ends may have been missed of sockets that no list shows.
    missed: Cell<bool>,
}

/// How many changes of ports in all spaces came faster than they could be told; whoever follows events says so.
#[derive(Debug, Clone, Default)]
pub(super) struct Untold(Rc<Cell<u64>>);

impl Untold {
    fn add(&self, count: u64) {
        self.0.set(self.0.get() + count);
    }

    /// How many since `before`, which is brought up to now.
    pub(super) fn since(&self, before: &mut u64) -> Option<u64> {
        let now = self.0.get();
        let more = now - std::mem::replace(before, now);
        (more > 0).then_some(more)
    }

    /// How many until now.
    pub(super) fn count(&self) -> u64 {
        self.0.get()
    }
}

/// The processes that hold sockets, oldest first, by the inodes of these.
type Holders = HashMap<u64, Vec<Process>>;

impl Ports {
    /// Of the space of this name; `diag` is a diag socket made inside.
    pub(super) fn new(
        space: &str,
        namespace: NetNamespace,
        diag: OwnedFd,
        (events, untold): (broadcast::Sender<Event>, Untold),
    ) -> Self {
        Self {
            space: space.to_owned(),
            namespace,
            diag,
            ledger: Arc::new(Ledger::new()),
            attendance: Attendance::default(),
            events,
            untold,
            releases: OnceCell::new(),
            hidden: RefCell::default(),
            recalled: RefCell::default(),
            ended: RefCell::default(),
            missed: Cell::new(true),
        }
    }

    /// Knows from now on what a former daemon has seen. To be called before anything is told.
    pub(super) fn recall(&self, since: HashMap<u64, Timestamp>) {
        self.ledger.record().recall(since.clone());
        self.recalled.replace(since);
    }

    /// Whether a former daemon has told it.
    fn is_old_news(&self, owner: &Owner, event: table::Event) -> bool {
        let recalled = self.recalled.borrow();
        event != table::Event::Released && recalled.get(&owner.socket.cookie) == Some(&owner.since)
    }

    /// Hears of the ends of sockets from now on, by a diag socket made inside for this.
    pub(super) fn hear_with(&self, diag: OwnedFd) -> io::Result<()> {
        let releases = Releases::listen(diag)?;
        self.releases.get_or_init(|| releases);
        Ok(())
    }

    /// A socket inside is wharf's own.
    pub(super) fn hide(&self, cookie: u64) {
        self.hidden.borrow_mut().insert(cookie);
    }

    /// Cookies of wharf's own sockets inside.
    pub(super) fn hidden(&self) -> HashSet<u64> {
        self.hidden.borrow().clone()
    }

    /// Tells what happens, for good.
    pub(super) async fn follow(self: Rc<Self>) {
        let mut looked = tokio::time::Instant::now();
        self.ledger.record().doubt();
        loop {
            self.settle();
            // Where much happens, it is told in portions: programs that bind all the time want the processors themselves.
            tokio::time::sleep(PORTION).await;
            let pause = if self.all_is_announced() {
                LOOK
            } else {
                LOOK_OFTEN
            };
            tokio::select! {
                () = self.ledger.changed() => {}
                () = self.release() => {}
                () = tokio::time::sleep_until(looked + pause) => {
                    looked = tokio::time::Instant::now();
                    self.ledger.record().doubt();
                }
            }
        }
    }

    async fn release(&self) {
        match self.releases.get() {
            Some(releases) => releases.arrival().await,
            None => std::future::pending().await,
        }
    }

    fn all_is_announced(&self) -> bool {
        !self.attendance.someone_is_unsupervised()
            && self.releases.get().is_none_or(Releases::complete)
    }

    /// Tells what happened until now.
    pub(super) fn settle(&self) {
        if let Some(releases) = self.releases.get() {
            let heard = releases.hear(Instant::now(), |message| {
                if let Some(ended) = &mut *self.ended.borrow_mut() {
                    ended.extend(diag::ended(message));
                }
            });
            let mut record = self.ledger.record();
            heard
                .ended
                .iter()
                .for_each(|cookie| record.released(*cookie));
            if heard.missed {
                record.doubt();
                self.missed.set(true);
            }
        }
        let conflicts = self.ledger.record().conflicts();
        if self.ledger.record().doubtful() || !conflicts.is_empty() {
            self.compare();
        }
        self.tell_changes();
        self.tell_conflicts(conflicts);
    }

    /// Tells that everything is released: the space ends, and nobody will hear what the kernel announces from now on.
    pub(super) fn close(&self) {
        self.settle();
        self.ledger.record().release_all();
        self.tell_changes();
    }

    /// Brings the record in line with what the kernel says.
    fn compare(&self) {
        let age = self.ledger.record().age();
        let listed = diag::dump(self.diag.as_fd());
        let mut listed = match listed {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!("the ports of {} can't be compared: {error}", self.space);
                return;
            }
        };
        let hidden = self.hidden.borrow();
        listed.retain(|socket| !hidden.contains(&socket.cookie));
        let unlisted = {
            let mut record = self.ledger.record();
            record.compare(&listed, age, Timestamp::now());
            record.unlisted(age)
        };
        if self.missed.take() && !unlisted.is_empty() {
            // A socket that is bound and doesn't listen is in no list; but who holds it can be seen.
            let held = self.holders(unlisted.iter().map(|(inode, _)| *inode).collect());
            let gone = unlisted
                .iter()
                .filter(|(inode, _)| !held.contains_key(inode));
            let mut record = self.ledger.record();
            gone.for_each(|(_, cookie)| record.released(*cookie));
        }
    }

    /// Who holds these sockets now.
    fn holders(&self, inodes: HashSet<u64>) -> Holders {
        let found = holders::holders(&inodes, Scope::In(&[self.namespace]));
        let mut holders = Holders::new();
        for holder in found.unwrap_or_default() {
            for inode in holder.inodes {
                holders
                    .entry(inode)
                    .or_default()
                    .push(holder.process.clone());
            }
        }
        for of_one in holders.values_mut() {
            of_one.sort_unstable_by_key(|process| (process.started, process.pid));
        }
        holders
    }

    fn tell_changes(&self) {
        let (mut changes, missed) = self.ledger.record().changes();
        if missed > 0 {
            tracing::warn!(
                "{missed} changes of ports in {} came faster than they can be told",
                self.space
            );
            self.untold.add(missed);
        }
        self.name_programs(&mut changes);
        for change in changes {
            let owner = change.holding.owner;
            if self.is_old_news(&owner, change.event) {
                continue;
            }
            let (kind, at) = match change.event {
                table::Event::Bound => (Kind::Bound, owner.since),
                table::Event::Listening => (Kind::Listening, owner.since),
                table::Event::Released => (Kind::Released, Timestamp::now()),
            };
            let event = self.event(kind, at, &owner, owner.program.as_deref().cloned());
            // Where nobody follows, nobody is told.
            self.events.send(event).ok();
        }
    }

    /// Finds out whose sockets changed, where that isn't known yet, and has the record know it from now on.
    fn name_programs(&self, changes: &mut [Change<Owner>]) {
        let unknown = changes.iter().map(|change| &change.holding.owner);
        let unknown = unknown.filter(|owner| owner.program.is_none() && owner.caller.is_none());
        let held = self.holders(unknown.map(|owner| owner.socket.inode).collect());
        let mut names: HashMap<Hold, Arc<Actor>> = HashMap::new();
        let mut callers: HashMap<i32, Option<Arc<Actor>>> = HashMap::new();
        for change in changes {
            let owner = &mut change.holding.owner;
            let hold = change.holding.hold;
            let mut find = || match &owner.caller {
                Some(caller) => callers
                    .entry(caller.thread)
                    .or_insert_with(|| caller.program().map(Arc::new))
                    .clone(),
                None => {
                    let process = held.get(&owner.socket.inode)?.first()?;
                    Some(Arc::new(Actor::from(process)))
                }
            };
            let known = names.get(&hold).cloned().or_else(|| owner.program.clone());
            let program = known.or_else(&mut find);
            if let Some(program) = program {
                names.insert(hold, Arc::clone(&program));
                owner.program = Some(program);
            }
        }
        let mut record = self.ledger.record();
        names
            .into_iter()
            .for_each(|(hold, program)| record.name(hold, program));
    }

    fn event(&self, kind: Kind, at: Timestamp, owner: &Owner, program: Option<Actor>) -> Event {
        Event {
            at,
            space: self.space.clone(),
            kind,
            protocol: owner.socket.protocol,
            address: owner.place.address,
            port: owner.place.number(),
            socket: owner.socket.cookie,
            program,
            source: owner.source,
        }
    }

    fn tell_conflicts(&self, conflicts: Vec<Conflict>) {
        let with_holders: Vec<_> = conflicts
            .into_iter()
            .map(|conflict| {
                let holders = match conflict.obstacle {
                    Obstacle::Taken => self.in_the_way(&conflict),
                    Obstacle::Reserved(_) | Obstacle::Forbidden(_) => Vec::new(),
                };
                (conflict, holders)
            })
            .collect();
        let inodes = with_holders.iter().flat_map(|(_, holders)| holders);
        let held = self.holders(inodes.map(|(owner, _)| owner.socket.inode).collect());
        for (conflict, holders) in with_holders {
            let reason = match &conflict.obstacle {
                Obstacle::Reserved(name) => Reason::Reserved(name.clone()),
                Obstacle::Forbidden(why) => Reason::Forbidden(why.clone()),
                Obstacle::Taken => Reason::Held(
                    holders
                        .iter()
                        .map(|(owner, state)| holder(owner, *state, &held))
                        .collect(),
                ),
            };
            let event = Event {
                at: conflict.deed.at,
                space: self.space.clone(),
                kind: Kind::Conflict { reason },
                protocol: conflict.deed.socket.protocol,
                address: conflict.place.address,
                port: conflict.place.number(),
                socket: conflict.deed.socket.cookie,
                program: conflict.asker.program.clone(),
                source: Source::Call,
            };
            self.attendance.tell(&conflict, &event);
            self.events.send(event).ok();
        }
    }

    fn in_the_way(&self, conflict: &Conflict) -> Vec<(Owner, State)> {
        let record = self.ledger.record();
        let found = record.in_the_way(&conflict.deed.socket, conflict.place);
        found
            .into_iter()
            .map(|holding| (holding.owner, holding.state))
            .collect()
    }
}

/// Who stands in the way, as an event names it: whoever holds the socket now, else whoever bound it.
fn holder(owner: &Owner, state: State, held: &Holders) -> Holder {
    let process = held.get(&owner.socket.inode).and_then(|all| all.first());
    let seen = (owner.source == Source::Call).then_some(owner.since);
    Holder {
        address: owner.place.address,
        listens: (owner.socket.protocol == Protocol::Tcp).then_some(state == State::Listening),
        since: seen.or_else(|| Some(process?.started)),
        program: process
            .map(Actor::from)
            .or_else(|| owner.program.as_deref().cloned()),
    }
}

impl From<&Process> for Actor {
    fn from(process: &Process) -> Self {
        Self {
            pid: process.pid,
            program: process.program.clone(),
            directory: process.directory.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_is_held_at_the_end_is_told_as_released() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (events, mut told) = broadcast::channel(1024);
        let namespace = NetNamespace::own().unwrap();
        let ports = Ports::new(
            "shop",
            namespace,
            diag::open().unwrap(),
            (events, Untold::default()),
        );
        let mut kinds = || {
            let told = std::iter::from_fn(|| told.try_recv().ok());
            let about = told.filter(|event| event.port.get() == port);
            about.map(|event| event.kind).collect::<Vec<_>>()
        };
        ports.ledger.record().doubt();
        ports.settle();
        assert_eq!(kinds(), [Kind::Bound, Kind::Listening]);
        ports.close();
        assert_eq!(kinds(), [Kind::Released]);
        ports.close();
        assert_eq!(kinds(), []);
    }
}
