//! A million peers behind one gateway, made up as their frames are needed: nothing of them is kept but where each stands.

use std::net::Ipv4Addr;

use bytes::Bytes;
use wharf_net::wire::arp::{self, Operation};
use wharf_net::wire::ethernet::{self, EtherType, Mac};
use wharf_net::wire::ipv4;
use wharf_net::wire::tcp::{Control, Flags, Header, Options, SeqNum, Timestamps};
use wharf_net::{Checksum, Frame, Offload};

pub(crate) const HOST: (Mac, Ipv4Addr) = (Mac([2, 0, 0, 0, 0, 2]), Ipv4Addr::new(10, 0, 0, 2));
pub(crate) const GATEWAY: (Mac, Ipv4Addr) = (Mac([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 1));
pub(crate) const PORT: u16 = 80;

/// A peer's first sequence number.
const ISN: u32 = 1000;

/// The first word of peer number `number`.
pub(crate) fn syn(number: u32) -> Frame {
    segment(
        number,
        Control {
            seq: SeqNum::new(ISN),
            flags: Flags::SYN,
            window: 65_535,
            options: Options {
                mss: Some(1460),
                window_scale: Some(7),
                sack_permitted: true,
                timestamps: Some(Timestamps { value: 1, echo: 0 }),
                ..Options::default()
            },
            ..Control::default()
        },
        b"",
    )
}

/// A later word: `sent` octets after the SYN, acknowledging up to `ack`.
pub(crate) fn word(
    number: u32,
    flags: Flags,
    sent: u32,
    (ack, echo): (SeqNum, u32),
    text: &[u8],
) -> Frame {
    segment(
        number,
        Control {
            seq: SeqNum::new(ISN + 1 + sent),
            ack,
            flags: flags | Flags::ACK,
            window: 512,
            options: Options {
                timestamps: Some(Timestamps {
                    value: 2 + sent,
                    echo,
                }),
                ..Options::default()
            },
            ..Control::default()
        },
        text,
    )
}

fn segment(number: u32, control: Control, text: &[u8]) -> Frame {
    let header = Header {
        source: 40_000,
        destination: PORT,
        control,
    };
    let mut transport = vec![0; header.len()];
    header.emit(&mut transport);
    transport.extend_from_slice(text);
    let ip = ipv4::Header {
        traffic_class: 0,
        payload_len: transport.len() as u16,
        ident: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 60,
        protocol: 6,
        source: Ipv4Addr::from_bits(0x0b00_0001 + number),
        destination: HOST.1,
    };
    let packet = [&ip.emit()[..], &transport].concat();
    from_gateway(HOST.0, EtherType::Ipv4, &packet)
}

/// Where the gateway is.
pub(crate) fn gateway_is_here() -> Frame {
    let packet = arp::Packet {
        operation: Operation::Reply,
        sender_mac: GATEWAY.0,
        sender: GATEWAY.1,
        target_mac: HOST.0,
        target: HOST.1,
    };
    from_gateway(HOST.0, EtherType::Arp, &packet.emit())
}

fn from_gateway(to: Mac, ethertype: EtherType, packet: &[u8]) -> Frame {
    let header = ethernet::Header {
        destination: to,
        source: GATEWAY.0,
        ethertype,
    };
    let bytes = Bytes::from([&header.emit()[..], packet].concat());
    // The link vouches for the checksum: a million sums are not what is measured.
    let offload = Offload {
        checksum: Checksum::Verified,
        ..Offload::default()
    };
    Frame::from_ethernet(bytes, offload)
}

/// What the host says: its TCP header; nothing for what is not TCP.
pub(crate) fn said(frame: &Frame) -> Option<Control> {
    let bytes = frame.to_ethernet();
    let (ip, length) = ipv4::Header::parse(bytes.get(ethernet::LEN..)?).ok()?;
    let (header, _) = Header::parse(&bytes[ethernet::LEN + length..]).ok()?;
    (ip.protocol == 6).then_some(header.control)
}
