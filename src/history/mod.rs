//! What happened to the ports of spaces, kept for some weeks: events in an SQLite file of the state directory.
//!
//! The daemon writes, on a thread of its own, so that no disk ever keeps a bind waiting; commands read. It is bounded in
//! time and in number. Nothing but answers about the past is made of it: what is now, only the kernel says.

pub(crate) mod when;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OpenFlags, Row, params};

use crate::event::{Event, Kind, Source};
use crate::paths;

/// Events older than this are forgotten.
const KEPT: SignedDuration = SignedDuration::from_hours(28 * 24);
/// More than these are never kept.
const KEPT_COUNT: u32 = 50_000;
/// After so many new events the old ones are looked at.
const PRUNED_EVERY: u32 = 1000;
/// How long one waits for the other's transaction.
const PATIENCE: Duration = Duration::from_secs(2);
/// What comes within this time is written together.
const TOGETHER: Duration = Duration::from_millis(200);
/// So many events are written together at most, and so many may wait; more are lost, rather than to keep anybody waiting.
const WAITING: usize = 8192;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS event (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL, -- microseconds since 1970
        space TEXT NOT NULL,
        port INTEGER NOT NULL,
        event TEXT NOT NULL -- JSON, as `wharf events --json` has it
    ) STRICT;
    CREATE INDEX IF NOT EXISTS event_by_time ON event (at);
    CREATE INDEX IF NOT EXISTS event_by_port ON event (port, at);
";

/// The history's file.
pub(crate) fn file() -> Result<PathBuf> {
    Ok(paths::state()?.join("history.db"))
}

/// The history, written to.
#[derive(Debug)]
pub(crate) struct Writer {
    events: mpsc::Sender<Event>,
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

/// What is in the channel. A bounded channel would take memory for as many as may wait, from the start.
#[derive(Debug, Default)]
struct Queue {
    /// How many wait.
    waiting: AtomicUsize,
    /// How many did not get in since that was said last.
    lost: AtomicUsize,
}

impl Writer {
    /// Has a thread write, which opens or makes the file when the first event comes.
    ///
    /// # Errors
    /// When there is no place for the file, or no thread to be had.
    pub(crate) fn start() -> Result<Self> {
        let file = file()?;
        let (events, coming) = mpsc::channel();
        let queue = Arc::new(Queue::default());
        let taken = Arc::clone(&queue);
        let thread = std::thread::Builder::new().name("history".into());
        let thread = thread.spawn(move || {
            let mut store = None;
            while let Some(events) = batch(&coming) {
                taken.waiting.fetch_sub(events.len(), Ordering::Relaxed);
                match taken.lost.swap(0, Ordering::Relaxed) {
                    0 => {}
                    lost => tracing::warn!(
                        "{lost} events are not kept: they came faster than they can be written"
                    ),
                }
                if let Err(error) = add(&mut store, &file, &events) {
                    tracing::error!("{} events are not kept: {error:#}", events.len());
                }
            }
        })?;
        Ok(Self {
            events,
            queue,
            thread,
        })
    }

    /// Keeps an event, unless too many wait.
    pub(crate) fn keep(&self, event: Event) {
        let Queue { waiting, lost } = &*self.queue;
        let full = waiting.fetch_add(1, Ordering::Relaxed) >= WAITING;
        if full || self.events.send(event).is_err() {
            waiting.fetch_sub(1, Ordering::Relaxed);
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything is written.
    pub(crate) fn finish(self) {
        drop(self.events);
        self.thread.join().ok();
    }
}

/// The next event and what comes soon after it; `None` when there will be none.
fn batch(coming: &mpsc::Receiver<Event>) -> Option<Vec<Event>> {
    let mut events = vec![coming.recv().ok()?];
    let end = Instant::now() + TOGETHER;
    while events.len() < WAITING
        && let Ok(event) = coming.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        events.push(event);
    }
    Some(events)
}

/// Adds events to the file, which is opened if it isn't.
fn add(store: &mut Option<Store>, file: &Path, events: &[Event]) -> Result<()> {
    let store = match store {
        Some(store) => store,
        none => none.insert(Store::open(file)?),
    };
    store.add(events)
}

/// The file, opened for writing.
#[derive(Debug)]
struct Store {
    connection: Connection,
    unpruned: u32,
}

impl Store {
    fn open(file: &Path) -> Result<Self> {
        let opened = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(file)?;
            connection.busy_timeout(PATIENCE)?;
            // What a power cut may take is the past.
            connection.pragma_update(None, "synchronous", "OFF")?;
            connection.execute_batch(TABLES)?;
            Ok(connection)
        };
        let connection = opened().with_context(|| format!("cannot open {}", file.display()))?;
        Ok(Self {
            connection,
            unpruned: PRUNED_EVERY,
        })
    }

    fn add(&mut self, events: &[Event]) -> Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction
                .prepare("INSERT INTO event (at, space, port, event) VALUES (?, ?, ?, ?)")?;
            for event in events {
                let text = serde_json::to_string(event)?;
                let at = event.at.as_microsecond();
                insert.execute(params![at, event.space, event.port.get(), text])?;
            }
        }
        transaction.commit()?;
        self.unpruned += u32::try_from(events.len()).unwrap_or(PRUNED_EVERY);
        if self.unpruned >= PRUNED_EVERY {
            self.prune(Timestamp::now())?;
            self.unpruned = 0;
        }
        Ok(())
    }

    /// Forgets what is too old or too much.
    fn prune(&self, now: Timestamp) -> Result<()> {
        let oldest = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
        let old = "DELETE FROM event WHERE at < ?1";
        self.connection.execute(old, [oldest.as_microsecond()])?;
        let many = "DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?1";
        self.connection.execute(many, [KEPT_COUNT])?;
        Ok(())
    }
}

/// What is wanted of the past.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted<'a> {
    /// Only of this space.
    pub(crate) space: Option<&'a str>,
    /// Only of this port.
    pub(crate) port: Option<u16>,
    /// From then on.
    pub(crate) since: Option<Timestamp>,
    /// Only so many, the last ones.
    pub(crate) last: Option<u32>,
}

/// Those events of the past, oldest first; none if nothing was ever kept.
///
/// # Errors
/// When the file can't be read.
pub(crate) fn read(wanted: &Wanted<'_>) -> Result<Vec<Event>> {
    let file = file()?;
    if !file.exists() {
        return Ok(Vec::new());
    }
    read_from(&file, wanted).with_context(|| format!("cannot read {}", file.display()))
}

/// Since when the sockets that were never seen to end are as they are, by their cookies: what another daemon saw since the
/// machine started.
///
/// # Errors
/// When the file can't be read.
pub(crate) fn since(boot: Timestamp) -> Result<HashMap<u64, Timestamp>> {
    let wanted = Wanted {
        since: Some(boot),
        ..Wanted::default()
    };
    Ok(since_of(&read(&wanted)?))
}

fn since_of(events: &[Event]) -> HashMap<u64, Timestamp> {
    let mut since = HashMap::new();
    for event in events {
        match (&event.kind, event.source) {
            (Kind::Bound | Kind::Listening, Source::Call) => {
                since.insert(event.socket, event.at);
            }
            // When it really happened isn't known.
            (Kind::Bound | Kind::Listening, Source::Dump) | (Kind::Released, _) => {
                since.remove(&event.socket);
            }
            (Kind::Conflict { .. } | Kind::Denied { .. }, _) => {}
        }
    }
    since
}

fn read_from(file: &Path, wanted: &Wanted<'_>) -> Result<Vec<Event>> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(PATIENCE)?;
    let mut select = connection.prepare(
        "SELECT event FROM event WHERE (?1 IS NULL OR space = ?1) AND (?2 IS NULL OR port = ?2) AND at >= ?3
         ORDER BY id DESC LIMIT ?4",
    )?;
    let since = wanted.since.unwrap_or(Timestamp::MIN).as_microsecond();
    let text = |row: &Row<'_>| row.get::<_, String>(0);
    let last = wanted.last.unwrap_or(u32::MAX);
    let rows = select.query_map(params![wanted.space, wanted.port, since, last], text)?;
    let mut events = Vec::new();
    for row in rows {
        // What another version of wharf wrote may not be understood any more.
        events.extend(serde_json::from_str::<Event>(&row?));
    }
    events.reverse();
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::testing::event;

    fn ports(file: &Path, wanted: &Wanted<'_>) -> Vec<u16> {
        let events = read_from(file, wanted).unwrap();
        events.iter().map(|event| event.port.get()).collect()
    }

    #[test]
    fn what_was_kept_is_read_by_space_port_and_time() {
        let top = tempfile::tempdir().unwrap();
        let file = top.path().join("history.db");
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let events = [
            event(at(1), "shop", 3000),
            event(at(2), "blog", 3000),
            event(at(3), "shop", 5432),
        ];
        let mut store = Store::open(&file).unwrap();
        store.unpruned = 0;
        store.add(&events).unwrap();
        assert_eq!(read_from(&file, &Wanted::default()).unwrap(), events);
        let last = None;
        let wanted = |space, port, since| {
            let wanted = Wanted {
                space,
                port,
                since,
                last,
            };
            ports(&file, &wanted)
        };
        assert_eq!(wanted(Some("shop"), None, None), [3000, 5432]);
        assert_eq!(wanted(None, Some(3000), None), [3000, 3000]);
        assert_eq!(wanted(None, None, Some(at(3))), [5432]);
        assert_eq!(wanted(Some("blog"), Some(5432), None), [0; 0]);
        let last = Some(2);
        let wanted = Wanted {
            last,
            ..Wanted::default()
        };
        assert_eq!(ports(&file, &wanted), [3000, 5432]);
    }

    #[test]
    fn a_socket_is_as_it_is_since_it_was_last_seen_to_become_so() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let told = |second, socket, kind, source| Event {
            socket,
            kind,
            source,
            ..event(at(second), "shop", 3000)
        };
        let since = since_of(&[
            told(1, 7, Kind::Bound, Source::Call),
            told(2, 7, Kind::Listening, Source::Call),
            told(3, 8, Kind::Bound, Source::Call),
            told(4, 9, Kind::Bound, Source::Call),
            told(5, 9, Kind::Listening, Source::Dump),
            told(6, 8, Kind::Released, Source::Call),
        ]);
        assert_eq!(since, HashMap::from([(7, at(2))]));
    }

    #[test]
    fn the_file_is_bounded_in_time_and_number() {
        let top = tempfile::tempdir().unwrap();
        let file = top.path().join("history.db");
        let now = Timestamp::now();
        let mut store = Store::open(&file).unwrap();
        let old = now
            .checked_sub(KEPT)
            .unwrap()
            .checked_sub(SignedDuration::from_secs(1))
            .unwrap();
        store
            .add(&[event(old, "shop", 1), event(now, "shop", 2)])
            .unwrap();
        assert_eq!(ports(&file, &Wanted::default()), [2]);
        let more: Vec<_> = (0..KEPT_COUNT).map(|_| event(now, "shop", 3)).collect();
        store.add(&more).unwrap();
        let kept = ports(&file, &Wanted::default());
        assert_eq!(kept.len(), usize::try_from(KEPT_COUNT).unwrap());
        assert!(!kept.contains(&2));
    }
}
