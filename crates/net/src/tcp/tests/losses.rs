//! What is sent when segments are lost, or seem to be, one behaviour each.

use alloc::vec::Vec;

use bytes::Bytes;

use super::peer::{MS, Peer, offer};
use crate::tcp::{Config, Outgoing};
use crate::wire::tcp::{Flags, SeqNum};

fn numbers(segments: &[Outgoing]) -> Vec<SeqNum> {
    segments.iter().map(|segment| segment.control.seq).collect()
}

/// RFC 3042 §2: each of the first two duplicate acknowledgments lets one new segment go, with the window as it was.
#[test]
fn the_first_duplicates_send_new_data() {
    for sack in [true, false] {
        let options = crate::wire::tcp::Options {
            sack_permitted: sack,
            ..offer()
        };
        let (mut peer, _) = Peer::half_open(&Config::default(), options);
        peer.now += 10 * MS;
        peer.acknowledge();
        peer.write(30_000);
        let flight = peer.drain();
        assert_eq!(flight.len(), 10);
        let at = |n: usize| flight[0].control.seq + 1000 * n;
        peer.now += 10 * MS;
        for duplicate in 1..=2 {
            if sack {
                peer.acknowledge_blocks(&[(at(1), at(1 + duplicate))]);
            } else {
                peer.acknowledge();
            }
            let said = peer.drain();
            assert_eq!(numbers(&said), [at(9 + duplicate)], "SACK: {sack}");
        }
    }
}

/// RFC 6937 §3.1: while less is in flight than the threshold wants, what is delivered lets as much go, and one segment more with
/// acknowledgments that bring progress (slow start reduction bound).
#[test]
fn a_flight_below_the_threshold_grows_back_by_one_segment_per_acknowledgment() {
    let mut peer = Peer::established();
    peer.warm(1);
    peer.write(60_000);
    let flight = peer.drain();
    let at = |n: usize| flight[0].control.seq + 1000 * n;
    assert!(flight.len() >= 20, "{}", flight.len());
    // Two thirds of the flight are lost at once: far below the threshold.
    let lost = flight.len() * 2 / 3;
    peer.now += 10 * MS;
    peer.acknowledge_blocks(&[(at(lost), at(flight.len()))]);
    let first = peer.drain();
    assert!(
        first
            .iter()
            .all(|segment| segment.control.seq.before(at(lost)))
    );
    let delivered = flight.len() - lost;
    assert!(
        first.len() <= delivered,
        "{} after {delivered}",
        first.len()
    );
    peer.now += 10 * MS;
    for _ in 0..first.len() / 2 {
        peer.ack += 1000;
        peer.acknowledge_blocks(&[(at(lost), at(flight.len()))]);
        let said = peer.drain();
        assert!((1..=2).contains(&said.len()), "{}", said.len());
    }
}

/// RFC 6298 §5.4–§5.6 with RFC 3522: a timeout for mere delay sends one segment again, and the late acknowledgment of the original
/// ends it: what else was sent is not sent again, and the window is as before.
#[test]
fn a_timeout_for_mere_delay_repeats_one_segment() {
    for timestamps in [true, false] {
        let options = crate::wire::tcp::Options {
            timestamps: timestamps.then_some(crate::wire::tcp::Timestamps {
                value: 1000,
                echo: 0,
            }),
            ..offer()
        };
        let mut peer = Peer::accepted(&Config::default(), options);
        peer.warm(1);
        let size = if timestamps { 988 } else { 1000 };
        peer.write(13 * size);
        let flight = peer.drain();
        let echo = flight[0].control.options.timestamps;
        while peer.drain().is_empty() {
            peer.expire(); // The tail is probed first, then comes the timeout.
        }
        peer.expire();
        let again = peer.drain();
        assert_eq!(numbers(&again), [flight[0].control.seq], "{timestamps}");
        peer.write(40 * size);
        peer.now += 10 * MS;
        let end = flight[12].control.seq + size;
        let mut said = Vec::new();
        for segment in &flight {
            peer.take(segment);
            let mut late = peer.control(Flags::ACK);
            if let (Some(stamps), Some(echo)) = (&mut late.options.timestamps, echo) {
                stamps.echo = echo.value;
            }
            peer.inject(late, Bytes::new());
            said.extend(numbers(&peer.drain()));
        }
        assert!(
            said.iter().all(|seq| !seq.before(end)),
            "timestamps: {timestamps}"
        );
        let out = said.len();
        assert!(out >= 20, "timestamps: {timestamps}, {out} segments");
    }
}
