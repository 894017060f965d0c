//! TCP segments and datagrams as frames, made and read here, apart from how a host does it.

use std::net::{IpAddr, Ipv6Addr};

use wharf_net::wire::checksum::{self, Sum};
use wharf_net::wire::ethernet::Mac;
use wharf_net::wire::tcp::{Control, Header};

use crate::network::RIGHT_MAC;

/// One end of what is crafted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) mac: Mac,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

/// A segment as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) control: Control,
    pub(crate) text: Vec<u8>,
    /// The congestion bits of the IP header.
    pub(crate) ecn: u8,
}

/// The frame of a segment.
pub(crate) fn segment(from: End, to: End, control: &Control, text: &[u8], ecn: u8) -> Vec<u8> {
    let header = Header {
        source: from.port,
        destination: to.port,
        control: *control,
    };
    let mut transport = vec![0; header.len()];
    header.emit(&mut transport);
    transport.extend_from_slice(text);
    let mut sum = Sum::pseudo(from.address, to.address, 6, transport.len());
    sum.add(&transport);
    transport[16..18].copy_from_slice(&sum.checksum().to_be_bytes());
    packet(from, to, 6, &transport, ecn)
}

/// The frame of a packet that is not cut up.
pub(crate) fn packet(from: End, to: End, protocol: u8, transport: &[u8], ecn: u8) -> Vec<u8> {
    let ip = match (from.address, to.address) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let total = ((20 + transport.len()) as u16).to_be_bytes();
            let mut ip = vec![
                0x45, ecn, total[0], total[1], 0, 0, 0x40, 0, 64, protocol, 0, 0,
            ];
            ip.extend(source.octets());
            ip.extend(destination.octets());
            let sum = checksum::checksum(&ip);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            ip
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let length = (transport.len() as u16).to_be_bytes();
            let mut ip = vec![0x60, ecn << 4, 0, 0, length[0], length[1], protocol, 64];
            ip.extend(source.octets());
            ip.extend(destination.octets());
            ip
        }
        _ => unreachable!("both ends are of one family"),
    };
    ethernet(from, to, &[&ip, transport].concat())
}

/// The frame of a packet.
pub(crate) fn ethernet(from: End, to: End, packet: &[u8]) -> Vec<u8> {
    let ethertype = if from.address.is_ipv4() {
        [8, 0]
    } else {
        [0x86, 0xdd]
    };
    [&to.mac.0[..], &from.mac.0, &ethertype, packet].concat()
}

/// The segment in a frame, if there is one.
pub(crate) fn read(frame: &[u8]) -> Option<Segment> {
    let packet = frame.get(14..)?;
    let (ecn, transport) = match frame.get(12..14)? {
        [8, 0] if packet.get(9) == Some(&6) => {
            let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            (packet[1] & 3, packet.get(20..total)?)
        }
        [0x86, 0xdd] if packet.get(6) == Some(&6) => {
            let length = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
            (packet[1] >> 4 & 3, packet.get(40..40 + length)?)
        }
        _ => return None,
    };
    let (header, length) = Header::parse(transport).ok()?;
    Some(Segment {
        source: header.source,
        destination: header.destination,
        control: header.control,
        text: transport[length..].to_vec(),
        ecn,
    })
}

/// The answer to a frame that asks where 10.0.0.2 or fd00::2 is: by ARP, or a neighbour solicitation.
pub(crate) fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let asker: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
    if frame.get(12..14)? == [8, 6] {
        let asked = frame.get(20..22)? == [0, 1] && frame.get(38..42)? == [10, 0, 0, 2];
        let own = [&RIGHT_MAC.0[..], &[10, 0, 0, 2]].concat();
        let arp = [&[0, 1, 8, 0, 6, 4, 0, 2], &own[..], frame.get(22..32)?].concat();
        return asked.then(|| [&asker[..], &RIGHT_MAC.0, &[8, 6], &arp].concat());
    }
    let solicits =
        frame.get(12..14)? == [0x86, 0xdd] && frame.get(20)? == &58 && frame.get(54)? == &135;
    let target: [u8; 16] = frame.get(62..78)?.try_into().ok()?;
    let source: [u8; 16] = frame.get(22..38)?.try_into().ok()?;
    if !solicits || target != RIGHT_V6.octets() {
        return None;
    }
    let from = End {
        mac: RIGHT_MAC,
        address: RIGHT_V6.into(),
        port: 0,
    };
    let to = End {
        mac: Mac(asker),
        address: source.into(),
        port: 0,
    };
    let mut message = [
        &[136, 0, 0, 0, 0x60, 0, 0, 0],
        &target[..],
        &[2, 1],
        &RIGHT_MAC.0,
    ]
    .concat();
    let mut sum = Sum::pseudo(from.address, to.address, 58, message.len());
    sum.add(&message);
    message[2..4].copy_from_slice(&sum.checksum().to_be_bytes());
    let mut frame = packet(from, to, 58, &message, 0);
    frame[21] = 255; // RFC 4861 §7.1.2: as nobody else can send it.
    Some(frame)
}

const RIGHT_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
