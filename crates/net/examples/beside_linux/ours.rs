//! Our host, and the wire between it and the kernel.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant as Clock};

use bytes::Bytes;
use wharf_link::{Impaired, Impairment, Link, Slots, Tap, memory};
use wharf_net::tcp::Algorithm;
use wharf_net::wire::ethernet::Mac;
use wharf_net::{Capabilities, Config, Event, Frame, Host, Instant, SocketId};
use wharf_port::{Domain, Port, Protocol};

use crate::namespace::configure;
use crate::wires::{Pump, received, tap, wait_for};
use crate::{KERNEL, OURS};

const PIECE: usize = 64 << 10;

/// What our host does on its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Sends,
    Takes,
}

pub(crate) struct World {
    start: Clock,
    host: Host,
    fds: Vec<OwnedFd>,
    out: Impaired<Tap>,
    back: Impaired<memory::End>,
    arrived: memory::End,
    slots: [Slots; 2],
    piece: Bytes,
    role: Role,
    /// With what came on each.
    streams: Vec<(SocketId, u64)>,
    listener: Option<SocketId>,
    next_port: u16,
    /// Connections on which something came, and how much.
    pub(crate) begun: u64,
    pub(crate) octets: u64,
}

impl World {
    pub(crate) fn new(congestion: &str) -> Self {
        let tap = tap("wire");
        configure(&[], "wire", KERNEL);
        let mut config = Config::new(Mac([2, 0, 0, 0, 9, 2]), [9; 32]);
        config.addresses = vec![
            format!("{}/24", OURS[0]).parse().unwrap(),
            format!("{}/64", OURS[1]).parse().unwrap(),
        ];
        config.capabilities = Capabilities::NONE;
        config.tcp.congestion = match congestion {
            "reno" => Algorithm::Reno,
            "bbr" => Algorithm::Bbr,
            _ => Algorithm::Cubic,
        };
        let (into, arrived) = memory::pair(4096, 1500, wharf_link::Capabilities::NONE);
        Self {
            start: Clock::now(),
            host: Host::new(config),
            fds: vec![tap.as_fd().try_clone_to_owned().unwrap()],
            out: Impaired::new(tap, Impairment::default(), 1),
            back: Impaired::new(into, Impairment::default(), 2),
            arrived,
            slots: [Slots::default(), Slots::default()],
            piece: Bytes::from(vec![7; PIECE]),
            role: Role::Takes,
            streams: Vec::new(),
            listener: None,
            next_port: 1000,
            begun: 0,
            octets: 0,
        }
    }

    pub(crate) fn impair(&mut self, impairment: Impairment) {
        self.out.impair(impairment);
        self.back.impair(impairment);
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(1_000_000_000) + self.start.elapsed()
    }

    /// A measurement begins.
    pub(crate) fn begin(&mut self, role: Role) {
        self.role = role;
        (self.begun, self.octets) = (0, 0);
    }

    pub(crate) fn connect(&mut self, to: SocketAddr) {
        let now = self.now();
        let socket = self.host.open(Protocol::Tcp, Domain::Dual).unwrap();
        self.host
            .connect(now, socket, to.to_string().parse().unwrap())
            .unwrap();
        self.streams.push((socket, 0));
    }

    /// Listens at a port that was not used before.
    pub(crate) fn listen(&mut self) -> u16 {
        self.next_port += 1;
        let listener = self.host.open(Protocol::Tcp, Domain::Dual).unwrap();
        let port = Port::new(self.next_port).unwrap();
        let place = wharf_port::Endpoint::new("::".parse().unwrap(), port);
        self.host.bind(listener, place.into()).unwrap();
        self.host.listen(listener, 100).unwrap();
        self.listener = Some(listener);
        self.next_port
    }

    /// Ends all connections.
    pub(crate) fn forget(&mut self) {
        let now = self.now();
        for (socket, _) in self.streams.drain(..) {
            self.host.abort(now, socket);
            self.host.close(now, socket);
        }
        if let Some(listener) = self.listener.take() {
            self.host.close(now, listener);
        }
        self.turn();
    }

    fn serve(&mut self, now: Instant) {
        while let Some(event) = self.host.event() {
            if let Event::Incoming { listener, .. } = event {
                while let Ok(socket) = self.host.accept(listener) {
                    self.streams.push((socket, 0));
                }
            }
        }
        for (socket, came) in &mut self.streams {
            let count = self.host.readable(*socket);
            if count > 0 {
                self.host.consume(now, *socket, count);
                self.begun += u64::from(*came == 0);
                *came += count as u64;
                self.octets += count as u64;
            }
            while self.role == Role::Sends && self.host.room(*socket) >= PIECE {
                if self.host.write(now, *socket, self.piece.clone()).is_err() {
                    break;
                }
            }
        }
    }
}

impl Pump for World {
    fn turn(&mut self) {
        self.back.advance(self.start.elapsed()).unwrap();
        while let Some(frame) = received(self.slots[0].receive(&mut self.out)) {
            self.back.send(&[IoSlice::new(&frame)]).unwrap();
        }
        self.back.advance(self.start.elapsed()).unwrap();
        let now = self.now();
        while let Some(frame) = received(self.slots[1].receive(&mut self.arrived)) {
            if let Ok(frame) = Frame::from_link(frame) {
                self.host.receive(now, frame);
            }
        }
        if self.host.deadline().is_some_and(|at| at <= now) {
            self.host.expire(now);
        }
        self.serve(now);
        self.out.advance(self.start.elapsed()).unwrap();
        while let Some(frame) = self.host.transmit(now) {
            self.out.send(&[IoSlice::new(&frame.to_link())]).unwrap();
        }
        self.out.advance(self.start.elapsed()).unwrap();
    }

    fn wait(&self) {
        let wire = [self.out.deadline(), self.back.deadline()];
        let wire = wire.into_iter().flatten().min();
        let wire = wire.map(|at| at.saturating_sub(self.start.elapsed()));
        let timer = self.host.deadline().map(|at| at - self.now());
        let patience: Option<Duration> = [wire, timer].into_iter().flatten().min();
        wait_for(&self.fds, patience);
    }
}
