//! What an acknowledgment does to the sender: round-trip time, scoreboard, losses, recovery, congestion window, timers.

use core::time::Duration;

use super::congestion::{Ack, Cause, Verdict};
use super::delivery::Sample;
use super::recovery::{Hasty, Recovery, Undo};
use super::scoreboard::{Delivery, Mourner, Scoreboard};
use super::sender::{Fin, Sender};
use super::stamps::Stamps;
use super::timers::{Timer, Timers};
use crate::time::Instant;
use crate::wire::tcp::{Control, Flags, SackBlock};

/// Duplicate acknowledgments that make a loss without SACK (RFC 5681 §3.2).
const DUPLICATES: usize = 3;

/// How much the timestamps' clock may be behind.
const STAMP: Duration = Duration::from_millis(1);

/// One acceptable acknowledgment on its way through the sender.
pub(super) struct Arrived<'a> {
    pub(super) now: Instant,
    pub(super) segment: &'a Control,
    /// SND.UNA moved.
    pub(super) advanced: bool,
    /// The peer reported a duplicate (RFC 2883).
    duplicate: bool,
    mss: usize,
    delivery: Delivery,
}

impl Sender {
    /// Takes the acknowledgment, SACK blocks and window of a segment whose ACK is acceptable: `SND.UNA ≤ SEG.ACK ≤ SND.MAX`.
    /// `bare` says that it carries nothing else, so that it can be a duplicate acknowledgment.
    pub(super) fn acknowledge(
        &mut self,
        now: Instant,
        segment: &Control,
        bare: bool,
        stamps: Option<&Stamps>,
        timers: &mut Timers,
    ) {
        self.note_starvation();
        let updated = self.window.update(segment);
        if !updated && self.is_nothing_new(segment) {
            return;
        }
        let echo = stamps.zip(segment.options.timestamps);
        let echo = echo.map(|(stamps, came)| stamps.echo(came.echo));
        let mut arrived = Arrived {
            now,
            segment,
            advanced: segment.ack.after(self.una),
            duplicate: false,
            mss: self.congestion.mss(),
            delivery: Delivery::new(now, self.rtt.minimum(), echo),
        };
        if arrived.advanced {
            self.advance(&mut arrived);
        }
        if self.sack {
            self.take_blocks(&mut arrived);
        } else if bare && !updated && !arrived.advanced && self.board.outstanding() > 0 {
            self.count_duplicate(&mut arrived);
        }
        self.measure(&arrived, stamps);
        self.undo_mistake(&arrived);
        let lost = self.find_losses(&arrived, timers);
        self.recover(&arrived, lost);
        self.heed_congestion(&arrived);
        self.judge_tail_probe(&arrived);
        self.rearm(&arrived, timers);
    }

    /// Nothing is in flight, so there is nothing that the acknowledgment could be of: most segments of a flow that goes one way.
    fn is_nothing_new(&self, segment: &Control) -> bool {
        segment.ack == self.una
            && self.board.outstanding() == 0
            && segment.options.sack.is_empty()
            && !segment.flags.contains(Flags::ECE)
            && self.tail_probe.is_none()
            && self.recovery.is_open()
    }

    fn advance(&mut self, arrived: &mut Arrived<'_>) {
        let ack = arrived.segment.ack;
        self.board.acknowledge(ack, &mut arrived.delivery);
        self.outbox.release(ack);
        self.path.acknowledged(arrived.now, ack);
        self.una = ack;
        if ack.after(self.nxt) {
            self.accept_probe();
        }
        // Without SACK, duplicates were counted as deliveries already; the segment that filled the gap was not (RFC 6937 §3).
        let counted = self
            .departed
            .min(arrived.delivery.octets.saturating_sub(arrived.mss));
        arrived.delivery.octets -= counted;
        self.departed -= counted;
        if self.recovery.is_open() {
            self.duplicates = 0;
        }
        self.retries = 0;
        self.rtt.forgive();
    }

    /// The peer took what a window probe carried.
    fn accept_probe(&mut self) {
        self.nxt = self.una;
        if self.nxt.after(self.outbox.end()) {
            self.fin = Fin::Sent;
        }
    }

    fn take_blocks(&mut self, arrived: &mut Arrived<'_>) {
        let mut blocks = arrived.segment.options.sack.as_slice();
        if let [first, rest @ ..] = blocks
            && self.is_duplicate_report(first, rest.first())
        {
            arrived.duplicate = true;
            self.rack.duplicate_reported(self.una, self.nxt);
            blocks = rest;
        }
        for block in blocks {
            // In this order each comparison stays within the window: what is half the number space away is both before and
            // after.
            let sane = block.start != self.una
                && block.start.within(self.una, self.nxt)
                && block.end.within(block.start + 1, self.nxt + 1);
            if sane {
                self.board.select(*block, &mut arrived.delivery);
            }
        }
    }

    /// RFC 2883 §4: a first block below the acknowledgment or within the second.
    fn is_duplicate_report(&self, first: &SackBlock, second: Option<&SackBlock>) -> bool {
        let below = !first.end.after(self.una);
        let inside = second.is_some_and(|second| {
            !first.start.before(second.start) && !first.end.after(second.end)
        });
        first.start.before(first.end) && (below || inside)
    }

    fn count_duplicate(&mut self, arrived: &mut Arrived<'_>) {
        self.duplicates += 1;
        let more = arrived
            .mss
            .min(self.board.in_flight().saturating_sub(self.departed));
        self.departed += more;
        arrived.delivery.octets += more;
    }

    fn measure(&mut self, arrived: &Arrived<'_>, stamps: Option<&Stamps>) {
        if let Some(rtt) = arrived.delivery.rtt {
            self.rtt.sample(rtt);
        } else if arrived.advanced
            && let (Some(stamps), Some(echoed)) = (stamps, arrived.segment.options.timestamps)
            && let Some(rtt) = stamps.elapsed(arrived.now, echoed.echo)
            && let Some(sent_at) = arrived.delivery.sent_at
            && rtt <= arrived.delivery.since(sent_at) + STAMP
        {
            // Only what was sent again was acknowledged: the timestamp tells which sending (RFC 7323 §4). If it was an earlier
            // one, its acknowledgment may have been lost, and the time until this one is our own timeout.
            self.rtt.sample(rtt);
        }
    }

    /// Marks what is lost; returns the octets newly so.
    fn find_losses(&mut self, arrived: &Arrived<'_>, timers: &mut Timers) -> usize {
        if self.sack {
            self.rack.delivered(&arrived.delivery);
            if self.board.outstanding() == 0 {
                return 0;
            }
            return self.detect_by_time(arrived.now, timers);
        }
        let lost = match self.recovery {
            Recovery::Open => self.duplicates == DUPLICATES && !arrived.advanced,
            // A partial acknowledgment (RFC 6582 §3.2 step 3).
            Recovery::Fast { point } => arrived.advanced && self.una.before(point),
            Recovery::Timeout { .. } => false,
        };
        if !lost {
            return 0;
        }
        self.declare(arrived.now, |board, mourner| board.lose_first(mourner))
    }

    /// Lets `lose` declare losses; returns the octets of those that are a sign of congestion, as all but those of a path probe are
    /// (RFC 4821 §7.5), after congestion control has heard of each.
    pub(super) fn declare(
        &mut self,
        now: Instant,
        lose: impl FnOnce(&mut Scoreboard, Mourner<'_>) -> usize,
    ) -> usize {
        let Self {
            board,
            meter,
            congestion,
            path,
            ..
        } = self;
        let control = congestion.control();
        let mut excused = 0;
        let octets = lose(board, &mut |start, end, sent| {
            if path.lost(now, start, end) {
                excused += end.since(start);
                return;
            }
            let loss = meter.lose(start, end, sent);
            control.lost(now, meter.delivered(), &loss);
        });
        octets - excused
    }

    /// RACK (RFC 8985 §6.2 step 5); also when its timer expires.
    pub(super) fn detect_by_time(&mut self, now: Instant, timers: &mut Timers) -> usize {
        let hasty = Hasty {
            recovering: !self.recovery.is_open(),
            sacked: self.board.sacked(),
            mss: self.congestion.mss(),
        };
        let smoothed = self.rtt.smoothed().unwrap_or_default();
        let Some((latest, patience)) = self.rack.patience(hasty, self.rtt.minimum(), smoothed)
        else {
            return 0;
        };
        let mut again_at = None;
        let lost = self.declare(now, |board, mourner| {
            let losses = board.detect(&latest, patience, now, mourner);
            again_at = losses.again_at;
            losses.octets
        });
        match again_at {
            Some(at) => timers.set(Timer::Reorder, at),
            None => timers.stop(Timer::Reorder),
        }
        lost
    }

    fn recover(&mut self, arrived: &Arrived<'_>, lost: usize) {
        let least = self.rtt.minimum();
        let sample = self.meter.sample(arrived.now, &arrived.delivery, least);
        if self
            .recovery
            .point()
            .is_some_and(|point| !self.una.before(point))
        {
            self.leave_recovery(arrived.now, Verdict::Repaired);
        }
        if lost > 0 && self.recovery.is_open() {
            self.enter_recovery(arrived.now, Cause::Loss);
        }
        self.tell_congestion(arrived.now, arrived.advanced, lost, sample);
    }

    fn tell_congestion(&mut self, now: Instant, advanced: bool, lost: usize, sample: Sample) {
        let ack = Ack {
            now,
            stage: self.recovery.stage(),
            una: self.una,
            nxt: self.nxt,
            advanced,
            lost,
            in_flight: self.in_flight(),
            peak: self.peak,
            smoothed: self.rtt.smoothed().unwrap_or_default(),
            delivered: self.meter.delivered(),
            sample,
        };
        self.congestion.control().acknowledged(&ack);
        if self.congestion.holds_back() {
            self.meter.starve(ack.in_flight);
        }
    }

    /// Begins fast recovery, until everything sent so far is acknowledged (RFC 6675 §5).
    fn enter_recovery(&mut self, now: Instant, cause: Cause) {
        let flight = self.flight();
        self.congestion.control().congested(now, cause, flight);
        self.recovery = Recovery::Fast { point: self.nxt };
        self.undo = Some(Undo::default());
        self.tail_probe = None;
    }

    /// Losses were found outside of an acknowledgment: recovery begins, and the first may go at once.
    pub(super) fn enter_recovery_by_timer(&mut self, now: Instant, lost: usize) {
        if self.recovery.is_open() {
            self.enter_recovery(now, Cause::Loss);
        }
        self.tell_congestion(now, false, lost, Sample::default());
    }

    pub(super) fn leave_recovery(&mut self, now: Instant, verdict: Verdict) {
        self.congestion.control().recovered(now, verdict);
        self.recovery = Recovery::Open;
        self.undo = None;
        self.rack.recovered();
        self.duplicates = 0;
        self.departed = 0;
    }

    /// RFC 3168 §6.1.2: a mark counts as a loss does, once per round trip.
    fn heed_congestion(&mut self, arrived: &Arrived<'_>) {
        let marked = self.ecn && arrived.segment.flags.contains(Flags::ECE);
        if !marked || !self.recovery.is_open() {
            return;
        }
        self.enter_recovery(arrived.now, Cause::Mark);
        self.reduced = true;
        self.undo = None; // The mark was no mistake.
        if self.board.outstanding() == 0 {
            // Nothing is left to spread the reduction over.
            self.leave_recovery(arrived.now, Verdict::Repaired);
        }
    }

    /// RFC 8985 §7.4.2: progress beyond a repeated segment, without a duplicate reported, means that the probe repaired a loss.
    fn judge_tail_probe(&mut self, arrived: &Arrived<'_>) {
        let Some(probe) = self.tail_probe.filter(|probe| !self.una.before(probe.end)) else {
            return;
        };
        let both_arrived = !arrived.advanced && arrived.segment.options.sack.is_empty();
        if !probe.repeated || arrived.duplicate || both_arrived {
            self.tail_probe = None;
        } else if self.una.after(probe.end) {
            self.tail_probe = None;
            let cwnd = self.congestion.cwnd();
            self.congestion
                .control()
                .congested(arrived.now, Cause::Tail, cwnd);
        }
    }

    /// RFC 6298 §5.2, §5.3.
    fn rearm(&mut self, arrived: &Arrived<'_>, timers: &mut Timers) {
        if self.board.outstanding() == 0 {
            timers.stop(Timer::Retransmit);
            timers.stop(Timer::TailProbe);
            timers.stop(Timer::Reorder);
        } else if arrived.advanced {
            timers.set(Timer::Retransmit, arrived.now + self.rtt.timeout());
        }
        if arrived.advanced || !self.recovery.is_open() || self.board.sacked() > 0 {
            self.arm_tail_probe(arrived.now, timers);
        }
        if self.window.size > 0
            && timers.runs(Timer::Persist)
            && self.window.size * 2 >= self.window.largest
        {
            timers.stop(Timer::Persist);
            self.rtt.forgive();
        }
    }
}
