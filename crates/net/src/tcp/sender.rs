//! The sending half: the send variables, what is queued and in flight, and how much more may go.

use core::time::Duration;

use super::agreement::Agreement;
use super::congestion::{Congestion, Opened, Pause};
use super::delivery::Meter;
use super::outbox::Outbox;
use super::pacer::Pacer;
use super::path::Path;
use super::peer_window::PeerWindow;
use super::recovery::{Rack, Recovery, Undo};
use super::rtt::Rtt;
use super::scoreboard::Scoreboard;
use super::timers::{Timer, Timers};
use super::{Config, Setup};
use crate::time::Instant;
use crate::wire::tcp::{Flags, SeqNum};

/// Segments on record at most: a bound on bookkeeping when each carries next to nothing.
const MOST_RECORDS: usize = 16_384;

/// TLP.max_ack_delay (RFC 8985 §7.2): how long peers hold an acknowledgment back.
const MAX_ACK_DELAY: Duration = Duration::from_millis(200);
/// What a tail loss probe leaves to the peer beside two round trips, which may be shorter than it takes to wake up.
const LEAST_PATIENCE: Duration = Duration::from_millis(2);

/// Our FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fin {
    /// The program may still write.
    Open,
    /// It goes after what is queued.
    Queued,
    /// It was sent (and is sent again by the scoreboard if need be).
    Sent,
}

/// The send buffer: how much may be written and not yet acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffer {
    limit: usize,
    /// How far the congestion window may raise the limit.
    most: usize,
    /// Less than half of it was free, and nobody was told yet that this is over.
    starved: bool,
}

impl Buffer {
    fn new(config: &Config) -> Self {
        let most = config.send_max.clamp(1, 1 << 30);
        Self {
            limit: config.send_initial.clamp(1, most),
            most,
            starved: false,
        }
    }

    /// What the program wants it to be.
    pub(super) fn fix(&mut self, octets: usize) {
        self.limit = octets.clamp(1, 1 << 30);
        self.most = self.limit;
    }

    /// Makes room for two windows: one in flight while the other is written.
    fn follow(&mut self, cwnd: usize) {
        self.limit = self.limit.max(cwnd.saturating_mul(2).min(self.most));
    }
}

/// A tail loss probe on its way (RFC 8985 §7.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct TailProbe {
    /// SND.NXT when it went.
    pub(super) end: SeqNum,
    /// It repeated something, so that its acknowledgment may hide a loss.
    pub(super) repeated: bool,
}

/// The send variables of RFC 9293 §3.3.1 and what belongs to them.
#[derive(Debug)]
pub(super) struct Sender {
    /// SND.UNA.
    pub(super) una: SeqNum,
    /// SND.NXT.
    pub(super) nxt: SeqNum,
    /// The end of everything ever sent: beyond SND.NXT only by a window probe.
    pub(super) max: SeqNum,
    pub(super) window: PeerWindow,
    pub(super) outbox: Outbox,
    pub(super) fin: Fin,
    pub(super) board: Scoreboard,
    pub(super) meter: Meter,
    pub(super) rtt: Rtt,
    pub(super) congestion: Congestion,
    pub(super) pacer: Pacer,
    pub(super) recovery: Recovery,
    pub(super) rack: Rack,
    /// What tells whether the present recovery was a mistake.
    pub(super) undo: Option<Undo>,
    pub(super) tail_probe: Option<TailProbe>,
    pub(super) sack: bool,
    pub(super) buffer: Buffer,
    /// Acknowledgments in a row that repeat SND.UNA (RFC 5681 §2), counted without SACK only.
    pub(super) duplicates: usize,
    /// Octets that those say have left the network.
    pub(super) departed: usize,
    /// Timeouts since something was last acknowledged, or the peer last answered a probe.
    pub(super) retries: u8,
    /// The largest flight of the present round trip: was the window used (RFC 7661 §1)?
    pub(super) peak: usize,
    peak_until: SeqNum,
    last_sent: Instant,
    /// The most that the peer takes in a segment, TCP options included.
    peer_mss: usize,
    pub(super) path: Path,
    /// ECN is in use (RFC 3168).
    pub(super) ecn: bool,
    /// The window was reduced for a congestion mark: to be told with the next new data (RFC 3168 §6.1.2).
    pub(super) reduced: bool,
}

impl Sender {
    /// Begins in SYN-RECEIVED or ESTABLISHED; `outbox` begins after our SYN.
    pub(super) fn new(
        now: Instant,
        config: &Config,
        agreement: &Agreement,
        setup: &Setup,
        window: PeerWindow,
        outbox: Outbox,
    ) -> Self {
        let isn = setup.isn;
        let nxt = isn + 1;
        let mss = usize::from(agreement.peer_mss);
        Self {
            una: isn,
            nxt,
            max: nxt,
            window,
            outbox,
            fin: Fin::Open,
            board: Scoreboard::new(nxt),
            meter: Meter::new(now),
            rtt: Rtt::new(config.rto_min),
            congestion: Congestion::new(config.congestion, now, mss, agreement.sack, isn.value()),
            pacer: Pacer::default(),
            recovery: Recovery::Open,
            rack: Rack::new(),
            undo: None,
            tail_probe: None,
            sack: agreement.sack,
            buffer: Buffer::new(config),
            duplicates: 0,
            departed: 0,
            retries: 0,
            peak: 0,
            peak_until: nxt,
            last_sent: now,
            peer_mss: mss,
            path: Path::new(setup.mss.min(agreement.peer_mss), setup.default_mss),
            ecn: agreement.ecn,
            reduced: false,
        }
    }

    /// The handshake took this long from our SYN to its acknowledgment, after `retries` repetitions (RFC 6298 §5.7, RFC 5681 §3.1).
    pub(super) fn handshake_took(&mut self, rtt: Option<Duration>, retries: u8) {
        match rtt {
            Some(rtt) if retries == 0 => {
                self.rtt.sample(rtt);
                self.congestion.control().opened(Opened::In(rtt));
            }
            Some(_) => {
                self.rtt.forgive();
                self.rtt.handshake_was_lost();
                self.congestion.control().opened(Opened::WithLoss);
            }
            None => {}
        }
    }

    /// Octets of payload and options that one segment may have on a path that is said to take `limit`.
    pub(super) fn mss(&self, limit: u16) -> usize {
        self.peer_mss
            .min(self.path.size())
            .min(usize::from(limit))
            .max(48)
    }

    /// The path takes no more than this; what went out in longer pieces was dropped on the way. The congestion window stays, as
    /// this was no congestion (RFC 1191 §6.5).
    pub(super) fn shrink_path(&mut self, mss: u16) {
        if self.path.shrink(self.last_sent, mss) {
            self.board.lose_longer_than(self.path.size());
        }
    }

    /// How long a segment may be sent to see whether it gets through, options included; if it is time for that and enough follows
    /// it for a loss to be seen at once (RFC 4821 §7.4).
    pub(super) fn path_probe(&mut self, now: Instant) -> Option<u16> {
        if !self.recovery.is_open() || self.board.lost() > 0 || self.board.sacked() > 0 {
            return None;
        }
        let (unsent, room) = (self.unsent(), self.window_end().since(self.nxt));
        let quota = self.quota();
        let fits = |size: &u16| 2 * usize::from(*size) <= unsent.min(room).min(quota);
        self.path.wanted(now).filter(fits)
    }

    /// The end of what the peer's window allows.
    pub(super) fn window_end(&self) -> SeqNum {
        self.una + self.window.size
    }

    /// Octets of text not sent yet.
    pub(super) fn unsent(&self) -> usize {
        self.outbox.end().since(self.nxt)
    }

    /// Whether text or a FIN waits for its first transmission.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent() > 0 || self.fin == Fin::Queued
    }

    /// Whether our FIN was sent and acknowledged.
    pub(super) fn is_fin_acknowledged(&self) -> bool {
        self.fin == Fin::Sent && self.una == self.outbox.end() + 1
    }

    /// The pipe: octets thought to be in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.board.in_flight().saturating_sub(self.departed)
    }

    /// FlightSize, from which a reduction is reckoned: the most that was in flight in this round trip. What is in flight right now
    /// may be little, if one acknowledgment stood for much.
    pub(super) fn flight(&self) -> usize {
        self.peak
            .max(self.board.outstanding())
            .min(self.congestion.cwnd())
    }

    /// Octets that the congestion window leaves.
    pub(super) fn quota(&self) -> usize {
        self.congestion.cwnd().saturating_sub(self.in_flight())
    }

    /// Octets that the program may write.
    pub(super) fn room(&self) -> usize {
        self.buffer.limit.saturating_sub(self.outbox.len())
    }

    /// Whether room has come back: at least half of the buffer, after there was less.
    pub(super) fn is_relieved(&mut self) -> bool {
        self.buffer.follow(self.congestion.cwnd());
        if self.room() < self.buffer.limit / 2 {
            self.buffer.starved = true;
            return false;
        }
        core::mem::take(&mut self.buffer.starved)
    }

    /// Whether more records may be made.
    pub(super) fn may_record(&self) -> bool {
        self.board.records() < MOST_RECORDS
    }

    /// New text or a FIN went out, up to `end`, in packets of `mss` octets.
    pub(super) fn sent(&mut self, end: SeqNum, mss: usize, now: Instant, timers: &mut Timers) {
        let octets = end.since(self.nxt);
        let counters = self.meter.snapshot(now, self.in_flight(), octets);
        self.board.sent(self.nxt, end, mss, now, counters);
        self.count_sent(now, octets);
        self.nxt = end;
        self.max = self.max.max(end);
        let flight = self.in_flight();
        if flight >= self.peak || !self.una.before(self.peak_until) {
            self.peak = flight;
            self.peak_until = end;
        }
        self.last_sent = now;
        timers.stop(Timer::Persist);
        if !timers.runs(Timer::Retransmit) {
            timers.set(Timer::Retransmit, now + self.rtt.timeout());
        }
        self.arm_tail_probe(now, timers);
    }

    /// Something went out again, carrying `stamp`.
    pub(super) fn resent(
        &mut self,
        (start, end): (SeqNum, SeqNum),
        stamp: Option<u32>,
        now: Instant,
        timers: &mut Timers,
    ) {
        if let Some(undo) = &mut self.undo {
            undo.resent.get_or_insert((end, stamp));
        }
        let octets = end.since(start);
        let counters = self.meter.snapshot(now, self.in_flight(), octets);
        let mss = self.congestion.mss();
        self.path.resent(start, end);
        self.board.resent(start, end, mss, now, counters);
        self.count_sent(now, octets);
        self.last_sent = now;
        if start == self.una || !timers.runs(Timer::Retransmit) {
            timers.set(Timer::Retransmit, now + self.rtt.timeout());
        }
    }

    fn count_sent(&mut self, now: Instant, octets: usize) {
        self.congestion.control().sent(octets);
        if let Some(pace) = self.congestion.pace() {
            self.pacer.sent(now, octets, pace.rate);
        }
    }

    /// Before sending while nothing is in flight: what is known of the path may be stale.
    pub(super) fn wake(&mut self, now: Instant) {
        if self.board.outstanding() == 0 {
            let pause = Pause {
                now,
                long: now - self.last_sent > self.rtt.timeout(),
                starved: self.meter.is_starved(),
            };
            self.congestion.control().resume(&pause);
        }
    }

    /// Before something happens that may lead to sending: had the program run out of data while more could have gone
    /// (draft-ietf-ccwg-bbr §4.1.2.4)? Then what is in flight tells nothing of the path's rate.
    pub(super) fn note_starvation(&mut self) {
        let in_flight = self.in_flight();
        let idle = self.unsent() < self.congestion.mss() && self.board.lost() == 0;
        if idle && in_flight < self.congestion.cwnd() {
            self.meter.starve(in_flight);
        }
    }

    /// RFC 8985 §7.2.
    pub(super) fn arm_tail_probe(&mut self, now: Instant, timers: &mut Timers) {
        let calm = self.sack
            && self.recovery.is_open()
            && self.board.sacked() == 0
            && self.tail_probe.is_none();
        if !calm || self.board.outstanding() == 0 {
            timers.stop(Timer::TailProbe);
            return;
        }
        // The peer may hold its acknowledgment back until it has two full segments (RFC 9293 §3.8.6.3), not only when it has one.
        let held_back = self.board.outstanding() < 2 * self.congestion.mss();
        let wait = match self.rtt.smoothed() {
            Some(smoothed) if held_back => 2 * smoothed + MAX_ACK_DELAY,
            Some(smoothed) => 2 * smoothed + LEAST_PATIENCE,
            None => Duration::from_secs(1),
        };
        timers.set(Timer::TailProbe, now + wait.min(self.rtt.timeout()));
    }

    /// What the flags of new text say about congestion.
    pub(super) fn take_reduced(&mut self) -> Flags {
        if core::mem::take(&mut self.reduced) {
            Flags::CWR
        } else {
            Flags::NONE
        }
    }
}
