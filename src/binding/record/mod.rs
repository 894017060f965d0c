//! The record of one space: who has which port in it, since when, and what changed.
//!
//! The kernel decides; this notes what it decided. So that nothing is noted that isn't, the record is held against the
//! kernel's own list now and then ([`Record::compare`]): that finds what no call announced (`io_uring`), and lets go of
//! what ended unseen. Where the port table's rule and the kernel disagree, the kernel is right: then the record
//! has them share, and asks for a comparison.

mod compare;
mod ledger;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use lru::LruCache;
use wharf_port::table::{
    BindError, Change, Config, Holding, InUse, ListenError, Overlap, Request, Reservation,
    Reserved, Reuse, State,
};
use wharf_port::{Hold, Port, Protocol, Table};

pub(crate) use self::ledger::Ledger;
use super::caller::{Asker, Caller};
use super::policy::{Policy, Verdict};
use super::socket::{Place, Socket};
use crate::event::{Actor, Source};

/// How many changes wait to be told before a reader has missed some.
const CHANGES_KEPT: usize = 1024;
/// How many conflicts wait to be told; further ones aren't.
const CONFLICTS_KEPT: usize = 64;
/// How many refusals are remembered, so that the same isn't noted too often.
const REFUSALS_KEPT: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// How long the same refusal isn't noted again.
const AGAIN: SignedDuration = SignedDuration::from_secs(1);
/// How many holders may have to be brought to share with a newcomer before it is left out until the next comparison.
const SHARERS: usize = 64;

/// Who has which port.
#[derive(Debug)]
pub(crate) struct Record {
    table: Table<Owner>,
    /// By cookie. A socket of Multipath TCP has two.
    holds: HashMap<u64, Hold>,
    reservations: Vec<Reservation>,
    policy: Policy,
    conflicts: VecDeque<Conflict>,
    /// Since when sockets are as they are that a former daemon has seen, by their cookies.
    recalled: HashMap<u64, Timestamp>,
    /// How many conflicts were not kept since that was asked last.
    dropped: u64,
    /// When what was refused to whom last.
    refusals: LruCache<(Protocol, Place, Arc<str>), Timestamp>,
    /// The next change that hasn't been told.
    told: u64,
    /// Raised by every change, so that a comparison knows what is younger than the list that it has.
    age: u64,
    doubtful: bool,
}

/// A socket that has a port, and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    /// The socket.
    pub(crate) socket: Socket,
    /// Where.
    pub(crate) place: Place,
    /// Who bound it, or made it listen.
    pub(crate) caller: Option<Caller>,
    /// When it came into its present state, or was found in it.
    pub(crate) since: Timestamp,
    /// How that is known.
    pub(crate) source: Source,
    /// The program, once somebody has looked.
    pub(crate) program: Option<Arc<Actor>>,
    age: u64,
}

/// A call that was noted.
#[derive(Debug, Clone)]
pub(crate) struct Deed {
    /// The socket.
    pub(crate) socket: Socket,
    /// Who did it.
    pub(crate) caller: Caller,
    /// When.
    pub(crate) at: Timestamp,
}

/// A port that a program wanted and didn't get.
#[derive(Debug, Clone)]
pub(crate) struct Conflict {
    /// What the program did.
    pub(crate) deed: Deed,
    /// What was seen of it.
    pub(crate) asker: Asker,
    /// The place that it wanted.
    pub(crate) place: Place,
    /// What is in the way.
    pub(crate) obstacle: Obstacle,
}

/// What is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// Somebody has it.
    Taken,
    /// It is kept for the program of this name.
    Reserved(String),
    /// Nobody may have it, for this reason.
    Forbidden(String),
}

impl Record {
    fn new() -> Self {
        let config = Config {
            feed: CHANGES_KEPT,
            ..Config::new(rand::random())
        };
        Self {
            table: Table::new(&config),
            holds: HashMap::new(),
            reservations: Vec::new(),
            policy: Policy::default(),
            conflicts: VecDeque::new(),
            dropped: 0,
            recalled: HashMap::new(),
            refusals: LruCache::new(REFUSALS_KEPT),
            told: 0,
            age: 0,
            doubtful: false,
        }
    }

    /// Has these rules hold from now on. Who has a port keeps it.
    ///
    /// # Errors
    /// When two reservations meet; then none holds.
    pub(crate) fn set_policy(&mut self, policy: Policy) -> Result<(), Overlap> {
        for reservation in self.reservations.drain(..) {
            self.table.unreserve(reservation);
        }
        self.policy = Policy::default();
        for rule in &policy.reserved {
            for (protocol, range) in Protocol::ALL.into_iter().zip([rule.range(); 2]) {
                let Some(range) = range else { continue };
                match self.table.reserve(protocol, range, &rule.note) {
                    Ok(reservation) => self.reservations.push(reservation),
                    Err(overlap) => {
                        let made: Vec<_> = self.reservations.drain(..).collect();
                        made.into_iter().for_each(|one| self.table.unreserve(one));
                        return Err(overlap);
                    }
                }
            }
        }
        self.policy = policy;
        Ok(())
    }

    /// What the rules say to a port.
    pub(in crate::binding) fn verdict(&self, protocol: Protocol, port: Port) -> Verdict {
        let covers =
            |rule: &&super::policy::Rule| rule.range().is_some_and(|range| range.contains(port));
        if let Some(rule) = self.policy.forbidden.iter().find(covers) {
            return Verdict::Forbidden(rule.note.clone());
        }
        match self.table.reserved(protocol, port) {
            Some((_, Reserved { name, .. })) => Verdict::Reserved(name.to_string()),
            None => Verdict::Free,
        }
    }

    /// Knows from now on what a former daemon has seen.
    pub(crate) fn recall(&mut self, since: HashMap<u64, Timestamp>) {
        self.recalled = since;
    }

    /// A socket got a place.
    pub(in crate::binding) fn bound(&mut self, deed: &Deed, place: Place) {
        self.place(
            deed.socket,
            place,
            Some(&deed.caller),
            deed.at,
            Source::Call,
        );
    }

    /// A socket listens.
    pub(in crate::binding) fn listens(&mut self, deed: &Deed, place: Place) {
        let caller = Some(&deed.caller);
        let Some(hold) = self.place(deed.socket, place, caller, deed.at, Source::Call) else {
            return;
        };
        self.listen(hold, deed.at, Source::Call, caller);
        // Lists, and its end, show another cookie.
        self.doubtful |= deed.socket.multipath;
    }

    /// A program didn't get a port. One that tries again and again is noted once a second.
    pub(in crate::binding) fn refused(
        &mut self,
        deed: Deed,
        asker: Asker,
        place: Place,
        obstacle: Obstacle,
    ) {
        let run = asker.mark.as_ref().unwrap_or(&deed.caller.run);
        let again = (deed.socket.protocol, place, Arc::clone(run));
        let noted = self.refusals.put(again, deed.at);
        if noted.is_some_and(|noted| deed.at.duration_since(noted) < AGAIN) {
            return;
        }
        if self.conflicts.len() == CONFLICTS_KEPT {
            self.dropped += 1;
            return;
        }
        self.conflicts.push_back(Conflict {
            deed,
            asker,
            place,
            obstacle,
        });
    }

    /// Something happened that the record doesn't show: it wants to be compared.
    pub(crate) fn doubt(&mut self) {
        self.doubtful = true;
    }

    /// Whether it wants to be compared; asked once.
    pub(crate) fn doubtful(&mut self) -> bool {
        std::mem::take(&mut self.doubtful)
    }

    /// The last holder of a socket has closed it.
    pub(crate) fn released(&mut self, cookie: u64) {
        let Some(hold) = self.holds.remove(&cookie) else {
            return;
        };
        let Some(owner) = self.table.release(hold) else {
            return;
        };
        if owner.socket.multipath {
            self.holds.retain(|_, held| *held != hold);
        }
    }

    /// Nobody has anything any more.
    pub(crate) fn release_all(&mut self) {
        for (_, hold) in self.holds.drain() {
            // A socket of Multipath TCP has two cookies, and its hold goes with the first.
            self.table.release(hold);
        }
    }

    /// The hold of a socket at its place, made if it is new there.
    fn place(
        &mut self,
        socket: Socket,
        place: Place,
        caller: Option<&Caller>,
        at: Timestamp,
        source: Source,
    ) -> Option<Hold> {
        if let Some(&hold) = self.holds.get(&socket.cookie) {
            if self
                .table
                .owner(hold)
                .is_some_and(|owner| owner.place == place)
            {
                return Some(hold);
            }
            // It let go of its port (by disconnecting) and has another one now.
            self.released(socket.cookie);
        }
        self.age += 1;
        let owner = Owner {
            socket,
            place,
            caller: caller.cloned(),
            since: at,
            source,
            program: None,
            age: self.age,
        };
        let request = Request {
            reuse: socket.reuse,
            ..Request::new(socket.protocol, socket.domain)
        };
        let hold = self.table.open(request, owner);
        if let Some((reservation, _)) = self.table.reserved(socket.protocol, place.port) {
            self.table.claim(hold, reservation).ok();
        }
        for _ in 0..SHARERS {
            match self.table.bind(hold, place.local()) {
                Ok(_) => {
                    self.holds.insert(socket.cookie, hold);
                    return Some(hold);
                }
                Err(BindError::InUse(taken)) => self.have_share(hold, &taken),
                Err(_) => break,
            }
        }
        self.table.release(hold);
        self.doubtful = true;
        None
    }

    fn listen(&mut self, hold: Hold, at: Timestamp, source: Source, caller: Option<&Caller>) {
        for _ in 0..SHARERS {
            if self
                .table
                .holding(hold)
                .is_none_or(|it| it.state == State::Listening)
            {
                return;
            }
            self.age += 1;
            let age = self.age;
            self.table.update_owner(hold, |owner| {
                (owner.since, owner.source, owner.age) = (at, source, age);
                owner.caller = caller.cloned().or(owner.caller.take());
            });
            match self.table.listen(hold) {
                Err(ListenError::Bind(BindError::InUse(taken))) => self.have_share(hold, &taken),
                _ => return,
            }
        }
    }

    /// The kernel let these two have the place together, whatever the rule says.
    fn have_share(&mut self, newcomer: Hold, taken: &InUse<Owner>) {
        for hold in [newcomer, taken.holder.hold] {
            self.table.set_reuse(hold, Reuse::Both).ok();
        }
        self.doubtful = true;
    }

    /// Everything in it.
    pub(crate) fn all(&self) -> impl Iterator<Item = Holding<Owner>> {
        self.holds.iter().filter_map(|(cookie, hold)| {
            let holding = self.table.holding(*hold)?;
            (holding.owner.socket.cookie == *cookie).then_some(holding)
        })
    }

    /// Who stands in the way of a socket at a place.
    pub(crate) fn in_the_way(&self, socket: &Socket, place: Place) -> Vec<Holding<Owner>> {
        let Ok(cover) = socket.domain.cover(place.address) else {
            return Vec::new();
        };
        let mut holders = self.table.holders(socket.protocol, cover, place.port);
        holders.retain(|holder| holder.owner.socket.cookie != socket.cookie);
        holders
    }

    /// The socket of that cookie, if it has a port.
    pub(in crate::binding) fn socket(&self, cookie: u64) -> Option<Socket> {
        let owner = self.table.owner(*self.holds.get(&cookie)?)?;
        Some(owner.socket)
    }

    /// Since when the socket of that cookie is as it is, if it was seen to become so.
    pub(crate) fn since(&self, cookie: u64) -> Option<Timestamp> {
        let owner = self.table.owner(*self.holds.get(&cookie)?)?;
        (owner.source == Source::Call).then_some(owner.since)
    }

    /// Names the program behind a socket, for whoever asks later.
    pub(crate) fn name(&mut self, hold: Hold, program: Arc<Actor>) {
        self.table
            .update_owner(hold, |owner| owner.program = Some(program));
    }

    /// The number that the next change will have.
    pub(crate) const fn next_change(&self) -> u64 {
        self.table.next_change()
    }

    /// What changed since this was asked last, and how many changes and conflicts were not kept for that long.
    pub(crate) fn changes(&mut self) -> (Vec<Change<Owner>>, u64) {
        let missed = match self.table.changes(self.told) {
            Ok(_) => 0,
            Err(lagged) => lagged.first - self.told,
        };
        self.told += missed;
        let changes: Vec<_> = self
            .table
            .changes(self.told)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        self.told = self.next_change();
        (changes, missed + std::mem::take(&mut self.dropped))
    }

    /// The conflicts since this was asked last.
    pub(crate) fn conflicts(&mut self) -> Vec<Conflict> {
        self.conflicts.drain(..).collect()
    }
}
