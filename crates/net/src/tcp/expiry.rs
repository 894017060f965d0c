//! What happens when a timer goes off.

use super::active::{Active, Exit, Holder, Probe, Stage, SynReceived};
use super::congestion::Cause;
use super::pacer::Pacer;
use super::recovery::{Recovery, Test, Undo};
use super::scoreboard::Scoreboard;
use super::timers::Timer;
use super::{Error, KeepAlive};
use crate::time::Instant;

/// Timeouts in a row before data is given up: about a quarter of an hour (RFC 9293 §3.8.3: at least 100 s).
const RETRIES: u8 = 15;

/// The same when nobody holds the connection any more.
const ABANDONED_RETRIES: u8 = 8;

/// Probes of a closed window without progress when nobody holds the connection any more: about five minutes, as a slow reader
/// may need to make room for a segment.
const ABANDONED_PROBES: u8 = 12;

impl Active {
    /// Runs what is due; returns how the connection ends, if it does.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Exit> {
        self.sender.note_starvation();
        while let Some(timer) = self.timers.take_due(now) {
            let exit = match timer {
                Timer::Retransmit => self.retransmit(now),
                Timer::TailProbe => self.probe_tail_loss(now),
                Timer::Reorder => self.end_reordering(now),
                Timer::Persist => self.probe_closed_window(now),
                Timer::DelayedAck => {
                    self.receiver.acknowledge_now();
                    None
                }
                Timer::KeepAlive => self.ask_for_life(now),
                Timer::UserTimeout => Some(Exit::Failed(Error::TimedOut)),
                Timer::FinWait => Some(Exit::Closed),
                Timer::Pace => None, // What waits goes with the next transmission.
                Timer::Spares => {
                    self.receiver.inbox.give_back();
                    self.watch_spares(now);
                    None
                }
            };
            if exit.is_some() {
                return exit;
            }
        }
        None
    }

    fn retries(&self) -> u8 {
        match self.shared.holder {
            Holder::Program => RETRIES,
            Holder::Nobody => ABANDONED_RETRIES,
        }
    }

    /// RFC 6298 §5.4–§5.6, RFC 5681 §3.1.
    fn retransmit(&mut self, now: Instant) -> Option<Exit> {
        if let Stage::SynReceived(opened) = &mut self.stage {
            if opened.retries >= self.shared.config.syn_ack_retries {
                return Some(Exit::Failed(Error::TimedOut));
            }
            opened.repeat();
            self.sender.rtt.back_off();
            return None;
        }
        if self.sender.retries >= self.retries() {
            return Some(Exit::Failed(Error::TimedOut));
        }
        self.sender.time_out(now);
        self.timers.stop(Timer::TailProbe);
        self.timers.stop(Timer::Reorder);
        self.timers
            .set(Timer::Retransmit, now + self.sender.rtt.timeout());
        None
    }

    fn probe_tail_loss(&mut self, now: Instant) -> Option<Exit> {
        if self.sender.board.outstanding() > 0 && self.sender.recovery.is_open() {
            self.probe = Some(Probe::Tail);
            self.timers
                .set(Timer::Retransmit, now + self.sender.rtt.timeout());
        }
        None
    }

    fn end_reordering(&mut self, now: Instant) -> Option<Exit> {
        let lost = self.sender.detect_by_time(now, &mut self.timers);
        if lost > 0 {
            self.sender.enter_recovery_by_timer(now, lost);
        }
        None
    }

    /// RFC 9293 §3.8.6.1: at growing intervals, for as long as the peer answers; without a holder not forever (RFC 6429 §3).
    fn probe_closed_window(&mut self, now: Instant) -> Option<Exit> {
        if !self.sender.has_unsent() || self.sender.board.outstanding() > 0 {
            return None;
        }
        if self.shared.holder == Holder::Nobody {
            self.abandoned_probes += 1;
        }
        if self.sender.retries >= self.retries() {
            return Some(Exit::Failed(Error::TimedOut));
        }
        if self.abandoned_probes > ABANDONED_PROBES {
            return Some(self.abort());
        }
        self.sender.retries += 1;
        self.sender.rtt.back_off();
        self.probe = Some(Probe::Window);
        self.timers
            .set(Timer::Persist, now + self.sender.rtt.timeout());
        None
    }

    /// RFC 9293 §3.8.4. The timer is not moved by each segment; it looks when it goes off.
    fn ask_for_life(&mut self, now: Instant) -> Option<Exit> {
        let KeepAlive {
            idle,
            interval,
            count,
        } = self.shared.config.keepalive?;
        let due = self.heard_at + idle;
        if due > now {
            self.timers.set(Timer::KeepAlive, due);
            return None;
        }
        if self.sender.board.outstanding() > 0 {
            // A retransmission asks already.
            self.timers.set(Timer::KeepAlive, now + interval);
            return None;
        }
        if self.keepalive_probes >= count {
            self.shared.reply = Some(self.reset());
            return Some(Exit::Failed(Error::TimedOut));
        }
        self.keepalive_probes += 1;
        self.probe = Some(Probe::KeepAlive);
        self.timers.set(Timer::KeepAlive, now + interval);
        None
    }
}

impl SynReceived {
    fn repeat(&mut self) {
        self.retries += 1;
        self.unsent = true;
    }
}

impl super::sender::Sender {
    /// Everything outstanding counts as lost, and sending starts over with one segment.
    fn time_out(&mut self, now: Instant) {
        let flight = self.flight();
        let first = self.board.first_packet();
        self.declare(now, Scoreboard::lose_all);
        let again = self.retries > 0;
        self.congestion
            .control()
            .congested(now, Cause::Timeout { again }, flight);
        let test = match self.recovery {
            Recovery::Timeout { .. } => Test::None, // RFC 5682 §2.1 step 1: the first only.
            _ => Test::Repeated,
        };
        self.undo = Some(Undo { resent: None, test });
        self.recovery = Recovery::Timeout { point: self.nxt };
        self.tail_probe = None;
        self.duplicates = 0;
        self.departed = 0;
        self.pacer = Pacer::default(); // What a timeout sends is not bound by a pace that led to it.
        self.retries += 1;
        self.path.time_out(now, self.retries, first);
        self.rtt.back_off();
    }
}
