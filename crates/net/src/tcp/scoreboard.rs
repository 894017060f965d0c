//! What is in flight, segment by segment: sent when, acknowledged selectively, lost, sent again.
//!
//! One record per segment as it was handed to the link (with offload up to 64 KiB), cut only when an acknowledgment or a
//! retransmission touches a part. Records cover `SND.UNA..SND.NXT` without gaps. A second queue holds every transmission in
//! the order of time, which is what RACK goes by (RFC 8985 §3.1): an entry is looked at once when it is old enough, so the work per
//! acknowledgment does not grow with the flight.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::delivery::Snapshot;
use super::stamps::Echo;
use crate::time::Instant;
use crate::wire::tcp::{SackBlock, SeqNum};

/// What is believed of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// On its way.
    InFlight,
    /// To be sent again.
    Lost,
    /// Received, though something before it is missing.
    Sacked,
}

/// A stretch of sequence space that went out in one piece.
#[derive(Clone, Copy, Debug)]
struct Record {
    start: SeqNum,
    end: SeqNum,
    sent_at: Instant,
    fate: Fate,
    /// It was sent more than once: its acknowledgment times nothing (Karn's rule, RFC 6298 §3).
    resent: bool,
    /// Octets in each of the packets that it travels in.
    packet: u16,
    /// The counters when it was last sent.
    counters: Snapshot,
}

impl Record {
    fn len(&self) -> usize {
        self.end.since(self.start)
    }

    fn packet(&self) -> usize {
        usize::from(self.packet)
    }
}

/// One transmission, in the queue ordered by time.
#[derive(Clone, Copy, Debug)]
struct Sending {
    start: SeqNum,
    end: SeqNum,
    at: Instant,
}

impl Sending {
    /// The part of it that was sent before `latest`, if any was.
    fn sent_before(self, latest: &Latest) -> Option<Self> {
        if latest.sent_after(self.at, self.end) {
            return Some(self);
        }
        let end = self.end.min(latest.end);
        (self.at == latest.sent_at && end.after(self.start)).then_some(Self { end, ..self })
    }
}

/// The latest sent of the segments known to be delivered (RFC 8985 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Latest {
    pub(super) sent_at: Instant,
    pub(super) end: SeqNum,
}

impl Latest {
    /// RFC 8985 §6.2, `RACK_sent_after`.
    pub(super) fn sent_after(&self, sent_at: Instant, end: SeqNum) -> bool {
        self.sent_at > sent_at || (self.sent_at == sent_at && self.end.after(end))
    }
}

/// What one acknowledgment was found to deliver.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    now: Instant,
    minimum_rtt: Duration,
    /// The timestamp that came back with it.
    echo: Option<Echo>,
    /// Octets newly acknowledged, selectively or not.
    pub(super) octets: usize,
    /// Round-trip time of the earliest segment newly delivered that was sent once.
    pub(super) rtt: Option<Duration>,
    /// The least round-trip time of those.
    pub(super) least_rtt: Option<Duration>,
    /// When the last of the newly delivered was sent, again or for the first time.
    pub(super) sent_at: Option<Instant>,
    /// The latest sent of the newly delivered.
    pub(super) latest: Option<Latest>,
    /// When that was sent, and the counters then.
    pub(super) newest: Option<(Instant, Snapshot)>,
    /// A segment sent once arrived after one sent later (RFC 8985 §6.2 step 3).
    pub(super) reordered: bool,
}

impl Delivery {
    pub(super) fn new(now: Instant, minimum_rtt: Duration, echo: Option<Echo>) -> Self {
        Self {
            now,
            minimum_rtt,
            echo,
            octets: 0,
            rtt: None,
            least_rtt: None,
            sent_at: None,
            latest: None,
            newest: None,
            reordered: false,
        }
    }

    /// Time from `sent_at` to this acknowledgment.
    pub(super) fn since(&self, sent_at: Instant) -> Duration {
        self.now - sent_at
    }

    /// Whether what was sent again is acknowledged for an earlier transmission (RFC 8985 §6.2 step 2).
    fn is_of_original(&self, record: &Record) -> bool {
        let told = self.echo.is_some_and(|echo| echo.precedes(record.sent_at));
        told || self.now - record.sent_at < self.minimum_rtt
    }

    /// Counts a record delivered; `highest` is the end of the highest delivered before.
    fn add(&mut self, record: &Record, highest: SeqNum) {
        self.octets += record.len();
        self.sent_at = self.sent_at.max(Some(record.sent_at));
        let rtt = self.now - record.sent_at;
        if record.resent && self.is_of_original(record) {
            return;
        }
        if self.newest.is_none_or(|(at, _)| at <= record.sent_at) {
            self.newest = Some((record.sent_at, record.counters));
        }
        if !record.resent {
            self.rtt.get_or_insert(rtt);
            self.least_rtt = Some(self.least_rtt.map_or(rtt, |least| least.min(rtt)));
            self.reordered |= record.end.before(highest);
        }
        if self
            .latest
            .is_none_or(|latest| !latest.sent_after(record.sent_at, record.end))
        {
            self.latest = Some(Latest {
                sent_at: record.sent_at,
                end: record.end,
            });
        }
    }
}

/// The outcome of looking for losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Octets newly found lost.
    pub(super) octets: usize,
    /// When the next segment counts as lost if nothing is heard of it.
    pub(super) again_at: Option<Instant>,
}

/// Whom the scoreboard tells what it declares lost: the stretch, and the counters when it was last sent.
pub(super) type Mourner<'a> = &'a mut dyn FnMut(SeqNum, SeqNum, &Snapshot);

/// The records of everything in flight.
#[derive(Debug, Default)]
pub(super) struct Scoreboard {
    records: VecDeque<Record>,
    by_time: VecDeque<Sending>,
    /// What the peer reported, disjoint and in order.
    reported: VecDeque<SackBlock>,
    sacked: usize,
    lost: usize,
    /// No record before this is lost.
    lost_from: SeqNum,
    /// The end of the highest segment delivered.
    highest: SeqNum,
}

impl Scoreboard {
    pub(super) fn new(start: SeqNum) -> Self {
        Self {
            lost_from: start,
            highest: start,
            ..Self::default()
        }
    }

    /// Octets of sequence space sent and not cumulatively acknowledged.
    pub(super) fn outstanding(&self) -> usize {
        match (self.records.front(), self.records.back()) {
            (Some(front), Some(back)) => back.end.since(front.start),
            _ => 0,
        }
    }

    /// Octets thought to be on their way: the pipe of RFC 6675 §2.
    pub(super) fn in_flight(&self) -> usize {
        self.outstanding().saturating_sub(self.sacked + self.lost)
    }

    /// Octets selectively acknowledged.
    pub(super) fn sacked(&self) -> usize {
        self.sacked
    }

    /// Octets to be sent again.
    pub(super) fn lost(&self) -> usize {
        self.lost
    }

    /// How many records there are.
    pub(super) fn records(&self) -> usize {
        self.records.len()
    }

    /// Octets in the first packet outstanding; 0 if there is none.
    pub(super) fn first_packet(&self) -> usize {
        self.records
            .front()
            .map_or(0, |front| front.len().min(front.packet()))
    }

    /// The last packet outstanding, for a tail loss probe (RFC 8985 §7.3).
    pub(super) fn tail(&mut self) -> Option<(SeqNum, SeqNum)> {
        let last = *self.records.back()?;
        let before = last.len().saturating_sub(1) / last.packet() * last.packet();
        if before > 0 {
            self.split(self.records.len() - 1, last.start + before);
        }
        self.records.back().map(|last| (last.start, last.end))
    }

    /// New data went out, in packets of `mss` octets.
    pub(super) fn sent(
        &mut self,
        start: SeqNum,
        end: SeqNum,
        mss: usize,
        now: Instant,
        counters: Snapshot,
    ) {
        self.records.push_back(Record {
            start,
            end,
            sent_at: now,
            fate: Fate::InFlight,
            resent: false,
            packet: packet(mss),
            counters,
        });
        self.by_time.push_back(Sending {
            start,
            end,
            at: now,
        });
    }

    /// The cumulative acknowledgment moved to `ack`.
    pub(super) fn acknowledge(&mut self, ack: SeqNum, delivery: &mut Delivery) {
        while let Some(front) = self
            .records
            .front_mut()
            .filter(|front| front.start.before(ack))
        {
            let mut done = *front;
            done.end = done.end.min(ack);
            front.start = done.end;
            if front.start == front.end {
                self.records.pop_front();
            }
            match done.fate {
                Fate::Sacked => self.sacked -= done.len(),
                Fate::Lost => {
                    self.lost -= done.len();
                    delivery.add(&done, self.highest);
                }
                Fate::InFlight => delivery.add(&done, self.highest),
            }
        }
        while self
            .by_time
            .front()
            .is_some_and(|sending| !sending.end.after(ack))
        {
            self.by_time.pop_front();
        }
        while self
            .reported
            .front()
            .is_some_and(|block| !block.end.after(ack))
        {
            self.reported.pop_front();
        }
        self.highest = self.highest.max(ack);
        self.lost_from = self.lost_from.max(ack);
    }

    /// The peer reported `block`, which lies within what is outstanding. A part of a record is only believed in whole packets,
    /// which bounds how finely a peer can cut records.
    pub(super) fn select(&mut self, block: SackBlock, delivery: &mut Delivery) {
        let from = self
            .reported
            .partition_point(|known| known.end.before(block.start));
        let to = self
            .reported
            .partition_point(|known| !known.start.after(block.end));
        let mut whole = block;
        let mut fresh = block;
        if let (Some(first), Some(last)) = (
            self.reported.get(from),
            self.reported.get(to.wrapping_sub(1)),
        ) && from < to
        {
            whole.start = whole.start.min(first.start);
            whole.end = whole.end.max(last.end);
            if !first.start.after(block.start) {
                fresh.start = first.end;
            }
            if !last.end.before(block.end) {
                fresh.end = last.start;
            }
        }
        if !fresh.start.before(fresh.end) {
            return;
        }
        self.reported.drain(from..to);
        self.reported.insert(from, whole);
        self.deliver(fresh, whole, delivery);
    }

    /// Marks what `whole` covers of the records that touch `fresh`.
    fn deliver(&mut self, fresh: SackBlock, whole: SackBlock, delivery: &mut Delivery) {
        let mut at = self
            .records
            .partition_point(|record| !record.end.after(fresh.start));
        while let Some(record) = self
            .records
            .get(at)
            .copied()
            .filter(|record| record.start.before(fresh.end))
        {
            at += 1;
            let head = whole
                .start
                .since(record.start)
                .next_multiple_of(record.packet());
            let covered = whole.end.since(record.start);
            let tail = if covered >= record.len() {
                record.len()
            } else {
                covered - covered % record.packet()
            };
            if record.fate == Fate::Sacked || head >= tail {
                continue;
            }
            let mut index = at - 1;
            if head > 0 {
                self.split(index, record.start + head);
                index += 1;
            }
            if tail < record.len() {
                self.split(index, record.start + tail);
            }
            at = index + 1;
            self.mark_sacked(index, delivery);
        }
    }

    fn mark_sacked(&mut self, index: usize, delivery: &mut Delivery) {
        let record = &mut self.records[index];
        if record.fate == Fate::Lost {
            self.lost -= record.len();
        }
        record.fate = Fate::Sacked;
        self.sacked += record.len();
        let record = *record;
        delivery.add(&record, self.highest);
        self.highest = self.highest.max(record.end);
    }

    fn split(&mut self, index: usize, at: SeqNum) {
        let mut second = self.records[index];
        second.start = at;
        self.records[index].end = at;
        self.records.insert(index + 1, second);
    }

    /// Declares lost what was sent before `latest` and has had `wait` (a round trip and the reordering window) to arrive
    /// (RFC 8985 §6.2 step 5). What went out in one piece was sent in the order of its octets.
    pub(super) fn detect(
        &mut self,
        latest: &Latest,
        wait: Duration,
        now: Instant,
        mourner: Mourner<'_>,
    ) -> Losses {
        let mut losses = Losses::default();
        while let Some(sending) = self.by_time.front().copied() {
            if self.is_stale(&sending) {
                self.by_time.pop_front();
                continue;
            }
            let Some(before) = sending
                .sent_before(latest)
                .filter(|part| !self.is_stale(part))
            else {
                break;
            };
            let due = sending.at + wait;
            if due > now {
                losses.again_at = Some(due);
                break;
            }
            losses.octets += self.lose(&before, mourner);
            if before.end != sending.end {
                break;
            }
            self.by_time.pop_front();
        }
        losses
    }

    /// Whether nothing of a transmission is still in flight.
    fn is_stale(&self, sending: &Sending) -> bool {
        !self.pieces(sending).any(|_| true)
    }

    /// Indices of the records that were last sent by this transmission and are in flight.
    fn pieces(&self, sending: &Sending) -> impl Iterator<Item = usize> {
        let first = self
            .records
            .partition_point(|record| !record.end.after(sending.start));
        let (end, at) = (sending.end, sending.at);
        let within = self.records.iter().enumerate().skip(first);
        within
            .take_while(move |(_, record)| record.start.before(end))
            .filter(move |(_, record)| record.fate == Fate::InFlight && record.sent_at == at)
            .map(|(index, _)| index)
    }

    fn lose(&mut self, sending: &Sending, mourner: Mourner<'_>) -> usize {
        let mut octets = 0;
        let first = self
            .records
            .partition_point(|record| !record.end.after(sending.start));
        for record in self.records.range_mut(first..) {
            if !record.start.before(sending.end) {
                break;
            }
            if record.fate == Fate::InFlight && record.sent_at == sending.at {
                record.fate = Fate::Lost;
                octets += record.len();
                self.lost_from = self.lost_from.min(record.start);
                mourner(record.start, record.end, &record.counters);
            }
        }
        self.lost += octets;
        octets
    }

    /// Declares the first packet lost: NewReno's view, without selective acknowledgments (RFC 6582 §3.2). Returns the octets
    /// newly lost.
    pub(super) fn lose_first(&mut self, mourner: Mourner<'_>) -> usize {
        let Some(front) = self
            .records
            .front()
            .copied()
            .filter(|front| front.fate == Fate::InFlight)
        else {
            return 0;
        };
        if front.len() > front.packet() {
            self.split(0, front.start + front.packet());
        }
        self.lost_from = front.start;
        let first = &mut self.records[0];
        first.fate = Fate::Lost;
        mourner(first.start, first.end, &first.counters);
        let octets = first.len();
        self.lost += octets;
        octets
    }

    /// Declares everything lost that was not reported (RFC 6675 §5.1). If even the first segment was reported, the peer has
    /// dropped what it reported, and nothing of that is believed any more (RFC 2018 §8). Returns the octets newly lost.
    pub(super) fn lose_all(&mut self, mourner: Mourner<'_>) -> usize {
        let before = self.lost;
        let reneged = self
            .records
            .front()
            .is_some_and(|front| front.fate == Fate::Sacked);
        if reneged {
            self.reported.clear();
            self.sacked = 0;
        }
        for record in &mut self.records {
            if record.fate == Fate::InFlight {
                mourner(record.start, record.end, &record.counters);
            }
            if reneged || record.fate == Fate::InFlight {
                record.fate = Fate::Lost;
            }
        }
        self.lost = self.outstanding() - self.sacked;
        self.lost_from = self
            .records
            .front()
            .map_or(self.lost_from, |front| front.start);
        self.by_time.clear();
        self.lost - before
    }

    /// What was declared lost and not sent again is on its way after all.
    pub(super) fn find_again(&mut self) {
        for record in &mut self.records {
            if record.fate == Fate::Lost {
                record.fate = Fate::InFlight;
            }
        }
        self.lost = 0;
        let flying = self
            .records
            .iter()
            .filter(|record| record.fate == Fate::InFlight);
        let sending = |record: &Record| Sending {
            start: record.start,
            end: record.end,
            at: record.sent_at,
        };
        self.by_time = flying.map(sending).collect();
        self.by_time
            .make_contiguous()
            .sort_by_key(|sending| sending.at);
    }

    /// Declares lost what is in flight in packets longer than `mss`: they do not fit the path (RFC 1191 §6.5).
    pub(super) fn lose_longer_than(&mut self, mss: usize) {
        for record in &mut self.records {
            if record.fate == Fate::InFlight && record.len().min(record.packet()) > mss {
                record.fate = Fate::Lost;
                self.lost += record.len();
                self.lost_from = self.lost_from.min(record.start);
            }
        }
    }

    /// The first stretch to be sent again.
    pub(super) fn next_lost(&mut self) -> Option<(SeqNum, SeqNum)> {
        if self.lost == 0 {
            return None;
        }
        let from = self
            .records
            .partition_point(|record| record.start.before(self.lost_from));
        let record = self
            .records
            .range(from..)
            .find(|record| record.fate == Fate::Lost)?;
        self.lost_from = record.start;
        Some((record.start, record.end))
    }

    /// The front of a record was sent again, up to `end`, in packets of `mss` octets.
    pub(super) fn resent(
        &mut self,
        start: SeqNum,
        end: SeqNum,
        mss: usize,
        now: Instant,
        counters: Snapshot,
    ) {
        let index = self
            .records
            .partition_point(|record| record.start.before(start));
        let Some(record) = self
            .records
            .get(index)
            .copied()
            .filter(|record| record.start == start)
        else {
            return;
        };
        if end.before(record.end) {
            self.split(index, end);
        }
        let record = &mut self.records[index];
        if record.fate == Fate::Lost {
            self.lost -= record.len();
            record.fate = Fate::InFlight;
        }
        record.sent_at = now;
        record.resent = true;
        record.packet = packet(mss);
        record.counters = counters;
        let end = record.end;
        self.by_time.push_back(Sending {
            start,
            end,
            at: now,
        });
    }
}

/// A size of packets as records keep it.
fn packet(mss: usize) -> u16 {
    mss.clamp(1, usize::from(u16::MAX)) as u16
}

#[cfg(test)]
mod tests;
