//! A record that threads share: clerks write, the daemon's control reads and compares.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Record;

/// A record that threads share: clerks write, the daemon's control reads and compares.
#[derive(Debug)]
pub(crate) struct Ledger {
    record: Mutex<Record>,
    /// A clerk has written what nobody was told of.
    written: AtomicBool,
    changed: Notify,
}

impl Ledger {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            record: Mutex::new(Record::new()),
            written: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// The record, for a few short steps: clerks wait for it.
    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        // Each step leaves a whole record behind, whatever came after it.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record, to note something that [`Self::tell`] tells.
    pub(in crate::binding) fn writing(&self) -> MutexGuard<'_, Record> {
        let record = self.record();
        // Who is woken by another clerk's word waits for this one's note.
        self.written.store(true, Ordering::Relaxed);
        record
    }

    /// Wakes who waits for changes, if there were any. Not before the program has its answer: it takes some time.
    pub(in crate::binding) fn tell(&self) {
        if self.written.swap(false, Ordering::Relaxed) {
            self.changed.notify_one();
        }
    }

    /// Waits for changes.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}
