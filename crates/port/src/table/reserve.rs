//! Ports that are kept for somebody.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::fmt;

use hashbrown::HashMap;

use super::error::Reserved;
use super::keys::Keyed;
use super::ports::Bitmap;
use super::{Gone, Hold, Table};
use crate::{Port, PortRange, Protocol};

/// The right to the ports of one reservation: whoever has it may bind to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reservation {
    protocol: Protocol,
    first: Port,
    number: u32,
}

/// The range meets another reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The other reservation's range.
    pub range: PortRange,
    /// For whom that is.
    pub name: Arc<str>,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ports {} are kept for {} already", self.range, self.name)
    }
}

impl core::error::Error for Overlap {}

#[derive(Debug)]
struct Kept {
    range: PortRange,
    name: Arc<str>,
    number: u32,
}

/// All reservations, and which holds have a right to which.
#[derive(Debug)]
pub(super) struct Reservations {
    kept: BTreeMap<(Protocol, Port), Kept>,
    claims: HashMap<u32, Reservation, Keyed>,
    ports: [Bitmap; 2],
    next: u32,
}

impl Reservations {
    pub(super) fn new(hasher: Keyed) -> Self {
        Self {
            kept: BTreeMap::new(),
            claims: HashMap::with_hasher(hasher),
            ports: [Bitmap::new(), Bitmap::new()],
            next: 0,
        }
    }

    pub(super) fn claims(&self) -> usize {
        self.claims.len()
    }

    pub(super) fn drop_claim(&mut self, slot: u32) {
        if !self.claims.is_empty() {
            self.claims.remove(&slot);
        }
    }

    /// The ports that are never chosen, since they are kept.
    pub(super) fn taken(&self, protocol: Protocol) -> &Bitmap {
        &self.ports[protocol.index()]
    }

    /// The last reservation that begins at or before the port.
    fn at(&self, protocol: Protocol, port: Port) -> Option<&Kept> {
        let mut before = self.kept.range((protocol, Port::MIN)..=(protocol, port));
        let (_, kept) = before.next_back()?;
        kept.range.contains(port).then_some(kept)
    }

    /// The reservation that keeps this hold from the port.
    pub(super) fn against(&self, slot: u32, protocol: Protocol, port: Port) -> Option<Reserved> {
        if !self.taken(protocol).contains(port.number()) {
            return None;
        }
        let kept = self.at(protocol, port)?;
        if self
            .claims
            .get(&slot)
            .is_some_and(|claim| claim.number == kept.number)
        {
            return None;
        }
        Some(Reserved {
            port,
            range: kept.range,
            name: Arc::clone(&kept.name),
        })
    }

    fn mark(&mut self, protocol: Protocol, range: PortRange, member: bool) {
        for port in range.first().number()..=range.last().number() {
            self.ports[protocol.index()].set(port, member);
        }
    }
}

impl<O> Table<O> {
    /// Keeps ports for an owner or a service of this name. They are never chosen, and only holds
    /// that [claim](Self::claim) the reservation bind to them. Who has one of them now keeps it.
    ///
    /// ```
    /// use wharf_port::table::{BindError, Config, Request, Table};
    /// use wharf_port::{Domain, Port, Protocol};
    ///
    /// let mut table = Table::new(&Config::new([0; 32]));
    /// let postgres = table.reserve(Protocol::Tcp, "5432-5439".parse()?, "Postgres")?;
    /// let hold = table.open(Request::new(Protocol::Tcp, Domain::V4), 1);
    /// let error = table.bind(hold, "127.0.0.1:5433".parse()?).unwrap_err();
    /// assert_eq!(error.to_string(), "port 5433 is kept for Postgres, with all of 5432-5439");
    /// table.claim(hold, postgres)?;
    /// assert_eq!(table.bind(hold, "127.0.0.1:5433".parse()?), Ok(Port::try_from(5433)?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Overlap`] if one of the ports is kept already.
    pub fn reserve(
        &mut self,
        protocol: Protocol,
        range: PortRange,
        name: &str,
    ) -> Result<Reservation, Overlap> {
        let reservations = &mut self.reservations;
        let mut before = reservations.kept.range(..=(protocol, range.last()));
        let last = before
            .next_back()
            .filter(|((other, _), _)| *other == protocol);
        if let Some((_, kept)) = last.filter(|(_, kept)| kept.range.last() >= range.first()) {
            return Err(Overlap {
                range: kept.range,
                name: Arc::clone(&kept.name),
            });
        }
        let number = reservations.next;
        reservations.next += 1;
        reservations.mark(protocol, range, true);
        let name = Arc::from(name);
        let kept = Kept {
            range,
            name,
            number,
        };
        reservations.kept.insert((protocol, range.first()), kept);
        Ok(Reservation {
            protocol,
            first: range.first(),
            number,
        })
    }

    /// For whom a port is kept, if it is.
    #[must_use]
    pub fn reserved(&self, protocol: Protocol, port: Port) -> Option<(Reservation, Reserved)> {
        let kept = self.reservations.at(protocol, port)?;
        let reservation = Reservation {
            protocol,
            first: kept.range.first(),
            number: kept.number,
        };
        let reserved = Reserved {
            port,
            range: kept.range,
            name: Arc::clone(&kept.name),
        };
        Some((reservation, reserved))
    }

    /// Ends a reservation; nothing happens if it ended before.
    pub fn unreserve(&mut self, reservation: Reservation) {
        let key = (reservation.protocol, reservation.first);
        let kept = self.reservations.kept.get(&key);
        let Some(kept) = kept.filter(|kept| kept.number == reservation.number) else {
            return;
        };
        let range = kept.range;
        self.reservations.kept.remove(&key);
        self.reservations.mark(reservation.protocol, range, false);
    }

    /// Gives a hold the right to the ports of a reservation, instead of one that it had before.
    ///
    /// # Errors
    /// [`Gone`] if the hold was released.
    pub fn claim(&mut self, hold: Hold, reservation: Reservation) -> Result<(), Gone> {
        let slot = self.slot(hold).ok_or(Gone)?;
        self.reservations.claims.insert(slot, reservation);
        Ok(())
    }
}
