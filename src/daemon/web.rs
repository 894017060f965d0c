//! The page's desk: who may look, what they are shown, and how long somebody looks for whom that is found out.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use super::eye::Eye;
use super::session;
use super::spaces::Spaces;
use crate::history::{self, Wanted};
use crate::protocol::{Ask, Reply};
use crate::web::key::Keys;
use crate::web::picture;
use crate::web::serve::Desk;

/// As many pages may be open.
const PAGES_MAX: usize = 16;
/// What may wait for one page, beside one picture: a page that reads slower sees fewer pictures.
const WAITING: usize = 8;
/// A page that takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked, and how soon after something has happened at the earliest.
const PERIOD: Duration = Duration::from_secs(1);
const TOGETHER: Duration = Duration::from_millis(100);
/// How often something is said where nothing changes, so that a page knows that it is still heard.
const BREATH: Duration = Duration::from_secs(15);
/// As much of the past is told first.
const PAST: u32 = 200;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Web {
    spaces: Rc<Spaces>,
    keys: RefCell<Keys>,
    /// The last picture, as it is sent; empty before the first.
    pictures: watch::Sender<Bytes>,
    pages: Cell<usize>,
    looks: Cell<bool>,
    /// Something was done that no event tells of.
    done: Notify,
}

impl Web {
    /// A desk at which nobody is.
    ///
    /// # Errors
    /// If the kernel has no randomness to give.
    pub(super) fn new(spaces: Rc<Spaces>) -> io::Result<Rc<Self>> {
        Ok(Rc::new(Self {
            spaces,
            keys: RefCell::new(Keys::new()?),
            pictures: watch::Sender::new(Bytes::new()),
            pages: Cell::new(0),
            looks: Cell::new(false),
            done: Notify::new(),
        }))
    }

    /// What has to stand behind the `#` of the page's address, once.
    pub(super) fn ticket(&self) -> io::Result<String> {
        self.keys.borrow_mut().ticket(Instant::now())
    }

    /// Has pictures made for as long as a page is open.
    fn look(self: &Rc<Self>) {
        if !self.looks.replace(true) {
            tokio::task::spawn_local(Rc::clone(self).look_on());
        }
    }

    async fn look_on(self: Rc<Self>) {
        let mut eye = Eye::default();
        let mut events = self.spaces.events.subscribe();
        while self.pictures.receiver_count() > 0 {
            let begun = tokio::time::Instant::now();
            match eye.look(&self.spaces) {
                Ok(seen) => self.show(&frame("picture", &seen.json())),
                Err(error) => tracing::error!("the page sees nothing: {error:#}"),
            }
            tokio::select! {
                () = tokio::time::sleep_until(begun + PERIOD) => {}
                _ = events.recv() => {
                    tokio::time::sleep(TOGETHER).await;
                    while !matches!(events.try_recv(), Err(tokio::sync::broadcast::error::TryRecvError::Empty)) {}
                    eye.open();
                }
                () = self.done.notified() => eye.open(),
            }
        }
        self.pictures.send_replace(Bytes::new());
        self.looks.set(false);
    }

    fn show(&self, picture: &Bytes) {
        self.pictures.send_if_modified(|shown| {
            let differs = shown != picture;
            if differs {
                shown.clone_from(picture);
            }
            differs
        });
    }

    /// Tells one page what happens, until it is closed or too slow.
    async fn tell(self: Rc<Self>, page: mpsc::Sender<Bytes>) {
        let _place = Place::take(&self);
        // While one is looked at, the daemon stays.
        let _busy = self.spaces.busy();
        let mut events = self.spaces.events.subscribe();
        let mut pictures = self.pictures.subscribe();
        pictures.mark_changed();
        self.look();
        let said = timeout(PATIENCE, page.send(frame("clock", &picture::clock()))).await;
        let past = tokio::task::spawn_blocking(past).await.unwrap_or_default();
        let told = timeout(PATIENCE, page.send(past)).await;
        let mut goes_on = matches!((said, told), (Ok(Ok(())), Ok(Ok(()))));
        while goes_on {
            let news = tokio::select! {
                heard = events.recv() => match heard {
                    Ok(event) => frame("port", &picture::told(&event)),
                    Err(RecvError::Lagged(count)) => frame("missed", &picture::missed(count)),
                    Err(RecvError::Closed) => return,
                },
                Ok(()) = pictures.changed() => pictures.borrow_and_update().clone(),
                () = tokio::time::sleep(BREATH) => Bytes::from_static(b":\n\n"),
                () = page.closed() => return,
            };
            goes_on = matches!(timeout(PATIENCE, page.send(news)).await, Ok(Ok(())));
        }
    }
}

impl Desk for Rc<Web> {
    fn keys(&self) -> &RefCell<Keys> {
        &self.keys
    }

    async fn answer(&self, ask: Ask) -> Result<Reply> {
        let _busy = self.spaces.busy();
        let reply = session::reply(ask, &self.spaces).await;
        self.done.notify_one();
        reply
    }

    fn tell(&self) -> Option<mpsc::Receiver<Bytes>> {
        if self.pages.get() >= PAGES_MAX {
            return None;
        }
        let (page, told) = mpsc::channel(WAITING);
        tokio::task::spawn_local(Self::clone(self).tell(page));
        Some(told)
    }
}

/// A page's place among [`PAGES_MAX`].
struct Place(Rc<Web>);

impl Place {
    fn take(web: &Rc<Web>) -> Self {
        web.pages.set(web.pages.get() + 1);
        Self(Rc::clone(web))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.pages.set(self.0.pages.get() - 1);
    }
}

/// What has happened before, in one piece.
fn past() -> Bytes {
    let wanted = Wanted {
        last: Some(PAST),
        ..Wanted::default()
    };
    let events = history::read(&wanted).unwrap_or_else(|error| {
        tracing::error!("the page is told no past: {error:#}");
        Vec::new()
    });
    let told = events
        .iter()
        .map(|event| frame("past", &picture::told(event)));
    told.collect::<Vec<_>>().concat().into()
}

/// One server-sent event. What is told has no line ends: JSON escapes them.
fn frame(name: &str, data: &str) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}
