//! Numbers by port: an array with a place for every port, of which only the pages in use are there.

use alloc::boxed::Box;

use super::arena::NONE;
use super::ports::{Bitmap, FEW, Members};

const PAGE: usize = 256;
const PAGES: usize = 256;

/// A number for each port, [`NONE`] where there is none. What was a page stays one.
#[derive(Debug)]
pub(super) struct Pages(Box<[Option<Box<[u32; PAGE]>>; PAGES]>);

impl Pages {
    pub(super) fn new() -> Self {
        Self(Box::new([const { None }; PAGES]))
    }

    pub(super) fn find(&self, port: u16) -> Option<u32> {
        let page = self.0[usize::from(port) / PAGE].as_ref()?;
        Some(page[usize::from(port) % PAGE]).filter(|&number| number != NONE)
    }

    pub(super) fn set(&mut self, port: u16, number: u32) {
        let page = &mut self.0[usize::from(port) / PAGE];
        let page = page.get_or_insert_with(|| Box::new([NONE; PAGE]));
        page[usize::from(port) % PAGE] = number;
    }
}

/// Numbers by port, small as long as there are few.
#[derive(Debug)]
pub(super) enum PortMap {
    Few(u8, [u16; FEW], [u32; FEW]),
    Many(Box<Bitmap>, Pages),
}

impl PortMap {
    pub(super) const fn new() -> Self {
        Self::Few(0, [0; FEW], [NONE; FEW])
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(count, ..) => *count == 0,
            Self::Many(members, _) => members.count() == 0,
        }
    }

    /// The ports that have a number.
    pub(super) fn members(&self) -> Members<'_> {
        match self {
            Self::Few(count, ports, _) => Members::Few(&ports[..usize::from(*count)]),
            Self::Many(members, _) => Members::Many(members),
        }
    }

    pub(super) fn find(&self, port: u16) -> Option<u32> {
        match self {
            Self::Few(count, ports, numbers) => {
                let members = &ports[..usize::from(*count)];
                let at = members.iter().position(|&member| member == port)?;
                Some(numbers[at])
            }
            Self::Many(_, pages) => pages.find(port),
        }
    }

    /// Adds a port that has no number yet.
    pub(super) fn insert(&mut self, port: u16, number: u32) {
        match self {
            Self::Many(members, pages) => {
                members.set(port, true);
                pages.set(port, number);
            }
            Self::Few(count, ports, numbers) if usize::from(*count) < FEW => {
                let at = usize::from(*count);
                (ports[at], numbers[at]) = (port, number);
                *count += 1;
            }
            Self::Few(_, ports, numbers) => {
                let (mut members, mut pages) = (Bitmap::new(), Pages::new());
                let few = ports.iter().copied().zip(numbers.iter().copied());
                for (port, number) in few.chain([(port, number)]) {
                    members.set(port, true);
                    pages.set(port, number);
                }
                *self = Self::Many(Box::new(members), pages);
            }
        }
    }

    /// Removes a port, if it has a number.
    pub(super) fn remove(&mut self, port: u16) {
        match self {
            Self::Few(count, ports, numbers) => {
                let members = &ports[..usize::from(*count)];
                if let Some(at) = members.iter().position(|&member| member == port) {
                    *count -= 1;
                    ports.swap(at, usize::from(*count));
                    numbers.swap(at, usize::from(*count));
                }
            }
            Self::Many(members, pages) => {
                members.set(port, false);
                pages.set(port, NONE);
                if members.count() == 0 {
                    *self = Self::new();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::collections::btree_map::Entry;

    use proptest::prelude::*;

    use super::*;
    use crate::table::ports::Union;

    proptest! {
        #[test]
        fn it_agrees_with_a_map(steps in prop::collection::vec((1_u16..40, any::<bool>()), 0..400), far: bool) {
            let mut ports = PortMap::new();
            let mut map = BTreeMap::new();
            let scale = if far { 1637 } else { 1 };
            for (step, (number, add)) in (0_u32..).zip(steps) {
                let port = number * scale;
                prop_assert_eq!(ports.find(port), map.get(&port).copied());
                if !add {
                    ports.remove(port);
                    map.remove(&port);
                } else if let Entry::Vacant(place) = map.entry(port) {
                    ports.insert(port, step);
                    place.insert(step);
                }
                prop_assert_eq!(ports.is_empty(), map.is_empty());
                let free = Union::default().with_members(ports.members()).next(port, port);
                prop_assert_eq!(free.is_none(), map.contains_key(&port));
            }
        }
    }
}
