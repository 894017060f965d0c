//! What surrounds the rule: groups that share, choices, reservations, lists, the feed, deadlines, sentences.

#![allow(clippy::unwrap_used, reason = "what does not unwrap fails the test")]

use std::collections::{BTreeMap, BTreeSet};

use wharf_port::table::{
    BindError, Config, Cursor, Event, InUse, Match, Moment, Request, Right, State, Why,
};
use wharf_port::{
    Device, Domain, End, Endpoint, Flow, Hold, Local, Port, PortRange, Protocol, Reuse, Table,
};

const TCP: Request = Request::new(Protocol::Tcp, Domain::V4);

fn table() -> Table<&'static str> {
    Table::new(&Config::new([5; 32]))
}

fn local(text: &str) -> Local {
    text.parse().unwrap()
}

fn range(text: &str) -> PortRange {
    text.parse().unwrap()
}

fn open_at(
    table: &mut Table<&'static str>,
    request: Request,
    at: &str,
    owner: &'static str,
) -> Hold {
    let hold = table.open(request, owner);
    table.bind(hold, local(at)).unwrap();
    if request.protocol == Protocol::Tcp {
        table.listen(hold).unwrap();
    }
    hold
}

fn in_use(error: BindError<&'static str>) -> InUse<&'static str> {
    match error {
        BindError::InUse(error) => error,
        other => panic!("{other}"),
    }
}

fn refused(table: &mut Table<&'static str>, request: Request, at: &str) -> BindError<&'static str> {
    let hold = table.open(request, "newcomer");
    let error = table.bind(hold, local(at)).unwrap_err();
    table.release(hold);
    error
}

fn flow(number: u32) -> Flow {
    let remote = Endpoint::new([10, 9, (number >> 8) as u8, number as u8].into(), Port::MAX);
    Flow {
        protocol: Protocol::Tcp,
        local: "127.0.0.1:80".parse().unwrap(),
        remote,
    }
}

#[test]
fn a_group_of_a_thousand_shares_its_flows_evenly_and_survives_leaving() {
    let mut table: Table<u32> = Table::new(&Config::new([8; 32]));
    let request = Request {
        reuse: Reuse::Port,
        ..TCP
    };
    let mut holds: Vec<Hold> = Vec::new();
    for owner in 0..1000 {
        let hold = table.open(request, owner);
        table.bind(hold, local("0.0.0.0:80")).unwrap();
        table.listen(hold).unwrap();
        holds.push(hold);
    }
    let mut picked: BTreeMap<u32, u32> = BTreeMap::new();
    for number in 0..50_000 {
        let owner = *table.who(&flow(number)).unwrap().owner;
        *picked.entry(owner).or_default() += 1;
    }
    assert_eq!(picked.len(), 1000);
    assert!(
        picked.values().all(|&count| (10..=110).contains(&count)),
        "{picked:?}"
    );

    for hold in holds.iter().skip(1).step_by(2) {
        table.release(*hold);
    }
    for number in 0..5_000 {
        assert_eq!(*table.who(&flow(number)).unwrap().owner % 2, 0);
    }
    for hold in holds.iter().step_by(2) {
        table.release(*hold);
    }
    assert!(table.who(&flow(0)).is_none() && table.is_tidy());
}

#[test]
fn which_member_gets_a_flow_depends_on_the_seed() {
    let picks = |seed: u8| {
        let mut table: Table<u32> = Table::new(&Config::new([seed; 32]));
        for owner in 0..16 {
            let hold = table.open(
                Request {
                    reuse: Reuse::Port,
                    ..TCP
                },
                owner,
            );
            table.bind(hold, local("0.0.0.0:80")).unwrap();
            table.listen(hold).unwrap();
        }
        (0..64)
            .map(|number| *table.who(&flow(number)).unwrap().owner)
            .collect::<Vec<u32>>()
    };
    assert_eq!(picks(1), picks(1));
    assert_ne!(picks(1), picks(2));
}

#[test]
fn packets_go_to_the_flow_then_the_endpoint_then_a_wildcard() {
    let mut table = table();
    let share = Reuse::Port;
    let v4 = Request {
        reuse: share,
        ..TCP
    };
    let dual = Request {
        reuse: share,
        ..Request::new(Protocol::Tcp, Domain::Dual)
    };
    let any = open_at(&mut table, dual, "[::]:80", "dual");
    assert_eq!(*table.who(&flow(1)).unwrap().owner, "dual");
    open_at(&mut table, v4, "0.0.0.0:80", "v4");
    let found = table.who(&flow(1)).unwrap();
    assert_eq!((*found.owner, found.by), ("v4", Match::Wildcard));
    let exact = open_at(&mut table, dual, "[::ffff:127.0.0.1]:80", "mapped");
    let found = table.who(&flow(1)).unwrap();
    assert_eq!((*found.owner, found.by), ("mapped", Match::Endpoint));
    table.accept(exact, &flow(1), "session").unwrap();
    let found = table.who(&flow(1)).unwrap();
    assert_eq!((*found.owner, found.by), ("session", Match::Flow));
    assert_eq!(*table.who(&flow(2)).unwrap().owner, "mapped");
    table.release(exact);
    table.release(any);
    assert_eq!(*table.who(&flow(1)).unwrap().owner, "session");
    assert_eq!(*table.who(&flow(2)).unwrap().owner, "v4");
}

#[test]
fn a_device_has_receivers_of_its_own() {
    let mut table = table();
    let [lo, tap] = [1, 2].map(Device::new);
    open_at(
        &mut table,
        Request { device: lo, ..TCP },
        "0.0.0.0:80",
        "lo",
    );
    open_at(
        &mut table,
        Request { device: tap, ..TCP },
        "127.0.0.1:80",
        "tap",
    );
    assert!(table.who(&flow(1)).is_none());
    assert_eq!(*table.who_on(&flow(1), lo.unwrap()).unwrap().owner, "lo");
    assert_eq!(*table.who_on(&flow(1), tap.unwrap()).unwrap().owner, "tap");
    assert!(matches!(
        refused(&mut table, TCP, "127.0.0.1:80"),
        BindError::InUse(_)
    ));
}

#[test]
fn a_gateway_admits_flows_to_addresses_that_are_not_its_own() {
    let mut table = table();
    let foreign: Flow = "tcp/93.184.216.34:443-10.77.3.2:40000".parse().unwrap();
    let relay = table.admit(&foreign, "relay").unwrap();
    assert_eq!(table.who(&foreign).unwrap().hold(), relay);
    assert_eq!(
        table.admit(&foreign, "again").unwrap_err().holder.owner,
        "relay"
    );
    let own = open_at(&mut table, TCP, "0.0.0.0:443", "own");
    assert_eq!(*table.who(&foreign).unwrap().owner, "relay");
    table.time_wait(relay, Moment(10)).unwrap();
    assert_eq!(table.expire(Moment(10)), Some((relay, "relay")));
    assert_eq!(table.who(&foreign).unwrap().hold(), own);
}

#[test]
fn chosen_ports_cannot_be_foreseen_without_the_seed() {
    let chosen = |seed: u8| {
        let mut table: Table<()> = Table::new(&Config::new([seed; 32]));
        let ports = (0..100).map(|_| {
            let hold = table.open(TCP, ());
            table.bind(hold, local("127.0.0.1:0")).unwrap()
        });
        ports.collect::<Vec<Port>>()
    };
    assert_eq!(chosen(1), chosen(1));
    assert_ne!(chosen(1), chosen(2));
    let ports = chosen(3);
    assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 100);
    assert!(ports.iter().all(|&port| PortRange::LINUX.contains(port)));
    let in_order = ports.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!((25..=75).contains(&in_order), "{in_order} of 99");
}

#[test]
fn one_local_port_serves_many_peers_up_to_the_last_flow() {
    let mut config = Config::new([4; 32]);
    config.ephemeral = range("40000-40999");
    let mut table: Table<u8> = Table::new(&config);
    let source = "127.0.0.1".parse().unwrap();
    for peer in ["10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80"] {
        let remote: Endpoint = peer.parse().unwrap();
        let mut holds = Vec::new();
        for _ in 0..1000 {
            let hold = table.open(TCP, 0);
            table.connect(hold, source, remote).unwrap();
            holds.push(hold);
        }
        let hold = table.open(TCP, 0);
        let error = table.connect(hold, source, remote).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("all 1000 tcp ports from 40000 to 40999 are taken at 127.0.0.1 towards {peer}")
        );
        let free = table.flow(holds[17]).unwrap().local.port();
        table.release(holds[17]);
        assert_eq!(
            table.connect(hold, source, remote).unwrap().local.port(),
            free
        );
    }
    assert_eq!(table.len(), 3000);
}

#[test]
fn system_ports_and_reservations_need_a_right() {
    let mut config = Config::new([6; 32]);
    config.unprivileged = Port::new(1024).unwrap();
    config.ephemeral = range("1000-1030");
    let mut table: Table<&str> = Table::new(&config);
    assert_eq!(
        refused(&mut table, TCP, "127.0.0.1:443"),
        BindError::Denied(Port::new(443).unwrap())
    );
    open_at(
        &mut table,
        Request {
            right: Right::System,
            ..TCP
        },
        "127.0.0.1:443",
        "web",
    );

    let kept = table
        .reserve(Protocol::Tcp, range("1025-1029"), "shop")
        .unwrap();
    assert!(
        table
            .reserve(Protocol::Tcp, range("1029-1040"), "other")
            .is_err()
    );
    assert!(
        table
            .reserve(Protocol::Tcp, range("1000-2000"), "other")
            .is_err()
    );
    assert!(
        table
            .reserve(Protocol::Udp, range("1025-1029"), "other")
            .is_ok()
    );
    for expected in [true, true, false] {
        let hold = table.open(TCP, "any");
        let port = table.bind(hold, local("127.0.0.1:0"));
        assert_eq!(
            port.as_ref()
                .is_ok_and(|port| [1024, 1030].contains(&port.number())),
            expected,
            "{port:?}"
        );
    }
    table.unreserve(kept);
    table.unreserve(kept);
    let hold = table.open(TCP, "any");
    assert!(table.bind(hold, local("127.0.0.1:1027")).is_ok());
}

#[test]
fn a_list_goes_on_while_the_table_changes() {
    let mut table: Table<u32> = Table::new(&Config::new([0; 32]));
    let holds: Vec<Hold> = (0..500).map(|owner| table.open(TCP, owner)).collect();
    let (mut seen, mut cursor, mut round) = (Vec::new(), Some(Cursor::default()), 0);
    while let Some(at) = cursor {
        let (page, next) = table.page(at, 50);
        assert!(page.len() <= 50);
        seen.extend(page.iter().map(|holding| holding.owner));
        cursor = next;
        table.release(holds[499 - round]);
        table.open(TCP, 1000);
        round += 1;
    }
    let lasting: BTreeSet<u32> = (0..480).collect();
    assert!(lasting.is_subset(&seen.iter().copied().collect()));
    assert_eq!(
        seen.iter().collect::<BTreeSet<_>>().len()
            + seen
                .iter()
                .filter(|&&owner| owner == 1000)
                .count()
                .saturating_sub(1),
        seen.len()
    );
}

#[test]
fn watchers_get_what_was_bound_and_released_but_not_sessions() {
    let mut config = Config::new([0; 32]);
    config.feed = 4;
    let mut table: Table<&str> = Table::new(&config);
    let web = open_at(&mut table, TCP, "127.0.0.1:80", "web");
    let session = table.accept(web, &flow(1), "session").unwrap();
    table.release(web);
    table.release(session);
    let events: Vec<Event> = table
        .changes(0)
        .unwrap()
        .map(|change| change.event)
        .collect();
    assert_eq!(events, [Event::Bound, Event::Listening, Event::Released]);
    assert_eq!(
        table.changes(2).unwrap().next().unwrap().holding.state,
        State::Listening
    );
    assert_eq!(table.next_change(), 3);

    open_at(&mut table, TCP, "127.0.0.1:80", "again");
    assert_eq!(table.changes(1).unwrap().count(), 4);
    assert_eq!(table.changes(0).err().unwrap().first, 1);
}

#[test]
fn deadlines_come_in_their_order_and_early_ends_are_forgotten() {
    let mut table = table();
    let web = open_at(&mut table, TCP, "127.0.0.1:80", "web");
    let mut holds = Vec::new();
    for number in 0..1000 {
        let hold = table.accept(web, &flow(number), "session").unwrap();
        table
            .time_wait(hold, Moment(u64::from(number * 7919 % 1000)))
            .unwrap();
        holds.push(hold);
    }
    for hold in holds.iter().take(900) {
        table.release(*hold);
    }
    let mut expired = 0;
    while let Some(until) = table.deadline() {
        assert_eq!(table.expire(Moment(until.0.saturating_sub(1))), None);
        expired += usize::from(table.expire(until).is_some());
    }
    assert_eq!((expired, table.len()), (100, 1));
}

#[test]
fn every_refusal_says_why_in_a_sentence() {
    let mut table = table();
    let plain = Request {
        reuse: Reuse::Nothing,
        ..TCP
    };
    open_at(
        &mut table,
        Request {
            reuse: Reuse::Both,
            user: 1,
            ..TCP
        },
        "127.0.0.1:80",
        "web",
    );
    let why = |table: &mut Table<_>, request, at: &str| in_use(refused(table, request, at)).why;
    assert_eq!(why(&mut table, plain, "127.0.0.1:80"), Why::Same);
    assert_eq!(
        why(&mut table, plain, "0.0.0.0:80"),
        Why::WildcardOverSpecific
    );
    let address = Request {
        reuse: Reuse::Address,
        ..TCP
    };
    assert_eq!(why(&mut table, address, "127.0.0.1:80"), Why::Listening);
    let port = Request {
        reuse: Reuse::Port,
        user: 2,
        ..TCP
    };
    assert_eq!(why(&mut table, port, "127.0.0.1:80"), Why::OtherUser);
    let dual = Request::new(Protocol::Tcp, Domain::Dual);
    let error = refused(&mut table, dual, "[::]:80");
    assert_eq!(
        error.to_string(),
        "tcp/[::]:80 is taken: web listens on tcp/127.0.0.1:80, \
         and an IPv6 wildcard has the IPv4 addresses as well",
    );
    open_at(&mut table, plain, "0.0.0.0:81", "all");
    assert_eq!(why(&mut table, plain, "127.0.0.1:81"), Why::UnderWildcard);
}

#[test]
fn an_accepted_session_keeps_the_port_when_the_listener_goes() {
    let mut table = table();
    let web = open_at(&mut table, TCP, "0.0.0.0:80", "web");
    let session = table.accept(web, &flow(1), "session").unwrap();
    table.release(web);
    let held = in_use(refused(&mut table, TCP, "127.0.0.1:80"));
    assert_eq!((held.holder.hold, held.why), (session, Why::Same));
    assert!(matches!(held.holder.state, State::Connected(_)));
    table.time_wait(session, Moment(9)).unwrap();
    assert_eq!(
        in_use(refused(&mut table, TCP, "0.0.0.0:80")).why,
        Why::TimeWait(Moment(9))
    );
    open_at(&mut table, TCP, "127.0.0.2:80", "beside");
    assert_eq!(table.expire(Moment(9)), Some((session, "session")));
    let end: End = "tcp/127.0.0.1:80".parse().unwrap();
    assert!(
        table
            .holders(
                end.protocol,
                Domain::V4.cover(end.endpoint.address()).unwrap(),
                end.endpoint.port()
            )
            .is_empty()
    );
}

const UDP: Request = Request::new(Protocol::Udp, Domain::V4);

#[test]
fn a_datagram_without_a_source_port_is_the_bound_hold_s_whatever_flows_there_are() {
    let mut table = table();
    let device = Device::new(1).unwrap();
    let connected = open_at(&mut table, UDP, "10.0.0.1:53", "connected");
    let peer = "10.0.0.2:53".parse().unwrap();
    table
        .connect(connected, [10, 0, 0, 1].into(), peer)
        .unwrap();
    let (local, sender) = ("10.0.0.1:53".parse().unwrap(), [10, 0, 0, 2].into());
    let owner = |table: &Table<&'static str>| {
        let found = table.who_without_port(local, sender, device);
        found.map(|found| (*found.owner, found.by))
    };
    assert_eq!(owner(&table), None);
    let sharing = Request {
        reuse: Reuse::Address,
        ..UDP
    };
    table.set_reuse(connected, Reuse::Address).unwrap();
    open_at(&mut table, sharing, "0.0.0.0:53", "wildcard");
    assert_eq!(owner(&table), Some(("wildcard", Match::Wildcard)));
    open_at(&mut table, sharing, "10.0.0.1:53", "specific");
    assert_eq!(owner(&table), Some(("specific", Match::Endpoint)));
}

#[test]
fn everybody_who_is_bound_to_a_port_gets_what_is_for_a_group() {
    let mut table = table();
    let (here, elsewhere) = (Device::new(1).unwrap(), Device::new(2).unwrap());
    let sharing = |reuse, device| Request {
        reuse,
        device,
        ..UDP
    };
    let group = "224.0.0.251:5353";
    for (number, request) in [
        sharing(Reuse::Both, None),
        sharing(Reuse::Both, None),
        sharing(Reuse::Address, Some(here)),
        sharing(Reuse::Address, Some(elsewhere)),
    ]
    .into_iter()
    .enumerate()
    {
        let owner = ["one", "two", "here", "elsewhere"][number];
        open_at(&mut table, request, "0.0.0.0:5353", owner);
    }
    open_at(&mut table, sharing(Reuse::Both, None), group, "group");
    open_at(
        &mut table,
        sharing(Reuse::Both, None),
        "10.0.0.1:5353",
        "other",
    );
    let local = group.parse().unwrap();
    let found: BTreeSet<_> = table.everybody(local, here).map(|it| *it.owner).collect();
    assert_eq!(found, BTreeSet::from(["group", "here", "one", "two"]));
    assert_eq!(table.everybody(local, here).count(), 4);
}

#[test]
fn a_right_can_be_given_later() {
    let mut table = Table::new(&Config {
        unprivileged: Port::new(1024).unwrap(),
        ..Config::new([5; 32])
    });
    let hold = table.open(TCP, "server");
    let error = table.bind(hold, local("0.0.0.0:80")).unwrap_err();
    assert!(matches!(error, BindError::Denied(_)), "{error}");
    table.set_right(hold, Right::System).unwrap();
    assert!(table.bind(hold, local("0.0.0.0:80")).is_ok());
}

#[test]
fn an_owner_that_changes_is_found_by_its_flow_as_well() {
    let mut table = table();
    let listener = open_at(&mut table, TCP, "127.0.0.1:80", "first");
    let accepted = table.accept(listener, &flow(1), "first").unwrap();
    for hold in [listener, accepted] {
        table.update_owner(hold, |owner| *owner = "second").unwrap();
        assert_eq!(table.owner(hold), Some(&"second"));
    }
    assert_eq!(
        table.who(&flow(1)).map(|found| *found.owner),
        Some("second")
    );
    assert_eq!(
        table.who(&flow(2)).map(|found| *found.owner),
        Some("second")
    );
    table.release(accepted);
    assert_eq!(table.update_owner(accepted, |owner| *owner = "third"), None);
    assert_eq!(
        table.who(&flow(1)).map(|found| *found.owner),
        Some("second")
    );
}
