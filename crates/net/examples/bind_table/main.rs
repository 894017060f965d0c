//! Replays recorded sequences of socket calls against a host of this crate, and says where it answers differently.
//!
//! ```text
//! cargo run --release -p wharf-net --example bind_table -- FILE [--class CLASS]
//! ```
//!
//! `FILE` has the format of `crates/port/tests/data/bind-table.json`, which explains itself in its `meta.note`. Each case has
//! a host of its own, with whole sockets on loopback and a clock that only the replay moves. A case agrees if every
//! step of it is answered as recorded; a case that can't be replayed (an operation, an option or a setting that is
//! unknown here) has failed. `--class rule` takes the cases of that class only, `--class quirk` those of `quirk:*`.
//!
//! Each failed case is listed with the first step that was answered differently. Then there is a line for each class, and
//! one for all, `N passed, N failed`, at the end. Exit status: 1 if a case of class `rule` failed, which none must; 2 if the
//! file can't be read or has no such cases; else 0.
//!
//! # Where the host differs from Linux, and why
//!
//! All cases of class `rule` agree. Of what else was recorded, these are not copied:
//!
//! - *UDP, several sockets with reuse flags connect to one peer, and the range is full*: Linux gives the next one a
//!   port that somebody has, since the flag excuses it. Here a chosen port is free; when none is, that is said.
//! - *UDP, a port for connect*: Linux takes a whole port, so that a range of four serves four sockets whatever their peers are. Here
//!   one port serves many peers, as under TCP.
//! - *`quirk:tcp-fastreuseport`*, *`quirk:udp-first-match`*: Linux compares a newcomer with what it remembers of the latest socket,
//!   or leaves off at the first match, so that the order decides. Here every pair counts.
//! - *`quirk:loopback4-ipv6`*: a dual-stack socket that was narrowed to an IPv6 address keeps `0.0.0.0` out. Here it covers
//!   that one address.

mod replay;

use std::collections::BTreeMap;
use std::process::ExitCode;

use replay::file::Recording;

const USAGE: &str = "usage: bind_table FILE [--class CLASS]";

/// How many cases agreed, and how many didn't.
#[derive(Clone, Copy, Default)]
struct Count {
    passed: usize,
    failed: usize,
}

/// Whether every case that must agree does.
#[derive(Clone, Copy)]
enum Rule {
    Holds,
    Broken,
}

fn main() -> ExitCode {
    match run() {
        Ok(Rule::Holds) => ExitCode::SUCCESS,
        Ok(Rule::Broken) => ExitCode::from(1),
        Err(message) => {
            eprintln!("bind_table: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<Rule, String> {
    let (path, class) = parse(std::env::args().skip(1))?;
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let recording = Recording::parse(&text).map_err(|error| format!("{path}: {error}"))?;
    let mut classes: BTreeMap<&str, Count> = BTreeMap::new();
    for case in &recording.cases {
        if class
            .as_deref()
            .is_some_and(|class| !is_of(&case.class, class))
        {
            continue;
        }
        let count = classes.entry(&case.class).or_default();
        match replay::replay(&recording.conditions, case) {
            Ok(()) => count.passed += 1,
            Err(difference) => {
                count.failed += 1;
                println!("{} ({}): {difference}", case.id, case.class);
            }
        }
    }
    if classes.is_empty() {
        let class = class.map_or(String::new(), |class| format!(" of class {class}"));
        return Err(format!("{path}: there are no cases{class}"));
    }
    Ok(close(&classes))
}

/// Prints the counts.
fn close(classes: &BTreeMap<&str, Count>) -> Rule {
    let (mut all, mut rule) = (Count::default(), Rule::Holds);
    for (class, Count { passed, failed }) in classes {
        println!("{class}: {passed} passed, {failed} failed");
        all.passed += passed;
        all.failed += failed;
        if *class == "rule" && *failed > 0 {
            rule = Rule::Broken;
        }
    }
    println!("{} passed, {} failed", all.passed, all.failed);
    rule
}

fn parse(words: impl Iterator<Item = String>) -> Result<(String, Option<String>), String> {
    let (mut path, mut class) = (None, None);
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--class" => class = Some(words.next().ok_or(USAGE)?),
            _ if word.starts_with("--class=") => class = Some(word["--class=".len()..].to_owned()),
            _ if path.is_none() && !word.starts_with('-') => path = Some(word),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok((path.ok_or(USAGE)?, class))
}

/// Whether a case's class is the one asked for, or one below it.
fn is_of(class: &str, asked: &str) -> bool {
    let below = class.strip_prefix(asked);
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}
