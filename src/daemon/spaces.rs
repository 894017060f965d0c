//! All spaces that run, by name, and the book that they are entered in.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use tokio::sync::{Mutex, Notify, broadcast, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::board::{Board, Patience};
use super::denials;
use super::front::Doors;
use super::keeper::{self, Handover};
use super::names::{self, NameService};
use super::ports::Untold;
use super::space::{Attached, Space};
use super::web::Web;
use crate::binding::notify::Listener as BindListener;
use crate::binding::standin::Kept;
use crate::channel::AsyncChannel;
use crate::event::Event;
use crate::history;
use crate::list::running::Running;
use crate::list::{self, Hold, Question};
use crate::name::Scheme;
use crate::paths;
use crate::protocol::{Run, SpaceInfo, Target};
use crate::publish::wish::Wish;
use crate::publish::{self, Publication};
use crate::relay::denials::Attempt;
use crate::relay::{Names, Routes};
use crate::space::book::Book;
use crate::space::keeper::{Charter, new_socket};

/// How long a new daemon waits for each keeper, which has nothing else to do.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many events a follower may be behind before it misses some: more than one space tells at once.
const EVENTS_KEPT: usize = 2048;

/// The spaces.
pub(super) struct Spaces {
    running: RefCell<BTreeMap<String, Rc<Space>>>,
    /// Locked while a space is made, so that two commands don't make one twice.
    book: Mutex<Book>,
    routes: Routes,
    pub(super) names: Names,
    /// Where relays tell of ways that are closed.
    attempts: mpsc::Sender<Attempt>,
    /// What happens to ports, for everybody who follows it.
    pub(super) events: broadcast::Sender<Event>,
    /// How many changes came faster than they could be told.
    pub(super) untold: Untold,
    ids: Cell<u64>,
    commands: Cell<usize>,
    /// Wait for the keepers that this daemon started.
    keepers: RefCell<JoinSet<()>>,
    /// Everything was ended on purpose: the daemon need not stay for what comes next.
    dismissed: Cell<bool>,
    changed: Notify,
    /// What serves the spaces, and knows them in turn.
    doors: OnceCell<Doors>,
    service: OnceCell<NameService>,
    board: OnceCell<Rc<Board>>,
    /// Made when somebody wants the page.
    web: OnceCell<Rc<Web>>,
}

impl fmt::Debug for Spaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spaces")
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}

/// Since when the sockets are as they are that a former daemon has seen.
fn recall() -> HashMap<u64, Timestamp> {
    history::since(list::boot()).unwrap_or_else(|error| {
        tracing::warn!("since when ports are held is not recalled: {error:#}");
        HashMap::new()
    })
}

/// A command is being served: the daemon stays.
pub(super) struct Busy(Rc<Spaces>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.commands.set(self.0.commands.get() - 1);
        self.0.changed.notify_waiters();
    }
}

impl Spaces {
    /// No space runs yet, but what serves them does. To be called inside a `LocalSet`.
    pub(super) fn start() -> Result<Rc<Self>> {
        let (names, asked) = names::channel();
        let (attempts, tried) = denials::channel();
        let spaces = Rc::new(Self {
            running: RefCell::default(),
            book: Mutex::new(Book::open(paths::state()?.join("spaces.json"))?),
            routes: Routes::default(),
            names,
            attempts,
            events: broadcast::Sender::new(EVENTS_KEPT),
            untold: Untold::default(),
            ids: Cell::new(0),
            commands: Cell::new(0),
            keepers: RefCell::default(),
            dismissed: Cell::new(false),
            changed: Notify::new(),
            doors: OnceCell::new(),
            service: OnceCell::new(),
            board: OnceCell::new(),
            web: OnceCell::new(),
        });
        spaces.board.set(Board::start(Rc::clone(&spaces))?).ok();
        spaces.doors.get_or_init(|| Doors::new(Rc::clone(&spaces)));
        spaces
            .service
            .get_or_init(|| NameService::start(Rc::clone(&spaces), asked));
        tokio::task::spawn_local(Rc::clone(&spaces).follow_names());
        tokio::task::spawn_local(denials::tell(Rc::clone(&spaces), tried));
        Ok(spaces)
    }

    /// Follows the machine when it names other name servers.
    async fn follow_names(self: Rc<Self>) {
        let mut change = NameService::watch();
        loop {
            let changed = match change {
                Ok(change) => NameService::changed(change).await,
                Err(error) => Err(error),
            };
            if let Err(error) = changed {
                tracing::error!("changes of resolv.conf are not followed: {error}");
                return;
            }
            // Before it is looked at, so that whatever comes later is noticed.
            change = NameService::watch();
            for space in self.all() {
                self.furnish(&space).await;
            }
        }
    }

    /// Waits until the keepers of spaces that have ended are gone, and no longer than [`PATIENCE`].
    pub(super) async fn keepers_end(&self) {
        let mut keepers = self.keepers.take();
        let all = async { while keepers.join_next().await.is_some() {} };
        timeout(PATIENCE, all).await.ok();
    }

    /// Marks that a command is being served.
    pub(super) fn busy(self: &Rc<Self>) -> Busy {
        self.commands.set(self.commands.get() + 1);
        self.changed.notify_waiters();
        Busy(Rc::clone(self))
    }

    /// Everything is ended on purpose.
    pub(super) fn dismiss(&self) {
        self.dismissed.set(true);
    }

    /// Waits until nothing has run and nobody has asked for `time`, or not at all where everything was ended on purpose.
    pub(super) async fn idle_for(&self, time: Duration) {
        loop {
            let changed = self.changed.notified();
            if self.commands.get() == 0 && self.running.borrow().is_empty() {
                if self.dismissed.get() {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(time) => return,
                    () = changed => {}
                }
            } else {
                changed.await;
            }
        }
    }

    /// Takes up the spaces of a daemon that died: their keepers wait at their sockets.
    pub(super) async fn adopt(self: &Rc<Self>) -> Result<()> {
        let mut since = None;
        for file in fs::read_dir(paths::keepers()?)? {
            let path = file?.path();
            match UnixStream::connect(&path) {
                Ok(socket) => {
                    let since = since.get_or_insert_with(recall).clone();
                    socket.set_nonblocking(true)?;
                    let channel = AsyncChannel::new(tokio::net::UnixStream::from_std(socket)?);
                    let handover = timeout(PATIENCE, keeper::take_over(channel)).await;
                    let handover = handover.context("its keeper does not answer").flatten();
                    match handover {
                        Ok(handover) => self.go_on(handover, since).await,
                        Err(error) => tracing::error!("{} is lost: {error:#}", path.display()),
                    }
                }
                // A keeper that was killed left it, or one is just ending and removes it itself.
                Err(_) => {
                    fs::remove_file(&path).ok();
                }
            }
        }
        Ok(())
    }

    /// Carries on the space of a daemon that died, and the supervision of its runs.
    async fn go_on(self: &Rc<Self>, mut handover: Handover, since: HashMap<u64, Timestamp>) {
        let name = handover.charter.entry.name.clone();
        let kept = std::mem::take(&mut handover.kept);
        match self.carry(handover) {
            Ok(space) => {
                space.ports.recall(since);
                for Kept { run, listener } in kept {
                    self.supervise(&space, &run, listener, None).await;
                }
                self.furnish(&space).await;
                tracing::info!("{name} goes on");
            }
            Err(error) => tracing::error!("{name} is lost: {error:#}"),
        }
    }

    /// Has the binds of a run arrive here, and tells it, if it is there, what it needs to stand in.
    pub(super) async fn supervise(
        &self,
        space: &Space,
        run: &str,
        listener: BindListener,
        channel: Option<&mut AsyncChannel>,
    ) {
        if let Err(error) = space.supervise(run, listener, channel).await {
            tracing::error!("binds of a run in {}: {error:#}", space.entry.name);
        }
    }

    /// Attaches a run to the space that it means, which is made if it doesn't run.
    pub(super) async fn enter(self: &Rc<Self>, run: &Run) -> Result<Attached> {
        self.dismissed.set(false);
        let mut book = self.book.lock().await;
        let entry = book.enter(&run.target, run.name.as_deref(), |name| {
            self.running.borrow().contains_key(name)
        })?;
        if let Some(space) = self.find(&entry.name) {
            space.obey(run.policy.as_ref())?;
            space.isolate(run.isolated).await;
            return Ok(space.attach());
        }
        let socket = new_socket(&entry)?;
        let charter = Charter {
            entry,
            device: run.device,
            mtu: run.mtu,
            isolated: run.isolated == Some(true),
            socket,
        };
        let space = self.carry(keeper::start(charter).await?)?;
        let attached = space.attach();
        space.obey(run.policy.as_ref())?;
        self.furnish(&space).await;
        tracing::info!(
            "{} stands at {}",
            space.entry.name,
            space.entry.number.ipv4()
        );
        Ok(attached)
    }

    /// Has names answered in a space.
    async fn furnish(&self, space: &Space) {
        if let Some(service) = self.service.get() {
            let remarks = service.serve(space).await;
            space.remarks.borrow_mut().extend(remarks);
        }
    }

    fn carry(self: &Rc<Self>, mut handover: Handover) -> Result<Rc<Space>> {
        if let Some(mut child) = handover.child.take() {
            let mut keepers = self.keepers.borrow_mut();
            while keepers.try_join_next().is_some() {}
            // So that it leaves no zombie.
            keepers.spawn_local(async move { drop(child.wait().await) });
        }
        self.ids.set(self.ids.get() + 1);
        let (names, events) = (self.names.clone(), self.events.clone());
        let (id, attempts) = (self.ids.get(), self.attempts.clone());
        let told = (events, self.untold.clone());
        let space = Space::carry(id, handover, &self.routes, names, attempts, told)?;
        space.employ(Rc::clone(&space.ports).follow());
        self.running
            .borrow_mut()
            .insert(space.entry.name.clone(), Rc::clone(&space));
        let (spaces, watched) = (Rc::clone(self), Rc::clone(&space));
        // Before this is first polled, a new space has its first run; an adopted one has its processes.
        tokio::task::spawn_local(async move {
            watched.deserted().await;
            spaces.forget(&watched);
        });
        Ok(space)
    }

    fn forget(&self, space: &Space) {
        self.running.borrow_mut().remove(&space.entry.name);
        space.close();
        if let Some(doors) = self.doors.get() {
            doors.forget(space.id);
        }
        if let Some(board) = self.board.get() {
            board.forget(&space.entry.name);
        }
        tracing::info!("{} is deserted and ends", space.entry.name);
        self.changed.notify_waiters();
    }

    /// Waits until this space is no more.
    pub(super) async fn gone(&self, space: &Rc<Space>) {
        loop {
            let changed = self.changed.notified();
            if !self
                .find(&space.entry.name)
                .is_some_and(|running| Rc::ptr_eq(&running, space))
            {
                return;
            }
            changed.await;
        }
    }

    /// The running space of that name.
    pub(super) fn find(&self, name: &str) -> Option<Rc<Space>> {
        self.running.borrow().get(name).cloned()
    }

    /// The running spaces that `target` means.
    pub(super) async fn meant(&self, target: &Target) -> Vec<Rc<Space>> {
        match target {
            Target::All => self.all(),
            Target::Name(name) => self.find(name).into_iter().collect(),
            Target::Directory(_) => {
                let name = self
                    .book
                    .lock()
                    .await
                    .find(target)
                    .map(|entry| entry.name.clone());
                name.and_then(|name| self.find(&name)).into_iter().collect()
            }
        }
    }

    /// All running spaces, by name.
    pub(super) fn all(&self) -> Vec<Rc<Space>> {
        self.running.borrow().values().cloned().collect()
    }

    /// The sockets of these spaces that the question is about.
    pub(super) fn survey(&self, spaces: &[Rc<Space>], question: &Question) -> Result<Vec<Hold>> {
        let known: Vec<_> = spaces
            .iter()
            .map(|space| (space.known(), self.url(space)))
            .collect();
        let views: Vec<_> = spaces
            .iter()
            .zip(&known)
            .map(|(space, (known, url))| space.view(known, url.as_deref()))
            .collect();
        let mut holds =
            list::survey(&views, question).context("cannot list the sockets of the spaces")?;
        if let Some(board) = self.board.get() {
            publish::tell(&board.publications(), &mut holds);
        }
        Ok(holds)
    }

    /// The programs in these spaces.
    pub(super) fn running(&self, spaces: &[Rc<Space>]) -> Result<Vec<Running>> {
        let holds = self.survey(spaces, &Question::LISTENERS)?;
        let places: Vec<_> = spaces.iter().map(|space| space.place()).collect();
        list::running::running(&places, &holds).context("cannot list the programs of the spaces")
    }

    /// A line for the log on what was done.
    pub(super) fn summary(&self) -> String {
        self.service.get().map_or_else(String::new, |service| {
            format!("queries for names: {:?}", service.counts())
        })
    }

    /// Serves spaces by name, if that is not being done; answers with what stands in the way.
    pub(super) async fn open_doors(&self) -> Vec<String> {
        match self.doors.get() {
            Some(doors) => doors.open().await,
            None => Vec::new(),
        }
    }

    /// A space as its users see it.
    pub(super) fn info(&self, space: &Space) -> SpaceInfo {
        let url = |scheme| self.doors.get()?.url(scheme, &space.entry.name);
        space.info(url(Scheme::Http), url(Scheme::Https))
    }

    /// What is published.
    pub(super) fn board(&self) -> Result<&Board> {
        Ok(self.board.get().context("nothing is published yet")?)
    }

    /// Publishes ports of a space.
    pub(super) async fn publish(
        &self,
        space: &Space,
        wishes: &[Wish],
        patience: Patience,
    ) -> Result<Vec<Publication>> {
        if wishes.is_empty() {
            return Ok(Vec::new());
        }
        self.board()?.publish(space, wishes, patience).await
    }

    /// Publishes every port of a space as it opens.
    pub(super) async fn publish_everything(&self, space: &Space) {
        if let Some(board) = self.board.get() {
            board.publish_everything(space).await;
        }
    }

    /// Goes on with what a daemon that died has published of the spaces that have been adopted.
    pub(super) fn publish_again(&self) {
        if let Some(board) = self.board.get() {
            board.keep_only(|space| self.find(space).is_some());
        }
    }

    /// The page's desk.
    pub(super) fn web(self: &Rc<Self>) -> Result<&Rc<Web>> {
        if self.web.get().is_none() {
            self.web.set(Web::new(Rc::clone(self))?).ok();
        }
        self.web.get().context("the page has no desk")
    }

    /// The address of the page, good for one use.
    pub(super) fn page(self: &Rc<Self>) -> Result<Option<String>> {
        let Some(url) = self
            .doors
            .get()
            .and_then(|doors| doors.url(Scheme::Http, "wharf"))
        else {
            return Ok(None);
        };
        Ok(Some(format!("{url}/#{}", self.web()?.ticket()?)))
    }

    /// Where the web servers of a space are reached.
    pub(super) fn url(&self, space: &Space) -> Option<String> {
        self.doors.get()?.url(Scheme::Http, &space.entry.name)
    }
}
