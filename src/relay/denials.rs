//! Ways to other spaces that are closed, because one of the two is isolated: who tried is told to the daemon, which knows
//! programs by their sockets, and says so.
//!
//! What a program may do as often as it likes must not fill a log: the same attempt is told once in a while, and not more than
//! a few in that time altogether. Whether told or not, it is refused.

use std::net::SocketAddr;
use std::time::Duration;

use lru::LruCache;
use tokio::sync::mpsc;
use wharf_net::{Instant, KnockId};
use wharf_port::{Endpoint, Flow, Protocol};

use super::Back;
use super::engine::Engine;

/// The same attempt is told once in this time,
const AGAIN: Duration = Duration::from_secs(10);
/// and so many different ones.
const AT_ONCE: usize = 16;

/// A program of one space wanted to reach another.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The space that it is in.
    pub(crate) space: String,
    /// By what.
    pub(crate) protocol: Protocol,
    /// Its own end.
    pub(crate) from: SocketAddr,
    /// What it wanted.
    pub(crate) to: SocketAddr,
    /// How many attempts before this one were not told.
    pub(crate) untold: u64,
    /// What has to be refused when it was told.
    refusal: Option<(KnockId, Back)>,
}

impl Attempt {
    /// Lets the program go on, with its refusal.
    pub(crate) fn refuse(self) {
        if let Some((knock, back)) = self.refusal {
            back.refuse(knock);
        }
    }
}

/// The way to the daemon, of one relay.
#[derive(Debug)]
pub(crate) struct Denials {
    attempts: mpsc::Sender<Attempt>,
    told: LruCache<Told, Instant>,
    untold: u64,
}

/// What makes an attempt the same as another: the protocol and what was wanted.
type Told = (Protocol, SocketAddr);

impl Denials {
    /// Tells `attempts`.
    pub(crate) fn new(attempts: mpsc::Sender<Attempt>) -> Self {
        let size = AT_ONCE.try_into().expect("it is not 0");
        Self {
            attempts,
            told: LruCache::new(size),
            untold: 0,
        }
    }

    /// Whether an attempt may be told now. It then counts as told.
    fn may_tell(&mut self, what: Told, now: Instant) -> bool {
        let is_recent = |told: &Instant| *told + AGAIN > now;
        let is_known = self.told.peek(&what).is_some_and(is_recent);
        let is_full = self.told.len() == AT_ONCE
            && self
                .told
                .peek_lru()
                .is_some_and(|(_, told)| is_recent(told));
        if is_known || is_full {
            self.untold += 1;
            return false;
        }
        // The oldest goes if need be; in the cache's order the first told is the first to go.
        self.told.push(what, now);
        true
    }
}

impl Engine {
    /// Tells of an attempt; what a `knock` wanted is then refused by whoever hears of it. `false` if nobody does.
    pub(super) fn deny(&mut self, flow: Flow, knock: Option<KnockId>) -> bool {
        let to = socket_address(flow.local);
        if !self.denials.may_tell((flow.protocol, to), self.now) {
            return false;
        }
        let attempt = Attempt {
            space: self.name.clone(),
            protocol: flow.protocol,
            from: socket_address(flow.remote),
            to,
            untold: std::mem::take(&mut self.denials.untold),
            refusal: knock.map(|knock| (knock, self.back.clone())),
        };
        self.denials.attempts.try_send(attempt).is_ok()
    }
}

fn socket_address(endpoint: Endpoint) -> SocketAddr {
    SocketAddr::new(endpoint.address(), endpoint.port().number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_a_restless_program_stays_short() {
        let mut denials = Denials::new(mpsc::channel(1).0);
        let place = |port| (Protocol::Tcp, SocketAddr::from(([10, 77, 1, 2], port)));
        let mut now = Instant::default();
        assert!(denials.may_tell(place(1), now));
        assert!(!denials.may_tell(place(1), now));
        let told = (2..1000).filter(|&port| denials.may_tell(place(port), now));
        assert_eq!(told.count(), AT_ONCE - 1);
        assert_eq!(denials.untold, 1 + 998 - 15);
        now += AGAIN;
        assert!(denials.may_tell(place(1), now));
        assert!(!denials.may_tell(place(1), now + AGAIN / 2));
    }
}
