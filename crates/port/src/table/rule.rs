//! The bind rule, asked of the register: who keeps a newcomer out, and who would be asked at all.
//!
//! The places that matter are few: the spot itself, the wildcards above it, and, for a wildcard, the shelves on which
//! the places below are counted. See the crate's page for the rule, and `groups` for how one shelf answers.

use alloc::vec::Vec;

use super::arena::NONE;
use super::keys::Keys;
use super::register::{PortEntry, Register, Span, Spot};
use super::shelf::{Level, Newcomer};

impl Register {
    /// The group of somebody who keeps the newcomer from the spot: a hold's group.
    pub(super) fn conflict(&self, keys: &Keys, spot: &Spot, newcomer: &Newcomer) -> Option<u32> {
        let port = self.port(spot.protocol, spot.port)?;
        let at = |number: u32| {
            let shelf = &self.place(number).shelf;
            self.groups.conflict(shelf, Level::Place, newcomer)
        };
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
        let mut shelves = spot.families().iter().map(|&family| &port.below[family]);
        shelves.find_map(|shelf| self.groups.conflict(shelf, Level::Below, newcomer))
    }

    /// The groups of everybody whose cover meets the spot's.
    pub(super) fn meeting(&self, keys: &Keys, spot: &Spot) -> Vec<u32> {
        let mut groups = Vec::new();
        let Some(port) = self.port(spot.protocol, spot.port) else {
            return groups;
        };
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
            groups.extend(self.groups.on(&self.place(place).shelf, Level::Place));
        }
        if spot.span != Span::One {
            for &family in spot.families() {
                let leaders = self.groups.on(&port.below[family], Level::Below);
                groups.extend(leaders.flat_map(|leader| self.groups.row(leader)));
            }
        }
        groups
    }
}
