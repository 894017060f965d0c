//! A list as people and programs read it: an aligned table, and JSON.
//!
//! The table is for eyes: a terminal gets colours, `~` for the home directory,
//! and directories cut to the terminal's width. Written to a file or a pipe
//! the same table is whole and plain. Programs want the JSON form, which is
//! described in `docs/json.md`.

use std::borrow::Cow;
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
///
/// Whole for a file or a pipe. On a terminal, columns that say nothing are left out, then so many as don't fit.
pub(crate) fn table(holds: &[Hold], look: &Look) -> String {
    if holds.is_empty() {
        return String::new();
    }
    let (columns, rows) = grid(holds, look);
    columns::lay_out(&columns, &rows, look.colour)
}

/// The columns that are shown, and a row of cells for each hold.
pub(crate) fn grid<'a>(holds: &'a [Hold], look: &Look) -> (Vec<Column>, Vec<Vec<Cow<'a, str>>>) {
    let mut rows: Vec<Vec<Cow<'_, str>>> = holds.iter().map(|hold| row(hold, look)).collect();
    let mut shown: Vec<Cell> = Cell::ALL.to_vec();
    if holds.iter().all(Hold::listens) {
        shown.retain(|cell| ![Cell::State, Cell::Peer].contains(cell));
    }
    if let Some(width) = look.width {
        shown.retain(|cell| cell.says_something(holds, &rows));
        fit(&mut rows, &mut shown, width);
    }
    let columns: Vec<_> = shown.iter().map(|cell| cell.column()).collect();
    let rows: Vec<_> = rows
        .into_iter()
        .map(|mut row| {
            shown
                .iter()
                .map(|cell| std::mem::take(&mut row[*cell as usize]))
                .collect()
        })
        .collect();
    (columns, rows)
}

/// The columns, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Space,
    Proto,
    Address,
    Port,
    State,
    Peer,
    Use,
    Program,
    Pid,
    User,
    Directory,
    Branch,
    Since,
    Reach,
}

impl Cell {
    const ALL: [Self; 14] = [
        Self::Space,
        Self::Proto,
        Self::Address,
        Self::Port,
        Self::State,
        Self::Peer,
        Self::Use,
        Self::Program,
        Self::Pid,
        Self::User,
        Self::Directory,
        Self::Branch,
        Self::Since,
        Self::Reach,
    ];

    /// Those that a narrow terminal does without, the most dispensable first.
    const DISPENSABLE: [Self; 5] = [
        Self::Since,
        Self::User,
        Self::Use,
        Self::Reach,
        Self::Branch,
    ];

    const fn column(self) -> Column {
        match self {
            Self::Space => Column::left("SPACE", NAME),
            Self::Proto => Column::left("PROTO", PLAIN),
            Self::Address => Column::left("ADDRESS", PLAIN),
            Self::Port => Column::right("PORT", PLAIN.bold()),
            Self::State => Column::left("STATE", PLAIN),
            Self::Peer => Column::left("PEER", PLAIN),
            Self::Use => Column::left("USE", PLAIN.dimmed()),
            Self::Program => Column::left("PROGRAM", AnsiColor::Green.on_default()),
            Self::Pid => Column::right("PID", PLAIN),
            Self::User => Column::left("USER", PLAIN),
            Self::Directory => Column::left("DIRECTORY", PLAIN),
            Self::Branch => Column::left("BRANCH", NAME),
            Self::Since => Column::left("SINCE", PLAIN.dimmed()),
            Self::Reach => Column::left("REACH", PLAIN),
        }
    }

    /// Whether the column tells its reader anything: not that all is the machine's, or the reader's own.
    fn says_something(self, holds: &[Hold], rows: &[Vec<Cow<'_, str>>]) -> bool {
        let own = rustix::process::getuid().as_raw();
        match self {
            Self::Space => holds.iter().any(|hold| hold.space.is_some()),
            Self::User => holds.iter().any(|hold| hold.uid != own),
            Self::Use | Self::Branch | Self::Reach | Self::Peer => {
                rows.iter().any(|row| row[self as usize] != UNKNOWN)
            }
            _ => true,
        }
    }
}

/// What is cut to fit, and to how many columns at least: better a wrapped line than no name.
const CUT: [(Cell, usize); 2] = [(Cell::Directory, 16), (Cell::Program, 16)];

/// The cells of one hold.
fn row<'a>(hold: &'a Hold, look: &Look) -> Vec<Cow<'a, str>> {
    let known = |text: Option<&'a str>| Cow::Borrowed(text.unwrap_or(UNKNOWN));
    let made = |text: Option<String>| text.map_or(Cow::Borrowed(UNKNOWN), Cow::Owned);
    let oldest = hold.programs.first();
    let cells = Cell::ALL.map(|cell| match cell {
        Cell::Space => known(hold.space.as_deref()),
        Cell::Proto => known(Some(hold.protocol.name())),
        Cell::Address => made(Some(hold.address.to_string())),
        Cell::Port => made(Some(hold.port.to_string())),
        Cell::State => known(Some(hold.state.name())),
        Cell::Peer => made(hold.peer.map(|peer| peer.to_string())),
        Cell::Use => known(hold.usage.as_deref()),
        Cell::Program => made(oldest.map(label::label)),
        Cell::Pid => made(pid(hold)),
        Cell::User => match (&hold.user, hold.inode) {
            (Some(name), _) => known(Some(name)),
            (None, Some(_)) => made(Some(hold.uid.to_string())),
            (None, None) => known(None),
        },
        Cell::Directory => oldest
            .and_then(|process| process.directory.as_deref())
            .map_or(Cow::Borrowed(UNKNOWN), |path| with_tilde(path, look)),
        Cell::Branch => known(oldest.and_then(|process| process.branch.as_deref())),
        Cell::Since => made(hold.since.map(|since| moment(since, &look.now))),
        Cell::Reach => known(hold.reach.first().map(String::as_str)),
    });
    let shown = |cell: Cow<'a, str>| match cell.chars().any(char::is_control) {
        true => Cow::Owned(visible(&cell)),
        false => cell,
    };
    cells.into_iter().map(shown).collect()
}

/// The oldest holder, and how many more there are.
fn pid(hold: &Hold) -> Option<String> {
    match hold.programs.as_slice() {
        [] => None,
        [process] => Some(process.pid.to_string()),
        [oldest, rest @ ..] => Some(format!("{} +{}", oldest.pid, rest.len())),
    }
}

/// Writes the home directory as `~`.
pub(crate) fn with_tilde<'a>(path: &'a str, look: &Look) -> Cow<'a, str> {
    let home = look.home.as_deref().map(|home| home.trim_end_matches('/'));
    match home.and_then(|home| path.strip_prefix(home)) {
        Some("") => Cow::Borrowed("~"),
        Some(rest) if rest.starts_with('/') => Cow::Owned(format!("~{rest}")),
        _ => Cow::Borrowed(path),
    }
}

/// A time in the reader's own zone: the time alone if it was today, else with its date.
pub(crate) fn moment(time: Timestamp, now: &Zoned) -> String {
    let time = time.to_zoned(now.time_zone().clone());
    let format = if time.date() == now.date() {
        "%H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M"
    };
    time.strftime(format).to_string()
}

/// Makes the table no wider than `width` columns: cuts directories, leaves out what is dispensable, cuts names of
/// programs.
fn fit(rows: &mut [Vec<Cow<'_, str>>], shown: &mut Vec<Cell>, width: usize) {
    let columns = Cell::ALL.map(Cell::column);
    let widths = columns::widths(&columns, rows);
    let [(_, directory_least), (_, program_least)] = CUT;
    let too_much = |shown: &[Cell]| {
        let all: usize = shown.iter().map(|cell| widths[*cell as usize]).sum();
        (all + GAP.len() * shown.len().saturating_sub(1)).saturating_sub(width)
    };
    let spare = |cell: Cell, least: usize| widths[cell as usize].saturating_sub(least);
    for dispensable in Cell::DISPENSABLE {
        if too_much(shown) > spare(Cell::Directory, directory_least) {
            shown.retain(|cell| *cell != dispensable);
        }
    }
    let from_directory = too_much(shown).min(spare(Cell::Directory, directory_least));
    let from_program = (too_much(shown) - from_directory).min(spare(Cell::Program, program_least));
    for row in rows {
        for (cell, less) in [
            (Cell::Directory, from_directory),
            (Cell::Program, from_program),
        ] {
            let text = &mut row[cell as usize];
            let room = widths[cell as usize] - less;
            if text.width() > room {
                *text = Cow::Owned(match cell {
                    Cell::Directory => tail(text, room),
                    _ => beginning(text, room),
                });
            }
        }
    }
}

/// The beginning of a text, in at most `room` columns.
fn beginning(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut cuts = text.char_indices().map(|(index, _)| &text[..index]);
    let longest = cuts.rfind(|start| start.width() < room);
    format!("{}…", longest.unwrap_or_default())
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
    use super::super::{Protocol, SinceFrom, State};
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
        (unseen.uid, unseen.user) = (0, None);
        let mut ordinary = sample(Some("shop"), Protocol::Tcp, "127.0.0.1", 8000);
        ordinary.usage = Some("Web application".to_owned());
        ordinary.reach = vec!["http://8000.shop.localhost:7070".to_owned()];
        vec![ordinary, many, unseen]
    }

    #[test]
    fn the_table_is_aligned_and_whole() {
        let expected = "\
SPACE   PROTO  ADDRESS    PORT  USE              PROGRAM                     PID  USER  DIRECTORY       BRANCH  SINCE             REACH
shop    tcp    127.0.0.1  8000  Web application  python3 -m http.server     4242  ada   /home/ada/shop  main    10:00:00          http://8000.shop.localhost:7070
shop-b  tcp    ::           80  -                nginx                   4242 +2  ada   /home/ada/shop  main    2026-02-27 09:05  -
-       udp    10.77.0.1    53  -                -                             -  0     -               -       -                 -
";
        assert_eq!(table(&three(), &plain()), expected);
    }

    #[test]
    fn no_listeners_make_no_table() {
        assert_eq!(table(&[], &plain()), "");
    }

    #[test]
    fn what_does_not_listen_brings_columns_of_its_own() {
        let mut flow = sample(None, Protocol::Tcp, "10.0.0.1", 40_000);
        flow.state = State::TimeWait;
        flow.peer = Some("192.0.2.7:443".parse().unwrap());
        let text = table(&[flow], &plain());
        assert!(text.contains("  STATE      PEER           "), "{text}");
        assert!(text.contains("  time-wait  192.0.2.7:443  "), "{text}");
    }

    /// A terminal of this width.
    fn terminal(width: usize) -> Look {
        Look {
            width: Some(width),
            home: Some("/home/ada".to_owned()),
            ..plain()
        }
    }

    #[test]
    fn a_narrow_terminal_cuts_directories_then_leaves_out_columns_then_cuts_programs() {
        let mut listeners = three();
        let directory = "/home/ada/src/customers/acme/web/packages/frontend";
        listeners[0].programs[0].directory = Some(directory.to_owned());
        let heads = |width| {
            let text = table(&listeners, &terminal(width));
            let widest = text.lines().map(|line| line.width()).max();
            assert!(widest <= Some(width), "{widest:?}\n{text}");
            let heads = text.lines().next().unwrap_or_default();
            (heads.split_whitespace().count(), text)
        };
        let (wide, text) = heads(172);
        assert!(wide == 12 && text.contains("/packages/frontend"), "{text}");
        let (middle, text) = heads(120);
        assert!(
            middle < wide && text.contains("python3 -m http.server"),
            "{text}"
        );
        assert!(!text.contains("SINCE") && text.contains("BRANCH"), "{text}");
        let (narrow, text) = heads(80);
        assert_eq!(narrow, 7, "{text}");
        assert!(text.contains("python3 -m http.serv…"), "{text}");
        // Narrower than this, lines wrap.
        let least = table(&listeners, &terminal(10));
        assert!(least.contains("…ckages/frontend"), "{least}");
    }

    #[test]
    fn a_terminal_is_not_told_what_it_knows() {
        let mut own = sample(None, Protocol::Tcp, "127.0.0.1", 8000);
        own.uid = rustix::process::getuid().as_raw();
        own.programs[0].branch = None;
        let text = table(&[own.clone()], &terminal(300));
        for head in ["SPACE", "USER", "BRANCH", "REACH"] {
            assert!(!text.contains(head), "{text}");
        }
        assert!(table(&[own], &plain()).contains("USER"));
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
        let mut listener = sample(Some("shop"), Protocol::Tcp, "127.0.0.1", 8000);
        listener.usage = Some("Web application".to_owned());
        listener.reach = vec![
            "http://8000.shop.localhost:7070".to_owned(),
            "localhost:8000 in shop".to_owned(),
        ];
        let text = json(std::slice::from_ref(&listener), false);
        let documented = include_str!("../../docs/json.md");
        let section = documented.split("## `wharf ls --json`").nth(1).unwrap();
        let example = section.split("```json\n").nth(1).unwrap();
        let example = example.split("```").next().unwrap();
        let example: serde_json::Value = serde_json::from_str(example).unwrap();
        let mut written: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(written, example);
        let read: Vec<Hold> = serde_json::from_value(written["listeners"].take()).unwrap();
        assert_eq!(read, [listener]);
    }

    #[test]
    fn what_does_not_listen_is_among_the_flows() {
        let mut flow = sample(None, Protocol::Tcp, "10.0.0.1", 40_000);
        flow.state = State::Connected;
        let read = |holds: &[Hold], wanted| -> serde_json::Value {
            serde_json::from_str(&json(holds, wanted)).unwrap()
        };
        let both = read(&[flow], false);
        assert_eq!(both["listeners"], serde_json::json!([]));
        assert_eq!(both["flows"][0]["state"], "connected");
        assert_eq!(read(&[], true)["flows"], serde_json::json!([]));
        assert_eq!(read(&[], false).get("flows"), None);
    }
}
