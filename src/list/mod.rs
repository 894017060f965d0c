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

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::os::fd::{AsFd, BorrowedFd};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use diag::DumpError;
pub(crate) use holders::{Member, NetNamespace, processes_in};
pub(crate) use process::Process;

use holders::Scope;

/// The transport protocol; each has ports of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One listening socket: a TCP listener, or a UDP socket that takes datagrams from anybody.
///
/// The JSON form is part of what wharf promises: `docs/json.md`, schema 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listener {
    /// The space's name; `None` is the machine itself.
    pub(crate) space: Option<String>,
    /// TCP or UDP.
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
