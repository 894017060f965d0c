//! Who is where: ports, the places on them, and the groups of holds at each place.
//!
//! A place is (protocol, port, cover). It exists while somebody holds it. The register answers
//! whether a newcomer may have a place and which ports a choice must leave out; it knows neither
//! owners nor flows.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use hashbrown::HashTable;

use super::arena::{Arena, NONE};
use super::groups::{Groups, Kind, Newcomer, Shelf, ShelfKey};
use super::keys::Keys;
use super::ports::{Bitmap, PortSet, Union};
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
    const fn families(&self) -> &'static [usize] {
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
struct PortEntry {
    /// The places of the wildcards, by [`Span`].
    wild: [u32; 3],
    /// The groups of specific places, by family, and how many such places there are.
    below: [Shelf; 2],
    places: [u32; 2],
}

#[derive(Debug)]
pub(super) struct Place {
    pub(super) spot: Spot,
    pub(super) shelf: Shelf,
    /// Where arriving packets are looked up; see `receivers`.
    pub(super) stacks: u32,
    holds: u32,
    whole: u32,
    address: u32,
}

/// The ports that are held at one specific address.
#[derive(Debug)]
struct AddressEntry {
    protocol: Protocol,
    address: Packed,
    held: PortSet,
    whole: PortSet,
}

/// Ports with a wildcard hold, and ports with specific holds, by family.
#[derive(Debug)]
struct Usage {
    wild: [Bitmap; 2],
    specific: [Bitmap; 2],
}

type Page = Option<Box<[u32; 256]>>;

/// All ports, places and groups of a table.
#[derive(Debug)]
pub(super) struct Register {
    pages: [Vec<Page>; 2],
    ports: Arena<PortEntry>,
    places: Arena<Place>,
    place_index: HashTable<u32>,
    addresses: Arena<AddressEntry>,
    address_index: HashTable<u32>,
    usage: [Usage; 2],
    pub(super) groups: Groups,
}

impl Register {
    pub(super) fn new(keys: &Keys) -> Self {
        let pages = || vec![None; 256];
        let pair = || [Bitmap::new(), Bitmap::new()];
        let usage = || Usage {
            wild: pair(),
            specific: pair(),
        };
        Self {
            pages: [pages(), pages()],
            ports: Arena::new(),
            places: Arena::new(),
            place_index: HashTable::new(),
            addresses: Arena::new(),
            address_index: HashTable::new(),
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
        match self.groups.group(group).shelf {
            ShelfKey::Place(place) => place,
            ShelfKey::Below(..) => unreachable!("holds are in groups of places"),
        }
    }

    fn port(&self, protocol: Protocol, port: u16) -> Option<u32> {
        let page = self.pages[protocol.index()][usize::from(port) >> 8].as_ref()?;
        let number = page[usize::from(port) & 0xff];
        (number != NONE).then_some(number)
    }

    fn port_or_new(&mut self, protocol: Protocol, port: u16) -> u32 {
        let page = &mut self.pages[protocol.index()][usize::from(port) >> 8];
        let page = page.get_or_insert_with(|| Box::new([NONE; 256]));
        let number = &mut page[usize::from(port) & 0xff];
        if *number == NONE {
            *number = self.ports.insert(PortEntry {
                wild: [NONE; 3],
                below: [Shelf::new(), Shelf::new()],
                places: [0; 2],
            });
        }
        *number
    }

    fn find_specific(&self, keys: &Keys, spot: &Spot) -> Option<u32> {
        let hash = keys.place(spot.protocol, spot.address, spot.port);
        let same = |&number: &u32| self.places[number].spot == *spot;
        self.place_index.find(hash, same).copied()
    }

    fn find(&self, keys: &Keys, port: &PortEntry, spot: &Spot) -> Option<u32> {
        match spot.span {
            Span::One if port.places == [0; 2] => None,
            Span::One => self.find_specific(keys, spot),
            span => Some(port.wild[span as usize]).filter(|&number| number != NONE),
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
        let Some(entry) = self.port(protocol, port).map(|number| &self.ports[number]) else {
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
        let wild = |span: Span| Some(entry.wild[span as usize]).filter(|&number| number != NONE);
        [self.find(keys, entry, &spot), wild(family), wild(Span::All)]
    }

    /// The group of somebody who keeps the newcomer from the spot: a hold's group.
    pub(super) fn conflict(&self, keys: &Keys, spot: &Spot, newcomer: &Newcomer) -> Option<u32> {
        let port = &self.ports[self.port(spot.protocol, spot.port)?];
        let at = |number: u32| self.groups.conflict(&self.places[number].shelf, newcomer);
        let wild = spot
            .families()
            .iter()
            .flat_map(|&family| [family, Span::All as usize]);
        let wild = wild.filter_map(|span| Some(port.wild[span]).filter(|&number| number != NONE));
        if spot.span == Span::One {
            let exact = self.find(keys, port, spot);
            return exact.into_iter().chain(wild).find_map(at);
        }
        wild.into_iter()
            .find_map(at)
            .or_else(|| self.conflict_below(port, spot, newcomer))
    }

    fn conflict_below(&self, port: &PortEntry, spot: &Spot, newcomer: &Newcomer) -> Option<u32> {
        let shelves = spot.families().iter().map(|&family| &port.below[family]);
        let mut crowds = shelves.filter_map(|shelf| self.groups.conflict(shelf, newcomer));
        crowds.next().map(|crowd| self.groups.group(crowd).first)
    }

    /// The groups of everybody whose cover meets the spot's.
    pub(super) fn meeting(&self, keys: &Keys, spot: &Spot) -> Vec<u32> {
        let mut groups = Vec::new();
        let Some(port) = self.port(spot.protocol, spot.port) else {
            return groups;
        };
        let port = &self.ports[port];
        let others: &[usize] = match spot.span {
            Span::All => &[0, 1, 2],
            _ if spot.families()[0] == 0 => &[0, 2],
            _ => &[1, 2],
        };
        let wild = others.iter().map(|&span| port.wild[span]);
        let exact = (spot.span == Span::One)
            .then(|| self.find(keys, port, spot))
            .flatten();
        for place in exact.into_iter().chain(wild.filter(|&place| place != NONE)) {
            groups.extend(self.groups.on(&self.places[place].shelf));
        }
        if spot.span != Span::One {
            for &family in spot.families() {
                let crowds = self.groups.on(&port.below[family]);
                groups.extend(crowds.flat_map(|crowd| self.groups.within(crowd)));
            }
        }
        groups
    }

    /// Counts one more hold of this kind at the spot, and says in which group.
    pub(super) fn enter(&mut self, keys: &Keys, spot: Spot, kind: Kind, grip: Grip) -> u32 {
        let port = self.port_or_new(spot.protocol, spot.port);
        let found = self.find(keys, &self.ports[port], &spot);
        let place = found.unwrap_or_else(|| self.create_place(keys, port, spot));
        let entry = &mut self.places[place];
        entry.holds += 1;
        if grip == Grip::Whole {
            entry.whole += 1;
            if entry.whole == 1 && entry.address != NONE {
                self.addresses[entry.address].whole.insert(spot.port);
            }
        }
        let key = ShelfKey::Place(place);
        let found = self.groups.find(&entry.shelf, key, &kind);
        let group = found.unwrap_or_else(|| self.create_group(port, place, kind));
        self.groups.group_mut(group).count += 1;
        group
    }

    /// Counts one hold less in the group.
    pub(super) fn leave(&mut self, keys: &Keys, group: u32, grip: Grip) {
        let place = self.place_of(group);
        let entry = &mut self.places[place];
        let (spot, address) = (entry.spot, entry.address);
        entry.holds -= 1;
        if grip == Grip::Whole {
            entry.whole -= 1;
            if entry.whole == 0 && address != NONE {
                self.addresses[address].whole.remove(spot.port);
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
            self.destroy_place(keys, port, place);
        }
    }

    fn create_group(&mut self, port: u32, place: u32, kind: Kind) -> u32 {
        let entry = &mut self.places[place];
        let key = ShelfKey::Place(place);
        let group = self.groups.create(&mut entry.shelf, key, kind);
        if entry.spot.span == Span::One {
            let family = entry.spot.families()[0];
            let shelf = &mut self.ports[port].below[family];
            let key = ShelfKey::Below(port, family as u8);
            let found = self.groups.find(shelf, key, &kind);
            let crowd = found.unwrap_or_else(|| self.groups.create(shelf, key, kind));
            self.groups.join(crowd, group);
        }
        group
    }

    fn destroy_group(&mut self, port: u32, place: u32, group: u32) {
        let entry = &mut self.places[place];
        let crowd = self.groups.group(group).crowd;
        if crowd != NONE && self.groups.part(group) {
            let family = entry.spot.families()[0];
            self.groups
                .destroy(&mut self.ports[port].below[family], crowd);
        }
        self.groups.destroy(&mut entry.shelf, group);
    }

    fn create_place(&mut self, keys: &Keys, port: u32, spot: Spot) -> u32 {
        let address = match spot.span {
            Span::One => self.address_or_new(keys, &spot),
            _ => NONE,
        };
        let place = self.places.insert(Place {
            spot,
            shelf: Shelf::new(),
            stacks: NONE,
            holds: 0,
            whole: 0,
            address,
        });
        if spot.span == Span::One {
            self.addresses[address].held.insert(spot.port);
            self.ports[port].places[spot.families()[0]] += 1;
            let hash = keys.place(spot.protocol, spot.address, spot.port);
            let places = &self.places;
            self.place_index.insert_unique(hash, place, |&number| {
                let spot = &places[number].spot;
                keys.place(spot.protocol, spot.address, spot.port)
            });
        } else {
            self.ports[port].wild[spot.span as usize] = place;
        }
        self.note_usage(port, &spot);
        place
    }

    fn destroy_place(&mut self, keys: &Keys, port: u32, place: u32) {
        let Place { spot, address, .. } = self.places.remove(place);
        if spot.span == Span::One {
            let hash = keys.place(spot.protocol, spot.address, spot.port);
            if let Ok(found) = self.place_index.find_entry(hash, |&number| number == place) {
                found.remove();
            }
            self.ports[port].places[spot.families()[0]] -= 1;
            self.addresses[address].held.remove(spot.port);
            self.tidy_address(keys, address);
        } else {
            self.ports[port].wild[spot.span as usize] = NONE;
        }
        self.note_usage(port, &spot);
        let entry = &self.ports[port];
        if entry.wild == [NONE; 3] && entry.places == [0; 2] {
            self.ports.remove(port);
            let page = self.pages[spot.protocol.index()][usize::from(spot.port) >> 8].as_mut();
            page.expect("a port in use has a page")[usize::from(spot.port) & 0xff] = NONE;
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

    fn address_or_new(&mut self, keys: &Keys, spot: &Spot) -> u32 {
        if let Some(number) = self.find_address(keys, spot.protocol, spot.address) {
            return number;
        }
        let number = self.addresses.insert(AddressEntry {
            protocol: spot.protocol,
            address: spot.address,
            held: PortSet::new(),
            whole: PortSet::new(),
        });
        let hash = keys.place(spot.protocol, spot.address, 0);
        let addresses = &self.addresses;
        self.address_index.insert_unique(hash, number, |&number| {
            let entry = &addresses[number];
            keys.place(entry.protocol, entry.address, 0)
        });
        number
    }

    fn tidy_address(&mut self, keys: &Keys, number: u32) {
        let entry = &self.addresses[number];
        if !entry.held.is_empty() {
            return;
        }
        let hash = keys.place(entry.protocol, entry.address, 0);
        if let Ok(found) = self
            .address_index
            .find_entry(hash, |&other| other == number)
        {
            found.remove();
        }
        self.addresses.remove(number);
    }

    fn find_address(&self, keys: &Keys, protocol: Protocol, address: Packed) -> Option<u32> {
        let hash = keys.place(protocol, address, 0);
        let same = |&number: &u32| {
            let entry = &self.addresses[number];
            entry.protocol == protocol && entry.address == address
        };
        self.address_index.find(hash, same).copied()
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
        if spot.span == Span::One
            && let Some(number) = self.find_address(keys, spot.protocol, spot.address)
        {
            let entry = &self.addresses[number];
            union = union.with_set(match grip {
                Grip::Whole => &entry.held,
                Grip::Flow => &entry.whole,
            });
        }
        union
    }
}
