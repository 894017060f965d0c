//! Reports about groups: what is said, and when.

use super::*;

const GROUP: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(239, 1, 2, 3));
const OTHER: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(239, 1, 2, 4));

fn groups() -> Groups {
    let mut groups = Groups::new(&[7; 32]);
    groups
        .join(Instant::ZERO, GROUP, Member::Host, Telling::Quiet)
        .unwrap();
    groups
}

fn question(version: Version, group: Option<IpAddr>) -> Question {
    Question {
        version,
        group,
        response: Duration::from_secs(10),
        robustness: 2,
        interval: Duration::from_secs(125),
        sources: Vec::new(),
    }
}

/// All reports until `end`, with their times.
fn reports(groups: &mut Groups, end: Instant) -> Vec<(Instant, Report)> {
    let mut all = Vec::new();
    while let Some(at) = groups.deadline().filter(|at| *at <= end) {
        all.extend(groups.report(at).map(|report| (at, report)));
    }
    all
}

fn record(filter: Filter, group: IpAddr) -> Report {
    Report::Records(Vec::from([(filter, group, Vec::new())]))
}

#[test]
fn joining_and_leaving_are_told_twice() {
    let mut groups = Groups::new(&[7; 32]);
    let now = Instant::from_millis(5);
    groups
        .join(now, GROUP, Member::Host, Telling::Aloud)
        .unwrap();
    let told = reports(&mut groups, now + Duration::from_secs(60));
    assert_eq!((told.len(), told[0].0), (2, now));
    assert!(told[1].0 <= now + CHANGE_INTERVAL);
    assert!(
        told.iter()
            .all(|(_, report)| *report == record(Filter::ToExclude, GROUP))
    );
    groups.leave(now, GROUP, Member::Host);
    assert!(!groups.hears(GROUP));
    let told = reports(&mut groups, now + Duration::from_secs(60));
    assert!(
        told.iter()
            .all(|(_, report)| *report == record(Filter::ToInclude, GROUP))
    );
    assert_eq!((told.len(), groups.groups.len()), (2, 0));
}

#[test]
fn who_leaves_while_joining_is_told_reports_the_leaving_only() {
    let mut groups = Groups::new(&[7; 32]);
    let now = Instant::ZERO;
    groups
        .join(now, GROUP, Member::Host, Telling::Aloud)
        .unwrap();
    assert!(groups.report(now).is_some());
    groups.leave(now, GROUP, Member::Host);
    let told = reports(&mut groups, now + Duration::from_secs(60));
    assert!(
        told.iter()
            .all(|(_, report)| *report == record(Filter::ToInclude, GROUP))
    );
    assert_eq!(told.len(), 2);
}

#[test]
fn a_general_query_is_answered_once_for_all_groups() {
    let mut groups = groups();
    groups
        .join(Instant::ZERO, OTHER, Member::Host, Telling::Quiet)
        .unwrap();
    let quiet = IpAddr::V4(crate::wire::igmp::ALL_SYSTEMS);
    groups
        .join(Instant::ZERO, quiet, Member::Host, Telling::Aloud)
        .unwrap();
    groups.ask(Instant::ZERO, false, &question(Version::Current, None));
    groups.ask(Instant::ZERO, false, &question(Version::Current, None));
    let told = reports(&mut groups, Instant::from_millis(10_000));
    let record = |group| (Filter::IsExclude, group, Vec::new());
    let all = Report::Records(Vec::from([record(GROUP), record(OTHER)]));
    assert_eq!(
        told.into_iter()
            .map(|(_, report)| report)
            .collect::<Vec<_>>(),
        [all]
    );
}

#[test]
fn sources_that_are_asked_for_are_heard_unless_everything_is_asked_for() {
    let sources = |last: u8| IpAddr::from([10, 0, 0, last]);
    let ask = |groups: &mut Groups, sources: Vec<IpAddr>| {
        let question = Question {
            sources,
            ..question(Version::Current, Some(GROUP))
        };
        groups.ask(Instant::ZERO, false, &question);
    };
    let mut groups = groups();
    ask(&mut groups, Vec::from([sources(1)]));
    ask(&mut groups, Vec::from([sources(1), sources(2)]));
    let told = reports(&mut groups, Instant::from_millis(10_000));
    let both = Vec::from([sources(1), sources(2)]);
    let included = Report::Records(Vec::from([(Filter::IsInclude, GROUP, both)]));
    assert_eq!((told.len(), &told[0].1), (1, &included));
    ask(&mut groups, Vec::from([sources(1)]));
    ask(&mut groups, Vec::new());
    let told = reports(&mut groups, Instant::from_millis(10_000));
    assert_eq!(
        (told.len(), &told[0].1),
        (1, &record(Filter::IsExclude, GROUP))
    );
    ask(&mut groups, (0..200).map(sources).collect());
    ask(&mut groups, (100..255).map(sources).collect());
    let answer = groups.groups[&GROUP].answer.as_ref().unwrap();
    assert_eq!(answer.sources.len(), MAX_SOURCES);
}

#[test]
fn an_older_router_is_answered_in_its_version_as_long_as_it_is_heard() {
    for (version, farewell) in [(Version::First, 0), (Version::Older, 1)] {
        let mut groups = groups();
        groups.ask(Instant::ZERO, false, &question(version, None));
        let told = reports(&mut groups, Instant::from_millis(10_000));
        assert_eq!(
            (told.len(), &told[0].1),
            (1, &Report::Heard(version, GROUP))
        );
        // Another host was faster.
        groups.ask(Instant::ZERO, false, &question(version, Some(GROUP)));
        groups.overhear(Instant::ZERO, GROUP);
        assert_eq!(groups.deadline(), None);
        let later = Instant::from_millis(259_000);
        groups.leave(later, GROUP, Member::Host);
        let told = reports(&mut groups, later + OLD_CHANGE_INTERVAL);
        assert_eq!((told.len(), groups.groups.len()), (farewell, 0));
        let gone = Instant::from_millis(260_000);
        groups
            .join(gone, GROUP, Member::Host, Telling::Aloud)
            .unwrap();
        assert_eq!(groups.report(gone), Some(record(Filter::ToExclude, GROUP)));
        groups.ask(gone, false, &question(Version::Current, Some(GROUP)));
        groups.overhear(gone, GROUP);
        assert!(groups.deadline().is_some());
    }
}

#[test]
fn there_is_a_bound() {
    let mut groups = Groups::new(&[7; 32]);
    let joined = (0..1000u32).filter(|last| {
        let address = IpAddr::V4(core::net::Ipv4Addr::from_bits(0xef00_0000 + last));
        groups
            .join(Instant::ZERO, address, Member::Host, Telling::Quiet)
            .is_ok()
    });
    assert_eq!(joined.count(), MAX_GROUPS);
}
