//! The table of programs: those that run, then those that have ended.

use jiff::Timestamp;

use super::Program;
use crate::columns::{self, Column, GAP, NAME, PLAIN, UNKNOWN, visible};
use crate::list::Protocol;
use crate::list::render::{Look, moment};
use crate::list::running::{Listens, Running};
use crate::runs::Account;

const COLUMNS: [Column; 9] = [
    Column::left("SPACE", NAME),
    Column::right("PID", PLAIN),
    Column::left("STATE", PLAIN),
    Column::left("SINCE", PLAIN),
    Column::right("CPU", PLAIN),
    Column::right("MEMORY", PLAIN),
    Column::left("PORTS", PLAIN),
    Column::left("WHERE", PLAIN),
    Column::left("COMMAND", PLAIN),
];
/// The command has at least this width on a terminal.
const COMMAND_MIN: usize = 12;

/// Each line ended; empty if there is nothing.
pub(super) fn table(programs: &[Program], ended: &[Account], look: &Look) -> String {
    if programs.is_empty() && ended.is_empty() {
        return String::new();
    }
    let now = look.now.timestamp();
    let mut rows: Vec<Vec<String>> = programs
        .iter()
        .map(|program| of_running(program, now, look))
        .collect();
    rows.extend(ended.iter().map(|account| of_ended(account, look)));
    if let Some(width) = look.width {
        let before: usize = columns::widths(&COLUMNS, &rows)[..8]
            .iter()
            .map(|width| width + GAP.len())
            .sum();
        let room = width.saturating_sub(before).max(COMMAND_MIN);
        rows.iter_mut().for_each(|row| cut(&mut row[8], room));
    }
    columns::lay_out(&COLUMNS, &rows, look.colour)
}

fn of_running(program: &Program, now: Timestamp, look: &Look) -> Vec<String> {
    let Running {
        space,
        process,
        state,
        cpu_ms,
        memory_bytes,
        listens,
        run,
        ..
    } = &program.running;
    let age = now.duration_since(process.started).as_millis().max(1);
    let share = i128::from(*cpu_ms) * 100 / age;
    let place = match (program.background, run) {
        (true, _) => "background",
        (false, Some(_)) => "terminal",
        (false, None) => UNKNOWN,
    };
    vec![
        space.clone(),
        process.pid.to_string(),
        state.name().to_owned(),
        moment(process.started, &look.now),
        format!("{share}%"),
        bytes(*memory_bytes),
        ports(listens),
        place.to_owned(),
        words(&process.command, &process.program),
    ]
}

fn of_ended(account: &Account, look: &Look) -> Vec<String> {
    let place = match account.is_background() {
        true => "background",
        false => "terminal",
    };
    let (state, at) = match account.ended {
        Some(ended) => (format!("ended {}", ended.status), ended.at),
        None => ("cut off".to_owned(), account.started),
    };
    let unknown = || UNKNOWN.to_owned();
    vec![
        account.space.clone(),
        account.pid.to_string(),
        state,
        moment(at, &look.now),
        unknown(),
        unknown(),
        unknown(),
        place.to_owned(),
        words(&account.command, UNKNOWN),
    ]
}

/// The command line, or what stands for it where the process has wiped it.
fn words(command: &[String], program: &str) -> String {
    match command.is_empty() {
        true => visible(program),
        false => visible(&command.join(" ")),
    }
}

/// Each port once.
fn ports(listens: &[Listens]) -> String {
    let mut ports: Vec<_> = listens
        .iter()
        .map(|one| (one.protocol == Protocol::Udp, one.port))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.is_empty() {
        return UNKNOWN.to_owned();
    }
    let written = ports.iter().map(|(udp, port)| match udp {
        true => format!("udp/{port}"),
        false => port.to_string(),
    });
    written.collect::<Vec<_>>().join(" ")
}

/// A number of bytes with three digits at most.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "K", "M", "G", "T"];
    let mut unit = 0;
    let mut rest = count;
    while rest >= 1000 && unit + 1 < UNITS.len() {
        rest = rest.div_ceil(1024);
        unit += 1;
    }
    format!("{rest}{}", UNITS[unit])
}

fn cut(text: &mut String, width: usize) {
    if text.chars().count() > width {
        *text = text.chars().take(width.saturating_sub(1)).collect();
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_are_rounded_up_to_three_digits() {
        for (count, written) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1K"),
            (5 << 20, "5M"),
            ((5 << 20) + 1, "6M"),
            (u64::MAX, "16777216T"),
        ] {
            assert_eq!(bytes(count), written, "{count}");
        }
    }
}
