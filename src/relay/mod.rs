//! The relay: carries one space's packets, on one thread, with nothing shared.
//!
//! # Theory of operation
//!
//! The space's device delivers frames to a [`wharf_net::Host`] that answers for every address behind it. Where a program
//! inside wants to go, the relay goes first, with a socket of the machine, and only then does the host answer: what is
//! refused or unreachable outside is so inside, at once. From then on bytes move between the two, payload straight from
//! the frame to the machine's socket and back, and each side waits for the other (no queue grows beyond the window).
//!
//! - [`engine`]: the event loop;
//! - [`stream`]: TCP connections; [`datagram`]: UDP flows ([`train`]: several at once); [`echo`]: pings; [`association`]: what these two share;
//! - [`guest`]: clients of published ports, who come from the network; [`visitor`]: those of UDP ports;
//! - [`courtesy`]: when others go first;
//! - [`vigil`]: how long it looks for what comes next before it sleeps;
//! - [`outside`]: which address of the machine's network an address inside stands for;
//! - [`routes`]: frames from space to space, which need no host;
//! - [`names`]: queries for names, which the daemon answers;
//! - [`denials`]: ways to other spaces that are closed;
//! - [`ears`]: who listens in on the frames.

mod association;
mod buffers;
mod courtesy;
mod datagram;
pub(crate) mod denials;
pub(crate) mod ears;
mod echo;
mod engine;
mod guest;
mod names;
mod outside;
mod routes;
mod stream;
mod train;
mod vigil;
mod visitor;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use bytes::Bytes;
use rustix::event::{EventfdFlags, eventfd};
use wharf_link::{Link, Packet, Tap};
use wharf_net::KnockId;
use wharf_port::Flow;

pub(crate) use denials::Denials;
pub(crate) use ears::Ears;
pub(crate) use guest::Guest;
pub(crate) use names::{Names, Query};
pub(crate) use routes::{Isolation, Routes};
use visitor::Visit;
pub(crate) use visitor::Way;

use crate::confine;
use crate::space::book::Number;
use crate::space::network::Kind;

/// What a relay needs to know.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The space's link, from the keeper.
    pub(crate) link: OwnedFd,
    /// What kind of link that is.
    pub(crate) kind: Kind,
    /// The space's number, which gives its addresses.
    pub(crate) number: Number,
    /// The space's name.
    pub(crate) name: String,
    /// The device's MTU in bytes.
    pub(crate) mtu: u16,
    /// Where the other spaces are.
    pub(crate) routes: Routes,
    /// Who answers queries for names.
    pub(crate) names: Names,
    /// Whether it has to do with other spaces.
    pub(crate) isolation: Isolation,
    /// Who is told of ways that are closed.
    pub(crate) denials: Denials,
    /// Who listens in on its frames.
    pub(crate) ears: Ears,
}

/// A running relay; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    back: Back,
    thread: Option<JoinHandle<()>>,
}

/// The way back into a relay, for answers made elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Back {
    commands: mpsc::SyncSender<Command>,
    wake: Arc<OwnedFd>,
}

#[derive(Debug)]
enum Command {
    Datagram(Flow, Bytes),
    /// What a program inside wanted of another space is refused.
    Refuse(KnockId),
    Welcome(Guest),
    Visit(Visit),
    End,
}

/// How many answers may wait for a relay; more are dropped, as datagrams are.
const COMMANDS_MAX: usize = 1024;

impl Relay {
    /// Starts a relay.
    pub(crate) fn start(setting: Setting) -> io::Result<Self> {
        let (commands, received) = mpsc::sync_channel(COMMANDS_MAX);
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let back = Back { commands, wake };
        let engine = engine::Engine::new(setting, received, back.clone())?;
        let thread = std::thread::Builder::new()
            .name("relay".into())
            .spawn(move || {
                confine::thread();
                engine.run();
            })?;
        Ok(Self {
            back,
            thread: Some(thread),
        })
    }
}

impl Relay {
    /// Carries a client's connection into the space, if it can be had with the client's own address.
    pub(crate) fn welcome(&self, guest: Guest) {
        // With a full queue it can't.
        let queued = self.back.commands.try_send(Command::Welcome(guest));
        if queued.is_ok() {
            self.back.wake();
        }
    }
}

impl Relay {
    /// The way of a client's datagrams to a port inside, as its own.
    pub(crate) fn way(&self, client: SocketAddr, inside: NonZeroU16) -> Way {
        Way::new(self.back.clone(), client, inside)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // With a full queue the relay is awake, and there will be room.
        self.back.commands.send(Command::End).ok();
        self.back.wake();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Back {
    /// Sends a datagram to the program at the flow's remote end, as if from its local end.
    pub(crate) fn datagram(&self, flow: Flow, payload: Bytes) {
        self.order(Command::Datagram(flow, payload));
    }

    /// Refuses what a program inside wanted, as prohibited.
    pub(crate) fn refuse(&self, knock: KnockId) {
        self.order(Command::Refuse(knock));
    }

    fn order(&self, command: Command) {
        if self.commands.try_send(command).is_ok() {
            self.wake();
        }
    }

    fn wake(&self) {
        // It fails only when the counter is full, and then the relay is being woken already.
        rustix::io::write(&*self.wake, &1_u64.to_ne_bytes()).ok();
    }
}

/// The link that `descriptor` is.
fn attach(kind: Kind, descriptor: OwnedFd, mtu: u16) -> io::Result<Box<dyn Link>> {
    Ok(match kind {
        Kind::Tap => Box::new(Tap::from_fd(descriptor, mtu).map_err(io::Error::other)?),
        Kind::Packet => Box::new(Packet::from_fd(descriptor, mtu).map_err(io::Error::other)?),
    })
}
