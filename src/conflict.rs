//! A conflict in words: who has the port, and what to do. `wharf run` says it in the program's terminal.

use std::ffi::OsString;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use jiff::Timestamp;

use crate::event::{Actor, Event, Holder, Kind, Reason};
use crate::place::{Place, beside};
use crate::shell;
use crate::space::project;

/// A few lines about a conflict of what `wharf run` runs as this command, each with a newline; nothing about other events.
pub(crate) fn explain(event: &Event, command: &[OsString]) -> String {
    let mut text = String::new();
    for line in story(event, command) {
        writeln!(text, "wharf: {line}").expect("a string takes all");
    }
    text
}

/// What [`explain`] says, line by line.
pub(crate) fn story(event: &Event, command: &[OsString]) -> Vec<String> {
    match &event.kind {
        Kind::Conflict { reason } => told(event, reason, command),
        Kind::Bound | Kind::Listening | Kind::Released | Kind::Denied { .. } => Vec::new(),
    }
}

fn told(event: &Event, reason: &Reason, command: &[OsString]) -> Vec<String> {
    let place = SocketAddr::new(event.address, event.port.get());
    let wanted = format!("{} {place}", event.protocol);
    let port = event.port;
    let space = plain(&event.space);
    let mut lines = Vec::new();
    let mut say = |line: String| lines.push(line);
    match reason {
        Reason::Held(holders) => {
            say(format!("{wanted}: address already in use in space {space}"));
            for holder in holders {
                say(format!("  {}", holding(holder, event)));
            }
            if holders.is_empty() {
                say("  no program holds it: a connection that uses it, or closed a moment ago, keeps it for a while".into());
            }
            match holders.iter().find_map(|holder| holder.program.as_ref()) {
                Some(program) if is(program, event.program.as_ref()) => {
                    say("  that is the very program that asks: it wants the port twice".into());
                }
                Some(program) => {
                    say(format!(
                        "  end that one:           {}",
                        stop(event, program)
                    ));
                    say(format!(
                        "  take ports of your own: {}",
                        elsewhere(event, command)
                    ));
                }
                None => say(format!(
                    "  take ports of your own: {}",
                    elsewhere(event, command)
                )),
            }
        }
        Reason::Reserved(name) => say(format!(
            "{wanted}: address already in use: wharf.toml of space {space} keeps port {port} for {}",
            plain(name)
        )),
        Reason::Forbidden(why) => say(format!(
            "{wanted}: permission denied: wharf.toml of space {space} forbids port {port}{}",
            if why.is_empty() {
                String::new()
            } else {
                format!(" ({})", plain(why))
            }
        )),
    }
    lines
}

/// What ends the program that stands in the way, and nothing else, if it is typed where this run was.
fn stop(event: &Event, holder: &Actor) -> String {
    let here = std::env::current_dir().map(|directory| project::root(&directory));
    let there = holder.directory.as_ref().map(Path::new).map(project::root);
    let force = match here.ok() == there {
        true => "",
        false => "--force ",
    };
    let place = Place::of_event(event).typed();
    format!("wharf stop {force}{place}")
}

/// What runs the same command beside this space.
fn elsewhere(event: &Event, command: &[OsString]) -> String {
    let words = command.iter().map(|word| plain(&word.to_string_lossy()));
    let words: Vec<_> = words.collect();
    let command = shell::line(words.iter().map(String::as_str));
    let space = beside(&event.space);
    format!("wharf run -s {space} -- {command}")
}

fn is(holder: &Actor, asking: Option<&Actor>) -> bool {
    asking.is_some_and(|asking| asking.pid == holder.pid)
}

/// `node (pid 4242) in /home/ada/shop has listened on 127.0.0.1:3000 for 2 hours`
fn holding(holder: &Holder, event: &Event) -> String {
    let who = match &holder.program {
        None => "a program that can't be seen".to_owned(),
        Some(program) => {
            let directory = program.directory.as_deref();
            let directory =
                directory.map_or_else(String::new, |path| format!(" in {}", plain(path)));
            format!(
                "{} (pid {}){directory}",
                plain(&program.program),
                program.pid
            )
        }
    };
    let verb = match holder.listens {
        Some(true) => "listening on",
        Some(false) => "bound, without listening, to",
        None => "bound to",
    };
    let place = SocketAddr::new(holder.address, event.port.get());
    let age = holder.since.map_or_else(String::new, |since| {
        format!(" for {}", age(since, event.at))
    });
    format!("{who}, {verb} {place}{age}")
}

/// A length of time in the largest unit that fits.
fn age(since: Timestamp, until: Timestamp) -> String {
    let seconds = until.duration_since(since).as_secs().max(0);
    let units = [
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let fitting = units.into_iter().find(|(length, _)| seconds >= *length);
    match fitting.map(|(length, unit)| (seconds / length, unit)) {
        None => "less than a second".into(),
        Some((1, unit)) => format!("1 {unit}"),
        Some((count, unit)) => format!("{count} {unit}s"),
    }
}

/// A name that can't drive the terminal.
fn plain(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect()
}
