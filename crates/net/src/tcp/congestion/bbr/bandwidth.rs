//! The greatest rate of the present and the last probing cycle (BBR.max_bw, §5.5.3–§5.5.6).

/// A window of two cycles.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bandwidth {
    last: u64,
    present: u64,
}

impl Bandwidth {
    /// The greatest rate, in octets per second; 0 before anything was measured.
    pub(super) fn most(&self) -> u64 {
        self.last.max(self.present)
    }

    /// A sample of the present cycle.
    pub(super) fn take(&mut self, rate: u64) {
        self.present = self.present.max(rate);
    }

    /// The next cycle begins (AdvanceMaxBwFilter). A cycle without samples does not count, lest a pause forget everything.
    pub(super) fn advance(&mut self) {
        if self.present > 0 {
            self.last = core::mem::take(&mut self.present);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_remembered_for_two_cycles() {
        let mut bandwidth = Bandwidth::default();
        bandwidth.take(100);
        bandwidth.advance();
        bandwidth.take(70);
        assert_eq!(bandwidth.most(), 100);
        bandwidth.advance();
        assert_eq!(bandwidth.most(), 70);
        bandwidth.advance();
        bandwidth.advance();
        assert_eq!(bandwidth.most(), 70);
    }
}
