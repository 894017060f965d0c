//! Recoveries that were mistakes: nothing had been lost, only late.
//!
//! # Theory of operation
//!
//! If the acknowledgment of the first segment sent again echoes a timestamp older than that sending, the original had arrived
//! (Eifel, RFC 3522), and what congestion control did is taken back (RFC 4015, RFC 9438 §4.9). That takes timestamps. Without,
//! a timeout is tested by F-RTO (RFC 5682 §2.1): once the segment sent again is acknowledged, two new segments go instead of what seems
//! lost. If the next acknowledgment covers something that was sent once only, the originals are arriving. Where timestamps are, F-RTO has
//! nothing to add: Eifel knows after one acknowledgment instead of two, and of fast recoveries too.

use super::acknowledgment::Arrived;
use super::congestion::Verdict;
use super::recovery::{Test, Undo};
use super::sender::Sender;
use crate::wire::tcp::SeqNum;

impl Sender {
    /// Nothing was lost if the original of what was sent first again had arrived (RFC 3522 §3.2), or what was sent once only arrives
    /// (RFC 5682).
    pub(super) fn undo_mistake(&mut self, arrived: &Arrived<'_>) {
        let Some(mut undo) = self.undo else { return };
        let mistaken = match undo.resent {
            None => return,
            Some((_, None)) => self.test_timeout(arrived, &mut undo),
            Some((end, Some(_))) if !arrived.advanced || self.una.before(end) => return,
            Some((_, Some(stamp))) => {
                undo.resent = None;
                let echo = arrived.segment.options.timestamps;
                echo.is_some_and(|echo| SeqNum::new(echo.echo).before(SeqNum::new(stamp)))
            }
        };
        self.undo = undo.resent.map(|_| undo);
        if mistaken {
            self.leave_recovery(arrived.now, Verdict::Mistaken);
            self.board.find_again();
            self.rack.forget_latest();
            self.rack.duplicate_reported(self.una, self.nxt);
        }
    }

    /// F-RTO, RFC 5682 §2.1 steps 2 and 3.
    fn test_timeout(&self, arrived: &Arrived<'_>, undo: &mut Undo) -> bool {
        let room = self.window_end().since(self.nxt);
        let more = self
            .recovery
            .point()
            .is_some_and(|point| self.una.before(point))
            && self.unsent().min(room) > 0;
        let step = undo.test;
        undo.test = match step {
            Test::Repeated if arrived.advanced && more => Test::New,
            _ => Test::None,
        };
        step == Test::New && arrived.advanced
    }

    /// Whether what seems lost has to wait, as a timeout is being tested.
    pub(super) fn tests_timeout(&self) -> bool {
        self.undo.is_some_and(|undo| undo.test == Test::New)
    }
}
