//! A limit on answers that a stranger could provoke: challenge acknowledgments (RFC 5961 §7).

use core::time::Duration;

use crate::time::Instant;

/// Answers per period.
const MOST: u8 = 10;

const PERIOD: Duration = Duration::from_secs(1);

/// At most ten answers in a second, per connection. Segments with text are answered without limit: text is never an answer to
/// an acknowledgment, so no loop can come of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limiter {
    since: Instant,
    spent: u8,
}

impl Limiter {
    /// Whether one more answer may go.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        if now - self.since >= PERIOD {
            self.since = now;
            self.spent = 0;
        }
        self.spent = self.spent.saturating_add(1).min(MOST + 1);
        self.spent <= MOST
    }
}
