//! Bind, listen, narrow: how a hold gets a place.

use super::entry::{Entry, Origin, Phase};
use super::register::{Grip, Span, Spot};
use super::shelf::Newcomer;
use super::{BindError, Event, Exhausted, Gone, Hold, InUse, ListenError, Right, Table, Why};
use crate::{Local, Port, PortRange, Protocol};

impl<O: Clone> Table<O> {
    /// Gives an open hold the place that it asks for, or a port that the table chooses.
    ///
    /// A chosen port is one that nobody has at any address of the place, whatever the reuse options.
    /// It is unpredictable without the seed (RFC 6056), and choosing it costs the same however many are taken.
    ///
    /// # Errors
    /// [`BindError`]; the hold stays open then.
    pub fn bind(&mut self, hold: Hold, local: Local) -> Result<Port, BindError<O>> {
        let slot = self.slot(hold).ok_or(BindError::Gone)?;
        let entry = &self.entries[slot];
        if entry.phase != Phase::Open {
            return Err(BindError::AlreadyBound);
        }
        let (span, address) = Span::of(entry.domain.cover(local.address)?);
        let mut spot = Spot {
            protocol: entry.protocol,
            port: local.port.map_or(0, Port::number),
            span,
            address,
        };
        let port = match local.port {
            Some(port) => {
                self.permit(slot, port)?;
                self.check(&spot, &self.entries[slot].newcomer())?;
                port
            }
            None => self.choose(slot, &spot).map_err(BindError::Exhausted)?,
        };
        spot.port = port.number();
        self.change(slot, |entry| entry.settle(&spot, Origin::Bind));
        self.announce(slot, Event::Bound);
        Ok(port)
    }

    /// Makes a TCP hold take connections. One without a port gets a chosen one at its wildcard.
    ///
    /// Once a hold listens, listening again changes nothing.
    ///
    /// # Errors
    /// [`ListenError`]; a hold that was bound stays bound.
    pub fn listen(&mut self, hold: Hold) -> Result<Port, ListenError<O>> {
        let slot = self.slot(hold).ok_or(ListenError::Gone)?;
        let entry = &self.entries[slot];
        if entry.protocol != Protocol::Tcp {
            return Err(ListenError::Datagram);
        }
        match entry.phase {
            Phase::Open => self.bind_anywhere(slot)?,
            Phase::Bound => {}
            Phase::Listening => return entry.port().ok_or(ListenError::Gone),
            Phase::Connected | Phase::TimeWait => return Err(ListenError::Connected),
        }
        self.take_out(slot);
        let entry = &self.entries[slot];
        let checked = self.check(&entry.spot(), &entry.newcomer());
        if checked.is_ok() {
            self.entries[slot].phase = Phase::Listening;
        }
        self.put_back(slot);
        checked?;
        self.announce(slot, Event::Listening);
        self.entries[slot].port().ok_or(ListenError::Gone)
    }

    fn bind_anywhere(&mut self, slot: u32) -> Result<(), BindError<O>> {
        let mut spot = self.entries[slot].spot();
        let port = self.choose(slot, &spot).map_err(BindError::Exhausted)?;
        spot.port = port.number();
        self.change(slot, |entry| entry.settle(&spot, Origin::Listen));
        Ok(())
    }

    /// Makes a listening hold a bound one again; others are left as they are. Who had no port before he listened has none now.
    ///
    /// # Errors
    /// [`Gone`] if the hold was released.
    pub fn unlisten(&mut self, hold: Hold) -> Result<(), Gone> {
        let slot = self.slot(hold).ok_or(Gone)?;
        let entry = &self.entries[slot];
        match (entry.phase, entry.origin) {
            (Phase::Listening, Origin::Listen) => {
                self.announce(slot, Event::Released);
                self.change(slot, |entry| entry.part(false));
            }
            (Phase::Listening, _) => {
                self.change(slot, |entry| entry.phase = Phase::Bound);
                self.announce(slot, Event::Bound);
            }
            _ => {}
        }
        Ok(())
    }

    /// Makes a bound or listening wildcard hold cover one address only, for good.
    ///
    /// # Errors
    /// [`BindError::Family`] if the wildcard does not cover the address, [`BindError::AlreadyBound`] if the hold covers one
    /// address already, or is connected or without a port.
    pub fn narrow(&mut self, hold: Hold, address: core::net::IpAddr) -> Result<(), BindError<O>> {
        let slot = self.slot(hold).ok_or(BindError::Gone)?;
        let entry = &self.entries[slot];
        let placed = matches!(entry.phase, Phase::Bound | Phase::Listening);
        if !placed || entry.span == Span::One {
            return Err(BindError::AlreadyBound);
        }
        let cover = crate::Cover::one(address);
        if address.is_unspecified() || !entry.span.cover(entry.local).meets(cover) {
            let domain = entry.domain;
            return Err(crate::WrongFamily { domain, address }.into());
        }
        let (span, local) = Span::of(cover);
        self.change(slot, |entry| {
            (entry.span, entry.asked, entry.local) = (span, span, local);
        });
        Ok(())
    }

    /// Whether policy and reservations let the hold have this port.
    fn permit(&self, slot: u32, port: Port) -> Result<(), BindError<O>> {
        let entry = &self.entries[slot];
        if port < self.unprivileged && entry.right == Right::Ordinary {
            return Err(BindError::Denied(port));
        }
        let kept = self.reservations.against(slot, entry.protocol, port);
        kept.map_or(Ok(()), |reserved| Err(BindError::Reserved(reserved)))
    }

    /// Whether the rule lets a newcomer have this spot.
    pub(super) fn check(&self, spot: &Spot, newcomer: &Newcomer) -> Result<(), BindError<O>> {
        let conflict = self.register.conflict(&self.keys, spot, newcomer);
        match conflict {
            None => Ok(()),
            Some(group) => Err(BindError::InUse(self.in_use(group, spot, newcomer))),
        }
    }

    pub(super) fn in_use(&self, group: u32, spot: &Spot, newcomer: &Newcomer) -> InUse<O> {
        let holder = self.describe(self.register.groups.group(group).first);
        let cover = spot.span.cover(spot.address);
        InUse {
            why: Why::between(&holder, cover, newcomer.reuse, newcomer.user),
            port: Port::new(spot.port).expect("a spot that is checked has a port"),
            holder,
            cover,
        }
    }

    /// A free port for the spot, whose own port is not looked at.
    fn choose(&mut self, slot: u32, spot: &Spot) -> Result<Port, Exhausted> {
        let entire = self.range(slot);
        let full = Exhausted {
            protocol: spot.protocol,
            range: entire,
            cover: spot.span.cover(spot.address),
            remote: None,
        };
        let range = self.permitted(slot, entire).ok_or(full)?;
        let random = self.keys.draw();
        let taken = self.register.taken(&self.keys, spot, Grip::Whole);
        let taken = taken.with(self.reservations.taken(spot.protocol));
        taken.choose(range, random).ok_or(full)
    }

    /// The range that ports are chosen from for this hold.
    pub(super) fn range(&self, slot: u32) -> PortRange {
        if self.ranges.is_empty() {
            return self.ephemeral;
        }
        self.ranges.get(&slot).copied().unwrap_or(self.ephemeral)
    }

    /// The part of the range that the hold has a right to.
    pub(super) fn permitted(&self, slot: u32, range: PortRange) -> Option<PortRange> {
        match self.entries[slot].right {
            Right::System => Some(range),
            Right::Ordinary => PortRange::new(range.first().max(self.unprivileged), range.last()),
        }
    }
}

impl<O> Entry<O> {
    fn settle(&mut self, spot: &Spot, origin: Origin) {
        (self.span, self.asked, self.local) = (spot.span, spot.span, spot.address);
        self.local_port = spot.port;
        self.origin = origin;
        self.phase = Phase::Bound;
    }
}
