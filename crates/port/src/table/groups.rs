//! Holds that the bind rule can't tell apart, counted together.
//!
//! # Theory of operation
//!
//! Of an existing hold the rule asks three things: its device, whether it yields to address reuse, and to
//! whose port reuse it yields. Holds of one place that answer alike form a [`Group`]. A shelf is the list of
//! groups of one place, sorted into six classes; a conflict is then a look at six list heads. Only in the two
//! classes that yield to one user's port reuse can there be several groups; they differ by user, so
//! the first two of them tell whether there is one of another user.
//!
//! A wildcard has to know about all specific places below it. So a port has a shelf for each family, too: there the groups of
//! one kind stand behind each other, and the latest, their leader, stands for all of them. The number of places does
//! not matter either, and a newcomer among thousands touches the port and one other group.

use hashbrown::HashMap;

use super::arena::{Arena, NONE};
use super::keys::Keyed;
use super::shelf::{Heads, Kind, Level, Newcomer, PortSharing, Shelf, ShelfKey};

/// Holds of one kind at one place.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) place: u32,
    pub(super) kind: Kind,
    /// The first of the members; they are chained themselves.
    pub(super) first: u32,
    pub(super) count: u32,
    /// The neighbours in the lists of its shelves, by [`Level`].
    neighbours: [[u32; 2]; 2],
    /// On the port's shelf: who stands before it and behind it. A leader has nobody before it.
    row: [u32; 2],
}

/// All groups.
#[derive(Debug)]
pub(super) struct Groups {
    arena: Arena<Group>,
    users: HashMap<(ShelfKey, Kind), u32, Keyed>,
}

impl Groups {
    pub(super) fn new(hasher: Keyed) -> Self {
        Self {
            arena: Arena::new(),
            users: HashMap::with_hasher(hasher),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.arena.len()
    }

    pub(super) fn group(&self, number: u32) -> &Group {
        &self.arena[number]
    }

    pub(super) fn group_mut(&mut self, number: u32) -> &mut Group {
        &mut self.arena[number]
    }

    /// A group on the shelf that does not let the newcomer in.
    pub(super) fn conflict(&self, shelf: &Shelf, level: Level, newcomer: &Newcomer) -> Option<u32> {
        let devices = shelf.devices.iter();
        let devices = devices
            .filter(|(device, _)| newcomer.device == 0 || newcomer.device == *device)
            .map(|(_, heads)| heads);
        core::iter::once(&shelf.plain)
            .chain(devices)
            .find_map(|heads| self.conflict_among(heads, level, newcomer))
    }

    fn conflict_among(&self, heads: &Heads, level: Level, newcomer: &Newcomer) -> Option<u32> {
        let classes = heads.iter().enumerate().filter(|(_, head)| **head != NONE);
        for (class, &head) in classes {
            let address_sharing = class % 2 == 1;
            if address_sharing && newcomer.reuse.address() {
                continue;
            }
            if !newcomer.reuse.port() {
                return Some(head);
            }
            let PortSharing::User(user) = self.arena[head].kind.port_sharing else {
                if class < 2 {
                    return Some(head);
                }
                continue;
            };
            let next = self.arena[head].neighbours[level as usize][1];
            if user != newcomer.user {
                return Some(head);
            }
            if next != NONE {
                return Some(next);
            }
        }
        None
    }

    /// The group of this kind on the shelf; below the wildcards, the leader of that kind.
    pub(super) fn find(&self, shelf: &Shelf, key: ShelfKey, kind: &Kind) -> Option<u32> {
        let head = shelf.heads(kind.device)?[kind.class()];
        if head == NONE {
            return None;
        }
        if self.arena[head].kind == *kind {
            return Some(head);
        }
        self.users.get(&(key, *kind)).copied()
    }

    /// A new and empty group of this kind, first in its list.
    pub(super) fn create(&mut self, shelf: &mut Shelf, place: u32, kind: Kind) -> u32 {
        let number = self.arena.insert(Group {
            place,
            kind,
            first: NONE,
            count: 0,
            neighbours: [[NONE; 2]; 2],
            row: [NONE; 2],
        });
        self.put(shelf, ShelfKey::Place(place), number);
        number
    }

    /// Takes an empty group off its place's shelf, the last that it is on.
    pub(super) fn destroy(&mut self, shelf: &mut Shelf, number: u32) {
        let place = self.arena[number].place;
        self.take(shelf, ShelfKey::Place(place), number);
        self.arena.remove(number);
    }

    /// Makes a group of a place the leader of its kind below the wildcards.
    pub(super) fn join(&mut self, shelf: &mut Shelf, key: ShelfKey, number: u32) {
        let kind = self.arena[number].kind;
        let Some(leader) = self.find(shelf, key, &kind) else {
            return self.put(shelf, key, number);
        };
        self.succeed(shelf, key, leader, number);
        self.arena[leader].row[0] = number;
        self.arena[number].row = [NONE, leader];
    }

    /// Takes a group from below the wildcards. Who stood behind a leader follows it.
    pub(super) fn part(&mut self, shelf: &mut Shelf, key: ShelfKey, number: u32) {
        let [before, behind] = core::mem::replace(&mut self.arena[number].row, [NONE; 2]);
        if behind != NONE {
            self.arena[behind].row[0] = before;
        }
        match (before, behind) {
            (NONE, NONE) => self.take(shelf, key, number),
            (NONE, _) => self.succeed(shelf, key, number, behind),
            _ => self.arena[before].row[1] = behind,
        }
    }

    /// Puts a group first in its list on a shelf.
    fn put(&mut self, shelf: &mut Shelf, key: ShelfKey, number: u32) {
        let (level, kind) = (key.level() as usize, self.arena[number].kind);
        let after = core::mem::replace(shelf.head_mut(&kind), number);
        self.arena[number].neighbours[level] = [NONE, after];
        if after != NONE {
            self.arena[after].neighbours[level][0] = number;
        }
        if matches!(kind.port_sharing, PortSharing::User(_)) {
            self.users.insert((key, kind), number);
        }
    }

    /// Takes a group off a shelf.
    fn take(&mut self, shelf: &mut Shelf, key: ShelfKey, number: u32) {
        let (level, kind) = (key.level() as usize, self.arena[number].kind);
        let [before, after] = self.arena[number].neighbours[level];
        if after != NONE {
            self.arena[after].neighbours[level][0] = before;
        }
        if before == NONE {
            *shelf.head_mut(&kind) = after;
            shelf.tidy();
        } else {
            self.arena[before].neighbours[level][1] = after;
        }
        if matches!(kind.port_sharing, PortSharing::User(_)) {
            self.users.remove(&(key, kind));
        }
    }

    /// Puts a group on a shelf in the place of another of its kind.
    fn succeed(&mut self, shelf: &mut Shelf, key: ShelfKey, old: u32, new: u32) {
        let (level, kind) = (key.level() as usize, self.arena[new].kind);
        let [before, after] = self.arena[old].neighbours[level];
        self.arena[new].neighbours[level] = [before, after];
        if after != NONE {
            self.arena[after].neighbours[level][0] = new;
        }
        if before == NONE {
            *shelf.head_mut(&kind) = new;
        } else {
            self.arena[before].neighbours[level][1] = new;
        }
        if matches!(kind.port_sharing, PortSharing::User(_)) {
            self.users.insert((key, kind), new);
        }
    }

    /// Numbers of the groups on a shelf.
    pub(super) fn on<'a>(
        &'a self,
        shelf: &'a Shelf,
        level: Level,
    ) -> impl Iterator<Item = u32> + 'a {
        let devices = shelf.devices.iter().map(|(_, heads)| heads);
        let heads = core::iter::once(&shelf.plain).chain(devices).flatten();
        heads.flat_map(move |&head| {
            self.chain(head, move |group| group.neighbours[level as usize][1])
        })
    }

    /// Numbers of a leader and of those that stand behind it.
    pub(super) fn row(&self, leader: u32) -> impl Iterator<Item = u32> + '_ {
        self.chain(leader, |group| group.row[1])
    }

    fn chain(&self, first: u32, next: impl Fn(&Group) -> u32) -> impl Iterator<Item = u32> {
        let some = |number: u32| (number != NONE).then_some(number);
        core::iter::successors(some(first), move |&number| some(next(&self.arena[number])))
    }
}
