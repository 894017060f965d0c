//! What the driver and all sockets of a stack share: the host, and who waits for what.
//!
//! # Theory of operation
//!
//! The host is behind one lock, which is held for one operation, never while a task waits. An operation that can't be done
//! yet enters the task's waker under the same lock, so that nothing that happens in between is missed; the driver, who alone
//! looks at the host's events, wakes whoever waits for that. Every operation that changed something kicks the driver, which sends what
//! there is to send. A future that is dropped takes its waker with it: nothing was half done, and nothing is left behind.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant as Clock;
use wharf_net::{Event, Host, Instant, Ready, SocketId};

use crate::gateway::Arrivals;
use crate::ping::{Pending, Pings};
use crate::wakers::{Key, Wakers};

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum On {
    /// Something to read, or a connection to accept.
    Read(SocketId),
    /// Room to write, or the end of the handshake.
    Write(SocketId),
    /// Room among the frames for the link.
    Room,
    /// Something that came to the gateway.
    Arrival,
    /// A reply.
    Reply(Pending),
    /// The end of the driver.
    End,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    epoch: Clock,
    keys: AtomicU64,
}

/// What is behind the lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) host: Host,
    pub(crate) arrivals: Arrivals,
    pub(crate) pings: Pings,
    pub(crate) phase: Phase,
    waiting: HashMap<On, Wakers>,
    driver: Option<Waker>,
}

/// Whether there is a driver.
#[derive(Debug)]
pub(crate) enum Phase {
    Running,
    /// Nobody has the stack any more: connections finish, then it ends.
    Abandoned,
    /// It was told to end.
    Stopped,
    /// It has ended, for this reason.
    Over(String),
}

impl Shared {
    pub(crate) fn new(host: Host) -> Self {
        Self {
            state: Mutex::new(State {
                host,
                arrivals: Arrivals::default(),
                pings: Pings::default(),
                phase: Phase::Running,
                waiting: HashMap::new(),
                driver: None,
            }),
            epoch: Clock::now(),
            keys: AtomicU64::new(Key::POLL.0 + 1),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held is a bug of the host's; the others' connections need not suffer.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time since the stack began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// The host's time, which begins a while after its epoch.
    pub(crate) fn now(&self) -> Instant {
        Instant::ZERO + HEAD_START + self.elapsed()
    }

    /// The clock's time for the host's.
    pub(crate) fn clock(&self, at: Instant) -> Clock {
        self.epoch + (at - (Instant::ZERO + HEAD_START))
    }

    /// The clock's time for the link's.
    pub(crate) fn link_clock(&self, at: Duration) -> Clock {
        self.epoch + at
    }

    /// Does something that can't fail for want of a driver, and kicks it.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = self.now();
        let mut state = self.lock();
        let result = act(&mut state, now);
        state.kick();
        result
    }

    /// The same for what needs the driver.
    pub(crate) fn attempt<T>(
        &self,
        act: impl FnOnce(&mut State, Instant) -> io::Result<T>,
    ) -> io::Result<T> {
        self.with(|state, now| {
            state.require_driver()?;
            act(state, now)
        })
    }

    /// Tries something; if it is pending, the task is woken when `on` has happened.
    pub(crate) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        (on, key): (On, Key),
        act: impl FnOnce(&mut State, Instant) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let now = self.now();
        let mut state = self.lock();
        state.require_driver()?;
        let result = act(&mut state, now);
        if result.is_pending() {
            state.waiting.entry(on).or_default().enter(key, cx.waker());
        } else {
            state.kick();
        }
        result
    }

    /// A name that no task had before.
    pub(crate) fn key(&self) -> Key {
        Key(self.keys.fetch_add(1, Ordering::Relaxed))
    }

    /// Somebody doesn't wait any more.
    pub(crate) fn leave(&self, on: On, key: Key) {
        let mut state = self.lock();
        let Some(wakers) = state.waiting.get_mut(&on) else {
            return;
        };
        let waker = wakers.leave(key);
        if wakers.is_empty() {
            state.waiting.remove(&on);
        }
        drop(state);
        // Whatever a waker does when it is dropped, it does unlocked.
        drop(waker);
    }

    /// Waits until something can be done.
    pub(crate) async fn until<T>(
        &self,
        on: On,
        mut act: impl FnMut(&mut State, Instant) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        let mut place = Place {
            shared: self,
            on,
            key: self.key(),
            entered: false,
        };
        poll_fn(move |cx| place.poll(cx, &mut act)).await
    }

    /// Waits for the end, and says why.
    pub(crate) async fn ended(&self) -> io::Error {
        let waiting = self.until(On::End, |_, _| Poll::<io::Result<()>>::Pending);
        // Only the end can fail it.
        waiting
            .await
            .map_or_else(|error| error, |()| over("nothing"))
    }

    /// The driver has ended: everybody who waits is told.
    pub(crate) fn end(&self, reason: String) {
        let mut state = self.lock();
        state.phase = Phase::Over(reason);
        state.driver = None;
        let mut woken = Vec::new();
        for (_, mut wakers) in state.waiting.drain() {
            wakers.drain(&mut woken);
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }
}

impl State {
    /// Lets the driver have a look, soon.
    pub(crate) fn kick(&self) {
        if let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }

    /// Who is to be kicked.
    pub(crate) fn attend(&mut self, driver: &Waker) {
        match &mut self.driver {
            Some(known) => known.clone_from(driver),
            None => self.driver = Some(driver.clone()),
        }
    }

    fn require_driver(&self) -> io::Result<()> {
        match &self.phase {
            Phase::Running | Phase::Abandoned => Ok(()),
            Phase::Stopped => Err(over("it was stopped")),
            Phase::Over(reason) => Err(over(reason)),
        }
    }

    /// A socket is closed: what was left by polls is handed out, to be dropped where nothing is locked.
    pub(crate) fn forget(&mut self, socket: SocketId) -> [Option<Wakers>; 2] {
        [On::Read(socket), On::Write(socket)].map(|on| self.waiting.remove(&on))
    }

    /// Moves those who wait for `on` to `woken`.
    pub(crate) fn wake(&mut self, on: On, woken: &mut Vec<Waker>) {
        if let Some(mut wakers) = self.waiting.remove(&on) {
            wakers.drain(woken);
        }
    }

    /// Reads the host's events, and finds who waited for them. What nobody waits for may be answered: then there is something to send.
    pub(crate) fn dispatch(&mut self, now: Instant, woken: &mut Vec<Waker>) -> Answered {
        let mut answered = Answered::Nothing;
        while let Some(event) = self.host.event() {
            match event {
                Event::Ready { socket, ready } => self.ready(socket, ready, woken),
                Event::Incoming { listener, .. } => self.wake(On::Read(listener), woken),
                Event::Reply {
                    remote,
                    ident,
                    sequence,
                    payload,
                } => {
                    let pending = Pending {
                        remote,
                        ident,
                        sequence,
                    };
                    self.pings.reply(pending, payload);
                    self.wake(On::Reply(pending), woken);
                }
                event => {
                    self.arrivals.take(&mut self.host, now, event);
                    self.wake(On::Arrival, woken);
                    answered = Answered::Perhaps;
                }
            }
        }
        answered
    }

    fn ready(&mut self, socket: SocketId, ready: Ready, woken: &mut Vec<Waker>) {
        let over = Ready::CLOSED | Ready::FAILED;
        if ready.intersects(Ready::READABLE | Ready::READ_CLOSED | over) {
            self.wake(On::Read(socket), woken);
        }
        if ready.intersects(Ready::WRITABLE | Ready::CONNECTED | over) {
            self.wake(On::Write(socket), woken);
        }
    }
}

/// Whether the host was told something while its events were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    Nothing,
    Perhaps,
}

/// A task's place among those who wait.
struct Place<'a> {
    shared: &'a Shared,
    on: On,
    key: Key,
    entered: bool,
}

impl Place<'_> {
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut State, Instant) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let result = self.shared.poll(cx, (self.on, self.key), act);
        self.entered = result.is_pending();
        result
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.entered {
            self.shared.leave(self.on, self.key);
        }
    }
}

fn over(reason: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::NetworkDown,
        format!("the network stack has ended: {reason}"),
    )
}

/// How late the host's time is when a stack begins: instants before the beginning are made by subtraction.
const HEAD_START: Duration = Duration::from_secs(1);
