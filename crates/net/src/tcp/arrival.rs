//! Segment arrival in SYN-RECEIVED and the synchronized states: the eight checks of RFC 9293 §3.10.7.4, in their order.

use core::ops::ControlFlow;

use bytes::Bytes;

use super::active::{Active, Exit, Holder, Opening, Stage, SynReceived};
use super::sender::Fin;
use super::timers::Timer;
use super::{Ecn, Error, Ready};
use crate::discard::Discard;
use crate::time::Instant;
use crate::wire::tcp::{Control, Flags, SeqNum};

/// A segment on its way through the checks.
pub(super) struct Arriving {
    now: Instant,
    control: Control,
    payload: Bytes,
    ecn: Ecn,
    /// Why a part of it was dropped.
    dropped: Option<Discard>,
}

/// What a segment brought about.
#[derive(Debug)]
pub(super) struct Outcome {
    /// How the connection leaves its states, if it does.
    pub(super) exit: Option<Exit>,
    /// Why the segment, or a part of it, was dropped.
    pub(super) dropped: Option<Discard>,
}

impl Arriving {
    fn has(&self, flag: Flags) -> bool {
        self.control.flags.contains(flag)
    }

    fn length(&self) -> usize {
        self.control.segment_len(self.payload.len())
    }

    /// The sequence number after the text: where a FIN would be.
    fn text_end(&self) -> SeqNum {
        self.control.seq + self.payload.len()
    }

    /// Nothing but an acknowledgment.
    fn is_bare(&self) -> bool {
        self.payload.is_empty() && !self.control.flags.intersects(Flags::SYN | Flags::FIN)
    }
}

/// Why the checks end early: the segment is dropped, or the connection is over.
enum Halt {
    Drop(Discard),
    Exit(Exit),
}

type Check = ControlFlow<Halt>;

const NEXT: Check = ControlFlow::Continue(());

const fn discard(reason: Discard) -> Check {
    ControlFlow::Break(Halt::Drop(reason))
}

const fn leave(exit: Exit) -> Check {
    ControlFlow::Break(Halt::Exit(exit))
}

impl Active {
    /// Takes a segment.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        segment: &Control,
        payload: Bytes,
        ecn: Ecn,
    ) -> Outcome {
        let mut arriving = Arriving {
            now,
            control: *segment,
            payload,
            ecn,
            dropped: None,
        };
        let halted = self.check(&mut arriving);
        self.receiver
            .arm(now, self.shared.config.ack_delay, &mut self.timers);
        let (exit, dropped) = match halted {
            ControlFlow::Break(Halt::Exit(exit)) => (Some(exit), arriving.dropped),
            ControlFlow::Break(Halt::Drop(reason)) => (None, Some(reason)),
            ControlFlow::Continue(()) => (None, arriving.dropped),
        };
        Outcome { exit, dropped }
    }

    fn check(&mut self, arriving: &mut Arriving) -> Check {
        self.first_sequence(arriving)?;
        self.second_reset(arriving)?;
        // Third, security: compartments of IPv4's security option; nobody sends them, and RFC 9293 §3.10.7.4 lets them be ignored.
        self.fourth_syn(arriving)?;
        self.fifth_ack(arriving)?;
        // Sixth, urgent: urgent data stays in line, where RFC 6093 §6 wants it read; the pointer tells nothing more.
        let fin = self.fin_of(arriving);
        self.seventh_text(arriving)?;
        self.eighth_fin(fin)
    }

    /// First: is the segment within the window, and no relic of an earlier lap (RFC 7323 §5)?
    fn first_sequence(&mut self, arriving: &mut Arriving) -> Check {
        if let Stage::SynReceived(opened) = &mut self.stage {
            opened.meet_syn(arriving)?;
        }
        self.check_age(arriving)?;
        if !self
            .receiver
            .accepts(arriving.control.seq, arriving.length())
        {
            let probes_closed_window =
                self.receiver.window() == 0 && arriving.control.seq == self.receiver.nxt;
            // Text that came with the SYN may come again with the acknowledgment that completes the handshake.
            let repeats_syn_text =
                matches!(self.stage, Stage::SynReceived(_)) && self.repeats(arriving);
            if !(probes_closed_window || repeats_syn_text) || arriving.has(Flags::SYN) {
                return self.refuse(arriving, Discard::OutsideWindow);
            }
            if arriving.length() > 0 {
                arriving.dropped = Some(match repeats_syn_text {
                    true => Discard::Repeated,
                    false => Discard::NoRoom,
                });
            }
            // "Special allowance should be made to accept valid ACKs, URGs, and RSTs": only the text is dropped.
            arriving.control.seq = self.receiver.nxt;
            arriving.payload.clear();
            arriving.control.flags = arriving.control.flags.without(Flags::FIN);
            self.receiver.acknowledge_now();
        }
        if let (Some(stamps), Some(sent)) = (&mut self.stamps, arriving.control.options.timestamps)
        {
            stamps.update(
                arriving.now,
                sent.value,
                arriving.control.seq,
                self.receiver.last_ack_sent(),
            );
        }
        NEXT
    }

    /// Protection against wrapped sequence numbers. Resets are exempt (RFC 7323 §5.2); other segments without the timestamp
    /// that was agreed on are dropped (§3.2).
    fn check_age(&mut self, arriving: &Arriving) -> Check {
        let Some(stamps) = &self.stamps else {
            return NEXT;
        };
        match arriving.control.options.timestamps {
            _ if arriving.has(Flags::RST) => NEXT,
            None if !arriving.has(Flags::SYN) => discard(Discard::Timestamp),
            Some(sent) if stamps.is_old(arriving.now, sent.value) => {
                self.refuse(arriving, Discard::Timestamp)
            }
            _ => NEXT,
        }
    }

    /// Whether all of the segment's text was received before.
    fn repeats(&self, arriving: &Arriving) -> bool {
        !arriving.payload.is_empty() && !arriving.text_end().after(self.receiver.nxt)
    }

    /// An unacceptable segment is answered by an acknowledgment, unless it is a reset.
    fn refuse(&mut self, arriving: &Arriving, reason: Discard) -> Check {
        if arriving.has(Flags::RST) {
            return discard(Discard::Reset);
        }
        let end = arriving.control.seq + arriving.length();
        let reason = match arriving.length() > 0 && !end.after(self.receiver.nxt) {
            true if reason == Discard::OutsideWindow => Discard::Repeated,
            _ => reason,
        };
        if !arriving.payload.is_empty() && !arriving.text_end().after(self.receiver.nxt) {
            self.receiver
                .duplicate(arriving.control.seq, arriving.payload.len());
            return discard(reason);
        }
        let harmless = !arriving.payload.is_empty() || arriving.has(Flags::FIN);
        if harmless {
            self.receiver.acknowledge_now();
            return discard(reason);
        }
        self.challenge(arriving.now, reason)
    }

    /// Answers by an acknowledgment, within limits, and drops the segment (RFC 5961 §7).
    fn challenge(&mut self, now: Instant, reason: Discard) -> Check {
        if self.limiter.admits(now) {
            self.receiver.acknowledge_now();
        }
        discard(reason)
    }

    /// Second: a reset counts only at exactly the next sequence number; elsewhere in the window it is questioned (RFC 5961 §3.2).
    fn second_reset(&mut self, arriving: &Arriving) -> Check {
        if !arriving.has(Flags::RST) {
            return NEXT;
        }
        if arriving.control.seq != self.receiver.nxt {
            return self.challenge(arriving.now, Discard::Reset);
        }
        leave(match self.stage {
            Stage::SynReceived(SynReceived {
                opening: Opening::Active,
                ..
            }) => Exit::Failed(Error::Refused),
            Stage::Closing | Stage::LastAck => Exit::Closed,
            _ => Exit::Failed(Error::Reset),
        })
    }

    /// Fourth: a SYN in the window. A half-open connection returns to its listener; elsewhere it is questioned (RFC 5961 §4.2).
    fn fourth_syn(&mut self, arriving: &Arriving) -> Check {
        if !arriving.has(Flags::SYN) {
            return NEXT;
        }
        match self.stage {
            Stage::SynReceived(SynReceived {
                opening: Opening::Passive,
                ..
            }) => leave(Exit::Failed(Error::Reset)),
            _ => self.challenge(arriving.now, Discard::Handshake),
        }
    }

    /// Fifth: the acknowledgment.
    fn fifth_ack(&mut self, arriving: &Arriving) -> Check {
        if !arriving.has(Flags::ACK) {
            return discard(Discard::Acknowledgment);
        }
        self.complete_handshake(arriving)?;
        let ack = arriving.control.ack;
        let sender = &mut self.sender;
        if ack.after(sender.max) || ack.before(sender.una.back(sender.window.largest as u32)) {
            // For something never sent, or too old to be honest (RFC 5961 §5.2).
            return self.refuse_ack(arriving);
        }
        self.heard_at = arriving.now;
        self.keepalive_probes = 0;
        if !ack.before(self.sender.una) {
            self.acknowledge(arriving);
        }
        self.after_ack(arriving.now)
    }

    fn refuse_ack(&mut self, arriving: &Arriving) -> Check {
        if arriving.is_bare() {
            return self.challenge(arriving.now, Discard::Acknowledgment);
        }
        self.receiver.acknowledge_now();
        discard(Discard::Acknowledgment)
    }

    /// In SYN-RECEIVED the acknowledgment of our SYN establishes the connection; any other is reset.
    fn complete_handshake(&mut self, arriving: &Arriving) -> Check {
        let Stage::SynReceived(opened) = self.stage else {
            return NEXT;
        };
        let ack = arriving.control.ack;
        if ack != self.sender.nxt {
            self.shared.reply = Some(Control {
                seq: ack,
                flags: Flags::RST,
                ..Control::default()
            });
            return discard(Discard::Acknowledgment);
        }
        self.sender.una = ack;
        self.sender.window.establish(&arriving.control);
        let took = opened.sent_at.map(|sent_at| arriving.now - sent_at);
        self.sender.handshake_took(took, opened.retries);
        self.established(arriving.now);
        NEXT
    }

    fn acknowledge(&mut self, arriving: &Arriving) {
        let una = self.sender.una;
        let bare = arriving.is_bare();
        let stamps = self.stamps.as_ref();
        self.sender.acknowledge(
            arriving.now,
            &arriving.control,
            bare,
            stamps,
            &mut self.timers,
        );
        if self.sender.window.size == 0 {
            self.sender.retries = 0; // The peer lives and only wants us to wait (RFC 9293 §3.8.6.1).
        }
        if self.sender.una == una {
            return;
        }
        self.timers.stop(Timer::UserTimeout);
        self.shared.doubted = false;
        self.abandoned_probes = 0;
        if self.sender.is_relieved() && self.sender.fin == Fin::Open {
            self.shared.ready |= Ready::WRITABLE;
        }
    }

    /// What the acknowledgment of our FIN brings about.
    fn after_ack(&mut self, now: Instant) -> Check {
        if !self.sender.is_fin_acknowledged() {
            return NEXT;
        }
        match self.stage {
            Stage::FinWait1 => {
                self.stage = Stage::FinWait2;
                self.bound_fin_wait(now);
                NEXT
            }
            Stage::Closing => leave(Exit::TimeWait),
            Stage::LastAck => leave(Exit::Closed),
            _ => NEXT,
        }
    }

    /// Where the segment's FIN is, in the states that take one.
    fn fin_of(&self, arriving: &Arriving) -> Option<SeqNum> {
        (self.expects_text() && arriving.has(Flags::FIN)).then(|| arriving.text_end())
    }

    fn expects_text(&self) -> bool {
        matches!(
            self.stage,
            Stage::Established | Stage::FinWait1 | Stage::FinWait2
        )
    }

    /// Seventh: the text.
    fn seventh_text(&mut self, arriving: &mut Arriving) -> Check {
        if self.sender.ecn {
            self.note_congestion(arriving);
        }
        if arriving.payload.is_empty() {
            return NEXT;
        }
        if !self.expects_text() {
            arriving.dropped = Some(Discard::AfterClose);
            return NEXT;
        }
        if self.shared.holder == Holder::Nobody && arriving.text_end().after(self.receiver.nxt) {
            arriving.dropped = Some(Discard::AfterClose);
            return leave(self.abort()); // RFC 1122 §4.2.2.13: nobody will ever read this.
        }
        let payload = core::mem::take(&mut arriving.payload);
        let taken = self.receiver.text(arriving.control.seq, payload);
        arriving.dropped = taken.dropped;
        if taken.readable {
            self.shared.ready |= Ready::READABLE;
        }
        NEXT
    }

    /// RFC 3168 §6.1.3: echo a mark until the peer says that it slowed down.
    fn note_congestion(&mut self, arriving: &Arriving) {
        if arriving.has(Flags::CWR) {
            self.echo_congestion = false;
        }
        if arriving.ecn == Ecn::Congested && !arriving.payload.is_empty() {
            self.echo_congestion = true;
            self.receiver.acknowledge_now();
        }
    }

    /// Eighth: the FIN, once everything before it has come.
    fn eighth_fin(&mut self, fin: Option<SeqNum>) -> Check {
        if !self.receiver.finish(fin) {
            return NEXT;
        }
        self.shared.ready |= Ready::READ_CLOSED;
        match self.stage {
            Stage::Established => self.stage = Stage::CloseWait,
            Stage::FinWait1 => self.stage = Stage::Closing,
            Stage::FinWait2 => return leave(Exit::TimeWait),
            // The receiver takes a FIN once, and only in the states above.
            Stage::SynReceived(_) | Stage::CloseWait | Stage::Closing | Stage::LastAck => {}
        }
        NEXT
    }
}

impl SynReceived {
    /// SYNs that cannot pass the sequence check, because the window begins after them, and yet mean something here: the peer's
    /// SYN again, which asks for our SYN-ACK again, and the SYN-ACK of a simultaneous open (RFC 9293 §3.5, figure 7).
    fn meet_syn(&mut self, arriving: &mut Arriving) -> Check {
        if !arriving.has(Flags::SYN)
            || arriving.control.seq != self.peer_isn
            || arriving.has(Flags::RST)
        {
            return NEXT;
        }
        if !arriving.has(Flags::ACK) {
            self.unsent = true;
            return discard(Discard::Repeated);
        }
        if self.opening == Opening::Active {
            arriving.control.flags = arriving.control.flags.without(Flags::SYN);
            arriving.control.seq += 1;
        }
        NEXT
    }
}
