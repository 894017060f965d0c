//! Storms: a few connections at once over a wire that is as bad as its seed says, between hosts set up as it says, used and
//! broken off as it says.
//!
//! What has to hold: octets arrive intact and in order; an end whose peer keeps to order gets everything, or the connection was never
//! made; in the end nothing is left of any connection on either host.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use wharf_net::tcp::{Algorithm, EcnUse, KeepAlive, State};
use wharf_net::{Capabilities, Config, Event, Instant, Ready, SocketId};
use wharf_port::{Domain, Flow, Protocol};

use super::{Bottleneck, Chance, Impairment, Network, Side, ordinary};

/// Virtual time after which a connection is stuck: all timeouts in a row take less.
const STUCK: Duration = Duration::from_secs(6 * 3600);

/// How an end behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// It sends everything, closes its direction, and reads to the end.
    Orderly,
    /// The same, but lets go then: what it sent last may be given up sooner.
    Hasty,
    /// It resets when it has sent and received so much.
    Abort(usize),
    /// It lets go when it has sent and received so much.
    Drop(usize),
}

#[derive(Debug)]
struct End {
    side: Side,
    socket: Option<SocketId>,
    plan: Plan,
    length: usize,
    sent: usize,
    got: usize,
    /// Octets read at once; it rests in between.
    gulp: usize,
    eof: bool,
    error: Option<wharf_net::tcp::Error>,
    over: bool,
}

impl End {
    /// Whether it was to break off.
    fn is_broken(&self) -> bool {
        matches!(self.plan, Plan::Abort(_) | Plan::Drop(_))
    }
}

/// One connection: who connects, who accepts.
type Pair = [End; 2];

/// What a storm amounted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) connections: usize,
    /// Connections that carried everything both ways.
    pub(crate) whole: usize,
    pub(crate) octets: usize,
}

struct Storm {
    seed: u64,
    network: Network,
    chance: Chance,
    pairs: Vec<Pair>,
    /// Whose socket is which end.
    ends: HashMap<(bool, SocketId), (usize, usize)>,
    flows: HashMap<Flow, usize>,
    wakes: Vec<(Instant, usize, usize)>,
}

/// Runs the storm of a seed; panics with the seed if anything is not as it has to be.
pub(crate) fn run(seed: u64) -> Outcome {
    let mut storm = Storm::new(seed);
    storm.connect();
    storm.drive();
    storm.judge()
}

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound.max(1)
    }

    /// A size of any magnitude up to 2 to the `bits`.
    fn size(&mut self, bits: usize) -> usize {
        let bits = self.below(bits + 1);
        self.below(1 << bits)
    }
}

fn config(chance: &mut Chance, side: Side, capabilities: Capabilities) -> Config {
    let mut config = ordinary(side, capabilities);
    config.mtu = [1280, 1500, 1500, 9000][chance.below(4)];
    let tcp = &mut config.tcp;
    tcp.congestion = [Algorithm::Cubic, Algorithm::Reno, Algorithm::Bbr][chance.below(3)];
    tcp.receive_max = [600, 3000, 40_000, 2 << 20, 64 << 20][chance.below(5)];
    tcp.receive_initial = tcp.receive_max.min(256 << 10);
    tcp.send_initial = [1, 2000, 256 << 10][chance.below(3)];
    tcp.send_max = tcp.send_initial.max([1000, 2 << 20][chance.below(2)]);
    tcp.timestamps = chance.below(4) > 0;
    tcp.sack = chance.below(4) > 0;
    tcp.nodelay = chance.below(2) > 0;
    tcp.ecn = [EcnUse::Off, EcnUse::Accept, EcnUse::Ask][chance.below(3)];
    // A lost reset is otherwise never noticed by a peer that only waits.
    tcp.keepalive = Some(KeepAlive {
        idle: Duration::from_secs(300),
        interval: Duration::from_secs(30),
        count: 9,
    });
    config
}

fn impairment(chance: &mut Chance, capabilities: Capabilities) -> Impairment {
    let mild = chance.below(3) == 0;
    let corruption = match capabilities == Capabilities::NONE {
        true if !mild => chance.below(30) as u64,
        _ => 0, // Such a link vouches for what it carries.
    };
    Impairment {
        loss: chance.below(if mild { 10 } else { 201 }) as u64,
        duplication: chance.below(if mild { 2 } else { 60 }) as u64,
        corruption,
        delay: Duration::from_micros(chance.size(18) as u64),
        jitter: Duration::from_micros(chance.size(16) as u64),
        bottleneck: (chance.below(3) == 0).then(|| Bottleneck {
            rate: 20_000 + chance.size(24) as u64,
            buffer: 10_000 + chance.size(18) as u64,
        }),
    }
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            chance.next();
        }
        let capabilities = [Capabilities::NONE, Capabilities::ALL][chance.below(2)];
        let left = config(&mut chance, Side::Left, capabilities);
        let right = config(&mut chance, Side::Right, capabilities);
        let mut network = Network::new(left, right);
        network.impairment = impairment(&mut chance, capabilities);
        network.chance = Chance(chance.next() | 1);
        Self {
            seed,
            network,
            chance,
            pairs: Vec::new(),
            ends: HashMap::new(),
            flows: HashMap::new(),
            wakes: Vec::new(),
        }
    }

    fn end(&mut self, side: Side) -> End {
        let chance = &mut self.chance;
        let length = chance.size(18);
        let plan = match chance.below(6) {
            0 => Plan::Abort(chance.below(2 * length + 1)),
            1 => Plan::Drop(chance.below(2 * length + 1)),
            2 => Plan::Hasty,
            _ => Plan::Orderly,
        };
        End {
            side,
            socket: None,
            plan,
            length,
            sent: 0,
            got: 0,
            gulp: [usize::MAX, usize::MAX, 100 + chance.size(14)][chance.below(3)],
            eof: false,
            error: None,
            over: false,
        }
    }

    fn connect(&mut self) {
        for side in [Side::Left, Side::Right] {
            let host = self.network.host(side);
            let listener = host.open(Protocol::Tcp, Domain::Dual).unwrap();
            host.bind(listener, "[::]:80".parse().unwrap()).unwrap();
            host.listen(listener, 64).unwrap();
        }
        let now = self.network.now;
        for index in 0..1 + self.chance.below(6) {
            let side = [Side::Left, Side::Right][self.chance.below(2)];
            let mut pair = [self.end(side), self.end(side.other())];
            let remote = match (side, self.chance.below(2)) {
                (Side::Left, 0) => "10.0.0.2:80",
                (Side::Left, _) => "[fd00::2]:80",
                (Side::Right, 0) => "10.0.0.1:80",
                (Side::Right, _) => "[fd00::1]:80",
            };
            let host = self.network.host(side);
            let client = host.open(Protocol::Tcp, Domain::Dual).unwrap();
            let flow = host.connect(now, client, remote.parse().unwrap());
            self.flows.insert(flow.unwrap(), index);
            pair[0].socket = Some(client);
            self.ends.insert((side == Side::Left, client), (index, 0));
            self.pairs.push(pair);
        }
    }

    fn drive(&mut self) {
        let limit = self.network.now + STUCK;
        loop {
            self.react();
            self.network.collect();
            let sockets = (
                self.network.left.socket_count(),
                self.network.right.socket_count(),
            );
            if sockets == (1, 1) && self.wakes.is_empty() {
                return;
            }
            let wake = self.wakes.iter().map(|(at, ..)| *at).min();
            let end = wake.unwrap_or(limit).min(limit);
            let moved = self.network.step(end);
            assert!(
                moved || end < limit,
                "storm {}: stuck with {sockets:?} sockets: {:#?}",
                self.seed,
                self.pairs
            );
        }
    }

    /// Does what events and the passing of time ask for.
    fn react(&mut self) {
        loop {
            let now = self.network.now;
            if let Some(due) = self.wakes.iter().position(|(at, ..)| *at <= now) {
                let (_, pair, end) = self.wakes.swap_remove(due);
                self.go_on(pair, end, Ready::NONE);
                continue;
            }
            let events = [Side::Left, Side::Right].map(|side| self.network.host(side).event());
            if events.iter().all(Option::is_none) {
                return;
            }
            for (side, event) in [Side::Left, Side::Right].into_iter().zip(events) {
                match event {
                    Some(Event::Incoming { listener, .. }) => self.accept(side, listener),
                    Some(Event::Ready { socket, ready }) => {
                        if let Some((pair, end)) = self.ends.get(&(side == Side::Left, socket)) {
                            self.go_on(*pair, *end, ready);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn accept(&mut self, side: Side, listener: SocketId) {
        while let Ok(socket) = self.network.host(side).accept(listener) {
            let flow = self.network.host(side).flow(socket).unwrap();
            let index = self.flows[&flow.flipped()];
            let [client, end] = &mut self.pairs[index];
            if end.socket.is_some() {
                // After a reset there is no TIME-WAIT: duplicates of the handshake, as fresh as the clock of sequence
                // numbers, may look like another (RFC 9293 §3.4.1).
                let broken = [client, end].iter().any(|end| end.is_broken());
                assert!(broken, "storm {}: accepted twice", self.seed);
                let now = self.network.now;
                self.network.host(side).close(now, socket);
                continue;
            }
            end.socket = Some(socket);
            self.ends.insert((side == Side::Left, socket), (index, 1));
            self.go_on(index, 1, Ready::NONE);
        }
    }

    fn go_on(&mut self, pair: usize, end: usize, ready: Ready) {
        let now = self.network.now;
        let salt = self.seed ^ pair as u64;
        let (mine, theirs) = (salt * 2 + end as u64, salt * 2 + 1 - end as u64);
        let peer_length = self.pairs[pair][1 - end].length;
        let state = &mut self.pairs[pair][end];
        let Some(socket) = state.socket.filter(|_| !state.over) else {
            return;
        };
        let host = self.network.host(state.side);
        let mut came = Vec::new();
        for chunk in host.chunks(socket) {
            came.extend_from_slice(
                &chunk[..chunk.len().min(state.gulp - came.len().min(state.gulp))],
            );
        }
        for (at, octet) in came.iter().enumerate() {
            assert!(
                *octet == value(theirs, state.got + at),
                "storm {}: connection {pair} end {end}: octet {} is another",
                self.seed,
                state.got + at
            );
        }
        state.got += came.len();
        assert!(state.got <= peer_length, "storm {}: too much", self.seed);
        host.consume(now, socket, came.len());
        if host.readable(socket) > 0 {
            let rest = Duration::from_millis(self.chance.size(10) as u64);
            self.wakes.push((now + rest, pair, end));
        }
        while state.sent < state.length {
            let count = host.room(socket).min(state.length - state.sent).min(50_000);
            let text: Bytes = (state.sent..state.sent + count)
                .map(|at| value(mine, at))
                .collect();
            match host.write(now, socket, text) {
                Ok(taken) if taken > 0 => state.sent += taken,
                _ => break,
            }
        }
        let progress = state.sent + state.got;
        match state.plan {
            Plan::Abort(after) if progress >= after => host.abort(now, socket),
            Plan::Drop(after) if progress >= after => state.over = true,
            _ if state.sent == state.length => host.shutdown(now, socket),
            _ => {}
        }
        state.eof = host.is_read_closed(socket);
        state.error = host.error(socket);
        let failed = state.error.is_some() || ready.contains(Ready::FAILED);
        let finished = state.eof && state.sent == state.length && host.readable(socket) == 0;
        let closed = matches!(host.state(socket), Some(State::Closed | State::TimeWait));
        let finished = finished && (closed || state.plan == Plan::Hasty);
        if state.over || failed || finished {
            state.over = true;
            host.close(now, socket);
        }
    }

    fn judge(self) -> Outcome {
        let mut outcome = Outcome {
            connections: self.pairs.len(),
            ..Outcome::default()
        };
        for pair in &self.pairs {
            let [client, server] = pair;
            let context = || format!("storm {}: {pair:#?}", self.seed);
            assert!(client.over, "{}", context());
            outcome.octets += client.got + server.got;
            if pair.iter().any(End::is_broken) {
                continue;
            }
            if server.socket.is_none() {
                assert!(client.error.is_some(), "{}", context());
                continue;
            }
            let whole = |end: &End, peer: &End| end.eof && end.got == peer.length;
            let excused = |end: &End, peer: &End| peer.plan == Plan::Hasty && end.error.is_some();
            if !whole(client, server) || !whole(server, client) {
                let fair = |end, peer| whole(end, peer) || excused(end, peer);
                assert!(
                    fair(client, server) && fair(server, client),
                    "{}",
                    context()
                );
                continue;
            }
            outcome.whole += 1;
        }
        outcome
    }
}

/// Octet `at` of the stream that starts with `salt`.
fn value(salt: u64, at: usize) -> u8 {
    ((at as u64).wrapping_mul(7) + (at as u64 >> 8) + salt.wrapping_mul(31)) as u8
}
