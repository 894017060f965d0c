//! What is outstanding, lost and found again.

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
