//! Which segment goes next, and what is in it.
//!
//! In this order: an answer that is owed (a reset), the SYN-ACK, what a timer asked for, what was lost, what is new, and an
//! acknowledgment that nothing else carried. Each call makes one segment; with offload it may be worth many.

use super::active::{Active, Opening, Stage, SynReceived};
use super::connection::Outgoing;
use super::outbox::Slices;
use super::sender::Fin;
use super::timers::Timer;
use super::{Ecn, Limits};
use crate::time::Instant;
use crate::wire::tcp::{Control, Flags, HEADER_LEN, Options, SeqNum};

/// How segments look at this moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) options: Options,
    /// Octets of text in one packet.
    pub(super) mss: usize,
    /// Octets of text in what is handed to the link at once.
    pub(super) most: usize,
}

/// A stretch of sequence space to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) start: SeqNum,
    /// Octets of text.
    pub(super) text: usize,
    pub(super) fin: bool,
}

impl Active {
    /// The next segment to send now.
    pub(super) fn transmit(&mut self, now: Instant, limits: &Limits) -> Option<Outgoing> {
        if let Some(reply) = self.shared.reply.take() {
            return Some(Outgoing::bare(reply));
        }
        if let Stage::SynReceived(opened) = self.stage {
            return self.transmit_handshake(now, opened);
        }
        if !self.has_to_send() {
            self.watch_progress(now);
            return None;
        }
        let shape = self.shape(now, limits);
        self.sender.congestion.set_mss(shape.mss);
        let outgoing = self.transmit_probe(now, &shape);
        let outgoing = outgoing.or_else(|| self.transmit_paced(now, &shape));
        let outgoing = outgoing.or_else(|| self.transmit_acknowledgment(&shape));
        self.watch_progress(now);
        outgoing
    }

    /// Whether there is anything to send, if the path and the peer take it: most who ask learn that there is not.
    fn has_to_send(&self) -> bool {
        self.probe.is_some()
            || self.receiver.is_due()
            || self.sender.has_unsent()
            || self.sender.board.lost() > 0
    }

    /// Whether [`transmit`](Self::transmit) would change nothing: nothing is to be sent, told or watched.
    pub(super) fn is_quiet(&self) -> bool {
        !self.has_to_send()
            && self.shared.reply.is_none()
            && self.shared.config.user_timeout.is_none()
            && !matches!(self.stage, Stage::SynReceived(_))
            && !self.sender.path.has_news()
    }

    /// What was lost, then what is new, as far as the pace allows.
    fn transmit_paced(&mut self, now: Instant, shape: &Shape) -> Option<Outgoing> {
        if let Some(release) = self.sender.pacer.holds(now) {
            if self.sender.board.lost() > 0 || self.sender.has_unsent() {
                self.timers.set(Timer::Pace, release);
            }
            return None;
        }
        let outgoing = match self.sender.tests_timeout() {
            true => None,
            false => self.transmit_lost(now, shape),
        };
        outgoing.or_else(|| self.transmit_new(now, shape))
    }

    fn transmit_handshake(&mut self, now: Instant, mut opened: SynReceived) -> Option<Outgoing> {
        if opened.unsent {
            opened.unsent = false;
            opened.sent_at = Some(now);
            self.stage = Stage::SynReceived(opened);
            self.timers
                .set(Timer::Retransmit, now + self.sender.rtt.timeout());
            return Some(Outgoing::bare(self.syn_ack(now, &opened)));
        }
        let options = self.options(now);
        self.receiver
            .is_due()
            .then(|| Outgoing::bare(self.control(self.sender.nxt, Flags::NONE, options)))
    }

    fn syn_ack(&mut self, now: Instant, opened: &SynReceived) -> Control {
        let window = self.receiver.acknowledge_syn(&mut self.timers);
        // RFC 3168 §6.1.1: ECE alone agrees; a crossed SYN was no answer, so there is nothing to agree to.
        let agrees = self.sender.ecn && opened.opening == Opening::Passive;
        let ecn = if agrees { Flags::ECE } else { Flags::NONE };
        Control {
            seq: self.sender.una,
            ack: self.receiver.nxt,
            flags: Flags::SYN | Flags::ACK | ecn,
            window,
            urgent: 0,
            options: Options {
                mss: Some(self.mss),
                window_scale: opened
                    .scaled
                    .then(|| super::agreement::window_scale(&self.shared.config)),
                sack_permitted: self.sender.sack,
                timestamps: self.stamps.map(|stamps| stamps.option(now)),
                ..Options::default()
            },
        }
    }

    fn options(&mut self, now: Instant) -> Options {
        let timestamps = self.stamps.map(|stamps| stamps.option(now));
        let mut options = Options {
            timestamps,
            ..Options::default()
        };
        options.sack = self.receiver.sack_blocks(options.sack_room());
        options
    }

    fn shape(&mut self, now: Instant, limits: &Limits) -> Shape {
        let options = self.options(now);
        let mss = self
            .sender
            .mss(limits.mss)
            .saturating_sub(options.len())
            .max(8);
        let headers = HEADER_LEN + options.len();
        let quantum = self.sender.congestion.pace().map(|pace| pace.quantum);
        let most = limits.offload.map_or(mss, |octets| {
            let most = (octets as usize).saturating_sub(headers);
            let quantum = quantum.map_or(most, |quantum| quantum - quantum % mss);
            most.min(quantum).max(mss)
        });
        Shape { options, mss, most }
    }

    /// The header of a segment at `seq`; it acknowledges what there is to acknowledge.
    pub(super) fn control(&mut self, seq: SeqNum, flags: Flags, options: Options) -> Control {
        let echo = if self.echo_congestion {
            Flags::ECE
        } else {
            Flags::NONE
        };
        let window = self.receiver.acknowledge(&mut self.timers);
        Control {
            seq,
            ack: self.receiver.nxt,
            flags: Flags::ACK | flags | echo,
            window,
            urgent: 0,
            options,
        }
    }

    /// A segment with the text of `stretch`, or less of it if it is cut up too finely; and the sequence number after it.
    pub(super) fn segment(
        &mut self,
        stretch: Stretch,
        flags: Flags,
        shape: &Shape,
    ) -> (Outgoing, SeqNum) {
        let payload: Slices = self.sender.outbox.slices(stretch.start, stretch.text);
        let length = payload.iter().map(bytes::Bytes::len).sum();
        let fin = stretch.fin && length == stretch.text;
        let end = stretch.start + length;
        let mut flags = if fin { flags.with(Flags::FIN) } else { flags };
        if length > 0 && end == self.sender.outbox.end() {
            flags = flags.with(Flags::PSH);
        }
        let control = self.control(stretch.start, flags, shape.options);
        let segment = (length > shape.mss).then_some(shape.mss as u16);
        let outgoing = Outgoing {
            control,
            payload,
            length,
            segment,
            ecn: Ecn::NotCapable,
        };
        (outgoing, end + usize::from(fin))
    }

    /// What was lost, as far as the congestion window allows. Beyond the peer's window only the very first is sent again.
    fn transmit_lost(&mut self, now: Instant, shape: &Shape) -> Option<Outgoing> {
        let (start, end) = self.sender.board.next_lost()?;
        if !start.before(self.sender.window_end()) && start != self.sender.una {
            return None;
        }
        let length = end.since(start);
        let quota = if self.sender.in_flight() == 0 {
            self.sender.quota().max(shape.mss)
        } else {
            self.sender.quota()
        };
        if quota < length.min(shape.mss) {
            return None;
        }
        let allowed = if quota < length {
            quota - quota % shape.mss
        } else {
            length
        };
        Some(self.send_again(now, start, start + allowed.min(shape.most), shape))
    }

    pub(super) fn send_again(
        &mut self,
        now: Instant,
        start: SeqNum,
        end: SeqNum,
        shape: &Shape,
    ) -> Outgoing {
        let fin = end.after(self.sender.outbox.end());
        let text = end.since(start) - usize::from(fin);
        let most = text.min(shape.most);
        let stretch = Stretch {
            start,
            text: most,
            fin: fin && most == text,
        };
        let (outgoing, end) = self.segment(stretch, Flags::NONE, shape);
        let stamp = shape.options.timestamps.map(|stamps| stamps.value);
        self.sender
            .resent((start, end), stamp, now, &mut self.timers);
        outgoing
    }

    /// New text, and the FIN behind the last of it.
    fn transmit_new(&mut self, now: Instant, shape: &Shape) -> Option<Outgoing> {
        if !self.sender.has_unsent() || !self.sender.may_record() {
            return None;
        }
        self.sender.wake(now);
        if let Some(size) = self.sender.path_probe(now) {
            return Some(self.probe_path(now, size, shape));
        }
        let Some(stretch) = self.plan(shape) else {
            self.watch_window(now);
            return None;
        };
        Some(self.send_new(now, stretch, shape))
    }

    pub(super) fn send_new(&mut self, now: Instant, stretch: Stretch, shape: &Shape) -> Outgoing {
        let flags = if stretch.text > 0 {
            self.sender.take_reduced()
        } else {
            Flags::NONE
        };
        let (mut outgoing, end) = self.segment(stretch, flags, shape);
        if self.sender.ecn && outgoing.length > 0 {
            outgoing.ecn = Ecn::Capable0; // RFC 3168 §6.1.5: not on retransmissions.
        }
        if stretch.fin && end == self.sender.outbox.end() + 1 {
            self.sender.fin = Fin::Sent;
        }
        self.sender.sent(end, shape.mss, now, &mut self.timers);
        outgoing
    }

    /// How much new text may go in one piece, if any: within the peer's window and the congestion window, and not silly
    /// (RFC 9293 §3.8.6.2.1).
    fn plan(&self, shape: &Shape) -> Option<Stretch> {
        let sender = &self.sender;
        let unsent = sender.unsent();
        let room = sender.window_end().since(sender.nxt);
        let idle = sender.board.outstanding() == 0;
        let quota = if sender.in_flight() == 0 {
            sender.quota().max(shape.mss)
        } else {
            sender.quota()
        };
        let wanted = unsent.min(shape.most);
        let allowed = wanted.min(room).min(quota);
        let mut text = allowed;
        if allowed < wanted && allowed >= shape.mss {
            text -= allowed % shape.mss;
        } else if allowed < wanted && (quota < room || room * 2 < sender.window.largest) {
            return None;
        }
        let fin = sender.fin == Fin::Queued && text == unsent && text < room;
        if text == unsent && !fin && sender.fin == Fin::Open && self.holds_small(idle) {
            text -= text % shape.mss;
        }
        (text > 0 || fin).then_some(Stretch {
            start: sender.nxt,
            text,
            fin,
        })
    }

    /// Whether less than a full segment waits for more: Nagle's algorithm (RFC 9293 §3.7.4) and the cork.
    fn holds_small(&self, idle: bool) -> bool {
        self.shared.corked || !(idle || self.shared.config.nodelay)
    }

    /// Nothing can go: if that is the window's fault and no acknowledgment is awaited, the window is probed in time.
    fn watch_window(&mut self, now: Instant) {
        let sender = &self.sender;
        let room = sender.window_end().since(sender.nxt);
        let waiting = sender.unsent() + usize::from(sender.fin == Fin::Queued);
        if room < waiting && sender.board.outstanding() == 0 && !self.timers.runs(Timer::Persist) {
            self.timers.set(Timer::Persist, now + sender.rtt.timeout());
        }
    }

    /// An acknowledgment that nothing else carried.
    fn transmit_acknowledgment(&mut self, shape: &Shape) -> Option<Outgoing> {
        if !self.receiver.is_due() {
            return None;
        }
        // A peer that withdrew its window expects nothing beyond it.
        let seq = self.sender.nxt.min(self.sender.window_end());
        Some(Outgoing::bare(self.control(
            seq,
            Flags::NONE,
            shape.options,
        )))
    }
}
