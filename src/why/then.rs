//! `wharf why PORT --at TIME`: whose a port of the spaces was then, as far as the history knows.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::Serialize;

use super::found;
use crate::event::{Event, Kind};
use crate::events;
use crate::failure::Failure;
use crate::history::{self, Wanted, when};
use crate::list::render::{SCHEMA, moment};
use crate::place::spelling::{Host, Spelled};

/// So many events before and after the moment are told.
const AROUND: usize = 5;

/// What is known about that moment.
#[derive(Debug, Serialize)]
pub(super) struct Past {
    schema: u32,
    query: String,
    at: Timestamp,
    /// The last event of each socket that had the port then.
    held: Vec<Event>,
    /// What happened to the port just before and after.
    events: Vec<Event>,
}

impl Past {
    /// Looks up what happened to the port.
    ///
    /// # Errors
    /// With exit status 2 if `at` is no time, and when the history can't be read.
    pub(super) fn look_up(asked: &Spelled, at: &str) -> Result<Self> {
        let at = when::parse(at, &Zoned::now()).map_err(Failure::usage)?;
        let asked = found::meant(asked, &[])?;
        let space = match &asked.host {
            Host::Space(name) | Host::ByName(name) => Some(name.as_str()),
            _ => None,
        };
        let mut events = history::read(&Wanted {
            space,
            port: asked.port.map(std::num::NonZeroU16::get),
            since: None,
            last: None,
        })?;
        events.retain(|event| asked.protocol.is_none_or(|only| only == event.protocol));
        Ok(Self::of(asked.typed, at, events))
    }

    fn of(query: String, at: Timestamp, events: Vec<Event>) -> Self {
        let then = events.partition_point(|event| event.at <= at);
        let mut sockets: BTreeMap<_, &Event> = BTreeMap::new();
        for event in &events[..then] {
            let socket = (&event.space, event.socket);
            match event.kind {
                Kind::Bound | Kind::Listening => {
                    sockets.insert(socket, event);
                }
                Kind::Released => {
                    sockets.remove(&socket);
                }
                Kind::Conflict { .. } | Kind::Denied { .. } => {}
            }
        }
        let held = sockets.into_values().cloned().collect();
        let (first, last) = (
            then.saturating_sub(AROUND),
            (then + AROUND).min(events.len()),
        );
        Self {
            schema: SCHEMA,
            query,
            at,
            held,
            events: events[first..last].to_vec(),
        }
    }

    /// Whether somebody had the port.
    pub(super) fn is_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// As programs read it.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("events always have a JSON form")
    }

    /// As people read it.
    pub(super) fn text(&self) -> String {
        let now = Timestamp::now().to_zoned(TimeZone::system());
        let mut text = match self.held.len() {
            0 => format!(
                "{} was free in all spaces at {}, as far as is known\n",
                self.query,
                moment(self.at, &now)
            ),
            _ => format!("{} was held at {} by\n", self.query, moment(self.at, &now)),
        };
        let mut say = |line: &str| writeln!(text, "{line}").expect("a string takes all");
        for event in &self.held {
            say(&format!("  {}", events::text(event, &now)));
        }
        if !self.events.is_empty() {
            say("around that time:");
        }
        for event in &self.events {
            say(&format!("  {}", events::text(event, &now)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::testing::event;

    #[test]
    fn a_socket_has_its_port_from_bound_to_released() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let told = |second, socket, kind| Event {
            socket,
            kind,
            ..event(at(second), "shop", 3000)
        };
        let events = vec![
            told(1, 7, Kind::Bound),
            told(2, 7, Kind::Listening),
            told(3, 8, Kind::Bound),
            told(5, 7, Kind::Released),
            told(9, 8, Kind::Released),
        ];
        let held = |second| {
            let past = Past::of("3000".into(), at(second), events.clone());
            past.held
                .iter()
                .map(|event| event.socket)
                .collect::<Vec<_>>()
        };
        assert_eq!(held(0), [0; 0]);
        assert_eq!(held(1), [7]);
        assert_eq!(held(4), [7, 8]);
        assert_eq!(held(5), [8]);
        assert_eq!(held(9), [0; 0]);
        let past = Past::of("3000".into(), at(2), events.clone());
        assert_eq!(past.held[0].kind, Kind::Listening);
    }
}
