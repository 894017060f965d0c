//! How fast the path delivers: one rate sample per acknowledgment.
//!
//! # Theory of operation
//!
//! Between the sending of a packet and its acknowledgment, some octets were delivered; over the time that this took, that is a rate
//! (draft-ietf-ccwg-bbr §4.1, once draft-cheng-iccrg-delivery-rate-estimation). Acknowledgments may come in a bunch, so the time
//! is the longer of two: how long sending those octets took, and how long their acknowledgments took. Each transmission carries a
//! [`Snapshot`] of the counters; the newest that an acknowledgment delivers makes the [`Sample`].
//!
//! While the program has nothing to send, samples tell how fast the program is, not the path. They are marked until everything in
//! flight at that moment is delivered (§4.1.1.3).

use core::time::Duration;

use super::scoreboard::Delivery;
use crate::time::Instant;
use crate::wire::tcp::SeqNum;

/// The counters of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    /// C.delivered: octets delivered so far.
    delivered: u64,
    /// C.delivered_time.
    delivered_at: Instant,
    /// C.first_send_time.
    first_sent_at: Instant,
    /// C.lost: octets declared lost so far.
    lost: u64,
    /// C.app_limited: samples are marked until more than this is delivered; 0 if they are not marked.
    starved_until: u64,
}

/// The counters as they were when something was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    /// Modulo 2³².
    lost: u32,
    /// P.tx_in_flight: octets in flight, these included.
    in_flight: u32,
    starved: bool,
}

/// What one acknowledgment says about the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// RS.newly_acked: octets that this acknowledgment delivered.
    pub(super) octets: usize,
    /// Octets per second; 0 if there is no telling.
    pub(super) rate: u64,
    /// RS.delivered: octets delivered since the newest of the acknowledged was sent.
    pub(super) delivered: usize,
    /// RS.prior_delivered: what had been delivered when the newest of the acknowledged was sent; nothing if none was acknowledged.
    pub(super) prior: Option<u64>,
    /// RS.tx_in_flight.
    pub(super) in_flight: usize,
    /// RS.lost: octets declared lost since the newest of the acknowledged was sent.
    pub(super) lost: usize,
    /// RS.is_app_limited.
    pub(super) starved: bool,
    /// The least round-trip time of what was sent once.
    pub(super) rtt: Option<Duration>,
}

/// One stretch declared lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) start: SeqNum,
    pub(super) end: SeqNum,
    /// Octets in flight when it was sent, itself included.
    pub(super) in_flight: usize,
    /// Octets declared lost since it was sent, itself included.
    pub(super) lost: usize,
    /// It was sent while the program had little to send.
    pub(super) starved: bool,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            lost: 0,
            starved_until: 0,
        }
    }

    /// Octets delivered so far.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Whether samples are marked at present.
    pub(super) fn is_starved(&self) -> bool {
        self.starved_until > 0
    }

    /// `octets` are being sent while `before` are in flight (§4.1.2.2).
    pub(super) fn snapshot(&mut self, now: Instant, before: usize, octets: usize) -> Snapshot {
        if before == 0 {
            (self.first_sent_at, self.delivered_at) = (now, now);
        }
        Snapshot {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            lost: self.lost as u32,
            in_flight: u32::try_from(before + octets).unwrap_or(u32::MAX),
            starved: self.is_starved(),
        }
    }

    /// There was nothing to send although something could have been: what is in flight now is delivered as slowly as that
    /// (§4.1.2.4).
    pub(super) fn starve(&mut self, in_flight: usize) {
        self.starved_until = (self.delivered + in_flight as u64).max(1);
    }

    /// A stretch was declared lost.
    pub(super) fn lose(&mut self, start: SeqNum, end: SeqNum, sent: &Snapshot) -> Loss {
        self.lost += end.since(start) as u64;
        Loss {
            start,
            end,
            in_flight: sent.in_flight as usize,
            lost: self.lost_since(sent),
            starved: sent.starved,
        }
    }

    /// The sample that an acknowledgment makes (§4.1.2.3). One over less than the least round-trip time ever seen is not
    /// believed: it counts the original of what was sent again for nothing.
    pub(super) fn sample(&mut self, now: Instant, delivery: &Delivery, least: Duration) -> Sample {
        let mut sample = Sample {
            octets: delivery.octets,
            rtt: delivery.least_rtt,
            ..Sample::default()
        };
        if delivery.octets > 0 {
            self.delivered += delivery.octets as u64;
            self.delivered_at = now;
        }
        if self.delivered > self.starved_until {
            self.starved_until = 0;
        }
        let Some((sent_at, sent)) = delivery.newest else {
            return sample;
        };
        self.first_sent_at = sent_at;
        sample.prior = Some(sent.delivered);
        sample.delivered = (self.delivered - sent.delivered) as usize;
        sample.in_flight = sent.in_flight as usize;
        sample.lost = self.lost_since(&sent);
        sample.starved = sent.starved;
        let interval = (sent_at - sent.first_sent_at).max(now - sent.delivered_at);
        if interval >= least && !interval.is_zero() {
            sample.rate = rate(sample.delivered, interval);
        }
        sample
    }

    fn lost_since(&self, sent: &Snapshot) -> usize {
        (self.lost as u32).wrapping_sub(sent.lost) as usize
    }
}

/// Octets per second.
pub(super) fn rate(octets: usize, span: Duration) -> u64 {
    let nanos = span.as_nanos().max(1);
    u64::try_from(octets as u128 * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::scoreboard::Scoreboard;
    use crate::wire::tcp::SackBlock;

    const MS: Duration = Duration::from_millis(1);
    const MSS: usize = 1000;

    /// A sender's two halves of the bookkeeping.
    struct Bench {
        board: Scoreboard,
        meter: Meter,
        nxt: SeqNum,
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(1000 + ms)
    }

    impl Bench {
        fn new() -> Self {
            Self {
                board: Scoreboard::new(SeqNum::new(0)),
                meter: Meter::new(at(0)),
                nxt: SeqNum::new(0),
            }
        }

        fn send(&mut self, ms: u64) {
            let sent = self.meter.snapshot(at(ms), self.board.in_flight(), MSS);
            self.board.sent(self.nxt, self.nxt + MSS, MSS, at(ms), sent);
            self.nxt += MSS;
        }

        fn ack(&mut self, ms: u64, to: usize) -> Sample {
            let mut delivery = Delivery::new(at(ms), Duration::MAX, None);
            self.board.acknowledge(SeqNum::new(0) + to, &mut delivery);
            self.meter.sample(at(ms), &delivery, 10 * MS)
        }
    }

    /// Ten segments in a burst, acknowledged a millisecond apart: the acknowledgments tell the rate, not the burst.
    #[test]
    fn a_burst_is_measured_by_its_acknowledgments() {
        let mut bench = Bench::new();
        (0..10).for_each(|_| bench.send(0));
        for segment in 1..10 {
            bench.ack(10 + segment as u64, segment * MSS);
        }
        let last = bench.ack(20, 10 * MSS);
        assert_eq!((last.delivered, last.rate), (10 * MSS, 500_000));
        (0..10).for_each(|_| bench.send(20));
        for segment in 11..20 {
            bench.ack(20 + segment as u64, segment * MSS);
        }
        let sample = bench.ack(40, 20 * MSS);
        assert_eq!(sample.prior, Some(10_000));
        assert_eq!((sample.delivered, sample.rate), (10 * MSS, 500_000));
    }

    /// Acknowledgments held up on the way and let go at once do not make the path fast: the sending took time.
    #[test]
    fn compressed_acknowledgments_are_measured_by_the_sending() {
        let mut bench = Bench::new();
        bench.send(0);
        (1..11).for_each(|ms| bench.send(ms));
        bench.ack(20, MSS);
        let sample = bench.ack(21, 11 * MSS);
        assert_eq!((sample.delivered, sample.rate), (11 * MSS, 11_000_000 / 21));
        let mut bench = Bench::new();
        bench.send(0);
        bench.ack(10, MSS);
        (0..100).for_each(|ms| bench.send(10 + ms));
        for segment in 2..100 {
            bench.ack(109, segment * MSS);
        }
        let sample = bench.ack(110, 101 * MSS);
        assert!(sample.rate <= 1_010_000, "{sample:?}");
    }

    #[test]
    fn an_interval_below_the_least_round_trip_tells_nothing() {
        let mut bench = Bench::new();
        bench.send(0);
        let sample = bench.ack(9, MSS);
        assert_eq!((sample.rate, sample.octets), (0, MSS));
    }

    #[test]
    fn samples_are_marked_until_the_bubble_is_out_of_the_pipe() {
        let mut bench = Bench::new();
        bench.send(0);
        bench.meter.starve(bench.board.in_flight());
        bench.send(1);
        assert!(!bench.ack(20, MSS).starved);
        assert!(bench.meter.is_starved());
        bench.send(20);
        assert!(bench.ack(21, 2 * MSS).starved);
        assert!(!bench.meter.is_starved());
        assert!(bench.ack(40, 3 * MSS).starved);
        bench.send(40);
        assert!(!bench.ack(60, 4 * MSS).starved);
    }

    #[test]
    fn a_loss_knows_what_was_in_flight_and_lost_with_it() {
        let mut bench = Bench::new();
        (0..4).for_each(|ms| bench.send(ms));
        let mut delivery = Delivery::new(at(20), Duration::MAX, None);
        let block = SackBlock {
            start: SeqNum::new(3000),
            end: SeqNum::new(4000),
        };
        bench.board.select(block, &mut delivery);
        let latest = delivery.latest.expect("delivered");
        let mut losses = std::vec::Vec::new();
        let meter = &mut bench.meter;
        bench
            .board
            .detect(&latest, MS, at(20), &mut |start, end, sent| {
                losses.push(meter.lose(start, end, sent));
            });
        let seen: std::vec::Vec<_> = losses
            .iter()
            .map(|loss| (loss.start.value(), loss.in_flight, loss.lost))
            .collect();
        assert_eq!(
            seen,
            [(0, 1000, 1000), (1000, 2000, 2000), (2000, 3000, 3000)]
        );
    }
}
