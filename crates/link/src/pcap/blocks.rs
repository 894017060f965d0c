//! What is inside of pcapng blocks, taken apart.

use std::time::Duration;

use super::{Direction, option};

/// A file's byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    fn i64(self, bytes: [u8; 8]) -> i64 {
        match self {
            Self::Little => i64::from_le_bytes(bytes),
            Self::Big => i64::from_be_bytes(bytes),
        }
    }
}

/// Reads a block's body from its front; nothing once it is too short.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    order: Order,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(order: Order, rest: &'a [u8]) -> Self {
        Self { order, rest }
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(|bytes| self.order.u16(bytes))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(|bytes| self.order.u32(bytes))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    /// So many bytes, and the padding behind them.
    pub(super) fn padded(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, _) = self.rest.split_at_checked(length)?;
        let end = length.next_multiple_of(4).min(self.rest.len());
        self.rest = &self.rest[end..];
        Some(bytes)
    }

    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    /// An option's value; the fields are at the options.
    fn option(mut self, wanted: u16) -> Option<&'a [u8]> {
        loop {
            let (code, length) = (self.u16()?, self.u16()?);
            let value = self.padded(length.into())?;
            match code {
                0 => return None,
                code if code == wanted => return Some(value),
                _ => {}
            }
        }
    }

    /// The first comment among a packet's options.
    pub(super) fn comment(self) -> Option<String> {
        let comment = self.option(option::COMMENT)?;
        Some(String::from_utf8_lossy(comment).into_owned())
    }

    /// The direction that a packet's options name.
    pub(super) fn direction(self) -> Option<Direction> {
        let flags = self.option(option::FLAGS)?.try_into().ok()?;
        match self.order.u32(flags) & 3 {
            1 => Some(Direction::Inbound),
            2 => Some(Direction::Outbound),
            _ => None,
        }
    }
}

/// An interface that frames were recorded at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interface {
    pub(super) link: u32,
    /// Bytes that a frame was cut to; 0 for none.
    pub(super) cut: u32,
    unit: Unit,
    /// Seconds to add to timestamps.
    offset: i64,
}

/// What a timestamp counts: seconds divided by a power.
#[derive(Clone, Copy, Debug)]
enum Unit {
    Ten(u8),
    Two(u8),
}

impl Interface {
    pub(super) fn parse(mut fields: Fields<'_>) -> Option<Self> {
        let link = fields.u16()?.into();
        fields.u16()?;
        let cut = fields.u32()?;
        let unit = match fields.option(option::RESOLUTION) {
            Some([power @ 0..0x80]) => Unit::Ten(*power),
            Some([power]) => Unit::Two(power & 0x7f),
            _ => Unit::Ten(6),
        };
        let offset = fields.option(option::OFFSET);
        let offset = offset.and_then(|value| value.try_into().ok());
        Some(Self {
            link,
            cut,
            unit,
            offset: offset.map_or(0, |bytes| fields.order.i64(bytes)),
        })
    }

    /// A timestamp of this interface's, since 1970.
    pub(super) fn time(&self, high: u32, low: u32) -> Duration {
        let ticks = u128::from(high) << 32 | u128::from(low);
        let nanoseconds = match self.unit {
            Unit::Two(power) => (ticks * NANOS) >> power.min(127),
            Unit::Ten(power) => {
                let divisor = 10_u128.checked_pow(power.into());
                divisor.map_or(0, |divisor| ticks * NANOS / divisor)
            }
        };
        let seconds = u64::try_from(nanoseconds / NANOS).unwrap_or(u64::MAX);
        let seconds = seconds.saturating_add_signed(self.offset);
        Duration::new(seconds, (nanoseconds % NANOS) as u32)
    }
}

/// Nanoseconds in a second.
const NANOS: u128 = 1_000_000_000;
