//! Octets that came out of order, kept until the gap before them closes.
//!
//! They are held as runs without gaps, so what selective acknowledgments report (RFC 2018) is what is stored. Where segments
//! overlap, the octets that came first stay. The window bounds the octets; a budget bounds the memory, as many tiny pieces cost
//! more than they carry: what exceeds it is dropped unreported, and the peer sends it again.

use alloc::collections::VecDeque;

use bytes::Bytes;
use smallvec::SmallVec;

use super::inbox::Inbox;
use crate::wire::tcp::{SackBlock, SeqNum};

/// What one run is charged beside its pieces: more than its memory, as finding its place moves others.
const RUN_COST: usize = 512;

/// Blocks reported at most: as many as fit in the options.
const REPORTED: usize = 4;

/// The out-of-order queue.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    /// Disjoint, not touching, in order.
    runs: VecDeque<Run>,
    cost: usize,
    /// A sequence number within each run most recently added to, newest first.
    recent: SmallVec<[SeqNum; REPORTED]>,
}

#[derive(Debug)]
struct Run {
    start: SeqNum,
    end: SeqNum,
    pieces: Inbox,
}

impl Run {
    fn cost(&self) -> usize {
        RUN_COST + self.pieces.cost()
    }

    fn holds(&self, seq: SeqNum) -> bool {
        seq.within(self.start, self.end)
    }
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// At least a part was new.
    New,
    /// All of it was there already: to be reported as a duplicate (RFC 2883).
    Nothing,
    /// The budget is exhausted.
    Refused,
}

impl Reassembly {
    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Keeps `payload`, which begins at `seq` and lies within the window, unless memory would exceed `budget`.
    pub(super) fn insert(&mut self, seq: SeqNum, payload: Bytes, budget: usize) -> Kept {
        let end = seq + payload.len();
        let at = self.runs.partition_point(|run| run.end.before(seq));
        let touching = self.runs.get(at).filter(|run| !run.start.after(end));
        if touching.is_some_and(|run| !seq.before(run.start) && !end.after(run.end)) {
            self.note(at, seq);
            return Kept::Nothing;
        }
        if self.cost + payload.len() + 2 * RUN_COST > budget {
            return Kept::Refused;
        }
        if touching.is_some() {
            self.grow(at, seq, payload);
        } else {
            let mut pieces = Inbox::default();
            pieces.push(payload);
            let run = Run {
                start: seq,
                end,
                pieces,
            };
            self.cost += run.cost();
            self.runs.insert(at, run);
        }
        self.note(at, seq);
        Kept::New
    }

    /// Joins a payload to the run at `at`, which it touches, and to those after it that it reaches.
    fn grow(&mut self, at: usize, seq: SeqNum, payload: Bytes) {
        let end = seq + payload.len();
        let run = &mut self.runs[at];
        self.cost -= run.cost();
        if seq.before(run.start) {
            run.pieces.prepend(payload.slice(..run.start.since(seq)));
            run.start = seq;
        }
        while self.runs[at].end.before(end) {
            let next = self.runs.get(at + 1).map(|next| next.start);
            let to = next.map_or(end, |start| start.min(end));
            let run = &mut self.runs[at];
            run.pieces
                .push(payload.slice(run.end.since(seq)..to.since(seq)));
            run.end = to;
            if next == Some(to) {
                self.join_next(at);
            }
        }
        if self
            .runs
            .get(at + 1)
            .is_some_and(|next| next.start == self.runs[at].end)
        {
            self.join_next(at);
        }
        self.cost += self.runs[at].cost();
    }

    /// Appends the run after `at` to the one at `at`; the cost of the latter is the caller's to count.
    fn join_next(&mut self, at: usize) {
        let Some(mut next) = self.runs.remove(at + 1) else {
            return;
        };
        self.cost -= next.cost();
        self.runs[at].end = next.end;
        self.runs[at].pieces.append(&mut next.pieces);
    }

    fn note(&mut self, at: usize, seq: SeqNum) {
        let run = &self.runs[at];
        self.recent.retain(|point| !run.holds(*point));
        self.recent.truncate(REPORTED - 1);
        self.recent.insert(0, seq);
    }

    /// Moves what follows `next` without a gap into `inbox`; returns the sequence number expected after it.
    pub(super) fn take(&mut self, next: SeqNum, inbox: &mut Inbox) -> SeqNum {
        let mut next = next;
        while self.runs.front().is_some_and(|run| !run.start.after(next)) {
            let Some(mut run) = self.runs.pop_front() else {
                break;
            };
            self.cost -= run.cost();
            run.pieces.consume(next.since(run.start));
            inbox.append(&mut run.pieces);
            next = next.max(run.end);
        }
        if self.runs.is_empty() {
            self.recent.clear();
        }
        next
    }

    /// The run that holds `seq`.
    pub(super) fn run_around(&self, seq: SeqNum) -> Option<SackBlock> {
        let at = self.runs.partition_point(|run| !run.end.after(seq));
        let run = self.runs.get(at).filter(|run| run.holds(seq))?;
        Some(SackBlock {
            start: run.start,
            end: run.end,
        })
    }

    /// The runs to report, the one most recently added to first (RFC 2018 §4).
    pub(super) fn report(&self) -> impl Iterator<Item = SackBlock> {
        self.recent
            .iter()
            .filter_map(|point| self.run_around(*point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const BUDGET: usize = 1 << 20;

    fn octets(from: usize, len: usize) -> Bytes {
        (from..from + len).map(|at| (at * 31) as u8).collect()
    }

    proptest! {
        /// Against a naive model: one flag per octet.
        #[test]
        fn any_order_and_overlap_gives_the_stream(
            isn: u32,
            pieces in proptest::collection::vec((0usize..400, 1usize..60), 1..60),
        ) {
            let start = SeqNum::new(isn);
            let mut queue = Reassembly::default();
            let mut model = [false; 460];
            for (from, len) in pieces {
                let from = from + 1; // octet 0 never comes, so all is out of order
                let new = model[from..(from + len).min(460)].iter().any(|had| !had);
                let len = len.min(460 - from);
                let kept = queue.insert(start + from, octets(from, len), BUDGET);
                prop_assert_eq!(kept, if new { Kept::New } else { Kept::Nothing });
                model[from..from + len].fill(true);
                let first = queue.report().next();
                let holds = first.is_some_and(|run| !run.start.after(start + from) && !run.end.before(start + from + len));
                prop_assert!(holds, "the newest run is not reported first: {:?}", first);
            }
            let runs = queue.runs.iter().flat_map(|run| run.start.since(start)..run.end.since(start));
            prop_assert!(runs.eq((0..460).filter(|at| model[*at])));
            prop_assert_eq!(queue.cost, queue.runs.iter().map(Run::cost).sum::<usize>());
            for (before, after) in queue.runs.iter().zip(queue.runs.iter().skip(1)) {
                prop_assert!(before.end.before(after.start), "runs touch");
            }
            let mut inbox = Inbox::default();
            let mut next = 0;
            while let Some(at) = (next..460).find(|at| model[*at]) {
                let end = (at..460).find(|at| !model[*at]).unwrap_or(460);
                prop_assert_eq!(queue.take(start + at, &mut inbox), start + end);
                let got: Vec<u8> = inbox.chunks().flatten().copied().collect();
                prop_assert_eq!(&got, &octets(at, end - at));
                inbox.consume(usize::MAX);
                next = end;
            }
            prop_assert!(queue.is_empty());
            prop_assert_eq!(queue.cost, 0);
        }
    }

    #[test]
    fn the_newest_run_is_reported_first_and_each_once() {
        let mut queue = Reassembly::default();
        for at in [100, 300, 500, 320, 700, 900, 110] {
            queue.insert(SeqNum::new(at), octets(at as usize, 20), BUDGET);
        }
        let starts: Vec<u32> = queue.report().map(|run| run.start.value()).collect();
        assert_eq!(starts, [100, 900, 700, 300]);
    }

    #[test]
    fn a_flood_of_single_octets_stays_within_the_budget() {
        let mut queue = Reassembly::default();
        let kept = (0..100_000u32)
            .filter(|at| queue.insert(SeqNum::new(at * 2 + 1), octets(0, 1), BUDGET) == Kept::New)
            .count();
        assert!(queue.cost <= BUDGET);
        assert!((1000..20_000).contains(&kept), "{kept}");
    }
}
