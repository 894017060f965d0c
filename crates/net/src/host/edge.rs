//! The edge of the host, where frames become what the link can take: trains are cut and checksums completed in
//! software where the link does neither.
//!
//! # Theory of operation
//!
//! Everything above this file acts as if the link had every offload. Each packet cut from a train gets the train's headers with
//! lengths, identification, sequence number and flags adjusted, and a slice of its payload; nothing but headers is
//! copied.

use alloc::collections::VecDeque;
use bytes::Bytes;
use core::net::IpAddr;

use crate::frame::{Body, Capabilities, Checksum, Frame, Offload, Segmentation};
use crate::wire::checksum::Sum;
use crate::wire::ethernet;
use crate::wire::{ipv4, ipv6, tcp, udp};

/// Appends `frame` to `output`, as one frame or as many.
pub(super) fn finish(frame: &mut Frame, capabilities: Capabilities, output: &mut VecDeque<Frame>) {
    match frame.offload().segment {
        Segmentation::Tcp { mss } if !capabilities.tcp_segment => {
            cut(frame, usize::from(mss), capabilities, output);
        }
        Segmentation::Udp { size } if !capabilities.udp_segment => {
            cut(frame, usize::from(size), capabilities, output);
        }
        Segmentation::None => {
            if !capabilities.checksum {
                complete(frame);
            }
            frame.seal();
            output.push_back(frame.take());
        }
        _ => {
            frame.seal();
            output.push_back(frame.take());
        }
    }
}

/// Puts the frame's whole checksum in place.
fn complete(frame: &mut Frame) {
    let Checksum::Partial { start, offset } = frame.offload().checksum else {
        return;
    };
    let (start, at) = (usize::from(start), usize::from(start + offset));
    let mut sum = Sum::default();
    sum.add(&frame.headers()[start..]);
    frame.body().iter().for_each(|slice| sum.add(slice));
    let checksum = match usize::from(offset) {
        offset if offset == usize::from(udp::CHECKSUM_OFFSET) => udp::never_zero(sum.checksum()),
        _ => sum.checksum(),
    };
    frame.headers_mut()[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    frame.set_offload(Offload::default());
}

/// Takes slices of given lengths off the front of a scatter list.
struct Slicer<'a> {
    slices: &'a [Bytes],
    at: usize,
}

impl Slicer<'_> {
    fn take(&mut self, mut count: usize) -> Body {
        let mut taken = Body::new();
        while let ([first, rest @ ..], true) = (self.slices, count > 0) {
            let part = (first.len() - self.at).min(count);
            if part > 0 {
                taken.push(first.slice(self.at..self.at + part));
            }
            self.at += part;
            count -= part;
            if self.at == first.len() {
                (self.slices, self.at) = (rest, 0);
            }
        }
        taken
    }
}

/// Where the parts of a train's headers begin.
struct Layout {
    transport: usize,
    source: IpAddr,
    destination: IpAddr,
}

impl Layout {
    fn of(headers: &[u8]) -> Option<Self> {
        let packet = headers.get(ethernet::LEN..)?;
        if let Ok((header, length)) = ipv4::Header::parse_quoted(packet) {
            let (source, destination) = (header.source.into(), header.destination.into());
            return Some(Self {
                transport: ethernet::LEN + length,
                source,
                destination,
            });
        }
        let header = ipv6::Header::parse_quoted(packet).ok()?;
        let (source, destination) = (header.source.into(), header.destination.into());
        Some(Self {
            transport: ethernet::LEN + ipv6::LEN,
            source,
            destination,
        })
    }
}

fn cut(frame: &Frame, size: usize, capabilities: Capabilities, output: &mut VecDeque<Frame>) {
    let headers = frame.headers();
    let Some(layout) = Layout::of(headers) else {
        return;
    };
    let length = frame.len() - headers.len();
    let mut payload = Slicer {
        slices: frame.body(),
        at: 0,
    };
    let mut at = 0;
    while at < length {
        let part = size.clamp(1, length - at);
        let place = Place {
            index: at / size.max(1),
            at,
            part,
            last: at + part == length,
        };
        let mut piece = frame.with_body(payload.take(part));
        let headers = piece.headers_mut();
        let offset = match frame.offload().segment {
            Segmentation::Udp { .. } => adjust_udp(&mut headers[layout.transport..], part),
            _ => adjust_tcp(&mut headers[layout.transport..], &place),
        };
        adjust_ip(headers, &layout, &place, offset);
        let start = layout.transport as u16;
        let checksum = Checksum::Partial {
            start,
            offset: offset as u16,
        };
        piece.set_offload(Offload {
            checksum,
            segment: Segmentation::None,
        });
        if !capabilities.checksum {
            complete(&mut piece);
        }
        piece.seal();
        output.push_back(piece);
        at += part;
    }
}

/// Which part of a train a packet is.
struct Place {
    index: usize,
    at: usize,
    part: usize,
    last: bool,
}

fn adjust_udp(header: &mut [u8], part: usize) -> usize {
    header[4..6].copy_from_slice(&((udp::LEN + part) as u16).to_be_bytes());
    usize::from(udp::CHECKSUM_OFFSET)
}

fn adjust_tcp(header: &mut [u8], place: &Place) -> usize {
    let first = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let sequence = first.wrapping_add(place.at as u32);
    header[4..8].copy_from_slice(&sequence.to_be_bytes());
    if !place.last {
        header[13] &= !(tcp::Flags::FIN | tcp::Flags::PSH).bits();
    }
    if place.index > 0 {
        // RFC 3168 §6.1.2: the reduction is told of once.
        header[13] &= !tcp::Flags::CWR.bits();
    }
    tcp::CHECKSUM_OFFSET
}

fn adjust_ip(headers: &mut [u8], layout: &Layout, place: &Place, checksum_offset: usize) {
    let transport = headers.len() - layout.transport + place.part;
    let ip = &mut headers[ethernet::LEN..];
    let protocol = match layout.source {
        IpAddr::V4(_) => {
            let total = (layout.transport - ethernet::LEN + transport) as u16;
            let ident = u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(place.index as u16);
            ip[2..4].copy_from_slice(&total.to_be_bytes());
            ip[4..6].copy_from_slice(&ident.to_be_bytes());
            ip[10..12].fill(0);
            let checksum = crate::wire::checksum::checksum(&ip[..ipv4::LEN]);
            ip[10..12].copy_from_slice(&checksum.to_be_bytes());
            ip[9]
        }
        IpAddr::V6(_) => {
            ip[4..6].copy_from_slice(&(transport as u16).to_be_bytes());
            ip[6]
        }
    };
    let sum = Sum::pseudo(layout.source, layout.destination, protocol, transport).folded();
    let at = layout.transport + checksum_offset;
    headers[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn train(v6: bool, payload: &[&'static [u8]]) -> Frame {
        let control = tcp::Control {
            seq: tcp::SeqNum::new(u32::MAX - 9),
            flags: tcp::Flags::ACK | tcp::Flags::FIN | tcp::Flags::CWR,
            ..tcp::Control::default()
        };
        let header = tcp::Header {
            source: 80,
            destination: 4000,
            control,
        };
        let length: usize = payload.iter().map(|slice| slice.len()).sum();
        let body = payload.iter().map(|slice| Bytes::from_static(slice));
        let mut frame = Frame::of(body.collect());
        header.emit(frame.put_in_front(20));
        if v6 {
            let ip = ipv6::Header {
                traffic_class: 0,
                flow_label: 0,
                payload_len: (20 + length) as u16,
                next_header: 6,
                hop_limit: 64,
                source: "fd00::1".parse().unwrap(),
                destination: "fd00::2".parse().unwrap(),
            };
            frame.put_in_front(40).copy_from_slice(&ip.emit());
            frame.put_in_front(14)[12..].copy_from_slice(&[0x86, 0xdd]);
        } else {
            let ip = ipv4::Header {
                traffic_class: 0,
                payload_len: (20 + length) as u16,
                ident: 0xffff,
                dont_fragment: true,
                more_fragments: false,
                fragment_offset: 0,
                ttl: 64,
                protocol: 6,
                source: [10, 0, 0, 1].into(),
                destination: [10, 0, 0, 2].into(),
            };
            frame.put_in_front(20).copy_from_slice(&ip.emit());
            frame.put_in_front(14)[12..].copy_from_slice(&[8, 0]);
        }
        let start = (frame.headers().len() - 20) as u16;
        frame.set_offload(Offload {
            checksum: Checksum::Partial { start, offset: 16 },
            segment: Segmentation::Tcp { mss: 7 },
        });
        frame
    }

    #[test]
    fn a_train_is_cut_into_segments_that_stand_alone() {
        for v6 in [false, true] {
            let mut output = VecDeque::new();
            finish(
                &mut train(v6, &[b"0123", b"456789abcdef", b"", b"gh"]),
                Capabilities::NONE,
                &mut output,
            );
            let mut seen = Vec::new();
            for (index, frame) in output.iter().enumerate() {
                assert_eq!(frame.offload(), Offload::default());
                let bytes = frame.to_ethernet();
                let (source, destination, at): (IpAddr, IpAddr, _) = if v6 {
                    let ip = ipv6::Header::parse(&bytes[14..]).unwrap();
                    (ip.source.into(), ip.destination.into(), 54)
                } else {
                    let (ip, _) = ipv4::Header::parse(&bytes[14..]).unwrap();
                    assert_eq!(ip.ident, 0xffff_u16.wrapping_add(index as u16));
                    (ip.source.into(), ip.destination.into(), 34)
                };
                let mut sum = Sum::pseudo(source, destination, 6, bytes.len() - at);
                sum.add(&bytes[at..]);
                assert!(sum.is_valid(), "segment {index}");
                let (header, length) = tcp::Header::parse(&bytes[at..]).unwrap();
                let flags = header.control.flags;
                assert_eq!(flags.contains(tcp::Flags::FIN), index == 2);
                assert_eq!(flags.contains(tcp::Flags::CWR), index == 0);
                assert_eq!(
                    header.control.seq,
                    tcp::SeqNum::new(u32::MAX - 9) + 7 * index
                );
                seen.extend_from_slice(&bytes[at + length..]);
            }
            assert_eq!((output.len(), &seen[..]), (3, &b"0123456789abcdefgh"[..]));
        }
    }

    #[test]
    fn a_link_with_offloads_gets_the_train_whole() {
        let mut output = VecDeque::new();
        finish(
            &mut train(false, &[b"0123456789"]),
            Capabilities::ALL,
            &mut output,
        );
        assert_eq!(output.len(), 1);
        assert_eq!(output[0].offload().segment, Segmentation::Tcp { mss: 7 });
    }

    #[test]
    fn a_link_with_checksums_alone_gets_them_partial() {
        let capabilities = Capabilities {
            checksum: true,
            ..Capabilities::NONE
        };
        let mut output = VecDeque::new();
        finish(
            &mut train(false, &[b"0123456789"]),
            capabilities,
            &mut output,
        );
        assert_eq!(output.len(), 2);
        let partial = Checksum::Partial {
            start: 34,
            offset: 16,
        };
        assert!(
            output
                .iter()
                .all(|frame| frame.offload().checksum == partial)
        );
    }
}
