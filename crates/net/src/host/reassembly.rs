//! Fragments put together again, within bounds. RFC 791 §3.2, RFC 1122 §3.3.2, RFC 8200 §4.5, RFC 5722, RFC 8900.
//!
//! # Theory of operation
//!
//! A datagram's pieces are kept sorted and never overlap; a piece that would overlap spoils its datagram: what was
//! kept is dropped, and over IPv6 (where identifications don't come back soon) everything of it that is still to come. An exact
//! repetition does nothing. Datagrams are kept for a minute; when there are too many, or too many octets, the oldest
//! goes first, so a flood of fragments delays nobody but itself.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::net::IpAddr;
use core::time::Duration;
use hashbrown::HashMap;

use super::keys::{Keyed, Map};
use crate::discard::Discard;
use crate::tcp::Ecn;
use crate::time::Instant;

/// How long the pieces of a datagram are kept: RFC 8200 §4.5.
const LIFETIME: Duration = Duration::from_secs(60);
/// Datagrams in pieces at once.
const MAX_DATAGRAMS: usize = 256;
/// Pieces of one datagram: enough for 64 KiB over a link of MTU 296.
const MAX_PIECES: usize = 256;
/// Octets of all pieces.
const MAX_OCTETS: usize = 4 << 20;
/// The longest payload of a packet.
const MAX_LENGTH: usize = 65_535;

/// What the fragments of one datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) ident: u32,
}

/// One fragment.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    /// Where it belongs, in octets.
    pub(super) offset: usize,
    /// Whether more follow.
    pub(super) more: bool,
    /// Its octets.
    pub(super) payload: &'a [u8],
    /// The packet that it came in, for an error that quotes it.
    pub(super) packet: &'a [u8],
    pub(super) ecn: Ecn,
}

#[derive(Debug, Default)]
struct Datagram {
    pieces: Vec<(usize, Bytes)>,
    octets: usize,
    length: Option<usize>,
    /// The packet of the first fragment, in front.
    quote: Option<Bytes>,
    spoiled: bool,
    /// The congestion bits of the whole: those of its pieces, or that one of them was marked.
    ecn: Option<Ecn>,
}

/// A datagram that was put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assembled {
    pub(super) payload: Bytes,
    pub(super) ecn: Ecn,
}

/// The datagrams of which some fragments are here.
#[derive(Debug)]
pub(super) struct Reassembly {
    datagrams: Map<Key, Datagram>,
    /// In the order of their arrival; may name some that are gone, or began anew later.
    order: VecDeque<(Instant, Key)>,
    octets: usize,
    /// Datagrams that made room for others.
    evicted: usize,
}

impl Reassembly {
    pub(super) fn new(keyed: Keyed) -> Self {
        Self {
            datagrams: HashMap::with_hasher(keyed),
            order: VecDeque::new(),
            octets: 0,
            evicted: 0,
        }
    }

    /// Adds a fragment. The whole payload comes back when it was the last one missing.
    pub(super) fn add(
        &mut self,
        now: Instant,
        key: Key,
        piece: &Piece<'_>,
    ) -> Result<Option<Assembled>, Discard> {
        let end = piece.offset + piece.payload.len();
        if end > MAX_LENGTH || piece.payload.is_empty() || (piece.more && !end.is_multiple_of(8)) {
            return Err(Discard::Malformed);
        }
        if !self.datagrams.contains_key(&key) {
            self.begin(now, key);
        }
        let datagram = self.datagrams.entry(key).or_default();
        if datagram.spoiled {
            return Err(Discard::FragmentOverlap);
        }
        match datagram.insert(piece) {
            Ok(added) => self.octets += added,
            Err(reason) => {
                self.spoil(key);
                return Err(reason);
            }
        }
        if let Some(whole) = datagram.complete() {
            self.remove(key);
            return Ok(Some(whole));
        }
        while self.octets > MAX_OCTETS && self.drop_oldest() {}
        Ok(None)
    }

    fn begin(&mut self, now: Instant, key: Key) {
        while self.order.len() >= MAX_DATAGRAMS && self.drop_oldest() {}
        self.datagrams.insert(key, Datagram::default());
        self.order.push_back((now + LIFETIME, key));
    }

    fn spoil(&mut self, key: Key) {
        let Some(datagram) = self.datagrams.get_mut(&key) else {
            return;
        };
        self.octets -= datagram.octets;
        *datagram = Datagram {
            spoiled: true,
            ..Datagram::default()
        };
        // IPv4 identifications are used again soon: forget it instead.
        if key.source.is_ipv4() {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: Key) -> Option<Datagram> {
        let datagram = self.datagrams.remove(&key)?;
        self.octets -= datagram.octets;
        self.order.retain(|(_, other)| *other != key);
        Some(datagram)
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((_, key)) = self.order.front().copied() else {
            return false;
        };
        self.evicted += 1;
        self.remove(key).is_some()
    }

    /// How many datagrams made room for others since this was last asked.
    pub(super) fn take_evicted(&mut self) -> usize {
        core::mem::take(&mut self.evicted)
    }

    /// When the oldest datagram is given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.order.front().map(|(at, _)| *at)
    }

    /// Gives up a datagram that is due: its first fragment's packet, if that has come and was not spoiled.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Option<Bytes>> {
        let (at, key) = self.order.front().copied()?;
        if at > now {
            return None;
        }
        Some(self.remove(key).and_then(|datagram| datagram.quote))
    }
}

impl Datagram {
    /// Keeps a piece; how many octets it added.
    fn insert(&mut self, piece: &Piece<'_>) -> Result<usize, Discard> {
        let (start, end) = (piece.offset, piece.offset + piece.payload.len());
        let index = self.pieces.partition_point(|(offset, _)| *offset < start);
        if let Some((offset, kept)) = self.pieces.get(index)
            && *offset == start
            && kept[..] == *piece.payload
        {
            return Ok(0);
        }
        let before = index
            .checked_sub(1)
            .and_then(|index| self.pieces.get(index));
        let overlaps_before = before.is_some_and(|(offset, kept)| offset + kept.len() > start);
        let overlaps_after = self
            .pieces
            .get(index)
            .is_some_and(|(offset, _)| *offset < end);
        let last_end = self
            .pieces
            .last()
            .map_or(0, |(offset, kept)| offset + kept.len());
        let contradicts = match (self.length, piece.more) {
            (Some(length), true) => end > length,
            (Some(length), false) => end != length,
            (None, false) => last_end > end,
            (None, true) => false,
        };
        if overlaps_before || overlaps_after || contradicts {
            return Err(Discard::FragmentOverlap);
        }
        if self.pieces.len() >= MAX_PIECES {
            return Err(Discard::FragmentLimit);
        }
        self.mark(piece.ecn)?;
        if !piece.more {
            self.length = Some(end);
        }
        if start == 0 {
            self.quote = Some(Bytes::copy_from_slice(piece.packet));
        }
        self.pieces
            .insert(index, (start, Bytes::copy_from_slice(piece.payload)));
        self.octets += piece.payload.len();
        Ok(piece.payload.len())
    }

    /// RFC 3168 §5.3: one mark marks the whole; where it can't have been made, the whole is dropped.
    fn mark(&mut self, ecn: Ecn) -> Result<(), Discard> {
        let known = *self.ecn.get_or_insert(ecn);
        match (known, ecn) {
            (Ecn::Congested, Ecn::NotCapable) | (Ecn::NotCapable, Ecn::Congested) => {
                return Err(Discard::FragmentOverlap);
            }
            (_, Ecn::Congested) => self.ecn = Some(Ecn::Congested),
            _ => {}
        }
        Ok(())
    }

    fn complete(&self) -> Option<Assembled> {
        // Pieces never overlap, so all octets are here once there are as many as the datagram is long.
        if self.length != Some(self.octets) {
            return None;
        }
        let mut whole = BytesMut::with_capacity(self.octets);
        for (_, piece) in &self.pieces {
            whole.extend_from_slice(piece);
        }
        Some(Assembled {
            payload: whole.freeze(),
            ecn: self.ecn.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(ident: u32) -> Key {
        let address = |last| IpAddr::from([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        Key {
            source: address(1),
            destination: address(2),
            protocol: 17,
            ident,
        }
    }

    fn piece(offset: usize, more: bool, payload: &[u8]) -> Piece<'_> {
        Piece {
            offset,
            more,
            payload,
            packet: &[],
            ecn: Ecn::NotCapable,
        }
    }

    #[test]
    fn an_overlap_spoils_the_datagram_and_what_is_still_to_come() {
        let mut pieces = Reassembly::new(Keyed::new(&[7; 32]));
        let now = Instant::ZERO;
        assert_eq!(pieces.add(now, key(1), &piece(0, true, &[1; 16])), Ok(None));
        let overlap = pieces.add(now, key(1), &piece(8, true, &[2; 16]));
        assert_eq!(overlap, Err(Discard::FragmentOverlap));
        let rest = pieces.add(now, key(1), &piece(16, false, &[3; 4]));
        assert_eq!(rest, Err(Discard::FragmentOverlap));
        assert_eq!(pieces.octets, 0);
    }

    #[test]
    fn what_is_never_completed_is_given_up_with_its_first_packet() {
        let mut pieces = Reassembly::new(Keyed::new(&[7; 32]));
        let first = Piece {
            packet: b"quote",
            ..piece(0, true, &[1; 8])
        };
        pieces.add(Instant::ZERO, key(1), &first).unwrap();
        pieces
            .add(Instant::ZERO, key(2), &piece(8, true, &[1; 8]))
            .unwrap();
        let due = pieces.deadline().unwrap();
        assert_eq!(due, Instant::ZERO + LIFETIME);
        assert_eq!(pieces.expire(due), Some(Some(Bytes::from_static(b"quote"))));
        assert_eq!(pieces.expire(due), Some(None));
        assert_eq!(pieces.expire(due), None);
        assert_eq!((pieces.octets, pieces.datagrams.len()), (0, 0));
    }

    #[test]
    fn a_flood_of_fragments_stays_within_bounds() {
        let mut pieces = Reassembly::new(Keyed::new(&[7; 32]));
        for ident in 0..2000 {
            for at in 0..20 {
                let _ = pieces.add(
                    Instant::ZERO,
                    key(ident),
                    &piece(at * 2000, true, &[0; 1992]),
                );
                assert!(pieces.octets <= MAX_OCTETS && pieces.datagrams.len() <= MAX_DATAGRAMS);
            }
        }
        assert_eq!(pieces.datagrams.len(), pieces.order.len());
        let kept = pieces.datagrams.len();
        assert_eq!(
            (pieces.take_evicted(), pieces.take_evicted()),
            (2000 - kept, 0)
        );
    }

    /// RFC 3168 §5.3.
    #[test]
    fn one_mark_marks_the_whole_unless_nobody_may_mark() {
        use Ecn::{Capable0, Congested, NotCapable};
        for (one, other, whole) in [
            (Capable0, Capable0, Some(Capable0)),
            (Capable0, Congested, Some(Congested)),
            (Congested, Capable0, Some(Congested)),
            (NotCapable, NotCapable, Some(NotCapable)),
            (NotCapable, Congested, None),
            (Congested, NotCapable, None),
        ] {
            let mut pieces = Reassembly::new(Keyed::new(&[7; 32]));
            let with = |ecn, offset, more| Piece {
                ecn,
                ..piece(offset, more, &[1; 8])
            };
            pieces
                .add(Instant::ZERO, key(1), &with(one, 0, true))
                .unwrap();
            let end = pieces.add(Instant::ZERO, key(1), &with(other, 8, false));
            let made = end.ok().flatten().map(|made| made.ecn);
            assert_eq!(made, whole, "{one:?} {other:?}");
            assert_eq!(pieces.octets, 0);
        }
    }

    #[test]
    fn what_cannot_be_a_fragment_is_refused() {
        let mut pieces = Reassembly::new(Keyed::new(&[7; 32]));
        for bad in [
            piece(65_528, false, &[0; 8]),
            piece(0, true, &[0; 7]),
            piece(8, false, &[]),
        ] {
            assert_eq!(
                pieces.add(Instant::ZERO, key(1), &bad),
                Err(Discard::Malformed)
            );
        }
        assert!(pieces.deadline().is_none());
    }

    proptest! {
        #[test]
        fn any_order_and_repetition_gives_the_datagram(
            content in proptest::collection::vec(any::<u8>(), 1..2000),
            cuts in proptest::collection::vec(1usize..200, 1..20),
            order in any::<u64>(),
        ) {
            let mut parts = Vec::new();
            let mut at = 0;
            for cut in cuts.iter().cycle() {
                let end = (at + cut * 8).min(content.len());
                parts.push((at, end));
                at = end;
                if at == content.len() { break }
            }
            let mut shuffled = parts.clone();
            shuffled.extend(&parts);
            let mut state = order | 1;
            for index in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                shuffled.swap(index, (state >> 33) as usize % (index + 1));
            }
            let mut reassembly = Reassembly::new(Keyed::new(&[7; 32]));
            let mut whole = None;
            for (start, end) in shuffled {
                let part = piece(start, end != content.len(), &content[start..end]);
                let result = reassembly.add(Instant::ZERO, key(9), &part).unwrap();
                whole = whole.or(result);
            }
            prop_assert_eq!(&whole.unwrap().payload[..], &content[..]);
        }
    }
}
