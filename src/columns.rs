//! Aligned columns of text: the shape that every list of the program has.
//!
//! It knows widths, sides and colours, not what is listed. In plain text nothing but the words and blanks between them is
//! written.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr as _;

/// What stands for a thing that isn't known.
pub(crate) const UNKNOWN: &str = "-";

/// The gap between two columns.
pub(crate) const GAP: &str = "  ";

/// No colour, no weight.
pub(crate) const PLAIN: Style = Style::new();

/// A name: of a space, of a use.
pub(crate) const NAME: Style = AnsiColor::Cyan.on_default();

/// Whether a text may hold escape sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// Only text.
    Plain,
    /// Colours and weights.
    Ansi,
}

/// A column: its head, on which side its cells are filled up, and its colour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) head: &'static str,
    pub(crate) side: Side,
    pub(crate) style: Style,
}

/// On which side a cell's text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Which line of the table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Head,
    Row,
}

impl Colour {
    /// What suits standard output and the environment (`NO_COLOR`, `CLICOLOR_FORCE`, `TERM`).
    pub(crate) fn of_stdout() -> Self {
        match anstream::AutoStream::choice(&io::stdout()) {
            anstream::ColorChoice::Never => Self::Plain,
            _ => Self::Ansi,
        }
    }
}

/// The columns of the terminal that standard output is; `None` if it is none.
pub(crate) fn terminal_width() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

impl Column {
    /// A column whose cells stand on the left.
    pub(crate) const fn left(head: &'static str, style: Style) -> Self {
        Self {
            head,
            side: Side::Left,
            style,
        }
    }

    /// A column whose cells stand on the right, as numbers do.
    pub(crate) const fn right(head: &'static str, style: Style) -> Self {
        Self {
            head,
            side: Side::Right,
            style,
        }
    }
}

/// Heads and rows, each line ended, without blanks at its end. Every row has a cell for each column.
pub(crate) fn lay_out<T: AsRef<str>>(
    columns: &[Column],
    rows: &[Vec<T>],
    colour: Colour,
) -> String {
    let heads: Vec<&str> = columns.iter().map(|column| column.head).collect();
    let widths = widths(columns, rows);
    let mut text = String::new();
    write_row(&mut text, columns, &heads, &widths, Line::Head, colour);
    for row in rows {
        write_row(&mut text, columns, row, &widths, Line::Row, colour);
    }
    text
}

/// The width of each column, its head included.
pub(crate) fn widths<T: AsRef<str>>(columns: &[Column], rows: &[Vec<T>]) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(|column| column.head.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(width_of(cell.as_ref()));
        }
    }
    widths
}

/// How many columns a text takes. Most texts are ASCII, where that is no question.
fn width_of(text: &str) -> usize {
    match text.is_ascii() {
        true => text.len(),
        false => text.width(),
    }
}

/// Shows control characters, which any program may put into its name, instead of obeying them.
pub(crate) fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            visible.extend(character.escape_default());
        } else {
            visible.push(character);
        }
    }
    visible
}

fn write_row<T: AsRef<str>>(
    text: &mut String,
    columns: &[Column],
    row: &[T],
    widths: &[usize],
    line: Line,
    colour: Colour,
) {
    let start = text.len();
    for ((cell, width), column) in row.iter().zip(widths).zip(columns) {
        let cell = cell.as_ref();
        let style = match (colour, line) {
            (Colour::Ansi, Line::Head) => PLAIN.underline(),
            (Colour::Ansi, Line::Row) if !cell.is_empty() => column.style,
            _ => PLAIN,
        };
        let blanks = std::iter::repeat_n(' ', width.saturating_sub(width_of(cell)));
        if column.side == Side::Right {
            text.extend(blanks.clone());
        }
        match colour {
            Colour::Plain => text.push_str(cell),
            Colour::Ansi => {
                write!(text, "{style}{cell}{style:#}").expect("writing to a string can't fail");
            }
        }
        if column.side == Side::Left {
            text.extend(blanks);
        }
        text.push_str(GAP);
    }
    text.truncate(start + text[start..].trim_end_matches(' ').len());
    text.push('\n');
}
