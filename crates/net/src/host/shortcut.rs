//! Ways to destinations, as they were found last: where the next packet goes without asking for routes and neighbours.
//!
//! A way holds as long as nothing has changed that it was found from, and until the neighbour wants to be confirmed or the
//! path's MTU to be forgotten. So it is what the long way would find.

use core::net::IpAddr;
use wharf_port::Device;

use crate::time::Instant;
use crate::wire::ethernet::Mac;

/// As many destinations as are busy at once in most hosts, most of which are behind one router.
const PLACES: usize = 64;

/// A destination behind a neighbour that is at hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shortcut {
    /// The only link that may be taken; nothing for any.
    pub(super) only: Option<Device>,
    pub(super) destination: IpAddr,
    pub(super) device: Device,
    pub(super) mac: Mac,
    pub(super) mtu: u16,
    pub(super) until: Instant,
    /// How often things had changed when it was found.
    pub(super) changes: u64,
}

/// The memory.
#[derive(Debug)]
pub(super) struct Shortcuts([Option<Shortcut>; PLACES]);

impl Default for Shortcuts {
    fn default() -> Self {
        Self([None; PLACES])
    }
}

impl Shortcuts {
    pub(super) fn find(
        &self,
        now: Instant,
        (only, destination): (Option<Device>, IpAddr),
        changes: u64,
    ) -> Option<&Shortcut> {
        let known = self.0[place(destination)].as_ref()?;
        let same = known.destination == destination && known.only == only;
        let holds = same && known.changes == changes && now < known.until;
        holds.then_some(known)
    }

    pub(super) fn note(&mut self, shortcut: Shortcut) {
        self.0[place(shortcut.destination)] = Some(shortcut);
    }
}

fn place(destination: IpAddr) -> usize {
    let last = match destination {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(v6) => v6.octets()[15],
    };
    usize::from(last) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortcut_holds_until_something_changes() {
        let mut shortcuts = Shortcuts::default();
        let destination = [10, 0, 0, 2].into();
        let device = Device::new(2).unwrap();
        let found = Shortcut {
            only: None,
            destination,
            device,
            mac: Mac([2, 0, 0, 0, 0, 2]),
            mtu: 1500,
            until: Instant::from_millis(10),
            changes: 3,
        };
        let (before, at) = (Instant::from_millis(9), Instant::from_millis(10));
        assert!(shortcuts.find(before, (None, destination), 3).is_none());
        shortcuts.note(found);
        assert!(shortcuts.find(before, (None, destination), 3).is_some());
        assert!(
            shortcuts.find(at, (None, destination), 3).is_none(),
            "its time has come"
        );
        assert!(
            shortcuts.find(before, (None, destination), 4).is_none(),
            "something changed"
        );
        let other = [10, 0, 1, 2].into();
        assert!(
            shortcuts.find(before, (None, other), 3).is_none(),
            "in the same place"
        );
        assert!(
            shortcuts
                .find(before, (Some(device), destination), 3)
                .is_none(),
            "by one link only"
        );
    }
}
