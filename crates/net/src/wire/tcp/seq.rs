//! Sequence numbers: 32 bits that wrap, compared within half of their circle (RFC 9293 §3.4).

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

/// A TCP sequence number.
///
/// It has no `Ord`: on a circle, "before" only makes sense for two numbers less than 2³¹ apart, and is not transitive beyond
/// that. So it is spelled [`before`](Self::before) and [`after`](Self::after).
///
/// ```
/// use wharf_net::wire::tcp::SeqNum;
///
/// let last = SeqNum::new(u32::MAX);
/// assert!(last.before(last + 1));
/// assert_eq!((last + 1).value(), 0);
/// assert_eq!((last + 11) - last, 11);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNum(u32);

impl SeqNum {
    /// The sequence number of this value.
    #[must_use]
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The 32 bits as they are on the wire.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }

    /// Whether `self` comes strictly before `other` (`SEG < SND` in the RFC's notation).
    #[must_use]
    pub const fn before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Whether `self` comes strictly after `other`.
    #[must_use]
    pub const fn after(self, other: Self) -> bool {
        other.before(self)
    }

    /// Whether `self` is in `start..end`.
    #[must_use]
    pub const fn within(self, start: Self, end: Self) -> bool {
        self.0.wrapping_sub(start.0) < end.0.wrapping_sub(start.0)
    }

    /// The later of the two.
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }

    /// The earlier of the two.
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if other.before(self) { other } else { self }
    }

    /// Octets from `earlier` to `self`; zero if `earlier` is in fact later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> usize {
        if self.before(earlier) {
            0
        } else {
            self.0.wrapping_sub(earlier.0) as usize
        }
    }

    /// The number `octets` before this one.
    #[must_use]
    pub const fn back(self, octets: u32) -> Self {
        Self(self.0.wrapping_sub(octets))
    }
}

impl fmt::Debug for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Add<usize> for SeqNum {
    type Output = Self;

    /// The number `octets` after this one; buffers and segments are far below 2³² octets.
    fn add(self, octets: usize) -> Self {
        Self(self.0.wrapping_add(octets as u32))
    }
}

impl AddAssign<usize> for SeqNum {
    fn add_assign(&mut self, octets: usize) {
        *self = *self + octets;
    }
}

impl Sub for SeqNum {
    type Output = i32;

    /// The signed distance: positive if `self` comes after `other`.
    fn sub(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_step_forward_is_after_and_measures_itself(start: u32, step in 1usize..0x7fff_ffff) {
            let (here, there) = (SeqNum::new(start), SeqNum::new(start) + step);
            prop_assert!(here.before(there) && there.after(here));
            prop_assert!(!there.before(here) && !here.before(here));
            prop_assert_eq!(there.since(here), step);
            prop_assert_eq!(here.since(there), 0);
            prop_assert_eq!((there - here) as usize, step);
            prop_assert_eq!(here.max(there), there);
            prop_assert_eq!(here.min(there), here);
            prop_assert_eq!(there.back(step as u32), here);
        }

        #[test]
        fn within_holds_the_start_and_not_the_end(start: u32, len in 1usize..0x7fff_ffff, at in 0usize..0x7fff_fffe) {
            let start = SeqNum::new(start);
            prop_assert_eq!((start + at).within(start, start + len), at < len);
            prop_assert!(!(start + len).within(start, start + len));
            prop_assert!(!start.within(start, start));
        }
    }
}
