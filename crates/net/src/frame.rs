//! A frame on its way between a link and the host, with what the link still has to do, or has already
//! done, about checksums and segmentation.
//!
//! On the link's side a frame is bytes that begin with a 12-byte [`virtio`] header;
//! received frames are one contiguous buffer, frames to be sent are a small inline head (that header,
//! then Ethernet, IP and transport headers) and a scatter list of payload that is never copied.
//!
//! It is *not* a parser of what is inside: see [`wire`](crate::wire).

use bytes::{Bytes, BytesMut};
use core::fmt;
use smallvec::SmallVec;

pub use crate::wire::virtio::{Checksum, Offload, Segmentation};
use crate::wire::{Malformed, virtio};

/// Room for the virtio header and all protocol headers: 12 + 14 + 40 + 60 fits.
const HEAD: usize = 128;

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
    body: SmallVec<[Bytes; 4]>,
    offload: Offload,
}

/// The head of a frame to be sent: room for the virtio header, then the Ethernet, IP and transport headers.
pub(crate) type Head = SmallVec<[u8; HEAD]>;

/// A head without protocol headers: those are appended.
pub(crate) fn empty_head() -> Head {
    SmallVec::from_slice(&[0; virtio::LEN])
}

impl Frame {
    /// A frame as a link delivers it: a 12-byte virtio header, then the Ethernet frame.
    ///
    /// # Errors
    /// [`Malformed`] when the virtio header is cut short or names an unknown segmentation.
    pub fn from_link(bytes: Bytes) -> Result<Self, Malformed> {
        let header = virtio::Header::parse(&bytes)?;
        let offload = header.offload()?;
        Ok(Self::from_ethernet(bytes.slice(virtio::LEN..), offload))
    }

    /// A received Ethernet frame without a virtio header.
    #[must_use]
    pub fn from_ethernet(bytes: Bytes, offload: Offload) -> Self {
        let mut body = SmallVec::new();
        body.push(bytes);
        Self {
            head: SmallVec::new(),
            body,
            offload,
        }
    }

    /// A frame to be sent. `head` was begun by [`empty_head`].
    pub(crate) fn build(head: Head, body: SmallVec<[Bytes; 4]>, offload: Offload) -> Self {
        let mut frame = Self {
            head,
            body,
            offload,
        };
        frame.set_offload(offload);
        frame
    }

    /// States something else about the checksum and segmentation of a frame to be sent.
    pub(crate) fn set_offload(&mut self, offload: Offload) {
        self.offload = offload;
        let virtio = virtio::Header::new(offload, self.headers());
        self.head[..virtio::LEN].copy_from_slice(&virtio.emit());
    }

    /// What the frame says about its checksum and segmentation.
    #[must_use]
    pub fn offload(&self) -> Offload {
        self.offload
    }

    /// The first slice to hand to a link: the virtio header and all protocol headers. Empty on a received frame.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
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
        if self.head.is_empty() {
            all.extend_from_slice(&virtio::Header::new(self.offload, &[]).emit());
        }
        all.extend_from_slice(&self.head);
        for slice in &self.body {
            all.extend_from_slice(slice);
        }
        all.freeze()
    }

    /// The Ethernet frame in one piece, without the virtio header; copies unless it is in one piece already.
    #[must_use]
    pub fn to_ethernet(&self) -> Bytes {
        match (self.head.is_empty(), &self.body[..]) {
            (true, [whole]) => whole.clone(),
            _ => self.to_link().slice(virtio::LEN..),
        }
    }

    /// The same, when nobody else wants the frame.
    pub(crate) fn into_ethernet(mut self) -> Bytes {
        match (self.head.is_empty(), self.body.len()) {
            (true, 1) => self.body.pop().unwrap_or_default(),
            _ => self.to_link().slice(virtio::LEN..),
        }
    }

    /// The head of a frame to be sent, to make another like it.
    pub(crate) fn to_head(&self) -> Head {
        SmallVec::from_slice(&self.head)
    }

    /// The protocol headers of a frame to be sent.
    pub(crate) fn headers(&self) -> &[u8] {
        self.head.get(virtio::LEN..).unwrap_or(&[])
    }

    /// The protocol headers, for the destination that is learnt after the frame was built.
    pub(crate) fn headers_mut(&mut self) -> &mut [u8] {
        self.head.get_mut(virtio::LEN..).unwrap_or(&mut [])
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
        let mut head = empty_head();
        head.extend_from_slice(&[7; 14 + 20 + 20]);
        let offload = Offload {
            checksum: Checksum::Partial {
                start: 34,
                offset: 16,
            },
            segment: Segmentation::Tcp { mss: 1460 },
        };
        head[virtio::LEN + 12..virtio::LEN + 14].copy_from_slice(&[8, 0]);
        let body = SmallVec::from_iter([Bytes::from_static(b"ab"), Bytes::from_static(b"c")]);
        let frame = Frame::build(head, body, offload);
        let back = Frame::from_link(frame.to_link()).unwrap();
        assert_eq!(back.offload(), offload);
        assert_eq!(back.len(), 57);
        assert_eq!(back.to_ethernet(), frame.to_ethernet());
        assert_eq!(frame.head().len(), 12 + 54);
    }

    #[test]
    fn a_link_that_delivers_less_than_its_header_is_refused() {
        assert!(Frame::from_link(Bytes::from_static(&[0; 11])).is_err());
    }
}
