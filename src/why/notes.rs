//! What is to be said about a hold besides whose it is: what other tools leave out.

use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use serde::Serialize;
use wharf_port::Cover;

use super::place::{cover, endpoint, is_connection};
use super::proxy::{self, Carried};
use super::{Found, Sight, rules};
use crate::daemon::names_port;
use crate::list::background::Ancestor;
use crate::list::label::label;
use crate::list::{Hold, Protocol, State};
use crate::place::spelling::{Host, Spelled};

/// Something to be known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Note {
    /// What it is about, for programs.
    pub(super) topic: Topic,
    /// Sentences.
    pub(super) text: String,
}

/// What notes are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Topic {
    /// Bound, and not listening.
    Bound,
    /// Kept by the kernel after a connection.
    TimeWait,
    /// The local port of an outgoing connection.
    Outgoing,
    /// A connection whose listener is no more.
    Outlived,
    /// Left over from a process that has ended.
    LeftOver,
    /// Connections wait to be accepted.
    Waiting,
    /// Several sockets at one place.
    Shared,
    /// Several processes hold one socket.
    Inherited,
    /// Another user's.
    OtherUser,
    /// The kernel's own.
    Kernel,
    /// A wildcard, and one address.
    Wildcard,
    /// `localhost` is two servers.
    TwoServers,
    /// A container's proxy.
    Proxy,
    /// Carried on by the machine's rules.
    Nat,
    /// Wants a privilege.
    Privileged,
    /// Reserved by a setting.
    Reserved,
    /// The kernel may choose it.
    Ephemeral,
    /// The web servers of all spaces share it.
    ByName,
    /// It leads to a space's port.
    Published,
    /// A space that does not run.
    Asleep,
    /// An address that the machine doesn't have.
    NotHere,
}

fn note(topic: Topic, text: impl Into<String>) -> Note {
    Note {
        topic,
        text: text.into(),
    }
}

/// What is to be said about one hold; `all` are those of its place.
pub(super) fn on_hold(hold: &Hold, all: &[&Hold], asked: &Spelled, found: &Found) -> Vec<Note> {
    let mut notes = Vec::new();
    notes.extend(on_state(hold, all, found));
    notes.extend(on_holders(hold));
    notes.extend(on_hidden(hold, found.sight));
    notes.extend(proxy::of_hold(hold).map(|to| note(Topic::Proxy, to)));
    notes.extend(found.published_at(hold).map(|publication| {
        let text = format!(
            "wharf publishes port {} of space {} here, for as long as that space runs.",
            publication.inside, publication.space
        );
        note(Topic::Published, text)
    }));
    if hold.sockets > 1 {
        let how = match hold.protocol {
            Protocol::Tcp => "SO_REUSEPORT: the kernel spreads connections over them",
            Protocol::Udp => "SO_REUSEPORT or SO_REUSEADDR: not all of them get every datagram",
        };
        notes.push(note(
            Topic::Shared,
            format!("{} sockets share this place ({how}).", hold.sockets),
        ));
    }
    if let Host::Address(address) = asked.host
        && !is_connection(hold)
        && cover(hold).is_wildcard()
    {
        notes.push(note(
            Topic::Wildcard,
            format!(
                "It is bound to {}, which covers {address} too. Linux lets nobody else have the port at one address while \
                 somebody listens at all of them, nor the other way round.",
                hold.address
            ),
        ));
    }
    notes
}

/// What its state means.
fn on_state(hold: &Hold, all: &[&Hold], found: &Found) -> Option<Note> {
    let peer = hold.peer.map(|peer| peer.to_string()).unwrap_or_default();
    let many = |state| all.iter().filter(|other| other.state == state).count();
    Some(match hold.state {
        State::Listening => return None,
        State::Bound => note(
            Topic::Bound,
            "It has the port and does not listen: connections are refused, and still nobody else can have it. It is about to \
             listen, or has forgotten to, or keeps the port for later. Lists of listeners don't show it.",
        ),
        State::TimeWait => {
            let count = match many(State::TimeWait) {
                1 => "A connection from here is closed".to_owned(),
                count => format!("{count} connections from here are closed"),
            };
            note(
                Topic::TimeWait,
                format!(
                    "{count} ({peer} was the last one's peer), and the kernel keeps the port in TIME-WAIT{}, so that late \
                     packets harm nobody. No process holds it. A server that sets SO_REUSEADDR, as most do, can have the \
                     port at once; another is told \"address already in use\" until then.",
                    until(hold)
                ),
            )
        }
        _ if hold.inode.is_none() => note(
            Topic::Outlived,
            format!(
                "No process has this connection to {peer} any more; the kernel is still closing it{}.",
                until(hold)
            ),
        ),
        _ if hold.space.is_some() || found.rules.may_be_chosen(hold.port.get()) => note(
            Topic::Outgoing,
            format!(
                "This is no server: it is the program's own end of a connection to {peer}. The kernel chose the port, since it \
                 is between {} and {}. While it lasts, no server can listen at this port at every address.",
                found.rules.chosen.start(),
                found.rules.chosen.end()
            ),
        ),
        _ => note(
            Topic::Outlived,
            format!(
                "This is a connection to {peer}, and nobody listens: its listener has closed, or the program bound the port \
                 before it connected. Without SO_REUSEADDR, no server can start here while it lasts."
            ),
        ),
    })
}

fn until(hold: &Hold) -> String {
    let Some(until) = hold.until else {
        return String::new();
    };
    let left = until.duration_since(Timestamp::now()).as_secs().max(0);
    format!(" for {left} more seconds")
}

/// What its processes tell.
fn on_holders(hold: &Hold) -> Vec<Note> {
    let mut notes = Vec::new();
    let left_over = hold.programs.first().and_then(|program| {
        let background = program.background.as_ref()?;
        Some((program, background.orphan?))
    });
    if let Some((program, orphan)) = left_over {
        notes.push(note(
            Topic::LeftOver,
            format!(
                "Whoever started {} has ended, and so has process {}, the leader of its process group: it is left over. A \
                 server that crashes leaves its children behind like this; they have inherited its socket, so the port stays \
                 taken though nobody may answer.",
                label(program),
                orphan.leader
            ),
        ));
    }
    if hold.waiting > 0 {
        let (connections, them) = match hold.waiting {
            1 => ("1 connection waits".to_owned(), "it"),
            count => (format!("{count} connections wait"), "them"),
        };
        let text = format!("{connections} at this moment for somebody to accept {them}.");
        notes.push(note(Topic::Waiting, text));
    }
    if let [_, rest @ ..] = hold.programs.as_slice()
        && !rest.is_empty()
        && hold.sockets == 1
    {
        let others: Vec<_> = rest
            .iter()
            .take(4)
            .map(|program| format!("{} (pid {})", label(program), program.pid))
            .collect();
        let more = match rest.len() - others.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        notes.push(note(
            Topic::Inherited,
            format!(
                "The same socket is held by {}{more} as well: inherited or passed on. The port is free when all of them have \
                 let go.",
                others.join(", ")
            ),
        ));
    }
    notes
}

/// What is known of holders that may not be seen.
fn on_hidden(hold: &Hold, sight: Sight) -> Option<Note> {
    if !hold.is_hidden() {
        return None;
    }
    if sight == Sight::All && hold.namespace.is_none() {
        return Some(note(
            Topic::Kernel,
            "No process holds it, as far as root can see: the kernel itself does (WireGuard, NFS and VXLAN have sockets of \
             their own), or the process has just ended.",
        ));
    }
    let user = hold
        .user
        .clone()
        .unwrap_or_else(|| format!("user {}", hold.uid));
    let mut text = format!("It was opened by {user}, whose processes you may not look at.");
    if let Some(unseen) = &hold.unseen {
        match (&unseen.unit, &unseen.group) {
            (Some(unit), _) => text += &format!(" It belongs to {}.", unit.name),
            (None, Some(group)) => text += &format!(" It was made in control group {group}."),
            (None, None) => {}
        }
        let suspects: Vec<_> = unseen.suspects.iter().map(suspect).collect();
        if !suspects.is_empty() {
            text += &format!(" Perhaps one of these has it: {}.", suspects.join(", "));
        }
    }
    Some(note(Topic::OtherUser, text))
}

/// A process that may be it: its command line is what it is known by.
fn suspect(it: &Ancestor) -> String {
    let command: String = it
        .command
        .join(" ")
        .chars()
        .take(SUSPECT_CHARACTERS)
        .collect();
    match command.is_empty() {
        true => format!("{} (pid {})", it.program, it.pid),
        false => format!("{command} (pid {})", it.pid),
    }
}

/// A longer command line is cut off.
const SUSPECT_CHARACTERS: usize = 80;

/// What the holds of one place mean together.
pub(super) fn on_many(holds: &[&Hold], shown: &[&Hold]) -> Vec<Note> {
    let mut notes = Vec::new();
    notes.extend(two_servers(holds));
    let waits = holds
        .iter()
        .filter(|hold| hold.state == State::TimeWait)
        .count();
    let told = shown.iter().any(|hold| hold.state == State::TimeWait);
    if waits > 0 && !told {
        let them = match waits {
            1 => "1 closed connection is".to_owned(),
            waits => format!("{waits} closed connections are"),
        };
        let text = format!(
            "{them} in TIME-WAIT besides, which hinders only a server that starts without SO_REUSEADDR."
        );
        notes.push(note(Topic::TimeWait, text));
    }
    notes
}

/// Whether `localhost` leads to different programs by IPv4 and by IPv6.
fn two_servers(holds: &[&Hold]) -> Option<Note> {
    let loopback = [
        Cover::V4(Ipv4Addr::LOCALHOST),
        Cover::V6(Ipv6Addr::LOCALHOST),
    ];
    let [by_v4, by_v6] = loopback.map(|asked| {
        let takes = |hold: &&&Hold| {
            hold.listens() && hold.protocol == Protocol::Tcp && cover(hold).meets(asked)
        };
        // The more specific socket gets it, and an IPv4 one before a dual-stack one.
        let rank = |hold: &&&Hold| match cover(hold) {
            Cover::V4(_) | Cover::V6(_) => 0,
            Cover::AllV4 | Cover::AllV6 => 1,
            Cover::All => 2,
        };
        holds.iter().filter(takes).min_by_key(rank)
    });
    let (v4, v6) = (by_v4?, by_v6?);
    let same = v4.inode == v6.inode
        || v4.programs.first().map(|it| it.pid) == v6.programs.first().map(|it| it.pid)
            && !v4.programs.is_empty();
    if same {
        return None;
    }
    let who = |hold: &Hold| match hold.programs.first() {
        Some(program) => format!("{} (pid {})", label(program), program.pid),
        None => format!("a program of user {}", hold.uid),
    };
    Some(note(
        Topic::TwoServers,
        format!(
            "localhost is two servers here: 127.0.0.1 leads to {}, ::1 to {}. Which one a client meets depends on the address \
             that it tries first.",
            who(v4),
            who(v6)
        ),
    ))
}

/// What the machine's settings and wharf itself say about the number.
pub(super) fn on_number(asked: &Spelled, found: &Found) -> Vec<Note> {
    let Some(port) = asked.port.map(std::num::NonZeroU16::get) else {
        return Vec::new();
    };
    let rules = &found.rules;
    let inside = crate::survey::space_around().is_some();
    let mut notes = Vec::new();
    if !inside && rules.is_system(port) && !rules.privileged {
        notes.push(note(
            Topic::Privileged,
            format!(
                "Binding a port below {} on the machine wants a privilege that you don't have (\"permission denied\", not \
                 \"address already in use\"). In a space everybody may.",
                rules.unprivileged_from
            ),
        ));
    }
    if rules.is_reserved(port) {
        let text = "It is in net.ipv4.ip_local_reserved_ports: the kernel never chooses it for a connection; only who asks \
                    for it by number gets it.";
        notes.push(note(Topic::Reserved, text));
    } else if rules.may_be_chosen(port) {
        notes.push(note(
            Topic::Ephemeral,
            format!(
                "It is between {} and {}, where the kernel chooses ports for outgoing connections: any program may have it at \
                 any moment, without having asked for it.",
                rules.chosen.start(),
                rules.chosen.end()
            ),
        ));
    }
    if let Host::Address(address) = asked.host
        && !rules::has(address)
    {
        let text = format!(
            "{address} is no address of this machine, so nobody can have a port there; wharf knows only the ports of this machine."
        );
        notes.push(note(Topic::NotHere, text));
    }
    if let Host::ByName(name) = &asked.host {
        notes.push(by_name(name, &found.by_name));
    } else if names_port() == Some(port) {
        let text = "wharf's own port for the web servers of all spaces: http://NAME.localhost.";
        notes.push(note(Topic::ByName, text));
    }
    notes
}

/// Whom the name of a space leads to, at the port of all.
fn by_name(name: &str, listening: &[u16]) -> Note {
    let ports: Vec<_> = listening.iter().map(u16::to_string).collect();
    let who = match &ports[..] {
        [] => "where no TCP port listens now".to_owned(),
        [one] => format!("where port {one} listens: wharf why {name}:{one}"),
        [first, ..] => format!(
            "where ports {} listen: wharf why {name}:{first}",
            ports.join(", ")
        ),
    };
    let text = format!(
        "wharf serves the web servers of all spaces at this one port; the name says which is meant: here, space {name}, {who}."
    );
    note(Topic::ByName, text)
}

/// Where the machine carries the port on to.
pub(super) fn carried(carried: &[Carried]) -> Vec<Note> {
    let text = |it: &Carried| match it {
        Carried::Rule { text } => note(
            Topic::Nat,
            format!(
                "A rule of the machine's firewall carries it on before any socket sees it: {text}. A server that listens here \
                 would not be met from outside."
            ),
        ),
        Carried::Container { name, port, .. } => note(
            Topic::Proxy,
            format!("Docker publishes container {name} here: its port {port}."),
        ),
    };
    carried.iter().map(text).collect()
}

/// A space that does not run.
pub(super) fn sleeping(name: &str) -> Note {
    let text = format!("Space {name} does not run; when it does, every port is free there.");
    note(Topic::Asleep, text)
}

/// `tcp/127.0.0.1:3000, listening`.
pub(super) fn heading(hold: &Hold) -> String {
    match hold.peer {
        Some(peer) => format!("{} to {peer}, {}", endpoint(hold), hold.state.name()),
        None => format!("{}, {}", endpoint(hold), hold.state.name()),
    }
}
