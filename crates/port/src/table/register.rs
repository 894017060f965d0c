//! Who is where: ports, the places on them, and the groups of holds at each place.
//!
//! A place is (protocol, port, cover). It exists while somebody holds it. What the register knows decides whether a
//! newcomer may have a place, which is `rule`'s, and which ports a choice must leave out. It knows neither owners nor flows.

use super::addresses::Addresses;
use super::arena::{Arena, NONE};
use super::groups::Groups;
use super::keys::Keys;
use super::port_map::Pages;
use super::ports::{Bitmap, Union};
use super::shelf::{Kind, Shelf, ShelfKey};
use crate::address::Packed;
use crate::{Cover, Protocol};

/// A cover without its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    AllV4,
    AllV6,
    All,
    One,
}

/// Where a hold is: the address counts for [`Span::One`] only and is [`Packed::NONE`] otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) protocol: Protocol,
    pub(super) port: u16,
    pub(super) span: Span,
    pub(super) address: Packed,
}

impl Span {
    pub(super) fn of(cover: Cover) -> (Self, Packed) {
        match cover {
            Cover::AllV4 => (Self::AllV4, Packed::NONE),
            Cover::AllV6 => (Self::AllV6, Packed::NONE),
            Cover::All => (Self::All, Packed::NONE),
            Cover::V4(address) => (Self::One, core::net::IpAddr::V4(address).into()),
            Cover::V6(address) => (Self::One, core::net::IpAddr::V6(address).into()),
        }
    }

    pub(super) fn cover(self, address: Packed) -> Cover {
        match self {
            Self::AllV4 => Cover::AllV4,
            Self::AllV6 => Cover::AllV6,
            Self::All => Cover::All,
            Self::One => Cover::one(address.into()),
        }
    }
}

impl Spot {
    /// The families that it reaches into, as indexes: 0 for IPv4, 1 for IPv6.
    pub(super) const fn families(&self) -> &'static [usize] {
        match self.span {
            Span::AllV4 => &[0],
            Span::AllV6 => &[1],
            Span::All => &[0, 1],
            Span::One if self.address.is_v4() => &[0],
            Span::One => &[1],
        }
    }
}

/// What a hold means to a choice of ports for connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grip {
    /// It has the port for itself.
    Whole,
    /// Its port was chosen by connect: other connections may share it.
    Flow,
}

#[derive(Debug)]
pub(super) struct PortEntry {
    /// The places of the wildcards, by [`Span`].
    pub(super) wild: [u32; 3],
    /// The groups of specific places, by family, and how many such places there are.
    pub(super) below: [Shelf; 2],
    places: [u32; 2],
}

impl PortEntry {
    /// The place of a wildcard.
    fn wild(&self, span: Span) -> Option<u32> {
        Some(self.wild[span as usize]).filter(|&number| number != NONE)
    }
}

#[derive(Debug)]
pub(super) struct Place {
    pub(super) spot: Spot,
    pub(super) shelf: Shelf,
    /// Where arriving packets are looked up; see `receivers`.
    pub(super) stacks: u32,
    holds: u32,
    whole: u32,
    /// The number of its address among all that something is held at; [`NONE`] for a wildcard.
    address: u32,
}

/// Ports with a wildcard hold, and ports with specific holds, by family.
#[derive(Debug)]
struct Usage {
    wild: [Bitmap; 2],
    specific: [Bitmap; 2],
}

/// All ports, places and groups of a table.
#[derive(Debug)]
pub(super) struct Register {
    pages: [Pages; 2],
    ports: Arena<PortEntry>,
    places: Arena<Place>,
    addresses: Addresses,
    usage: [Usage; 2],
    pub(super) groups: Groups,
}

impl Register {
    pub(super) fn new(keys: &Keys) -> Self {
        let pair = || [Bitmap::new(), Bitmap::new()];
        let usage = || Usage {
            wild: pair(),
            specific: pair(),
        };
        Self {
            pages: [Pages::new(), Pages::new()],
            ports: Arena::new(),
            places: Arena::new(),
            addresses: Addresses::new(),
            usage: [usage(), usage()],
            groups: Groups::new(keys.maps()),
        }
    }

    /// How many ports, places, addresses and groups it keeps: all 0 when nobody holds anything.
    pub(super) fn counts(&self) -> [usize; 4] {
        [
            self.ports.len(),
            self.places.len(),
            self.addresses.len(),
            self.groups.len(),
        ]
    }

    pub(super) fn place(&self, number: u32) -> &Place {
        &self.places[number]
    }

    pub(super) fn place_mut(&mut self, number: u32) -> &mut Place {
        &mut self.places[number]
    }

    /// Which place a hold's group is at.
    pub(super) fn place_of(&self, group: u32) -> u32 {
        self.groups.group(group).place
    }

    /// A port on which somebody holds something.
    pub(super) fn port(&self, protocol: Protocol, port: u16) -> Option<&PortEntry> {
        let number = self.pages[protocol.index()].find(port)?;
        self.ports.find(number)
    }

    fn port_or_new(&mut self, protocol: Protocol, port: u16) -> u32 {
        let pages = &mut self.pages[protocol.index()];
        if let Some(number) = pages.find(port) {
            return number;
        }
        let number = self.ports.insert(PortEntry {
            wild: [NONE; 3],
            below: [Shelf::new(), Shelf::new()],
            places: [0; 2],
        });
        pages.set(port, number);
        number
    }

    /// The place that is exactly this spot.
    pub(super) fn find(&self, keys: &Keys, port: &PortEntry, spot: &Spot) -> Option<u32> {
        match spot.span {
            Span::One if port.places == [0; 2] => None,
            Span::One => {
                let address = self.addresses.find(keys, spot.protocol, spot.address)?;
                address.held.find(spot.port)
            }
            span => port.wild(span),
        }
    }

    /// For a packet to this address: the place of the address, and those of the wildcards above it,
    /// the one of the address's family first.
    pub(super) fn reached(
        &self,
        keys: &Keys,
        protocol: Protocol,
        address: Packed,
        port: u16,
    ) -> [Option<u32>; 3] {
        let Some(entry) = self.port(protocol, port) else {
            return [None; 3];
        };
        let spot = Spot {
            protocol,
            port,
            span: Span::One,
            address,
        };
        let family = if address.is_v4() {
            Span::AllV4
        } else {
            Span::AllV6
        };
        let exact = self.find(keys, entry, &spot);
        [exact, entry.wild(family), entry.wild(Span::All)]
    }

    /// Counts one more hold of this kind at the spot, and says in which group.
    pub(super) fn enter(&mut self, keys: &Keys, spot: Spot, kind: Kind, grip: Grip) -> u32 {
        let port = self.port_or_new(spot.protocol, spot.port);
        let (address, found) = match spot.span {
            Span::One => {
                let addresses = &mut self.addresses;
                let address = addresses.find_or_insert(keys, spot.protocol, spot.address);
                (address, addresses.entry(address).held.find(spot.port))
            }
            span => (NONE, self.ports[port].wild(span)),
        };
        let place = found.unwrap_or_else(|| self.create_place(port, spot, address));
        let entry = &mut self.places[place];
        entry.holds += 1;
        if grip == Grip::Whole {
            entry.whole += 1;
            if entry.whole == 1 && entry.address != NONE {
                self.addresses
                    .entry_mut(entry.address)
                    .whole
                    .insert(spot.port);
            }
        }
        let key = ShelfKey::Place(place);
        let found = self.groups.find(&entry.shelf, key, &kind);
        let group = found.unwrap_or_else(|| self.create_group(port, place, kind));
        self.groups.group_mut(group).count += 1;
        group
    }

    /// Counts one hold less in the group.
    pub(super) fn leave(&mut self, group: u32, grip: Grip) {
        let place = self.place_of(group);
        let entry = &mut self.places[place];
        let (spot, address) = (entry.spot, entry.address);
        entry.holds -= 1;
        if grip == Grip::Whole {
            entry.whole -= 1;
            if entry.whole == 0 && address != NONE {
                self.addresses.entry_mut(address).whole.remove(spot.port);
            }
        }
        let left = self.groups.group_mut(group);
        left.count -= 1;
        if left.count > 0 {
            return;
        }
        let port = self.port_or_new(spot.protocol, spot.port);
        self.destroy_group(port, place, group);
        if self.places[place].holds == 0 {
            self.destroy_place(port, place);
        }
    }

    fn create_group(&mut self, port: u32, place: u32, kind: Kind) -> u32 {
        let entry = &mut self.places[place];
        let group = self.groups.create(&mut entry.shelf, place, kind);
        if entry.spot.span == Span::One {
            let family = entry.spot.families()[0];
            let shelf = &mut self.ports[port].below[family];
            let key = ShelfKey::Below(port, family as u8);
            self.groups.join(shelf, key, group);
        }
        group
    }

    fn destroy_group(&mut self, port: u32, place: u32, group: u32) {
        let entry = &mut self.places[place];
        if entry.spot.span == Span::One {
            let family = entry.spot.families()[0];
            let shelf = &mut self.ports[port].below[family];
            let key = ShelfKey::Below(port, family as u8);
            self.groups.part(shelf, key, group);
        }
        self.groups.destroy(&mut entry.shelf, group);
    }

    fn create_place(&mut self, port: u32, spot: Spot, address: u32) -> u32 {
        let place = self.places.insert(Place {
            spot,
            shelf: Shelf::new(),
            stacks: NONE,
            holds: 0,
            whole: 0,
            address,
        });
        if spot.span == Span::One {
            let held = &mut self.addresses.entry_mut(address).held;
            held.insert(spot.port, place);
            self.ports[port].places[spot.families()[0]] += 1;
        } else {
            self.ports[port].wild[spot.span as usize] = place;
        }
        self.note_usage(port, &spot);
        place
    }

    fn destroy_place(&mut self, port: u32, place: u32) {
        let Place { spot, address, .. } = self.places.remove(place);
        if spot.span == Span::One {
            self.ports[port].places[spot.families()[0]] -= 1;
            self.addresses.entry_mut(address).held.remove(spot.port);
            self.addresses.tidy(address);
        } else {
            self.ports[port].wild[spot.span as usize] = NONE;
        }
        self.note_usage(port, &spot);
        let entry = &self.ports[port];
        if entry.wild == [NONE; 3] && entry.places == [0; 2] {
            self.ports.remove(port);
            self.pages[spot.protocol.index()].set(spot.port, NONE);
        }
    }

    fn note_usage(&mut self, port: u32, spot: &Spot) {
        let entry = &self.ports[port];
        let usage = &mut self.usage[spot.protocol.index()];
        for &family in spot.families() {
            let wild = entry.wild[family] != NONE || entry.wild[Span::All as usize] != NONE;
            usage.wild[family].set(spot.port, wild);
            usage.specific[family].set(spot.port, entry.places[family] > 0);
        }
    }

    /// The ports that a choice for this spot must leave out. A port that is held on any device is left out.
    pub(super) fn taken(&self, keys: &Keys, spot: &Spot, grip: Grip) -> Union<'_> {
        let usage = &self.usage[spot.protocol.index()];
        let mut union = Union::default();
        for &family in spot.families() {
            union = union.with(&usage.wild[family]);
            if spot.span != Span::One {
                union = union.with(&usage.specific[family]);
            }
        }
        let entry = match spot.span {
            Span::One => self.addresses.find(keys, spot.protocol, spot.address),
            _ => None,
        };
        if let Some(entry) = entry {
            union = union.with_members(match grip {
                Grip::Whole => entry.held.members(),
                Grip::Flow => entry.whole.members(),
            });
        }
        union
    }
}
