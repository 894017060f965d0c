//! Whose every port is: sockets of the machine and of spaces, and the processes behind them.
//!
//! This is the one model that `wharf ls`, `wharf why` and whoever else asks look at: a [`Question`] is put to some
//! network namespaces ([`View`]), and the answer is a list of [`Hold`]s.
//!
//! - [`diag`] asks the kernel which sockets there are ([`bound`]: those that older kernels don't show);
//! - [`holders`] finds the processes behind them, [`process`] says who these are ([`background`]: where they come from,
//!   [`cgroup`] and [`containers`]: their unit or container, [`worktree`]: in which worktree and branch they work);
//! - [`members`] finds the processes of a namespace, whatever they hold, and [`running`] says what they do;
//! - [`mod@elsewhere`] looks into namespaces that are nobody's space;
//! - [`unseen`] says what is known of those that may not be seen;
//! - [`reach`] says how clients get there;
//! - [`render`] and [`label`] lay a list out as a table or as JSON (`docs/json.md`).
//!
//! Nothing is remembered here: a list is made anew, from what the kernel says,
//! each time somebody asks.

pub(crate) mod background;
mod bound;
pub(crate) mod cgroup;
pub(crate) mod containers;
pub(crate) mod diag;
mod elsewhere;
mod hold;
pub(crate) mod holders;
pub(crate) mod label;
mod members;
mod process;
mod reach;
pub(crate) mod render;
pub(crate) mod running;
#[cfg(test)]
pub(crate) mod testing;
mod unseen;
mod users;
mod worktree;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::os::fd::{AsFd, BorrowedFd};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use wharf_port::{Port, registry};

pub(crate) use wharf_port::Protocol;

pub(crate) use diag::{DumpError, State, States, Wanted};
pub(crate) use elsewhere::elsewhere;
pub(crate) use hold::{Hold, SinceFrom, protocol_by_name};
pub(crate) use holders::NetNamespace;
pub(crate) use members::{Member, processes_in, residents};
pub(crate) use process::{Detail, Process, boot, process_of_thread, program_of_thread};

use holders::Scope;
use process::Lookup;

/// What is asked of some namespaces.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Question {
    /// What the sockets do.
    pub(crate) states: States,
    /// Only those of one protocol.
    #[serde(with = "maybe_protocol")]
    pub(crate) protocol: Option<Protocol>,
    /// Only those that have this port.
    pub(crate) port: Option<NonZeroU16>,
    /// How much is to be known of their programs.
    pub(crate) detail: Detail,
}

impl Question {
    /// Who listens?
    pub(crate) const LISTENERS: Self = Self {
        states: States::Listening,
        protocol: None,
        port: None,
        detail: Detail::Row,
    };

    /// What is asked of the kernel.
    const fn wanted(&self) -> Wanted {
        Wanted {
            states: self.states,
            protocol: self.protocol,
            port: self.port,
            bytes: diag::Bytes::Untold,
        }
    }
}

/// The JSON form of a protocol that may be missing.
mod maybe_protocol {
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};
    use wharf_port::Protocol;

    pub(super) fn serialize<S: Serializer>(
        protocol: &Option<Protocol>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        protocol.map(Protocol::name).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Protocol>, D::Error> {
        let name = Option::<String>::deserialize(deserializer)?;
        name.map(|name| name.parse().map_err(serde::de::Error::custom))
            .transpose()
    }
}

/// One network namespace to be looked at, and what the caller knows about it.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// The space's name; `None` is the machine itself.
    pub(crate) space: Option<&'a str>,
    /// Where the space's web servers are found by name.
    pub(crate) url: Option<&'a str>,
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
            .field("url", &self.url)
            .field("diag", &self.diag)
            .field("namespace", &self.namespace)
            .field("hidden", &self.hidden)
            .finish_non_exhaustive()
    }
}

/// Every socket of these namespaces that the question is about, in the order that people are shown.
///
/// `/proc` is walked once, whatever the number of namespaces.
///
/// # Errors
/// When the kernel's list of sockets or `/proc` can't be read. Processes that can't be looked at
/// are no error: their sockets are listed without a program.
pub(crate) fn survey(views: &[View<'_>], question: &Question) -> Result<Vec<Hold>, DumpError> {
    let mut found = Vec::new();
    for view in views {
        let mut sockets = diag::dump_wanted(view.diag, &question.wanted())?;
        sockets.extend(bound_besides(view, question, &sockets));
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
    let lookup = Lookup::new(question.detail);
    let mut programs = programs(holders::holders_with(&inodes, scope, &lookup)?);
    let now = Timestamp::now();
    let mut holds: Vec<_> = found
        .iter()
        .map(|(view, socket)| {
            // An inode belongs to one socket, so its programs are needed once.
            let programs = programs.remove(&socket.inode).unwrap_or_default();
            of_socket(Some(view), socket, programs, &lookup, now)
        })
        .collect();
    if question.detail == Detail::Story {
        unseen::tell(&mut holds, found.iter().map(|(_, socket)| socket.cgroup));
    }
    hold::sort(&mut holds);
    hold::join_groups(&mut holds);
    Ok(holds)
}

/// Sockets of a view that are bound and don't listen, where the kernel keeps them to itself.
fn bound_besides(
    view: &View<'_>,
    question: &Question,
    sockets: &[diag::Socket],
) -> Vec<diag::Socket> {
    let asked = question.states != States::Listening && question.protocol != Some(Protocol::Udp);
    if !asked || diag::shows_bound() {
        return Vec::new();
    }
    let Some(namespace) = view.namespace.or_else(NetNamespace::own) else {
        return Vec::new();
    };
    let known = sockets.iter().map(|socket| socket.inode).collect();
    let mut bound = bound::sockets(namespace, &known);
    bound.retain(|socket| question.port.is_none_or(|only| only == socket.port));
    bound
}

/// Every such socket of the network namespace that the calling thread is in: the machine's own.
///
/// # Errors
/// As [`survey`].
pub(crate) fn machine(question: &Question) -> Result<Vec<Hold>, DumpError> {
    let diag = diag::open()?;
    let view = View {
        space: None,
        url: None,
        diag: diag.as_fd(),
        namespace: None,
        hidden: &HashSet::new(),
        first_seen: &|_| None,
    };
    survey(&[view], question)
}

/// Every listener of the network namespace that the calling thread is in.
///
/// # Errors
/// As [`survey`].
pub(crate) fn machine_listeners() -> Result<Vec<Hold>, DumpError> {
    machine(&Question::LISTENERS)
}

/// The program of the machine that stands in the way of whoever wants this endpoint, as a person calls it.
pub(crate) fn holder_at(protocol: Protocol, address: IpAddr, port: NonZeroU16) -> Option<String> {
    let overlaps = |hold: &&Hold| {
        hold.protocol == protocol
            && hold.port == port
            && (hold.address == address
                || hold.address.is_unspecified()
                || address.is_unspecified())
    };
    let held = machine_listeners().ok()?;
    let hold = held.iter().find(overlaps)?;
    let Some(holder) = hold.programs.first() else {
        let user = hold.user.clone().unwrap_or_else(|| hold.uid.to_string());
        return Some(format!("a program of user {user}"));
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

/// Puts together what is known about one socket; of a namespace that there is no view of, it isn't told how to reach it.
fn of_socket(
    view: Option<&View<'_>>,
    socket: &diag::Socket,
    programs: Vec<Process>,
    lookup: &Lookup,
    now: Timestamp,
) -> Hold {
    let oldest = programs.first();
    let space = view.and_then(|view| view.space);
    let seen = view.and_then(|view| (view.first_seen)(socket.cookie));
    let (since, since_from) = match (seen, oldest) {
        (Some(seen), _) => (Some(seen), SinceFrom::Socket),
        (None, Some(process)) => (Some(process.started), SinceFrom::Program),
        (None, None) => (None, SinceFrom::Unknown),
    };
    let uid = oldest.map_or(socket.uid, |process| process.uid);
    let listens = socket.state == State::Listening;
    let expires = socket
        .expires
        .and_then(|rest| SignedDuration::try_from(rest).ok());
    Hold {
        space: space.map(str::to_owned),
        namespace: None,
        protocol: socket.protocol,
        address: socket.address,
        port: socket.port,
        state: socket.state,
        peer: socket.peer,
        until: expires.and_then(|rest| now.checked_add(rest).ok()),
        ipv6_only: socket.ipv6_only,
        sockets: 1,
        waiting: match listens && socket.protocol == Protocol::Tcp {
            true => socket.waiting,
            false => 0,
        },
        inode: (socket.inode != 0).then_some(socket.inode),
        usage: usage(socket.protocol, socket.port),
        uid,
        // What only the kernel keeps is nobody's; it says 0 there.
        user: match socket.inode {
            0 => None,
            _ => lookup.users.name(uid),
        },
        programs,
        unseen: None,
        since,
        since_from,
        reach: match view.filter(|_| listens) {
            Some(view) => reach::of(space, view.url, socket),
            None => Vec::new(),
        },
        published: Vec::new(),
    }
}

/// What people use a port for.
fn usage(protocol: Protocol, port: NonZeroU16) -> Option<String> {
    let common = registry::common(Port::new(port.get())?).iter();
    let mut under = common.filter(|row| row.uses.has(protocol));
    under.next().map(|row| row.name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::OwnedFd;
    use std::process::Command;

    use rustix::net::sockopt;

    use super::hold::{join_groups, sort};
    use super::testing::{Standing, own_pid, sample};
    use super::*;

    /// The row of the listener at this port of TCP.
    fn at(listeners: &[Hold], port: u16) -> Option<&Hold> {
        let is_it =
            |listener: &&Hold| listener.port.get() == port && listener.protocol == Protocol::Tcp;
        listeners.iter().find(is_it)
    }

    fn view<'a>(
        diag: BorrowedFd<'a>,
        hidden: &'a HashSet<u64>,
        first_seen: &'a dyn Fn(u64) -> Option<Timestamp>,
    ) -> View<'a> {
        View {
            space: Some("shop"),
            url: None,
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
        let listeners = survey(
            &[view(diag.as_fd(), &hide, &first_seen)],
            &Question::LISTENERS,
        )
        .unwrap();
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
        let listeners = survey(&[view], &Question::LISTENERS).unwrap();
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
