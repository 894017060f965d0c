//! What each impairment does, and that a seed repeats it.

use super::*;
use crate::memory::{self, End};

const FRAMES: u32 = 2000;
const STEP: Duration = Duration::from_millis(1);

fn numbered(number: u32) -> Vec<u8> {
    let mut frame = vec![0; HEADER];
    frame.extend_from_slice(&number.to_be_bytes());
    frame.extend_from_slice(&[0x55; 96]);
    frame
}

fn drain(end: &mut End, arrived: &mut Vec<Vec<u8>>) {
    let mut buffer = BytesMut::new();
    while end.receive(&mut buffer).is_ok() {
        arrived.push(buffer.split().to_vec());
    }
}

/// Sends a frame every millisecond; returns what arrived, and when it had.
fn run(impairment: Impairment, seed: u64) -> (Vec<(Duration, Vec<u8>)>, Tally) {
    let (here, mut there) = memory::pair(64, 1500, Capabilities::ALL);
    let mut here = Impaired::new(here, impairment, seed);
    let mut arrivals = Vec::new();
    let mut collect = |now, there: &mut End| {
        let mut frames = Vec::new();
        drain(there, &mut frames);
        arrivals.extend(frames.into_iter().map(|frame| (now, frame)));
    };
    for number in 0..FRAMES {
        let now = STEP * number;
        while let Some(due) = here.deadline().filter(|due| *due <= now) {
            here.advance(due).unwrap();
            collect(due, &mut there);
        }
        here.advance(now).unwrap();
        here.send(&[IoSlice::new(&numbered(number))]).unwrap();
        collect(now, &mut there);
    }
    while let Some(due) = here.deadline() {
        here.advance(due).unwrap();
        collect(due, &mut there);
    }
    (arrivals, here.tally())
}

fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[HEADER..HEADER + 4].try_into().unwrap())
}

fn assert_near(count: u64, expected: f64) {
    let expected = expected * f64::from(FRAMES);
    // Six standard deviations of a binomial, rounded up: the seed is fixed, the bound only tells a broken die.
    let margin = 6.0 * (f64::from(FRAMES) * 0.25).sqrt();
    assert!(
        (count as f64 - expected).abs() < margin,
        "{count} of {FRAMES}, expected about {expected}"
    );
}

const BAD: Impairment = Impairment {
    loss: 0.1,
    duplication: 0.1,
    corruption: 0.1,
    reorder: 0.2,
    reorder_by: Duration::from_millis(15),
    delay: Duration::from_millis(20),
    jitter: Duration::from_micros(1500),
    rate: None,
};

#[test]
fn a_seed_repeats_everything_and_another_does_not() {
    assert_eq!(run(BAD, 7), run(BAD, 7));
    assert_ne!(run(BAD, 7).0, run(BAD, 8).0);
}

#[test]
fn a_perfect_line_passes_at_once_and_in_order() {
    let (arrivals, tally) = run(Impairment::default(), 1);
    for (index, (at, frame)) in arrivals.iter().enumerate() {
        assert_eq!((*at, frame), (STEP * index as u32, &numbered(index as u32)));
    }
    assert_eq!(
        tally,
        Tally {
            sent: FRAMES.into(),
            passed: FRAMES.into(),
            ..Tally::default()
        }
    );
}

#[test]
fn the_tally_accounts_for_every_frame() {
    let (arrivals, tally) = run(BAD, 3);
    assert_eq!(tally.passed, arrivals.len() as u64);
    assert_eq!(
        tally.sent + tally.duplicated,
        tally.passed + tally.lost + tally.overflowed
    );
    assert_near(tally.lost, BAD.loss);
    assert_near(tally.duplicated, BAD.duplication * (1.0 - BAD.loss));
    assert_near(tally.corrupted, BAD.corruption);
}

#[test]
fn loss_is_total_at_one() {
    let (arrivals, tally) = run(
        Impairment {
            loss: 1.0,
            ..Impairment::default()
        },
        1,
    );
    assert_eq!((arrivals.len(), tally.lost), (0, u64::from(FRAMES)));
}

#[test]
fn delay_and_jitter_keep_the_order() {
    let jitter = Duration::from_millis(9);
    let delay = Duration::from_millis(50);
    let (arrivals, _) = run(
        Impairment {
            delay,
            jitter,
            ..Impairment::default()
        },
        5,
    );
    assert_eq!(arrivals.len(), FRAMES as usize);
    for (index, (at, frame)) in arrivals.iter().enumerate() {
        assert_eq!(number(frame), index as u32);
        let took = *at - STEP * index as u32;
        assert!(
            (delay..=delay + jitter).contains(&took),
            "frame {index} took {took:?}"
        );
    }
}

#[test]
fn reordering_lets_others_overtake_by_no_more_than_its_bound() {
    let reorder_by = Duration::from_millis(10);
    let (arrivals, tally) = run(
        Impairment {
            reorder: 0.3,
            reorder_by,
            ..Impairment::default()
        },
        5,
    );
    assert_near(tally.reordered, 0.3);
    let inversions = arrivals
        .windows(2)
        .filter(|pair| number(&pair[0].1) > number(&pair[1].1))
        .count();
    assert!(inversions > 100, "{inversions} inversions");
    for (at, frame) in &arrivals {
        assert!(*at - STEP * number(frame) <= reorder_by);
    }
}

#[test]
fn corruption_flips_one_bit_behind_the_header() {
    let (arrivals, _) = run(
        Impairment {
            corruption: 1.0,
            ..Impairment::default()
        },
        5,
    );
    let mut places = std::collections::HashSet::new();
    for (index, (_, frame)) in arrivals.iter().enumerate() {
        let intact = numbered(index as u32);
        let flipped: u32 = frame
            .iter()
            .zip(&intact)
            .map(|(a, b)| (a ^ b).count_ones())
            .sum();
        assert_eq!(flipped, 1);
        assert_eq!(frame[..HEADER], intact[..HEADER]);
        places.insert(frame.iter().zip(&intact).position(|(a, b)| a != b));
    }
    assert!(
        places.len() > 80,
        "bits flip in {} of 100 bytes",
        places.len()
    );
}

#[test]
fn a_link_that_corrupts_offers_no_offload() {
    let corrupting = Impairment {
        corruption: 0.01,
        ..Impairment::default()
    };
    let (inner, _) = memory::pair(1, 1500, Capabilities::ALL);
    let mut link = Impaired::new(inner, corrupting, 0);
    assert_eq!(link.capabilities(), Capabilities::NONE);
    link.impair(Impairment {
        loss: 0.5,
        ..Impairment::default()
    });
    assert_eq!(link.capabilities(), Capabilities::ALL);
}

#[test]
fn a_slow_line_spaces_frames_and_drops_past_its_queue() {
    // 100 bytes = 800 bits every 2 ms; offered every 1 ms: half of it passes once 20 ms are queued.
    let bits_per_second = NonZeroU64::new(400_000).unwrap();
    let rate = Some(Rate {
        bits_per_second,
        queue: Duration::from_millis(20),
    });
    let (arrivals, tally) = run(
        Impairment {
            rate,
            ..Impairment::default()
        },
        5,
    );
    for pair in arrivals.windows(2) {
        assert_eq!(pair[1].0 - pair[0].0, Duration::from_millis(2));
    }
    let passed = tally.passed as i64 - i64::from(FRAMES) / 2;
    assert!((0..=15).contains(&passed), "{tally:?}");
    assert_eq!(tally.passed + tally.overflowed, tally.sent);
}

#[test]
fn an_inner_link_without_room_drops() {
    let (here, _there) = memory::pair(3, 1500, Capabilities::ALL);
    let mut here = Impaired::new(here, Impairment::default(), 0);
    for number in 0..5 {
        here.send(&[IoSlice::new(&numbered(number))]).unwrap();
    }
    assert_eq!((here.tally().passed, here.tally().overflowed), (3, 2));
}

#[test]
fn time_does_not_go_backwards() {
    let (here, mut there) = memory::pair(3, 1500, Capabilities::ALL);
    let delay = Duration::from_millis(5);
    let mut here = Impaired::new(
        here,
        Impairment {
            delay,
            ..Impairment::default()
        },
        0,
    );
    here.advance(Duration::from_millis(10)).unwrap();
    here.advance(Duration::from_millis(2)).unwrap();
    here.send(&[IoSlice::new(&numbered(0))]).unwrap();
    assert_eq!(here.deadline(), Some(Duration::from_millis(15)));
    here.advance(Duration::from_millis(15)).unwrap();
    let mut arrived = Vec::new();
    drain(&mut there, &mut arrived);
    assert_eq!(arrived.len(), 1);
}

#[test]
fn a_frame_of_nothing_but_its_header_passes() {
    let (here, mut there) = memory::pair(3, 1500, Capabilities::ALL);
    let mut here = Impaired::new(
        here,
        Impairment {
            corruption: 1.0,
            ..Impairment::default()
        },
        0,
    );
    here.send(&[IoSlice::new(&[0; HEADER])]).unwrap();
    let mut arrived = Vec::new();
    drain(&mut there, &mut arrived);
    assert_eq!(arrived, [vec![0; HEADER]]);
}
