//! The answer: places, a verdict over them, one sentence, and the ways out.

use serde::Serialize;

use super::place::{Place, Where};
use super::{Found, ways};
use crate::list::Hold;
use crate::list::label::label;
use crate::place::spelling::{Host, Spelled};

/// An answer: the JSON form is what `docs/json.md` describes.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) schema: u32,
    /// As it was typed.
    pub(super) query: String,
    /// `None` for port 0.
    pub(super) port: Option<u16>,
    pub(super) verdict: Verdict,
    /// The verdict in a sentence.
    pub(super) summary: String,
    /// The space that the question was asked in; `None` is the machine.
    pub(super) here: Option<String>,
    /// Here first, then the machine, then wherever else the port is held.
    pub(super) places: Vec<Place>,
    pub(super) ways: Vec<Way>,
}

/// Whether a port is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// Nobody has it.
    Free,
    /// Somebody has it who may not be seen.
    Unseen,
    /// Somebody has it.
    Held,
}

/// Something that can be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Way {
    /// What it does.
    pub(super) text: String,
    /// What to type, unless it is only to be waited or understood.
    pub(super) command: Option<String>,
}

impl Answer {
    const SCHEMA: u32 = 1;

    /// Port 0 is no port.
    pub(super) fn of_port_0(asked: &Spelled) -> Self {
        Self {
            schema: Self::SCHEMA,
            query: asked.typed.clone(),
            port: None,
            verdict: Verdict::Free,
            summary: "Port 0 is no port, so nobody can hold it. A program that binds port 0 asks the kernel to choose a \
                      free one, and gets that one's number; wharf ls shows it."
                .to_owned(),
            here: None,
            places: Vec::new(),
            ways: Vec::new(),
        }
    }

    /// The JSON form, on one line, without a line end.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect(
            "an answer holds only strings, numbers and sequences, which always have a JSON form",
        )
    }
}

/// Puts the answer together.
pub(super) fn answer(asked: &Spelled, found: &Found) -> Answer {
    let places = places(asked, found);
    // What is held in somebody else's place is in nobody's way here.
    let verdict = places
        .iter()
        .filter(|place| place.here || place.place == Where::Machine)
        .map(|place| place.verdict)
        .max()
        .unwrap_or(Verdict::Free);
    Answer {
        schema: Answer::SCHEMA,
        query: asked.typed.clone(),
        port: asked.port.map(|port| port.get()),
        verdict,
        summary: summary(asked, &places),
        here: found.here.clone(),
        ways: ways::ways(asked, found, &places),
        places,
    }
}

fn places(asked: &Spelled, found: &Found) -> Vec<Place> {
    let of_space = |name: &str| -> Vec<&Hold> {
        let in_space = |hold: &&Hold| hold.space.as_deref() == Some(name);
        found.holds.iter().filter(in_space).collect()
    };
    let machine: Vec<&Hold> = found
        .holds
        .iter()
        .filter(|hold| hold.space.is_none())
        .collect();
    let mut places = Vec::new();
    if let Some(here) = &found.here {
        places.push(Place::space(here, true, &of_space(here), asked, found));
    }
    let on_machine = !matches!(asked.host, Host::Space(_));
    if on_machine {
        places.push(Place::machine(found.here.is_none(), &machine, asked, found));
    }
    for space in &found.spaces {
        let holds = of_space(&space.name);
        if found.here.as_ref() != Some(&space.name) && !holds.is_empty() && on_machine {
            places.push(Place::space(&space.name, false, &holds, asked, found));
        }
    }
    let mut others: Vec<u64> = found
        .elsewhere
        .iter()
        .filter_map(|hold| hold.namespace)
        .collect();
    others.dedup();
    for number in others {
        let in_it = |hold: &&Hold| hold.namespace == Some(number);
        let holds: Vec<_> = found.elsewhere.iter().filter(in_it).collect();
        places.push(Place::namespace(number, &holds, asked, found));
    }
    places.retain(|place| place.here || place.place == Where::Machine || !place.holds.is_empty());
    places
}

/// Here and on the machine, in one sentence; other places have their own parts.
fn summary(asked: &Spelled, places: &[Place]) -> String {
    let what = match asked.port {
        Some(port) => match asked.host {
            Host::Address(_) | Host::Localhost => asked.typed.clone(),
            _ => port.to_string(),
        },
        None => "0".to_owned(),
    };
    let counted = places
        .iter()
        .filter(|place| place.here || place.place == Where::Machine);
    let said: Vec<String> = counted.map(said_of).collect();
    let elsewhere = places
        .iter()
        .filter(|place| !place.here && place.place != Where::Machine)
        .map(Place::name)
        .collect::<Vec<_>>();
    let besides = match elsewhere.is_empty() {
        true => String::new(),
        false => format!(
            " Also in use {}, which is in nobody's way here.",
            elsewhere.join(", ")
        ),
    };
    format!("{what} is {}.{besides}", said.join(", and "))
}

fn said_of(place: &Place) -> String {
    let whose = place.holds.first().map(|entry| holder(&entry.hold));
    match (place.verdict, whose) {
        (Verdict::Free, _) => format!("free {}", place.name()),
        (_, Some(whose)) => format!("held {} by {whose}", place.name()),
        (_, None) => format!("held {}", place.name()),
    }
}

/// Who has it, in a few words.
fn holder(hold: &Hold) -> String {
    match hold.programs.first() {
        Some(program) => format!("{} (pid {})", label(program), program.pid),
        None if hold.inode.is_none() => "the kernel, after a connection".to_owned(),
        None => format!(
            "a program of {}",
            hold.user
                .clone()
                .unwrap_or_else(|| format!("user {}", hold.uid))
        ),
    }
}
