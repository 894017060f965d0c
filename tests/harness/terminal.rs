//! A pseudo-terminal: what is typed, and what is on the screen.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::process::{Line, Transcript, ends_within};
use super::{DEADLINE, Skipped, World};

/// The key Ctrl-C.
pub(crate) const CTRL_C: &str = "\x03";
/// The key Ctrl-Z.
pub(crate) const CTRL_Z: &str = "\x1a";
/// The key Ctrl-\.
pub(crate) const CTRL_BACKSLASH: &str = "\x1c";

/// The size it has first.
const SIZE: Winsize = Winsize {
    ws_row: 24,
    ws_col: 200,
    ws_xpixel: 0,
    ws_ypixel: 0,
};

/// A terminal with a program that leads its session; closing it hangs the program up.
#[derive(Debug)]
pub(crate) struct Terminal {
    master: File,
    screen: Transcript,
    leader: Child,
}

impl Terminal {
    /// Starts a program as the leader of a new terminal's session.
    pub(crate) fn open(world: &World, line: impl FnOnce(Line) -> Line) -> Result<Self, Skipped> {
        world.needs("setsid")?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master =
            openpt(flags).map_err(|error| Skipped(format!("no pseudo-terminal: {error}")))?;
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        world.own(path.as_ref());
        let slave = File::options().read(true).write(true).open(path).unwrap();
        tcsetwinsize(&master, SIZE).unwrap();
        let mut command = line(
            world
                .program("setsid")
                .word("--ctty")
                .with("TERM", "dumb")
                .with("HISTFILE", ""),
        )
        .into_command();
        let copy = || Stdio::from(slave.try_clone().unwrap());
        let leader = command
            .stdin(copy())
            .stdout(copy())
            .stderr(copy())
            .spawn()
            .unwrap();
        drop((command, slave));
        let master = File::from(master);
        let screen = Transcript::of(master.try_clone().unwrap());
        Ok(Self {
            master,
            screen,
            leader,
        })
    }

    /// Types on it.
    pub(crate) fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Sends the leader a signal, as another process would.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.leader);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Changes its size, in characters.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ..SIZE
        };
        tcsetwinsize(&self.master, size).unwrap();
    }

    /// Waits until this is on the screen.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        self.screen
            .await_text(text)
            .unwrap_or_else(|shown| panic!("the terminal never showed {text:?}, but\n{shown}"));
    }

    /// Waits until this is in the picture that all that was drawn makes, at the first size.
    ///
    /// A program that draws a picture sends only what differs from the one before: [`Self::shows`] would depend on what differed.
    #[track_caller]
    pub(crate) fn pictures(&self, text: &str) {
        let picture = |drawn: &str| {
            let [rows, columns] = [SIZE.ws_row, SIZE.ws_col].map(|side| side.try_into().unwrap());
            let mut parser = vt100::Parser::new(rows, columns, 0);
            parser.process(drawn.as_bytes());
            parser.screen().contents()
        };
        self.screen
            .await_that(|drawn| picture(drawn).contains(text).then_some(()))
            .unwrap_or_else(|drawn| {
                panic!("the picture never had {text:?}, but\n{}", picture(&drawn))
            });
    }

    /// What was ever on the screen.
    pub(crate) fn shown(&self) -> String {
        self.screen.text()
    }

    /// Waits for a number after `head` on the screen.
    #[track_caller]
    pub(crate) fn number_after(&self, head: &str) -> i32 {
        let found = self.screen.await_that(|shown| {
            let mut candidates = shown
                .match_indices(head)
                .map(|(at, _)| &shown[at + head.len()..]);
            candidates.find_map(|rest| {
                let end = rest.find(|character: char| !character.is_ascii_digit())?;
                rest[..end].parse().ok()
            })
        });
        found.unwrap_or_else(|shown| {
            panic!("the terminal never showed a number after {head:?}, but\n{shown}")
        })
    }

    /// Waits for the end of the session's leader; answers with its exit status.
    #[track_caller]
    pub(crate) fn ended(mut self) -> i32 {
        let pid = rustix::process::Pid::from_child(&self.leader);
        assert!(
            ends_within(pid, DEADLINE),
            "it doesn't end; the terminal shows\n{}",
            self.screen.text()
        );
        let status = self.leader.wait().unwrap();
        status
            .code()
            .unwrap_or_else(|| panic!("{status}; the terminal shows\n{}", self.screen.text()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.leader.kill().ok();
        self.leader.wait().ok();
    }
}
