//! What is published: which place of the machine leads to which port of which space, and since when.
//!
//! Theory of operation. A *stand* is a place and the claims on it. Its port of the machine is taken when it is published, given
//! back when the listener inside ends, and taken again when one comes: so a place that nothing serves refuses connections, and
//! a program of the machine may have it. Several spaces may claim a port of 127.0.0.1 or ::1; it leads to the one in
//! focus, else to the first that claimed it, and never on to another because that one doesn't listen.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::io::Errno;
use tokio::sync::{Mutex, Notify, mpsc};

use super::claims::{Claim, Claims, Origin};
use super::space::Space;
use super::spaces::Spaces;
use crate::failure::{Failure, status};
use crate::list::Protocol;
use crate::paths;
use crate::publish::carrier::{Carrier, Errand, Guest, Named, Reached};
use crate::publish::taking::{conflict, take, why_not, with_ways_out};
use crate::publish::wish::{Outside, Wish};
use crate::publish::{Place, Publication, State};

/// How soon a place that somebody else has is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// Connections that may wait to be accepted at a place.
const BACKLOG: i32 = 1024;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Board {
    spaces: Rc<Spaces>,
    claimed: RefCell<Claims>,
    held: RefCell<BTreeMap<Place, Held>>,
    carrier: Carrier,
    file: PathBuf,
    /// Held while places are opened and closed.
    settling: Mutex<()>,
    changed: Notify,
}

/// What is had of a place that is claimed; nothing, while nobody listens inside.
#[derive(Debug)]
enum Held {
    /// Its port is taken, and nobody has listened inside yet.
    Reserved(OwnedFd),
    /// The carrier serves it.
    Served,
    /// It can't be had, and why.
    Blocked(String),
}

/// Whether a place that somebody else has is an error or waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    None,
    Waits,
}

/// The ports of spaces that take connections or datagrams, by the spaces' names.
type Listening = HashMap<String, HashSet<(Protocol, NonZeroU16)>>;

impl Board {
    /// An empty board, or what a daemon that was killed has left. To be called inside a `LocalSet`.
    pub(super) fn start(spaces: Rc<Spaces>) -> Result<Rc<Self>> {
        let file = paths::runtime()?.join("published.json");
        let (carrier, errands) = Carrier::start().context("cannot start the carrier")?;
        let board = Rc::new(Self {
            spaces,
            claimed: RefCell::new(Claims::left_in(&file)),
            held: RefCell::default(),
            carrier,
            file,
            settling: Mutex::default(),
            changed: Notify::new(),
        });
        tokio::task::spawn_local(Rc::clone(&board).run_errands(errands));
        tokio::task::spawn_local(Rc::clone(&board).follow());
        Ok(board)
    }

    /// Publishes what is wished of a space, all or nothing; answers with where it is to be found.
    ///
    /// # Errors
    /// A [`Failure`] that names the holder of a place, or says why it can't be had.
    pub(super) async fn publish(
        &self,
        space: &Space,
        wishes: &[Wish],
        patience: Patience,
    ) -> Result<Vec<Publication>> {
        let before = self.claimed.borrow().all.clone();
        let claims = wishes.iter().map(|wish| self.claim(space, wish, patience));
        let new = match claims.collect::<Result<Vec<_>, _>>() {
            Ok(new) => new,
            Err(failure) => {
                self.claimed.borrow_mut().all = before;
                self.settle().await;
                return Err(failure.into());
            }
        };
        self.renew().await;
        let all = self.publications();
        let is_new = |publication: &Publication| {
            new.iter()
                .any(|claim| claim.place == publication.place && claim.space == publication.space)
        };
        Ok(all.into_iter().filter(is_new).collect())
    }

    /// Publishes at the space's face whatever opens in it, from now on.
    pub(super) async fn publish_everything(&self, space: &Space) {
        self.claimed
            .borrow_mut()
            .everything
            .insert(space.entry.name.clone());
        self.renew().await;
    }

    /// Ends the publications that are `meant`; answers with them. Connections that stand are not touched.
    pub(super) async fn withdraw(&self, meant: impl Fn(&Publication) -> bool) -> Vec<Publication> {
        let mut ended = self.publications();
        ended.retain(meant);
        self.drop_claims(|claim| {
            ended
                .iter()
                .any(|ended| ended.place == claim.place && ended.space == claim.space)
        });
        self.renew().await;
        ended
    }

    /// Ends what is published as it opens.
    pub(super) fn withdraw_everything(&self, space: &str) {
        self.claimed.borrow_mut().everything.remove(space);
    }

    /// Shared places lead to this space from now on; to whoever claimed them first, if it is none.
    pub(super) async fn focus(&self, space: Option<String>) {
        self.claimed.borrow_mut().focus = space;
        self.renew().await;
    }

    /// The space in focus.
    pub(super) fn focused(&self) -> Option<String> {
        self.claimed.borrow().focus.clone()
    }

    /// Forgets what is claimed for other spaces than these.
    pub(super) fn keep_only(&self, runs: impl Fn(&str) -> bool) {
        let mut all = self.claimed.borrow().spaces();
        all.retain(|space| !runs(space));
        all.iter().for_each(|space| self.forget(space));
        self.changed.notify_one();
    }

    /// A space has ended, and with it what it had published.
    pub(super) fn forget(&self, space: &str) {
        self.claimed.borrow_mut().forget(space);
        self.keep();
        self.changed.notify_one();
    }

    /// Everything that is published, and whether it can be reached.
    pub(super) fn publications(&self) -> Vec<Publication> {
        let claimed = self.claimed.borrow();
        let held = self.held.borrow();
        let state = |claim: &Claim| {
            let current = claimed
                .current(claim.place)
                .map_or("", |current| &current.space);
            if current != claim.space {
                return State::Elsewhere {
                    to: current.to_owned(),
                };
            }
            match held.get(&claim.place) {
                Some(Held::Served) => State::Served,
                Some(Held::Blocked(why)) => State::Blocked { why: why.clone() },
                Some(Held::Reserved(_)) | None => State::Waiting,
            }
        };
        let publication = |claim: &Claim| Publication {
            space: claim.space.clone(),
            inside: claim.inside,
            place: claim.place,
            state: state(claim),
        };
        claimed.all.iter().map(publication).collect()
    }

    /// What is claimed has changed.
    async fn renew(&self) {
        self.keep();
        self.settle().await;
        self.changed.notify_one();
    }

    /// Enters one claim, and takes its port of the machine.
    fn claim(&self, space: &Space, wish: &Wish, patience: Patience) -> Result<Claim, Failure> {
        let claim = |port| Claim {
            place: Place {
                protocol: wish.protocol,
                address: wish.at.unwrap_or_else(|| space.entry.number.face().into()),
                port,
            },
            space: space.entry.name.clone(),
            inside: wish.inside,
            origin: Origin::Asked,
        };
        match wish.outside {
            Outside::Exactly(port) => self.enter(claim(port), patience),
            Outside::From(first) => {
                if let Some(known) = self.claimed.borrow().like(&claim(first)) {
                    return Ok(known.clone());
                }
                let mut failure = None;
                for port in (first.get()..=u16::MAX).filter_map(NonZeroU16::new) {
                    match self.enter(claim(port), Patience::None) {
                        Ok(claim) => return Ok(claim),
                        Err(error) if error.status == status::CONFLICT => failure = Some(error),
                        Err(error) => return Err(error),
                    }
                }
                Err(failure.expect("at least one port was tried"))
            }
        }
    }

    fn enter(&self, claim: Claim, patience: Patience) -> Result<Claim, Failure> {
        let mut claimed = self.claimed.borrow_mut();
        let mut others = claimed
            .all
            .iter()
            .filter(|other| other.place == claim.place);
        let clash = others.clone().find(|other| other.space != claim.space);
        if let Some(other) = clash.filter(|_| !claim.is_shared()) {
            return Err(conflict(format!(
                "address already in use: {} is published for space {}; `wharf unpublish {}` ends that",
                claim.place, other.space, claim.place
            )));
        }
        if others.any(|other| other.space == claim.space) {
            claimed
                .all
                .retain(|other| other.place != claim.place || other.space != claim.space);
        }
        let mut held = self.held.borrow_mut();
        if let std::collections::btree_map::Entry::Vacant(vacant) = held.entry(claim.place) {
            match take(claim.place) {
                Ok(socket) => drop(vacant.insert(Held::Reserved(socket))),
                Err(error) if error == Errno::ADDRINUSE && patience == Patience::Waits => {
                    vacant.insert(Held::Blocked(why_not(claim.place, error).message));
                }
                Err(error) => {
                    let failure = why_not(claim.place, error);
                    return Err(with_ways_out(failure, claim.place, claim.inside));
                }
            }
        }
        claimed.all.push(claim.clone());
        Ok(claim)
    }

    fn drop_claims(&self, meant: impl Fn(&Claim) -> bool) {
        self.claimed.borrow_mut().all.retain(|claim| !meant(claim));
    }

    /// Opens and closes places as their listeners come and go, for good.
    async fn follow(self: Rc<Self>) {
        let mut events = self.spaces.events.subscribe();
        loop {
            self.settle().await;
            let someone_is_in_the_way = self
                .held
                .borrow()
                .values()
                .any(|held| matches!(held, Held::Blocked(_)));
            tokio::select! {
                // Those that were missed are no loss: what listens now is asked for.
                _ = events.recv() => while events.try_recv().is_ok() {},
                () = self.changed.notified() => {}
                () = tokio::time::sleep(AGAIN), if someone_is_in_the_way => {}
            }
        }
    }

    /// Brings what is held in line with what is claimed and what listens.
    async fn settle(&self) {
        let _alone = self.settling.lock().await;
        let listening = self.listening();
        self.claim_everything(&listening);
        let places: BTreeSet<Place> = {
            let claimed = self.claimed.borrow();
            let held = self.held.borrow();
            claimed
                .all
                .iter()
                .map(|claim| claim.place)
                .chain(held.keys().copied())
                .collect()
        };
        for place in places {
            let current = self.claimed.borrow().current(place).cloned();
            let Some(claim) = current else {
                self.give_back(place).await;
                continue;
            };
            let listens = listening
                .get(&claim.space)
                .is_some_and(|ports| ports.contains(&(place.protocol, claim.inside)));
            if listens {
                self.serve(&claim);
            } else if !matches!(self.held.borrow().get(&place), Some(Held::Reserved(_))) {
                self.give_back(place).await;
            }
        }
    }

    /// What listens in the spaces that have something published.
    fn listening(&self) -> Listening {
        let ports = |space: Rc<Space>| {
            let sockets = space.listening().unwrap_or_else(|error| {
                tracing::error!("cannot list {}: {error}", space.entry.name);
                Vec::new()
            });
            sockets
                .into_iter()
                .map(|(socket, _)| (socket.protocol, socket.port))
                .collect()
        };
        let of = |name: &String| Some((name.clone(), ports(self.spaces.find(name)?)));
        self.claimed
            .borrow()
            .spaces()
            .iter()
            .filter_map(of)
            .collect()
    }

    /// Claims what has opened where everything is published, and drops what has closed.
    fn claim_everything(&self, listening: &Listening) {
        self.drop_claims(|claim| {
            let open = listening
                .get(&claim.space)
                .is_some_and(|ports| ports.contains(&(claim.place.protocol, claim.inside)));
            claim.origin == Origin::Opened && !open
        });
        let everything = self.claimed.borrow().everything.clone();
        for space in everything.iter().filter_map(|name| self.spaces.find(name)) {
            let name = &space.entry.name;
            for &(protocol, port) in listening.get(name).into_iter().flatten() {
                let claim = Claim {
                    place: Place {
                        protocol,
                        address: space.entry.number.face().into(),
                        port,
                    },
                    space: name.clone(),
                    inside: port,
                    origin: Origin::Opened,
                };
                let known = self.claimed.borrow().all.iter().any(|claim| {
                    claim.space == *name && claim.inside == port && claim.place.protocol == protocol
                });
                if !known && let Err(error) = self.enter(claim, Patience::Waits) {
                    tracing::info!("{name}: port {port} is not published: {}", error.message);
                }
            }
        }
    }

    /// Has a place served, if it can be had.
    fn serve(&self, claim: &Claim) {
        let place = claim.place;
        let mut held = self.held.borrow_mut();
        let socket = match held.remove(&place) {
            Some(Held::Served) => {
                held.insert(place, Held::Served);
                return;
            }
            Some(Held::Reserved(socket)) => Ok(socket),
            Some(Held::Blocked(_)) | None => take(place),
        };
        let opened = socket.and_then(|socket| {
            if place.protocol == Protocol::Tcp {
                rustix::net::listen(&socket, BACKLOG)?;
            }
            Ok(socket)
        });
        let now = match opened {
            Ok(socket) => {
                self.carrier.open(place, socket);
                Held::Served
            }
            Err(error) => Held::Blocked(why_not(claim.place, error).message),
        };
        held.insert(place, now);
    }

    async fn give_back(&self, place: Place) {
        let held = self.held.borrow_mut().remove(&place);
        if matches!(held, Some(Held::Served)) {
            self.carrier.close(place).await;
        }
    }

    /// Connects whoever comes to a place with the program behind it.
    async fn run_errands(self: Rc<Self>, mut errands: mpsc::Receiver<Errand>) {
        while let Some(errand) = errands.recv().await {
            let Errand {
                place,
                guest,
                named,
                reply,
            } = errand;
            let board = Rc::clone(&self);
            tokio::task::spawn_local(async move {
                reply.send(board.reach(place, guest, &named).await).ok()
            });
        }
    }

    async fn reach(
        &self,
        place: Place,
        guest: Option<Guest>,
        named: &Named,
    ) -> io::Result<Reached> {
        if *named == Named::Unasked && self.claimed.borrow().takes_a_name(place) {
            return Ok(Reached::Unclear);
        }
        let meant = match named {
            Named::Space(space) => self.claimed.borrow().of(place, space).cloned(),
            Named::Unasked | Named::Nobody => None,
        };
        let claim = meant.or_else(|| self.claimed.borrow().current(place).cloned());
        let claim = claim.ok_or(io::ErrorKind::NotConnected)?;
        let space = self
            .spaces
            .find(&claim.space)
            .ok_or(io::ErrorKind::NotConnected)?;
        match guest {
            Some(Guest::Connection(client, outside)) => {
                if let Some(()) = space.welcome(client, outside, claim.inside).await {
                    return Ok(Reached::Already);
                }
            }
            Some(Guest::Datagrams(client)) => {
                if let Some(way) = space.way(client, claim.inside)? {
                    return Ok(Reached::As(way));
                }
            }
            None => {}
        }
        Ok(Reached::By(match place.protocol {
            Protocol::Tcp => space.dial(claim.inside.get()).await?.into_std()?.into(),
            Protocol::Udp => space.dial_datagrams(claim.inside).await?,
        }))
    }

    /// Has the next daemon find what is claimed.
    fn keep(&self) {
        if let Err(error) = self.claimed.borrow().keep_in(&self.file) {
            tracing::error!(
                "cannot keep what is published in {}: {error}",
                self.file.display()
            );
        }
    }
}
