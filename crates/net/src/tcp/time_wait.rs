//! TIME-WAIT as a small record: what is needed to answer late segments and to let a new connection take the place.
//!
//! A reset does not end it (RFC 1337 §3), a repeated FIN begins it anew (RFC 9293 §3.10.7.4), and a SYN that is certainly newer
//! than the old connection reopens the endpoint pair (RFC 6191).

use core::time::Duration;

use super::limiter::Limiter;
use super::stamps::Stamps;
use crate::time::Instant;
use crate::wire::tcp::{Control, Flags, Options, SeqNum};

/// A connection in TIME-WAIT (RFC 9293 §3.6.1): its holder drops it when [`deadline`](Self::deadline) has passed.
#[derive(Clone, Debug)]
pub struct TimeWait {
    pub(super) deadline: Instant,
    pub(super) duration: Duration,
    /// SND.NXT, beyond our FIN.
    pub(super) snd_nxt: SeqNum,
    /// RCV.NXT, beyond the peer's FIN.
    pub(super) rcv_nxt: SeqNum,
    /// The window field last offered.
    pub(super) window: u16,
    /// The same in octets.
    pub(super) octets: usize,
    pub(super) stamps: Option<Stamps>,
    pub(super) limiter: Limiter,
}

/// What a segment that arrived in TIME-WAIT asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Nothing.
    Ignore,
    /// Send this segment (without payload).
    Answer(Control),
    /// A new connection may take this one's place: treat the SYN as one for a listener, with an initial sequence number after
    /// `isn_after` if there is a listener (RFC 6191 §2, RFC 9293 §3.10.7.4 fourth); otherwise refuse it.
    Reopen {
        /// The sequence numbers of the old connection ended here.
        isn_after: SeqNum,
    },
}

impl TimeWait {
    /// When the record may be dropped; moves when the peer repeats its FIN.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Judges a segment of the connection; `payload` is the length of its text in octets.
    pub fn receive(&mut self, now: Instant, segment: &Control, payload: usize) -> Arrival {
        if segment.flags.contains(Flags::RST) {
            return Arrival::Ignore; // RFC 1337 §3, fix F1
        }
        if segment.flags.contains(Flags::SYN) {
            return self.syn(now, segment);
        }
        let length = segment.segment_len(payload);
        let end = segment.seq + length;
        if segment.flags.contains(Flags::FIN) && end == self.rcv_nxt && !self.is_stale(now, segment)
        {
            self.deadline = now + self.duration;
            return Arrival::Answer(self.acknowledgment(now));
        }
        let quiet = length == 0
            && segment
                .seq
                .within(self.rcv_nxt, self.rcv_nxt + (self.octets + 1));
        let known = segment.flags.contains(Flags::ACK) && !segment.ack.after(self.snd_nxt);
        if quiet && known {
            Arrival::Ignore
        } else {
            self.answer(now, length)
        }
    }

    /// RFC 6191 §2: timestamps decide where both have them, sequence numbers elsewhere (RFC 9293 §3.10.7.4, fourth).
    fn syn(&mut self, now: Instant, segment: &Control) -> Arrival {
        let newer = match (&self.stamps, segment.options.timestamps) {
            (Some(known), Some(stamps)) if stamps.value != known.recent() => {
                !known.is_old(now, stamps.value)
            }
            _ => segment.seq.after(self.rcv_nxt),
        };
        if newer && !segment.flags.contains(Flags::ACK) {
            return Arrival::Reopen {
                isn_after: self.snd_nxt,
            };
        }
        self.answer(now, 0)
    }

    fn is_stale(&self, now: Instant, segment: &Control) -> bool {
        let stamps = self.stamps.as_ref().zip(segment.options.timestamps);
        stamps.is_some_and(|(known, stamps)| known.is_old(now, stamps.value))
    }

    fn answer(&mut self, now: Instant, length: usize) -> Arrival {
        if length == 0 && !self.limiter.admits(now) {
            return Arrival::Ignore;
        }
        Arrival::Answer(self.acknowledgment(now))
    }

    pub(super) fn acknowledgment(&self, now: Instant) -> Control {
        let timestamps = self.stamps.map(|stamps| stamps.option(now));
        Control {
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: Flags::ACK,
            window: self.window,
            urgent: 0,
            options: Options {
                timestamps,
                ..Options::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tcp::Timestamps;

    const MINUTE: Duration = Duration::from_secs(60);

    fn record(recent: Option<u32>) -> TimeWait {
        TimeWait {
            deadline: Instant::ZERO + MINUTE,
            duration: MINUTE,
            snd_nxt: SeqNum::new(5000),
            rcv_nxt: SeqNum::new(9000),
            window: 100,
            octets: 100,
            stamps: recent.map(|recent| Stamps::new(Instant::ZERO, 0, recent)),
            limiter: Limiter::default(),
        }
    }

    fn segment(seq: u32, flags: Flags, stamp: Option<u32>) -> Control {
        let timestamps = stamp.map(|value| Timestamps { value, echo: 0 });
        let options = Options {
            timestamps,
            ..Options::default()
        };
        Control {
            seq: SeqNum::new(seq),
            ack: SeqNum::new(5000),
            flags,
            window: 1,
            urgent: 0,
            options,
        }
    }

    #[test]
    fn a_repeated_fin_is_answered_and_begins_the_wait_anew() {
        let mut record = record(None);
        let now = Instant::from_millis(500);
        let arrival = record.receive(now, &segment(8999, Flags::FIN | Flags::ACK, None), 0);
        let Arrival::Answer(answer) = arrival else {
            panic!("{arrival:?}")
        };
        assert_eq!(
            (answer.seq.value(), answer.ack.value(), answer.flags),
            (5000, 9000, Flags::ACK)
        );
        assert_eq!(record.deadline(), now + MINUTE);
    }

    #[test]
    fn resets_are_ignored_and_stray_data_is_acknowledged() {
        let mut record = record(None);
        assert_eq!(
            record.receive(Instant::ZERO, &segment(9000, Flags::RST, None), 0),
            Arrival::Ignore
        );
        assert_eq!(
            record.receive(Instant::ZERO, &segment(9000, Flags::ACK, None), 0),
            Arrival::Ignore
        );
        let stray = record.receive(Instant::ZERO, &segment(9000, Flags::ACK, None), 7);
        assert!(matches!(stray, Arrival::Answer(_)), "{stray:?}");
        assert_eq!(record.deadline(), Instant::ZERO + MINUTE);
    }

    #[test]
    fn which_syns_reopen() {
        // (TS.Recent, SEG.SEQ, SEG.TSval, reopens)
        let cases = [
            (None, 9001, None, true),
            (None, 9000, None, false),
            (None, 8000, Some(9), false),
            (Some(100), 8000, Some(101), true),
            (Some(100), 9001, Some(99), false),
            (Some(100), 9001, Some(100), true),
            (Some(100), 8000, Some(100), false),
            (Some(100), 9001, None, true),
        ];
        for (recent, seq, stamp, reopens) in cases {
            let arrival =
                record(recent).receive(Instant::ZERO, &segment(seq, Flags::SYN, stamp), 0);
            let expected = Arrival::Reopen {
                isn_after: SeqNum::new(5000),
            };
            assert_eq!(arrival == expected, reopens, "{recent:?} {seq} {stamp:?}");
        }
    }

    #[test]
    fn answers_to_empty_segments_are_limited() {
        let mut record = record(None);
        let mut old = |millis| {
            record.receive(
                Instant::from_millis(millis),
                &segment(1, Flags::ACK, None),
                0,
            )
        };
        let answered = (0..100).filter(|_| old(0) != Arrival::Ignore).count();
        assert_eq!(answered, 10);
        assert_ne!(old(1001), Arrival::Ignore);
    }
}
