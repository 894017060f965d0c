//! What the record makes of calls, of the kernel's list, and of rules.

use std::num::NonZeroU16;

use wharf_port::Domain;
use wharf_port::table;

use super::*;
use crate::binding::policy::Rule;
use crate::list::diag;

fn socket(cookie: u64) -> Socket {
    Socket {
        protocol: Protocol::Tcp,
        domain: Domain::V4,
        reuse: Reuse::Nothing,
        cookie,
        inode: 1000 + cookie,
        multipath: false,
    }
}

fn deed(socket: Socket) -> Deed {
    Deed {
        socket,
        caller: Caller {
            thread: 42,
            run: "run".into(),
        },
        at: Timestamp::UNIX_EPOCH,
    }
}

fn place(port: u16) -> Place {
    Place::new([127, 0, 0, 1].into(), port).unwrap()
}

fn row(cookie: u64, port: u16) -> diag::Socket {
    diag::Socket {
        protocol: Protocol::Tcp,
        address: [127, 0, 0, 1].into(),
        port: NonZeroU16::new(port).unwrap(),
        state: diag::State::Listening,
        peer: None,
        expires: None,
        waiting: 0,
        ipv6_only: None,
        inode: 1000 + cookie,
        uid: 0,
        cookie,
        cgroup: None,
        carried: None,
    }
}

/// Which socket had what happen to it, since this was asked last.
fn happened(record: &mut Record) -> Vec<(u64, table::Event)> {
    let (changes, missed) = record.changes();
    assert_eq!(missed, 0);
    let each = changes.into_iter();
    each.map(|change| (change.holding.owner.socket.cookie, change.event))
        .collect()
}

use table::Event::{Bound, Listening, Released};

#[test]
fn a_sockets_life_is_told_once() {
    let mut record = Record::new();
    record.bound(&deed(socket(1)), place(3000));
    for _ in 0..2 {
        record.listens(&deed(socket(1)), place(3000));
    }
    assert_eq!(happened(&mut record), [(1, Bound), (1, Listening)]);
    assert_eq!(record.socket(1), Some(socket(1)));
    record.released(1);
    record.released(1);
    assert_eq!(record.socket(1), None);
    assert_eq!(happened(&mut record), [(1, Released)]);
    assert!(record.table.is_empty() && record.holds.is_empty());
}

#[test]
fn a_socket_that_only_listens_was_bound_by_that() {
    let mut record = Record::new();
    record.listens(&deed(socket(1)), place(49_152));
    assert_eq!(happened(&mut record), [(1, Bound), (1, Listening)]);
}

#[test]
fn a_socket_with_another_port_has_let_go_of_the_first() {
    let mut record = Record::new();
    record.bound(&deed(socket(1)), place(3000));
    record.bound(&deed(socket(1)), place(3001));
    assert_eq!(
        happened(&mut record),
        [(1, Bound), (1, Released), (1, Bound)]
    );
    assert_eq!(record.all().count(), 1);
}

#[test]
fn what_the_kernel_let_share_shares_and_is_looked_at() {
    let mut record = Record::new();
    // No rule lets these three have one place; the ends of some weren't heard yet.
    for cookie in 1..=3 {
        record.bound(&deed(socket(cookie)), place(3000));
        record.listens(&deed(socket(cookie)), place(3000));
    }
    assert_eq!(record.all().count(), 3);
    assert!(record.doubtful());
    assert!(!record.doubtful(), "asked once");
    let age = record.age();
    record.compare(&[row(3, 3000)], age, Timestamp::UNIX_EPOCH);
    let left: Vec<_> = record.all().map(|it| it.owner.socket.cookie).collect();
    assert_eq!(left, [3]);
}

#[test]
fn a_comparison_finds_what_nobody_announced_and_drops_what_is_gone() {
    let mut record = Record::new();
    record.listens(&deed(socket(1)), place(3000));
    record.bound(&deed(socket(2)), place(3001));
    happened(&mut record);
    let age = record.age();
    // Younger than the list.
    record.listens(&deed(socket(4)), place(3003));
    happened(&mut record);
    let listed = [row(3, 3002)];
    record.compare(&listed, age, Timestamp::UNIX_EPOCH);
    let told = happened(&mut record);
    assert_eq!(told, [(1, Released), (3, Bound), (3, Listening)]);
    record.compare(&listed, age, Timestamp::UNIX_EPOCH);
    assert_eq!(happened(&mut record), []);
    assert_eq!(record.since(3), None, "when it came is not known");
    assert_eq!(record.since(4), Some(Timestamp::UNIX_EPOCH));
    // One that is bound and doesn't listen is in no list.
    assert_eq!(record.unlisted(age), [(1002, 2)]);
}

#[test]
fn a_multipath_socket_is_known_by_both_cookies() {
    let mut record = Record::new();
    let multipath = Socket {
        multipath: true,
        ..socket(1)
    };
    record.listens(&deed(multipath), place(3000));
    assert!(record.doubtful());
    happened(&mut record);
    let listed = diag::Socket {
        inode: 1001,
        ..row(9, 3000)
    };
    for _ in 0..2 {
        let age = record.age();
        record.compare(&[listed], age, Timestamp::UNIX_EPOCH);
    }
    assert_eq!(happened(&mut record), []);
    assert_eq!(record.since(9), Some(Timestamp::UNIX_EPOCH));
    record.released(9);
    assert_eq!(happened(&mut record), [(1, Released)]);
    assert!(record.holds.is_empty());
}

#[test]
fn who_is_in_the_way_is_found_by_cover() {
    let mut record = Record::new();
    record.bound(&deed(socket(1)), place(3000));
    let wildcard = Place::new([0, 0, 0, 0].into(), 3000).unwrap();
    let found = record.in_the_way(&socket(2), wildcard);
    assert_eq!(found[0].owner.socket.cookie, 1);
    let elsewhere = Place::new([127, 0, 0, 2].into(), 3000).unwrap();
    assert!(record.in_the_way(&socket(2), elsewhere).is_empty());
    assert!(record.in_the_way(&socket(1), wildcard).is_empty(), "itself");
}

#[test]
fn the_same_refusal_is_noted_once_a_second_and_not_without_end() {
    let mut record = Record::new();
    let at = |seconds| Deed {
        at: Timestamp::new(seconds, 0).unwrap(),
        ..deed(socket(1))
    };
    for seconds in [5, 5, 6] {
        record.refused(at(seconds), Asker::default(), place(3000), Obstacle::Taken);
    }
    record.refused(at(6), Asker::default(), place(3001), Obstacle::Taken);
    assert_eq!(record.conflicts().len(), 3);
    for port in 1..2000 {
        record.refused(at(9), Asker::default(), place(port), Obstacle::Taken);
    }
    assert_eq!(record.conflicts().len(), CONFLICTS_KEPT);
}

fn rule(first: u16, last: u16, note: &str) -> Rule {
    let [first, last] = [first, last].map(|port| NonZeroU16::new(port).unwrap());
    Rule {
        first,
        last,
        note: note.to_owned(),
    }
}

#[test]
fn rules_hold_until_others_come() {
    let mut record = Record::new();
    let port = |number| Port::new(number).unwrap();
    let policy = Policy {
        reserved: vec![rule(5432, 5439, "postgres")],
        forbidden: vec![rule(22, 22, "no")],
    };
    record.set_policy(policy).unwrap();
    for protocol in Protocol::ALL {
        let verdict = |number| record.verdict(protocol, port(number));
        assert_eq!(verdict(5433), Verdict::Reserved("postgres".into()));
        assert_eq!(verdict(22), Verdict::Forbidden("no".into()));
        assert_eq!(verdict(5440), Verdict::Free);
    }
    // The one that may have it is noted like any other.
    record.bound(&deed(socket(1)), place(5432));
    assert_eq!(happened(&mut record), [(1, Bound)]);
    let overlapping = Policy {
        reserved: vec![rule(80, 90, "a"), rule(85, 85, "b")],
        forbidden: Vec::new(),
    };
    record.set_policy(overlapping).unwrap_err();
    assert_eq!(record.verdict(Protocol::Tcp, port(80)), Verdict::Free);
    assert_eq!(record.verdict(Protocol::Tcp, port(5432)), Verdict::Free);
}

#[test]
fn changes_that_nobody_asked_for_are_missed_and_counted() {
    let mut record = Record::new();
    for _ in 0..CHANGES_KEPT {
        record.bound(&deed(socket(1)), place(3000));
        record.released(1);
    }
    let (changes, missed) = record.changes();
    assert_eq!((changes.len(), missed), (CHANGES_KEPT, CHANGES_KEPT as u64));
}
