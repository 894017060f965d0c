//! An answer as people and programs read it: number first, common use second, IANA third.

use std::fmt::Write as _;

use crate::columns::{self, Colour, Column, NAME, PLAIN, UNKNOWN, visible};

use super::found::{Answer, Service, Use};

const PORT: Column = Column::right("PORT", PLAIN.bold());
const PROTOCOL: Column = Column::left("PROTO", PLAIN);
const USE: Column = Column::left("COMMON USE", NAME);
const IANA: Column = Column::left("IANA", PLAIN);
const LOCAL: Column = Column::left("/ETC/SERVICES", PLAIN);
const ABOUT: Column = Column::left("WHAT FOR", PLAIN.dimmed());

/// The JSON form, on one line, without a line end.
pub(crate) fn json(answer: &Answer) -> String {
    serde_json::to_string(answer).expect(
        "an answer holds only strings, numbers and sequences, which always have a JSON form",
    )
}

/// The table, and under it what is to be known about what is in it.
pub(crate) fn text(answer: &Answer, colour: Colour) -> String {
    let mut text = String::new();
    if !answer.services.is_empty() {
        text = table(&answer.services, colour);
    }
    for hint in hints(&answer.services) {
        writeln!(text, "\n{hint}").expect("writing to a string can't fail");
    }
    if let Some(note) = &answer.note {
        let gap = if text.is_empty() { "" } else { "\n" };
        writeln!(text, "{gap}{note}").expect("writing to a string can't fail");
    }
    text
}

/// What to say when nothing was found.
pub(crate) fn nothing(answer: &Answer) -> String {
    let typed = visible(answer.query.as_deref().unwrap_or_default());
    let mut text = match &answer.note {
        Some(note) => format!("wharf: no use of {typed} is known. {note}\n"),
        None => format!("wharf: no service is called {typed}.\n"),
    };
    if !answer.suggestions.is_empty() {
        let names = answer.suggestions.join(", ");
        writeln!(text, "Did you mean: {names}?").expect("writing to a string can't fail");
    }
    text
}

fn table(services: &[Service], colour: Colour) -> String {
    let mut columns = vec![PORT, PROTOCOL, USE, IANA];
    let local = services.iter().any(|service| !service.local.is_empty());
    if local {
        columns.push(LOCAL);
    }
    columns.push(ABOUT);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for service in services {
        for used in uses(service) {
            let mut row = vec![
                service.port.to_string(),
                service.protocol.to_owned(),
                used.map_or(UNKNOWN, |used| used.name).to_owned(),
                names(&service.iana),
            ];
            if local {
                row.push(names(&service.local));
            }
            row.push(used.map_or("", |used| used.about).to_owned());
            rows.push(row);
        }
    }
    columns::lay_out(&columns, &joined(rows), colour)
}

/// The uses of a port, or one row for none.
fn uses(service: &Service) -> Vec<Option<&Use>> {
    if service.common.is_empty() {
        return vec![None];
    }
    service.common.iter().map(Some).collect()
}

fn names<T: AsRef<str>>(names: &[T]) -> String {
    let names: Vec<_> = names.iter().map(|name| visible(name.as_ref())).collect();
    match names.is_empty() {
        true => UNKNOWN.to_owned(),
        false => names.join(" "),
    }
}

/// Rows of one port that differ in the protocol only become one.
fn joined(rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = Vec::new();
    for row in rows {
        let same = |other: &&mut Vec<String>| other[0] == row[0] && other[2..] == row[2..];
        match all.iter_mut().rev().take(8).find(same) {
            Some(other) => other[1] = format!("{},{}", other[1], row[1]),
            None => all.push(row),
        }
    }
    all
}

/// What to know where several programs want a port, once each, with the port.
fn hints(services: &[Service]) -> Vec<String> {
    let mut hints: Vec<String> = Vec::new();
    for service in services {
        for used in &service.common {
            let Some(hint) = used.hint else { continue };
            let hint = format!("{}, {}: {hint}", service.port, used.name);
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::super::local::Names;
    use super::super::query::Query;
    use super::*;

    fn answer(what: &str) -> Answer {
        let names = Names::parse("shop\u{1b}[2J 7777/tcp\n");
        Answer::to(&Query::parse(what).unwrap(), what, &names)
    }

    #[test]
    fn number_first_common_use_second_iana_third() {
        assert_eq!(
            text(&answer("5432"), Colour::Plain),
            "PORT  PROTO  COMMON USE  IANA                 WHAT FOR\n\
             5432  tcp    Postgres    postgresql postgres  database\n\
             5432  udp    -           postgresql\n\
             \n\
             5432 is a user port (1024 to 49151): registered on request, free for everybody.\n"
        );
    }

    #[test]
    fn protocols_of_one_use_share_a_line() {
        let text = text(&answer("53"), Colour::Plain);
        assert!(text.contains("  53  tcp,udp  DNS  "), "{text}");
    }

    #[test]
    fn a_local_name_can_t_drive_the_terminal() {
        let text = text(&answer("7777/tcp"), Colour::Plain);
        assert!(
            text.contains("/ETC/SERVICES") && text.contains(r"shop\u{1b}[2J"),
            "{text}"
        );
    }

    #[test]
    fn colours_change_no_text() {
        let coloured = text(&answer("3000"), Colour::Ansi);
        assert!(coloured.contains("\u{1b}["), "{coloured}");
        let stripped = anstream::adapter::strip_str(&coloured).to_string();
        assert_eq!(stripped, text(&answer("3000"), Colour::Plain));
    }

    #[test]
    fn a_miss_says_what_was_asked_and_what_may_have_been_meant() {
        let missed = nothing(&answer("postgre"));
        assert!(missed.starts_with("wharf: no service is called postgre.\nDid you mean: "));
        assert!(nothing(&answer("49999")).contains("49999 is a dynamic port"));
    }
}
