//! A list as people and programs read it: an aligned table, and JSON.
//!
//! The table is for eyes: a terminal gets colours, `~` for the home directory,
//! and directories cut to the terminal's width. Written to a file or a pipe
//! the same table is whole and plain. Programs want the JSON form, which is
//! described in `docs/json.md`.

use std::io::{self, IsTerminal as _};

use anstyle::AnsiColor;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use super::{Hold, label};
use crate::columns::{self, Colour, Column, GAP, NAME, PLAIN, UNKNOWN, terminal_width, visible};

/// The number of the JSON form that this program writes. It grows when a field changes its
/// meaning or goes; a new field doesn't change it.
pub(crate) const SCHEMA: u32 = 1;

/// How a table is to look.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// The terminal's width in columns; `None` cuts nothing off.
    pub(crate) width: Option<usize>,
    /// Whether to colour.
    pub(crate) colour: Colour,
    /// The directory to write as `~`.
    pub(crate) home: Option<String>,
    /// Now, in the time zone that times are shown in.
    pub(crate) now: Zoned,
}

impl Look {
    /// The look that suits standard output and the environment (`NO_COLOR`, `CLICOLOR_FORCE`,
    /// `TERM`, `HOME`, `TZ`).
    pub(crate) fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let home = std::env::var("HOME")
            .ok()
            .filter(|home| terminal && home.len() > 1);
        Self {
            width: terminal_width(),
            colour: Colour::of_stdout(),
            home,
            now: Timestamp::now().to_zoned(TimeZone::system()),
        }
    }
}

/// The JSON form of a list, on one line, without a line end; what does not listen is among `flows`, if these are wanted or
/// there are any.
pub(crate) fn json(holds: &[Hold], flows_wanted: bool) -> String {
    #[derive(Serialize)]
    struct List<'a> {
        schema: u32,
        listeners: Vec<&'a Hold>,
        #[serde(skip_serializing_if = "Option::is_none")]
        flows: Option<Vec<&'a Hold>>,
    }
    let (listeners, flows): (Vec<_>, Vec<_>) = holds.iter().partition(|hold| hold.listens());
    serde_json::to_string(&List {
        schema: SCHEMA,
        listeners,
        flows: (flows_wanted || !flows.is_empty()).then_some(flows),
    })
    .expect("a list holds only strings, numbers and sequences, which always have a JSON form")
}

/// The table of a list, each line ended; empty for an empty list.
pub(crate) fn table(listeners: &[Hold], look: &Look) -> String {
    if listeners.is_empty() {
        return String::new();
    }
    let mut rows: Vec<Vec<String>> = listeners
        .iter()
        .map(|listener| row(listener, look))
        .collect();
    if let Some(width) = look.width {
        fit(&mut rows, width);
    }
    columns::lay_out(&COLUMNS, &rows, look.colour)
}

const COLUMNS: [Column; 8] = [
    Column::left("SPACE", NAME),
    Column::left("PROTO", PLAIN),
    Column::left("ADDRESS", PLAIN),
    Column::right("PORT", PLAIN.bold()),
    Column::left("PROGRAM", AnsiColor::Green.on_default()),
    Column::right("PID", PLAIN),
    Column::left("DIRECTORY", PLAIN),
    Column::left("SINCE", PLAIN.dimmed()),
];

/// The place of DIRECTORY, the only column that is cut to fit.
const DIRECTORY: usize = 6;

/// A directory is never cut to fewer columns than this: better a wrapped line than no name.
const DIRECTORY_COLUMNS: usize = 16;

/// The cells of one listener.
fn row(listener: &Hold, look: &Look) -> Vec<String> {
    let oldest = listener.programs.first();
    let pid = match (oldest, listener.programs.len()) {
        (None, _) => UNKNOWN.to_owned(),
        (Some(process), 1) => process.pid.to_string(),
        (Some(process), count) => format!("{} +{}", process.pid, count - 1),
    };
    let directory = oldest.and_then(|process| process.directory.as_deref());
    let cells = [
        listener.space.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
        listener.protocol.to_string(),
        listener.address.to_string(),
        listener.port.to_string(),
        oldest.map_or_else(|| UNKNOWN.to_owned(), label::label),
        pid,
        directory.map_or_else(|| UNKNOWN.to_owned(), |path| with_tilde(path, look)),
        listener
            .since
            .map_or_else(|| UNKNOWN.to_owned(), |since| moment(since, &look.now)),
    ];
    cells.iter().map(|cell| visible(cell)).collect()
}

/// Writes the home directory as `~`.
fn with_tilde(path: &str, look: &Look) -> String {
    let home = look.home.as_deref().map(|home| home.trim_end_matches('/'));
    match home.and_then(|home| path.strip_prefix(home)) {
        Some("") => "~".to_owned(),
        Some(rest) if rest.starts_with('/') => format!("~{rest}"),
        _ => path.to_owned(),
    }
}

/// A time in the reader's own zone: the time alone if it was today, else with its date.
fn moment(time: Timestamp, now: &Zoned) -> String {
    let time = time.to_zoned(now.time_zone().clone());
    let format = if time.date() == now.date() {
        "%H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M"
    };
    time.strftime(format).to_string()
}

/// Cuts directories so that the table is no wider than `width` columns.
fn fit(rows: &mut [Vec<String>], width: usize) {
    let widths = columns::widths(&COLUMNS, rows);
    let all: usize = widths.iter().sum::<usize>() + GAP.len() * (COLUMNS.len() - 1);
    let directory = widths[DIRECTORY];
    let room = directory
        .saturating_sub(all.saturating_sub(width))
        .max(DIRECTORY_COLUMNS);
    for row in rows {
        row[DIRECTORY] = tail(&row[DIRECTORY], room);
    }
}

/// The end of a path, which says more than its beginning, in at most `room` columns.
fn tail(path: &str, room: usize) -> String {
    if path.width() <= room {
        return path.to_owned();
    }
    let mut beginning = path.char_indices().map(|(index, _)| &path[index..]);
    let end = beginning.find(|end| end.width() < room).unwrap_or_default();
    // A cut between two names reads better, unless it would lose more than a name.
    let end = match end.find('/') {
        Some(slash) if end[slash..].width() >= room * 2 / 3 => &end[slash..],
        _ => end,
    };
    format!("…{end}")
}

#[cfg(test)]
mod tests {
    use super::super::testing::sample;
    use super::super::{Protocol, SinceFrom};
    use super::*;

    /// A pipe's look, on the day of the samples.
    fn plain() -> Look {
        let now: Timestamp = "2026-03-01T18:00:00Z".parse().unwrap();
        Look {
            width: None,
            colour: Colour::Plain,
            home: None,
            now: now.to_zoned(TimeZone::UTC),
        }
    }

    /// Three listeners: an ordinary one, one with three holders, one that nobody seems to hold.
    fn three() -> Vec<Hold> {
        let mut many = sample(Some("shop-b"), Protocol::Tcp, "::", 80);
        many.programs = (0..3).map(|_| many.programs[0].clone()).collect();
        many.programs[0].program = "nginx".to_owned();
        many.since = Some("2026-02-27T09:05:00Z".parse().unwrap());
        let mut unseen = sample(None, Protocol::Udp, "10.77.0.1", 53);
        unseen.programs.clear();
        unseen.since = None;
        unseen.since_from = SinceFrom::Unknown;
        vec![
            sample(Some("shop"), Protocol::Tcp, "127.0.0.1", 8000),
            many,
            unseen,
        ]
    }

    #[test]
    fn the_table_is_aligned_and_whole() {
        let expected = "\
SPACE   PROTO  ADDRESS    PORT  PROGRAM                     PID  DIRECTORY       SINCE
shop    tcp    127.0.0.1  8000  python3 -m http.server     4242  /home/ada/shop  10:00:00
shop-b  tcp    ::           80  nginx                   4242 +2  /home/ada/shop  2026-02-27 09:05
-       udp    10.77.0.1    53  -                             -  -               -
";
        assert_eq!(table(&three(), &plain()), expected);
    }

    #[test]
    fn no_listeners_make_no_table() {
        assert_eq!(table(&[], &plain()), "");
    }

    #[test]
    fn a_narrow_terminal_cuts_the_directory_and_nothing_else() {
        let mut listeners = three();
        let directory = "/home/ada/src/customers/acme/web/packages/frontend";
        listeners[0].programs[0].directory = Some(directory.to_owned());
        let look = Look {
            width: Some(104),
            home: Some("/home/ada".to_owned()),
            ..plain()
        };
        let text = table(&listeners, &look);
        let widest = text.lines().map(|line| line.width()).max();
        assert!(widest <= Some(104), "{widest:?}\n{text}");
        assert!(text.contains("  …/packages/frontend  "), "{text}");
        assert!(text.contains("python3 -m http.server"), "{text}");
        let very_narrow = table(
            &listeners,
            &Look {
                width: Some(10),
                ..look
            },
        );
        assert!(very_narrow.contains("…ckages/frontend"), "{very_narrow}");
    }

    #[test]
    fn home_is_a_tilde_only_where_it_is_a_directory_above() {
        let look = Look {
            home: Some("/home/ada/".to_owned()),
            ..plain()
        };
        let cases = [
            ("/home/ada", "~"),
            ("/home/ada/x", "~/x"),
            ("/home/adam", "/home/adam"),
            ("/srv/home/ada", "/srv/home/ada"),
        ];
        for (path, expected) in cases {
            assert_eq!(with_tilde(path, &look), expected);
        }
        assert_eq!(with_tilde("/home/ada/x", &plain()), "/home/ada/x");
    }

    #[test]
    fn the_tail_of_a_path_fits_and_prefers_whole_names() {
        assert_eq!(tail("/a/b", 4), "/a/b");
        assert_eq!(tail("/home/ada/shop/web", 10), "…/shop/web");
        assert_eq!(tail("/home/ada/shop/web", 12), "…/shop/web");
        assert_eq!(tail("/home/averyveryverylongname", 10), "…ylongname");
        // Each of these characters takes two columns.
        assert_eq!(tail("/home/港港港港", 6), "…港港");
    }

    #[test]
    fn times_are_local_and_dated_unless_today() {
        let now = plain().now;
        let zone = TimeZone::fixed(jiff::tz::offset(9));
        let time: Timestamp = "2026-03-01T16:30:00Z".parse().unwrap();
        assert_eq!(moment(time, &now), "16:30:00");
        assert_eq!(moment(time, &now.with_time_zone(zone)), "01:30:00");
        let yesterday: Timestamp = "2026-02-28T16:30:00Z".parse().unwrap();
        assert_eq!(moment(yesterday, &now), "2026-02-28 16:30");
    }

    #[test]
    fn a_program_s_name_can_t_drive_the_terminal() {
        let mut listener = sample(Some("shop"), Protocol::Tcp, "127.0.0.1", 1);
        listener.programs[0].program = "a\u{1b}[2J\nb".to_owned();
        listener.programs[0].directory = Some("/x\ty\u{9b}".to_owned());
        let text = table(&[listener], &plain());
        assert!(text.contains(r"a\u{1b}[2J\nb"), "{text}");
        assert!(text.contains(r"/x\ty\u{9b}"), "{text}");
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn colours_change_no_text() {
        let coloured = table(
            &three(),
            &Look {
                colour: Colour::Ansi,
                ..plain()
            },
        );
        assert!(coloured.contains("\u{1b}[36mshop\u{1b}[0m"), "{coloured}");
        let stripped = anstream::adapter::strip_str(&coloured).to_string();
        assert_eq!(stripped, table(&three(), &plain()));
    }

    #[test]
    fn the_json_form_is_the_documented_one_and_is_read_back() {
        let listener = sample(Some("shop"), Protocol::Tcp, "127.0.0.1", 8000);
        let text = json(std::slice::from_ref(&listener));
        let documented = include_str!("../../docs/json.md");
        let example = documented
            .split("```json\n")
            .nth(1)
            .unwrap()
            .split("```")
            .next()
            .unwrap();
        let example: serde_json::Value = serde_json::from_str(example).unwrap();
        let mut written: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(written, example);
        let read: Vec<Hold> = serde_json::from_value(written["listeners"].take()).unwrap();
        assert_eq!(read, [listener]);
    }
}
