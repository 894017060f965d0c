//! What a measurement comes to: how many, how long each, how many failed.

use std::time::Duration;

/// Samples of one kind, all taken within one duration.
#[derive(Debug)]
pub(crate) struct Summary {
    nanoseconds: Vec<u64>,
    failed: u64,
    duration: Duration,
}

impl Summary {
    pub(crate) fn new(duration: Duration) -> Self {
        Self {
            nanoseconds: Vec::new(),
            failed: 0,
            duration,
        }
    }

    pub(crate) fn add(&mut self, sample: Duration) {
        self.nanoseconds
            .push(u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn fail(&mut self) {
        self.failed += 1;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.nanoseconds.extend(other.nanoseconds);
        self.failed += other.failed;
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.nanoseconds.len()
    }

    #[cfg(test)]
    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    /// One JSON object; a percentile of nothing is `null`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mut sorted = self.nanoseconds.clone();
        sorted.sort_unstable();
        let count = u32::try_from(sorted.len()).unwrap_or(u32::MAX);
        serde_json::json!({
            "count": count,
            "failed": self.failed,
            "per_second": f64::from(count) / self.duration.as_secs_f64(),
            "p50_ns": percentile(&sorted, 50),
            "p99_ns": percentile(&sorted, 99),
        })
    }
}

/// The smallest sample that at least `percent` of all are not above (the nearest-rank method).
pub(crate) fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_sample_that_was_taken() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 50), Some(50));
        assert_eq!(percentile(&hundred, 99), Some(99));
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile(&[3, 9], 50), Some(3));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn merging_adds_samples_and_failures() {
        let mut one = Summary::new(Duration::from_secs(2));
        one.add(Duration::from_nanos(10));
        let mut other = Summary::new(Duration::from_secs(2));
        other.add(Duration::from_nanos(30));
        other.fail();
        one.merge(other);
        let json = one.to_json();
        assert_eq!(json["count"], 2);
        assert_eq!(json["failed"], 1);
        assert_eq!(json["per_second"], 1.0);
        assert_eq!(json["p99_ns"], 30);
    }
}
