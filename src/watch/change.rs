//! What differs between two lists, as lines of JSON (`docs/json.md`).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::list::render::SCHEMA;
use crate::list::{Hold, Protocol};

/// How one row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Change {
    /// It was there at the beginning.
    Present,
    /// It is new.
    Appeared,
    /// Its programs, or what it does, are others now.
    Changed,
    /// It is no more.
    Gone,
}

/// What makes two rows the same socket's.
type Key<'a> = (
    Option<&'a str>,
    Option<u64>,
    Protocol,
    IpAddr,
    u16,
    Option<SocketAddr>,
    Option<u64>,
);

pub(super) fn key(hold: &Hold) -> Key<'_> {
    (
        hold.space.as_deref(),
        hold.namespace,
        hold.protocol,
        hold.address,
        hold.port.get(),
        hold.peer,
        hold.inode,
    )
}

/// A line for each row that differs from the list before; for each row at the beginning.
pub(super) fn lines(before: Option<&[Hold]>, now: &[Hold]) -> Vec<String> {
    let Some(before) = before else {
        return now.iter().map(|hold| line(Change::Present, hold)).collect();
    };
    let was: HashMap<_, _> = before.iter().map(|hold| (key(hold), hold)).collect();
    let is: HashMap<_, _> = now.iter().map(|hold| (key(hold), hold)).collect();
    let gone = before.iter().filter(|hold| !is.contains_key(&key(hold)));
    let mut lines: Vec<_> = gone.map(|hold| line(Change::Gone, hold)).collect();
    lines.extend(now.iter().filter_map(|hold| match was.get(&key(hold)) {
        None => Some(line(Change::Appeared, hold)),
        Some(same) if *same == hold => None,
        Some(_) => Some(line(Change::Changed, hold)),
    }));
    lines
}

fn line(change: Change, hold: &Hold) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        schema: u32,
        change: Change,
        listener: &'a Hold,
    }
    serde_json::to_string(&Line {
        schema: SCHEMA,
        change,
        listener: hold,
    })
    .expect("a row holds only strings, numbers and sequences, which always have a JSON form")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::testing::sample;

    fn said(before: Option<&[Hold]>, now: &[Hold]) -> Vec<(String, u64)> {
        let read = |line: &String| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let change = line["change"].as_str().unwrap().to_owned();
            (change, line["listener"]["port"].as_u64().unwrap())
        };
        lines(before, now).iter().map(read).collect()
    }

    fn at(port: u16) -> Hold {
        sample(Some("shop"), Protocol::Tcp, "127.0.0.1", port)
    }

    #[test]
    fn each_difference_is_one_line() {
        let told = |change: &str, port| (change.to_owned(), port);
        assert_eq!(
            said(None, &[at(1), at(2)]),
            [told("present", 1), told("present", 2)]
        );
        assert_eq!(said(Some(&[at(1), at(2)]), &[at(1), at(2)]), []);
        let other = Hold {
            waiting: 5,
            ..at(2)
        };
        assert_eq!(
            said(Some(&[at(1), at(2)]), &[other, at(3)]),
            [told("gone", 1), told("changed", 2), told("appeared", 3)]
        );
    }
}
