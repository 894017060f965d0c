//! A frame on its way between a link and the host, with what the link still has to do, or has already
//! done, about checksums and segmentation.
//!
//! On the link's side a frame is bytes that begin with a 12-byte [`virtio`] header;
//! received frames are one contiguous buffer, frames to be sent are a small inline head (that header,
//! then Ethernet, IP and transport headers) and a scatter list of payload that is never copied.
//!
//! It is *not* a parser of what is inside: see [`wire`](crate::wire).

use bytes::{Buf, Bytes, BytesMut};
use core::fmt;
use smallvec::SmallVec;

pub use crate::wire::virtio::{Checksum, Offload, Segmentation};
use crate::wire::{Malformed, virtio};

/// Room for the virtio header and all protocol headers: 12 + 14 + 40 + 60 fits.
const HEAD: usize = 128;
/// Octets that fit into a head behind any Ethernet and IP headers.
pub(crate) const TRANSPORT: usize = HEAD - virtio::LEN - 14 - 40 - 8;

/// What a link can be handed. Everything a link can't do is done in software by
/// [`Host::transmit`](crate::Host::transmit).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Takes [`Checksum::Partial`] for TCP and UDP over IPv4 and IPv6.
    pub checksum: bool,
    /// Takes [`Segmentation::Tcp`] (implies that partial checksums are taken).
    pub tcp_segment: bool,
    /// Takes [`Segmentation::Udp`] (implies that partial checksums are taken).
    pub udp_segment: bool,
}

impl Capabilities {
    /// A link with every offload, such as a TAP with `TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6`.
    pub const ALL: Self = Self {
        checksum: true,
        tcp_segment: true,
        udp_segment: true,
    };
    /// A link that carries bytes and nothing else.
    pub const NONE: Self = Self {
        checksum: false,
        tcp_segment: false,
        udp_segment: false,
    };
}

/// An Ethernet frame with its [`Offload`].
///
/// ```
/// use bytes::Bytes;
/// use wharf_net::{Frame, Offload};
///
/// let mut bytes = vec![0; 12]; // no offload
/// bytes.extend_from_slice(&[0xff; 6]); // to everybody
/// bytes.extend_from_slice(&[2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
/// let frame = Frame::from_link(Bytes::from(bytes)).unwrap();
/// assert_eq!(frame.offload(), Offload::default());
/// assert_eq!(frame.len(), 14);
/// ```
#[derive(Clone)]
pub struct Frame {
    head: Head,
    body: Body,
    offload: Offload,
}

/// Slices of payload.
/// Most frames have one.
pub(crate) type Body = SmallVec<[Bytes; 1]>;

/// The head of a frame to be sent. Each header is put in front of those within it, so that none moves once it is
/// written; in front of all there is room for the virtio header.
#[derive(Clone)]
struct Head {
    octets: [u8; HEAD],
    start: u8,
}

impl Head {
    const EMPTY: Self = Self {
        octets: [0; HEAD],
        start: HEAD as u8,
    };

    /// The protocol headers.
    fn headers(&self) -> &[u8] {
        &self.octets[usize::from(self.start)..]
    }
}

impl Frame {
    /// A frame as a link delivers it: a 12-byte virtio header, then the Ethernet frame.
    ///
    /// # Errors
    /// [`Malformed`] when the virtio header is cut short or names an unknown segmentation.
    #[inline]
    pub fn from_link(mut bytes: Bytes) -> Result<Self, Malformed> {
        let header = virtio::Header::parse(&bytes)?;
        let offload = header.offload()?;
        bytes.advance(virtio::LEN);
        Ok(Self::from_ethernet(bytes, offload))
    }

    /// A received Ethernet frame without a virtio header.
    #[must_use]
    #[inline]
    pub fn from_ethernet(bytes: Bytes, offload: Offload) -> Self {
        let mut body = Body::new();
        body.push(bytes);
        Self {
            head: Head::EMPTY,
            body,
            offload,
        }
    }

    /// A frame to be sent, with payload and without headers: those are [`put in front`](Self::put_in_front).
    #[inline]
    pub(crate) fn of(body: Body) -> Self {
        Self {
            head: Head::EMPTY,
            body,
            offload: Offload::default(),
        }
    }

    /// The frame, from where it was built to where it stays.
    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        Self {
            head: self.head.clone(),
            body: core::mem::take(&mut self.body),
            offload: self.offload,
        }
    }

    /// Gives a frame to be sent its payload.
    pub(crate) fn set_body(&mut self, body: Body) {
        self.body = body;
    }

    /// Room for a header of `count` octets in front of those that are there, all zero.
    pub(crate) fn put_in_front(&mut self, count: usize) -> &mut [u8] {
        let end = usize::from(self.head.start);
        let start = end - count;
        self.head.start = start as u8;
        &mut self.head.octets[start..end]
    }

    /// Another frame with the same headers.
    pub(crate) fn with_body(&self, body: Body) -> Self {
        Self {
            head: self.head.clone(),
            body,
            offload: self.offload,
        }
    }

    /// States what is left to the link about the checksum and segmentation of a frame to be sent.
    pub(crate) fn set_offload(&mut self, offload: Offload) {
        self.offload = offload;
    }

    /// The frame is ready for the link: the virtio header says what is left to it.
    pub(crate) fn seal(&mut self) {
        let virtio = virtio::Header::new(self.offload, self.headers()).emit();
        let start = usize::from(self.head.start);
        self.head.octets[start - virtio::LEN..start].copy_from_slice(&virtio);
    }

    /// What the frame says about its checksum and segmentation.
    #[must_use]
    pub fn offload(&self) -> Offload {
        self.offload
    }

    /// The first slice to hand to a link: the virtio header and all protocol headers. Empty on a received frame.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        match usize::from(self.head.start) {
            HEAD => &[],
            start => &self.head.octets[start - virtio::LEN..],
        }
    }

    /// What follows the head, in order. On a received frame the one slice is the whole Ethernet frame.
    #[must_use]
    pub fn body(&self) -> &[Bytes] {
        &self.body
    }

    /// The Ethernet frame's octets, without the virtio header.
    #[must_use]
    pub fn len(&self) -> usize {
        let body: usize = self.body.iter().map(Bytes::len).sum();
        self.headers().len() + body
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every octet a link with virtio headers is to be given, in one copy.
    #[must_use]
    pub fn to_link(&self) -> Bytes {
        let mut all = BytesMut::with_capacity(virtio::LEN + self.len());
        all.extend_from_slice(&virtio::Header::new(self.offload, self.headers()).emit());
        all.extend_from_slice(self.headers());
        for slice in &self.body {
            all.extend_from_slice(slice);
        }
        all.freeze()
    }

    /// The Ethernet frame in one piece, without the virtio header; copies unless it is in one piece already.
    #[must_use]
    pub fn to_ethernet(&self) -> Bytes {
        match (self.headers().is_empty(), &self.body[..]) {
            (true, [whole]) => whole.clone(),
            _ => self.to_link().slice(virtio::LEN..),
        }
    }

    /// The same, when nobody else wants the frame.
    #[inline]
    pub(crate) fn into_ethernet(mut self) -> Bytes {
        match (self.headers().is_empty(), self.body.len()) {
            (true, 1) => self.body.pop().unwrap_or_default(),
            _ => self.to_link().slice(virtio::LEN..),
        }
    }

    /// The protocol headers of a frame to be sent.
    pub(crate) fn headers(&self) -> &[u8] {
        self.head.headers()
    }

    /// The protocol headers, for the destination that is learnt after the frame was built.
    pub(crate) fn headers_mut(&mut self) -> &mut [u8] {
        &mut self.head.octets[usize::from(self.head.start)..]
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("len", &self.len())
            .field("offload", &self.offload)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_frame_comes_back_from_the_link_as_it_was() {
        let body = SmallVec::from_iter([Bytes::from_static(b"ab"), Bytes::from_static(b"c")]);
        let mut frame = Frame::of(body);
        frame.put_in_front(20).fill(6);
        frame.put_in_front(14 + 20).fill(7);
        let offload = Offload {
            checksum: Checksum::Partial {
                start: 34,
                offset: 16,
            },
            segment: Segmentation::Tcp { mss: 1460 },
        };
        frame.headers_mut()[12..14].copy_from_slice(&[8, 0]);
        frame.set_offload(offload);
        frame.seal();
        let back = Frame::from_link(frame.to_link()).unwrap();
        assert_eq!(back.offload(), offload);
        assert_eq!(back.len(), 57);
        assert_eq!(back.to_ethernet(), frame.to_ethernet());
        assert_eq!(frame.head().len(), 12 + 54);
        assert_eq!(frame.headers()[34..], [6; 20]);
        assert_eq!(frame.to_link()[..12], frame.head()[..12]);
    }

    #[test]
    fn a_link_that_delivers_less_than_its_header_is_refused() {
        assert!(Frame::from_link(Bytes::from_static(&[0; 11])).is_err());
    }
}
