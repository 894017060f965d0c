//! What listens in a space, for the by-name front, which asks for every request.
//!
//! # Theory of operation
//!
//! To list sockets, the kernel walks tables that all namespaces share; for a small page that is more work than everything
//! else. So the list is remembered until the record of the space's ports changes, and that it does before a program's
//! listen returns: whoever starts a server and asks it is never told of a time before. What no call announced, and the
//! ends of sockets, are seen when the list is [`STALE`]; until then, who asks for a server that has ended is told that it
//! can't be reached, and may be restarting.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::space::Space;
use crate::list::Protocol;
use crate::name::PortInfo;

/// How old a list becomes at most.
const STALE: Duration = Duration::from_millis(10);

impl Space {
    /// What listens inside over TCP, one entry for a port, in their order.
    pub(super) fn listeners(&self) -> Rc<[PortInfo]> {
        let now = Instant::now();
        // Before the kernel is asked: what is noted meanwhile may be missing in its answer.
        let change = self.ports.ledger.record().next_change();
        self.remembered.get(now, change, || look(self))
    }
}

/// The list that was made last.
#[derive(Debug, Default)]
pub(super) struct Remembered(RefCell<Option<List>>);

#[derive(Debug)]
struct List {
    made: Instant,
    /// The record's next change at that time.
    change: u64,
    ports: Rc<[PortInfo]>,
}

impl Remembered {
    /// The list as it is remembered, or as it is when one looks.
    fn get(
        &self,
        now: Instant,
        change: u64,
        look: impl FnOnce() -> Vec<PortInfo>,
    ) -> Rc<[PortInfo]> {
        if let Some(list) = &*self.0.borrow()
            && list.change == change
            && now.duration_since(list.made) < STALE
        {
            return Rc::clone(&list.ports);
        }
        let ports: Rc<[PortInfo]> = look().into();
        self.0.replace(Some(List {
            made: now,
            change,
            ports: Rc::clone(&ports),
        }));
        ports
    }
}

fn look(space: &Space) -> Vec<PortInfo> {
    let sockets = space.listening().unwrap_or_else(|error| {
        tracing::error!("cannot list {}: {error}", space.entry.name);
        Vec::new()
    });
    let mut ports: Vec<PortInfo> = Vec::new();
    for (socket, program) in sockets
        .into_iter()
        .filter(|(socket, _)| socket.protocol == Protocol::Tcp)
    {
        match ports
            .iter_mut()
            .find(|known| known.port == socket.port.get())
        {
            Some(known) => known.addresses.push(socket.address),
            None => ports.push(PortInfo {
                port: socket.port.get(),
                addresses: vec![socket.address],
                program,
                listener: socket.cookie,
            }),
        }
    }
    ports.sort_by_key(|known| known.port);
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_remembered_until_something_changes_or_it_is_stale() {
        let remembered = Remembered::default();
        let begin = Instant::now();
        let fresh = begin + STALE - Duration::from_nanos(1);
        let steps = [
            (begin, 1, true),
            (fresh, 1, false),
            (fresh, 2, true),
            (begin + STALE, 2, false),
            (fresh + STALE, 2, true),
            (fresh + STALE, 2, false),
        ];
        for (number, (now, change, expected)) in steps.into_iter().enumerate() {
            let mut looked = false;
            let ports = remembered.get(now, change, || {
                looked = true;
                Vec::new()
            });
            assert!(ports.is_empty());
            assert_eq!(looked, expected, "step {number}");
        }
    }
}
