//! The answer as people read it: a sentence, a block for each holder, and what can be done.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr as _;

use super::answer::Answer;
use super::notes::{Note, heading};
use super::place::{Entry, Place};
use crate::columns::{Colour, PLAIN, visible};
use crate::list::background::Background;
use crate::list::label::label;
use crate::list::render::{Look, moment, with_tilde};
use crate::list::{Process, SinceFrom};

/// The width of the labels before the facts.
const LABELS: usize = 12;

/// Text is not narrower than this, whatever the terminal.
const LEAST: usize = 30;

/// Longer lines are hard to read, however wide the terminal is.
const MOST: usize = 110;

/// A command line is shown as far as this.
const COMMAND_CHARACTERS: usize = 200;

/// More generations of parents than these are not told.
const PARENTS: usize = 6;

/// The answer's text, each line ended.
pub(super) fn text(answer: &Answer, look: &Look) -> String {
    let mut page = Page {
        text: String::new(),
        look,
    };
    page.paragraph("", &answer.summary, PLAIN.bold());
    for place in &answer.places {
        page.place(place);
    }
    if !answer.ways.is_empty() {
        page.text.push('\n');
        page.paragraph("", "What you can do:", PLAIN.bold());
        for way in &answer.ways {
            page.paragraph("  ", &way.text, PLAIN);
            if let Some(command) = &way.command {
                // Not wrapped, so that it can be copied.
                page.line(
                    &format!("      {}", visible(command)),
                    AnsiColor::Green.on_default(),
                );
            }
        }
    }
    page.text
}

struct Page<'a> {
    text: String,
    look: &'a Look,
}

impl Page<'_> {
    fn place(&mut self, place: &Place) {
        for entry in &place.holds {
            self.text.push('\n');
            let name = place.name();
            self.paragraph(
                "",
                &format!("{}, {name}", heading(&entry.hold)),
                AnsiColor::Cyan.on_default(),
            );
            self.entry(entry);
        }
        if !place.notes.is_empty() {
            self.text.push('\n');
        }
        for note in &place.notes {
            self.note("", note);
        }
    }

    fn entry(&mut self, entry: &Entry) {
        let hold = &entry.hold;
        match hold.programs.first() {
            Some(program) => self.program(program),
            None if hold.inode.is_some() => {
                let user = hold.user.clone().unwrap_or_else(|| hold.uid.to_string());
                self.fact("user", &user);
            }
            None => {}
        }
        if let (Some(since), false) = (hold.since, hold.programs.is_empty()) {
            let when = moment(since, &self.look.now);
            let exact = match hold.since_from {
                SinceFrom::Socket => "",
                SinceFrom::Program | SinceFrom::Unknown => ", when its program started",
            };
            self.fact("since", &format!("{when}{exact}"));
        }
        let covers = match &entry.leaves {
            Some(leaves) => format!("{}; not {leaves}", entry.covers),
            None => entry.covers.clone(),
        };
        if hold.peer.is_none() {
            self.fact("covers", &covers);
        }
        if let Some(usage) = &hold.usage {
            self.fact("common use", usage);
        }
        if !hold.reach.is_empty() {
            self.fact("reached at", &hold.reach.join(", "));
        }
        for note in &entry.notes {
            self.note("  ", note);
        }
    }

    fn program(&mut self, program: &Process) {
        self.fact(
            "program",
            &format!("{} (pid {})", label(program), program.pid),
        );
        let command: String = program
            .command
            .join(" ")
            .chars()
            .take(COMMAND_CHARACTERS)
            .collect();
        if !command.is_empty() && command != label(program) {
            self.fact("command", &command);
        }
        let user = program
            .user
            .clone()
            .unwrap_or_else(|| program.uid.to_string());
        self.fact("user", &user);
        if let Some(directory) = &program.directory {
            self.fact("directory", &with_tilde(directory, self.look));
        }
        if let Some(worktree) = &program.worktree {
            let branch = program
                .branch
                .as_ref()
                .map(|branch| format!(", branch {branch}"));
            let root = with_tilde(worktree, self.look);
            self.fact("worktree", &format!("{root}{}", branch.unwrap_or_default()));
        }
        if let Some(background) = &program.background {
            self.background(background);
        }
    }

    fn background(&mut self, background: &Background) {
        let parents: Vec<_> = background
            .parents
            .iter()
            .take(PARENTS)
            .map(|parent| format!("{} ({})", parent.program, parent.pid))
            .collect();
        if !parents.is_empty() {
            self.fact("started by", &parents.join(", by "));
        }
        if let Some(pane) = &background.tmux_pane {
            self.fact("tmux pane", pane);
        }
        if let Some(container) = &background.container {
            let id = container.id.get(..12).unwrap_or(&container.id);
            let mut text = format!(
                "{} {}",
                container.engine.name(),
                container.name.as_deref().unwrap_or(id)
            );
            if let Some(project) = &container.project {
                let _ = write!(text, ", Compose project {project}");
            }
            if let Some(service) = &container.service {
                let _ = write!(text, ", service {service}");
            }
            self.fact("container", &text);
        } else if let Some(unit) = &background.unit {
            let whose = if unit.of_user { " (the user's)" } else { "" };
            self.fact("unit", &format!("{}{whose}", unit.name));
        }
    }

    fn fact(&mut self, name: &str, text: &str) {
        let head = format!("  {name:LABELS$}");
        self.wrapped(&head, &" ".repeat(head.len()), text, PLAIN);
    }

    fn note(&mut self, indent: &str, note: &Note) {
        self.wrapped(
            &format!("{indent}! "),
            &format!("{indent}  "),
            &note.text,
            AnsiColor::Yellow.on_default(),
        );
    }

    fn paragraph(&mut self, indent: &str, text: &str, style: Style) {
        self.wrapped(indent, indent, text, style);
    }

    /// Words in lines that fit; the first one begins with `head`, the others with `indent`.
    fn wrapped(&mut self, head: &str, indent: &str, text: &str, style: Style) {
        let room = self.look.width.map_or(usize::MAX, |width| {
            width.min(MOST).saturating_sub(indent.width()).max(LEAST)
        });
        let mut line = String::new();
        let mut start = head;
        for word in visible(text).split(' ') {
            if !line.is_empty() && line.width() + 1 + word.width() > room {
                self.line(&format!("{start}{line}"), style);
                line.clear();
                start = indent;
            } else if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&format!("{start}{line}"), style);
    }

    fn line(&mut self, text: &str, style: Style) {
        match self.look.colour {
            Colour::Ansi => writeln!(self.text, "{style}{text}{style:#}"),
            Colour::Plain => writeln!(self.text, "{text}"),
        }
        .expect("writing to a string can't fail");
    }
}
