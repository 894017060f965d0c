//! What somebody tries who reads the RFCs against a host: packets that are odd, wrong, or for somebody else.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use network::{LEFT_MAC, Network, RIGHT_MAC, Side, ordinary};
use wharf_net::wire::checksum::{self, Sum};
use wharf_net::wire::ethernet::{self, EtherType, Mac};
use wharf_net::wire::tcp::{Flags, Header};
use wharf_net::wire::{icmpv4, icmpv6, ipv4, ipv6, ndp};
use wharf_net::{Capabilities, Discard};
use wharf_port::{Domain, Protocol};

const LEFT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const LEFT_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const RIGHT_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

/// The host under examination is the right one; the left one's address is ours, and known to it.
fn host() -> Network {
    let none = Capabilities::NONE;
    let mut network = Network::new(ordinary(Side::Left, none), ordinary(Side::Right, none));
    for packet in [v4(&[], 1, &ping(false)), v6(58, 64, &ping(true))] {
        network.inject(Side::Right, packet);
    }
    network.pass(std::time::Duration::from_millis(10));
    network
}

fn frame(to: Mac, ethertype: EtherType, packet: &[u8]) -> Vec<u8> {
    let header = ethernet::Header {
        destination: to,
        source: LEFT_MAC,
        ethertype,
    };
    [&header.emit()[..], packet].concat()
}

/// An IPv4 packet with options, whose length is a multiple of four.
fn v4(options: &[u8], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = 20 + options.len();
    let mut packet = vec![0; 20];
    packet[0] = 0x40 | (length / 4) as u8;
    packet[2..4].copy_from_slice(&((length + payload.len()) as u16).to_be_bytes());
    packet[8..10].copy_from_slice(&[64, protocol]);
    packet[12..16].copy_from_slice(&LEFT.octets());
    packet[16..20].copy_from_slice(&RIGHT.octets());
    packet.extend_from_slice(options);
    let sum = checksum::checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(payload);
    frame(RIGHT_MAC, EtherType::Ipv4, &packet)
}

fn v6_to(destination: Ipv6Addr, next_header: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let header = ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: payload.len() as u16,
        next_header,
        hop_limit,
        source: LEFT_V6,
        destination,
    };
    let to = match destination.is_multicast() {
        true => Mac::of_group_v6(destination),
        false => RIGHT_MAC,
    };
    let packet = [&header.emit()[..], payload].concat();
    frame(to, EtherType::Ipv6, &packet)
}

fn v6(next_header: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    v6_to(RIGHT_V6, next_header, hop_limit, payload)
}

fn ping(v6: bool) -> Vec<u8> {
    let (ident, sequence) = (7, 7);
    match v6 {
        false => icmpv4::Message::EchoRequest { ident, sequence }
            .emit(b"")
            .to_vec(),
        true => {
            let request = icmpv6::Message::EchoRequest { ident, sequence };
            request.emit(b"", LEFT_V6, RIGHT_V6).to_vec()
        }
    }
}

/// What the host says to a frame.
fn answers(network: &mut Network, frame: Vec<u8>) -> Vec<Bytes> {
    network.inject(Side::Right, frame);
    network.drain(Side::Right)
}

/// The one ICMP message that the host says to a frame.
fn answer_v4(network: &mut Network, frame: Vec<u8>) -> icmpv4::Message {
    let said = answers(network, frame);
    assert_eq!(said.len(), 1, "{said:02x?}");
    let (_, length) = ipv4::Header::parse(&said[0][14..]).unwrap();
    icmpv4::Message::parse(&said[0][14 + length..]).unwrap()
}

fn answer_v6(network: &mut Network, frame: Vec<u8>) -> icmpv6::Message {
    let said = answers(network, frame);
    assert_eq!(said.len(), 1, "{said:02x?}");
    icmpv6::Message::parse(&said[0][54..], RIGHT_V6, LEFT_V6).unwrap()
}

/// RFC 1122 §3.2.1.8: options that are not known are passed over; what can't be one is complained about.
#[test]
fn ipv4_options() {
    let mut network = host();
    for options in [
        &[1, 1, 1, 1][..],
        &[0, 0, 0, 0],
        &[7, 7, 4, 0, 0, 0, 0, 0],
        &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[148, 4, 0, 0],
        &[130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[222, 4, 1, 2],
        &[131, 7, 8, 10, 0, 0, 9, 0],
        &[1; 40],
    ] {
        let said = answer_v4(&mut network, v4(options, 1, &ping(false)));
        assert!(
            matches!(said, icmpv4::Message::EchoReply { .. }),
            "{options:?}"
        );
    }
    // RFC 1122 §3.2.2.6: the way and the times stand in the reply, with this host in them.
    let mut way = vec![7, 39, 8, 10, 0, 0, 9];
    way.resize(40, 0);
    let said = answers(&mut network, v4(&way, 1, &ping(false)));
    way[2] = 12;
    way[7..11].copy_from_slice(&RIGHT.octets());
    assert_eq!(said[0][14] & 15, 15, "fifteen words of header");
    assert_eq!(said[0][34..74], way);
    let (header, length) = ipv4::Header::parse(&said[0][14..]).unwrap();
    assert_eq!((length, header.payload_len), (60, 8));
    let stamps = [68, 8, 5, 0, 0, 0, 0, 0];
    let said = answers(&mut network, v4(&stamps, 1, &ping(false)));
    assert_eq!(said[0][34..38], [68, 8, 9, 0]);
    assert!(said[0][38] & 0x80 != 0, "not counted from midnight");
    for (options, pointer) in [
        (&[7, 0, 0, 0][..], 20),
        (&[7, 7, 6, 0, 0, 0, 0, 0], 20),
        (&[1, 1, 68, 9], 22),
        (&[1, 1, 1, 7], 23),
    ] {
        let said = answer_v4(&mut network, v4(options, 17, &[0; 8]));
        assert_eq!(
            said,
            icmpv4::Message::ParameterProblem { pointer },
            "{options:?}"
        );
    }
    let on = [131, 7, 4, 10, 0, 0, 9, 0];
    let said = answer_v4(&mut network, v4(&on, 17, &[0; 8]));
    assert_eq!(said, icmpv4::Message::Unreachable { code: 5, mtu: 0 });
    assert_eq!(network.right.discards().of(Discard::Option), 1);
}

/// RFC 2675 §3: a host that knows no jumbograms finds an option that it does not know.
#[test]
fn a_jumbogram_is_an_unknown_option() {
    let mut network = host();
    let options = [59, 0, 0xc2, 4, 0, 1, 0, 0];
    let mut jumbo = v6(0, 64, &[&options[..], &[0; 200]].concat());
    jumbo[18..20].fill(0);
    let said = answer_v6(&mut network, jumbo);
    let (code, pointer) = (2, 42);
    assert_eq!(said, icmpv6::Message::ParameterProblem { code, pointer });
    // Without that option it is no packet at all.
    let mut empty = v6(0, 64, &[59, 0, 1, 4, 0, 0, 0, 0]);
    empty[18..20].fill(0);
    assert!(answers(&mut network, empty).is_empty());
}

/// RFC 8200 §4: headers in any order but the first, any number that is sane, and what is wrong is pointed at.
#[test]
fn extension_headers() {
    let mut network = host();
    let pad = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let echo = ping(true);
    let chains = [
        (60, [&pad(58)[..], &echo].concat()),
        (0, [&pad(60)[..], &pad(60), &pad(58), &echo].concat()),
        (43, [&[58, 0, 0, 0, 0, 0, 0, 0][..], &echo].concat()),
        (43, [&[58, 0, 253, 0, 0, 0, 0, 0][..], &echo].concat()),
        (44, [&[58, 0, 0, 0, 0, 0, 0, 9][..], &echo].concat()),
        (60, [&[58, 0, 0x3e, 1, 0, 0, 0, 0][..], &echo].concat()),
    ];
    for (first, chain) in chains {
        let said = answer_v6(&mut network, v6(first, 64, &chain));
        assert!(
            matches!(said, icmpv6::Message::EchoReply { .. }),
            "{chain:02x?}"
        );
    }
    for (first, chain, code, pointer) in [
        (60, [&pad(0)[..], &pad(58), &echo].concat(), 1, 40),
        (43, [&[58, 0, 0, 1, 0, 0, 0, 0][..], &echo].concat(), 0, 42),
        (43, [&[58, 0, 99, 1, 0, 0, 0, 0][..], &echo].concat(), 0, 42),
        (
            60,
            [&[58, 0, 0x9e, 1, 0, 0, 0, 0][..], &echo].concat(),
            2,
            42,
        ),
        (
            60,
            [&[58, 0, 0xde, 1, 0, 0, 0, 0][..], &echo].concat(),
            2,
            42,
        ),
        (132, vec![0; 16], 1, 6),
        (60, [&pad(132)[..], &[0; 16]].concat(), 1, 40),
    ] {
        let said = answer_v6(&mut network, v6(first, 64, &chain));
        let problem = icmpv6::Message::ParameterProblem { code, pointer };
        assert_eq!(said, problem, "{chain:02x?}");
    }
    for (first, chain) in [
        (60, [&[58, 0, 0x5e, 1, 0, 0, 0, 0][..], &echo].concat()),
        (60, vec![58, 9, 1, 4, 0, 0, 0, 0]),
        (60, vec![58]),
        (59, echo.clone()),
        (43, vec![58, 0, 0]),
    ] {
        let said = answers(&mut network, v6(first, 64, &chain));
        assert!(said.is_empty(), "{chain:02x?}: {said:02x?}");
    }
}

/// RFC 4861 §7.1: what came through a router, or is otherwise not as it must be, is nothing.
#[test]
fn neighbour_discovery_that_somebody_made_up() {
    let mut network = host();
    let group = ndp::solicited_node(RIGHT_V6);
    let link = [1, 1, 2, 0, 0, 0, 0, 0x66];
    let solicitation = |target: Ipv6Addr, to: Ipv6Addr, options: &[u8], code: u8| {
        let mut body = vec![135, code, 0, 0, 0, 0, 0, 0];
        body.extend_from_slice(&target.octets());
        body.extend_from_slice(options);
        let mut sum = Sum::pseudo(LEFT_V6.into(), to.into(), 58, body.len());
        sum.add(&body);
        body[2..4].copy_from_slice(&sum.checksum().to_be_bytes());
        body
    };
    let good = solicitation(RIGHT_V6, group, &link, 0);
    assert_eq!(answers(&mut network, v6_to(group, 58, 255, &good)).len(), 1);
    let zero = solicitation(RIGHT_V6, group, &[1, 0, 0, 0, 0, 0, 0, 0], 0);
    let longer = solicitation(RIGHT_V6, group, &[1, 2, 0, 0, 0, 0, 0, 0], 0);
    let multicast = solicitation(group, group, &link, 0);
    let coded = solicitation(RIGHT_V6, group, &link, 1);
    let short = good[..20].to_vec();
    for (hop_limit, body) in [
        (254, good.clone()),
        (64, good.clone()),
        (1, good),
        (255, zero),
        (255, longer),
        (255, multicast),
        (255, coded),
        (255, short),
    ] {
        let said = answers(&mut network, v6_to(group, 58, hop_limit, &body));
        assert!(said.is_empty(), "{hop_limit} {body:02x?}");
    }
}

/// A TCP segment from port 4000 with any octets of options.
fn segment(port: u16, flags: Flags, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let addresses = (LEFT.into(), RIGHT.into());
    v4(&[], 6, &tcp(addresses, port, flags, options, payload))
}

fn tcp(
    (from, to): (IpAddr, IpAddr),
    port: u16,
    flags: Flags,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut segment = vec![0; 20];
    segment[0..2].copy_from_slice(&4000_u16.to_be_bytes());
    segment[2..4].copy_from_slice(&port.to_be_bytes());
    segment[4..8].copy_from_slice(&1000_u32.to_be_bytes());
    segment[12] = (((20 + options.len()) / 4) << 4) as u8;
    segment[13] = flags.bits();
    segment[14..16].copy_from_slice(&5000_u16.to_be_bytes());
    segment.extend_from_slice(options);
    segment.extend_from_slice(payload);
    let mut sum = Sum::pseudo(from, to, 6, segment.len());
    sum.add(&segment);
    segment[16..18].copy_from_slice(&sum.checksum().to_be_bytes());
    segment
}

fn listening() -> Network {
    let mut network = host();
    let listener = network.right.open(Protocol::Tcp, Domain::V4).unwrap();
    let place = "10.0.0.2:80".parse().unwrap();
    network.right.bind(listener, place).unwrap();
    network.right.listen(listener, 8).unwrap();
    network
}

/// RFC 9293 §3.10.7.1, §3.10.7.2: every combination of flags, at a listener and where nobody is.
#[test]
fn flags_of_every_kind() {
    for bits in 0..64 {
        let flags = Flags::from_bits(bits);
        let [syn, ack, rst, fin] =
            [Flags::SYN, Flags::ACK, Flags::RST, Flags::FIN].map(|flag| flags.contains(flag));
        for (port, open) in [(80, true), (81, false)] {
            let mut network = listening();
            let said = answers(&mut network, segment(port, flags, &[], b""));
            let said: Vec<Header> = said
                .iter()
                .map(|frame| Header::parse(&frame[34..]).unwrap().0)
                .collect();
            let flags_of = |index: usize| said[index].control.flags;
            match (open, rst, ack, syn) {
                (_, true, ..) => assert!(said.is_empty(), "{flags:?}"),
                (_, false, true, _) => {
                    assert_eq!((said.len(), flags_of(0)), (1, Flags::RST), "{flags:?}");
                    assert_eq!(said[0].control.seq.value(), 0, "the number acknowledged");
                }
                (true, false, false, true) if !fin => {
                    assert_eq!((said.len(), flags_of(0)), (1, Flags::SYN | Flags::ACK));
                }
                (true, ..) => assert!(said.is_empty(), "{flags:?}"),
                (false, ..) => {
                    assert_eq!((said.len(), flags_of(0)), (1, Flags::RST | Flags::ACK));
                    let length = u32::from(syn) + u32::from(fin);
                    assert_eq!(said[0].control.ack.value(), 1000 + length, "{flags:?}");
                }
            }
        }
    }
}

/// RFC 9293 §3.1, §3.7.1; RFC 7323 §2.3: options that are cut off, impossible or extreme open connections all the same.
#[test]
fn options_of_a_syn() {
    for options in [
        &[2, 4, 0, 0][..],
        &[2, 4, 0, 48],
        &[2, 4, 0xff, 0xff],
        &[2, 3, 5, 0],
        &[2, 0, 5, 0],
        &[2, 1, 5, 0],
        &[2, 40, 5, 0],
        &[1, 1, 1, 2],
        &[3, 3, 15, 0],
        &[3, 3, 255, 0],
        &[3, 2, 1, 1],
        &[8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
        &[8, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
        &[5, 10, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1],
        &[254, 4, 0, 0],
        &[19, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
        &[1; 40],
        &[4, 2, 4, 2, 2, 4, 5, 180, 2, 4, 1, 0],
    ] {
        let mut network = listening();
        let said = answers(&mut network, segment(80, Flags::SYN, options, b""));
        assert_eq!(said.len(), 1, "{options:?}");
        let (header, _) = Header::parse(&said[0][34..]).unwrap();
        assert_eq!(header.control.flags, Flags::SYN | Flags::ACK);
        let scaled = options[..2] == [3, 3];
        assert_eq!(header.control.options.window_scale.is_some(), scaled);
    }
}

/// RFC 8200 §8.1, RFC 768: without a checksum over IPv6 it is nothing; over IPv4 it is; empty datagrams are datagrams.
#[test]
fn datagrams_at_the_edge() {
    let mut network = host();
    let socket = network.right.open(Protocol::Udp, Domain::Dual).unwrap();
    network
        .right
        .bind(socket, "[::]:7".parse().unwrap())
        .unwrap();
    let datagram = |source: u16, length: u16, payload: &[u8]| {
        let mut datagram = Vec::new();
        for word in [source, 7, length, 0] {
            datagram.extend_from_slice(&word.to_be_bytes());
        }
        datagram.extend_from_slice(payload);
        datagram
    };
    let right = |network: &mut Network| network.right.recv_from(socket).map(|got| got.payload);
    network.inject(Side::Right, v6(17, 64, &datagram(9, 9, b"x")));
    assert!(right(&mut network).is_err());
    assert_eq!(network.right.discards().of(Discard::Checksum), 1);
    for (source, length, payload, got) in [
        (9, 8, &b""[..], Some(&b""[..])),
        (0, 9, b"x", Some(b"x")),
        (9, 9, b"xyz", Some(b"x")),
        (9, 7, b"", None),
        (9, 10, b"x", None),
        (9, 0, b"", None),
    ] {
        network.inject(Side::Right, v4(&[], 17, &datagram(source, length, payload)));
        let read = right(&mut network).ok();
        assert_eq!(read.as_deref(), got, "{length} of {payload:?}");
    }
}

/// RFC 6437 §3: what belongs to one flow has one label, which is not zero; other flows have others.
#[test]
fn flow_labels() {
    let mut network = host();
    let mut labels = |port: u16, count: usize| -> Vec<u32> {
        (0..count)
            .map(|_| {
                let addresses = (LEFT_V6.into(), RIGHT_V6.into());
                let syn = tcp(addresses, port, Flags::SYN, &[], b"");
                let said = answers(&mut network, v6(6, 64, &syn));
                ipv6::Header::parse(&said[0][14..]).unwrap().flow_label
            })
            .collect()
    };
    let first = labels(4000, 3);
    assert!(
        first.iter().all(|label| *label == first[0] && *label != 0),
        "{first:?}"
    );
    let others: std::collections::BTreeSet<_> =
        (4001..4033).flat_map(|port| labels(port, 1)).collect();
    assert!(
        others.len() > 30 && !others.contains(&first[0]),
        "{others:?}"
    );
}
