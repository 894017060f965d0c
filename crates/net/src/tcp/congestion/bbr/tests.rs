//! The state machine as a whole, on a path of its own: a bottleneck with a queue, and a delay (the draft's appendix A).

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::*;
use crate::tcp::congestion::Stage;
use crate::tcp::delivery::Meter;
use crate::tcp::pacer::Pacer;
use crate::tcp::scoreboard::{Delivery, Scoreboard};
use crate::wire::tcp::{SackBlock, SeqNum};

const MSS: usize = 1000;
const MS: Duration = Duration::from_millis(1);

/// A path with a sender at its one end that has as much to send as it is told, and a receiver that acknowledges all at the other.
struct Path {
    now: Instant,
    bbr: Bbr,
    board: Scoreboard,
    meter: Meter,
    pacer: Pacer,
    nxt: SeqNum,
    una: SeqNum,
    least: Duration,
    /// Octets per second of the bottleneck, octets of its queue, and the time both ways.
    rate: u64,
    room: usize,
    delay: Duration,
    /// One in so many segments is lost whatever happens.
    lose_every: Option<u64>,
    sent: u64,
    busy: Instant,
    acks: VecDeque<(Instant, SeqNum)>,
    /// What there is to send; without it, anything.
    supply: Option<usize>,
    peak: usize,
    peak_until: SeqNum,
    states: Vec<State>,
    delivered: usize,
    drops: usize,
    recovery: Option<SeqNum>,
    /// What came out of order, by its number.
    received: BTreeSet<u32>,
}

impl Path {
    fn new(rate: u64, delay: Duration, room: usize) -> Self {
        let now = Instant::from_millis(5000);
        let mut bbr = Bbr::new(now, MSS, true, 7);
        bbr.opened(Opened::In(delay));
        Self {
            now,
            bbr,
            board: Scoreboard::new(SeqNum::new(0)),
            meter: Meter::new(now),
            pacer: Pacer::default(),
            nxt: SeqNum::new(0),
            una: SeqNum::new(0),
            least: delay,
            rate,
            room,
            delay,
            lose_every: None,
            sent: 0,
            busy: now,
            acks: VecDeque::new(),
            supply: None,
            peak: 0,
            peak_until: SeqNum::new(0),
            states: Vec::from([State::Startup]),
            delivered: 0,
            drops: 0,
            recovery: None,
            received: BTreeSet::new(),
        }
    }

    fn bdp(&self) -> usize {
        control::product(self.rate, self.delay)
    }

    fn send(&mut self) {
        if self.board.outstanding() == 0 {
            let pause = Pause {
                now: self.now,
                long: false,
                starved: self.meter.is_starved(),
            };
            self.bbr.resume(&pause);
        }
        let pace = self.bbr.pace().expect("BBR paces");
        while self.pacer.holds(self.now).is_none() && self.supply != Some(0) {
            if self.board.in_flight() + MSS > self.bbr.cwnd() {
                break;
            }
            let again = self.board.next_lost();
            let (start, end) = again.unwrap_or((self.nxt, self.nxt + MSS));
            let counters = self.meter.snapshot(self.now, self.board.in_flight(), MSS);
            if again.is_some() {
                self.board.resent(start, end, MSS, self.now, counters);
            } else {
                self.board.sent(start, end, MSS, self.now, counters);
                self.nxt = end;
                self.supply = self.supply.map(|supply| supply - 1);
            }
            self.pacer.sent(self.now, MSS, pace.rate);
            let flight = self.board.in_flight();
            if flight >= self.peak || !self.una.before(self.peak_until) {
                (self.peak, self.peak_until) = (flight, self.nxt);
            }
            self.launch(start);
        }
    }

    fn launch(&mut self, start: SeqNum) {
        self.sent += 1;
        let waits = control::product(self.rate, self.busy - self.now);
        let unlucky = self
            .lose_every
            .is_some_and(|every| self.sent.is_multiple_of(every));
        if waits + MSS > self.room || unlucky {
            self.drops += 1;
            return;
        }
        self.busy =
            self.busy.max(self.now) + Duration::from_nanos(MSS as u64 * 1_000_000_000 / self.rate);
        self.acks.push_back((self.busy + self.delay, start));
    }

    /// CheckIfApplicationLimited.
    fn note_starvation(&mut self) {
        if self.supply == Some(0)
            && self.board.in_flight() < self.bbr.cwnd()
            && self.board.lost() == 0
        {
            self.meter.starve(self.board.in_flight());
        }
    }

    fn acknowledge(&mut self, start: SeqNum) {
        self.note_starvation();
        let mut delivery = Delivery::new(self.now, self.least, None);
        let una = self.una;
        self.received.insert(start.value());
        while self.received.remove(&self.una.value()) {
            self.una += MSS;
        }
        if self.una != una {
            self.board.acknowledge(self.una, &mut delivery);
        } else if start.after(self.una) {
            let end = start + MSS;
            self.board.select(SackBlock { start, end }, &mut delivery);
        }
        self.delivered += delivery.octets;
        let lost = self.find_losses(&delivery);
        if self.recovery.is_some_and(|point| !self.una.before(point)) {
            self.recovery = None;
            self.bbr.recovered(self.now, Verdict::Repaired);
        }
        if lost > 0 && self.recovery.is_none() {
            self.recovery = Some(self.nxt);
            self.bbr.congested(self.now, Cause::Loss, self.peak);
        }
        let sample = self.meter.sample(self.now, &delivery, self.least);
        let ack = Ack {
            now: self.now,
            stage: if self.recovery.is_some() {
                Stage::Fast
            } else {
                Stage::Open
            },
            una: self.una,
            nxt: self.nxt,
            advanced: self.una != una,
            lost,
            in_flight: self.board.in_flight(),
            peak: self.peak,
            smoothed: self.delay,
            delivered: self.meter.delivered(),
            sample,
        };
        self.bbr.acknowledged(&ack);
        if self.bbr.holds_back() {
            self.meter.starve(self.board.in_flight());
        }
        if self.states.last() != Some(&self.bbr.state) {
            self.states.push(self.bbr.state);
        }
    }

    /// Octets newly found lost.
    fn find_losses(&mut self, delivery: &Delivery) -> usize {
        let Some(latest) = delivery.latest else {
            return 0;
        };
        let Self {
            board,
            meter,
            bbr,
            now,
            ..
        } = self;
        let losses = board.detect(
            &latest,
            *now - latest.sent_at + MS,
            *now,
            &mut |start, end, sent| {
                let loss = meter.lose(start, end, sent);
                bbr.lost(*now, meter.delivered(), &loss);
            },
        );
        losses.octets
    }

    /// Lets time pass until `done` or for `span`; whether `done` came.
    fn until(&mut self, span: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + span;
        while !done(self) {
            self.send();
            let ack = self.acks.front().map(|(at, _)| *at);
            let next = [ack, self.pacer.holds(self.now)]
                .into_iter()
                .flatten()
                .min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return false;
            };
            self.now = next;
            while let Some((_, start)) =
                self.acks.front().copied().filter(|(at, _)| *at <= self.now)
            {
                self.acks.pop_front();
                self.acknowledge(start);
            }
        }
        true
    }

    #[track_caller]
    fn reach(&mut self, state: State) {
        let span = Duration::from_secs(30);
        assert!(
            self.until(span, |path| path.bbr.state == state),
            "{:?}, never {state:?}",
            self.states
        );
    }

    fn run(&mut self, span: Duration) {
        self.until(span, |_| false);
    }
}

/// Ten megabits per second, 40 ms: fifty segments.
fn path() -> Path {
    Path::new(1_250_000, 40 * MS, 200_000)
}

#[test]
fn startup_ends_when_deliveries_get_no_faster() {
    let mut path = path();
    path.reach(State::Drain);
    assert!(path.bbr.pipe.reached && path.bbr.pipe.now);
    let most = path.bbr.max_bw.most();
    assert!((1_225_000..=1_275_000).contains(&most), "{most}");
    assert_eq!(path.drops, 0);
}

#[test]
fn startup_ends_for_losses_even_without_data_enough() {
    let mut path = path();
    path.lose_every = Some(12);
    // Eight segments at a time, a little apart: never enough to fill the path.
    for _ in 0..200 {
        if path.bbr.state != State::Startup {
            break;
        }
        path.supply = Some(30);
        path.note_starvation();
        path.run(20 * MS);
    }
    assert_eq!(path.states.get(1), Some(&State::Drain));
    assert!(path.bbr.pipe.reached && path.bbr.bounds.inflight_long < UNBOUNDED);
}

#[test]
fn startup_goes_on_while_the_program_is_what_is_slow() {
    let mut path = path();
    for _ in 0..500 {
        path.supply = Some(2);
        path.note_starvation();
        path.run(20 * MS);
    }
    assert_eq!(path.bbr.state, State::Startup);
}

#[test]
fn drain_empties_the_queue_and_probing_begins() {
    let mut path = path();
    path.reach(State::Drain);
    assert_eq!(path.bbr.state.pacing_gain(), 50);
    path.reach(State::Cruise); // By way of Down, at once: the queue is empty.
    assert!(
        path.board.in_flight() <= path.bbr.inflight(100),
        "{}",
        path.board.in_flight()
    );
}

#[test]
fn drain_ends_after_three_rounds_when_the_path_got_slower() {
    let mut path = path();
    path.reach(State::Drain);
    (path.rate, path.bbr.drain_start) = (path.rate / 20, path.bbr.rounds.count);
    let start = path.bbr.rounds.count;
    path.reach(State::Down);
    assert!(
        path.bbr.rounds.count <= start + 4,
        "{}",
        path.bbr.rounds.count - start
    );
}

/// The cycle goes round, in order, and the path is full and its queue short all the while.
#[test]
fn bandwidth_is_probed_in_turns() {
    let mut path = path();
    path.run(Duration::from_secs(9));
    let cycle = [State::Down, State::Cruise, State::Refill, State::Up];
    let begin = path
        .states
        .iter()
        .position(|state| *state == State::Down)
        .expect("it began");
    for (at, state) in path.states[begin..].iter().enumerate() {
        assert_eq!(*state, cycle[at % 4], "{:?}", path.states);
    }
    assert!(path.states.len() > 10, "{:?}", path.states);
    let (before, start) = (path.delivered, path.now);
    path.run(Duration::from_secs(5));
    let reached = (path.delivered - before) as f64 / (path.now - start).as_secs_f64();
    assert!(reached > 0.93 * path.rate as f64, "{reached}");
    assert_eq!(path.drops, 0);
    assert!(path.bbr.cwnd() < path.bdp() * 5 / 2, "{}", path.bbr.cwnd());
}

/// More bandwidth is found in a few cycles, and less is noticed.
#[test]
fn a_change_of_the_path_is_followed() {
    let mut path = path();
    path.run(Duration::from_secs(5));
    path.rate *= 3;
    path.run(Duration::from_secs(14));
    let most = path.bbr.max_bw.most();
    assert!(most > path.rate * 9 / 10, "{most} of {}", path.rate);
    path.rate /= 6;
    path.run(Duration::from_secs(14));
    let most = path.bbr.max_bw.most();
    assert!(most < path.rate * 11 / 10, "{most} of {}", path.rate);
}

/// A queue of a quarter of the product: loss tells how much fits.
#[test]
fn a_shallow_queue_bounds_the_flight() {
    let mut path = Path::new(1_250_000, 40 * MS, 12_500);
    path.run(Duration::from_secs(20));
    let fits = path.bdp() + path.room;
    let long = path.bbr.bounds.inflight_long;
    assert!(long < fits * 3 / 2, "{long} of {fits}");
    let (before, drops, sent, start) = (path.delivered, path.drops, path.sent, path.now);
    path.run(Duration::from_secs(20));
    let reached = (path.delivered - before) as f64 / (path.now - start).as_secs_f64();
    assert!(reached > 0.8 * path.rate as f64, "{reached}");
    let share = (path.drops - drops) as f64 / (path.sent - sent) as f64;
    assert!(share < 0.02, "{share}");
}

/// One in a hundred lost at random is no reason to be slow: this is where CUBIC is.
#[test]
fn random_loss_below_the_threshold_costs_little() {
    let mut path = path();
    path.lose_every = Some(100);
    path.run(Duration::from_secs(5));
    let (before, start) = (path.delivered, path.now);
    path.run(Duration::from_secs(20));
    let reached = (path.delivered - before) as f64 / (path.now - start).as_secs_f64();
    assert!(reached > 0.8 * path.rate as f64, "{reached}");
}

/// After ten seconds with never an empty queue, the flight is halved for 200 ms and a round; afterwards all is as before.
#[test]
fn the_least_round_trip_time_is_sought_every_ten_seconds() {
    let mut path = path();
    path.run(Duration::from_secs(5));
    path.delay += 5 * MS; // Never again as short as it was.
    path.reach(State::ProbeRtt);
    let (began, cwnd) = (path.now, path.bbr.prior_cwnd);
    assert!(path.bbr.least_rtt.product(1_000_000, 100) >= 45_000);
    assert!(
        path.bbr.cwnd() <= path.bdp() * 6 / 10,
        "{}",
        path.bbr.cwnd()
    );
    path.reach(State::Cruise);
    assert!(
        (200..400).contains(&(path.now - began).as_millis()),
        "{:?}",
        path.now - began
    );
    assert!(
        path.bbr.cwnd() >= cwnd * 8 / 10,
        "{} after {cwnd}",
        path.bbr.cwnd()
    );
}

/// A pause is a drained queue: no ProbeRtt after it, and sending goes on at the bandwidth, not above.
#[test]
fn after_a_pause_sending_goes_on_at_the_bandwidth() {
    let mut path = path();
    path.run(Duration::from_secs(5));
    path.supply = Some(0);
    path.run(Duration::from_secs(1));
    path.note_starvation();
    path.now += Duration::from_secs(12);
    path.busy = path.now;
    path.supply = None;
    path.send();
    let (bw, rate) = (path.bbr.bw, path.bbr.pacing_rate);
    assert_eq!(rate, bw * 99 / 100);
    path.run(100 * MS);
    assert!(!path.states.contains(&State::ProbeRtt), "{:?}", path.states);
    assert_eq!(path.drops, 0);
}

#[test]
fn a_timeout_leaves_one_segment_and_its_repair_restores_the_window() {
    let mut path = path();
    path.run(Duration::from_secs(3));
    let cwnd = path.bbr.cwnd();
    let Path {
        board,
        meter,
        bbr,
        now,
        ..
    } = &mut path;
    board.lose_all(&mut |start, end, sent| {
        let loss = meter.lose(start, end, sent);
        bbr.lost(*now, meter.delivered(), &loss);
    });
    bbr.congested(*now, Cause::Timeout { again: false }, cwnd);
    assert_eq!(path.bbr.cwnd(), MSS);
    path.bbr.recovered(path.now, Verdict::Repaired);
    assert_eq!(path.bbr.cwnd(), cwnd);
}

/// §5.5.11: bounds set for losses that were none go, and the probe that they ended begins anew.
#[test]
fn a_mistaken_loss_is_taken_back() {
    let mut path = path();
    path.run(Duration::from_secs(2));
    path.reach(State::Up);
    path.run(50 * MS);
    let loss = Loss {
        start: path.una,
        end: path.una + 10 * MSS,
        in_flight: 60_000,
        lost: 10_000,
        starved: false,
    };
    path.bbr.lost(path.now, path.meter.delivered(), &loss);
    path.bbr.congested(path.now, Cause::Loss, 60_000);
    assert_eq!(path.bbr.state, State::Down);
    assert!(path.bbr.bounds.inflight_long < UNBOUNDED);
    path.bbr.recovered(path.now, Verdict::Mistaken);
    assert_eq!(path.bbr.state, State::Refill);
    assert_eq!(path.bbr.bounds.inflight_long, UNBOUNDED);
}

/// Where the draft is silent: a mark ends a probe as too much loss does, and is at other times heeded as loss is.
#[test]
fn a_mark_counts_as_loss() {
    let mut path = path();
    path.run(Duration::from_secs(2));
    path.reach(State::Up);
    path.bbr.congested(path.now, Cause::Mark, path.bdp());
    assert_eq!(path.bbr.state, State::Down);
    path.bbr.recovered(path.now, Verdict::Repaired);
    path.reach(State::Cruise);
    path.bbr.congested(path.now, Cause::Mark, path.bdp());
    path.run(100 * MS);
    assert!(path.bbr.bounds.bw_short <= path.bbr.max_bw.most());
}

/// Losses before any rate was measured leave the pace that the handshake led to.
#[test]
fn without_a_measurement_the_first_pace_stays() {
    let mut path = Path::new(1_250_000, 40 * MS, 200_000);
    let pace = path.bbr.pace();
    path.bbr.sack = false;
    path.least = Duration::from_secs(1); // No interval is as long: no sample counts.
    path.lose_every = Some(3);
    path.run(Duration::from_secs(2));
    assert_eq!((path.bbr.bw, path.bbr.pipe.reached), (0, true));
    assert_eq!(
        path.bbr.pace().map(|pace| pace.rate),
        pace.map(|pace| pace.rate)
    );
}
