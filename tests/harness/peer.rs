//! The servers and clients that scenes use, in Python (`peer.py`): in a space, or on the machine.

use super::process::{Line, Process};
use super::world::{Project, World};

pub(crate) const SOURCE: &str = include_str!("peer.py");

impl World {
    /// A peer on the machine, run by the world's user.
    pub(crate) fn peer(&self, words: &[&str]) -> Line {
        self.program("python3").word("-c").word(SOURCE).words(words)
    }

    /// A server of the machine, run by whoever runs the tests; answers when it is ready.
    #[track_caller]
    pub(crate) fn serve(&self, words: &[&str]) -> Process {
        ready(self.service("python3").word("-c").word(SOURCE).words(words))
    }
}

impl Project<'_> {
    /// A peer in the space.
    pub(crate) fn peer(&self, words: &[&str]) -> Line {
        self.run(["python3", "-c", SOURCE]).words(words)
    }

    /// A server in the space; answers when it is ready.
    #[track_caller]
    pub(crate) fn serve(&self, words: &[&str]) -> Process {
        ready(self.peer(words))
    }

    /// How a client in the space fared.
    #[track_caller]
    pub(crate) fn fares(&self, words: &[&str]) -> Fared {
        Fared::of(self.peer(words))
    }
}

#[track_caller]
fn ready(line: Line) -> Process {
    let server = line.start();
    server.says("ready");
    server
}

/// How a client fared.
#[derive(Debug)]
pub(crate) struct Fared {
    /// "answer: …", "refused", "unreachable", "prohibited", "closed" or "silent".
    pub(crate) said: String,
    /// How long that took, in seconds.
    pub(crate) seconds: f64,
}

impl Fared {
    /// Runs the client.
    #[track_caller]
    pub(crate) fn of(line: Line) -> Self {
        let out = line.out();
        let Some((said, rest)) = out.trim_end().rsplit_once("\ntook: ") else {
            panic!("no outcome in {out:?}")
        };
        Self {
            said: said.to_owned(),
            seconds: rest.parse().expect("peer.py prints a number"),
        }
    }

    /// Fails unless it said this.
    #[track_caller]
    pub(crate) fn is(&self, said: &str) {
        assert_eq!(self.said, said, "after {} seconds", self.seconds);
    }

    /// Fails unless it said this without waiting for anything to run out: a lost SYN alone costs a second.
    #[track_caller]
    pub(crate) fn is_at_once(&self, said: &str) {
        self.is(said);
        assert!(self.seconds < 0.9, "{said:?} took {} seconds", self.seconds);
    }
}
