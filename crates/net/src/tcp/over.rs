//! What remains of a connection that is over: unread octets, a last word, and in TIME-WAIT the record.

use super::active::Shared;
use super::inbox::Inbox;
use super::time_wait::Arrival;
use super::{Error, Ready, TimeWait, reset_for};
use crate::discard::Discard;
use crate::time::Instant;
use crate::wire::tcp::Control;

/// What remains when a connection is over.
#[derive(Debug, Default)]
pub(super) struct Over {
    pub(super) ready: Ready,
    /// The last word.
    pub(super) reply: Option<Control>,
    pub(super) error: Option<Error>,
    /// What came and was not read.
    pub(super) inbox: Inbox,
    pub(super) time_wait: Option<TimeWait>,
}

/// What the peer knows about its FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fin {
    Acknowledged,
    Unacknowledged,
}

impl Over {
    pub(super) fn after(shared: &mut Shared, inbox: Inbox) -> Self {
        Self {
            ready: shared.ready,
            reply: shared.reply.take(),
            inbox,
            ..Self::default()
        }
    }

    /// TIME-WAIT begins; with the acknowledgment of what ended the connection, unless FINs crossed and it has been sent.
    pub(super) fn wait(&mut self, now: Instant, record: TimeWait, fin: Fin) {
        if fin == Fin::Unacknowledged {
            self.reply = Some(record.acknowledgment(now));
        }
        self.time_wait = Some(record);
    }

    /// Nothing that still comes is taken; returns why.
    pub(super) fn receive(&mut self, now: Instant, segment: &Control, payload: usize) -> Discard {
        let Some(record) = &mut self.time_wait else {
            self.reply = reset_for(segment, payload);
            return Discard::Stray;
        };
        if let Arrival::Answer(answer) = record.receive(now, segment, payload) {
            self.reply = Some(answer);
        }
        Discard::TimeWait
    }
}
