//! Segments on one live connection, in whatever state it is: orderly ones that lead it on, and others around its numbers.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use wharf_net::tcp::State;
use wharf_net::wire::tcp::{Control, Flags, Options, SackBlock, SeqNum, Timestamps};
use wharf_net::{Capabilities, Frame, Host, Instant, Offload, Setting, SocketId};
use wharf_port::{Domain, Protocol};

use super::craft::{self, End};
use super::{Octets, wake};
use crate::network::{LEFT_MAC, RIGHT_MAC, Side, ordinary};

/// Frames that one happening may lead to: all that the send buffer holds at most, in segments as short as a peer can have them
/// (an MSS of 48, of which four SACK blocks take 36).
const MOST: usize = (2 << 20) / 12;

struct Player<'a> {
    octets: Octets<'a>,
    now: Instant,
    host: Host,
    listener: SocketId,
    socket: Option<SocketId>,
    here: End,
    peer: End,
    /// What the peer sends next, and expects next.
    next: SeqNum,
    expected: SeqNum,
    /// The last timestamp of the host.
    stamp: u32,
}

/// Plays a connection; the states that it was seen in.
pub(crate) fn play(octets: &[u8]) -> HashSet<State> {
    let mut player = Player::new(octets);
    let mut states = HashSet::new();
    player.open();
    while player.step() {
        states.extend(player.socket.and_then(|socket| player.host.state(socket)));
    }
    player.finish();
    states
}

impl<'a> Player<'a> {
    fn new(octets: &'a [u8]) -> Self {
        let mut octets = Octets(octets);
        let mut config = ordinary(Side::Left, Capabilities::NONE);
        config.tcp.receive_max = octets.one_of(&[1000, 64 << 10, 2 << 20]);
        config.tcp.receive_initial = config.tcp.receive_max.min(256 << 10);
        let v6 = octets.byte() % 2 == 1;
        let addresses = [["10.0.0.1", "10.0.0.2"], ["fd00::1", "fd00::2"]][usize::from(v6)];
        let [here, peer] = addresses.map(|address| address.parse().expect("an address"));
        let mut host = Host::new(config);
        let listener = host
            .open(Protocol::Tcp, Domain::Dual)
            .expect("there is room");
        host.bind(listener, "[::]:80".parse().expect("an endpoint"))
            .expect("it is free");
        host.listen(listener, 4).expect("it is free");
        Self {
            next: SeqNum::new(u32::from(octets.word()) << 16),
            octets,
            now: Instant::from_millis(5000),
            host,
            listener,
            socket: None,
            here: End {
                mac: LEFT_MAC,
                address: here,
                port: 80,
            },
            peer: End {
                mac: RIGHT_MAC,
                address: peer,
                port: 4000,
            },
            expected: SeqNum::new(0),
            stamp: 0,
        }
    }

    fn open(&mut self) {
        if self.octets.byte().is_multiple_of(3) {
            let socket = self
                .host
                .open(Protocol::Tcp, Domain::Dual)
                .expect("there is room");
            let to = std::net::SocketAddr::new(self.peer.address, self.peer.port).to_string();
            if let Ok(flow) = self
                .host
                .connect(self.now, socket, to.parse().expect("an endpoint"))
            {
                self.here.port = flow.local.port().number();
            }
            self.socket = Some(socket);
            self.collect();
            return;
        }
        self.send(Flags::SYN, 0, &[]);
        self.next += 1;
        if !self.octets.byte().is_multiple_of(4) {
            self.send(Flags::ACK, 0, &[]);
        }
    }

    fn step(&mut self) -> bool {
        let Some(what) = self.octets.next() else {
            return false;
        };
        match what % 16 {
            0..3 => {
                let count = self.octets.below(1400);
                self.send(Flags::ACK, 0, &vec![7; count]);
                self.next += count;
            }
            3 => self.send(Flags::ACK, 0, &[]),
            4 => {
                // Perhaps before our own FIN has arrived there: the two cross.
                let expected = self.expected;
                self.expected = expected.back(u32::from(self.octets.byte() % 2));
                self.send(Flags::ACK | Flags::FIN, 0, &[]);
                self.expected = self.expected.max(expected);
                self.next += 1;
            }
            5..10 => self.odd(),
            10 => {
                let span = self.octets.span();
                self.pass(span);
            }
            _ => self.call(),
        }
        self.collect();
        true
    }

    /// A segment somewhere around what would be right.
    fn odd(&mut self) {
        let flags = Flags::from_bits(self.octets.byte());
        let seq = self.near(self.next);
        let ack = self.near(self.expected);
        let length = self.octets.one_of(&[0, 0, 1, 100, 1460]);
        let stamp = self.octets.byte();
        let mut options = Options::default();
        if stamp & 1 != 0 {
            options.timestamps = Some(Timestamps {
                value: (self.now.as_nanos() / 1_000_000) as u32 ^ u32::from(stamp >> 4) << 28,
                echo: self.stamp.wrapping_sub(u32::from(stamp >> 4)),
            });
        }
        for _ in 0..stamp >> 1 & 3 {
            let start = self.near(self.expected);
            let end = start + self.octets.below(5000);
            options.sack.push(SackBlock { start, end });
        }
        let control = Control {
            seq,
            ack,
            flags,
            window: self.octets.word(),
            urgent: self.octets.word(),
            options,
        };
        self.give(craft::segment(
            self.peer,
            self.here,
            &control,
            &vec![9; length],
            stamp >> 6,
        ));
    }

    fn near(&mut self, number: SeqNum) -> SeqNum {
        let distance = u32::from(self.octets.word());
        match self.octets.byte() % 8 {
            0..4 => number,
            4 => number + distance as usize,
            5 => number.back(distance),
            6 => number + (distance << 16) as usize,
            _ => number.back(1),
        }
    }

    fn send(&mut self, flags: Flags, urgent: u16, text: &[u8]) {
        let opening = flags.contains(Flags::SYN);
        let control = Control {
            seq: self.next,
            ack: self.expected,
            flags,
            window: self.octets.one_of(&[0, 1, 1000, 65_535]),
            urgent,
            options: Options {
                mss: opening.then(|| self.octets.word()),
                window_scale: opening.then(|| self.octets.byte() % 16),
                sack_permitted: opening,
                ..Options::default()
            },
        };
        self.give(craft::segment(self.peer, self.here, &control, text, 0));
    }

    fn call(&mut self) {
        let Some(socket) = self.socket else {
            self.socket = self.host.accept(self.listener).ok();
            return;
        };
        let (now, host) = (self.now, &mut self.host);
        match self.octets.byte() % 13 {
            0..4 => {
                let text = Bytes::from(vec![5; self.octets.below(20_000)]);
                let room = host.room(socket);
                let taken = host.write(now, socket, text.clone()).unwrap_or(0);
                assert_eq!(
                    taken,
                    taken.min(room).min(text.len()),
                    "more than there is room"
                );
            }
            4..8 => {
                let count = host.chunks(socket).map(<[u8]>::len).sum::<usize>();
                assert_eq!(count, host.readable(socket));
                host.consume(now, socket, self.octets.below(count + 2));
            }
            8 | 9 => host.shutdown(now, socket),
            10 if self.octets.byte().is_multiple_of(4) => host.abort(now, socket),
            11 if self.octets.byte().is_multiple_of(4) => {
                host.close(now, socket);
                self.socket = None;
            }
            _ => {
                let on = self.octets.byte().is_multiple_of(2);
                let setting = self.octets.one_of(&[
                    Setting::NoDelay(on),
                    Setting::Cork(on),
                    Setting::KeepAlive(on.then(Default::default)),
                    Setting::UserTimeout(on.then_some(Duration::from_secs(7))),
                    Setting::ReceiveBuffer(100),
                    Setting::SendBuffer(100),
                ]);
                host.set(now, socket, setting).expect("it is there");
            }
        }
    }

    fn give(&mut self, frame: Vec<u8>) {
        let frame = Frame::from_ethernet(frame.into(), Offload::default());
        self.host.receive(self.now, frame);
        self.collect();
    }

    /// Looks at what the host sends.
    fn collect(&mut self) {
        let mut count = 0;
        while let Some(frame) = self.host.transmit(self.now) {
            count += 1;
            assert!(count < MOST, "it does not stop sending");
            let frame = frame.to_ethernet();
            let Some(segment) = craft::read(&frame) else {
                if let Some(answer) = craft::answer(&frame) {
                    let answer = Frame::from_ethernet(answer.into(), Offload::default());
                    self.host.receive(self.now, answer);
                }
                continue;
            };
            let length = segment.control.segment_len(segment.text.len());
            let end = segment.control.seq + length;
            if self.expected == SeqNum::new(0) || end.after(self.expected) {
                self.expected = end;
            }
            if let Some(stamps) = segment.control.options.timestamps {
                self.stamp = stamps.value;
            }
        }
        while self.host.event().is_some() {}
    }

    /// Lets time pass, with all that is due in it.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        for turn in 0.. {
            assert!(turn < 100_000, "it does not come to rest");
            self.collect();
            let Some(at) = self.host.deadline().filter(|at| *at <= end) else {
                break;
            };
            assert!(turn == 0 || at > self.now, "what is due is not done");
            self.now = self.now.max(at);
            wake(&mut self.host, self.now);
        }
        self.now = end;
    }

    /// With the peer gone for good and nobody who holds anything, nothing is left.
    fn finish(mut self) {
        while let Ok(socket) = self.host.accept(self.listener) {
            self.host.close(self.now, socket);
        }
        if let Some(socket) = self.socket {
            self.host.close(self.now, socket);
        }
        self.pass(Duration::from_secs(6 * 3600));
        let rest = self.host.socket_count();
        let state = self.socket.and_then(|socket| self.host.state(socket));
        assert_eq!(
            (rest, state),
            (1, None::<State>),
            "the listener alone is left"
        );
    }
}
