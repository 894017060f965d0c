//! The table against a model that is too simple to be wrong: a list of holds and the pairwise rule.
#![allow(clippy::unwrap_used, reason = "what does not unwrap fails the test")]

use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;
use wharf_port::table::{AcceptError, ListenError};
use wharf_port::table::{BindError, Config, ConnectError, Match, Moment, Request, State, Table};
use wharf_port::{
    Cover, Device, Domain, Endpoint, Flow, Hold, Local, Port, PortRange, Protocol, Reuse,
};

const FIRST: u16 = 40_000;
const LAST: u16 = 40_005;

#[derive(Debug, Clone)]
enum Op {
    Open(Request),
    Bind(usize, usize, Option<u16>),
    Listen(usize),
    Unlisten(usize),
    Connect(usize, usize, usize),
    Accept(usize, usize, usize),
    Admit(Protocol, usize, u16, usize),
    Reuse(usize, Reuse),
    Device(usize, u32),
    User(usize, u32),
    Narrow(usize, usize),
    Disconnect(usize),
    Conclude(usize),
    TimeWait(usize, u64),
    Expire(u64),
    Release(usize),
    Who(Protocol, usize, u16, usize, u32),
}

const ADDRESSES: [&str; 9] = [
    "0.0.0.0",
    "127.0.0.1",
    "127.0.0.2",
    "::",
    "::1",
    "fd00::2",
    "::ffff:0.0.0.0",
    "::ffff:127.0.0.1",
    "10.0.0.1",
];
/// Indexes of [`ADDRESSES`] that are one address.
const SPECIFIC: [usize; 5] = [1, 2, 4, 5, 8];
const REMOTES: [&str; 4] = ["10.9.0.1:80", "10.9.0.1:81", "[fd09::1]:80", "[fd09::2]:80"];

fn address(at: usize) -> IpAddr {
    ADDRESSES[at].parse().unwrap()
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Open,
    Bound,
    Listening,
    Connected,
    TimeWait(u64),
}

#[derive(Debug, Clone)]
struct Plain {
    hold: Hold,
    request: Request,
    cover: Cover,
    asked: Cover,
    port: Option<u16>,
    remote: Option<Endpoint>,
    phase: Phase,
    /// It shares its port with other connections, since connect chose it.
    chosen_by_connect: bool,
    /// It got its port by listening.
    chosen_by_listen: bool,
    /// It came from a listener.
    accepted: bool,
    /// It holds its flow only.
    flow_only: bool,
    /// When it last changed anything, and when it was last connected.
    stamp: u64,
    connected: u64,
}

impl Plain {
    fn listening(&self) -> bool {
        self.phase == Phase::Listening
    }

    /// Whether somebody new is excused from a conflict with this one: DESIGN.md section 5, to the letter.
    fn excuses(&self, new: &Request) -> bool {
        let (old, protocol) = (&self.request, self.request.protocol);
        let address = new.reuse.address() && old.reuse.address();
        let ports = new.reuse.port() && old.reuse.port();
        let same_user = new.user == old.user;
        match protocol {
            Protocol::Tcp => {
                let waiting = matches!(self.phase, Phase::TimeWait(_));
                address && !self.listening() || ports && (waiting || same_user)
            }
            Protocol::Udp => address || ports && same_user,
        }
    }

    fn occupies(&self, protocol: Protocol, number: u16, cover: Cover) -> bool {
        self.request.protocol == protocol
            && self.port == Some(number)
            && !self.flow_only
            && self.cover.meets(cover)
    }

    fn conflicts(&self, new: &Request, number: u16, cover: Cover) -> bool {
        let devices = match (self.request.device, new.device) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        self.occupies(new.protocol, number, cover) && devices && !self.excuses(new)
    }

    fn flow(&self) -> Option<Flow> {
        let local = self.cover.address()?;
        Some(Flow {
            protocol: self.request.protocol,
            local: Endpoint::new(local, port(self.port?)),
            remote: self.remote?,
        })
    }

    fn receives(&self) -> bool {
        match self.request.protocol {
            Protocol::Tcp => self.listening(),
            Protocol::Udp => self.phase == Phase::Bound,
        }
    }
}

struct Pair {
    table: Table<usize>,
    model: Vec<Plain>,
    clock: u64,
    /// The last questions, each with how often things had changed, and the answer.
    answers: Vec<(Flow, u32, u64, Option<Hold>)>,
}

fn one(address: IpAddr) -> Cover {
    match address.to_canonical() {
        IpAddr::V4(v4) => Cover::V4(v4),
        IpAddr::V6(v6) => Cover::V6(v6),
    }
}

impl Pair {
    fn new(seed: [u8; 32]) -> Self {
        let mut config = Config::new(seed);
        config.ephemeral = PortRange::new(port(FIRST), port(LAST)).unwrap();
        Self {
            table: Table::new(&config),
            model: Vec::new(),
            clock: 0,
            answers: Vec::new(),
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn pick(&self, at: usize) -> Option<usize> {
        (!self.model.is_empty()).then(|| at % self.model.len())
    }

    fn touch(&mut self, at: usize) {
        self.model[at].stamp = self.tick();
    }

    /// Indexes of those who keep somebody new out.
    fn conflicts(&self, except: usize, new: &Request, number: u16, cover: Cover) -> Vec<Hold> {
        let others = self
            .model
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != except);
        others
            .map(|(_, plain)| plain)
            .filter(|plain| plain.conflicts(new, number, cover))
            .map(|plain| plain.hold)
            .collect()
    }

    fn free(&self, protocol: Protocol, cover: Cover) -> BTreeSet<u16> {
        (FIRST..=LAST)
            .filter(|&number| {
                !self
                    .model
                    .iter()
                    .any(|plain| plain.occupies(protocol, number, cover))
            })
            .collect()
    }

    fn holder_of(&self, flow: &Flow) -> Option<&Plain> {
        self.model
            .iter()
            .filter(|plain| plain.flow() == Some(*flow))
            .max_by_key(|plain| plain.connected)
    }

    fn free_towards(&self, protocol: Protocol, local: IpAddr, remote: Endpoint) -> BTreeSet<u16> {
        let whole = |number| {
            self.model.iter().any(|plain| {
                !plain.chosen_by_connect && plain.occupies(protocol, number, one(local))
            })
        };
        let flow = |number| Flow {
            protocol,
            local: Endpoint::new(local, port(number)),
            remote,
        };
        (FIRST..=LAST)
            .filter(|&number| !whole(number) && self.holder_of(&flow(number)).is_none())
            .collect()
    }

    fn open(&mut self, request: Request) {
        let owner = self.clock as usize;
        let hold = self.table.open(request, owner);
        let cover = request.domain.wildcard();
        let stamp = self.tick();
        self.model.push(Plain {
            hold,
            request,
            cover,
            asked: cover,
            port: None,
            remote: None,
            phase: Phase::Open,
            chosen_by_connect: false,
            chosen_by_listen: false,
            accepted: false,
            flow_only: false,
            stamp,
            connected: 0,
        });
    }

    fn bind(&mut self, at: usize, local: Local) {
        let plain = self.model[at].clone();
        let result = self.table.bind(plain.hold, local);
        let Ok(cover) = plain.request.domain.cover(local.address) else {
            let refused = matches!(result, Err(BindError::Family(_) | BindError::AlreadyBound));
            assert!(refused, "{result:?}");
            return;
        };
        if plain.phase != Phase::Open {
            assert_eq!(result, Err(BindError::AlreadyBound));
            return;
        }
        let number = match local.port {
            Some(number) => {
                let conflicts = self.conflicts(at, &plain.request, number.number(), cover);
                match &result {
                    Ok(given) => assert!(*given == number && conflicts.is_empty(), "{conflicts:?}"),
                    Err(BindError::InUse(error)) => {
                        assert!(conflicts.contains(&error.holder.hold), "{error:?}")
                    }
                    Err(error) => panic!("{error:?}"),
                }
                number.number()
            }
            None => self.check_choice(
                &result
                    .as_ref()
                    .map(|port| port.number())
                    .map_err(|error| matches!(error, BindError::Exhausted(_))),
                &self.free(plain.request.protocol, cover),
            ),
        };
        if result.is_ok() {
            self.settle(at, cover, number);
        }
    }

    /// The chosen port is one of the free ones; 0 if there is none and the table says so.
    fn check_choice(&self, result: &Result<u16, bool>, free: &BTreeSet<u16>) -> u16 {
        match result {
            Ok(number) => assert!(free.contains(number), "{number} of {free:?}"),
            Err(exhausted) => assert!(*exhausted && free.is_empty(), "{free:?}"),
        }
        result.unwrap_or(0)
    }

    fn settle(&mut self, at: usize, cover: Cover, number: u16) {
        let plain = &mut self.model[at];
        (plain.cover, plain.asked, plain.port) = (cover, cover, Some(number));
        plain.phase = Phase::Bound;
        self.touch(at);
    }

    fn listen(&mut self, at: usize) {
        let plain = self.model[at].clone();
        let result = self.table.listen(plain.hold);
        if plain.request.protocol == Protocol::Udp {
            assert_eq!(result, Err(ListenError::Datagram));
            return;
        }
        match plain.phase {
            Phase::Connected | Phase::TimeWait(_) => {
                assert_eq!(result, Err(ListenError::Connected))
            }
            Phase::Listening => assert!(result.is_ok()),
            Phase::Open => {
                let number = self.check_choice(
                    &result.as_ref().map(|port| port.number()).map_err(|error| {
                        matches!(error, ListenError::Bind(BindError::Exhausted(_)))
                    }),
                    &self.free(Protocol::Tcp, plain.cover),
                );
                if result.is_ok() {
                    self.settle(at, plain.cover, number);
                    self.model[at].phase = Phase::Listening;
                    self.model[at].chosen_by_listen = true;
                }
            }
            Phase::Bound => {
                let conflicts =
                    self.conflicts(at, &plain.request, plain.port.unwrap(), plain.cover);
                match &result {
                    Ok(_) => assert_eq!(conflicts, []),
                    Err(ListenError::Bind(BindError::InUse(error))) => {
                        assert!(conflicts.contains(&error.holder.hold))
                    }
                    Err(error) => panic!("{error:?}"),
                }
                if result.is_ok() {
                    self.model[at].phase = Phase::Listening;
                    self.touch(at);
                }
            }
        }
    }

    fn connect(&mut self, at: usize, source: IpAddr, remote: Endpoint) {
        let plain = self.model[at].clone();
        let result = self.table.connect(plain.hold, source, remote);
        let udp = plain.request.protocol == Protocol::Udp;
        match plain.phase {
            Phase::Listening => return assert_eq!(result, Err(ConnectError::Listening)),
            Phase::TimeWait(_) => return assert_eq!(result, Err(ConnectError::Connected)),
            Phase::Connected if !udp => return assert_eq!(result, Err(ConnectError::Connected)),
            _ => {}
        }
        let source = plain.asked.address().unwrap_or(source);
        if !plain.request.domain.speaks(remote.address())
            || source.is_ipv4() != remote.address().is_ipv4()
        {
            return assert!(matches!(result, Err(ConnectError::Family(_))), "{result:?}");
        }
        let Some(number) = plain.port else {
            let free = self.free_towards(plain.request.protocol, source, remote);
            let number = self.check_choice(
                &result
                    .as_ref()
                    .map(|flow| flow.local.port().number())
                    .map_err(|error| matches!(error, ConnectError::Exhausted(_))),
                &free,
            );
            if result.is_ok() {
                self.model[at].chosen_by_connect = true;
                self.go(at, source, number, remote);
            }
            return;
        };
        let flow = Flow {
            protocol: plain.request.protocol,
            local: Endpoint::new(source, port(number)),
            remote,
        };
        let moving = plain.phase == Phase::Connected && plain.cover != one(source);
        let conflicts = if moving {
            self.conflicts(at, &plain.request, number, one(source))
        } else {
            Vec::new()
        };
        let other = self
            .holder_of(&flow)
            .filter(|other| other.hold != plain.hold);
        let shared = other.is_none_or(|other| udp && other.excuses(&plain.request));
        match &result {
            Ok(given) => assert!(*given == flow && conflicts.is_empty() && shared),
            Err(ConnectError::InUse(error)) => assert!(conflicts.contains(&error.holder.hold)),
            Err(ConnectError::Taken(error)) => {
                assert!(!shared && Some(error.holder.hold) == other.map(|other| other.hold))
            }
            Err(error) => panic!("{error:?}"),
        }
        if result.is_ok() {
            self.go(at, source, number, remote);
        }
    }

    fn go(&mut self, at: usize, source: IpAddr, number: u16, remote: Endpoint) {
        let connected = self.tick();
        let plain = &mut self.model[at];
        (plain.cover, plain.port, plain.remote) = (one(source), Some(number), Some(remote));
        (plain.phase, plain.connected) = (Phase::Connected, connected);
    }

    fn accept(&mut self, at: usize, local: IpAddr, remote: Endpoint) {
        let plain = self.model[at].clone();
        let number = plain.port.unwrap_or(1);
        let flow = Flow {
            protocol: plain.request.protocol,
            local: Endpoint::new(local, port(number)),
            remote,
        };
        let owner = self.clock as usize;
        let result = self.table.accept(plain.hold, &flow, owner);
        if !plain.listening() {
            return assert_eq!(result, Err(AcceptError::NotListening));
        }
        match (result, self.holder_of(&flow)) {
            (Ok(hold), None) => {
                self.model.push(Plain {
                    hold,
                    chosen_by_connect: false,
                    asked: one(local),
                    chosen_by_listen: false,
                    accepted: true,
                    ..plain
                });
                self.go(self.model.len() - 1, local, number, remote);
            }
            (Err(AcceptError::Taken(error)), Some(other)) => {
                assert_eq!(error.holder.hold, other.hold)
            }
            (result, other) => panic!("{result:?} {other:?}"),
        }
    }

    fn admit(&mut self, flow: Flow) {
        let owner = self.clock as usize;
        match (self.table.admit(&flow, owner), self.holder_of(&flow)) {
            (Ok(hold), None) => {
                let domain = if flow.local.address().is_ipv4() {
                    Domain::V4
                } else {
                    Domain::V6Only
                };
                self.open(Request::new(flow.protocol, domain));
                let admitted = self.model.len() - 1;
                self.table.release(self.model[admitted].hold);
                let plain = &mut self.model[admitted];
                (plain.hold, plain.flow_only, plain.asked) =
                    (hold, true, one(flow.local.address()));
                self.go(
                    admitted,
                    flow.local.address(),
                    flow.local.port().number(),
                    flow.remote,
                );
            }
            (Err(error), Some(other)) => assert_eq!(error.holder.hold, other.hold),
            (result, other) => panic!("{result:?} {other:?}"),
        }
    }

    fn narrow(&mut self, at: usize, address: IpAddr) {
        let plain = &self.model[at];
        let able =
            matches!(plain.phase, Phase::Bound | Phase::Listening) && plain.cover.is_wildcard();
        let result = self.table.narrow(plain.hold, address);
        assert_eq!(
            result.is_ok(),
            able && plain.cover.meets(one(address)),
            "{result:?} {plain:?}"
        );
        if result.is_ok() {
            let plain = &mut self.model[at];
            (plain.cover, plain.asked) = (one(address), one(address));
            self.touch(at);
        }
    }

    fn disconnect(&mut self, at: usize) {
        let plain = &self.model[at];
        self.table.disconnect(plain.hold).unwrap();
        let udp = plain.request.protocol == Protocol::Udp;
        self.part(at, plain.flow_only || plain.chosen_by_connect && udp);
    }

    fn conclude(&mut self, at: usize) {
        let plain = &self.model[at];
        self.table.conclude(plain.hold).unwrap();
        self.part(
            at,
            plain.flow_only || plain.chosen_by_connect || plain.accepted,
        );
    }

    fn give_back(&mut self, at: usize) {
        let plain = &mut self.model[at];
        let wildcard = plain.request.domain.wildcard();
        (plain.phase, plain.port) = (Phase::Open, None);
        (plain.cover, plain.asked) = (wildcard, wildcard);
        plain.chosen_by_listen = false;
    }

    fn part(&mut self, at: usize, gives_back: bool) {
        let plain = &mut self.model[at];
        if plain.phase != Phase::Connected {
            return;
        }
        (plain.cover, plain.remote) = (plain.asked, None);
        plain.phase = Phase::Bound;
        if gives_back {
            self.give_back(at);
        }
        let plain = &mut self.model[at];
        (plain.chosen_by_connect, plain.flow_only, plain.accepted) = (false, false, false);
        self.touch(at);
    }

    fn time_wait(&mut self, at: usize, until: u64) {
        self.table
            .time_wait(self.model[at].hold, Moment(until))
            .unwrap();
        let plain = &mut self.model[at];
        if plain.phase == Phase::Connected && plain.request.protocol == Protocol::Tcp {
            plain.phase = Phase::TimeWait(until);
        }
    }

    fn expire(&mut self, now: u64) {
        let over = |plain: &Plain| matches!(plain.phase, Phase::TimeWait(until) if until <= now);
        while let Some((hold, _)) = self.table.expire(Moment(now)) {
            let at = self
                .model
                .iter()
                .position(|plain| plain.hold == hold)
                .unwrap();
            assert!(over(&self.model.remove(at)));
        }
        assert!(!self.model.iter().any(over));
    }

    fn look(&self, flow: &Flow, device: u32) -> Option<(Hold, Match)> {
        let found = match Device::new(device) {
            None => self.table.who(flow),
            Some(device) => self.table.who_on(flow, device),
        };
        found.map(|found| (found.hold(), found.by))
    }

    /// As long as nothing has changed, answers are as they were.
    fn recall(&self) {
        for (flow, device, changes, hold) in &self.answers {
            if *changes == self.table.revision() {
                assert_eq!(self.look(flow, *device).map(|(hold, _)| hold), *hold);
            }
        }
    }

    fn ask(&mut self, flow: &Flow, device: u32) {
        let changes = self.table.revision();
        let hold = self.look(flow, device).map(|(hold, _)| hold);
        self.answers.truncate(7);
        self.answers.insert(0, (*flow, device, changes, hold));
        self.who(flow, device);
    }

    fn who(&self, flow: &Flow, device: u32) {
        let found = self.look(flow, device);
        assert_eq!(found, self.look(flow, device));
        if let Some(plain) = self.holder_of(flow) {
            return assert_eq!(found, Some((plain.hold, Match::Flow)));
        }
        let at = one(flow.local.address());
        let by = |exact: bool| self.candidates(flow, exact, device);
        let (candidates, by) = match by(true) {
            candidates if !candidates.is_empty() => (candidates, Match::Endpoint),
            _ => (by(false), Match::Wildcard),
        };
        match found {
            None => assert!(candidates.is_empty(), "{at} {candidates:?}"),
            Some((hold, found_by)) => {
                assert_eq!(found_by, by);
                assert!(candidates.contains(&hold), "{hold:?} of {candidates:?}");
            }
        }
    }

    /// Those of the best rank: on the device, of IPv4, the latest that doesn't share its port.
    fn candidates(&self, flow: &Flow, exact: bool, device: u32) -> Vec<Hold> {
        let local = one(flow.local.address());
        let mut best: Vec<&Plain> = self
            .model
            .iter()
            .filter(|plain| {
                let device = plain
                    .request
                    .device
                    .is_none_or(|own| own.number() == device);
                plain.receives()
                    && device
                    && plain.occupies(flow.protocol, flow.local.port().number(), local)
                    && (plain.cover == local) == exact
            })
            .collect();
        let prefer = |best: &mut Vec<&Plain>, good: fn(&Plain) -> bool| {
            if best.iter().any(|plain| good(plain)) {
                best.retain(|plain| good(plain));
            }
        };
        prefer(&mut best, |plain| plain.request.device.is_some());
        prefer(&mut best, |plain| plain.request.domain == Domain::V4);
        let alone = best.iter().filter(|plain| !plain.request.reuse.port());
        let latest = alone.max_by_key(|plain| plain.stamp);
        match latest {
            Some(plain) => vec![plain.hold],
            None => best.iter().map(|plain| plain.hold).collect(),
        }
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Open(request) => self.open(request),
            Op::Admit(protocol, local, number, remote) => {
                self.admit(flow(protocol, local, number, remote))
            }
            Op::Expire(now) => self.expire(now),
            Op::Who(protocol, local, number, remote, device) => {
                self.ask(&flow(protocol, local, number, remote), device)
            }
            Op::Bind(at, ..)
            | Op::Listen(at)
            | Op::Unlisten(at)
            | Op::Connect(at, ..)
            | Op::Accept(at, ..)
            | Op::Reuse(at, _)
            | Op::Device(at, _)
            | Op::User(at, _)
            | Op::Narrow(at, _)
            | Op::Disconnect(at)
            | Op::Conclude(at)
            | Op::TimeWait(at, _)
            | Op::Release(at) => {
                if let Some(at) = self.pick(at) {
                    self.run_on(at, op);
                }
            }
        }
    }

    fn run_on(&mut self, at: usize, op: &Op) {
        let hold = self.model[at].hold;
        match *op {
            Op::Bind(_, to, number) => self.bind(
                at,
                Local {
                    address: address(to),
                    port: number.map(port),
                },
            ),
            Op::Listen(_) => self.listen(at),
            Op::Connect(_, from, to) => {
                self.connect(at, address(from), REMOTES[to].parse().unwrap())
            }
            Op::Accept(_, local, from) => {
                self.accept(at, address(local), REMOTES[from].parse().unwrap())
            }
            Op::Narrow(_, to) => self.narrow(at, address(to)),
            Op::Disconnect(_) => self.disconnect(at),
            Op::Conclude(_) => self.conclude(at),
            Op::TimeWait(_, until) => self.time_wait(at, until),
            Op::Unlisten(_) => {
                self.table.unlisten(hold).unwrap();
                if self.model[at].listening() {
                    self.model[at].phase = Phase::Bound;
                    if self.model[at].chosen_by_listen {
                        self.give_back(at);
                    }
                }
            }
            Op::Reuse(_, reuse) => {
                self.table.set_reuse(hold, reuse).unwrap();
                self.model[at].request.reuse = reuse;
                self.touch(at);
            }
            Op::Device(_, device) => {
                self.table.set_device(hold, Device::new(device)).unwrap();
                self.model[at].request.device = Device::new(device);
                self.touch(at);
            }
            Op::User(_, user) => {
                self.table.set_user(hold, user).unwrap();
                self.model[at].request.user = user;
                self.touch(at);
            }
            Op::Release(_) => {
                assert!(self.table.release(hold).is_some());
                assert_eq!(self.table.release(hold), None);
                self.model.remove(at);
            }
            _ => unreachable!("{op:?} is on no hold"),
        }
    }

    /// What the table tells about each hold, and who meets whom, agrees with the list.
    fn compare(&self) {
        assert_eq!(self.table.len(), self.model.len());
        for plain in &self.model {
            let holding = self.table.holding(plain.hold).unwrap();
            let state = match (plain.phase, plain.remote) {
                (Phase::Open, _) => State::Open,
                (Phase::Bound, _) => State::Bound,
                (Phase::Listening, _) => State::Listening,
                (Phase::Connected, remote) => State::Connected(remote.unwrap()),
                (Phase::TimeWait(until), remote) => State::TimeWait(remote.unwrap(), Moment(until)),
            };
            assert_eq!(
                (holding.state, holding.cover, holding.port),
                (state, plain.cover, plain.port.map(port))
            );
            let Some(number) = plain.port else { continue };
            let meeting = self
                .table
                .holders(plain.request.protocol, plain.cover, port(number));
            let expected = self
                .model
                .iter()
                .filter(|other| other.occupies(plain.request.protocol, number, plain.cover));
            assert_eq!(meeting.len(), expected.count());
        }
    }

    fn empty(mut self) {
        for plain in self.model.drain(..) {
            assert!(self.table.release(plain.hold).is_some());
        }
        assert!(self.table.is_empty() && self.table.is_tidy());
    }
}

fn flow(protocol: Protocol, local: usize, number: u16, remote: usize) -> Flow {
    Flow {
        protocol,
        local: Endpoint::new(address(local), port(number)),
        remote: REMOTES[remote].parse().unwrap(),
    }
}

fn reuse() -> impl Strategy<Value = Reuse> {
    prop::sample::select(vec![
        Reuse::Nothing,
        Reuse::Address,
        Reuse::Port,
        Reuse::Both,
    ])
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop::sample::select(Protocol::ALL.to_vec())
}

fn request() -> impl Strategy<Value = Request> {
    let domain = prop::sample::select(vec![Domain::V4, Domain::V6Only, Domain::Dual]);
    let device = prop::sample::select(vec![0, 0, 0, 1, 2]);
    (protocol(), domain, reuse(), 0_u32..3, device).prop_map(
        |(protocol, domain, reuse, user, device)| Request {
            reuse,
            user,
            device: Device::new(device),
            ..Request::new(protocol, domain)
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let any = || any::<usize>();
    let number = || FIRST..=LAST;
    let specific = || prop::sample::select(SPECIFIC.to_vec());
    let remote = || 0..REMOTES.len();
    prop_oneof![
        6 => request().prop_map(Op::Open),
        8 => (any(), 0..ADDRESSES.len(), prop::option::weighted(0.7, number())).prop_map(|(at, to, port)| Op::Bind(at, to, port)),
        4 => any().prop_map(Op::Listen),
        1 => any().prop_map(Op::Unlisten),
        5 => (any(), specific(), remote()).prop_map(|(at, from, to)| Op::Connect(at, from, to)),
        4 => (any(), specific(), remote()).prop_map(|(at, local, from)| Op::Accept(at, local, from)),
        1 => (protocol(), specific(), number(), remote()).prop_map(|(protocol, local, port, from)| Op::Admit(protocol, local, port, from)),
        1 => (any(), reuse()).prop_map(|(at, reuse)| Op::Reuse(at, reuse)),
        1 => (any(), 0_u32..3).prop_map(|(at, device)| Op::Device(at, device)),
        1 => any().prop_map(Op::Conclude),
        1 => (any(), 0_u32..3).prop_map(|(at, user)| Op::User(at, user)),
        1 => (any(), specific()).prop_map(|(at, to)| Op::Narrow(at, to)),
        1 => any().prop_map(Op::Disconnect),
        2 => (any(), 0_u64..1000).prop_map(|(at, until)| Op::TimeWait(at, until)),
        1 => (0_u64..1000).prop_map(Op::Expire),
        5 => any().prop_map(Op::Release),
        6 => (protocol(), specific(), number(), remote(), 0_u32..3).prop_map(|(protocol, local, port, from, device)| Op::Who(protocol, local, port, from, device)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn thousands_of_operations_agree_with_a_list(ops in prop::collection::vec(op(), 1..2500), seed: [u8; 32]) {
        let mut pair = Pair::new(seed);
        for (number, op) in ops.iter().enumerate() {
            pair.run(op);
            pair.recall();
            if number % 97 == 0 {
                pair.compare();
            }
        }
        pair.compare();
        pair.empty();
    }

    #[test]
    fn short_sequences_agree_with_a_list(ops in prop::collection::vec(op(), 1..40), seed: [u8; 32]) {
        let mut pair = Pair::new(seed);
        for op in &ops {
            pair.run(op);
            pair.recall();
            pair.compare();
        }
        pair.empty();
    }
}
