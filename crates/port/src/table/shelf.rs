//! What the rule asks of a hold, and a shelf: where holds that answer alike are to be found.

use alloc::vec::Vec;

use super::Reuse;
use super::arena::NONE;

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

/// Which shelf: a place's, or one family's shelf below the wildcards of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ShelfKey {
    Place(u32),
    Below(u32, u8),
}

impl ShelfKey {
    pub(super) const fn level(self) -> Level {
        match self {
            Self::Place(_) => Level::Place,
            Self::Below(..) => Level::Below,
        }
    }
}

pub(super) type Heads = [u32; 6];

/// The heads of a shelf's lists: for holds without a device, and for each device.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) plain: Heads,
    pub(super) devices: Vec<(u32, Heads)>,
}

/// On which of its two shelves a group is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Its place's.
    Place,
    /// Its port's, below the wildcards: only leaders are there.
    Below,
}

impl Shelf {
    pub(super) const fn new() -> Self {
        Self {
            plain: [NONE; 6],
            devices: Vec::new(),
        }
    }

    pub(super) fn heads(&self, device: u32) -> Option<&Heads> {
        if device == 0 {
            return Some(&self.plain);
        }
        let found = self.devices.iter().find(|(name, _)| *name == device);
        found.map(|(_, heads)| heads)
    }

    pub(super) fn head_mut(&mut self, kind: &Kind) -> &mut u32 {
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

    pub(super) fn tidy(&mut self) {
        self.devices.retain(|(_, heads)| *heads != [NONE; 6]);
    }
}

impl Kind {
    pub(super) const fn class(&self) -> usize {
        let port = match self.port_sharing {
            PortSharing::Nobody => 0,
            PortSharing::User(_) => 2,
            PortSharing::Anybody => 4,
        };
        port + self.address_sharing as usize
    }
}
