//! What the table tells about a hold, and lists of them.

use alloc::vec::Vec;
use core::fmt;

use super::arena::NONE;
use super::entry::{Entry, Phase};
use super::register::Span;
use super::{Device, Hold, Moment, Reuse, Table};
use crate::{Cover, Domain, Endpoint, Port, Protocol};

/// How far a hold has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Opened, without a port yet.
    Open,
    /// It has a port. A TCP hold like this receives nothing, and yet keeps others out.
    Bound,
    /// It takes connections.
    Listening,
    /// It has this peer.
    Connected(Endpoint),
    /// Its connection is over; the flow rests until this moment (RFC 9293, section 3.6.1).
    TimeWait(Endpoint, Moment),
}

/// One hold, as the table sees it at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding<O> {
    /// The handle.
    pub hold: Hold,
    /// Whose it is.
    pub owner: O,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The family it was opened with.
    pub domain: Domain,
    /// The local addresses that it receives at.
    pub cover: Cover,
    /// The port, `None` as long as it is only open.
    pub port: Option<Port>,
    /// How far it has come, and with whom.
    pub state: State,
    /// Its reuse options.
    pub reuse: Reuse,
    /// The user that it belongs to.
    pub user: u32,
    /// The device that it is bound to.
    pub device: Option<Device>,
}

/// Where a list left off; see [`Table::page`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor(u32);

impl<O: Clone> Table<O> {
    pub(super) fn describe(&self, slot: u32) -> Holding<O> {
        let entry = &self.entries[slot];
        Holding {
            hold: self.handle(slot),
            owner: entry.owner.clone(),
            protocol: entry.protocol,
            domain: entry.domain,
            cover: entry.span.cover(entry.local),
            port: entry.port(),
            state: entry.state(),
            reuse: entry.reuse,
            user: entry.user,
            device: Device::new(entry.device),
        }
    }

    /// Everything about one hold; `None` if it was released.
    #[must_use]
    pub fn holding(&self, hold: Hold) -> Option<Holding<O>> {
        self.slot(hold).map(|slot| self.describe(slot))
    }

    /// Everybody whose cover meets this one, on this port: who would be asked if one bound to it.
    ///
    /// The cost is that of the answer's length.
    #[must_use]
    pub fn holders(&self, protocol: Protocol, cover: Cover, port: Port) -> Vec<Holding<O>> {
        let (span, address) = Span::of(cover);
        let spot = super::register::Spot {
            protocol,
            port: port.number(),
            span,
            address,
        };
        let groups = self.register.meeting(&self.keys, &spot).into_iter();
        groups
            .flat_map(|group| self.members(group))
            .map(|slot| self.describe(slot))
            .collect()
    }

    /// Some of all holds: at most about `count` of them from where the cursor left off, and the cursor to go on with,
    /// `None` after the last.
    ///
    /// The table may change between two pages. A hold that is there all the time is listed exactly once.
    ///
    /// ```
    /// # use wharf_port::table::{Config, Cursor, Table};
    /// # let table = Table::<u32>::new(&Config::new([0; 32]));
    /// let mut cursor = Some(Cursor::default());
    /// while let Some(at) = cursor {
    ///     let (holdings, next) = table.page(at, 100);
    ///     for holding in holdings { /* show it */ }
    ///     cursor = next;
    /// }
    /// ```
    #[must_use]
    pub fn page(&self, cursor: Cursor, count: usize) -> (Vec<Holding<O>>, Option<Cursor>) {
        let end = self.entries.end();
        let last = cursor.0.saturating_add(count.max(1) as u32).min(end);
        let slots = cursor.0..last;
        let slots = slots.filter(|&slot| self.entries.find(slot).is_some());
        let holdings = slots.map(|slot| self.describe(slot)).collect();
        (holdings, (last < end).then_some(Cursor(last)))
    }
}

impl<O> Table<O> {
    fn members(&self, group: u32) -> impl Iterator<Item = u32> + '_ {
        let some = |slot: u32| (slot != NONE).then_some(slot);
        let first = some(self.register.groups.group(group).first);
        core::iter::successors(first, move |&slot| some(self.entries[slot].neighbours[1]))
    }
}

impl<O> Entry<O> {
    pub(super) fn state(&self) -> State {
        match (self.phase, self.flow(), self.until()) {
            (Phase::Connected, Some(flow), _) => State::Connected(flow.remote),
            (Phase::TimeWait, Some(flow), Some(until)) => State::TimeWait(flow.remote, until),
            (Phase::Listening, ..) => State::Listening,
            (Phase::Open, ..) => State::Open,
            _ => State::Bound,
        }
    }
}

impl<O: fmt::Display> fmt::Display for Holding<O> {
    /// A clause that a sentence can take up: `web (pid 4711) listens on tcp/0.0.0.0:3000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.state {
            State::Open => "has an open socket at",
            State::Bound => "is bound to",
            State::Listening => "listens on",
            State::Connected(_) => "has a connection from",
            State::TimeWait(..) => "had a connection, now in TIME-WAIT, from",
        };
        let port = self.port.map_or(0, Port::number);
        write!(f, "{} {verb} {}/", self.owner, self.protocol)?;
        write_place(f, self.cover, port)?;
        match self.state {
            State::Connected(peer) | State::TimeWait(peer, _) => write!(f, " to {peer}"),
            _ => Ok(()),
        }
    }
}

/// `ADDRESS:PORT`, with brackets around IPv6.
pub(super) fn write_place(f: &mut fmt::Formatter<'_>, cover: Cover, port: u16) -> fmt::Result {
    match cover {
        Cover::V4(_) | Cover::AllV4 => write!(f, "{cover}:{port}"),
        Cover::V6(_) | Cover::All => write!(f, "[{cover}]:{port}"),
        Cover::AllV6 => write!(f, "[::]:{port} (IPv6 only)"),
    }
}
