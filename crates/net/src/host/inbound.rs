//! A packet that arrived whole.

use bytes::{Buf, Bytes, BytesMut};
use core::net::IpAddr;
use wharf_port::Device;

use super::reassembly::Assembled;
use super::route::Scope;
use crate::frame::Segmentation;
use crate::tcp::Ecn;
use crate::wire::{extension, ipv6};

/// Below this much payload, a copy is cheaper than keeping the whole frame's buffer.
const COPYBREAK: usize = 512;

/// A packet that arrived whole.
#[derive(Clone, Debug)]
pub(super) struct Inbound {
    /// From the IP header to the payload's end.
    pub(super) packet: Bytes,
    /// Where in `packet` the transport header begins.
    pub(super) transport: usize,
    pub(super) protocol: u8,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) scope: Scope,
    pub(super) hop_limit: u8,
    pub(super) ecn: Ecn,
    pub(super) trust: Trust,
    pub(super) segment: Segmentation,
    /// Where it arrived: by the link, or from the host itself.
    pub(super) device: Device,
}

/// Whether the transport checksum has to be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// The link vouches for it.
    Verified,
    /// Nobody has looked yet.
    Unverified,
}

impl Inbound {
    /// Transport header and payload.
    pub(super) fn payload(&self) -> &[u8] {
        &self.packet[self.transport..]
    }

    /// IPv6: where in the packet the field is that names the transport protocol.
    pub(super) fn next_header_field(&self) -> u32 {
        let (mut field, mut at) = (6, ipv6::LEN);
        while at < self.transport {
            let eighths = match self.packet[field] {
                extension::FRAGMENT_HEADER => 0,
                _ => self.packet.get(at + 1).copied().unwrap_or(0),
            };
            (field, at) = (at, at + (usize::from(eighths) + 1) * 8);
        }
        field as u32
    }

    /// A part of [`payload`](Self::payload) that may be kept: shares the frame's buffer unless it is small.
    pub(super) fn keep(&self, start: usize, end: usize) -> Bytes {
        let (start, end) = (self.transport + start, self.transport + end);
        if end - start < COPYBREAK {
            return Bytes::copy_from_slice(&self.packet[start..end]);
        }
        self.packet.slice(start..end)
    }

    /// What begins `start` octets behind the transport header, in the frame's buffer; nothing is left of the packet.
    pub(super) fn take_text(&mut self, start: usize) -> Bytes {
        let mut text = core::mem::take(&mut self.packet);
        text.advance(self.transport + start);
        text
    }

    /// Goes on to what begins `offset` octets behind the present header.
    pub(super) fn advance(&mut self, protocol: u8, offset: usize) {
        self.protocol = protocol;
        self.transport += offset;
    }

    /// Takes a reassembled payload in the fragment's place.
    pub(super) fn rebuild(&mut self, header: &[u8], whole: &Assembled) {
        let payload = &whole.payload;
        let mut packet = BytesMut::with_capacity(header.len() + payload.len());
        packet.extend_from_slice(header);
        packet.extend_from_slice(payload);
        self.packet = packet.freeze();
        self.transport = header.len();
        self.ecn = whole.ecn;
        self.trust = Trust::Unverified;
        self.segment = Segmentation::None;
    }
}
