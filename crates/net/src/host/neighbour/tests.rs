//! The neighbour cache, state by state.

use super::*;
use crate::frame::Offload;
use bytes::Bytes;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
const MOVED: Mac = Mac([2, 0, 0, 0, 0, 10]);

fn waiting() -> Waiting {
    let frame = Frame::from_ethernet(Bytes::from_static(&[0; 14]), Offload::default());
    Waiting {
        frame,
        socket: None,
    }
}

fn address(last: u32) -> IpAddr {
    IpAddr::V4(core::net::Ipv4Addr::from_bits(0x0a00_0000 + last))
}

fn told(mac: Option<Mac>, solicited: bool, overrides: bool) -> Advertised {
    Advertised {
        mac,
        solicited,
        overrides,
    }
}

fn cache() -> Neighbours {
    Neighbours::new(Keyed::new(&[7; 32]))
}

/// A cache with one neighbour in a state.
fn in_state(state: State) -> Neighbours {
    let mut cache = cache();
    cache.heard(Instant::ZERO, address(1), MAC);
    cache.turn(address(1), MAC, state);
    cache
}

fn state(cache: &Neighbours) -> Option<(Mac, State)> {
    match cache.entries.get(&address(1))? {
        Entry::Known { mac, state } => Some((*mac, *state)),
        Entry::Incomplete { .. } => None,
    }
}

#[test]
fn a_neighbour_is_asked_for_three_times_while_frames_wait() {
    let mut cache = cache();
    let mut now = Instant::ZERO;
    let way = |cache: &mut Neighbours, now| cache.way(now, address(1), waiting());
    assert!(matches!(way(&mut cache, now), (Way::Ask, None)));
    assert!(matches!(way(&mut cache, now), (Way::Asked, None)));
    for _ in 0..2 {
        now = cache.deadline().unwrap();
        assert!(matches!(cache.expire(now), Some(Due::Ask(_))));
    }
    now = cache.deadline().unwrap();
    assert_eq!(now, Instant::from_millis(3000));
    assert!(matches!(cache.expire(now), Some(Due::Unanswered(_, waiting)) if waiting.len() == 2));
    assert!(cache.deadline().is_none() && cache.entries.is_empty() && cache.waiting == 0);
}

#[test]
fn an_answer_releases_who_waits() {
    let mut cache = cache();
    let now = Instant::ZERO;
    for _ in 0..MAX_WAITING {
        let _ = cache.way(now, address(1), waiting());
    }
    let full = cache.way(now, address(1), waiting());
    assert!(matches!(full, (Way::Full, None)));
    let silent = cache.advertised(now, address(1), told(None, true, true));
    assert!(silent.is_empty());
    let released = cache.advertised(now, address(1), told(Some(MAC), true, true));
    assert_eq!(released.len(), MAX_WAITING);
    let way = cache.way(now, address(1), waiting());
    assert!(matches!(way, (Way::Known(MAC), Some(_))));
    assert!(cache.deadline().is_none() && cache.waiting == 0);
}

#[test]
fn frames_that_wait_have_a_bound_over_all_neighbours() {
    let mut cache = cache();
    let full = (0..3000).filter(|last| {
        let way = cache.way(Instant::ZERO, address(*last), waiting());
        matches!(way, (Way::Full, None))
    });
    assert_eq!(full.count(), 3000 - MAX_WAITING_ALL);
}

#[test]
fn a_stale_neighbour_that_is_used_is_asked_itself_and_then_forgotten() {
    // RFC 4861 §7.3.3.
    let mut cache = in_state(State::Reachable(Instant::ZERO + REACHABLE));
    let used = Instant::ZERO + REACHABLE;
    assert_eq!(cache.deadline(), None);
    let way = cache.way(used, address(1), waiting());
    assert!(matches!(way, (Way::Known(MAC), Some(_))));
    assert_eq!(cache.deadline(), Some(used + DELAY));
    let mut now = used + DELAY;
    for _ in 0..MAX_QUESTIONS {
        assert!(matches!(cache.expire(now), Some(Due::Probe(_, MAC))));
        assert!(cache.expire(now).is_none() && cache.has_doubts());
        let way = cache.way(now, address(1), waiting());
        assert!(matches!(way, (Way::Known(MAC), Some(_))));
        now += QUESTION_INTERVAL;
    }
    assert!(matches!(cache.expire(now), Some(Due::Unanswered(..))));
    assert!(cache.entries.is_empty() && !cache.has_doubts() && cache.due.is_empty());
}

#[test]
fn progress_confirms() {
    let now = Instant::from_millis(7);
    let reachable = Some((MAC, State::Reachable(now + REACHABLE)));
    let probe = State::Probe {
        questions: 2,
        at: now,
    };
    for before in [State::Stale, State::Delay(now), probe] {
        let mut cache = in_state(before);
        cache.confirm(now, address(1));
        assert_eq!(state(&cache), reachable);
        assert!(cache.due.is_empty() && !cache.has_doubts());
    }
}

#[test]
fn advertisements_do_what_their_flags_say() {
    // RFC 4861 appendix C, rows "Neighbor advertisement".
    let now = Instant::from_millis(7);
    let (until, later) = (State::Reachable(now), State::Reachable(now + REACHABLE));
    for (before, told, after) in [
        (until, told(Some(MOVED), false, false), (MAC, State::Stale)),
        (until, told(Some(MOVED), true, false), (MAC, State::Stale)),
        (
            State::Stale,
            told(Some(MOVED), true, false),
            (MAC, State::Stale),
        ),
        (
            State::Stale,
            told(Some(MOVED), false, true),
            (MOVED, State::Stale),
        ),
        (until, told(Some(MOVED), false, true), (MOVED, State::Stale)),
        (until, told(Some(MOVED), true, true), (MOVED, later)),
        (State::Stale, told(Some(MAC), true, false), (MAC, later)),
        (State::Stale, told(None, true, false), (MAC, later)),
        (
            State::Stale,
            told(Some(MAC), false, true),
            (MAC, State::Stale),
        ),
        (until, told(Some(MAC), false, false), (MAC, until)),
        (until, told(None, false, false), (MAC, until)),
    ] {
        let mut cache = in_state(before);
        cache.advertised(now, address(1), told);
        assert_eq!(state(&cache), Some(after), "{before:?} {told:?}");
    }
    let mut cache = cache();
    cache.advertised(now, address(1), told(Some(MAC), true, true));
    assert!(cache.entries.is_empty());
}

#[test]
fn an_unasked_advertisement_ends_the_waiting_without_confirming() {
    let mut cache = cache();
    let _ = cache.way(Instant::ZERO, address(1), waiting());
    let told = told(Some(MAC), false, true);
    assert_eq!(cache.advertised(Instant::ZERO, address(1), told).len(), 1);
    assert_eq!(state(&cache), Some((MAC, State::Stale)));
}

#[test]
fn frames_whose_neighbour_makes_room_are_counted() {
    let mut cache = cache();
    let _ = cache.way(Instant::ZERO, address(1), waiting());
    for last in 2..2000 {
        cache.heard(Instant::ZERO, address(last), MAC);
    }
    assert_eq!(
        (cache.take_evicted(), cache.take_evicted(), cache.waiting),
        (1, 0, 0)
    );
}

#[test]
fn strangers_are_not_remembered_and_there_is_a_bound() {
    let mut cache = cache();
    cache.overheard(Instant::ZERO, address(1), MAC);
    assert!(cache.entries.is_empty());
    for last in 0..3000 {
        cache.heard(Instant::ZERO, address(last), MAC);
    }
    assert_eq!(
        (cache.entries.len(), cache.order.len()),
        (MAX_NEIGHBOURS, MAX_NEIGHBOURS)
    );
    assert!(cache.entries.contains_key(&address(2999)) && !cache.entries.contains_key(&address(0)));
}
