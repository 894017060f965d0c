//! The terminal: what comes from it, from the list and from signals arrives at one place and changes the board.
//!
//! Whatever ends this, a panic or a signal included, the terminal is given back as it was found.

use std::sync::mpsc::{self, Sender};

use anyhow::{Context, Result, anyhow};
use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::DefaultTerminal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Watched;
use super::board::{Board, Wish};
use super::draw::draw;
use super::feed::Feed;
use crate::list::Hold;
use crate::list::render::Look;
use crate::place::{Place, who};
use crate::stop::listeners::{Plan, Reach};

/// Something that happens.
enum Happening {
    List(Vec<Hold>),
    Key(KeyEvent),
    Resized,
    Told(String),
    Ended,
    Failed(anyhow::Error),
}

/// Shows the table until its user leaves.
pub(super) fn run(watched: Watched) -> Result<()> {
    let (sender, happenings) = mpsc::channel();
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot catch signals")?;
    // It gives the terminal back when any thread panics.
    let mut terminal = ratatui::try_init().context("cannot take the terminal")?;
    spawn(&sender, move |sender| {
        if signals.forever().next().is_some() {
            sender.send(Happening::Ended).ok();
        }
    });
    spawn(&sender, keys);
    spawn(&sender, move |sender| lists(Feed::of(watched), sender));
    let shown = show(&mut terminal, &sender, &happenings);
    ratatui::restore();
    shown
}

fn spawn(sender: &Sender<Happening>, work: impl FnOnce(&Sender<Happening>) + Send + 'static) {
    let sender = sender.clone();
    std::thread::spawn(move || work(&sender));
}

fn keys(sender: &Sender<Happening>) {
    loop {
        let happening = match event::read() {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Happening::Key(key),
            Ok(Event::Resize(..)) => Happening::Resized,
            Ok(_) => continue,
            Err(error) => Happening::Failed(anyhow!(error).context("cannot read the keyboard")),
        };
        let last = matches!(happening, Happening::Failed(_));
        if sender.send(happening).is_err() || last {
            return;
        }
    }
}

fn lists(mut feed: Feed, sender: &Sender<Happening>) {
    loop {
        let next = feed.next();
        let last = next.is_err();
        let happening = next.map_or_else(Happening::Failed, Happening::List);
        if sender.send(happening).is_err() || last {
            return;
        }
    }
}

fn show(
    terminal: &mut DefaultTerminal,
    sender: &Sender<Happening>,
    happenings: &mpsc::Receiver<Happening>,
) -> Result<()> {
    let mut board = Board::default();
    // This end keeps a sender itself, so the channel never closes.
    while let Ok(happening) = happenings.recv() {
        match happening {
            Happening::List(holds) => board.list(holds),
            Happening::Told(message) => board.message = message,
            Happening::Resized => {}
            Happening::Ended => return Ok(()),
            Happening::Failed(error) => return Err(error),
            Happening::Key(key) => match board.press(key) {
                Wish::Nothing => {}
                Wish::Leave => return Ok(()),
                Wish::Stop(hold) => {
                    board.message = format!("ending {} …", who(&hold));
                    // It may take as long as a server takes to end.
                    spawn(sender, move |sender| {
                        sender.send(Happening::Told(stop(&hold))).ok();
                    });
                }
            },
        }
        let look = Look::of_stdout();
        let drawn = terminal.draw(|frame| draw(frame, &board, &look));
        drawn.context("cannot draw")?;
    }
    Ok(())
}

/// Ends who listens there, and says what came of it. That it was confirmed stands for `--force`.
fn stop(hold: &Hold) -> String {
    let ended = Place::of(hold)
        .and_then(|place| Plan::make(&place, Reach::Anybody))
        .and_then(|plan| plan.carry_out());
    match ended {
        Ok(()) => format!("{} has ended", who(hold)),
        Err(error) => format!("{error:#}"),
    }
}
