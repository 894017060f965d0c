//! The port table: whose is this endpoint, whose is this flow?
//!
//! A [`Table`] keeps *holds*. A hold is what a socket has of the port space: first nothing ([`Table::open`]),
//! then a place ([`Table::bind`], [`Table::listen`]), then perhaps a flow ([`Table::connect`],
//! [`Table::accept`]). It is not a socket: nothing is sent or received here, and no clock is read.
//!
//! ```
//! use wharf_port::table::{Config, Request, Table};
//! use wharf_port::{Domain, Protocol};
//!
//! let mut table = Table::new(&Config::new([7; 32]));
//! let web = table.open(Request::new(Protocol::Tcp, Domain::V4), "web");
//! table.bind(web, "0.0.0.0:3000".parse()?)?;
//! table.listen(web)?;
//!
//! let other = table.open(Request::new(Protocol::Tcp, Domain::V4), "other");
//! let error = table.bind(other, "127.0.0.1:3000".parse()?).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "tcp/127.0.0.1:3000 is taken: web listens on tcp/0.0.0.0:3000, \
//!      and a wildcard has every address of its family",
//! );
//!
//! let flow = "tcp/10.0.0.1:3000-10.0.0.2:40000".parse()?;
//! assert_eq!(table.who(&flow).map(|found| *found.owner), Some("web"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod addresses;
mod arena;
mod bind;
mod choose;
mod connect;
mod demux;
mod entry;
mod error;
mod feed;
mod groups;
mod holding;
mod index;
mod keys;
mod port_map;
mod ports;
mod receivers;
mod register;
mod request;
mod reserve;
mod rule;
mod shelf;
mod waiting;

use hashbrown::HashMap;

pub use self::demux::{Found, Match};
pub use self::error::{
    AcceptError, BindError, ConnectError, Exhausted, FlowTaken, Gone, InUse, ListenError, Reserved,
    Why,
};
pub use self::feed::{Change, Event, Lagged};
pub use self::holding::{Cursor, Holding, State};
pub use self::request::{Config, Device, Request, Reuse, Right};
pub use self::reserve::{Overlap, Reservation};

use self::arena::{Arena, NONE};
use self::choose::Dense;
use self::entry::{Entry, Origin, Phase};
use self::feed::Feed;
use self::index::Index;
use self::keys::{Keyed, Keys};
use self::receivers::Receivers;
use self::register::Register;
use self::reserve::Reservations;
use self::waiting::Waiting;
use crate::{Domain, Port, PortRange};

/// A moment on the caller's clock, in nanoseconds since an origin of the caller's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

/// The handle of one hold. It is never given out again in the same table until 2^32 others had its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hold {
    slot: u32,
    generation: u32,
}

/// Says which (protocol, address, port) and which flow belongs to whom.
///
/// `Owner` is whatever the caller wants to find: a socket's number, a process, a name. It is cloned into answers,
/// so it should be small or shared.
#[derive(Debug)]
pub struct Table<Owner> {
    ephemeral: PortRange,
    unprivileged: Port,
    keys: Keys,
    entries: Arena<Entry<Owner>>,
    /// Full flows. Of several holds of one flow (UDP sockets that share) the latest is here. An owner is here beside his
    /// hold, where a packet's look-up finds him at once; he does not change as long as there is the hold.
    flows: Index<Owner>,
    /// The holds of a shared flow: the one before, the one after, by age.
    twins: HashMap<u32, [u32; 2], Keyed>,
    register: Register,
    receivers: Receivers,
    dense: Dense,
    ranges: HashMap<u32, PortRange, Keyed>,
    reservations: Reservations,
    waiting: Waiting,
    feed: Feed<Owner>,
    stamp: u64,
}

impl<O> Table<O> {
    /// An empty table.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let keys = Keys::new(&config.seed);
        Self {
            ephemeral: config.ephemeral,
            unprivileged: config.unprivileged,
            entries: Arena::new(),
            flows: Index::new(),
            twins: HashMap::with_hasher(keys.maps()),
            register: Register::new(&keys),
            receivers: Receivers::new(keys.maps()),
            dense: Dense::new(keys.maps()),
            ranges: HashMap::with_hasher(keys.maps()),
            reservations: Reservations::new(keys.maps()),
            waiting: Waiting::new(),
            feed: Feed::new(config.feed),
            stamp: 0,
            keys,
        }
    }

    /// How many holds there are, open ones included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no hold at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nothing is kept beyond what the holds need: used by tests to show that no count leaks.
    #[must_use]
    pub fn is_tidy(&self) -> bool {
        if !self.is_empty() {
            return true;
        }
        self.register.counts() == [0; 4]
            && self.receivers.len() == 0
            && self.flows.is_empty()
            && self.twins.is_empty()
            && self.ranges.is_empty()
            && self.reservations.claims() == 0
            && self.dense.is_empty()
    }

    /// Whose hold it is; `None` if it was released.
    #[must_use]
    pub fn owner(&self, hold: Hold) -> Option<&O> {
        self.slot(hold).map(|slot| &self.entries[slot].owner)
    }

    fn slot(&self, hold: Hold) -> Option<u32> {
        let held = self.entries.holds(hold.slot, hold.generation);
        held.then_some(hold.slot)
    }

    fn handle(&self, slot: u32) -> Hold {
        Hold {
            slot,
            generation: self.entries.generation(slot),
        }
    }

    /// Changes what the rule and the receivers see of a hold: takes it out, changes it, puts it back.
    fn change(&mut self, slot: u32, change: impl FnOnce(&mut Entry<O>)) {
        self.take_out(slot);
        change(&mut self.entries[slot]);
        self.put_back(slot);
    }

    /// Takes a hold out of its group and from its chair.
    fn take_out(&mut self, slot: u32) {
        let entry = &mut self.entries[slot];
        if entry.group == NONE {
            return;
        }
        let (group, grip) = (entry.group, entry.grip());
        let [before, after] = core::mem::replace(&mut entry.neighbours, [NONE; 2]);
        entry.group = NONE;
        if entry.receives() {
            let chair = entry.chair();
            let place = self.register.place_mut(self.register.place_of(group));
            if let Some((moved, chair)) = self.receivers.unseat(&mut place.stacks, chair) {
                self.entries[moved].sit(chair);
            }
        }
        if after != NONE {
            self.entries[after].neighbours[0] = before;
        }
        if before == NONE {
            self.register.groups.group_mut(group).first = after;
        } else {
            self.entries[before].neighbours[1] = after;
        }
        self.register.leave(group, grip);
    }

    /// Puts a hold that has a port into its group and, if it receives, on a chair.
    fn put_back(&mut self, slot: u32) {
        let entry = &self.entries[slot];
        if entry.local_port == 0 || entry.origin == Origin::Admit {
            return;
        }
        let (spot, kind, grip) = (entry.spot(), entry.kind(), entry.grip());
        let group = self.register.enter(&self.keys, spot, kind, grip);
        let first = &mut self.register.groups.group_mut(group).first;
        let after = core::mem::replace(first, slot);
        if after != NONE {
            self.entries[after].neighbours[0] = slot;
        }
        let entry = &mut self.entries[slot];
        entry.group = group;
        entry.neighbours = [NONE, after];
        if entry.receives() {
            self.stamp += 1;
            let guest = entry.guest(self.stamp);
            let place = self.register.place_mut(self.register.place_of(group));
            let chair = self.receivers.seat(&mut place.stacks, guest, slot);
            entry.sit(chair);
        }
    }
}

impl<O: Clone> Table<O> {
    /// A new hold, without a port.
    pub fn open(&mut self, request: Request, owner: O) -> Hold {
        let slot = self.entries.insert(Entry::new(&request, owner));
        self.handle(slot)
    }

    /// Changes with whom a hold shares. It counts at once: the rule reads both sides' options as they are now.
    ///
    /// # Errors
    /// [`Gone`] if the hold was released.
    pub fn set_reuse(&mut self, hold: Hold, reuse: Reuse) -> Result<(), Gone> {
        let slot = self.slot(hold).ok_or(Gone)?;
        self.change(slot, |entry| entry.reuse = reuse);
        Ok(())
    }

    /// Binds a hold to a device, or to none in particular.
    ///
    /// # Errors
    /// [`Gone`] if the hold was released.
    pub fn set_device(&mut self, hold: Hold, device: Option<Device>) -> Result<(), Gone> {
        let slot = self.slot(hold).ok_or(Gone)?;
        self.change(slot, |entry| {
            entry.device = device.map_or(0, Device::number)
        });
        Ok(())
    }

    /// Gives a hold to another user.
    ///
    /// # Errors
    /// [`Gone`] if the hold was released.
    pub fn set_user(&mut self, hold: Hold, user: u32) -> Result<(), Gone> {
        let slot = self.slot(hold).ok_or(Gone)?;
        self.change(slot, |entry| entry.user = user);
        Ok(())
    }

    /// Changes which ports a hold may bind to; what it has already it keeps.
    ///
    /// # Errors
    /// [`Gone`] if the hold was released.
    pub fn set_right(&mut self, hold: Hold, right: Right) -> Result<(), Gone> {
        let slot = self.slot(hold).ok_or(Gone)?;
        self.entries[slot].right = right;
        Ok(())
    }

    /// Changes the domain of a hold without a port: `IPV6_V6ONLY` on or off. With a port, nothing changes.
    ///
    /// # Errors
    /// [`Gone`] if the hold was released.
    pub fn set_domain(&mut self, hold: Hold, domain: Domain) -> Result<(), Gone> {
        let slot = self.slot(hold).ok_or(Gone)?;
        let entry = &mut self.entries[slot];
        if entry.phase == Phase::Open {
            let (span, local) = register::Span::of(domain.wildcard());
            entry.domain = domain;
            (entry.span, entry.asked, entry.local) = (span, span, local);
        }
        Ok(())
    }

    /// Narrows the ports that are chosen from for this hold; with `None` they are the table's again.
    ///
    /// # Errors
    /// [`Gone`] if the hold was released.
    pub fn set_range(&mut self, hold: Hold, range: Option<PortRange>) -> Result<(), Gone> {
        let slot = self.slot(hold).ok_or(Gone)?;
        match range {
            Some(range) => self.ranges.insert(slot, range),
            None => self.ranges.remove(&slot),
        };
        Ok(())
    }

    /// Ends a hold, and returns its owner; `None` if that happened before.
    pub fn release(&mut self, hold: Hold) -> Option<O> {
        let slot = self.slot(hold)?;
        let waiting = self.entries[slot].phase == Phase::TimeWait;
        let owner = self.end(slot);
        if waiting {
            self.waiting.ended_early(&self.entries);
        }
        Some(owner)
    }

    fn end(&mut self, slot: u32) -> O {
        if self.announces(slot) {
            self.announce(slot, Event::Released);
        }
        if self.entries[slot].has_flow() {
            self.forget_flow(slot);
        }
        self.take_out(slot);
        if !self.ranges.is_empty() {
            self.ranges.remove(&slot);
        }
        self.reservations.drop_claim(slot);
        self.entries.remove(slot).owner
    }
}
