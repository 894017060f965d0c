//! The comparison of a record with the kernel's own list: what no call announced comes in, what ended unseen goes.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use wharf_port::table::{Holding, Reuse, State};
use wharf_port::{Domain, Protocol};

use super::{Owner, Record};
use crate::binding::socket::{Place, Socket};
use crate::event::Source;
use crate::list::diag;

impl Record {
    /// How old the record is: to be asked before the list is, that it is compared with.
    pub(crate) const fn age(&self) -> u64 {
        self.age
    }

    /// Brings the record in line with the kernel's list, which was made when the record had this age.
    pub(crate) fn compare(&mut self, listed: &[diag::Socket], age: u64, at: Timestamp) {
        let known: HashSet<_> = listed.iter().map(|row| row.cookie).collect();
        self.alias(listed);
        let gone: Vec<_> = self
            .all()
            .filter(|holding| holding.owner.age <= age)
            .filter(|holding| {
                holding.state == State::Listening || holding.protocol == Protocol::Udp
            })
            .filter(|holding| {
                let mut cookies = self.cookies(holding);
                !cookies.any(|cookie| known.contains(&cookie))
            })
            .map(|holding| holding.owner.socket.cookie)
            .collect();
        gone.into_iter().for_each(|cookie| self.released(cookie));
        for row in listed {
            self.found(row, at);
        }
    }

    /// Inode and cookie of every TCP socket that is bound and doesn't listen, which the kernel's list doesn't show, if
    /// it is no younger than this.
    pub(crate) fn unlisted(&self, age: u64) -> Vec<(u64, u64)> {
        self.all()
            .filter(|holding| holding.protocol == Protocol::Tcp && holding.state == State::Bound)
            .filter(|holding| holding.owner.age <= age)
            .map(|holding| (holding.owner.socket.inode, holding.owner.socket.cookie))
            .collect()
    }

    /// Knows the sockets of Multipath TCP by the cookies that the list has for them.
    fn alias(&mut self, listed: &[diag::Socket]) {
        let multipath: HashMap<_, _> = self
            .all()
            .filter(|holding| holding.owner.socket.multipath)
            .map(|holding| (holding.owner.socket.inode, holding.hold))
            .collect();
        for row in listed {
            if let Some(&hold) = multipath.get(&row.inode) {
                self.holds.entry(row.cookie).or_insert(hold);
            }
        }
    }

    fn cookies(&self, holding: &Holding<Owner>) -> impl Iterator<Item = u64> {
        let own = [holding.owner.socket.cookie];
        let hold = holding.hold;
        let others = holding.owner.socket.multipath.then_some(&self.holds);
        let others = others.into_iter().flatten();
        let others = others.filter(move |(_, held)| **held == hold);
        own.into_iter().chain(others.map(|(cookie, _)| *cookie))
    }

    /// A socket that is in the kernel's list, with whatever state the record has it in.
    fn found(&mut self, row: &diag::Socket, at: Timestamp) {
        let (at, source) = match self.recalled.remove(&row.cookie) {
            Some(since) => (since, Source::Call),
            None => (at, Source::Dump),
        };
        let hold = match self.holds.get(&row.cookie) {
            Some(&hold) => Some(hold),
            None => {
                let socket = Socket {
                    protocol: row.protocol,
                    domain: match (row.address.is_ipv4(), row.ipv6_only) {
                        (true, _) => Domain::V4,
                        (false, Some(true)) => Domain::V6Only,
                        (false, _) => Domain::Dual,
                    },
                    // The list doesn't say; the kernel let it in.
                    reuse: Reuse::Both,
                    cookie: row.cookie,
                    inode: row.inode,
                    multipath: false,
                };
                let place = Place::new(row.address, row.port.get());
                place.and_then(|place| self.place(socket, place, None, at, source))
            }
        };
        if let Some(hold) = hold
            && row.protocol == Protocol::Tcp
        {
            self.listen(hold, at, source, None);
        }
    }
}
