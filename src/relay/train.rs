//! Which datagrams may travel as a train (UDP segmentation offload): one flow's, back to back, of one length; only the
//! last may be shorter.
//!
//! A train costs the kernel what one datagram does, so that programs that send them one by one lose nothing by the way.
//! Nobody waits for a train to fill: what has arrived together goes on together.

/// Datagrams in a train: `UDP_MAX_SEGMENTS` of the oldest kernels that have trains.
pub(super) const COUNT_MAX: usize = 64;
/// Bytes in a train: what fits into one IP packet, headers included.
const BYTES_MAX: usize = 65_000;

/// The shape of a train so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Train {
    count: usize,
    /// Bytes of each datagram but the last.
    size: usize,
    /// Bytes of all.
    bytes: usize,
}

impl Train {
    /// Couples a datagram of `length` bytes on; `false`, and nothing is done, if it doesn't fit.
    pub(super) fn couple(&mut self, length: usize) -> bool {
        if self.count == 0 {
            (self.count, self.size, self.bytes) = (1, length, length);
            return true;
        }
        // The last one being shorter, nothing comes after it; and an empty one can't be told from none.
        let open = self.bytes == self.count * self.size;
        let fits = (1..=self.size).contains(&length)
            && self.count < COUNT_MAX
            && self.bytes + length <= BYTES_MAX;
        if open && fits {
            self.count += 1;
            self.bytes += length;
        }
        open && fits
    }

    /// Whether no datagram is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of all its datagrams together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of each datagram, if it is more than one.
    pub(super) fn segment(&self) -> Option<u16> {
        u16::try_from(self.size).ok().filter(|_| self.count > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coupled(lengths: &[usize]) -> (usize, Train) {
        let mut train = Train::default();
        let count = lengths
            .iter()
            .take_while(|&&length| train.couple(length))
            .count();
        (count, train)
    }

    #[test]
    fn datagrams_of_one_length_travel_together_and_a_shorter_one_ends_it() {
        let (count, train) = coupled(&[100, 100, 40, 40]);
        assert_eq!((count, train.bytes(), train.segment()), (3, 240, Some(100)));
        let (count, train) = coupled(&[100, 101]);
        assert_eq!((count, train.bytes(), train.segment()), (1, 100, None));
    }

    #[test]
    fn an_empty_datagram_travels_alone() {
        assert_eq!(coupled(&[0, 0]).0, 1);
        assert_eq!(coupled(&[5, 0]).0, 1);
    }

    #[test]
    fn a_train_has_its_bounds() {
        assert_eq!(coupled(&[1; 100]).0, COUNT_MAX);
        assert_eq!(coupled(&[30_000; 4]).0, 2);
        assert_eq!(coupled(&[65_507]).0, 1);
    }
}
