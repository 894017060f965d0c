//! The relay's event loop.
//!
//! Each turn: take frames from the link, acknowledge them, move what they brought to the machine's sockets, move what
//! those have to the host, send the host's frames. Frames are acknowledged before they are passed on, so that the
//! program inside already sends more while the machine's socket takes what came (DATAPATH: 25 instead of 22 Gbit/s).

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use slotmap::{DefaultKey, Key, KeyData, SlotMap};
use smallvec::SmallVec;
use wharf_link::pcap::Direction;
use wharf_link::{BATCH, FRAME_CAPACITY, Link, Slots};
use wharf_net::wire::ethernet::Mac;
use wharf_net::{
    Capabilities, Cidr, Config, ErrorRate, Event, Frame, Host, Instant, Refusal, SocketId,
    Unreachable,
};

use super::association::{Association, Associations, Name};
use super::buffers::Buffers;
use super::courtesy::Courtesy;
use super::denials::Denials;
use super::ears::Ears;
use super::echo::Ping;
use super::names::Names;
use super::outside::{self, Targets};
use super::routes::{Entered, Isolation, Post, Routes};
use super::stream::Stream;
use super::vigil::{Side, Vigil};
use super::visitor::Visitor;
use super::{Back, Command, Setting, attach};
use crate::space::book::Number;
use crate::space::network::{GATEWAY_IPV4, GATEWAY_IPV6, GATEWAY_MAC};
use crate::sys;

/// Events taken from the kernel per turn.
const EVENTS: usize = 128;
/// Frames taken from the link per turn, however small: datagrams in them travel on [together](super::train).
const FRAMES: usize = 64;
/// How long after the last stream memory is given back.
const TIDY: time::Duration = time::Duration::from_secs(1);
/// The link's and the wake-up's names among the events; connections have those of their slots.
const LINK: u64 = u64::MAX;
const WAKE: u64 = u64::MAX - 1;

/// The relay.
pub(super) struct Engine {
    pub(super) now: Instant,
    pub(super) host: Host,
    pub(super) poll: Poll,
    pub(super) buffers: Buffers,
    pub(super) names: Names,
    pub(super) number: Number,
    pub(super) routes: Routes,
    pub(super) back: Back,
    pub(super) sources: SlotMap<DefaultKey, Source>,
    pub(super) by_socket: HashMap<SocketId, DefaultKey>,
    pub(super) associations: Associations,
    /// When memory is given back, unless there are streams again.
    pub(super) tidy_at: Option<Instant>,
    /// Sources with more to do than one turn allows.
    pub(super) unfinished: Vec<DefaultKey>,
    pub(super) name: String,
    started: time::Instant,
    link: Box<dyn Link>,
    link_descriptor: OwnedFd,
    slots: Slots,
    /// Whether frames came in the turn before, too.
    flowing: bool,
    pub(super) courtesy: Courtesy,
    vigil: Vigil,
    /// A frame that the link had no room for; none other is made before it is gone.
    stuck: Option<Frame>,
    isolation: Isolation,
    pub(super) denials: Denials,
    ears: Ears,
    _entered: Entered,
    commands: Receiver<Command>,
}

/// What a descriptor among the events is.
pub(super) enum Source {
    Stream(Stream),
    Association(Association),
    Visitor(Visitor),
}

/// The descriptors that are watched.
pub(super) struct Poll(OwnedFd);

impl Poll {
    /// Watches a socket of the machine for these changes (edge-triggered: told once, so nothing is ever disarmed).
    pub(super) fn watch(
        &self,
        socket: impl AsFd,
        key: DefaultKey,
        on: epoll::EventFlags,
    ) -> rustix::io::Result<()> {
        epoll::add(
            &self.0,
            socket,
            epoll::EventData::new_u64(key.data().as_ffi()),
            on | epoll::EventFlags::ET,
        )
    }

    fn watch_input(&self, descriptor: BorrowedFd<'_>, name: u64) -> rustix::io::Result<()> {
        epoll::add(
            &self.0,
            descriptor,
            epoll::EventData::new_u64(name),
            epoll::EventFlags::IN,
        )
    }

    /// Takes what has happened, if anything has; waits for it that long at most.
    fn take(
        &self,
        events: &mut Vec<epoll::Event>,
        time: Option<time::Duration>,
    ) -> io::Result<bool> {
        let time = time.map(|time| {
            Timespec::try_from(time).unwrap_or(Timespec {
                tv_sec: 3600,
                tv_nsec: 0,
            })
        });
        let room = rustix::buffer::spare_capacity(events);
        match epoll::wait(&self.0, room, time.as_ref()) {
            Ok(count) => Ok(count > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn watch_room(&self, descriptor: BorrowedFd<'_>, wanted: bool) -> rustix::io::Result<()> {
        use epoll::EventFlags as On;
        let on = if wanted { On::IN | On::OUT } else { On::IN };
        epoll::modify(&self.0, descriptor, epoll::EventData::new_u64(LINK), on)
    }
}

impl Engine {
    /// Makes everything ready; fails only for want of descriptors or memory.
    pub(super) fn new(
        setting: Setting,
        commands: Receiver<Command>,
        back: Back,
    ) -> io::Result<Self> {
        let Setting {
            link,
            kind,
            number,
            name,
            mtu,
            routes,
            names,
            isolation,
            denials,
            ears,
        } = setting;
        let link_descriptor = link.try_clone()?;
        let others = attach(kind, link.try_clone()?, mtu)?;
        let link = attach(kind, link, mtu)?;
        let poll = Poll(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        poll.watch_input(link_descriptor.as_fd(), LINK)?;
        poll.watch_input(back.wake.as_fd(), WAKE)?;
        Ok(Self {
            now: Instant::default(),
            host: Host::new(config(&*link)?),
            poll,
            buffers: Buffers::default(),
            names,
            number,
            back,
            sources: SlotMap::new(),
            by_socket: HashMap::new(),
            associations: Associations::default(),
            tidy_at: None,
            unfinished: Vec::new(),
            name,
            started: time::Instant::now(),
            link,
            link_descriptor,
            slots: Slots::default(),
            flowing: false,
            courtesy: Courtesy::default(),
            vigil: Vigil::new(std::thread::available_parallelism().map_or(1, usize::from)),
            stuck: None,
            _entered: routes.enter(
                [number.ipv4().into(), number.ipv6().into()],
                Post::new(others, isolation.clone(), ears.clone()),
            ),
            routes,
            isolation,
            denials,
            ears,
            commands,
        })
    }

    /// Runs until the end is ordered or the link is gone.
    pub(super) fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            match self.turn(&mut events) {
                Ok(Next::Turn) => {}
                Ok(Next::End) => return,
                Err(error) => {
                    tracing::error!("{}: the relay ends: {error}", self.name);
                    return;
                }
            }
        }
    }

    fn turn(&mut self, events: &mut Vec<epoll::Event>) -> io::Result<Next> {
        self.wait(events)?;
        self.read_clock();
        let flowing = std::mem::take(&mut self.flowing);
        self.vigil.came(events.iter().map(side));
        let mut ready = SmallVec::<[(DefaultKey, epoll::EventFlags); EVENTS]>::new();
        for event in events.drain(..) {
            match event.data.u64() {
                LINK => {
                    // One that comes alone is passed on at once: whether it was alone, the kernel says as well.
                    self.take_frames(if flowing { FRAMES } else { 1 })?;
                    self.flowing = true;
                }
                WAKE => {
                    if self.obey() == Next::End {
                        return Ok(Next::End);
                    }
                }
                key => ready.push((KeyData::from_ffi(key).into(), event.flags)),
            }
        }
        self.flush()?;
        self.attend_host();
        for (key, flags) in ready {
            self.attend(key, flags);
        }
        for key in std::mem::take(&mut self.unfinished) {
            self.attend(key, epoll::EventFlags::empty());
        }
        if self
            .host
            .deadline()
            .is_some_and(|deadline| deadline <= self.now)
        {
            self.host.expire(self.now);
        }
        self.expire_associations();
        self.tidy();
        self.attend_host();
        self.flush()?;
        Ok(Next::Turn)
    }

    /// Waits for the next thing to do, whichever clock or descriptor brings it.
    fn wait(&mut self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        self.read_clock();
        if self.courtesy.is_due(self.now) {
            let before = self.now;
            rustix::thread::sched_yield();
            self.read_clock();
            self.courtesy.went(before, self.now);
        }
        if !self.unfinished.is_empty() {
            self.poll.take(events, Some(time::Duration::ZERO))?;
            return Ok(());
        }
        let begun = self.now;
        while self.vigil.goes_on(self.now - begun) {
            if self.poll.take(events, Some(time::Duration::ZERO))? {
                return Ok(());
            }
            rustix::thread::sched_yield();
            self.read_clock();
        }
        let deadline = [
            self.host.deadline(),
            self.associations.deadline(),
            self.tidy_at,
        ];
        let deadline = deadline.into_iter().flatten().min();
        let timeout = deadline.map(|deadline| deadline - self.now);
        self.poll.take(events, timeout)?;
        self.read_clock();
        self.vigil.slept(self.now - begun);
        Ok(())
    }

    fn read_clock(&mut self) {
        self.now = Instant::default() + self.started.elapsed();
    }

    /// Takes as many frames as are there, up to `most` and to a batch's bytes: for other spaces straight on, else to the host.
    fn take_frames(&mut self, most: usize) -> io::Result<()> {
        let mut room = BATCH * FRAME_CAPACITY;
        for _ in 0..most {
            let bytes = match self.slots.receive(&mut *self.link) {
                Ok(bytes) => bytes,
                Err(error) if is_transient(&error) => return Ok(()),
                Err(error) => return Err(error),
            };
            room = room.saturating_sub(bytes.len());
            self.ears
                .hear(Direction::Outbound, std::iter::once(&bytes[..]));
            // The host counts what it discards, and why.
            if !self.routes.pass_on(&bytes, &self.isolation)
                && let Ok(frame) = Frame::from_link(bytes)
            {
                self.host.receive(self.now, frame);
            }
            if room < FRAME_CAPACITY {
                break;
            }
        }
        Ok(())
    }

    /// Sends what the host has to send, as far as the link takes it.
    fn flush(&mut self) -> io::Result<()> {
        while let Some(frame) = self.stuck.take().or_else(|| self.host.transmit(self.now)) {
            let mut parts = SmallVec::<[IoSlice<'_>; 8]>::new();
            parts.push(IoSlice::new(frame.head()));
            parts.extend(frame.body().iter().map(|slice| IoSlice::new(slice)));
            match self.link.send(&parts) {
                Ok(()) => {
                    let pieces = parts.iter().map(|part| &**part);
                    self.ears.hear(Direction::Inbound, pieces);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    drop(parts);
                    self.stuck = Some(frame);
                    return Ok(self.poll.watch_room(self.link_descriptor.as_fd(), true)?);
                }
                // Lost as on any network; whoever needs it sends it again.
                Err(error)
                    if is_transient(&error) || error.kind() == io::ErrorKind::InvalidInput => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Answers from the daemon, and its order to end.
    fn obey(&mut self) -> Next {
        // Level-triggered: read before the queue, so that nothing is missed.
        rustix::io::read(&*self.back.wake, &mut [0; 8]).ok();
        loop {
            match self.commands.try_recv() {
                Ok(Command::Datagram(flow, payload)) => {
                    self.host.send_datagram(self.now, flow, payload, None).ok();
                }
                Ok(Command::Refuse(knock)) => {
                    let verdict = Refusal::Unreachable(Unreachable::Prohibited);
                    self.host.refuse(self.now, knock, verdict);
                }
                Ok(Command::Welcome(guest)) => self.welcome(guest),
                Ok(Command::Visit(visit)) => self.receive_visit(visit),
                Ok(Command::End) | Err(TryRecvError::Disconnected) => return Next::End,
                Err(TryRecvError::Empty) => return Next::Turn,
            }
        }
    }

    /// A stream has left the host's socket.
    pub(super) fn part(&mut self, socket: SocketId) {
        self.by_socket.remove(&socket);
        if self.by_socket.is_empty() {
            self.tidy_at = Some(self.now + TIDY);
        }
    }

    /// Where a program inside ends up that names `address`.
    ///
    /// # Errors
    /// What to answer instead; prohibited if it is another space, whose frames don't come here unless the way is closed.
    pub(super) fn targets(&self, address: IpAddr) -> Result<Targets, Unreachable> {
        match self.routes.is_closed(address, &self.isolation) {
            true => Err(Unreachable::Prohibited),
            false => outside::targets(address),
        }
    }

    /// Gives memory back that only bulk transfers need, when the last stream has been gone for a while.
    fn tidy(&mut self) {
        if self.tidy_at.is_some_and(|at| at <= self.now) {
            self.tidy_at = None;
            if self.by_socket.is_empty() {
                (self.buffers, self.slots) = (Buffers::default(), Slots::default());
                sys::give_memory_back();
            }
        }
    }

    fn attend_host(&mut self) {
        while let Some(event) = self.host.event() {
            match event {
                Event::Knock { knock, flow } => self.knock(knock, flow),
                Event::Ready { socket, ready } => self.stream_ready(socket, ready),
                Event::Datagram {
                    flow,
                    payload,
                    segment,
                } => self.datagram_out(flow, payload, segment),
                Event::OneWay {
                    local,
                    payload,
                    segment,
                    ..
                } => self.one_way_out(local, &payload, segment),
                Event::Echo {
                    local,
                    remote,
                    ident,
                    sequence,
                    payload,
                } => {
                    self.echo_out(
                        Ping {
                            local,
                            remote,
                            ident,
                        },
                        sequence,
                        payload,
                    );
                }
                // The program inside is gone from its port; so is what stood for it.
                Event::Rejected { flow, .. } => self.dissociate(&Name::Datagrams(flow)),
                // The host has no sockets of its own here.
                _ => {}
            }
        }
        self.depart();
    }

    fn attend(&mut self, key: DefaultKey, flags: epoll::EventFlags) {
        match self.sources.get(key) {
            Some(Source::Stream(_)) => self.attend_stream(key, flags),
            Some(Source::Association(_)) => self.attend_association(key),
            // Others wait for what comes to a visitor's socket; or it ended earlier in this turn.
            Some(Source::Visitor(_)) | None => {}
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Turn,
    End,
}

fn side(event: &epoll::Event) -> Side {
    match event.data.u64() {
        LINK => Side::Inside,
        _ => Side::Outside,
    }
}

/// Whether the link is still good after this.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NetworkDown
    )
}

/// The gateway of a space.
fn config(link: &dyn Link) -> io::Result<Config> {
    let mut seed = [0; 32];
    rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
    let mut config = Config::new(Mac(GATEWAY_MAC), seed);
    let takes = link.capabilities();
    config.mtu = link.mtu();
    config.capabilities = Capabilities {
        checksum: takes.checksum,
        tcp_segment: takes.tcp_segment,
        udp_segment: takes.udp_segment,
    };
    config.addresses = vec![
        Cidr::host(GATEWAY_IPV4.into()),
        Cidr::host(GATEWAY_IPV6.into()),
    ];
    config.accept_anything = true;
    config.icmp_errors = ErrorRate::TRUSTED;
    // The programs at both ends decide what waits for more; the relay never does.
    config.tcp.nodelay = true;
    // The window that keeps both sides busy and the bytes within the cache, and that the link can hold.
    let window = (1 << 20).min(link.queue_bytes());
    config.tcp.receive_initial = window;
    config.tcp.receive_max = window;
    config.tcp.send_initial = 1 << 20;
    Ok(config)
}
