//! Draws the board.

use std::fmt::Write as _;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph, Row, Table, TableState, Wrap};

use super::board::{Board, Direction, Mode};
use crate::columns::{self, Colour, visible};
use crate::list::render::{self, Look};
use crate::list::{Hold, Process};
use crate::place::who;

/// A command line that is longer is cut off.
const COMMAND_LETTERS: usize = 200;

const KEYS: &str = "↑↓ move · / filter · o order · r reverse · ⏎ details · x stop · q quit";

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, board: &Board, look: &Look) {
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Line::from(heading(board)), top);
    table(frame, middle, board, look);
    frame.render_widget(Line::from(footing(board)), bottom);
    if board.mode == Mode::Details
        && let Some(hold) = board.selected()
    {
        details(frame, middle, hold, look);
    }
}

fn heading(board: &Board) -> String {
    let shown = board.rows().len();
    let mut text = match shown == board.count() {
        true => format!("wharf · {shown} ports"),
        false => format!("wharf · {shown} of {} ports", board.count()),
    };
    let arrow = match board.direction {
        Direction::Up => "↑",
        Direction::Down => "↓",
    };
    write!(text, " · order: {} {arrow}", board.order.name()).expect("a string takes all");
    if !board.filter.is_empty() || board.mode == Mode::Filter {
        write!(text, " · filter: {}", visible(&board.filter)).expect("a string takes all");
    }
    text
}

fn footing(board: &Board) -> String {
    match &board.mode {
        Mode::Filter => "type to filter · ⏎ keep · esc clear".into(),
        Mode::Confirm { hold } => {
            format!(
                "end {} at port {}? y ends it, any other key does not",
                who(hold),
                hold.port
            )
        }
        Mode::Details => "esc back".into(),
        Mode::List if board.message.is_empty() => KEYS.into(),
        Mode::List => visible(&board.message),
    }
}

fn table(frame: &mut Frame<'_>, area: Rect, board: &Board, look: &Look) {
    let holds: Vec<Hold> = board.rows().into_iter().cloned().collect();
    if holds.is_empty() {
        frame.render_widget(Paragraph::new("nothing listens").centered(), area);
        return;
    }
    let look = Look {
        width: Some(usize::from(area.width)),
        ..look.clone()
    };
    let (heads, rows) = render::grid(&holds, &look);
    let widths = columns::widths(&heads, &rows);
    let widths = widths
        .iter()
        .map(|&width| Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX)));
    let underlined = Style::new().add_modifier(Modifier::UNDERLINED);
    let head = Row::new(heads.iter().map(|column| column.head)).style(underlined);
    let selected = match look.colour {
        Colour::Plain => Style::new().add_modifier(Modifier::REVERSED),
        Colour::Ansi => Style::new().fg(Color::Black).bg(Color::Cyan),
    };
    let rows = rows.into_iter().map(Row::new);
    let gap = u16::try_from(columns::GAP.len()).expect("two blanks");
    let table = Table::new(rows, widths).header(head).column_spacing(gap);
    let mut state = TableState::new().with_selected(board.selected);
    frame.render_stateful_widget(table.row_highlight_style(selected), area, &mut state);
}

fn details(frame: &mut Frame<'_>, area: Rect, hold: &Hold, look: &Look) {
    let mut lines = vec![
        Line::from(format!("state      {}", hold.state.name())),
        Line::from(format!("reach      {}", hold.reach.join(", "))),
    ];
    if let Some(usage) = &hold.usage {
        lines.push(Line::from(format!("use        {usage}")));
    }
    if let Some(since) = hold.since {
        lines.push(Line::from(format!(
            "since      {}",
            render::moment(since, &look.now)
        )));
    }
    for program in &hold.programs {
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| columns::UNKNOWN.into());
        lines.push(Line::from(format!(
            "program    {} (pid {})",
            program.program, program.pid
        )));
        lines.push(Line::from(format!("command    {}", command(program))));
        lines.push(Line::from(format!("user       {}", known(&program.user))));
        lines.push(Line::from(format!(
            "directory  {}",
            visible(&known(&program.directory))
        )));
        lines.push(Line::from(format!(
            "worktree   {}",
            visible(&known(&program.worktree))
        )));
        lines.push(Line::from(format!(
            "branch     {}",
            visible(&known(&program.branch))
        )));
    }
    let title = format!(
        " {}/{} port {} ",
        hold.protocol.name(),
        hold.address,
        hold.port
    );
    let text = Paragraph::new(lines)
        .wrap(Wrap { trim: false })
        .block(Block::bordered().title(title));
    frame.render_widget(Clear, area);
    frame.render_widget(text, area);
}

/// A program's command line, or as much of it as leaves room for the rest.
fn command(program: &Process) -> String {
    let whole = visible(&program.command.join(" "));
    match whole.char_indices().nth(COMMAND_LETTERS) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::{KeyCode, KeyEvent};
    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::list::Protocol;
    use crate::list::testing::sample;

    fn drawn(board: &Board, width: u16) -> String {
        let look = Look {
            width: None,
            colour: Colour::Plain,
            home: None,
            now: Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC),
        };
        let mut terminal = Terminal::new(TestBackend::new(width, 16)).unwrap();
        terminal.draw(|frame| draw(frame, board, &look)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn every_mode_is_drawn_at_every_width() {
        let mut board = Board::default();
        assert!(drawn(&board, 80).contains("nothing listens"));
        board.list(vec![sample(Some("shop"), Protocol::Tcp, "127.0.0.1", 8123)]);
        let list = drawn(&board, 160);
        assert!(
            list.contains("wharf · 1 ports") && list.contains("8123") && list.contains("DIRECTORY"),
            "{list}"
        );
        board.press(KeyCode::Enter.into());
        let details = drawn(&board, 80);
        assert!(
            details.contains("directory  ") && details.contains("esc back"),
            "{details}"
        );
        board.press(KeyCode::Esc.into());
        board.press(KeyEvent::from(KeyCode::Char('x')));
        assert!(drawn(&board, 160).contains("? y ends it"));
        board.press(KeyCode::Char('n').into());
        assert!(drawn(&board, 80).contains("nothing was ended"));
        board.press(KeyCode::Char('/').into());
        board.press(KeyCode::Char('\u{7}').into());
        for width in 1..60 {
            drawn(&board, width);
        }
        assert!(drawn(&board, 80).contains("0 of 1 ports"));
    }
}
