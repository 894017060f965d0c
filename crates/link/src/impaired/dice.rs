//! Chance that a seed repeats.

use std::time::Duration;

/// SplitMix64: small, seeded, the same on every machine. Not for secrets.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Dice that fall as `seed` says.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True with `probability`.
    pub(super) fn says(&mut self, probability: f64) -> bool {
        // 53 bits: what a double holds exactly, in [0, 1).
        ((self.roll() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// A number in `0..bound`, or 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.roll()) * u128::from(bound)) >> 64) as u64
    }

    /// A time from zero up to and including `bound`.
    pub(super) fn up_to(&mut self, bound: Duration) -> Duration {
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX - 1);
        Duration::from_nanos(self.below(nanos.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_splitmix64() {
        // The first numbers of the reference implementation (Vigna, public domain) for the seed 1234567.
        let mut dice = Dice::new(1_234_567);
        let rolls = [(); 3].map(|()| dice.roll());
        assert_eq!(
            rolls,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn bounds_are_kept_and_reached() {
        let mut dice = Dice::new(1);
        let times = [(); 200].map(|()| dice.up_to(Duration::from_nanos(3)).as_nanos());
        assert_eq!(
            (times.iter().min(), times.iter().max()),
            (Some(&0), Some(&3))
        );
        assert!((0..200).all(|_| dice.below(0) == 0 && dice.below(1) == 0));
        assert!((0..200).all(|_| dice.says(1.0) && !dice.says(0.0)));
    }
}
