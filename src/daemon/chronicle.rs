//! Carries the daemon's events to the history.

use anyhow::Result;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, oneshot};
use tokio::task::JoinHandle;

use crate::event::Event;
use crate::history::Writer;

/// The task that does.
#[derive(Debug)]
pub(super) struct Chronicle {
    ending: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Chronicle {
    /// Keeps what is told from here on. To be called inside a `LocalSet`.
    pub(super) fn begin(mut events: broadcast::Receiver<Event>) -> Result<Self> {
        let writer = Writer::start()?;
        let (ending, mut ended) = oneshot::channel();
        let task = tokio::task::spawn_local(async move {
            loop {
                let heard = tokio::select! {
                    biased;
                    heard = events.recv() => heard,
                    _ = &mut ended => break,
                };
                match heard {
                    Ok(event) => writer.keep(event),
                    Err(RecvError::Lagged(count)) => tracing::warn!("{count} events are not kept"),
                    Err(RecvError::Closed) => break,
                }
            }
            writer.finish();
        });
        Ok(Self { ending, task })
    }

    /// Waits until everything that was told is written.
    pub(super) async fn finish(self) {
        self.ending.send(()).ok();
        self.task.await.ok();
    }
}
