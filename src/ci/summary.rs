//! What is to be known of a program that ran in a throw-away space.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use serde::Serialize;

use crate::columns::visible;
use crate::conflict;
use crate::event::{Actor, Event, Kind};
use crate::list::render::SCHEMA;
use crate::list::running::Running;
use crate::list::{Protocol, protocol_by_name};
use crate::protocol::Traffic;
use crate::ps::table::bytes;
use crate::run::Outcome;

/// The JSON form is part of what wharf promises: `docs/json.md`, schema 1.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    schema: u32,
    space: String,
    /// The program's exit status.
    pub(super) status: u8,
    /// Where programs took connections or datagrams, in the order in which they began to; each place and program once.
    pub(super) listened: Vec<Listened>,
    /// Conflicts about ports, as events.
    pub(super) conflicts: Vec<Event>,
    /// What ran still when the program had ended, and was ended.
    pub(super) left: Vec<Running>,
    traffic: Traffic,
}

/// A place where a program listened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Listened {
    #[serde(with = "protocol_by_name")]
    protocol: Protocol,
    address: IpAddr,
    port: NonZeroU16,
    program: Option<Actor>,
}

impl Summary {
    pub(super) fn of(space: String, outcome: &Outcome, past: &[Event], left: Vec<Running>) -> Self {
        let mut listened = Vec::new();
        for event in past {
            let one = Listened {
                protocol: event.protocol,
                address: event.address,
                port: event.port,
                program: event.program.clone(),
            };
            if listens(event) && !listened.contains(&one) {
                listened.push(one);
            }
        }
        let conflicts = past
            .iter()
            .filter(|event| matches!(event.kind, Kind::Conflict { .. }));
        Self {
            schema: SCHEMA,
            space,
            status: outcome.status,
            listened,
            conflicts: conflicts.cloned().collect(),
            left,
            traffic: outcome.traffic,
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = format!("wharf: {} ended with {}\n", self.space, self.status);
        for one in &self.listened {
            line(&mut text, "listened", &one.said());
        }
        for event in &self.conflicts {
            line(&mut text, "conflict", &in_short(event));
        }
        for running in &self.left {
            line(
                &mut text,
                "left behind",
                &format!("{}, ended", called(running)),
            );
        }
        let Traffic { sent, received } = self.traffic;
        let traffic = format!("{} sent, {} received", bytes(sent), bytes(received));
        line(&mut text, "traffic", &traffic);
        text
    }
}

impl Listened {
    pub(super) fn said(&self) -> String {
        let place = SocketAddr::new(self.address, self.port.get());
        let program = self.program.as_ref();
        let program = program.map_or_else(String::new, |actor| {
            format!("  {} (pid {})", actor.program, actor.pid)
        });
        format!("{}/{place}{program}", self.protocol.name())
    }
}

/// Of UDP there is no listening, so what has a port counts.
fn listens(event: &Event) -> bool {
    match event.kind {
        Kind::Listening => true,
        Kind::Bound => event.protocol == Protocol::Udp,
        _ => false,
    }
}

fn line(text: &mut String, head: &str, rest: &str) {
    let rest = visible(rest);
    writeln!(text, "wharf:   {head:<12}{rest}").expect("writing to a string can't fail");
}

/// A conflict in one line.
pub(super) fn in_short(event: &Event) -> String {
    let explained = conflict::explain(event, &[]);
    let lines = explained.lines().map(|line| {
        let line = line.strip_prefix("wharf:").unwrap_or(line);
        line.trim()
    });
    lines.take(2).collect::<Vec<_>>().join("; ")
}

/// What was left behind, by its command line.
pub(super) fn called(running: &Running) -> String {
    let process = &running.process;
    let words = match process.command.is_empty() {
        true => process.program.clone(),
        false => process.command.join(" "),
    };
    format!("{words} (pid {})", process.pid)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::event::testing::event;

    #[test]
    fn what_happened_is_summed_up() {
        let at = Timestamp::UNIX_EPOCH;
        let again = event(at, "ci-1", 3000);
        let mut udp = event(at, "ci-1", 53);
        (udp.kind, udp.protocol) = (Kind::Bound, Protocol::Udp);
        let mut bound = event(at, "ci-1", 4000);
        bound.kind = Kind::Bound;
        let past = [again.clone(), bound, again, udp];
        let outcome = Outcome {
            status: 3,
            traffic: Traffic {
                sent: 5000,
                received: 12,
            },
        };
        let summary = Summary::of("ci-1".into(), &outcome, &past, Vec::new());
        assert_eq!(
            summary.text(),
            "wharf: ci-1 ended with 3\n\
             wharf:   listened    tcp/127.0.0.1:3000  node (pid 42)\n\
             wharf:   listened    udp/127.0.0.1:53  node (pid 42)\n\
             wharf:   traffic     5K sent, 12B received\n"
        );
    }
}
