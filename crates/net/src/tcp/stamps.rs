//! Timestamps and protection against wrapped sequence numbers (RFC 7323 §3–§5).

use core::time::Duration;

use crate::time::Instant;
use crate::wire::tcp::{SeqNum, Timestamps};

/// How long TS.Recent is believed: longer, and the peer's clock may have gone half around (RFC 7323 §5.5).
const VALID: Duration = Duration::from_secs(24 * 86_400);

/// Our timestamp clock and what is known of the peer's. A tick is a millisecond.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamps {
    offset: u32,
    recent: u32,
    recent_at: Instant,
}

impl Stamps {
    /// Begins with the peer's first value.
    pub(super) fn new(now: Instant, offset: u32, recent: u32) -> Self {
        Self {
            offset,
            recent,
            recent_at: now,
        }
    }

    /// The option for a segment sent now.
    pub(super) fn option(&self, now: Instant) -> Timestamps {
        Timestamps {
            value: clock(now, self.offset),
            echo: self.recent,
        }
    }

    /// TS.Recent.
    pub(super) fn recent(&self) -> u32 {
        self.recent
    }

    /// Whether a segment with this value is older than one already taken (RFC 7323 §5.3, R1).
    pub(super) fn is_old(&self, now: Instant, value: u32) -> bool {
        SeqNum::new(value).before(SeqNum::new(self.recent)) && now - self.recent_at < VALID
    }

    /// Takes the value of an acceptable segment that begins at or before the last acknowledgment sent (RFC 7323 §4.3).
    pub(super) fn update(&mut self, now: Instant, value: u32, seq: SeqNum, last_ack_sent: SeqNum) {
        if !seq.after(last_ack_sent) && !self.is_old(now, value) {
            self.recent = value;
            self.recent_at = now;
        }
    }

    /// A value of ours that came back.
    pub(super) fn echo(&self, value: u32) -> Echo {
        Echo {
            offset: self.offset,
            value,
        }
    }

    /// Time since a value of ours that came back was sent; `None` if it makes no sense.
    pub(super) fn elapsed(&self, now: Instant, echo: u32) -> Option<Duration> {
        let ticks = SeqNum::new(clock(now, self.offset)) - SeqNum::new(echo);
        u64::try_from(ticks)
            .ok()
            .map(|ticks| Duration::from_millis(ticks.max(1)))
    }
}

/// A timestamp of ours that the peer echoed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Echo {
    offset: u32,
    value: u32,
}

impl Echo {
    /// Whether it is of something that was sent before this moment.
    pub(super) fn precedes(&self, sent_at: Instant) -> bool {
        SeqNum::new(self.value).before(SeqNum::new(clock(sent_at, self.offset)))
    }
}

/// Our timestamp clock at this moment.
pub(super) fn clock(now: Instant, offset: u32) -> u32 {
    (now.as_millis() as u32).wrapping_add(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_values_are_old_until_the_clock_may_have_wrapped() {
        let start = Instant::from_millis(1);
        let mut stamps = Stamps::new(start, 7, 5);
        assert!(
            stamps.is_old(start, 4) && !stamps.is_old(start, 5) && stamps.is_old(start, u32::MAX)
        );
        assert!(!stamps.is_old(start + VALID, 4));
        stamps.update(start, 9, SeqNum::new(11), SeqNum::new(10));
        assert_eq!(stamps.recent(), 5);
        stamps.update(start, 9, SeqNum::new(10), SeqNum::new(10));
        assert_eq!(stamps.recent(), 9);
    }

    #[test]
    fn our_clock_wraps_and_still_measures() {
        let stamps = Stamps::new(Instant::ZERO, u32::MAX - 1, 0);
        let sent = stamps.option(Instant::ZERO).value;
        let later = Instant::from_millis(30);
        assert_eq!(stamps.elapsed(later, sent), Some(Duration::from_millis(30)));
        assert_eq!(stamps.elapsed(Instant::ZERO, sent.wrapping_add(9)), None);
    }
}
