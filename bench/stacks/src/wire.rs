//! The wire between two hosts of ours: a queue of frames each way, one copy a frame into memory that is used again, as every
//! contestant's has.

use std::collections::VecDeque;
use std::time::Instant as Clock;

use bytes::{Bytes, BytesMut};
use wharf_net::wire::ethernet::Mac;
use wharf_net::{Capabilities, Config, Frame, Host, Instant, SocketId};
use wharf_port::{Domain, Endpoint, Protocol};

/// What a wire takes: kinds of frames, and how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    capabilities: Capabilities,
    frames: usize,
}

/// Nothing above the MTU, every checksum made and verified.
pub(crate) const PLAIN: Kind = Kind {
    capabilities: Capabilities::NONE,
    frames: FRAMES,
};
/// Trains of up to 64 KiB, whose checksums nobody needs: the wire is memory.
pub(crate) const TRAINS: Kind = Kind {
    capabilities: Capabilities::ALL,
    frames: 16,
};
/// Frames on a wire each way.
pub(crate) const FRAMES: usize = 256;

const EPOCH: Instant = Instant::from_millis(1000);
/// Octets of memory that frames share.
const MEMORY: usize = 1 << 20;

/// Two hosts, 10.0.0.1 and 10.0.0.2.
pub(crate) struct Pair {
    pub(crate) hosts: [Host; 2],
    wires: [VecDeque<Bytes>; 2],
    memory: BytesMut,
    frames: usize,
    start: Clock,
    /// The time of this turn.
    pub(crate) now: Instant,
}

impl Pair {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            hosts: [1, 2].map(|number| Host::new(config(number, kind.capabilities))),
            wires: [VecDeque::new(), VecDeque::new()],
            memory: BytesMut::new(),
            frames: kind.frames,
            start: Clock::now(),
            now: EPOCH,
        }
    }

    /// Both hosts send what they have and the wires room for, and receive what has come.
    pub(crate) fn turn(&mut self) {
        self.now = EPOCH + self.start.elapsed();
        let now = self.now;
        for side in 0..2 {
            let host = &mut self.hosts[side];
            if host.deadline().is_some_and(|at| at <= now) {
                host.expire(now);
            }
            // What both have let go of is filled again: as with the others it stays near the processor.
            let _ = self.memory.try_reclaim(MEMORY);
            while self.wires[side].len() < self.frames {
                let Some(frame) = host.transmit(now) else {
                    break;
                };
                let bytes = carried(&mut self.memory, &frame);
                self.wires[side].push_back(bytes);
            }
            let other = &mut self.hosts[1 - side];
            for bytes in self.wires[side].drain(..) {
                if let Ok(frame) = Frame::from_link(bytes) {
                    other.receive(now, frame);
                }
            }
        }
    }

    /// A listener at the second host's port.
    pub(crate) fn listen(&mut self, port: u16) -> SocketId {
        let server = &mut self.hosts[1];
        let listener = server
            .open(Protocol::Tcp, Domain::V4)
            .expect("there is room");
        server
            .bind(
                listener,
                format!("10.0.0.2:{port}").parse().expect("an address"),
            )
            .expect("it is free");
        server.listen(listener, 1024).expect("it is free");
        listener
    }

    /// A connection from the first host to a listener of the second.
    pub(crate) fn connect(&mut self, listener: SocketId, to: Endpoint) -> [SocketId; 2] {
        let now = self.now;
        let client = self.hosts[0]
            .open(Protocol::Tcp, Domain::V4)
            .expect("there is room");
        self.hosts[0]
            .connect(now, client, to)
            .expect("a port is free");
        loop {
            self.turn();
            if let Ok(server) = self.hosts[1].accept(listener) {
                self.forget_events();
                return [client, server];
            }
        }
    }

    /// What happened is seen by what the sockets have.
    pub(crate) fn forget_events(&mut self) {
        for host in &mut self.hosts {
            while host.event().is_some() {}
        }
    }
}

/// A frame's octets in the wire's memory.
fn carried(memory: &mut BytesMut, frame: &Frame) -> Bytes {
    let length = frame.head().len() + frame.body().iter().map(Bytes::len).sum::<usize>();
    if memory.capacity() < length {
        memory.reserve(MEMORY);
    }
    memory.extend_from_slice(frame.head());
    for slice in frame.body() {
        memory.extend_from_slice(slice);
    }
    memory.split().freeze()
}

/// An ordinary host with the defaults of everything.
pub(crate) fn config(number: u8, capabilities: Capabilities) -> Config {
    let mut config = Config::new(Mac([2, 0, 0, 0, 0, number]), [number; 32]);
    config.addresses = vec![format!("10.0.0.{number}/8").parse().expect("an address")];
    config.capabilities = capabilities;
    config
}
