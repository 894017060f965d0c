//! ICMP: echo, errors that are sent and errors that are not, reports about what we sent.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;
use network::{LEFT_MAC, Network, RIGHT_MAC, Side, ordinary, space};
use wharf_net::wire::ethernet::{self, EtherType, Mac};
use wharf_net::wire::{icmpv4, icmpv6, ipv4, ipv6, udp};
use wharf_net::{Capabilities, Discard, ErrorRate, Event, Ready, RecvError, Setting, Unreachable};
use wharf_port::{Domain, Protocol};

const LEFT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn frame(to: Mac, ethertype: EtherType, packet: &[u8]) -> Vec<u8> {
    let header = ethernet::Header {
        destination: to,
        source: LEFT_MAC,
        ethertype,
    };
    [&header.emit()[..], packet].concat()
}

/// An IPv4 packet in a frame from the left to the right.
fn packet(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = ipv4::Header {
        traffic_class: 0,
        payload_len: payload.len() as u16,
        ident: 7,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol,
        source,
        destination,
    };
    frame(
        RIGHT_MAC,
        EtherType::Ipv4,
        &[&header.emit()[..], payload].concat(),
    )
}

fn packet_v6(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let header = ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: payload.len() as u16,
        next_header,
        hop_limit: 64,
        source,
        destination,
    };
    frame(
        RIGHT_MAC,
        EtherType::Ipv6,
        &[&header.emit()[..], payload].concat(),
    )
}

fn datagram(port: u16, payload: &[u8]) -> Vec<u8> {
    let header = udp::Header {
        source: 4000,
        destination: port,
        length: (8 + payload.len()) as u16,
        checksum: 0,
    };
    [&header.emit()[..], payload].concat()
}

fn echo(payload: &[u8]) -> Vec<u8> {
    let request = icmpv4::Message::EchoRequest {
        ident: 5,
        sequence: 6,
    };
    [&request.emit(payload)[..], payload].concat()
}

fn echo_v6(source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let request = icmpv6::Message::EchoRequest {
        ident: 5,
        sequence: 6,
    };
    [&request.emit(payload, source, destination)[..], payload].concat()
}

/// An ordinary host at the right, which knows where the left is.
fn right() -> Network {
    let none = Capabilities::NONE;
    let mut network = Network::new(ordinary(Side::Left, none), ordinary(Side::Right, none));
    let now = network.now;
    for remote in ["10.0.0.1:9", "[fd00::1]:9"] {
        let socket = network.right.open(Protocol::Udp, Domain::Dual).unwrap();
        network
            .right
            .send_to(now, socket, Some(remote.parse().unwrap()), Bytes::new())
            .unwrap();
        network.pass(Duration::from_millis(10));
        network.right.close(now, socket);
    }
    network.drain(Side::Right);
    network
}

/// What the right answers to a frame: the ICMPv4 messages with their payload.
fn answers(network: &mut Network, ethernet: Vec<u8>) -> Vec<(icmpv4::Message, Vec<u8>)> {
    network.inject(Side::Right, ethernet);
    let frames = network.drain(Side::Right);
    frames
        .iter()
        .map(|frame| {
            let (header, length) = ipv4::Header::parse(&frame[14..]).unwrap();
            assert_eq!(header.protocol, icmpv4::PROTOCOL);
            assert!(header.payload_len <= 576 - 20 || header.is_fragment());
            let message = &frame[14 + length..][..header.payload_len.into()];
            (
                icmpv4::Message::parse(message).unwrap(),
                message[8..].to_vec(),
            )
        })
        .collect()
}

fn answers_v6(network: &mut Network, ethernet: Vec<u8>) -> Vec<(icmpv6::Message, Vec<u8>)> {
    network.inject(Side::Right, ethernet);
    let frames = network.drain(Side::Right);
    frames
        .iter()
        .map(|frame| {
            let header = ipv6::Header::parse(&frame[14..]).unwrap();
            assert!(header.payload_len <= 1240);
            let message = &frame[54..][..header.payload_len.into()];
            let parsed = icmpv6::Message::parse(message, header.source, header.destination);
            (parsed.unwrap(), message[8..].to_vec())
        })
        .collect()
}

#[test]
fn an_echo_request_comes_back_unchanged() {
    let mut network = right();
    for length in [0, 1, 56, 1472] {
        let payload = vec![0xa5; length];
        let frame = packet(LEFT, RIGHT, 1, &echo(&payload));
        let reply = icmpv4::Message::EchoReply {
            ident: 5,
            sequence: 6,
        };
        network.inject(Side::Right, frame);
        let frames = network.drain(Side::Right);
        let [frame] = &frames[..] else {
            panic!("one answer")
        };
        assert_eq!(icmpv4::Message::parse(&frame[34..]), Ok(reply));
        assert_eq!(frame[42..], payload);
        let (left, right) = (v6("fd00::1"), v6("fd00::2"));
        let length = length.min(1000);
        let request = echo_v6(left, right, &payload[..length]);
        let answers = answers_v6(&mut network, packet_v6(left, right, 58, &request));
        let reply = icmpv6::Message::EchoReply {
            ident: 5,
            sequence: 6,
        };
        assert_eq!(answers, [(reply, payload[..length].to_vec())]);
    }
}

#[test]
fn a_closed_port_and_an_unknown_protocol_are_told_with_a_quote() {
    let mut network = right();
    for (protocol, code, payload) in [
        (17, icmpv4::code::PORT, datagram(99, &[1; 900])),
        (200, icmpv4::code::PROTOCOL, vec![2; 5]),
    ] {
        let frame = packet(LEFT, RIGHT, protocol, &payload);
        let quote = frame[14..].iter().copied().take(548).collect::<Vec<u8>>();
        let answers = answers(&mut network, frame);
        assert_eq!(
            answers,
            [(icmpv4::Message::Unreachable { code, mtu: 0 }, quote)]
        );
    }
    let (left, right) = (v6("fd00::1"), v6("fd00::2"));
    let frame = packet_v6(left, right, 200, &[3; 9]);
    let quote = frame[14..].to_vec();
    let problem = icmpv6::Message::ParameterProblem {
        code: 1,
        pointer: 6,
    };
    assert_eq!(answers_v6(&mut network, frame), [(problem, quote)]);
}

#[test]
fn the_pointer_finds_the_unknown_protocol_behind_extension_headers() {
    let mut network = right();
    let chain = [60, 0, 1, 4, 0, 0, 0, 0, 200, 0, 1, 4, 0, 0, 0, 0, 9, 9];
    let frame = packet_v6(v6("fd00::1"), v6("fd00::2"), 0, &chain);
    let answers = answers_v6(&mut network, frame);
    let problem = icmpv6::Message::ParameterProblem {
        code: 1,
        pointer: 48,
    };
    assert_eq!(answers[0].0, problem);
}

#[test]
fn nothing_is_said_about_errors_groups_broadcasts_and_impossible_sources() {
    let mut network = right();
    let closed = datagram(99, b"x");
    let error = icmpv4::Message::Unreachable { code: 3, mtu: 0 }.emit(&[]);
    let cases = [
        packet(LEFT, RIGHT, 1, &error),
        packet(LEFT, Ipv4Addr::new(10, 0, 0, 255), 17, &closed),
        packet(LEFT, Ipv4Addr::BROADCAST, 17, &closed),
        packet(LEFT, Ipv4Addr::new(224, 0, 0, 1), 17, &closed),
        packet(LEFT, Ipv4Addr::new(10, 0, 0, 255), 1, &echo(b"x")),
        packet(Ipv4Addr::new(10, 0, 0, 255), RIGHT, 17, &closed),
        packet(Ipv4Addr::new(127, 0, 0, 1), RIGHT, 17, &closed),
        packet(Ipv4Addr::UNSPECIFIED, RIGHT, 17, &closed),
        packet(RIGHT, RIGHT, 17, &closed),
        packet(LEFT, Ipv4Addr::new(10, 0, 0, 3), 17, &closed),
        packet(LEFT, Ipv4Addr::new(127, 0, 0, 1), 17, &closed),
        packet_v6(Ipv6Addr::UNSPECIFIED, v6("fd00::2"), 200, b"x"),
        packet_v6(v6("ff02::1"), v6("fd00::2"), 200, b"x"),
        packet_v6(v6("fd00::1"), v6("ff02::1"), 200, b"x"),
    ];
    for (index, frame) in cases.into_iter().enumerate() {
        network.inject(Side::Right, frame);
        assert_eq!(
            network.drain(Side::Right),
            Vec::<Bytes>::new(),
            "case {index}"
        );
    }
}

#[test]
fn a_frame_to_everybody_with_a_packet_for_one_is_not_answered() {
    let mut network = right();
    let mut ping = packet(LEFT, RIGHT, 1, &echo(b"x"));
    ping[..6].fill(0xff);
    network.inject(Side::Right, ping);
    assert!(network.drain(Side::Right).is_empty());
    assert_eq!(network.right.discards().of(Discard::LinkBroadcast), 1);
}

#[test]
fn an_ipv6_option_may_ask_for_a_problem_report_even_from_a_group() {
    let mut network = right();
    for (option, group, expected) in [
        (0x80, false, 1),
        (0x80, true, 1),
        (0xc0, false, 1),
        (0xc0, true, 0),
        (0x40, false, 0),
    ] {
        let destination = if group { v6("ff02::1") } else { v6("fd00::2") };
        let frame = packet_v6(
            v6("fd00::1"),
            destination,
            60,
            &[59, 0, option, 4, 0, 0, 0, 0],
        );
        let answers = answers_v6(&mut network, frame);
        assert_eq!(answers.len(), expected, "{option:x} {group}");
        let problem = icmpv6::Message::ParameterProblem {
            code: 2,
            pointer: 42,
        };
        assert!(answers.iter().all(|(message, _)| *message == problem));
    }
}

#[test]
fn errors_are_limited_in_rate() {
    let few = ErrorRate {
        peer_burst: 3,
        peer_per_second: 0,
        ..ErrorRate::HOST
    };
    for (rate, expected) in [
        (few, 3..=3),
        (ErrorRate::HOST, 10..=10),
        (ErrorRate::TRUSTED, 3_800..=4_000),
    ] {
        let none = Capabilities::NONE;
        let mut config = ordinary(Side::Right, none);
        config.icmp_errors = rate;
        let mut network = Network::new(ordinary(Side::Left, none), config);
        network.inject(Side::Right, packet(LEFT, RIGHT, 1, &echo(b"x")));
        network.pass(Duration::from_millis(10));
        for _ in 0..6000 {
            network.inject(Side::Right, packet(LEFT, RIGHT, 17, &datagram(99, b"x")));
        }
        let count = network.drain(Side::Right).len();
        assert!(expected.contains(&count), "{count}");
        let dropped = network.right.discards().of(Discard::IcmpLimit);
        assert_eq!(dropped, 6000 - count as u64);
    }
}

#[test]
fn a_datagram_that_is_never_completed_is_told_after_a_minute() {
    let mut network = right();
    let mut first = packet(LEFT, RIGHT, 17, &[0; 16]);
    first[14 + 6] = 0x20; // more fragments
    first[14 + 10..14 + 12].fill(0);
    let sum = wharf_net::wire::checksum::checksum(&first[14..34]);
    first[14 + 10..14 + 12].copy_from_slice(&sum.to_be_bytes());
    network.inject(Side::Right, first.clone());
    let due = network.right.deadline().unwrap();
    assert_eq!(due - network.now, Duration::from_secs(60));
    network.right.expire(due);
    // A minute on, the neighbour is in doubt: a question goes with the answer.
    let frames = network.drain(Side::Right);
    let error = frames
        .iter()
        .find(|frame| frame[12..14] == [8, 0])
        .expect("an IPv4 packet");
    let exceeded = icmpv4::Message::TimeExceeded { code: 1 };
    assert_eq!(icmpv4::Message::parse(&error[34..]), Ok(exceeded));
    assert_eq!(error[42..], first[14..]);
}

/// What the right sends after `about` was reported to it as too big.
fn segment_sizes(network: &mut Network) -> usize {
    network.seen = Some(Vec::new());
    network.pass(Duration::from_millis(1));
    let seen = network.seen.take().unwrap();
    seen.iter()
        .filter(|(side, _)| *side == Side::Right)
        .map(|(_, frame)| frame.len())
        .max()
        .unwrap_or(0)
}

#[test]
fn a_smaller_path_makes_smaller_segments_but_only_about_what_is_in_flight() {
    let none = Capabilities::NONE;
    let mut network = Network::new(ordinary(Side::Left, none), ordinary(Side::Right, none));
    let server = network.left.open(Protocol::Tcp, Domain::V4).unwrap();
    network
        .left
        .bind(server, "10.0.0.1:80".parse().unwrap())
        .unwrap();
    network.left.listen(server, 1).unwrap();
    let client = network.right.open(Protocol::Tcp, Domain::V4).unwrap();
    let now = network.now;
    network
        .right
        .connect(now, client, "10.0.0.1:80".parse().unwrap())
        .unwrap();
    network.await_ready(Side::Right, client, Ready::CONNECTED);
    let now = network.now;
    network
        .right
        .write(now, client, vec![1; 20_000].into())
        .unwrap();
    let lost = network.drain(Side::Right);
    assert_eq!(lost[0].len(), 14 + 1500);
    let too_big = |quote: &[u8]| {
        let message = icmpv4::Message::Unreachable {
            code: icmpv4::code::FRAGMENTATION_NEEDED,
            mtu: 1000,
        };
        let quote = &quote[14..14 + 28];
        packet(LEFT, RIGHT, 1, &[&message.emit(quote)[..], quote].concat())
    };
    let mut stale = lost[0].to_vec();
    stale[14 + 20 + 4] ^= 0x80; // a sequence number far away
    network.inject(Side::Right, too_big(&stale));
    assert_eq!(network.right.discards().of(Discard::IcmpUnrelated), 1);
    assert!(network.drain(Side::Right).is_empty());
    network.inject(Side::Right, too_big(&lost[0]));
    network.pass(Duration::from_secs(3));
    let now = network.now;
    network
        .right
        .write(now, client, vec![1; 20_000].into())
        .unwrap();
    assert_eq!(segment_sizes(&mut network), 14 + 1000);
}

#[test]
fn an_established_connection_survives_what_the_network_says() {
    let none = Capabilities::NONE;
    let mut network = Network::new(ordinary(Side::Left, none), ordinary(Side::Right, none));
    let server = network.left.open(Protocol::Tcp, Domain::V4).unwrap();
    network
        .left
        .bind(server, "10.0.0.1:80".parse().unwrap())
        .unwrap();
    network.left.listen(server, 1).unwrap();
    let client = network.right.open(Protocol::Tcp, Domain::V4).unwrap();
    let now = network.now;
    network
        .right
        .connect(now, client, "10.0.0.1:80".parse().unwrap())
        .unwrap();
    network.await_ready(Side::Right, client, Ready::CONNECTED);
    let now = network.now;
    network
        .right
        .write(now, client, b"lost".as_slice().into())
        .unwrap();
    let lost = network.drain(Side::Right);
    for code in 0..16 {
        if code == icmpv4::code::FRAGMENTATION_NEEDED {
            continue;
        }
        let message = icmpv4::Message::Unreachable { code, mtu: 0 };
        let quote = &lost[0][14..14 + 28];
        let report = packet(LEFT, RIGHT, 1, &[&message.emit(quote)[..], quote].concat());
        network.inject(Side::Right, report);
    }
    assert_eq!(
        network.right.state(client),
        Some(wharf_net::tcp::State::Established)
    );
}

#[test]
fn an_echo_through_the_gateway_is_the_caller_s_to_answer() {
    for (source, destination, at) in [
        ("10.77.3.2", "203.0.113.9", 34),
        ("fd77::3:2", "2001:db8::9", 54),
    ] {
        let (source, destination): (IpAddr, IpAddr) =
            (source.parse().unwrap(), destination.parse().unwrap());
        let mut network = space(Capabilities::ALL);
        let ping = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                packet(source, destination, 1, &echo(b"payload"))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => packet_v6(
                source,
                destination,
                58,
                &echo_v6(source, destination, b"payload"),
            ),
            _ => unreachable!("one family"),
        };
        let mut ping = ping;
        ping[..6].copy_from_slice(&LEFT_MAC.0);
        ping[6..12].copy_from_slice(&RIGHT_MAC.0);
        network.inject(Side::Left, ping.clone());
        let Some(Event::Echo {
            local,
            remote,
            ident,
            sequence,
            payload,
        }) = network.left.event()
        else {
            panic!("an echo")
        };
        assert_eq!(
            (local, remote, ident, sequence),
            (destination, source, 5, 6)
        );
        let now = network.now;
        network
            .left
            .echo_reply(now, local, remote, ident, sequence, payload.clone())
            .unwrap();
        let frames = network.drain(Side::Left);
        assert_eq!(frames[0][at + 8..], b"payload"[..]);
        network
            .left
            .reject_echo(now, local, remote, ident, sequence, Unreachable::Host);
        let frames = network.drain(Side::Left);
        let quoted = at + 8 + (at - 14);
        assert_eq!(frames[0][quoted + 4..quoted + 8], [0, 5, 0, 6]);
        let other = "::1".parse().unwrap();
        let wrong = network
            .left
            .echo_reply(now, other, "10.0.0.1".parse().unwrap(), 1, 1, payload);
        assert!(wrong.is_err());
    }
}

#[test]
fn a_first_fragment_has_all_headers() {
    // RFC 8200 §4.5, RFC 7112 §5: code 3, pointer 0.
    let fragment = |next_header, more| {
        let fragment = ipv6::Fragment {
            next_header,
            offset: 0,
            more,
            ident: 7,
        };
        fragment.emit()
    };
    let destination_options = [17, 0, 1, 4, 0, 0, 0, 0];
    for (next_header, rest, complete) in [
        (17, &datagram(9, &[0; 8])[..], true),
        (6, &[0; 16][..], false),
        (60, &destination_options[..], false),
        (60, &[&destination_options[..], &[0; 8]].concat()[..], true),
        (60, &[17, 1, 1, 12, 0, 0, 0, 0][..], false),
    ] {
        let mut network = right();
        let payload = [&fragment(next_header, true)[..], rest].concat();
        let frame = packet_v6(v6("fd00::1"), v6("fd00::2"), 44, &payload);
        let answers = answers_v6(&mut network, frame);
        let problem = icmpv6::Message::ParameterProblem {
            code: 3,
            pointer: 0,
        };
        let expected: &[_] = if complete { &[] } else { &[problem] };
        let messages: Vec<_> = answers.iter().map(|(message, _)| *message).collect();
        assert_eq!(messages, expected, "{next_header} {rest:?}");
        let group = packet_v6(v6("fd00::1"), v6("ff02::1"), 44, &payload);
        assert!(answers_v6(&mut network, group).is_empty());
    }
}

#[test]
fn a_path_is_believed_to_be_small_only_about_what_was_sent_from_here() {
    // RFC 5927 §4; RFC 8201 §4 for what is below the least MTU.
    let mut network = right();
    let now = network.now;
    let too_big = |mtu: u32, port: u16| {
        let header = udp::Header {
            source: port,
            destination: 9,
            length: 1408,
            checksum: 1,
        };
        let quote = [
            &packet_v6(v6("fd00::2"), v6("fd00::1"), 17, &[0; 1408])[14..54],
            &header.emit()[..],
        ]
        .concat();
        let message = icmpv6::Message::PacketTooBig { mtu };
        let (router, own) = (v6("fd00::99"), v6("fd00::2"));
        let message = [&message.emit(&quote, router, own)[..], &quote].concat();
        packet_v6(router, own, icmpv6::PROTOCOL, &message)
    };
    let socket = network.right.open(Protocol::Udp, Domain::Dual).unwrap();
    let place = "[fd00::2]:700".parse().unwrap();
    network.right.bind(socket, place).unwrap();
    let frames = |network: &mut Network| {
        let to = Some("[fd00::1]:9".parse().unwrap());
        let payload = Bytes::from(vec![0; 1400]);
        network.right.send_to(now, socket, to, payload).unwrap();
        network.drain(Side::Right).len()
    };
    network.inject(Side::Right, too_big(1300, 701));
    assert_eq!(network.right.discards().of(Discard::IcmpUnrelated), 1);
    let before = network.right.discards().of(Discard::Icmp);
    network.inject(Side::Right, too_big(1279, 700));
    assert_eq!(network.right.discards().of(Discard::Icmp), before + 1);
    assert_eq!(frames(&mut network), 1);
    network.inject(Side::Right, too_big(1300, 700));
    assert_eq!(frames(&mut network), 2);
}

#[test]
fn redirects_are_not_followed() {
    let mut network = right();
    let redirect = icmpv4::Message::Other { kind: 5, code: 1 };
    let quote = packet(RIGHT, Ipv4Addr::new(203, 0, 113, 1), 17, &datagram(9, b"x"));
    let message = [&redirect.emit(&quote[14..])[..], &quote[14..]].concat();
    network.inject(Side::Right, packet(LEFT, RIGHT, 1, &message));
    assert_eq!(network.right.discards().of(Discard::Redirect), 1);
}

#[test]
fn a_frame_that_says_that_we_sent_it_is_not_ours() {
    let mut network = right();
    let socket = network.right.open(Protocol::Udp, Domain::V4).unwrap();
    let local = "127.0.0.1:7".parse().unwrap();
    network.right.bind(socket, local).unwrap();
    let mut frame = packet(LEFT, Ipv4Addr::LOCALHOST, 17, &datagram(7, b"from inside?"));
    frame[6..12].copy_from_slice(&RIGHT_MAC.0);
    network.inject(Side::Right, frame);
    assert_eq!(network.right.discards().of(Discard::OwnStation), 1);
    assert!(network.right.recv_from(socket).is_err());
}

/// What the right host's socket is told, after a datagram of its own to 10.0.0.1:9 and a report about that.
fn told(connected: bool, soft: bool, code: u8) -> Option<Unreachable> {
    let mut network = right();
    let now = network.now;
    let host = &mut network.right;
    let socket = host.open(Protocol::Udp, Domain::V4).unwrap();
    host.set(now, socket, Setting::SoftErrors(soft)).unwrap();
    host.bind(socket, "10.0.0.2:700".parse().unwrap()).unwrap();
    let to = "10.0.0.1:9".parse().unwrap();
    if connected {
        host.connect(now, socket, to).unwrap();
    }
    let before = host.discards().of(Discard::Icmp);
    let header = udp::Header {
        source: 700,
        destination: 9,
        length: 8,
        checksum: 0,
    };
    let message = icmpv4::Message::Unreachable { code, mtu: 0 };
    let quote = packet(RIGHT, LEFT, 17, &header.emit());
    let message = [&message.emit(&quote[14..])[..], &quote[14..]].concat();
    network.inject(Side::Right, packet(LEFT, RIGHT, 1, &message));
    let host = &mut network.right;
    let told = match host.recv_from(socket) {
        Err(RecvError::Refused) => Some(Unreachable::Port),
        Err(RecvError::Unreachable(told)) => Some(told),
        _ => None,
    };
    let ignored = host.discards().of(Discard::Icmp) - before;
    assert_eq!(ignored, u64::from(told.is_none()));
    assert_eq!(host.recv_from(socket).err(), Some(RecvError::Empty));
    let again = host.send_to(now, socket, Some(to), Bytes::new());
    assert_eq!(again, Ok(()), "told once");
    told
}

/// RFC 1122 §4.1.3.3; Linux with and without `IP_RECVERR`.
#[test]
fn a_datagram_socket_is_told_what_lasts_and_the_rest_if_it_asks() {
    use Unreachable::{Host, Network, Port, Prohibited};
    for (code, what) in [(0, Network), (1, Host), (3, Port), (13, Prohibited)] {
        let lasting = matches!(what, Port | Prohibited);
        assert_eq!(told(true, false, code), lasting.then_some(what), "{code}");
        assert_eq!(told(false, false, code), None, "{code}");
        assert_eq!(told(true, true, code), Some(what), "{code}");
        assert_eq!(told(false, true, code), Some(what), "{code}");
    }
    assert_eq!(told(true, false, 2), Some(Port), "no UDP there at all");
}
