//! The task that moves a stack's frames: from the link to the host, from the host to the link, and on when time has come.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant as Clock, Sleep, sleep_until};
use wharf_link::{AsyncLink, BATCH, Slots};
use wharf_net::{Frame, Instant};

use crate::shared::{Answered, On, Phase, Shared, State};

/// Batches of frames before other tasks have their turn.
const ROUNDS: usize = 8;

/// See the [module](self). When it is dropped, the stack has ended.
pub(crate) struct Driver<L> {
    link: L,
    shared: Arc<Shared>,
    slots: Slots,
    /// A frame that the link has no room for yet.
    unsent: Option<Frame>,
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
    pub(crate) fn new(link: L, shared: Arc<Shared>) -> Self {
        Self {
            link,
            shared,
            slots: Slots::default(),
            unsent: None,
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
        self.link.advance(shared.elapsed())?;
        state.host.expire(now);
        let received = self.receive(cx, &mut state, now)?;
        let cable = match self.transmit(cx, &mut state, now) {
            // Whoever left may have said much before.
            Err(_) if received == BATCH => Cable::Unplugged,
            sent => sent?,
        };
        let answered = state.dispatch(now, &mut self.woken);
        if state.host.has_output_room() {
            state.wake(On::Room, &mut self.woken);
        }
        if matches!(state.phase, Phase::Abandoned) && self.is_done(&state) {
            return Ok(None);
        }
        let more = received == BATCH
            || cable == Cable::Unplugged
            || answered == Answered::Perhaps
            || self.is_due(cx, &state);
        if more {
            return Ok(Some(Outcome::More));
        }
        Ok(Some(Outcome::Idle))
    }

    fn receive(
        &mut self,
        cx: &mut Context<'_>,
        state: &mut State,
        now: Instant,
    ) -> io::Result<usize> {
        for count in 0..BATCH {
            match self.slots.poll_receive(cx, &mut self.link) {
                // What isn't a frame at all is no error of the link's.
                Poll::Ready(Ok(bytes)) => drop(Frame::from_link(bytes).map(|frame| {
                    state.host.receive(now, frame);
                })),
                Poll::Ready(Err(error)) if is_down(&error) => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(count),
            }
        }
        Ok(BATCH)
    }

    /// Sends until the host has nothing more, or the link no room.
    fn transmit(
        &mut self,
        cx: &mut Context<'_>,
        state: &mut State,
        now: Instant,
    ) -> io::Result<Cable> {
        let mut cable = Cable::Plugged;
        while let Some(frame) = self.unsent.take().or_else(|| state.host.transmit(now)) {
            match send(cx, &mut self.link, &frame) {
                Poll::Pending => {
                    self.unsent = Some(frame);
                    return Ok(cable);
                }
                Poll::Ready(Err(error)) if is_down(&error) => cable = Cable::Unplugged,
                // Refused as malformed: lost, as the link says.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => {}
                Poll::Ready(result) => result?,
            }
        }
        match self.link.poll_flush(cx) {
            Poll::Ready(Err(error)) if is_down(&error) => cable = Cable::Unplugged,
            Poll::Ready(result) => result?,
            Poll::Pending => {}
        }
        Ok(cable)
    }

    fn is_done(&self, state: &State) -> bool {
        state.host.socket_count() == 0 && self.unsent.is_none()
    }

    /// Whether something is due already; otherwise the task is woken when it is.
    ///
    /// The alarm is only ever moved forward: one that goes off early costs less than moving it for each frame.
    fn is_due(&mut self, cx: &mut Context<'_>, state: &State) -> bool {
        let host = state.host.deadline().map(|at| self.shared.clock(at));
        let link = self.link.deadline().map(|at| self.shared.link_clock(at));
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

/// Whether there was anybody at the other end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cable {
    Plugged,
    Unplugged,
}

fn send(cx: &mut Context<'_>, link: &mut impl AsyncLink, frame: &Frame) -> Poll<io::Result<()>> {
    const MAX_PARTS: usize = 17;
    let mut parts = [IoSlice::new(&[]); MAX_PARTS];
    let body = frame.body();
    if body.len() >= MAX_PARTS {
        return link.poll_send(cx, &[IoSlice::new(&frame.to_link())]);
    }
    parts[0] = IoSlice::new(frame.head());
    for (part, slice) in parts[1..].iter_mut().zip(body) {
        *part = IoSlice::new(slice);
    }
    link.poll_send(cx, &parts[..=body.len()])
}

fn is_down(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NetworkDown
}
