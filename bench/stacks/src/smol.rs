//! smoltcp: two interfaces and a wire between them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant as Wall};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

use crate::measure::Clock;
use crate::wire::FRAMES;
use crate::{PIECE, REQUEST};

/// Octets of a socket's buffer: the size from 64 KiB to 4 MiB with which a stream was fastest.
const BUFFER: usize = 256 << 10;

pub(crate) type Queue = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// One end of a wire.
#[derive(Default)]
pub(crate) struct Wire {
    pub(crate) inbox: Queue,
    pub(crate) outbox: Queue,
    /// Memory that is used again.
    pub(crate) pool: Queue,
}

pub(crate) struct Arrived(Vec<u8>, Queue);

pub(crate) struct Room<'a>(&'a Wire);

impl Device for Wire {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Arrived, Room<'_>)> {
        let frame = self.inbox.borrow_mut().pop_front()?;
        Some((Arrived(frame, self.pool.clone()), Room(self)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Room<'_>> {
        (self.outbox.borrow().len() < FRAMES).then_some(Room(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        let result = read(&self.0);
        self.1.borrow_mut().push_back(self.0);
        result
    }
}

impl TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut frame = self.0.pool.borrow_mut().pop_back().unwrap_or_default();
        frame.resize(length, 0);
        let written = write(&mut frame);
        self.0.outbox.borrow_mut().push_back(frame);
        written
    }
}

/// A host.
pub(crate) struct End {
    pub(crate) interface: Interface,
    pub(crate) wire: Wire,
    pub(crate) sockets: SocketSet<'static>,
}

impl End {
    pub(crate) fn new(number: u8, wire: Wire) -> Self {
        let mut wire = wire;
        let mac = EthernetAddress([2, 0, 0, 0, 0, number]);
        let mut interface = Interface::new(Config::new(mac.into()), &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let own = IpCidr::new(IpAddress::v4(10, 0, 0, number), 8);
            addresses.push(own).expect("there is room for one");
        });
        Self {
            interface,
            wire,
            sockets: SocketSet::new(Vec::new()),
        }
    }

    fn add(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        // As with the others a response is not held back for its acknowledgment.
        socket.set_nagle_enabled(false);
        self.sockets.add(socket)
    }
}

struct Pair {
    ends: [End; 2],
    handles: [SocketHandle; 2],
    start: Wall,
    skipped: Duration,
}

impl Pair {
    fn new() -> Self {
        let (there, back, pool) = (Queue::default(), Queue::default(), Queue::default());
        let wire = |inbox: &Queue, outbox: &Queue| Wire {
            inbox: inbox.clone(),
            outbox: outbox.clone(),
            pool: pool.clone(),
        };
        let mut ends = [
            End::new(1, wire(&back, &there)),
            End::new(2, wire(&there, &back)),
        ];
        let handles = [ends[0].add(), ends[1].add()];
        Self {
            ends,
            handles,
            start: Wall::now(),
            skipped: Duration::ZERO,
        }
    }

    fn now(&self) -> Instant {
        let now = self.start.elapsed() + self.skipped;
        Instant::from_micros(i64::try_from(now.as_micros()).expect("a bench is short"))
    }

    fn turn(&mut self) {
        let now = self.now();
        for end in &mut self.ends {
            end.interface.poll(now, &mut end.wire, &mut end.sockets);
        }
    }

    fn socket(&mut self, side: usize) -> &mut tcp::Socket<'static> {
        self.ends[side].sockets.get_mut(self.handles[side])
    }

    fn connect(&mut self, from: u16) {
        self.socket(1).listen(80).expect("it is closed");
        let end = &mut self.ends[0];
        let socket = end.sockets.get_mut::<tcp::Socket<'_>>(self.handles[0]);
        let to = (IpAddress::v4(10, 0, 0, 2), 80);
        socket
            .connect(end.interface.context(), to, from)
            .expect("it is closed");
        while !(self.socket(0).may_send() && self.socket(1).may_send()) {
            self.turn();
        }
    }
}

/// How long a stream from one host to the other takes.
pub(crate) fn stream(octets: usize) -> Duration {
    let mut pair = Pair::new();
    pair.connect(40_000);
    let piece = vec![0x5a; PIECE];
    let mut buffer = vec![0; PIECE];
    let (mut sent, mut got) = (0, 0);
    let start = Clock::now();
    while got < octets {
        while sent < octets {
            let count = PIECE.min(octets - sent);
            let taken = pair
                .socket(0)
                .send_slice(&piece[..count])
                .expect("it is open");
            sent += taken;
            if taken == 0 {
                break;
            }
        }
        pair.turn();
        loop {
            let count = pair.socket(1).recv_slice(&mut buffer).expect("it is open");
            got += count;
            if count == 0 {
                break;
            }
        }
    }
    start.elapsed()
}

/// How long so many requests and responses take, one after the other.
pub(crate) fn trips(count: usize) -> Duration {
    let mut pair = Pair::new();
    pair.connect(40_000);
    let request = vec![1; REQUEST];
    let mut buffer = vec![0; PIECE];
    let start = Clock::now();
    for _ in 0..count {
        for side in [0, 1] {
            let taken = pair.socket(side).send_slice(&request);
            assert_eq!(taken, Ok(REQUEST), "there is room");
            let mut got = 0;
            while got < REQUEST {
                pair.turn();
                got += pair
                    .socket(1 - side)
                    .recv_slice(&mut buffer)
                    .expect("it is open");
            }
        }
    }
    start.elapsed()
}

/// How long it takes to open and close so many connections, one after the other, on the same two sockets. TIME-WAIT, which
/// would hold a socket for ten seconds, is passed by setting the clock forward.
pub(crate) fn openings(count: usize) -> Duration {
    let mut pair = Pair::new();
    let start = Clock::now();
    for number in 0..count {
        pair.connect(1024 + (number % 60_000) as u16);
        pair.socket(1).close();
        while pair.socket(0).may_recv() {
            pair.turn();
        }
        pair.socket(0).close();
        while pair.socket(0).is_open() {
            pair.turn();
        }
        pair.skipped += Duration::from_secs(11);
        while pair.socket(1).is_open() {
            pair.turn();
        }
    }
    start.elapsed()
}
