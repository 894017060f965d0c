//! Looks at all spaces, for the page: again and again while somebody does, and not at all otherwise.
//!
//! What is cheap is looked at each time: the kernel's lists of TCP. Who is behind listeners, and who else is inside, takes
//! a walk over `/proc`; that is done when a listener has come or gone, when something happened, and now and then.

use std::collections::{HashMap, HashSet};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::space::Space;
use super::spaces::Spaces;
use crate::list::diag::{self, Wanted};
use crate::list::{Hold, Process, Question, State};
use crate::web::picture::{self, Picture};
use crate::web::traffic::{Client, Seen, Traffic};

/// How old what is known of programs becomes at most.
const STALE: Duration = Duration::from_secs(5);

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Eye {
    traffic: Traffic,
    /// What has spaces note things, by their numbers.
    meters: HashMap<u64, Meter>,
    /// The spaces that have been looked at before, by their numbers.
    looked: HashSet<u64>,
    listeners: Vec<Hold>,
    /// Who is inside, by the spaces' numbers.
    inside: HashMap<u64, Vec<Process>>,
    /// The listeners that were there when programs were looked at, and when that was; `None` if it must be done anew.
    known: Option<(HashSet<u64>, Instant)>,
}

/// Has a space note who comes from the machine, and how connections end, for as long as this lives.
#[derive(Debug)]
struct Meter(Weak<Space>);

impl Meter {
    fn new(space: &Rc<Space>) -> Self {
        space.visitors.replace(Some(HashSet::new()));
        space.ports.ended.replace(Some(Vec::new()));
        Self(Rc::downgrade(space))
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(space) = self.0.upgrade() {
            space.visitors.replace(None);
            space.ports.ended.replace(None);
        }
    }
}

impl Eye {
    /// What is known of programs is looked at anew next time.
    pub(super) fn open(&mut self) {
        self.known = None;
    }

    /// What there is now.
    ///
    /// # Errors
    /// When the kernel's lists or `/proc` can't be read.
    pub(super) fn look(&mut self, spaces: &Rc<Spaces>) -> Result<Picture> {
        let all = spaces.all();
        self.meters
            .retain(|id, _| all.iter().any(|space| space.id == *id));
        for space in &all {
            let meter = || Meter::new(space);
            self.meters.entry(space.id).or_insert_with(meter);
        }
        let seen = all.iter().map(|space| self.see(space));
        let seen: Vec<_> = seen.collect::<Result<_>>()?;
        self.looked = all.iter().map(|space| space.id).collect();
        self.traffic.look(&seen);
        self.look_at_programs(spaces, &all, &seen)?;
        let board = spaces.board()?;
        let space = |space: &Rc<Space>| {
            let inside = self.inside.get(&space.id).cloned().unwrap_or_default();
            picture::Space::new(spaces.info(space), space.entry.number.face(), inside)
        };
        Ok(Picture {
            spaces: all.iter().map(space).collect(),
            listeners: self.listeners.clone(),
            published: board.publications(),
            focus: board.focused(),
            routes: self.traffic.routes(),
        })
    }

    /// The connections of one space.
    fn see(&self, space: &Space) -> Result<Seen> {
        // First what has ended: what ends from here on is in the list still, or not, and is heard next time.
        space.ports.settle();
        let ended = space.ports.ended.borrow_mut().as_mut().map(std::mem::take);
        let ended = ended.unwrap_or_default();
        let sockets = space.sockets(&Wanted::STREAMS)?;
        let strangers = ended.iter().chain(&sockets);
        let strangers =
            strangers.filter(|socket| socket.peer.is_some() && !self.traffic.knows(socket.cookie));
        // Who came before visitors were noted is known by this: nobody inside holds the socket.
        let unnoted = match self.looked.contains(&space.id) {
            true => Client::Inside(None),
            false => Client::Machine,
        };
        let number = space.entry.number;
        Ok(Seen {
            space: space.entry.name.clone(),
            addresses: [number.ipv4().into(), number.ipv6().into()],
            let_in: space.from_host.borrow().clone(),
            clients: clients(space, strangers, unnoted)?,
            ended,
            sockets,
        })
    }

    fn look_at_programs(
        &mut self,
        spaces: &Spaces,
        all: &[Rc<Space>],
        seen: &[Seen],
    ) -> Result<()> {
        let listeners = seen.iter().flat_map(|seen| &seen.sockets);
        let listeners = listeners.filter(|socket| socket.state == State::Listening);
        let listeners: HashSet<_> = listeners.map(|socket| socket.cookie).collect();
        let fresh =
            |known: &(HashSet<u64>, Instant)| known.0 == listeners && known.1.elapsed() < STALE;
        if self.known.as_ref().is_some_and(fresh) {
            return Ok(());
        }
        self.listeners = spaces.survey(all, &Question::LISTENERS)?;
        self.inside.clear();
        for space in all {
            self.inside.insert(space.id, space.residents()?);
        }
        self.known = Some((listeners, Instant::now()));
        Ok(())
    }
}

/// Whose sockets these are.
fn clients<'a>(
    space: &Space,
    sockets: impl Iterator<Item = &'a diag::Socket>,
    unnoted: Client,
) -> Result<HashMap<u64, Client>> {
    let (mut clients, mut unknown) = (HashMap::new(), HashMap::new());
    let mut visitors = space.visitors.borrow_mut();
    for socket in sockets {
        if visitors
            .as_mut()
            .is_some_and(|noted| noted.remove(&socket.cookie))
        {
            clients.insert(socket.cookie, Client::Machine);
        } else if socket.inode != 0 {
            unknown.insert(socket.inode, socket.cookie);
        }
    }
    if !unknown.is_empty() {
        for (cookie, program) in space.programs_behind(&unknown)? {
            let client = match program.is_empty() {
                true => unnoted.clone(),
                false => Client::Inside(Some(program)),
            };
            clients.insert(cookie, client);
        }
    }
    Ok(clients)
}
