//! TCP options: those of the handshake (MSS, window scale, SACK permitted) and those of every segment (timestamps, SACK).
//!
//! RFC 9293 §3.2, RFC 7323, RFC 2018, RFC 2883. Unknown options are passed over; an option with an impossible length ends
//! the list, as nothing after it can be told apart (RFC 9293 §3.2, MUST-7).

use super::SeqNum;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;

/// The largest shift of the window scale option (RFC 7323 §2.3).
pub const MAX_WINDOW_SCALE: u8 = 14;

/// Room for options in a header: 60 octets less the fixed 20.
pub const MAX_OPTIONS_LEN: usize = 40;

/// What the options of one segment say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Maximum segment size that the sender of this SYN can receive, in octets without TCP and IP headers (RFC 9293 §3.7.1).
    pub mss: Option<u16>,
    /// The sender's window shift, 0–14; larger shifts are read as 14 (RFC 7323 §2.3).
    pub window_scale: Option<u8>,
    /// The sender understands selective acknowledgments (RFC 2018 §2).
    pub sack_permitted: bool,
    /// Timestamps (RFC 7323 §3).
    pub timestamps: Option<Timestamps>,
    /// Selective acknowledgment blocks, the most telling first (RFC 2018 §3).
    pub sack: SackBlocks,
}

/// The timestamps option (RFC 7323 §3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamps {
    /// TSval: the sender's clock, in its own ticks.
    pub value: u32,
    /// TSecr: the other side's clock, echoed; meaningless without ACK.
    pub echo: u32,
}

/// One block of selectively acknowledged sequence space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SackBlock {
    /// The first sequence number of the block.
    pub start: SeqNum,
    /// The sequence number after the last of the block.
    pub end: SeqNum,
}

/// Up to four SACK blocks: as many as fit in the option space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SackBlocks {
    blocks: [SackBlock; 4],
    len: u8,
}

impl SackBlocks {
    /// Adds a block at the end; a fifth is left out and `false` returned.
    pub fn push(&mut self, block: SackBlock) -> bool {
        let Some(slot) = self.blocks.get_mut(usize::from(self.len)) else {
            return false;
        };
        *slot = block;
        self.len += 1;
        true
    }

    /// The blocks in their order.
    #[must_use]
    pub fn as_slice(&self) -> &[SackBlock] {
        &self.blocks[..usize::from(self.len)]
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps the first `count` blocks.
    pub fn truncate(&mut self, count: usize) {
        self.len = usize::from(self.len).min(count) as u8;
        self.blocks[usize::from(self.len)..].fill(SackBlock::default());
    }
}

impl Options {
    /// Reads the option bytes of a header.
    #[must_use]
    pub fn parse(mut bytes: &[u8]) -> Self {
        let mut options = Self::default();
        // RFC 7323 appendix A: so they stand in almost every segment.
        if let &[NOP, NOP, TIMESTAMPS, 10, a, b, c, d, e, f, g, h] = bytes {
            options.timestamps = Some(Timestamps {
                value: u32::from_be_bytes([a, b, c, d]),
                echo: u32::from_be_bytes([e, f, g, h]),
            });
            return options;
        }
        while let [kind, rest @ ..] = bytes {
            match (*kind, rest) {
                (END, _) => break,
                (NOP, _) => bytes = rest,
                (kind, [length, ..]) if (2..=bytes.len()).contains(&usize::from(*length)) => {
                    let (option, after) = bytes.split_at(usize::from(*length));
                    options.read(kind, &option[2..]);
                    bytes = after;
                }
                _ => break,
            }
        }
        options
    }

    fn read(&mut self, kind: u8, value: &[u8]) {
        match (kind, value) {
            (MSS, &[a, b]) => self.mss = Some(u16::from_be_bytes([a, b])),
            (WINDOW_SCALE, &[shift]) => self.window_scale = Some(shift.min(MAX_WINDOW_SCALE)),
            (SACK_PERMITTED, []) => self.sack_permitted = true,
            (TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => {
                self.timestamps = Some(Timestamps {
                    value: u32::from_be_bytes([a, b, c, d]),
                    echo: u32::from_be_bytes([e, f, g, h]),
                });
            }
            (SACK, blocks) => self.read_sack(blocks),
            _ => {}
        }
    }

    fn read_sack(&mut self, blocks: &[u8]) {
        let (blocks, rest) = blocks.as_chunks::<8>();
        if !rest.is_empty() {
            return;
        }
        for &[a, b, c, d, e, f, g, h] in blocks {
            let start = SeqNum::new(u32::from_be_bytes([a, b, c, d]));
            let end = SeqNum::new(u32::from_be_bytes([e, f, g, h]));
            self.sack.push(SackBlock { start, end });
        }
    }

    /// Octets that [`emit`](Self::emit) writes: a multiple of four, at most 40.
    #[must_use]
    pub fn len(&self) -> usize {
        let fixed = self.fixed_len();
        fixed + sack_len(self.sack_that_fits(fixed))
    }

    /// Whether there are no options at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many SACK blocks fit beside the other options.
    #[must_use]
    pub fn sack_room(&self) -> usize {
        (MAX_OPTIONS_LEN - self.fixed_len()).saturating_sub(4) / 8
    }

    fn fixed_len(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        let scale = if self.window_scale.is_some() { 4 } else { 0 };
        let timestamps = if self.timestamps.is_some() { 12 } else { 0 };
        // SACK permitted takes the place of the two paddings before the timestamps.
        let sack = if self.sack_permitted && timestamps == 0 {
            4
        } else {
            0
        };
        mss + scale + timestamps + sack
    }

    fn sack_that_fits(&self, fixed: usize) -> usize {
        let room = (MAX_OPTIONS_LEN - fixed).saturating_sub(4) / 8;
        room.min(self.sack.as_slice().len())
    }

    /// Writes the options at the front of `out`, aligned to four octets; SACK blocks that don't fit are left out.
    ///
    /// # Panics
    ///
    /// If `out` is shorter than [`len`](Self::len).
    pub fn emit(&self, out: &mut [u8]) -> usize {
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        if let Some(mss) = self.mss {
            let [a, b] = mss.to_be_bytes();
            put(&[MSS, 4, a, b]);
        }
        match (self.sack_permitted, self.timestamps.is_some()) {
            (true, true) => put(&[SACK_PERMITTED, 2]),
            (true, false) => put(&[NOP, NOP, SACK_PERMITTED, 2]),
            (false, true) => put(&[NOP, NOP]),
            (false, false) => {}
        }
        if let Some(Timestamps { value, echo }) = self.timestamps {
            put(&[TIMESTAMPS, 10]);
            put(&value.to_be_bytes());
            put(&echo.to_be_bytes());
        }
        if let Some(shift) = self.window_scale {
            put(&[NOP, WINDOW_SCALE, 3, shift]);
        }
        let blocks = &self.sack.as_slice()[..self.sack_that_fits(self.fixed_len())];
        if !blocks.is_empty() {
            put(&[NOP, NOP, SACK, 2 + 8 * blocks.len() as u8]);
            for block in blocks {
                put(&block.start.value().to_be_bytes());
                put(&block.end.value().to_be_bytes());
            }
        }
        at
    }
}

const fn sack_len(blocks: usize) -> usize {
    if blocks == 0 { 0 } else { 4 + 8 * blocks }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_options() -> impl Strategy<Value = Options> {
        let blocks = proptest::collection::vec((any::<u32>(), any::<u32>()), 0..5);
        (
            any::<Option<u16>>(),
            proptest::option::of(0..=14u8),
            any::<bool>(),
            any::<Option<(u32, u32)>>(),
            blocks,
        )
            .prop_map(|(mss, window_scale, sack_permitted, stamps, blocks)| {
                let mut sack = SackBlocks::default();
                for (start, end) in blocks {
                    sack.push(SackBlock {
                        start: SeqNum::new(start),
                        end: SeqNum::new(end),
                    });
                }
                let timestamps = stamps.map(|(value, echo)| Timestamps { value, echo });
                Options {
                    mss,
                    window_scale,
                    sack_permitted,
                    timestamps,
                    sack,
                }
            })
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_read_back(mut options in any_options()) {
            let mut bytes = [0; MAX_OPTIONS_LEN];
            let len = options.emit(&mut bytes);
            prop_assert_eq!(len, options.len());
            prop_assert_eq!(len % 4, 0);
            options.sack.truncate(options.sack_room());
            prop_assert_eq!(Options::parse(&bytes[..len]), options);
        }

        #[test]
        fn no_bytes_can_upset_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(Options::parse(&bytes).len() <= MAX_OPTIONS_LEN);
        }
    }

    #[test]
    fn a_shift_above_fourteen_is_fourteen() {
        assert_eq!(Options::parse(&[3, 3, 15]).window_scale, Some(14));
    }

    #[test]
    fn impossible_lengths_end_the_list_and_unknown_options_do_not() {
        let unknown_then_mss = [99, 3, 0, 2, 4, 0x05, 0xb4];
        assert_eq!(Options::parse(&unknown_then_mss).mss, Some(1460));
        for broken in [
            &[99, 0, 2, 4, 5, 180][..],
            &[99, 1, 2, 4, 5, 180],
            &[99, 40, 2, 4, 5, 180],
            &[2],
        ] {
            assert!(Options::parse(broken).is_empty(), "{broken:?}");
        }
    }

    #[test]
    fn timestamps_leave_room_for_three_blocks() {
        let plain = Options::default();
        let stamped = Options {
            timestamps: Some(Timestamps::default()),
            ..plain
        };
        assert_eq!((plain.sack_room(), stamped.sack_room()), (4, 3));
    }
}
