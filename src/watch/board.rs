//! What is on the screen, and what keys do to it. Nothing here knows of terminals or programs.

use std::cmp::Ordering;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::change::key;
use crate::list::Hold;
use crate::list::label::label;

/// The screen.
#[derive(Debug, Default)]
pub(super) struct Board {
    holds: Vec<Hold>,
    /// Only rows that have this in them.
    pub(super) filter: String,
    pub(super) order: Order,
    pub(super) direction: Direction,
    pub(super) mode: Mode,
    /// The place of the selected row among those shown.
    pub(super) selected: usize,
    /// What was done last, or why not.
    pub(super) message: String,
}

/// By what rows are ordered; ties as in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Order {
    #[default]
    List,
    Port,
    Program,
    Directory,
    Since,
}

/// In which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Direction {
    #[default]
    Up,
    Down,
}

/// What keys mean.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Mode {
    /// They move about.
    #[default]
    List,
    /// They are letters of the filter.
    Filter,
    /// All that is known of the selected row is shown.
    Details,
    /// They say whether the programs that listen there are really to be ended.
    Confirm {
        /// Who listens.
        hold: Box<Hold>,
    },
}

/// What a key asks of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing but another picture.
    Nothing,
    /// To leave.
    Leave,
    /// To end who listens there; it was confirmed.
    Stop(Box<Hold>),
}

impl Order {
    /// Its name, and the next one.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Port => "port",
            Self::Program => "program",
            Self::Directory => "directory",
            Self::Since => "since",
        }
    }

    const fn next(self) -> Self {
        match self {
            Self::List => Self::Port,
            Self::Port => Self::Program,
            Self::Program => Self::Directory,
            Self::Directory => Self::Since,
            Self::Since => Self::List,
        }
    }

    fn compare(self, one: &Hold, other: &Hold) -> Ordering {
        let directory = |hold: &Hold| {
            hold.programs
                .first()
                .and_then(|program| program.directory.clone())
        };
        match self {
            Self::List => Ordering::Equal,
            Self::Port => one.port.cmp(&other.port),
            Self::Program => one
                .programs
                .first()
                .map(label)
                .cmp(&other.programs.first().map(label)),
            Self::Directory => directory(one).cmp(&directory(other)),
            Self::Since => one.since.cmp(&other.since),
        }
    }
}

impl Board {
    /// A new list; the same row stays selected if it is still there.
    pub(super) fn list(&mut self, holds: Vec<Hold>) {
        let selected = self.selected().cloned();
        self.holds = holds;
        self.select(selected.as_ref());
    }

    /// The rows that are shown, in their order.
    pub(super) fn rows(&self) -> Vec<&Hold> {
        let wanted = self.filter.to_lowercase();
        let mut rows: Vec<_> = self
            .holds
            .iter()
            .filter(|hold| matches(hold, &wanted))
            .collect();
        rows.sort_by(|one, other| self.order.compare(one, other));
        if self.direction == Direction::Down {
            rows.reverse();
        }
        rows
    }

    /// How many rows there are, shown or not.
    pub(super) fn count(&self) -> usize {
        self.holds.len()
    }

    /// The selected row.
    pub(super) fn selected(&self) -> Option<&Hold> {
        self.rows().get(self.selected).copied()
    }

    fn select(&mut self, wanted: Option<&Hold>) {
        let rows = self.rows();
        let place = wanted.and_then(|wanted| rows.iter().position(|hold| key(hold) == key(wanted)));
        let last = rows.len().saturating_sub(1);
        self.selected = place.unwrap_or(self.selected).min(last);
    }

    /// What a key does.
    pub(super) fn press(&mut self, key: KeyEvent) -> Wish {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Wish::Leave;
        }
        self.message.clear();
        match std::mem::take(&mut self.mode) {
            Mode::List => self.press_in_list(key.code),
            Mode::Filter => {
                self.press_in_filter(key.code);
                Wish::Nothing
            }
            Mode::Details => {
                if !matches!(key.code, KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q')) {
                    self.mode = Mode::Details;
                }
                Wish::Nothing
            }
            Mode::Confirm { hold } => match key.code {
                KeyCode::Char('y') => Wish::Stop(hold),
                _ => {
                    self.message = "nothing was ended".into();
                    Wish::Nothing
                }
            },
        }
    }

    fn press_in_list(&mut self, code: KeyCode) -> Wish {
        let last = self.rows().len().saturating_sub(1);
        match code {
            KeyCode::Char('q') => return Wish::Leave,
            KeyCode::Esc if self.filter.is_empty() => return Wish::Leave,
            KeyCode::Esc => self.filter_by(String::new()),
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Down | KeyCode::Char('j') => self.selected = (self.selected + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Home | KeyCode::Char('g') => self.selected = 0,
            KeyCode::End | KeyCode::Char('G') => self.selected = last,
            KeyCode::Char('o') => self.reorder(self.order.next(), self.direction),
            KeyCode::Char('r') => {
                let direction = match self.direction {
                    Direction::Up => Direction::Down,
                    Direction::Down => Direction::Up,
                };
                self.reorder(self.order, direction);
            }
            KeyCode::Enter if self.selected().is_some() => self.mode = Mode::Details,
            KeyCode::Char('x') | KeyCode::Delete => self.confirm(),
            _ => {}
        }
        Wish::Nothing
    }

    fn press_in_filter(&mut self, code: KeyCode) {
        let mut filter = self.filter.clone();
        match code {
            KeyCode::Enter => return,
            KeyCode::Esc => return self.filter_by(String::new()),
            KeyCode::Backspace => drop(filter.pop()),
            KeyCode::Char(letter) => filter.push(letter),
            _ => {}
        }
        self.mode = Mode::Filter;
        self.filter_by(filter);
    }

    fn filter_by(&mut self, filter: String) {
        let selected = self.selected().cloned();
        self.filter = filter;
        self.select(selected.as_ref());
    }

    fn reorder(&mut self, order: Order, direction: Direction) {
        let selected = self.selected().cloned();
        (self.order, self.direction) = (order, direction);
        self.select(selected.as_ref());
    }

    fn confirm(&mut self) {
        match self.selected() {
            Some(hold) if hold.listens() => {
                let hold = Box::new(hold.clone());
                self.mode = Mode::Confirm { hold };
            }
            Some(_) => self.message = "only who listens can be ended here".into(),
            None => {}
        }
    }
}

/// Whether the row has this text, in small letters, in it.
fn matches(hold: &Hold, wanted: &str) -> bool {
    let oldest = hold.programs.first();
    let program = oldest.map(label).unwrap_or_default();
    let directory = oldest
        .and_then(|program| program.directory.clone())
        .unwrap_or_default();
    let texts = [
        hold.space.clone().unwrap_or_default(),
        format!("{}/{}:{}", hold.protocol.name(), hold.address, hold.port),
        hold.usage.clone().unwrap_or_default(),
        program,
        oldest
            .map(|program| program.pid.to_string())
            .unwrap_or_default(),
        hold.user.clone().unwrap_or_default(),
        directory,
    ];
    texts
        .iter()
        .any(|text| text.to_lowercase().contains(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::Protocol;
    use crate::list::testing::sample;

    fn at(port: u16, program: &str) -> Hold {
        let mut hold = sample(None, Protocol::Tcp, "127.0.0.1", port);
        hold.inode = Some(port.into());
        hold.programs[0].program = program.to_owned();
        hold.programs[0].command = vec![program.to_owned()];
        hold
    }

    fn board() -> Board {
        let mut board = Board::default();
        board.list(vec![
            at(80, "nginx"),
            at(3000, "node"),
            at(5432, "postgres"),
        ]);
        board
    }

    fn press(board: &mut Board, keys: &str) -> Wish {
        let mut wish = Wish::Nothing;
        for letter in keys.chars() {
            let code = match letter {
                '\n' => KeyCode::Enter,
                '\x1b' => KeyCode::Esc,
                '\x08' => KeyCode::Backspace,
                letter => KeyCode::Char(letter),
            };
            wish = board.press(KeyEvent::new(code, KeyModifiers::NONE));
        }
        wish
    }

    fn shown(board: &Board) -> Vec<u16> {
        board.rows().iter().map(|hold| hold.port.get()).collect()
    }

    #[test]
    fn rows_are_filtered_by_what_is_typed() {
        let mut board = board();
        press(&mut board, "/POST");
        assert_eq!(shown(&board), [5432]);
        press(&mut board, "\x08\x08\x08\x08:300\n");
        assert_eq!((shown(&board), &board.mode), (vec![3000], &Mode::List));
        assert_eq!(press(&mut board, "\x1b"), Wish::Nothing);
        assert_eq!(shown(&board), [80, 3000, 5432]);
        assert_eq!(press(&mut board, "\x1b"), Wish::Leave);
    }

    #[test]
    fn the_selected_row_stays_selected_whatever_changes() {
        let mut board = board();
        press(&mut board, "j");
        assert_eq!(board.selected().unwrap().port.get(), 3000);
        press(&mut board, "r");
        assert_eq!(
            (shown(&board), board.selected().unwrap().port.get()),
            (vec![5432, 3000, 80], 3000)
        );
        board.list(vec![at(22, "sshd"), at(53, "dnsmasq"), at(3000, "node")]);
        assert_eq!(board.selected().unwrap().port.get(), 3000);
        board.list(vec![at(22, "sshd")]);
        assert_eq!(board.selected().unwrap().port.get(), 22);
        board.list(Vec::new());
        assert_eq!(board.selected(), None);
        assert_eq!(press(&mut board, "jkgG\nxo"), Wish::Nothing);
    }

    #[test]
    fn rows_are_ordered_by_choice() {
        let mut board = board();
        board.list(vec![at(3000, "b"), at(80, "c"), at(5432, "a")]);
        press(&mut board, "o");
        assert_eq!(
            (board.order, shown(&board)),
            (Order::Port, vec![80, 3000, 5432])
        );
        press(&mut board, "o");
        assert_eq!(
            (board.order, shown(&board)),
            (Order::Program, vec![5432, 3000, 80])
        );
        press(&mut board, "ooo");
        assert_eq!(
            (board.order, shown(&board)),
            (Order::List, vec![3000, 80, 5432])
        );
    }

    #[test]
    fn nobody_is_ended_without_a_yes() {
        let mut board = board();
        assert_eq!(press(&mut board, "jx"), Wish::Nothing);
        assert_eq!(press(&mut board, "n"), Wish::Nothing);
        assert_eq!(
            (board.message.as_str(), &board.mode),
            ("nothing was ended", &Mode::List)
        );
        let Wish::Stop(hold) = press(&mut board, "xy") else {
            panic!("{board:?}")
        };
        assert_eq!(hold.port.get(), 3000);
        // The row may have changed while the question stood.
        press(&mut board, "x");
        board.list(Vec::new());
        assert!(matches!(press(&mut board, "y"), Wish::Stop(hold) if hold.port.get() == 3000));
    }
}
