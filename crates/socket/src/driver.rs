//! The task that moves a stack's frames: from its links to the host, from the host to its links, and on when time has come.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant as Clock, Sleep, sleep_until};
use wharf_link::AsyncLink;
use wharf_net::{Host, Instant};

use crate::shared::{Answered, On, Phase, Shared, State};
use crate::wire::Wire;

/// Batches of frames before other tasks have their turn.
const ROUNDS: usize = 8;

/// See the [module](self). When it is dropped, the stack has ended.
pub(crate) struct Driver<L> {
    first: Wire<L>,
    further: Vec<Wire<Box<dyn AsyncLink>>>,
    shared: Arc<Shared>,
    sleep: Pin<Box<Sleep>>,
    /// When `sleep` ends; nothing if it has.
    armed: Option<Clock>,
    woken: Vec<Waker>,
    reason: String,
}

/// What a pass has come to.
#[derive(PartialEq, Eq)]
enum Outcome {
    /// There may be more at once.
    More,
    /// Everything is done until something happens.
    Idle,
}

impl<L: AsyncLink> Driver<L> {
    pub(crate) fn new(
        first: Wire<L>,
        further: Vec<Wire<Box<dyn AsyncLink>>>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            first,
            further,
            shared,
            sleep: Box::pin(sleep_until(Clock::now())),
            armed: None,
            woken: Vec::new(),
            reason: "its runtime has ended".to_owned(),
        }
    }

    /// Runs until the stack is stopped or abandoned, or the link is gone.
    pub(crate) async fn run(mut self) {
        self.reason = match std::future::poll_fn(|cx| self.poll(cx)).await {
            Ok(()) => "it was stopped".to_owned(),
            Err(error) => format!("its link is gone: {error}"),
        };
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..ROUNDS {
            let result = self.pass(cx);
            self.woken.drain(..).for_each(Waker::wake);
            match result? {
                Some(Outcome::More) => {}
                Some(Outcome::Idle) => return Poll::Pending,
                None => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One batch of frames in, everything out, and who waited for that; nothing when all is over.
    fn pass(&mut self, cx: &mut Context<'_>) -> io::Result<Option<Outcome>> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        state.attend(cx.waker());
        if matches!(state.phase, Phase::Stopped) {
            return Ok(None);
        }
        let now = shared.now();
        let elapsed = shared.elapsed();
        self.first.advance(elapsed);
        self.further.iter_mut().for_each(|it| it.advance(elapsed));
        state.host.expire(now);
        let mut busy = self.first.receive(cx, &mut state.host, now);
        for wire in &mut self.further {
            busy |= wire.receive(cx, &mut state.host, now);
        }
        busy |= self.transmit(cx, &mut state.host, now);
        self.require_link()?;
        let answered = state.dispatch(now, &mut self.woken);
        if state.host.has_output_room() {
            state.wake(On::Room, &mut self.woken);
        }
        if matches!(state.phase, Phase::Abandoned) && self.is_done(&state) {
            return Ok(None);
        }
        if busy || answered == Answered::Perhaps || self.is_due(cx, &state) {
            return Ok(Some(Outcome::More));
        }
        Ok(Some(Outcome::Idle))
    }

    /// Sends until the host has nothing more, or no link any room; whether to look again at once.
    fn transmit(&mut self, cx: &mut Context<'_>, host: &mut Host, now: Instant) -> bool {
        let mut busy = false;
        loop {
            let mut sent = self.first.transmit(cx, host, now, &mut busy);
            if self.further.is_empty() {
                return busy;
            }
            // What one link asks the host for may be another's.
            for wire in &mut self.further {
                sent += wire.transmit(cx, host, now, &mut busy);
            }
            if sent == 0 {
                return busy;
            }
        }
    }

    /// Fails when no link is left.
    fn require_link(&mut self) -> io::Result<()> {
        let left = self.further.iter().filter(|wire| wire.gone.is_none());
        if left.count() > 0 {
            return Ok(());
        }
        self.first.gone.take().map_or(Ok(()), Err)
    }

    fn is_done(&self, state: &State) -> bool {
        let sent = self.further.iter().all(|wire| wire.unsent.is_none());
        state.host.socket_count() == 0 && self.first.unsent.is_none() && sent
    }

    /// Whether something is due already; otherwise the task is woken when it is.
    ///
    /// The alarm is only ever moved forward: one that goes off early costs less than moving it for each frame.
    fn is_due(&mut self, cx: &mut Context<'_>, state: &State) -> bool {
        let host = state.host.deadline().map(|at| self.shared.clock(at));
        let further = self.further.iter().filter_map(|wire| wire.link.deadline());
        let links = self.first.link.deadline().into_iter().chain(further);
        let link = links.min().map(|at| self.shared.link_clock(at));
        let Some(deadline) = [host, link].into_iter().flatten().min() else {
            return false;
        };
        if self.armed.is_none_or(|armed| deadline < armed) {
            self.sleep.as_mut().reset(deadline);
            self.armed = Some(deadline);
        }
        let is_over = self.sleep.as_mut().poll(cx).is_ready();
        if is_over {
            self.armed = None;
        }
        is_over
    }
}

impl<L> Drop for Driver<L> {
    fn drop(&mut self) {
        self.shared.end(std::mem::take(&mut self.reason));
    }
}
