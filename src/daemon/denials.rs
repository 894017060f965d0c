//! Who tried to reach a space that it can't: told in the log and among the events, then refused.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::rc::Rc;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::space::Space;
use super::spaces::Spaces;
use crate::event::{Actor, Event, Kind, Source};
use crate::relay::denials::Attempt;

/// Attempts that relays may have waiting here; further ones are refused without a word.
const ATTEMPTS_MAX: usize = 64;

/// The relays' way here, and the end of it.
pub(super) fn channel() -> (mpsc::Sender<Attempt>, mpsc::Receiver<Attempt>) {
    mpsc::channel(ATTEMPTS_MAX)
}

/// Tells of each attempt.
pub(super) async fn tell(spaces: Rc<Spaces>, mut attempts: mpsc::Receiver<Attempt>) {
    while let Some(attempt) = attempts.recv().await {
        let from = spaces.find(&attempt.space);
        let to = spaces.at(attempt.to.ip());
        if let (Some(from), Some(to)) = (from, to) {
            tell_one(&spaces, &attempt, &from, &to);
        }
        attempt.refuse();
    }
}

fn tell_one(spaces: &Spaces, attempt: &Attempt, from: &Space, to: &Space) {
    let party = from.who(attempt.protocol, attempt.from, attempt.to);
    let socket = party.as_ref().map_or(0, |party| party.socket);
    let program = party.and_then(|party| party.process);
    let program = program.as_ref().map(Actor::from);
    let name = program.as_ref().map_or_else(
        || "a program".to_owned(),
        |program| format!("{} (pid {})", program.program, program.pid),
    );
    let before = match attempt.untold {
        0 => String::new(),
        count => format!(", after {count} more attempts that were not told"),
    };
    tracing::warn!(
        "{name} in {} is refused {}/{} in {}: {} is isolated{before}",
        from.entry.name,
        attempt.protocol.name(),
        attempt.to,
        to.entry.name,
        match from.isolation.is_set() {
            true => &from.entry.name,
            false => &to.entry.name,
        },
    );
    let Some(port) = NonZeroU16::new(attempt.to.port()) else {
        return;
    };
    let event = Event {
        at: Timestamp::now(),
        space: from.entry.name.clone(),
        kind: Kind::Denied {
            to: to.entry.name.clone(),
        },
        protocol: attempt.protocol,
        address: attempt.to.ip(),
        port,
        socket,
        program,
        source: Source::Call,
    };
    // Nobody may follow.
    spaces.events.send(event).ok();
}

impl Spaces {
    /// The running space that has this address.
    pub(super) fn at(&self, address: IpAddr) -> Option<Rc<Space>> {
        self.all().into_iter().find(|space| {
            let number = space.entry.number;
            address == number.ipv4() || address == number.ipv6()
        })
    }
}
