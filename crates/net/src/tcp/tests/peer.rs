//! One connection and, as its peer, the test itself: segment by segment.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::pair::{octets, setup};
use crate::discard::Discard;
use crate::tcp::{Config, Connection, Ecn, Limits, Outgoing, State};
use crate::time::Instant;
use crate::wire::tcp::{Control, Flags, Options, SackBlock, SeqNum, Timestamps};

pub(super) const MS: Duration = Duration::from_millis(1);

/// The peer's initial sequence number and the connection's.
pub(super) const PEER_ISN: u32 = 0xffff_ff00;
pub(super) const ISN: u32 = 0x7fff_fff0;

pub(super) struct Peer {
    pub(super) now: Instant,
    pub(super) connection: Connection,
    pub(super) limits: Limits,
    /// The peer's SND.NXT.
    pub(super) seq: SeqNum,
    /// The peer's RCV.NXT: what `acknowledge` says.
    pub(super) ack: SeqNum,
    pub(super) window: u16,
    /// The peer's clock, if timestamps are in use.
    pub(super) clock: Option<u32>,
}

/// A SYN's options as everybody sends them, without timestamps (they would be noise in most tests).
pub(super) fn offer() -> Options {
    Options {
        mss: Some(1000),
        window_scale: Some(0),
        sack_permitted: true,
        ..Options::default()
    }
}

impl Peer {
    fn new(connection: Connection) -> Self {
        Self {
            now: Instant::from_millis(1000),
            connection,
            limits: Limits {
                mss: 1460,
                offload: None,
            },
            seq: SeqNum::new(PEER_ISN) + 1,
            ack: SeqNum::new(ISN) + 1,
            window: 60_000,
            clock: None,
        }
    }

    /// In SYN-RECEIVED: the SYN-ACK was taken.
    pub(super) fn half_open(config: &Config, options: Options) -> (Self, Outgoing) {
        let syn = Control {
            seq: SeqNum::new(PEER_ISN),
            flags: Flags::SYN,
            window: 60_000,
            options,
            ..Control::default()
        };
        let (peer, answer) = Self::answering(config, &syn);
        assert_eq!(answer.control.flags, Flags::SYN | Flags::ACK);
        (peer, answer)
    }

    /// The same with any SYN.
    pub(super) fn answering(config: &Config, syn: &Control) -> (Self, Outgoing) {
        let now = Instant::from_millis(1000);
        let connection = Connection::accept(
            now,
            &Arc::new(config.clone()),
            &setup(ISN),
            syn,
            Bytes::new(),
        );
        let mut peer = Self::new(connection);
        peer.clock = syn.options.timestamps.map(|stamps| stamps.value);
        let answer = peer.only();
        (peer, answer)
    }

    pub(super) fn accepted(config: &Config, options: Options) -> Self {
        let (mut peer, _) = Self::half_open(config, options);
        peer.acknowledge();
        assert_eq!(peer.connection.state(), State::Established);
        peer.quiet();
        peer
    }

    /// Established, with SACK, quick acknowledgments spent.
    pub(super) fn established() -> Self {
        Self::accepted(&Config::default(), offer())
    }

    pub(super) fn without_sack() -> Self {
        Self::accepted(
            &Config::default(),
            Options {
                sack_permitted: false,
                ..offer()
            },
        )
    }

    /// In SYN-SENT: the SYN was taken.
    pub(super) fn dialled(config: &Config) -> (Self, Outgoing) {
        let connection = Connection::connect(
            Instant::from_millis(1000),
            &Arc::new(config.clone()),
            &setup(ISN),
        );
        let mut peer = Self::new(connection);
        peer.seq = SeqNum::new(PEER_ISN);
        let syn = peer.only();
        (peer, syn)
    }

    /// Everything that the connection has to say now.
    pub(super) fn drain(&mut self) -> Vec<Outgoing> {
        core::iter::from_fn(|| self.connection.transmit(self.now, &self.limits)).collect()
    }

    /// The one segment that it has to say.
    #[track_caller]
    pub(super) fn only(&mut self) -> Outgoing {
        let mut said = self.drain();
        assert_eq!(said.len(), 1, "{said:?}");
        said.remove(0)
    }

    /// It has nothing to say.
    #[track_caller]
    pub(super) fn quiet(&mut self) {
        let said = self.drain();
        assert!(said.is_empty(), "{said:?}");
    }

    /// The answer is one bare acknowledgment of what the peer has sent.
    #[track_caller]
    pub(super) fn acknowledged(&mut self) -> Outgoing {
        let answer = self.only();
        assert_eq!((answer.control.flags, answer.length), (Flags::ACK, 0));
        assert_eq!(answer.control.ack, self.seq);
        answer
    }

    /// A segment of any kind; why it was dropped, if it was.
    pub(super) fn inject(&mut self, control: Control, payload: Bytes) -> Option<Discard> {
        self.connection
            .receive(self.now, &control, payload, Ecn::NotCapable)
    }

    pub(super) fn control(&self, flags: Flags) -> Control {
        let timestamps = self.clock.map(|value| Timestamps { value, echo: 0 });
        let options = Options {
            timestamps,
            ..Options::default()
        };
        Control {
            seq: self.seq,
            ack: self.ack,
            flags,
            window: self.window,
            urgent: 0,
            options,
        }
    }

    /// The next segment of the peer's stream, in order.
    pub(super) fn send(&mut self, flags: Flags, payload: Bytes) {
        let control = self.control(flags | Flags::ACK);
        self.seq += control.segment_len(payload.len());
        self.inject(control, payload);
    }

    pub(super) fn send_data(&mut self, len: usize) {
        self.send(Flags::NONE, octets(0, 0, len));
    }

    pub(super) fn acknowledge(&mut self) {
        self.send(Flags::NONE, Bytes::new());
    }

    pub(super) fn acknowledge_blocks(&mut self, blocks: &[(SeqNum, SeqNum)]) {
        let mut control = self.control(Flags::ACK);
        for &(start, end) in blocks {
            control.options.sack.push(SackBlock { start, end });
        }
        self.inject(control, Bytes::new());
    }

    /// Takes a segment of the connection as received: the next acknowledgment covers it.
    pub(super) fn take(&mut self, outgoing: &Outgoing) {
        assert_eq!(outgoing.control.seq, self.ack);
        self.ack += outgoing.control.segment_len(outgoing.length);
    }

    pub(super) fn write(&mut self, len: usize) {
        assert_eq!(self.connection.write(octets(1, 0, len)), Ok(len));
    }

    /// Lets time pass up to the next deadline and says how much it was.
    #[track_caller]
    pub(super) fn expire(&mut self) -> Duration {
        let deadline = self.connection.deadline().expect("a timer runs");
        let passed = deadline - self.now;
        self.now = self.now.max(deadline);
        self.connection.expire(self.now);
        passed
    }

    pub(super) fn pass(&mut self, span: Duration) {
        self.now += span;
        self.connection.expire(self.now);
    }

    /// Uses up the quick acknowledgments of the start.
    pub(super) fn spend_quick(&mut self) {
        loop {
            self.send_data(100);
            if self.drain().is_empty() {
                break;
            }
        }
        self.pass(40 * MS);
        self.acknowledged();
        let now = self.now;
        self.connection.consume(now, usize::MAX);
        self.quiet();
    }

    /// Opens the congestion window by `rounds` doublings, every segment acknowledged; what was written is all acknowledged.
    pub(super) fn warm(&mut self, rounds: u32) {
        for _ in 0..rounds {
            self.write(50_000);
            loop {
                let said = self.drain();
                if said.is_empty() {
                    break;
                }
                said.iter().for_each(|segment| self.take(segment));
                self.now += 10 * MS;
                self.acknowledge();
            }
        }
    }
}
