//! Addresses, networks and routers as they come and go.

use super::*;
use crate::wire::router::{Advertisement, Prefix};

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);

fn begun(identifiers: Identifiers) -> Autoconf {
    let config = Autoconfiguration {
        identifiers,
        probes: 1,
    };
    Autoconf::new(config, MAC, &[7; 32], Vec::new())
}

/// All steps until `end`, with their times.
fn steps(host: &mut Autoconf, end: Instant) -> Vec<(Instant, Step)> {
    let mut all = Vec::new();
    while let Some(at) = host.deadline().filter(|at| *at <= end) {
        all.extend(host.step(at).map(|step| (at, step)));
    }
    all
}

fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1000)
}

fn prefix(valid: u32, preferred: u32) -> Advertisement {
    Advertisement {
        lifetime: Duration::from_secs(1800),
        prefixes: Vec::from([Prefix {
            network: "2001:db8:7::".parse().unwrap(),
            length: 64,
            on_link: true,
            autonomous: true,
            valid: valid.into(),
            preferred: preferred.into(),
        }]),
        ..Advertisement::default()
    }
}

fn global(host: &Autoconf) -> Option<Own> {
    let made = host
        .addresses
        .iter()
        .find(|own| !own.address.is_unicast_link_local());
    made.copied()
}

#[test]
fn a_link_local_address_is_probed_before_it_is_ours() {
    let mut host = begun(Identifiers::Hardware);
    let own = "fe80::ff:fe00:1".parse().unwrap();
    let steps = steps(&mut host, at(3));
    let what: Vec<Step> = steps.iter().map(|(_, step)| *step).collect();
    assert_eq!(
        what,
        [
            Step::Listen(own),
            Step::Probe(own),
            Step::Assign(own),
            Step::Solicit
        ]
    );
    assert!(steps[0].0 < at(1));
    assert_eq!(steps[2].0, steps[1].0 + QUESTION_INTERVAL);
}

#[test]
fn routers_are_asked_for_ever_more_rarely() {
    // RFC 7559 §2.
    let mut host = begun(Identifiers::Opaque);
    let asked = steps(&mut host, at(40_000));
    let asked: Vec<_> = asked
        .iter()
        .filter(|(_, step)| *step == Step::Solicit)
        .collect();
    let gaps: Vec<f64> = asked
        .windows(2)
        .map(|pair| (pair[1].0 - pair[0].0).as_secs_f64())
        .collect();
    assert!((3.6..=4.4).contains(&gaps[0]), "{gaps:?}");
    for pair in gaps.windows(2).take(8) {
        let ratio = pair[1] / pair[0];
        assert!((1.8..=2.2).contains(&ratio), "{gaps:?}");
    }
    assert!(
        gaps.iter().all(|gap| *gap <= 3960.0) && gaps.len() > 15,
        "{gaps:?}"
    );
    let now = at(40_000);
    host.advertised(now, ROUTER, &prefix(0, 0));
    assert!(!steps(&mut host, at(60_000)).contains(&(now, Step::Solicit)));
    assert_eq!(host.solicit, None);
}

#[test]
fn an_opaque_address_that_is_somebody_s_is_made_anew_three_times() {
    let mut host = begun(Identifiers::Opaque);
    let mut tried = Vec::new();
    let mut now = at(0);
    host.step(now);
    while let Some(own) = host.addresses.first().copied() {
        assert!(host.is_tentative(own.address) && !tried.contains(&own.address));
        assert_eq!(host.conflict(now, own.address), Conflict::Lost);
        tried.push(own.address);
        now += Duration::from_secs(1);
    }
    assert_eq!(tried.len(), 4);
    assert_eq!(host.conflict(now, tried[0]), Conflict::None);
}

#[test]
fn opaque_identifiers_are_stable_in_a_network_and_differ_between_networks() {
    let host = begun(Identifiers::Opaque);
    let low = |network: &str| host.identify(network.parse().unwrap(), 0).0.to_bits() as u64;
    assert_eq!(low("2001:db8:1::"), low("2001:db8:1::5"));
    assert_ne!(low("2001:db8:1::"), low("2001:db8:2::"));
    assert!(is_reserved(0) && is_reserved(0xfdff_ffff_ffff_ffff) && !is_reserved(1));
}

#[test]
fn lifetimes_end_one_after_the_other() {
    let mut host = begun(Identifiers::Opaque);
    steps(&mut host, at(5));
    host.advertised(at(5), ROUTER, &prefix(300, 100));
    let own = global(&host).unwrap().address;
    let steps = steps(&mut host, at(3000));
    let when = |wanted| {
        steps
            .iter()
            .find(|(_, step)| *step == wanted)
            .map(|(at, _)| *at)
    };
    assert!(when(Step::Assign(own)) <= Some(at(7)));
    assert_eq!(when(Step::Deprecate(own)), Some(at(105)));
    assert_eq!(when(Step::Remove(own)), Some(at(305)));
    // The on-link prefix, then the router.
    let forgotten: Vec<_> = steps
        .iter()
        .filter(|(_, step)| *step == Step::Forget)
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(forgotten, [at(305), at(1805)]);
    assert_eq!(host.deadline(), None);
}

#[test]
fn a_valid_lifetime_is_not_cut_below_two_hours() {
    // RFC 4862 §5.5.3 (e): remaining, told, and what it is afterwards.
    for (remaining, told, after) in [
        (100_000, 200_000, 200_000),
        (100_000, 50_000, 50_000),
        (100_000, 10, 7200),
        (5000, 10, 5000),
        (5000, 6000, 6000),
        (5000, 8000, 8000),
    ] {
        let mut host = begun(Identifiers::Opaque);
        host.step(at(0));
        host.advertised(at(0), ROUTER, &prefix(remaining, 0));
        host.advertised(at(0), ROUTER, &prefix(told, 0));
        assert_eq!(
            global(&host).unwrap().valid,
            Some(at(after)),
            "{remaining} {told}"
        );
    }
    let mut host = begun(Identifiers::Opaque);
    host.advertised(at(0), ROUTER, &prefix(u32::MAX, u32::MAX));
    host.advertised(at(0), ROUTER, &prefix(0, 0));
    assert_eq!(global(&host).unwrap().valid, Some(at(7200)));
}

#[test]
fn nonsense_makes_no_address() {
    for (length, valid, preferred) in [(64, 10, 20), (48, 20, 10), (64, 0, 0)] {
        let mut host = begun(Identifiers::Opaque);
        let mut told = prefix(valid, preferred);
        told.prefixes[0].length = length;
        host.advertised(at(0), ROUTER, &told);
        assert!(global(&host).is_none(), "{length} {valid} {preferred}");
    }
}

#[test]
fn there_are_bounds() {
    let mut host = begun(Identifiers::Opaque);
    for number in 0..500u16 {
        let mut told = prefix(5000, 5000);
        told.prefixes[0].network = Ipv6Addr::new(0x2001, 0xdb8, number, 0, 0, 0, 0, 0);
        host.advertised(
            at(0),
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number),
            &told,
        );
    }
    let counts = (
        host.addresses.len(),
        host.prefixes.len(),
        host.routers.len(),
    );
    assert_eq!(counts, (MAX_ADDRESSES, MAX_PREFIXES, MAX_ROUTERS));
}

#[test]
fn a_router_that_does_not_answer_comes_last_and_one_that_retires_is_gone() {
    let mut host = begun(Identifiers::Opaque);
    let other = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x98);
    host.advertised(at(0), ROUTER, &prefix(0, 0));
    host.advertised(at(0), other, &prefix(0, 0));
    assert!(host.avoid(ROUTER.into()) && !host.avoid(Ipv6Addr::LOCALHOST.into()));
    assert_eq!(host.routers().next(), Some(other.into()));
    assert!(host.retire(other) && !host.retire(other));
    assert_eq!(host.routers().collect::<Vec<_>>(), [IpAddr::V6(ROUTER)]);
}
