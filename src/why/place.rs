//! One network namespace's part of an answer: who holds the port there.

use serde::Serialize;
use std::net::IpAddr;

use wharf_port::{Cover, Domain, Protocol};

use super::Found;
use super::answer::Verdict;
use super::notes::{self, Note};
use crate::list::{Hold, State};
use crate::place::spelling::{Host, LOCALHOST, Spelled};

/// A place, and who holds the port there.
#[derive(Debug, Serialize)]
pub(super) struct Place {
    pub(super) place: Where,
    /// The space's name.
    pub(super) space: Option<String>,
    /// The number of a namespace that is no space.
    pub(super) namespace: Option<u64>,
    /// Whether the question was asked here.
    pub(super) here: bool,
    pub(super) verdict: Verdict,
    /// Listeners first, then what is only bound, then connections; of many that are alike, a few.
    pub(super) holds: Vec<Entry>,
    /// How many connections have the port, those that were accepted by a listener above included.
    pub(super) connections: usize,
    /// What is to be said about the port here, whoever has it.
    pub(super) notes: Vec<Note>,
}

/// What kind of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Where {
    /// The machine itself.
    Machine,
    /// A space.
    Space,
    /// Another network namespace.
    Namespace,
}

/// A hold, and what it means.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    pub(super) hold: Hold,
    /// The addresses that it has the port at.
    pub(super) covers: String,
    /// Those that it hasn't; `None` if it has all.
    pub(super) leaves: Option<String>,
    pub(super) notes: Vec<Note>,
}

/// So many connections without a listener are shown one by one.
const CONNECTIONS_SHOWN: usize = 4;

impl Place {
    /// The machine.
    pub(super) fn machine(here: bool, holds: &[&Hold], asked: &Spelled, found: &Found) -> Self {
        let mut place = Self::new(Where::Machine, here, holds, asked, found);
        place.notes.extend(notes::on_number(asked, found));
        place.notes.extend(notes::carried(&found.carried));
        place
    }

    /// A space.
    pub(super) fn space(
        name: &str,
        here: bool,
        holds: &[&Hold],
        asked: &Spelled,
        found: &Found,
    ) -> Self {
        let runs = found.spaces.iter().any(|space| space.name == name);
        let mut place = Self::new(Where::Space, here, holds, asked, found);
        place.space = Some(name.to_owned());
        if !runs {
            place.notes.push(notes::sleeping(name));
        }
        place
    }

    /// Another namespace.
    pub(super) fn namespace(number: u64, holds: &[&Hold], asked: &Spelled, found: &Found) -> Self {
        let mut place = Self::new(Where::Namespace, false, holds, asked, found);
        place.namespace = Some(number);
        place
    }

    fn new(place: Where, here: bool, holds: &[&Hold], asked: &Spelled, found: &Found) -> Self {
        let holds: Vec<&Hold> = holds
            .iter()
            .copied()
            .filter(|hold| concerns(hold, asked))
            .collect();
        let connections = holds.iter().filter(|hold| is_connection(hold)).count();
        let shown = shown(&holds);
        let entries: Vec<Entry> = shown
            .iter()
            .map(|hold| Entry {
                covers: covers(hold).0,
                leaves: covers(hold).1,
                notes: notes::on_hold(hold, &holds, asked, found),
                hold: (*hold).clone(),
            })
            .collect();
        Self {
            place,
            space: None,
            namespace: None,
            here,
            verdict: verdict(&shown),
            notes: notes::on_many(&holds, &shown),
            holds: entries,
            connections,
        }
    }

    /// What it is called in a sentence: `on the machine`, `in space shop`.
    pub(super) fn name(&self) -> String {
        match (self.place, &self.space, self.namespace) {
            (Where::Machine, ..) => "on the machine".to_owned(),
            (Where::Space, Some(name), _) => format!("in space {name}"),
            (_, _, Some(number)) => format!("in network namespace {number}"),
            (_, _, None) => "elsewhere".to_owned(),
        }
    }
}

fn verdict(shown: &[&Hold]) -> Verdict {
    match shown {
        [] => Verdict::Free,
        holds if holds.iter().all(|hold| hold.is_hidden()) => Verdict::Unseen,
        _ => Verdict::Held,
    }
}

/// Whether it has the port because of a peer.
pub(super) fn is_connection(hold: &Hold) -> bool {
    !matches!(hold.state, State::Listening | State::Bound)
}

/// Whether it has the port at an address that is asked about.
fn concerns(hold: &Hold, asked: &Spelled) -> bool {
    let cover = cover(hold);
    let meets = |address: IpAddr| {
        let domain = if address.is_ipv4() {
            Domain::V4
        } else {
            Domain::V6Only
        };
        domain.cover(address).is_ok_and(|other| cover.meets(other))
    };
    match &asked.host {
        Host::Address(address) => meets(*address),
        Host::Localhost => LOCALHOST.into_iter().any(meets),
        _ => true,
    }
}

/// What the socket covers.
pub(super) fn cover(hold: &Hold) -> Cover {
    let domain = match (hold.address, hold.ipv6_only) {
        (IpAddr::V4(_), _) => Domain::V4,
        (IpAddr::V6(_), Some(true)) => Domain::V6Only,
        (IpAddr::V6(_), _) => Domain::Dual,
    };
    domain.cover(hold.address).unwrap_or(domain.wildcard())
}

/// Those that keep others from the port: listeners and bound sockets, and connections whose listener is not there.
fn shown<'a>(holds: &[&'a Hold]) -> Vec<&'a Hold> {
    let mut shown: Vec<&Hold> = holds
        .iter()
        .copied()
        .filter(|hold| !is_connection(hold))
        .collect();
    shown.sort_by_key(|hold| hold.state);
    let listens = |hold: &Hold| {
        let same = |other: &&&Hold| other.listens() && other.protocol == hold.protocol;
        shown
            .iter()
            .filter(same)
            .any(|other| cover(other).meets(cover(hold)))
    };
    let mut alone: Vec<&Hold> = holds
        .iter()
        .copied()
        .filter(|hold| is_connection(hold) && !listens(hold))
        .collect();
    // Those of processes first, then what the kernel keeps, the longest first.
    alone.sort_by_key(|hold| (hold.state, std::cmp::Reverse(hold.until)));
    let waits = alone.iter().position(|hold| hold.state == State::TimeWait);
    let (of_programs, kept) = alone.split_at(waits.unwrap_or(alone.len()));
    shown.extend(of_programs.iter().take(CONNECTIONS_SHOWN));
    shown.extend(kept.first());
    shown
}

/// The addresses that a hold covers, and those that it doesn't, in words.
pub(super) fn covers(hold: &Hold) -> (String, Option<String>) {
    let text = |text: &str| text.to_owned();
    match cover(hold) {
        Cover::All => (text("every address, IPv4 and IPv6"), None),
        Cover::AllV4 => (
            text("every IPv4 address"),
            Some(text("any IPv6 address, such as ::1")),
        ),
        Cover::AllV6 => (
            text("every IPv6 address"),
            Some(text("any IPv4 address, such as 127.0.0.1")),
        ),
        Cover::V4(address) if address == std::net::Ipv4Addr::LOCALHOST => (
            text("127.0.0.1 only"),
            Some(text(
                "::1, which localhost means as well, nor the network's addresses",
            )),
        ),
        Cover::V6(address) if address == std::net::Ipv6Addr::LOCALHOST => (
            text("::1 only"),
            Some(text(
                "127.0.0.1, which localhost means as well, nor the network's addresses",
            )),
        ),
        Cover::V4(address) => (
            format!("{address} only"),
            Some(text("localhost, nor other addresses")),
        ),
        Cover::V6(address) => (
            format!("{address} only"),
            Some(text("localhost, nor other addresses")),
        ),
    }
}

/// `tcp/127.0.0.1:3000`.
pub(super) fn endpoint(hold: &Hold) -> String {
    let place = std::net::SocketAddr::new(hold.address, hold.port.get());
    format!("{}/{place}", protocol(hold.protocol))
}

fn protocol(protocol: Protocol) -> &'static str {
    protocol.name()
}
