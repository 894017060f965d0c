//! The receiving half: what came, what is expected, what window is offered, and when to acknowledge.
//!
//! # Theory of operation
//!
//! The window's right edge only ever moves right (RFC 9293 §3.8.6.2.1), and in steps worth a segment (silly window avoidance,
//! §3.8.6.2.2). It is what buffer is left beside the unread octets; those out of order lie within it already.
//!
//! Acknowledgments are owed, not sent: whatever came in one batch is acknowledged by the one segment that the connection
//! makes next. One is due at once for two full segments, for a gap made or filled, a duplicate, and at the start, while the peer's
//! congestion window is small; otherwise within the delay (RFC 5681 §4.2).
//!
//! The buffer grows while the program reads more than half of it per round trip (dynamic right-sizing).

use core::time::Duration;

use bytes::{Buf, Bytes};

use super::inbox::Inbox;
use super::reassembly::{Kept, Reassembly};
use super::timers::{Timer, Timers};
use crate::discard::Discard;
use crate::time::Instant;
use crate::wire::tcp::{SackBlock, SackBlocks, SeqNum};

/// Segments acknowledged at once at the start and after a gap.
const QUICK: u8 = 16;

/// Duplicate acknowledgments owed at most to a peer that counts them.
const MOST_OWED: u8 = 8;

/// When the next acknowledgment is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Not,
    Delayed,
    Now,
}

/// Growing the buffer as the program reads.
#[derive(Clone, Copy, Debug)]
struct Tuning {
    max: usize,
    since: Instant,
    consumed: usize,
}

/// The receive variables of RFC 9293 §3.3.1 and what belongs to them.
#[derive(Debug)]
pub(super) struct Receiver {
    /// RCV.NXT.
    pub(super) nxt: SeqNum,
    /// RCV.NXT + RCV.WND as the peer knows it.
    edge: SeqNum,
    /// The last acknowledgment sent.
    acked: SeqNum,
    scale: u8,
    limit: usize,
    tuning: Option<Tuning>,
    pub(super) inbox: Inbox,
    queue: Reassembly,
    /// Where the peer's FIN is, if it was seen.
    fin: Option<SeqNum>,
    /// The FIN was taken: nothing more comes.
    closed: bool,
    due: Due,
    /// Octets that came since the last acknowledgment.
    pending: usize,
    quick: u8,
    /// Further acknowledgments to a peer without SACK, which counts duplicates (RFC 5681 §3.2).
    owed: u8,
    duplicate: Option<SackBlock>,
    sack: bool,
    /// The largest segment that the peer was seen to send, at most `mss`.
    segment: usize,
    mss: usize,
}

/// What became of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Something became readable.
    pub(super) readable: bool,
    /// Why it, or a part of it, was dropped.
    pub(super) dropped: Option<Discard>,
}

/// The sizes a receiver begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) initial: usize,
    pub(super) max: usize,
    pub(super) mss: u16,
    pub(super) scale: u8,
    pub(super) sack: bool,
}

impl Receiver {
    /// Begins after the peer's SYN.
    pub(super) fn new(now: Instant, nxt: SeqNum, sizes: Sizes) -> Self {
        let most = 0xffff << sizes.scale;
        let limit = sizes.initial.min(sizes.max).min(most);
        let mss = usize::from(sizes.mss);
        Self {
            nxt,
            edge: nxt + limit.min(0xffff),
            acked: nxt,
            scale: sizes.scale,
            limit,
            tuning: Some(Tuning {
                max: sizes.max.min(most),
                since: now,
                consumed: 0,
            }),
            inbox: Inbox::default(),
            queue: Reassembly::default(),
            fin: None,
            closed: false,
            due: Due::Not,
            pending: 0,
            quick: QUICK,
            owed: 0,
            duplicate: None,
            sack: sizes.sack,
            segment: mss.min(536),
            mss,
        }
    }

    /// RCV.WND as the peer knows it.
    pub(super) fn window(&self) -> usize {
        self.edge.since(self.nxt)
    }

    /// The last acknowledgment sent (Last.ACK.sent of RFC 7323 §4.3).
    pub(super) fn last_ack_sent(&self) -> SeqNum {
        self.acked
    }

    /// Whether the peer's FIN was taken: nothing more comes.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// The sequence check of RFC 9293 §3.10.7.4, first; with two allowances: a segment without text may lie at the very edge or
    /// be as old as our last acknowledgment, as both happen without anybody's fault (loss at a full window, reordering).
    pub(super) fn accepts(&self, seq: SeqNum, length: usize) -> bool {
        if length == 0 {
            return !seq.before(self.acked.min(self.nxt)) && !seq.after(self.edge);
        }
        seq.before(self.edge) && (seq + length).after(self.nxt)
    }

    /// Takes text that begins at `seq` and ends in the window or beyond.
    pub(super) fn text(&mut self, mut seq: SeqNum, mut payload: Bytes) -> Taken {
        let beyond = payload.len() > self.edge.since(seq);
        payload.truncate(self.edge.since(seq));
        let mut taken = Taken {
            readable: false,
            dropped: beyond.then_some(Discard::NoRoom),
        };
        if payload.is_empty() {
            return taken;
        }
        self.segment = self.segment.max(payload.len().min(self.mss));
        if seq.before(self.nxt) {
            payload.advance(self.nxt.since(seq).min(payload.len()));
            seq = self.nxt;
        }
        if seq == self.nxt {
            taken.readable = self.in_order(payload);
            return taken;
        }
        match self.out_of_order(seq, payload) {
            Kept::New => {}
            Kept::Nothing => taken.dropped = Some(Discard::Repeated),
            Kept::Refused => taken.dropped = Some(Discard::NoRoom),
        }
        taken
    }

    fn in_order(&mut self, payload: Bytes) -> bool {
        let len = payload.len();
        self.nxt += len;
        self.inbox.push(payload);
        self.pending += len;
        if !self.queue.is_empty() {
            self.nxt = self.queue.take(self.nxt, &mut self.inbox);
            self.due = Due::Now;
        }
        if self.quick > 0 || self.pending >= 2 * self.segment {
            self.quick = self.quick.saturating_sub(1);
            self.due = Due::Now;
        } else if self.due == Due::Not {
            self.due = Due::Delayed;
        }
        len > 0
    }

    fn out_of_order(&mut self, seq: SeqNum, payload: Bytes) -> Kept {
        let end = seq + payload.len();
        let kept = self.queue.insert(seq, payload, 2 * self.limit);
        if kept == Kept::Nothing {
            self.duplicate = Some(SackBlock { start: seq, end });
        }
        self.quick = QUICK;
        if self.due == Due::Now && !self.sack {
            self.owed = (self.owed + 1).min(MOST_OWED);
        }
        self.due = Due::Now;
        kept
    }

    /// Text came that was wholly received before: it is acknowledged again, as a duplicate (RFC 2883 §4).
    pub(super) fn duplicate(&mut self, seq: SeqNum, length: usize) {
        self.duplicate = Some(SackBlock {
            start: seq,
            end: seq + length,
        });
        self.due = Due::Now;
    }

    /// The peer's FIN was seen at `seq`; it counts once everything before it is there. Returns whether it does so now.
    pub(super) fn finish(&mut self, seq: Option<SeqNum>) -> bool {
        if let Some(seq) = seq.filter(|seq| seq.before(self.edge) || *seq == self.nxt) {
            self.fin.get_or_insert(seq);
            self.due = Due::Now;
        }
        if self.closed || self.fin != Some(self.nxt) {
            return false;
        }
        self.nxt += 1;
        self.closed = true;
        true
    }

    /// An acknowledgment has to go with the next transmission.
    pub(super) fn acknowledge_now(&mut self) {
        self.due = Due::Now;
    }

    /// Whether an acknowledgment has to go now even if nothing else does.
    pub(super) fn is_due(&self) -> bool {
        self.due == Due::Now || self.owed > 0
    }

    /// Starts the delay of an acknowledgment that may wait.
    pub(super) fn arm(&self, now: Instant, delay: Duration, timers: &mut Timers) {
        if self.due == Due::Delayed && !timers.runs(Timer::DelayedAck) {
            timers.set(Timer::DelayedAck, now + delay);
        }
    }

    /// A segment is being made that carries RCV.NXT. Returns the window field for it.
    pub(super) fn acknowledge(&mut self, timers: &mut Timers) -> u16 {
        self.settle(timers);
        self.offer()
    }

    /// The same for a SYN-ACK, whose window is never scaled (RFC 7323 §2.2).
    pub(super) fn acknowledge_syn(&mut self, timers: &mut Timers) -> u16 {
        self.settle(timers);
        self.window().min(0xffff) as u16
    }

    /// Nothing is owed any more, but to a peer that counts duplicates.
    fn settle(&mut self, timers: &mut Timers) {
        if self.due == Due::Now || self.owed == 0 {
            self.due = Due::Not;
        } else {
            self.owed -= 1;
        }
        timers.stop(Timer::DelayedAck);
        self.pending = 0;
        self.acked = self.nxt;
    }

    /// Moves the window's right edge if that is worth it and returns the window field.
    fn offer(&mut self) -> u16 {
        let unit = 1 << self.scale;
        let free = self.limit.saturating_sub(self.inbox.len());
        let offered = self.window();
        let mut window = offered.next_multiple_of(unit);
        if free >= offered + self.step() {
            window = (free - free % unit).max(window);
        } else if self.inbox.len() + window > self.limit + self.limit / 8 {
            window = offered - offered % unit; // RFC 7323 §2.4: the scale's rounding may take back less than one unit.
        }
        let field = (window >> self.scale).min(0xffff);
        self.edge = self.edge.max(self.nxt + (field << self.scale));
        field as u16
    }

    /// The least by which the edge moves (RFC 9293 §3.8.6.2.2).
    fn step(&self) -> usize {
        (self.limit / 2).min(self.mss)
    }

    /// The SACK option for the next segment, with a duplicate first (RFC 2018 §4, RFC 2883 §4).
    pub(super) fn sack_blocks(&mut self, room: usize) -> SackBlocks {
        let mut blocks = SackBlocks::default();
        let duplicate = self.duplicate.take();
        if !self.sack || (duplicate.is_none() && self.queue.is_empty()) {
            return blocks;
        }
        let around = duplicate.and_then(|block| self.queue.run_around(block.start));
        let others = self.queue.report().filter(|block| Some(*block) != around);
        for block in duplicate.into_iter().chain(around).chain(others).take(room) {
            blocks.push(block);
        }
        blocks
    }

    /// The program took `count` octets: the buffer may grow, and the peer may have to be told of the room.
    pub(super) fn consume(&mut self, now: Instant, count: usize, rtt: Option<Duration>) {
        let consumed = self.inbox.consume(count);
        self.tune(now, consumed, rtt);
        let free = self.limit.saturating_sub(self.inbox.len());
        let offered = self.window();
        if !self.is_closed() && free >= offered + self.step() && free >= 2 * offered {
            self.due = Due::Now;
        }
    }

    fn tune(&mut self, now: Instant, consumed: usize, rtt: Option<Duration>) {
        let Some(tuning) = &mut self.tuning else {
            return;
        };
        tuning.consumed += consumed;
        if now - tuning.since < rtt.unwrap_or(Duration::from_millis(100)) {
            return;
        }
        if tuning.consumed > self.limit / 2 {
            self.limit = (self.limit * 2).max(tuning.consumed * 2).min(tuning.max);
        }
        tuning.since = now;
        tuning.consumed = 0;
    }

    /// Fixes the buffer's size; a window already offered stays.
    pub(super) fn set_limit(&mut self, octets: usize) {
        self.tuning = None;
        self.limit = octets.clamp(self.mss, 0xffff << self.scale);
    }
}
