//! TCP segments and datagrams as frames, made and read here, apart from how a host does it.

use std::net::IpAddr;

use wharf_net::wire::checksum::{self, Sum};
use wharf_net::wire::ethernet::Mac;
use wharf_net::wire::tcp::{Control, Header};

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
