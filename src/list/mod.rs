//! Who listens: every port that takes connections or datagrams, and whose it is.
//!
//! [`diag`] asks the kernel which sockets listen, [`holders`] finds the
//! processes behind them, [`process`] says what a person calls these, and
//! [`render`] lays the result out as a table or as JSON (`docs/json.md`).
//!
//! Nothing is remembered here: a list is made anew, from what the kernel says,
//! each time somebody asks.

pub(crate) mod diag;
pub(crate) mod holders;
mod label;
mod process;
pub(crate) mod render;
#[cfg(test)]
mod testing;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::os::fd::{AsFd, BorrowedFd};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
pub(crate) use wharf_port::Protocol;

pub(crate) use diag::DumpError;
pub(crate) use holders::{Member, NetNamespace, processes_in};
pub(crate) use process::{Process, process_of_thread, program_of_thread};

use holders::Scope;

/// One listening socket: a TCP listener, or a UDP socket that takes datagrams from anybody.
///
/// The JSON form is part of what wharf promises: `docs/json.md`, schema 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listener {
    /// The space's name; `None` is the machine itself.
    pub(crate) space: Option<String>,
    /// TCP or UDP.
    #[serde(with = "protocol_by_name")]
    pub(crate) protocol: Protocol,
    /// Where it listens; `0.0.0.0` and `::` stand for every address.
    pub(crate) address: IpAddr,
    /// The port.
    pub(crate) port: NonZeroU16,
    /// For IPv6 sockets, whether IPv4 peers are left to others.
    pub(crate) ipv6_only: Option<bool>,
    /// The user id of the oldest program that holds it, else of the user who opened it.
    pub(crate) uid: u32,
    /// The programs that hold it, oldest first; empty when none of them may be seen.
    pub(crate) programs: Vec<Process>,
    /// Since when it exists, as far as known.
    pub(crate) since: Option<Timestamp>,
    /// How `since` is known.
    pub(crate) since_from: SinceFrom,
}

/// A protocol's JSON form: its name.
pub(crate) mod protocol_by_name {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use wharf_port::Protocol;

    pub(crate) fn serialize<S: Serializer>(
        protocol: &Protocol,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(protocol.name())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Protocol, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// How it is known since when a listener exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SinceFrom {
    /// The socket was seen to appear at that time.
    Socket,
    /// Its oldest holder started at that time, so the socket may be younger.
    Program,
    /// Neither is known.
    Unknown,
}

/// One network namespace to be listed, and what the caller knows about it.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// The space's name; `None` is the machine itself.
    pub(crate) space: Option<&'a str>,
    /// A diag socket made inside the namespace, which joined no multicast group.
    pub(crate) diag: BorrowedFd<'a>,
    /// Where holders are looked for: only among processes of this namespace, or everywhere.
    pub(crate) namespace: Option<NetNamespace>,
    /// Cookies of sockets that aren't shown: wharf's own.
    pub(crate) hidden: &'a HashSet<u64>,
    /// Tells when a socket, given by its cookie, was first seen.
    pub(crate) first_seen: &'a dyn Fn(u64) -> Option<Timestamp>,
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("View")
            .field("space", &self.space)
            .field("diag", &self.diag)
            .field("namespace", &self.namespace)
            .field("hidden", &self.hidden)
            .finish_non_exhaustive()
    }
}

/// Every listener of all these namespaces, in the order that people are shown.
///
/// `/proc` is walked once, whatever the number of namespaces.
///
/// # Errors
/// When the kernel's list of sockets or `/proc` can't be read. Processes that can't be looked at
/// are no error: their sockets are listed without a program.
pub(crate) fn listeners(views: &[View<'_>]) -> Result<Vec<Listener>, DumpError> {
    let mut found = Vec::new();
    for view in views {
        let sockets = diag::dump(view.diag)?;
        let shown = sockets
            .into_iter()
            .filter(|socket| !view.hidden.contains(&socket.cookie));
        found.extend(shown.map(|socket| (view, socket)));
    }
    let inodes = found
        .iter()
        .map(|(_, socket)| socket.inode)
        .filter(|&inode| inode != 0)
        .collect();
    let namespaces: Option<Vec<_>> = views.iter().map(|view| view.namespace).collect();
    let scope = namespaces.as_deref().map_or(Scope::Everywhere, Scope::In);
    let mut programs = programs(holders::holders(&inodes, scope)?);
    let mut listeners: Vec<_> = found
        .into_iter()
        .map(|(view, socket)| {
            // An inode belongs to one socket, so its programs are needed once.
            listener(
                view,
                &socket,
                programs.remove(&socket.inode).unwrap_or_default(),
            )
        })
        .collect();
    sort(&mut listeners);
    join_groups(&mut listeners);
    Ok(listeners)
}

/// Every listener of the network namespace that the calling thread is in: the machine's own.
///
/// # Errors
/// As [`listeners`].
pub(crate) fn machine_listeners() -> Result<Vec<Listener>, DumpError> {
    let diag = diag::open()?;
    let view = View {
        space: None,
        diag: diag.as_fd(),
        namespace: None,
        hidden: &HashSet::new(),
        first_seen: &|_| None,
    };
    listeners(&[view])
}

/// The program of the machine that stands in the way of whoever wants this endpoint, as a person calls it.
pub(crate) fn holder_at(protocol: Protocol, address: IpAddr, port: NonZeroU16) -> Option<String> {
    let overlap = |listener: &&Listener| {
        listener.protocol == protocol
            && listener.port == port
            && (listener.address == address
                || listener.address.is_unspecified()
                || address.is_unspecified())
    };
    let listeners = machine_listeners().ok()?;
    let listener = listeners.iter().find(overlap)?;
    let Some(holder) = listener.programs.first() else {
        return Some(format!("a program of user {}", listener.uid));
    };
    let place = match &holder.directory {
        Some(directory) => format!(", in {directory}"),
        None => String::new(),
    };
    Some(format!("{} (pid {}{place})", holder.program, holder.pid))
}

/// By inode, the processes that hold the socket, oldest first.
fn programs(holders: Vec<holders::Holder>) -> HashMap<u64, Vec<Process>> {
    let mut programs: HashMap<u64, Vec<Process>> = HashMap::new();
    for holder in holders {
        for inode in holder.inodes {
            programs
                .entry(inode)
                .or_default()
                .push(holder.process.clone());
        }
    }
    for of_one in programs.values_mut() {
        of_one.sort_unstable_by_key(|process| (process.started, process.pid));
    }
    programs
}

/// Puts together what is known about one socket.
fn listener(view: &View<'_>, socket: &diag::Socket, programs: Vec<Process>) -> Listener {
    let oldest = programs.first();
    let seen = (view.first_seen)(socket.cookie);
    let (since, since_from) = match (seen, oldest) {
        (Some(seen), _) => (Some(seen), SinceFrom::Socket),
        (None, Some(process)) => (Some(process.started), SinceFrom::Program),
        (None, None) => (None, SinceFrom::Unknown),
    };
    Listener {
        space: view.space.map(str::to_owned),
        protocol: socket.protocol,
        address: socket.address,
        port: socket.port,
        ipv6_only: socket.ipv6_only,
        uid: oldest.map_or(socket.uid, |process| process.uid),
        programs,
        since,
        since_from,
    }
}

/// By space, the machine first; then by port, protocol, address.
fn sort(listeners: &mut [Listener]) {
    listeners.sort_by(|a, b| {
        let key = |listener: &Listener| (listener.port, listener.protocol, listener.address);
        a.space.cmp(&b.space).then_with(|| key(a).cmp(&key(b)))
    });
}

/// Sockets that share one port of one address (`SO_REUSEPORT`) are one listener to a person: their
/// programs together, since the first of them.
fn join_groups(listeners: &mut Vec<Listener>) {
    listeners.dedup_by(|later, first| {
        let place = |listener: &Listener| (listener.port, listener.protocol, listener.address);
        let one = first.space == later.space && place(first) == place(later);
        if one {
            first.programs.append(&mut later.programs);
            first
                .programs
                .sort_unstable_by_key(|program| (program.started, program.pid));
            first.programs.dedup_by_key(|program| program.pid);
            first.ipv6_only = first.ipv6_only.min(later.ipv6_only);
            if later
                .since
                .is_some_and(|since| first.since.is_none_or(|first| since < first))
            {
                (first.since, first.since_from) = (later.since, later.since_from);
            }
        }
        one
    });
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::OwnedFd;
    use std::process::Command;

    use rustix::net::sockopt;

    use super::testing::{Standing, own_pid, sample};
    use super::*;

    /// The row of the listener at this port of TCP.
    fn at(listeners: &[Listener], port: u16) -> Option<&Listener> {
        let is_it = |listener: &&Listener| {
            listener.port.get() == port && listener.protocol == Protocol::Tcp
        };
        listeners.iter().find(is_it)
    }

    fn view<'a>(
        diag: BorrowedFd<'a>,
        hidden: &'a HashSet<u64>,
        first_seen: &'a dyn Fn(u64) -> Option<Timestamp>,
    ) -> View<'a> {
        View {
            space: Some("shop"),
            diag,
            namespace: None,
            hidden,
            first_seen,
        }
    }

    #[test]
    fn sockets_that_share_a_port_are_one_listener() {
        let first = sample(Some("shop"), Protocol::Tcp, "0.0.0.0", 80);
        let mut second = first.clone();
        second.programs[0].pid += 1;
        let other = sample(Some("shop"), Protocol::Tcp, "127.0.0.1", 80);
        let mut listeners = vec![first.clone(), second.clone(), second, other.clone()];
        join_groups(&mut listeners);
        assert_eq!(listeners.len(), 2);
        let pids: Vec<_> = listeners[0]
            .programs
            .iter()
            .map(|program| program.pid)
            .collect();
        assert_eq!(pids, [first.programs[0].pid, first.programs[0].pid + 1]);
        assert_eq!(listeners[1], other);
    }

    #[test]
    fn the_machines_list_names_this_process_as_holder() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        let listeners = machine_listeners().unwrap();
        for (protocol, address) in [
            (Protocol::Tcp, tcp.local_addr().unwrap()),
            (Protocol::Udp, udp.local_addr().unwrap()),
        ] {
            let found: Vec<_> = listeners
                .iter()
                .filter(|it| (it.protocol, it.port.get()) == (protocol, address.port()))
                .filter(|it| it.address == address.ip())
                .collect();
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].programs[0].pid, own_pid());
            assert_eq!(found[0].space, None);
            assert_eq!(found[0].since_from, SinceFrom::Program);
            assert_eq!(found[0].since, Some(found[0].programs[0].started));
            let directory = std::env::current_dir().unwrap();
            assert_eq!(
                found[0].programs[0].directory.as_deref(),
                directory.to_str()
            );
        }
    }

    #[test]
    fn holders_are_named_oldest_first_until_they_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stdin = OwnedFd::from(listener.try_clone().unwrap());
        let child = Standing::start(Command::new("sh").stdin(stdin)).unwrap();
        let known = [own_pid(), child.number()];
        let pids = || -> Vec<i32> {
            let listeners = machine_listeners().unwrap();
            let programs = at(&listeners, port).unwrap().programs.iter();
            programs
                .map(|program| program.pid)
                .filter(|pid| known.contains(pid))
                .collect()
        };
        assert_eq!(pids(), known);
        drop(listener);
        assert_eq!(pids(), known[1..]);
    }

    #[test]
    fn a_hidden_socket_is_left_out_and_a_seen_one_dated() {
        let shown = TcpListener::bind("127.0.0.1:0").unwrap();
        let hidden = TcpListener::bind("127.0.0.1:0").unwrap();
        let cookie = sockopt::socket_cookie(&shown).unwrap();
        let seen: Timestamp = "2026-03-01T12:34:56Z".parse().unwrap();
        let first_seen = |asked: u64| (asked == cookie).then_some(seen);
        let hide = HashSet::from([sockopt::socket_cookie(&hidden).unwrap()]);
        let diag = diag::open().unwrap();
        let listeners = listeners(&[view(diag.as_fd(), &hide, &first_seen)]).unwrap();
        let found = at(&listeners, shown.local_addr().unwrap().port()).unwrap();
        assert_eq!(found.space.as_deref(), Some("shop"));
        assert_eq!(
            (found.since, found.since_from),
            (Some(seen), SinceFrom::Socket)
        );
        assert_eq!(at(&listeners, hidden.local_addr().unwrap().port()), None);
    }

    #[test]
    fn a_listener_whose_holder_can_t_be_seen_is_listed_all_the_same() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let diag = diag::open().unwrap();
        let none = HashSet::new();
        let elsewhere = File::open("/proc/self/ns/user").unwrap();
        let elsewhere = NetNamespace::of(elsewhere).unwrap();
        let view = View {
            namespace: Some(elsewhere),
            ..view(diag.as_fd(), &none, &|_| None)
        };
        let listeners = listeners(&[view]).unwrap();
        let found = at(&listeners, listener.local_addr().unwrap().port()).unwrap();
        assert_eq!(found.programs, []);
        assert_eq!((found.since, found.since_from), (None, SinceFrom::Unknown));
        assert_eq!(found.uid, rustix::process::geteuid().as_raw());
    }

    #[test]
    fn rows_are_in_the_order_of_space_port_protocol_address() {
        let ordered = [
            sample(None, Protocol::Tcp, "0.0.0.0", 9000),
            sample(Some("a"), Protocol::Tcp, "::", 80),
            sample(Some("a"), Protocol::Tcp, "127.0.0.1", 443),
            sample(Some("a"), Protocol::Tcp, "::1", 443),
            sample(Some("a"), Protocol::Udp, "127.0.0.1", 443),
            sample(Some("a"), Protocol::Tcp, "127.0.0.1", 3000),
            sample(Some("b"), Protocol::Tcp, "127.0.0.1", 80),
        ];
        let mut shuffled = ordered.clone();
        shuffled.reverse();
        shuffled.swap(1, 4);
        sort(&mut shuffled);
        assert_eq!(shuffled, ordered);
    }
}
