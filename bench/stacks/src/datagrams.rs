//! What a datagram costs that arrives for one of many sockets, from the frame to the reader.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use smoltcp::socket::udp as smol_udp;
use smoltcp::time::Instant as SmolInstant;
use wharf_net::wire::checksum::Sum;
use wharf_net::wire::ethernet::{self, EtherType, Mac};
use wharf_net::wire::{ipv4, udp};
use wharf_net::{Capabilities, Frame, Host, Instant, Offload, SocketId};
use wharf_port::{Domain, Endpoint, Port, Protocol};

use crate::measure::{Clock, Report, batches};
use crate::smol::{End, Wire};
use crate::wire::config;

const LENGTH: usize = 64;
/// Ports used at one address; there are two addresses' worth.
const PORTS: usize = 60_000;

pub(crate) fn measure(report: &mut Report) {
    let mut first = None;
    for others in [0, 1_000, 100_000] {
        let (one, any) = ours(others);
        let base = *first.get_or_insert(one);
        let what = format!("a datagram among {others} other sockets: wharf-net");
        report.row(
            &what,
            format!("{one:.0} ns"),
            format!("{:.2} × none", one / base),
            "1.5 ×",
        );
        if others > 0 {
            let what = format!("{what}, to any of them");
            report.row(
                &what,
                format!("{any:.0} ns"),
                format!("{:.2} × none", any / base),
                "",
            );
        }
    }
    let mut first = None;
    for others in [0, 1_000] {
        let time = smol(others);
        let base = *first.get_or_insert(time);
        let what = format!("a datagram among {others} other sockets: smoltcp");
        report.row(
            &what,
            format!("{time:.0} ns"),
            format!("{:.2} × none", time / base),
            "",
        );
    }
}

/// Where socket `number` is.
fn place(number: usize) -> ([u8; 4], u16) {
    (
        [10, 0, 0, 2 + (number / PORTS) as u8],
        1 + (number % PORTS) as u16,
    )
}

/// Nanoseconds of a datagram to the last socket, and to any.
fn ours(others: usize) -> (f64, f64) {
    let (mut host, sockets) = bound(others);
    let one = batches(|| arrive(&mut host, &sockets[others]));
    let mut at = 0;
    let any = batches(|| {
        at = (at + 48_271) % sockets.len();
        arrive(&mut host, &sockets[at]);
    });
    (one, any)
}

/// How long so many datagrams take, to one socket after another of 1,000.
pub(crate) fn alone(count: usize) -> Duration {
    let (mut host, sockets) = bound(1_000);
    let start = Clock::now();
    for number in 0..count {
        arrive(&mut host, &sockets[number % sockets.len()]);
    }
    start.elapsed()
}

/// A host with one socket more, and for each a datagram.
fn bound(others: usize) -> (Host, Vec<(SocketId, Bytes)>) {
    let mut config = config(2, Capabilities::NONE);
    config
        .addresses
        .push("10.0.0.3/8".parse().expect("an address"));
    let mut host = Host::new(config);
    let sockets = (0..=others)
        .map(|number| {
            let (address, port) = place(number);
            let socket = host.open(Protocol::Udp, Domain::V4).expect("there is room");
            let port = Port::new(port).expect("not zero");
            let local = Endpoint::new(address.into(), port);
            host.bind(socket, local.into()).expect("it is free");
            (socket, frame(address, port.number()))
        })
        .collect();
    (host, sockets)
}

fn arrive(host: &mut Host, (socket, frame): &(SocketId, Bytes)) {
    let frame = Frame::from_ethernet(frame.clone(), Offload::default());
    host.receive(Instant::from_millis(1), frame);
    let received = host.recv_from(*socket).expect("it has arrived");
    assert_eq!(received.payload.len(), LENGTH, "it is whole");
    while host.event().is_some() {}
}

/// Nanoseconds of a datagram to the last of smoltcp's sockets.
fn smol(others: usize) -> f64 {
    let wire = Wire::default();
    let (inbox, pool) = (wire.inbox.clone(), wire.pool.clone());
    let mut end = End::new(2, wire);
    let mut last = None;
    for number in 0..=others {
        let buffer =
            || smol_udp::PacketBuffer::new(vec![smol_udp::PacketMetadata::EMPTY; 4], vec![0; 1024]);
        let mut socket = smol_udp::Socket::new(buffer(), buffer());
        socket.bind(place(number).1).expect("it is free");
        last = Some(end.sockets.add(socket));
    }
    let last = last.expect("there is one");
    let (address, port) = place(others);
    let frame = frame(address, port);
    let mut payload = [0; LENGTH];
    batches(|| {
        let mut arriving = pool.borrow_mut().pop_back().unwrap_or_default();
        arriving.clear();
        arriving.extend_from_slice(&frame);
        inbox.borrow_mut().push_back(arriving);
        end.interface
            .poll_ingress_single(SmolInstant::ZERO, &mut end.wire, &mut end.sockets);
        let socket = end.sockets.get_mut::<smol_udp::Socket<'_>>(last);
        let (count, _) = socket.recv_slice(&mut payload).expect("it has arrived");
        assert_eq!(count, LENGTH, "it is whole");
    })
}

/// The Ethernet frame of a datagram from 10.0.0.9.
fn frame(to: [u8; 4], port: u16) -> Bytes {
    let (source, destination) = ([10, 0, 0, 9], to);
    let length = udp::LEN + LENGTH;
    let header = udp::Header {
        source: 40_000,
        destination: port,
        length: length as u16,
        checksum: 0,
    };
    let mut datagram = [header.emit().as_slice(), &[7; LENGTH]].concat();
    let ends: [IpAddr; 2] = [source.into(), destination.into()];
    let mut sum = Sum::pseudo(ends[0], ends[1], udp::PROTOCOL, length);
    sum.add(&datagram);
    let checksum = udp::never_zero(sum.checksum());
    datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    let ip = ipv4::Header {
        traffic_class: 0,
        payload_len: length as u16,
        ident: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: udp::PROTOCOL,
        source: source.into(),
        destination: destination.into(),
    };
    let ethernet = ethernet::Header {
        destination: Mac([2, 0, 0, 0, 0, 2]),
        source: Mac([2, 0, 0, 0, 0, 9]),
        ethertype: EtherType::Ipv4,
    };
    [ethernet.emit().as_slice(), &ip.emit(), &datagram]
        .concat()
        .into()
}
