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
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);
    const MSS: usize = 1000;

    fn seq(at: usize) -> SeqNum {
        SeqNum::new(u32::MAX - 3000) + at
    }

    fn block(start: usize, end: usize) -> SackBlock {
        SackBlock {
            start: seq(start),
            end: seq(end),
        }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn delivery(now: u64) -> Delivery {
        Delivery::new(at(now), MS * 10, None)
    }

    /// Ten segments of 1000 octets, one per millisecond from 0 on.
    fn flight() -> Scoreboard {
        let mut board = Scoreboard::new(seq(0));
        for n in 0..10 {
            board.sent(
                seq(n * 1000),
                seq(n * 1000 + 1000),
                MSS,
                at(n as u64),
                Snapshot::default(),
            );
        }
        board
    }

    /// The counters, derived again from the records.
    fn check(board: &Scoreboard) {
        let of = |fate| {
            board
                .records
                .iter()
                .filter(|r| r.fate == fate)
                .map(Record::len)
                .sum::<usize>()
        };
        assert_eq!(
            (board.sacked, board.lost, board.in_flight()),
            (of(Fate::Sacked), of(Fate::Lost), of(Fate::InFlight))
        );
        let gaps = board
            .records
            .iter()
            .zip(board.records.iter().skip(1))
            .filter(|(a, b)| a.end != b.start);
        assert_eq!(gaps.count(), 0);
        assert!(board.records.iter().all(|r| r.start.before(r.end)));
        assert!(
            !board
                .records
                .iter()
                .any(|r| r.fate == Fate::Lost && r.start.before(board.lost_from))
        );
    }

    #[test]
    fn rack_loses_what_was_sent_before_something_delivered() {
        let mut board = flight();
        let mut delivered = delivery(30);
        board.select(block(3000, 4000), &mut delivered);
        let latest = delivered.latest.expect("delivered");
        assert_eq!(
            (latest.sent_at, delivered.octets, delivered.rtt),
            (at(3), 1000, Some(MS * 27))
        );
        let losses = board.detect(&latest, MS * 29, at(30), &mut |_, _, _| {});
        assert_eq!(
            losses,
            Losses {
                octets: 2000,
                again_at: Some(at(31))
            }
        );
        assert_eq!(
            board.detect(&latest, MS * 29, at(31), &mut |_, _, _| {}),
            Losses {
                octets: 1000,
                again_at: None
            }
        );
        assert_eq!(board.next_lost(), Some((seq(0), seq(1000))));
        board.resent(seq(0), seq(400), MSS, at(31), Snapshot::default());
        assert_eq!(board.next_lost(), Some((seq(400), seq(1000))));
        check(&board);
    }

    #[test]
    fn a_lost_retransmission_is_found_by_its_own_time() {
        let mut board = flight();
        let mut first = delivery(30);
        board.select(block(1000, 10_000), &mut first);
        board.detect(
            &first.latest.expect("delivered"),
            MS,
            at(30),
            &mut |_, _, _| {},
        );
        board.resent(seq(0), seq(1000), MSS, at(30), Snapshot::default());
        board.sent(seq(10_000), seq(11_000), MSS, at(31), Snapshot::default());
        let mut second = delivery(60);
        board.select(block(10_000, 11_000), &mut second);
        let losses = board.detect(
            &second.latest.expect("delivered"),
            MS * 29,
            at(60),
            &mut |_, _, _| {},
        );
        assert_eq!(losses.octets, 1000);
        assert_eq!(board.next_lost(), Some((seq(0), seq(1000))));
        check(&board);
    }

    #[test]
    fn parts_of_a_long_record_are_believed_in_whole_segments() {
        let mut board = Scoreboard::new(seq(0));
        board.sent(seq(0), seq(10_000), MSS, at(0), Snapshot::default());
        let mut delivered = delivery(20);
        board.select(block(1500, 4200), &mut delivered);
        assert_eq!((board.sacked(), delivered.octets), (2000, 2000));
        board.select(block(4200, 10_000), &mut delivered);
        assert_eq!(board.sacked(), 8000);
        board.select(block(1500, 10_000), &mut delivered);
        assert_eq!(board.sacked(), 8000);
        check(&board);
    }

    #[test]
    fn within_a_long_record_rack_loses_what_lies_before_the_delivered() {
        let mut board = Scoreboard::new(seq(0));
        board.sent(seq(0), seq(10_000), MSS, at(0), Snapshot::default());
        let mut delivered = delivery(20);
        board.select(block(2000, 3000), &mut delivered);
        let latest = delivered.latest.expect("delivered");
        let early = board.detect(&latest, MS * 25, at(20), &mut |_, _, _| {});
        assert_eq!((early.octets, early.again_at), (0, Some(at(25))));
        let losses = board.detect(&latest, MS * 25, at(25), &mut |_, _, _| {});
        assert_eq!((losses.octets, losses.again_at), (2000, None));
        board.select(block(4000, 5000), &mut delivered);
        let latest = delivered.latest.expect("delivered");
        assert_eq!(
            board
                .detect(&latest, MS * 25, at(25), &mut |_, _, _| {})
                .octets,
            1000
        );
        assert_eq!((board.lost, board.in_flight()), (3000, 5000));
        check(&board);
    }

    #[test]
    fn a_reneging_peer_is_not_believed_after_a_timeout() {
        let mut board = flight();
        board.select(block(1000, 10_000), &mut delivery(20));
        board.acknowledge(seq(1000), &mut delivery(21));
        board.lose_all(&mut |_, _, _| {});
        assert_eq!(
            (board.lost, board.sacked(), board.in_flight()),
            (9000, 0, 0)
        );
        check(&board);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Send(usize),
        Ack(usize),
        Select(usize, usize),
        Detect,
        Resend(usize),
        LoseFirst,
        LoseAll,
        FindAgain,
    }

    fn steps() -> impl Strategy<Value = alloc::vec::Vec<Step>> {
        let step = prop_oneof![
            4 => (1usize..5000).prop_map(Step::Send),
            2 => (0usize..4000).prop_map(Step::Ack),
            5 => (0usize..9000, 1usize..4000).prop_map(|(from, len)| Step::Select(from, len)),
            3 => Just(Step::Detect),
            4 => (1usize..2000).prop_map(Step::Resend),
            1 => Just(Step::LoseFirst),
            1 => Just(Step::LoseAll),
            1 => Just(Step::FindAgain),
        ];
        proptest::collection::vec(step, 1..80)
    }

    proptest! {
        #[test]
        fn the_counters_are_what_the_records_say(steps in steps()) {
            let mut board = Scoreboard::new(seq(0));
            let (mut una, mut nxt, mut latest) = (0, 0, None::<Latest>);
            for (now, step) in steps.into_iter().enumerate() {
                let mut delivered = delivery(now as u64);
                match step {
                    Step::Send(len) => {
                        board.sent(seq(nxt), seq(nxt + len), MSS, at(now as u64), Snapshot::default());
                        nxt += len;
                    }
                    Step::Ack(len) => {
                        una = nxt.min(una + len);
                        board.acknowledge(seq(una), &mut delivered);
                    }
                    Step::Select(from, len) if una + from < nxt => {
                        let end = nxt.min(una + from + len);
                        board.select(block(una + from, end), &mut delivered);
                    }
                    Step::Detect => {
                        if let Some(latest) = &latest {
                            board.detect(latest, MS * 3, at(now as u64), &mut |_, _, _| {});
                        }
                    }
                    Step::Resend(len) => {
                        if let Some((start, end)) = board.next_lost() {
                            board.resent(start, end.min(start + len), MSS, at(now as u64), Snapshot::default());
                        }
                    }
                    Step::LoseFirst => {
                        board.lose_first(&mut |_, _, _| {});
                    }
                    Step::LoseAll => {
                        board.lose_all(&mut |_, _, _| {});
                    }
                    Step::FindAgain => board.find_again(),
                    Step::Select(..) => {}
                }
                latest = delivered.latest.or(latest);
                prop_assert_eq!(board.outstanding(), nxt - una);
                check(&board);
            }
        }
    }
}
