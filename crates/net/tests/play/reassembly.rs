//! Fragments: of datagrams whose content is known, in any order, cut anywhere, doubled; and others that lie.

use std::net::IpAddr;
use std::time::Duration;

use wharf_net::wire::checksum::{self, Sum};
use wharf_net::{Capabilities, Frame, Host, Instant, Offload};
use wharf_port::{Domain, Protocol};

use super::craft::{self, End};
use super::{Octets, wake};
use crate::network::{LEFT_MAC, RIGHT_MAC, Side, ordinary};

/// Datagrams that are on the way at once.
const DATAGRAMS: usize = 6;

/// Plays a sequence of fragments; how many datagrams they made.
pub(crate) fn play(octets: &[u8]) -> usize {
    let mut octets = Octets(octets);
    let v6 = octets.byte() % 2 == 1;
    let ends = [["10.0.0.2", "10.0.0.1"], ["fd00::2", "fd00::1"]][usize::from(v6)];
    let [source, destination] = ends.map(|end| end.parse::<IpAddr>().expect("an address"));
    let from = End {
        mac: RIGHT_MAC,
        address: source,
        port: 9000,
    };
    let to = End {
        mac: LEFT_MAC,
        address: destination,
        port: 9,
    };
    let mut host = Host::new(ordinary(Side::Left, Capabilities::NONE));
    let socket = host
        .open(Protocol::Udp, Domain::Dual)
        .expect("there is room");
    host.bind(
        socket,
        "[::]:9"
            .parse::<wharf_port::Endpoint>()
            .expect("an endpoint")
            .into(),
    )
    .expect("it is free");
    let mut now = Instant::from_millis(1000);
    let whole: Vec<Vec<u8>> = (0..DATAGRAMS)
        .map(|ident| datagram(from, to, ident, octets.below(6000)))
        .collect();
    let mut lied = false;
    let mut made = 0;
    while let Some(what) = octets.next() {
        let ident = octets.below(DATAGRAMS);
        let (start, more, piece, lie) = cut(&whole[ident], what, &mut octets);
        lied |= lie;
        let frame = fragment(from, to, ident, start, more, &piece);
        host.receive(now, Frame::from_ethernet(frame.into(), Offload::default()));
        while host.transmit(now).is_some() {}
        while host.event().is_some() {}
        while let Ok(received) = host.recv_from(socket) {
            let ident = usize::from(received.payload.first().copied().unwrap_or(0));
            let is_true = whole
                .get(ident)
                .is_some_and(|whole| whole[8..] == received.payload[..]);
            // One lie in 65536 passes the checksum; one that says nothing else is the truth.
            made += 1;
            assert!(is_true || lied, "another datagram than was sent");
        }
        if what % 32 == 16 {
            now += octets.span().min(Duration::from_secs(100));
            wake(&mut host, now);
        }
    }
    made
}

/// A piece of a datagram: where it begins, whether more is said to follow, and whether that is a lie.
fn cut(truth: &[u8], what: u8, octets: &mut Octets<'_>) -> (usize, bool, Vec<u8>, bool) {
    let start = octets.below(truth.len()) & !7;
    let end = match what % 4 {
        0 => truth.len(),
        _ => (start + 8 * (1 + octets.below(200))).min(truth.len()),
    };
    let mut piece = truth[start..end].to_vec();
    let mut more = end < truth.len();
    let lie = what % 16 == 15;
    if lie {
        more ^= what & 0x40 != 0;
        piece[0] ^= 1;
        piece.truncate(octets.below(piece.len() + 1));
    }
    (start, more, piece, lie)
}

/// A datagram whose content names it.
fn datagram(from: End, to: End, ident: usize, length: usize) -> Vec<u8> {
    let length = length + 9;
    let mut datagram = vec![0; length];
    datagram[0..2].copy_from_slice(&from.port.to_be_bytes());
    datagram[2..4].copy_from_slice(&to.port.to_be_bytes());
    datagram[4..6].copy_from_slice(&(length as u16).to_be_bytes());
    for (at, octet) in datagram[8..].iter_mut().enumerate() {
        *octet = (ident + at * 7) as u8;
    }
    let mut sum = Sum::pseudo(from.address, to.address, 17, length);
    sum.add(&datagram);
    let checksum = wharf_net::wire::udp::never_zero(sum.checksum());
    datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    datagram
}

fn fragment(from: End, to: End, ident: usize, start: usize, more: bool, piece: &[u8]) -> Vec<u8> {
    if from.address.is_ipv4() {
        let mut frame = craft::packet(from, to, 17, piece, 0);
        frame[18..20].copy_from_slice(&(ident as u16).to_be_bytes());
        let place = (start / 8) as u16 | u16::from(more) << 13;
        frame[20..22].copy_from_slice(&place.to_be_bytes());
        frame[24..26].fill(0);
        let sum = checksum::checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        return frame;
    }
    let place = (start as u16 | u16::from(more)).to_be_bytes();
    let header = [17, 0, place[0], place[1], 0, 0, 0, ident as u8];
    craft::packet(from, to, 44, &[&header, piece].concat(), 0)
}
