//! Which ports are held at each specific address: the places there, and what a choice for that address leaves out.

use super::arena::Arena;
use super::index::{Index, Print};
use super::keys::Keys;
use super::port_map::PortMap;
use super::ports::PortSet;
use crate::Protocol;
use crate::address::Packed;

/// The ports that are held at one address under one protocol.
#[derive(Debug)]
pub(super) struct AddressEntry {
    print: Print,
    /// Ports with any hold, and the numbers of their places.
    pub(super) held: PortMap,
    /// Ports that somebody has for himself.
    pub(super) whole: PortSet,
}

/// All addresses at which something is held.
#[derive(Debug)]
pub(super) struct Addresses {
    entries: Arena<AddressEntry>,
    index: Index<()>,
}

impl Addresses {
    pub(super) fn new() -> Self {
        Self {
            entries: Arena::new(),
            index: Index::new(),
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entry(&self, number: u32) -> &AddressEntry {
        &self.entries[number]
    }

    pub(super) fn entry_mut(&mut self, number: u32) -> &mut AddressEntry {
        &mut self.entries[number]
    }

    pub(super) fn find(
        &self,
        keys: &Keys,
        protocol: Protocol,
        address: Packed,
    ) -> Option<&AddressEntry> {
        let found = self.index.find(keys.address(protocol, address))?;
        Some(&self.entries[found.number()])
    }

    pub(super) fn find_or_insert(
        &mut self,
        keys: &Keys,
        protocol: Protocol,
        address: Packed,
    ) -> u32 {
        let print = keys.address(protocol, address);
        if let Some(found) = self.index.find(print) {
            return found.number();
        }
        let number = self.entries.insert(AddressEntry {
            print,
            held: PortMap::new(),
            whole: PortSet::new(),
        });
        self.index.insert(print, number, ());
        number
    }

    /// Removes an address where nothing is held any more.
    pub(super) fn tidy(&mut self, number: u32) {
        let entry = &self.entries[number];
        if entry.held.is_empty() {
            self.index.remove(entry.print);
            self.entries.remove(number);
        }
    }
}
