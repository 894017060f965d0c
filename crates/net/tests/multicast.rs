//! Multicast: who hears what, and what routers are told. RFC 1112, RFC 3376, RFC 3810.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;
use network::{LEFT_MAC, Network, Side, ordinary};
use wharf_net::wire::checksum::Sum;
use wharf_net::wire::ethernet::{self, EtherType, Mac};
use wharf_net::wire::{extension, icmpv6, igmp, ipv4, ipv4_options, ipv6, mld, udp};
use wharf_net::{Capabilities, Discard, GroupError, RecvError, Setting, SocketId};
use wharf_port::{Domain, Endpoint, Protocol, Reuse};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0x99);

fn pair() -> Network {
    let config = |side| ordinary(side, Capabilities::NONE);
    Network::new(config(Side::Left), config(Side::Right))
}

fn bound(network: &mut Network, side: Side, local: &str) -> SocketId {
    let now = network.now;
    let host = network.host(side);
    let domain = if local.starts_with('[') {
        Domain::Dual
    } else {
        Domain::V4
    };
    let socket = host.open(Protocol::Udp, domain).unwrap();
    host.set(now, socket, Setting::Reuse(Reuse::Address))
        .unwrap();
    host.bind(socket, local.parse().unwrap()).unwrap();
    socket
}

fn join(network: &mut Network, side: Side, socket: SocketId, group: impl Into<IpAddr>) {
    let now = network.now;
    network.host(side).join(now, socket, group.into()).unwrap();
}

fn send(network: &mut Network, socket: SocketId, to: Endpoint) {
    let now = network.now;
    let payload = Bytes::from_static(b"all of you");
    network
        .left
        .send_to(now, socket, Some(to), payload)
        .unwrap();
    network.pass(Duration::from_millis(5));
}

fn heard(network: &mut Network, side: Side, socket: SocketId) -> usize {
    let host = network.host(side);
    std::iter::from_fn(|| host.recv_from(socket).ok()).count()
}

fn place(group: impl Into<IpAddr>, port: u16) -> Endpoint {
    Endpoint::new(group.into(), port.try_into().unwrap())
}

/// The reports among these frames: source, hop limit and message; their headers are as they must be.
fn reports(frames: &[Bytes]) -> Vec<(IpAddr, Vec<u8>)> {
    let mut reports = Vec::new();
    for frame in frames {
        let packet = &frame[ethernet::LEN..];
        if let Ok((ip, length)) = ipv4::Header::parse(packet)
            && ip.protocol == igmp::PROTOCOL
        {
            // RFC 3376 §4: one hop, router alert, internetwork control.
            assert_eq!((ip.ttl, length, ip.traffic_class), (1, 24, 0xc0));
            assert_eq!(frame[..6], Mac::of_group(ip.destination.into()).unwrap().0);
            reports.push((
                ip.destination.into(),
                packet[length..][..ip.payload_len.into()].to_vec(),
            ));
        } else if let Ok(ip) = ipv6::Header::parse(packet)
            && ip.next_header == extension::HOP_BY_HOP_HEADER
        {
            // RFC 3810 §5: one hop, router alert.
            assert_eq!(ip.hop_limit, 1);
            assert!(extension::has_router_alert(&packet[ipv6::LEN..]));
            let message = &packet[ipv6::LEN + 8..];
            assert!(icmpv6::Message::parse(message, ip.source, ip.destination).is_ok());
            reports.push((ip.destination.into(), message.to_vec()));
        }
    }
    reports
}

/// What is left to say after this span.
fn later(network: &mut Network, side: Side, span: Duration) -> Vec<(IpAddr, Vec<u8>)> {
    let end = network.now + span;
    let mut frames = network.drain(side);
    while let Some(at) = network.host(side).deadline().filter(|at| *at <= end) {
        network.now = at.max(network.now);
        network.host(side).expire(at);
        frames.extend(network.drain(side));
    }
    network.now = end;
    reports(&frames)
}

/// A message about groups, from a router at the left.
fn from_router(v6: bool, message: &[u8], hop_limit: u8) -> Vec<u8> {
    let router: Ipv6Addr = "fe80::99".parse().unwrap();
    let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let (ethertype, destination, packet) = if v6 {
        let ip = ipv6::Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len: 8 + message.len() as u16,
            next_header: extension::HOP_BY_HOP_HEADER,
            hop_limit,
            source: router,
            destination: all,
        };
        let mut message = message.to_vec();
        let mut sum = Sum::pseudo(router.into(), all.into(), icmpv6::PROTOCOL, message.len());
        sum.add(&message);
        message[2..4].copy_from_slice(&sum.checksum().to_be_bytes());
        let alert = extension::router_alert(icmpv6::PROTOCOL);
        (
            EtherType::Ipv6,
            Mac::of_group_v6(all),
            [&ip.emit()[..], &alert, &message].concat(),
        )
    } else {
        let ip = ipv4::Header {
            traffic_class: 0xc0,
            payload_len: message.len() as u16,
            ident: 0,
            dont_fragment: false,
            more_fragments: false,
            fragment_offset: 0,
            ttl: hop_limit,
            protocol: igmp::PROTOCOL,
            source: [10, 0, 0, 1].into(),
            destination: igmp::ALL_SYSTEMS,
        };
        let mut message = message.to_vec();
        let mut sum = Sum::default();
        sum.add(&message);
        message[2..4].copy_from_slice(&sum.checksum().to_be_bytes());
        let mac = Mac::of_group(igmp::ALL_SYSTEMS.into()).unwrap();
        (
            EtherType::Ipv4,
            mac,
            [&ip.emit_with(&ipv4_options::ROUTER_ALERT)[..], &message].concat(),
        )
    };
    let header = ethernet::Header {
        destination,
        source: LEFT_MAC,
        ethertype,
    };
    [&header.emit()[..], &packet].concat()
}

fn query(group: Ipv4Addr, code: u8, rest: &[u8]) -> Vec<u8> {
    [&[0x11, code, 0, 0][..], &group.octets(), rest].concat()
}

fn query_v6(group: Ipv6Addr, rest: &[u8]) -> Vec<u8> {
    // A second to answer.
    [
        &[mld::QUERY, 0, 0, 0, 0x03, 0xe8, 0, 0][..],
        &group.octets(),
        rest,
    ]
    .concat()
}

#[test]
fn a_group_s_datagram_reaches_every_member_and_nobody_else() {
    for (group, wildcard, own) in [
        (IpAddr::V4(GROUP), "0.0.0.0:5353", "10.0.0.2:5353"),
        (IpAddr::V6(GROUP_V6), "[::]:5353", "[fd00::2]:5353"),
    ] {
        let mut network = pair();
        let sender = bound(
            &mut network,
            Side::Left,
            if group.is_ipv4() {
                "0.0.0.0:0"
            } else {
                "[::]:0"
            },
        );
        let to = place(group, 5353);
        send(&mut network, sender, to);
        assert_eq!(network.right.discards().of(Discard::NotJoined), 1);
        let members = [0; 3].map(|_| bound(&mut network, Side::Right, wildcard));
        let bystander = bound(&mut network, Side::Right, wildcard);
        let elsewhere = bound(&mut network, Side::Right, own);
        let port = bound(&mut network, Side::Right, &wildcard.replace("5353", "5354"));
        for member in members.into_iter().chain([elsewhere, port]) {
            join(&mut network, Side::Right, member, group);
        }
        send(&mut network, sender, to);
        assert_eq!(
            members.map(|it| heard(&mut network, Side::Right, it)),
            [1; 3]
        );
        assert_eq!(
            [bystander, elsewhere, port].map(|it| heard(&mut network, Side::Right, it)),
            [0; 3]
        );
        let now = network.now;
        network.right.leave(now, members[0], group).unwrap();
        network.right.close(now, members[1]);
        send(&mut network, sender, to);
        assert_eq!(heard(&mut network, Side::Right, members[0]), 0);
        assert_eq!(heard(&mut network, Side::Right, members[2]), 1);
    }
}

#[test]
fn a_member_that_is_connected_hears_its_peer_only() {
    let mut network = pair();
    let group = format!("{GROUP}:5353");
    let member = bound(&mut network, Side::Right, &group);
    join(&mut network, Side::Right, member, GROUP);
    let now = network.now;
    network
        .right
        .connect(now, member, "10.0.0.1:700".parse().unwrap())
        .unwrap();
    for (from, count) in [("10.0.0.1:700", 1), ("10.0.0.1:701", 0)] {
        let sender = bound(&mut network, Side::Left, from);
        send(&mut network, sender, group.parse().unwrap());
        assert_eq!(heard(&mut network, Side::Right, member), count, "{from}");
    }
}

#[test]
fn everybody_hears_a_broadcast_and_what_is_for_all_systems() {
    let mut network = pair();
    let sender = bound(&mut network, Side::Left, "0.0.0.0:0");
    let listeners = [0; 2].map(|_| bound(&mut network, Side::Right, "0.0.0.0:68"));
    for to in ["255.255.255.255:68", "10.0.0.255:68", "224.0.0.1:68"] {
        send(&mut network, sender, to.parse().unwrap());
        assert_eq!(
            listeners.map(|it| heard(&mut network, Side::Right, it)),
            [1; 2],
            "{to}"
        );
    }
    let sender = bound(&mut network, Side::Left, "[::]:0");
    let listener = bound(&mut network, Side::Right, "[::]:547");
    send(&mut network, sender, "[ff02::1]:547".parse().unwrap());
    assert_eq!(heard(&mut network, Side::Right, listener), 1);
}

#[test]
fn what_is_sent_to_a_group_goes_one_hop_and_comes_back_to_members_here() {
    for (group, local) in [
        (IpAddr::V4(GROUP), "0.0.0.0:5353"),
        (GROUP_V6.into(), "[::]:5353"),
    ] {
        let mut network = pair();
        let sender = bound(&mut network, Side::Left, local);
        let hop_limit = |network: &mut Network| {
            send(network, sender, place(group, 5353));
            let frames = network.seen.take().unwrap();
            network.seen = Some(Vec::new());
            let last = frames.last().unwrap().1.slice(ethernet::LEN..);
            if group.is_ipv4() { last[8] } else { last[7] }
        };
        network.seen = Some(Vec::new());
        assert_eq!(hop_limit(&mut network), 1);
        assert_eq!(heard(&mut network, Side::Left, sender), 0);
        join(&mut network, Side::Left, sender, group);
        assert_eq!(hop_limit(&mut network), 1);
        assert_eq!(heard(&mut network, Side::Left, sender), 1);
        let now = network.now;
        for setting in [
            Setting::GroupHopLimit(9),
            Setting::HopLimit(Some(33)),
            Setting::GroupLoop(false),
        ] {
            network.left.set(now, sender, setting).unwrap();
        }
        assert_eq!(hop_limit(&mut network), 9);
        assert_eq!(heard(&mut network, Side::Left, sender), 0);
    }
}

#[test]
fn mistakes_have_their_errors() {
    let mut network = pair();
    let now = network.now;
    let socket = bound(&mut network, Side::Left, "0.0.0.0:0");
    let stream = network.left.open(Protocol::Tcp, Domain::V4).unwrap();
    let mut join = |socket, group: &str| network.left.join(now, socket, group.parse().unwrap());
    assert_eq!(join(socket, "10.0.0.9"), Err(GroupError::NotGroup));
    assert_eq!(join(socket, "ff02::5"), Err(GroupError::Family));
    assert_eq!(join(stream, "224.0.0.5"), Err(GroupError::Gone));
    for last in 0..64 {
        assert_eq!(join(socket, &format!("239.0.0.{last}")), Ok(()));
    }
    assert_eq!(join(socket, "239.0.0.5"), Err(GroupError::Member));
    assert_eq!(join(socket, "239.0.0.99"), Err(GroupError::Crowded));
    let left = network
        .left
        .leave(now, socket, "239.0.0.99".parse().unwrap());
    assert_eq!(left, Err(GroupError::NoMember));
    assert_eq!(network.left.recv_from(socket), Err(RecvError::Empty));
}

#[test]
fn routers_are_told_of_joining_and_leaving() {
    let mut network = pair();
    let v4 = bound(&mut network, Side::Right, "0.0.0.0:1");
    let v6 = bound(&mut network, Side::Right, "[::]:2");
    for (socket, group) in [(v4, IpAddr::V4(GROUP)), (v6, GROUP_V6.into())] {
        let message = |filter| match group {
            IpAddr::V4(group) => (
                igmp::ROUTERS.into(),
                igmp::report(&[(filter, group, Vec::new())]),
            ),
            IpAddr::V6(group) => {
                // RFC 3810 §5.2.13: without a link-local address, from nobody.
                let report = mld::report(&[(filter, group, Vec::new())], Ipv6Addr::UNSPECIFIED);
                (mld::ROUTERS.into(), report)
            }
        };
        join(&mut network, Side::Right, socket, group);
        let second = bound(
            &mut network,
            Side::Right,
            if group.is_ipv4() {
                "0.0.0.0:3"
            } else {
                "[::]:4"
            },
        );
        join(&mut network, Side::Right, second, group);
        let told = later(&mut network, Side::Right, Duration::from_secs(2));
        let joined = message(igmp::Filter::ToExclude);
        assert_eq!(told, [joined.clone(), joined]);
        let now = network.now;
        network.right.leave(now, socket, group).unwrap();
        assert_eq!(later(&mut network, Side::Right, Duration::from_secs(2)), []);
        network.right.close(now, second);
        let left = message(igmp::Filter::ToInclude);
        assert_eq!(
            later(&mut network, Side::Right, Duration::from_secs(2)),
            [left.clone(), left]
        );
    }
}

#[test]
fn queries_are_answered_within_their_time() {
    let mut network = pair();
    let socket = bound(&mut network, Side::Right, "[::]:1");
    for group in [IpAddr::V4(GROUP), GROUP_V6.into()] {
        join(&mut network, Side::Right, socket, group);
    }
    later(&mut network, Side::Right, Duration::from_secs(5));
    let exclude = igmp::Filter::IsExclude;
    let second = Duration::from_secs(1);
    for group in [Ipv4Addr::UNSPECIFIED, GROUP] {
        network.inject(
            Side::Right,
            from_router(false, &query(group, 10, &[2, 125, 0, 0]), 1),
        );
        let report = igmp::report(&[(exclude, GROUP, Vec::new())]);
        assert_eq!(
            later(&mut network, Side::Right, second),
            [(igmp::ROUTERS.into(), report)]
        );
    }
    let other = Ipv4Addr::new(239, 9, 9, 9);
    network.inject(
        Side::Right,
        from_router(false, &query(other, 10, &[2, 125, 0, 0]), 1),
    );
    assert_eq!(later(&mut network, Side::Right, second), []);
    // Over IPv6 the groups of the host's own address count.
    network.inject(
        Side::Right,
        from_router(true, &query_v6(Ipv6Addr::UNSPECIFIED, &[2, 125, 0, 0]), 1),
    );
    let solicited = wharf_net::wire::ndp::solicited_node("fd00::2".parse().unwrap());
    let records = [
        (exclude, solicited, Vec::new()),
        (exclude, GROUP_V6, Vec::new()),
    ];
    let report = mld::report(&records, Ipv6Addr::UNSPECIFIED);
    assert_eq!(
        later(&mut network, Side::Right, second),
        [(mld::ROUTERS.into(), report)]
    );
}

#[test]
fn a_query_that_could_come_from_afar_is_nothing() {
    // RFC 3810 §6.2: link-local, one hop, router alert.
    let mut network = pair();
    let question = query_v6(Ipv6Addr::UNSPECIFIED, &[2, 125, 0, 0]);
    network.inject(Side::Right, from_router(true, &question, 2));
    let mut plain = from_router(true, &question, 1);
    plain[54 + 2..54 + 8].copy_from_slice(&[1, 4, 0, 0, 0, 0]);
    network.inject(Side::Right, plain);
    assert_eq!(later(&mut network, Side::Right, Duration::from_secs(5)), []);
    assert_eq!(network.right.discards().of(Discard::Multicast), 2);
}

#[test]
fn an_older_router_is_answered_in_its_language() {
    let mut network = pair();
    let socket = bound(&mut network, Side::Right, "[::]:1");
    for group in [IpAddr::V4(GROUP), GROUP_V6.into()] {
        join(&mut network, Side::Right, socket, group);
    }
    later(&mut network, Side::Right, Duration::from_secs(5));
    let nobody = Ipv4Addr::UNSPECIFIED;
    let second = Duration::from_secs(1);
    network.inject(Side::Right, from_router(false, &query(nobody, 10, &[]), 1));
    let told = later(&mut network, Side::Right, second);
    assert_eq!(told, [(GROUP.into(), igmp::heard(false, GROUP))]);
    network.inject(Side::Right, from_router(true, &query_v6(GROUP_V6, &[]), 1));
    let told = later(&mut network, Side::Right, second);
    let report = mld::old(mld::REPORT_V1, GROUP_V6, Ipv6Addr::UNSPECIFIED, GROUP_V6);
    assert_eq!(told, [(GROUP_V6.into(), report)]);
    // Another host is faster.
    network.inject(Side::Right, from_router(false, &query(GROUP, 10, &[]), 1));
    let mut other = from_router(false, &igmp::heard(false, GROUP), 1);
    other[ethernet::LEN + 16..][..4].copy_from_slice(&GROUP.octets());
    other[ethernet::LEN + 10..][..2].fill(0);
    let mut sum = Sum::default();
    sum.add(&other[ethernet::LEN..][..24]);
    other[ethernet::LEN + 10..][..2].copy_from_slice(&sum.checksum().to_be_bytes());
    other[ethernet::LEN + 26..][..2].fill(0);
    let mut sum = Sum::default();
    sum.add(&other[ethernet::LEN + 24..]);
    other[ethernet::LEN + 26..][..2].copy_from_slice(&sum.checksum().to_be_bytes());
    network.inject(Side::Right, other);
    assert_eq!(later(&mut network, Side::Right, second), []);
    let now = network.now;
    network.right.close(now, socket);
    let told = later(&mut network, Side::Right, second);
    let done = mld::old(
        mld::DONE_V1,
        GROUP_V6,
        Ipv6Addr::UNSPECIFIED,
        mld::ALL_ROUTERS,
    );
    let left = [
        (igmp::ALL_ROUTERS.into(), igmp::leave(GROUP)),
        (mld::ALL_ROUTERS.into(), done),
    ];
    assert_eq!(told, left);
}

#[test]
fn a_group_without_a_source_port_is_heard_too() {
    let mut network = pair();
    let member = bound(&mut network, Side::Right, "0.0.0.0:5353");
    join(&mut network, Side::Right, member, GROUP);
    let header = udp::Header {
        source: 0,
        destination: 5353,
        length: 12,
        checksum: 0,
    };
    let ip = ipv4::Header {
        traffic_class: 0,
        payload_len: 12,
        ident: 0,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 1,
        protocol: udp::PROTOCOL,
        source: [10, 0, 0, 1].into(),
        destination: GROUP,
    };
    let ethernet = ethernet::Header {
        destination: Mac::of_group(GROUP.into()).unwrap(),
        source: LEFT_MAC,
        ethertype: EtherType::Ipv4,
    };
    let frame = [&ethernet.emit()[..], &ip.emit(), &header.emit(), b"text"].concat();
    network.inject(Side::Right, frame);
    assert_eq!(network.right.recv_from(member).unwrap().port, None);
}
