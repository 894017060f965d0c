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
//! A wildcard has to know about all specific places below it. So the groups of these are in turn
//! the members of a group of the same kind on a shelf of the port: the number of places does not matter either.

use alloc::vec::Vec;

use hashbrown::HashMap;

use super::Reuse;
use super::arena::{Arena, NONE};
use super::keys::Keyed;

/// To whose port reuse a hold yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum PortSharing {
    Nobody,
    /// It is in TIME-WAIT and had reuse port.
    Anybody,
    User(u32),
}

/// What the rule asks of an existing hold. Device 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) device: u32,
    pub(super) address_sharing: bool,
    pub(super) port_sharing: PortSharing,
}

/// What the rule asks of the hold that wants in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newcomer {
    pub(super) device: u32,
    pub(super) reuse: Reuse,
    pub(super) user: u32,
}

/// Which shelf a group is on: a place's, or one family's shelf below the wildcards of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ShelfKey {
    Place(u32),
    Below(u32, u8),
}

type Heads = [u32; 6];

/// The heads of a shelf's lists: for holds without a device, and for each device.
#[derive(Debug)]
pub(super) struct Shelf {
    plain: Heads,
    devices: Vec<(u32, Heads)>,
}

impl Shelf {
    pub(super) const fn new() -> Self {
        Self {
            plain: [NONE; 6],
            devices: Vec::new(),
        }
    }

    fn heads(&self, device: u32) -> Option<&Heads> {
        if device == 0 {
            return Some(&self.plain);
        }
        let found = self.devices.iter().find(|(name, _)| *name == device);
        found.map(|(_, heads)| heads)
    }

    fn head_mut(&mut self, kind: &Kind) -> &mut u32 {
        let heads = if kind.device == 0 {
            &mut self.plain
        } else {
            let at = self
                .devices
                .iter()
                .position(|(name, _)| *name == kind.device);
            let at = at.unwrap_or_else(|| {
                self.devices.push((kind.device, [NONE; 6]));
                self.devices.len() - 1
            });
            &mut self.devices[at].1
        };
        &mut heads[kind.class()]
    }

    fn tidy(&mut self) {
        self.devices.retain(|(_, heads)| *heads != [NONE; 6]);
    }
}

impl Kind {
    const fn class(&self) -> usize {
        let port = match self.port_sharing {
            PortSharing::Nobody => 0,
            PortSharing::User(_) => 2,
            PortSharing::Anybody => 4,
        };
        port + self.address_sharing as usize
    }
}

/// Holds, or groups of places, of one kind on one shelf.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) shelf: ShelfKey,
    pub(super) kind: Kind,
    /// The first of the members; they are chained themselves.
    pub(super) first: u32,
    pub(super) count: u32,
    /// The group that this one is a member of, if it is below a wildcard, and its neighbours in there.
    pub(super) crowd: u32,
    siblings: [u32; 2],
    neighbours: [u32; 2],
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
    pub(super) fn conflict(&self, shelf: &Shelf, newcomer: &Newcomer) -> Option<u32> {
        let devices = shelf.devices.iter();
        let devices = devices
            .filter(|(device, _)| newcomer.device == 0 || newcomer.device == *device)
            .map(|(_, heads)| heads);
        core::iter::once(&shelf.plain)
            .chain(devices)
            .find_map(|heads| self.conflict_among(heads, newcomer))
    }

    fn conflict_among(&self, heads: &Heads, newcomer: &Newcomer) -> Option<u32> {
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
            let next = self.arena[head].neighbours[1];
            if user != newcomer.user {
                return Some(head);
            }
            if next != NONE {
                return Some(next);
            }
        }
        None
    }

    /// The group of this kind on the shelf.
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
    pub(super) fn create(&mut self, shelf: &mut Shelf, key: ShelfKey, kind: Kind) -> u32 {
        let head = shelf.head_mut(&kind);
        let number = self.arena.insert(Group {
            shelf: key,
            kind,
            first: NONE,
            count: 0,
            crowd: NONE,
            siblings: [NONE; 2],
            neighbours: [NONE, *head],
        });
        if *head != NONE {
            self.arena[*head].neighbours[0] = number;
        }
        *head = number;
        if matches!(kind.port_sharing, PortSharing::User(_)) {
            self.users.insert((key, kind), number);
        }
        number
    }

    /// Takes an empty group off its shelf.
    pub(super) fn destroy(&mut self, shelf: &mut Shelf, number: u32) {
        let group = self.arena.remove(number);
        let [before, after] = group.neighbours;
        if after != NONE {
            self.arena[after].neighbours[0] = before;
        }
        if before == NONE {
            *shelf.head_mut(&group.kind) = after;
            shelf.tidy();
        } else {
            self.arena[before].neighbours[1] = after;
        }
        if matches!(group.kind.port_sharing, PortSharing::User(_)) {
            self.users.remove(&(group.shelf, group.kind));
        }
    }

    /// Makes a place's group a member of the crowd below the wildcards.
    pub(super) fn join(&mut self, crowd: u32, number: u32) {
        let first = core::mem::replace(&mut self.arena[crowd].first, number);
        self.arena[crowd].count += 1;
        if first != NONE {
            self.arena[first].siblings[0] = number;
        }
        let group = &mut self.arena[number];
        group.crowd = crowd;
        group.siblings = [NONE, first];
    }

    /// Takes a place's group out of its crowd, and says whether that is now empty.
    pub(super) fn part(&mut self, number: u32) -> bool {
        let group = &self.arena[number];
        let (crowd, [before, after]) = (group.crowd, group.siblings);
        if after != NONE {
            self.arena[after].siblings[0] = before;
        }
        if before == NONE {
            self.arena[crowd].first = after;
        } else {
            self.arena[before].siblings[1] = after;
        }
        self.arena[crowd].count -= 1;
        self.arena[crowd].count == 0
    }

    /// Numbers of the groups on a shelf.
    pub(super) fn on<'a>(&'a self, shelf: &'a Shelf) -> impl Iterator<Item = u32> + 'a {
        let devices = shelf.devices.iter().map(|(_, heads)| heads);
        let heads = core::iter::once(&shelf.plain).chain(devices).flatten();
        heads.flat_map(|&head| self.chain(head, |group| group.neighbours[1]))
    }

    /// Numbers of the groups in a crowd.
    pub(super) fn within(&self, crowd: u32) -> impl Iterator<Item = u32> + '_ {
        self.chain(self.arena[crowd].first, |group| group.siblings[1])
    }

    fn chain(&self, first: u32, next: fn(&Group) -> u32) -> impl Iterator<Item = u32> + '_ {
        let some = |number: u32| (number != NONE).then_some(number);
        core::iter::successors(some(first), move |&number| some(next(&self.arena[number])))
    }
}
