//! The host.
//!
//! One idea a file: `ingress` takes packets apart, `egress`, `outbound` and `edge` put them together, `route`, `neighbour`, `shortcut` and `resolve` find
//! the way by which of the `links`, `autoconf` and `discovery` make addresses, `defence` keeps them, `groups`, `membership` and `reporting` are about multicast, `fragments` and
//! `reassembly` join fragments, `icmp`, `icmp_error`, `error_rate` and `echo` speak ICMP, `udp`, `tcp`, `recent` and `knock` find sockets; `opening`, `cookie`
//! and `life` keep connections, `stream`, `mailbox`, `own`, `settings`, `binding` and `undo` are what a caller does with sockets.

mod autoconf;
mod binding;
mod config;
mod cookie;
mod defence;
mod discovery;
mod echo;
mod edge;
mod egress;
mod error_rate;
mod event;
mod events;
mod fragments;
mod groups;
mod icmp;
mod icmp_error;
mod inbound;
mod ingress;
mod keys;
mod knock;
mod life;
mod links;
mod mailbox;
mod membership;
mod neighbour;
mod opening;
mod outbound;
mod own;
mod reassembly;
mod recent;
mod reporting;
mod resolve;
mod route;
mod settings;
mod shortcut;
mod sockets;
mod stream;
mod tcp;
mod timers;
mod udp;
mod undo;

pub use binding::OwnBindError;
pub use config::{Autoconfiguration, Config, Identifiers, Interface, Route};
pub use error_rate::ErrorRate;
pub use event::{AddressState, Event, KnockId, Ready, Refusal, SocketId, Unreachable};
pub use knock::KnockError;
pub use mailbox::{Received, RecvError, SendError};
pub use membership::GroupError;
pub use own::{AcceptError, NoSuchSocket, OwnConnectError, OwnListenError, Setting, TooMany};
pub use settings::Settings;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use wharf_port::table::{self, Device, Table};

use self::echo::Pings;
use self::error_rate::Limiter;
use self::events::{Events, Queued};
use self::ingress::Judged;
use self::keys::{Dice, Keyed, Keys};
use self::knock::Knocks;
use self::links::Link;
use self::reassembly::Reassembly;
use self::recent::Recent;
use self::route::Routes;
use self::shortcut::Shortcuts;
use self::sockets::Sockets;
use self::timers::Timers;
use crate::cidr::Cidr;
use crate::discard::{Discard, Discards};
use crate::frame::Frame;
use crate::time::Instant;

/// A network host without I/O: frames and time go in, frames and events come out.
///
/// - **For the link**: [`receive`](Self::receive) what comes, [`transmit`](Self::transmit) until it is `None` after every
///   other call.
/// - **For the clock**: [`expire`](Self::expire) when [`deadline`](Self::deadline) has come.
/// - **For the caller**: [`event`](Self::event) says what has happened.
/// - **Connections**: [`write`](Self::write), [`chunks`](Self::chunks), [`consume`](Self::consume),
///   [`shutdown`](Self::shutdown), [`abort`](Self::abort), [`close`](Self::close), and what can be asked of them.
/// - **A host that accepts anything**: [`admit`](Self::admit), [`refuse`](Self::refuse),
///   [`send_datagram`](Self::send_datagram), [`reject_datagram`](Self::reject_datagram), [`echo_reply`](Self::echo_reply),
///   [`reject_echo`](Self::reject_echo).
/// - **Own sockets**: [`open`](Self::open), [`bind`](Self::bind), [`listen`](Self::listen), [`accept`](Self::accept),
///   [`connect`](Self::connect), [`set`](Self::set), [`send_to`](Self::send_to), [`recv_from`](Self::recv_from),
///   [`ping`](Self::ping), and back: [`unlisten`](Self::unlisten), [`disconnect`](Self::disconnect).
///
/// Nothing that a peer sends makes it panic, loop, or grow without bound; what goes nowhere is counted in
/// [`discards`](Self::discards).
///
/// ```
/// use wharf_net::wire::ethernet::Mac;
/// use wharf_net::{Config, Host, Instant};
/// use wharf_port::{Domain, Protocol};
///
/// let mut config = Config::new(Mac([2, 0, 0, 0, 0, 1]), [7; 32]);
/// config.addresses = vec!["10.0.0.2/24".parse().unwrap()];
/// let mut host = Host::new(config);
/// let socket = host.open(Protocol::Tcp, Domain::V4).unwrap();
/// host.connect(Instant::ZERO, socket, "10.0.0.1:80".parse().unwrap()).unwrap();
/// // The first thing to send is the question where 10.0.0.1 is: an ARP request to everybody.
/// let frame = host.transmit(Instant::ZERO).unwrap();
/// assert_eq!(&frame.to_ethernet()[..6], [0xff; 6]);
/// ```
#[derive(Debug)]
pub struct Host {
    config: Config,
    /// What connections behave like on which nothing was set.
    tcp: Arc<crate::tcp::Config>,
    keys: Keys,
    routes: Routes,
    /// At least one; a link's place follows from its device.
    links: Vec<Link>,
    shortcuts: Shortcuts,
    judged: Option<Judged>,
    reassembly: Reassembly,
    limiter: Limiter,
    pings: Pings,
    dice: Dice,
    table: Table<SocketId>,
    sockets: Sockets,
    recent: Recent,
    knocks: Knocks,
    timers: Timers,
    events: Events,
    /// Frames from the host to itself.
    internal: VecDeque<Frame>,
    /// Sockets that may have something to send.
    work: VecDeque<SocketId>,
    discards: Discards,
}

impl Host {
    /// What is inside the host, for [`Setting::Device`]: what it sends to itself arrives here.
    pub const LOOPBACK: Device = Device::new(1).expect("1 is not 0");
    /// The host's link, or the first of several, for [`Setting::Device`].
    pub const LINK: Device = Device::new(2).expect("2 is not 0");

    /// A host without sockets.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let keyed = Keyed::new(&config.seed);
        let table = Table::new(&table::Config {
            ephemeral: config.ports,
            unprivileged: config.unprivileged,
            ..table::Config::new(config.seed)
        });
        Self {
            tcp: Arc::new(config.tcp.clone()),
            keys: Keys::new(&config.seed),
            routes: Routes::new(&config),
            links: config
                .links()
                .map(|(device, interface)| Link::new(device, interface, &config))
                .collect(),
            shortcuts: Shortcuts::default(),
            judged: None,
            reassembly: Reassembly::new(keyed),
            limiter: Limiter::new(config.icmp_errors, &config.seed),
            pings: Pings::new(keyed),
            dice: Dice::new(&config.seed, 3),
            table,
            sockets: Sockets::default(),
            recent: Recent::default(),
            knocks: Knocks::new(keyed),
            timers: Timers::default(),
            events: Events::default(),
            internal: VecDeque::new(),
            work: VecDeque::new(),
            discards: Discards::new(),
            config,
        }
    }

    /// The next frame for the link, the only one or the first. To be called until it is `None` after every other call, or when
    /// the link takes frames again.
    pub fn transmit(&mut self, now: Instant) -> Option<Frame> {
        self.transmit_on(now, Self::LINK)
    }

    /// The same for any of [several links](Config::further): each has frames of its own, so that one that takes nothing holds nobody else
    /// up. Nothing for a device that is none of [`links`](Self::links).
    pub fn transmit_on(&mut self, now: Instant, device: Device) -> Option<Frame> {
        loop {
            if let Some(frame) = self.link_mut(device)?.output.pop_front() {
                return Some(frame);
            }
            if let Some(frame) = self.internal.pop_front() {
                self.receive_internal(now, frame);
                continue;
            }
            if !self.work(now) {
                return None;
            }
        }
    }

    /// When [`expire`](Self::expire) wants to be called next. Known once [`transmit`](Self::transmit) has run dry.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.timers.first(),
            self.knocks.deadline(),
            self.reassembly.deadline(),
        ];
        let mut first = Earliest::default();
        deadlines.into_iter().for_each(|at| first.note(at));
        self.links
            .iter()
            .for_each(|link| first.note(link.deadline()));
        first.0
    }

    /// Does what is due. Calling it early does no harm.
    pub fn expire(&mut self, now: Instant) {
        self.expire_sockets(now);
        self.expire_knocks(now);
        self.expire_neighbours(now);
        self.expire_reassembly(now);
        self.expire_groups(now);
        self.expire_autoconf(now);
    }

    /// What has happened, in order; `None` when the caller knows everything.
    #[inline]
    pub fn event(&mut self) -> Option<Event> {
        loop {
            match self.events.pop()? {
                Queued::Event(event) => return Some(event),
                Queued::Ready(socket) => {
                    let Some(found) = self.sockets.find_mut(socket) else {
                        continue;
                    };
                    let ready = core::mem::take(&mut found.ready);
                    if !ready.is_empty() {
                        return Some(Event::Ready { socket, ready });
                    }
                }
            }
        }
    }

    /// Which socket has which port: what the host knows is in there, to be looked at.
    #[must_use]
    pub fn ports(&self) -> &Table<SocketId> {
        &self.table
    }

    /// The host's addresses with their networks, those of the loopback and those that are still in question aside.
    pub fn addresses(&self) -> impl Iterator<Item = Cidr> {
        self.routes.addresses()
    }

    /// What went nowhere, and why.
    #[must_use]
    pub fn discards(&self) -> &Discards {
        &self.discards
    }

    /// How many sockets there are, those that finish alone included.
    #[must_use]
    pub fn socket_count(&self) -> usize {
        self.sockets.len()
    }

    /// Counts a discard.
    fn drop_for(&mut self, reason: Discard) -> Discard {
        self.discards.count(reason);
        reason
    }
}

/// The first of several times.
#[derive(Debug, Default)]
struct Earliest(Option<Instant>);

impl Earliest {
    fn note(&mut self, at: Option<Instant>) {
        if let Some(at) = at
            && self.0.is_none_or(|first| at < first)
        {
            self.0 = Some(at);
        }
    }
}
