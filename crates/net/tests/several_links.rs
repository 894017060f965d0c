//! A host with several links: each has its own hardware address, MTU, neighbours and groups, and an address is of one link (RFC 1122
//! §3.3.4.2, the strong model).

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use bytes::Bytes;
use wharf_net::wire::arp::{Operation, Packet};
use wharf_net::wire::ethernet::{self, EtherType, Mac};
use wharf_net::wire::{icmpv4, ipv4, tcp, udp};
use wharf_net::{
    Config, Discard, Frame, Host, Instant, Interface, Offload, Route, Setting, SocketId,
};
use wharf_port::table::Device;
use wharf_port::{Domain, Protocol};

const FIRST: Mac = Mac([2, 0, 0, 0, 0, 1]);
const SECOND: Mac = Mac([2, 0, 0, 0, 0, 2]);
const PEER: Mac = Mac([2, 0, 0, 0, 0, 9]);
const NOW: Instant = Instant::from_millis(10_000);

/// Both links in 10.0.0.0/24, the second with jumbo frames, a network of its own and the way out.
fn host() -> Host {
    let mut config = Config::new(FIRST, [1; 32]);
    config.addresses = ["10.0.0.2/24", "fe80::2/64"]
        .map(|own| own.parse().unwrap())
        .to_vec();
    let mut second = Interface::new(SECOND);
    second.mtu = 9000;
    second.addresses = ["10.0.0.3/24", "192.0.2.3/24", "fe80::3/64"]
        .map(|own| own.parse().unwrap())
        .to_vec();
    second.routes = vec![Route {
        network: "0.0.0.0/0".parse().unwrap(),
        gateway: "192.0.2.1".parse().unwrap(),
    }];
    config.further = vec![second];
    Host::new(config)
}

fn second(host: &Host) -> Device {
    host.links().nth(1).unwrap()
}

/// Everything that a host has to send by a link.
fn sent(host: &mut Host, device: Device) -> Vec<Bytes> {
    std::iter::from_fn(|| host.transmit_on(NOW, device).map(|it| it.to_ethernet())).collect()
}

fn give(host: &mut Host, device: Device, ethernet: Vec<u8>) {
    host.receive_on(
        NOW,
        device,
        Frame::from_ethernet(ethernet.into(), Offload::default()),
    );
}

fn frame(to: Mac, ethertype: EtherType, packet: &[u8]) -> Vec<u8> {
    let header = ethernet::Header {
        destination: to,
        source: PEER,
        ethertype,
    };
    [&header.emit()[..], packet].concat()
}

/// An IPv4 packet from a peer.
fn packet(to: Mac, [source, destination]: [&str; 2], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = ipv4::Header {
        traffic_class: 0,
        payload_len: payload.len() as u16,
        ident: 7,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    };
    frame(to, EtherType::Ipv4, &[&header.emit()[..], payload].concat())
}

fn question(from: &str, target: &str) -> Vec<u8> {
    let packet = Packet {
        operation: Operation::Request,
        sender_mac: PEER,
        sender: from.parse().unwrap(),
        target_mac: Mac::default(),
        target: target.parse().unwrap(),
    };
    frame(Mac::BROADCAST, EtherType::Arp, &packet.emit())
}

fn echo() -> Vec<u8> {
    let request = icmpv4::Message::EchoRequest {
        ident: 1,
        sequence: 1,
    };
    request.emit(b"").to_vec()
}

#[test]
fn a_question_is_answered_by_the_link_that_has_the_address() {
    let mut host = host();
    let devices: Vec<Device> = host.links().collect();
    for (asked, target, answers) in [
        (0, "10.0.0.2", true),
        (0, "10.0.0.3", false),
        (1, "10.0.0.3", true),
        (1, "10.0.0.2", false),
    ] {
        give(&mut host, devices[asked], question("10.0.0.9", target));
        let said = sent(&mut host, devices[asked]);
        assert_eq!(said.len(), usize::from(answers), "{target} by {asked}");
        for answer in said {
            assert_eq!(answer[6..12], [FIRST, SECOND][asked].0);
        }
        assert!(sent(&mut host, devices[1 - asked]).is_empty());
    }
}

#[test]
fn a_reply_leaves_by_the_link_that_the_question_came_by() {
    let mut host = host();
    let devices: Vec<Device> = host.links().collect();
    for (at, own, mac) in [(0, "10.0.0.2", FIRST), (1, "10.0.0.3", SECOND)] {
        give(&mut host, devices[at], question("10.0.0.9", own));
        sent(&mut host, devices[at]);
        give(
            &mut host,
            devices[at],
            packet(mac, ["10.0.0.9", own], 1, &echo()),
        );
        let replies = sent(&mut host, devices[at]);
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0][..12], [PEER.0, mac.0].concat());
        assert!(sent(&mut host, devices[1 - at]).is_empty());
    }
}

#[test]
fn what_is_for_an_address_of_another_link_is_not_taken_nor_forwarded() {
    let mut host = host();
    let devices: Vec<Device> = host.links().collect();
    for (at, to, mac) in [
        (0, "10.0.0.3", FIRST),
        (0, "192.0.2.3", FIRST),
        (1, "10.0.0.2", SECOND),
        (1, "203.0.113.5", SECOND),
    ] {
        let before = host.discards().of(Discard::NotMine);
        give(
            &mut host,
            devices[at],
            packet(mac, ["10.0.0.9", to], 1, &echo()),
        );
        assert_eq!(host.discards().of(Discard::NotMine), before + 1, "{to}");
        assert!(devices.iter().all(|link| sent(&mut host, *link).is_empty()));
    }
    // Our own frames, seen on the other link as both are one network, are nobody's.
    let mut own = packet(SECOND, ["10.0.0.2", "10.0.0.3"], 1, &echo());
    own[6..12].copy_from_slice(&FIRST.0);
    give(&mut host, devices[1], own);
    assert_eq!(host.discards().of(Discard::Source), 1);
    let stray = Device::new(77).unwrap();
    give(&mut host, stray, question("10.0.0.9", "10.0.0.2"));
    assert_eq!(host.discards().of(Discard::OtherStation), 1);
}

/// The SYN by which a connection opens, and the link that it leaves by.
fn syn(host: &mut Host, to: &str, bound: Option<&str>) -> (Device, tcp::Control) {
    let socket = host.open(Protocol::Tcp, Domain::V4).unwrap();
    if let Some(own) = bound {
        host.bind(socket, own.parse().unwrap()).unwrap();
    }
    host.connect(NOW, socket, to.parse().unwrap()).unwrap();
    let devices: Vec<Device> = host.links().collect();
    for device in devices {
        let said = sent(host, device);
        let Some(asked) = said.first() else { continue };
        let asked = Packet::parse(&asked[14..]).unwrap();
        let reply = Packet {
            operation: Operation::Reply,
            sender_mac: PEER,
            sender: asked.target,
            target_mac: asked.sender_mac,
            target: asked.sender,
        };
        let answer = frame(asked.sender_mac, EtherType::Arp, &reply.emit());
        give(host, device, answer);
        let said = sent(host, device);
        let (header, _) = tcp::Header::parse(&said[0][34..]).unwrap();
        return (device, header.control);
    }
    panic!("nothing was sent");
}

#[test]
fn a_connection_takes_the_link_of_its_route_or_of_its_address_and_that_links_mtu() {
    let mut host = host();
    let second = second(&host);
    for (to, bound, device, mss) in [
        ("192.0.2.77:80", None, second, 8960),
        ("203.0.113.1:80", None, second, 8960),
        ("10.0.0.77:80", None, Host::LINK, 1460),
        ("10.0.0.78:80", Some("10.0.0.3:0"), second, 8960),
    ] {
        let (left_by, syn) = syn(&mut host, to, bound);
        assert_eq!((left_by, syn.options.mss), (device, Some(mss)), "{to}");
    }
    // From an address of the first link there is no way out by the second.
    let socket = host.open(Protocol::Udp, Domain::V4).unwrap();
    host.bind(socket, "10.0.0.2:700".parse().unwrap()).unwrap();
    let to = Some("203.0.113.1:9".parse().unwrap());
    assert!(
        host.send_to(NOW, socket, to, Bytes::from_static(b"?"))
            .is_err()
    );
    assert_eq!(host.discards().of(Discard::NoRoute), 1);
}

fn datagram_socket(host: &mut Host, device: Option<Device>) -> SocketId {
    let socket = host.open(Protocol::Udp, Domain::V4).unwrap();
    host.set(NOW, socket, Setting::Device(device)).unwrap();
    host.bind(socket, "0.0.0.0:700".parse().unwrap()).unwrap();
    socket
}

#[test]
fn groups_are_joined_on_a_link_and_heard_there() {
    let mut host = host();
    let second = second(&host);
    let group = "239.1.2.3";
    let here = datagram_socket(&mut host, Some(second));
    host.join(NOW, here, group.parse().unwrap()).unwrap();
    let report = sent(&mut host, second);
    assert_eq!(report.len(), 1);
    assert_eq!(report[0][6..12], SECOND.0);
    assert!(sent(&mut host, Host::LINK).is_empty());
    let header = udp::Header {
        source: 4000,
        destination: 700,
        length: 8,
        checksum: 0,
    };
    let to = Mac::of_group(group.parse().unwrap()).unwrap();
    let datagram = || packet(to, ["10.0.0.9", group], 17, &header.emit());
    give(&mut host, Host::LINK, datagram());
    assert_eq!(host.discards().of(Discard::NotJoined), 1);
    give(&mut host, second, datagram());
    assert!(host.recv_from(here).is_ok());
    // And what the socket sends to the group leaves there.
    let to = Some("239.1.2.3:700".parse().unwrap());
    host.send_to(NOW, here, to, Bytes::from_static(b"!"))
        .unwrap();
    assert_eq!(sent(&mut host, second).len(), 1);
    assert!(sent(&mut host, Host::LINK).is_empty());
}

#[test]
fn each_link_has_neighbours_of_its_own() {
    let mut host = host();
    let devices: Vec<Device> = host.links().collect();
    // The same address on both links is two stations.
    let stations = [Mac([2, 0, 0, 0, 1, 1]), Mac([2, 0, 0, 0, 1, 2])];
    for (at, own) in [(0, "10.0.0.2:701"), (1, "10.0.0.3:702")] {
        let socket = host.open(Protocol::Udp, Domain::V4).unwrap();
        host.bind(socket, own.parse().unwrap()).unwrap();
        let to = Some("10.0.0.9:9".parse().unwrap());
        host.send_to(NOW, socket, to, Bytes::from_static(b"?"))
            .unwrap();
        let asked = sent(&mut host, devices[at]);
        let asked = Packet::parse(&asked[0][14..]).unwrap();
        let reply = Packet {
            operation: Operation::Reply,
            sender_mac: stations[at],
            sender: asked.target,
            target_mac: asked.sender_mac,
            target: asked.sender,
        };
        let answer = frame(asked.sender_mac, EtherType::Arp, &reply.emit());
        give(&mut host, devices[at], answer);
        let said = sent(&mut host, devices[at]);
        assert_eq!(said[0][..6], stations[at].0);
    }
}

#[test]
fn a_link_that_takes_nothing_holds_nobody_else_up() {
    let mut host = host();
    let second = second(&host);
    let devices: Vec<Device> = host.links().collect();
    for (at, own) in [(0, "10.0.0.2"), (1, "10.0.0.3")] {
        give(&mut host, devices[at], question("10.0.0.9", own));
    }
    let stuck = host.open(Protocol::Udp, Domain::V4).unwrap();
    host.bind(stuck, "10.0.0.2:700".parse().unwrap()).unwrap();
    let to = Some("10.0.0.9:9".parse().unwrap());
    while host
        .send_to(NOW, stuck, to, Bytes::from_static(b"?"))
        .is_ok()
    {}
    assert!(!host.has_output_room());
    sent(&mut host, second);
    give(
        &mut host,
        second,
        packet(SECOND, ["10.0.0.9", "10.0.0.3"], 1, &echo()),
    );
    assert_eq!(sent(&mut host, second).len(), 1);
}

#[test]
fn a_connection_with_a_link_local_peer_stays_on_its_link() {
    let mut host = host();
    let second = second(&host);
    let socket = host.open(Protocol::Tcp, Domain::Dual).unwrap();
    host.set(NOW, socket, Setting::Device(Some(second)))
        .unwrap();
    host.connect(NOW, socket, "[fe80::9]:80".parse().unwrap())
        .unwrap();
    let asked = sent(&mut host, second);
    // A neighbour solicitation, from the link's own address.
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0][6..12], SECOND.0);
    assert_eq!(asked[0][22..38][14..], [0, 3]);
    assert!(sent(&mut host, Host::LINK).is_empty());
}
