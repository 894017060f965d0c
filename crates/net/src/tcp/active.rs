//! A connection that knows both initial sequence numbers: SYN-RECEIVED to LAST-ACK.
//!
//! The stage says what RFC 9293's state machine says; the two halves hold the rest. Segments come in through `arrival`, go out
//! through `output`, and timers through `expiry`.

use alloc::sync::Arc;
use core::time::Duration;

use bytes::Bytes;

use super::agreement::Agreement;
use super::limiter::Limiter;
use super::outbox::Outbox;
use super::peer_window::PeerWindow;
use super::receiver::{Receiver, Sizes};
use super::sender::{Fin, Sender};
use super::stamps::Stamps;
use super::timers::{Timer, Timers};
use super::{Config, Error, Handshake, KeepAlive, Ready, Setup, State, TimeWait};
use crate::time::Instant;
use crate::wire::tcp::{Control, Flags, SeqNum};

/// Octets of a timestamps option with its padding (RFC 7323 appendix A).
const STAMPS_LEN: u16 = 12;

/// How long memory for what comes is kept that is not needed.
const SPARES: Duration = Duration::from_secs(1);

/// What a connection has in every state in which it lives.
#[derive(Debug)]
pub(super) struct Shared {
    /// Shared with other connections, unless something was set on this one.
    pub(super) config: Arc<Config>,
    pub(super) ready: Ready,
    /// A segment that goes before everything else.
    pub(super) reply: Option<Control>,
    pub(super) holder: Holder,
    pub(super) corked: bool,
    /// The network said that the peer can't be reached, and nothing has said otherwise since.
    pub(super) doubted: bool,
}

impl Shared {
    pub(super) fn new(config: &Arc<Config>) -> Self {
        Self {
            config: Arc::clone(config),
            ready: Ready::NONE,
            reply: None,
            holder: Holder::Program,
            corked: false,
            doubted: false,
        }
    }
}

/// Who reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Program,
    /// The program let go; the connection finishes alone.
    Nobody,
}

/// RFC 9293 §3.3.2's states from SYN-RECEIVED on, each with what only it has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    SynReceived(SynReceived),
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
}

/// SYN-RECEIVED.
#[derive(Clone, Copy, Debug)]
pub(super) struct SynReceived {
    pub(super) opening: Opening,
    /// IRS.
    pub(super) peer_isn: SeqNum,
    /// The peer offered window scaling.
    pub(super) scaled: bool,
    pub(super) unsent: bool,
    pub(super) sent_at: Option<Instant>,
    pub(super) retries: u8,
}

/// Who began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// We did; SYNs crossed.
    Active,
    /// The peer did.
    Passive,
}

/// How a connection leaves these states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Failed(Error),
    Closed,
    TimeWait,
}

/// A segment that a timer asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// RFC 8985 §7.3.
    Tail,
    /// RFC 9293 §3.8.6.1.
    Window,
    /// RFC 9293 §3.8.4.
    KeepAlive,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) shared: Shared,
    pub(super) stage: Stage,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    pub(super) stamps: Option<Stamps>,
    pub(super) timers: Timers,
    pub(super) probe: Option<Probe>,
    pub(super) limiter: Limiter,
    /// The MSS announced.
    pub(super) mss: u16,
    /// When the peer was last heard.
    pub(super) heard_at: Instant,
    /// Keep-alive probes without an answer.
    pub(super) keepalive_probes: u8,
    /// Window probes since nobody holds the connection, or since its last progress.
    pub(super) abandoned_probes: u8,
    /// A congestion mark came and the peer has not said that it heeded it (RFC 3168 §6.1.3).
    pub(super) echo_congestion: bool,
}

/// What a connection in one of these states is made from.
pub(super) struct Parts {
    pub(super) shared: Shared,
    pub(super) setup: Setup,
    pub(super) agreement: Agreement,
    pub(super) stage: Stage,
    pub(super) window: PeerWindow,
    /// RCV.NXT.
    pub(super) rcv_nxt: SeqNum,
    pub(super) outbox: Outbox,
    pub(super) fin: Fin,
}

impl Active {
    pub(super) fn new(now: Instant, parts: Parts) -> Self {
        let Parts {
            shared,
            setup,
            agreement,
            stage,
            window,
            rcv_nxt,
            outbox,
            fin,
        } = parts;
        let config = &shared.config;
        // What a full segment of the peer has room for beside the timestamps in each.
        let stamps = agreement.stamps.map_or(0, |_| STAMPS_LEN);
        let sizes = Sizes {
            initial: config.receive_initial,
            max: config.receive_max,
            mss: setup.mss.saturating_sub(stamps).max(1),
            scale: agreement.scale,
            sack: agreement.sack,
        };
        let mut sender = Sender::new(now, config, &agreement, &setup, window, outbox);
        sender.fin = fin;
        Self {
            stage,
            sender,
            receiver: Receiver::new(now, rcv_nxt, sizes),
            stamps: agreement.stamps,
            timers: Timers::default(),
            probe: None,
            limiter: Limiter::default(),
            mss: setup.mss,
            heard_at: now,
            keepalive_probes: 0,
            abandoned_probes: 0,
            echo_congestion: false,
            shared,
        }
    }

    /// A SYN came for a listener (RFC 9293 §3.10.7.2, third).
    pub(super) fn accept(
        now: Instant,
        config: &Arc<Config>,
        setup: &Setup,
        syn: &Control,
        text: Bytes,
    ) -> Self {
        let agreement = Agreement::of_syn(now, config, setup, syn.flags, &syn.options);
        let stage = Stage::SynReceived(SynReceived::new(Opening::Passive, syn.seq, &agreement));
        let mut active = Self::new(
            now,
            Parts {
                shared: Shared::new(config),
                setup: *setup,
                window: PeerWindow::of_syn(syn, agreement.peer_scale),
                agreement,
                stage,
                rcv_nxt: syn.seq + 1,
                outbox: Outbox::new(setup.isn + 1),
                fin: Fin::Open,
            },
        );
        active.receiver.text(syn.seq + 1, text);
        active
    }

    /// A handshake was finished elsewhere.
    pub(super) fn resume(
        now: Instant,
        config: &Arc<Config>,
        setup: &Setup,
        handshake: &Handshake,
    ) -> Self {
        let agreement = Agreement::of_handshake(now, config, setup, handshake);
        let completing = Control {
            seq: handshake.peer_isn + 1,
            ack: setup.isn + 1,
            window: handshake.window,
            ..Control::default()
        };
        let mut window = PeerWindow::of_syn(&completing, agreement.peer_scale);
        window.establish(&completing);
        let mut active = Self::new(
            now,
            Parts {
                shared: Shared::new(config),
                setup: *setup,
                window,
                agreement,
                stage: Stage::Established,
                rcv_nxt: completing.seq,
                outbox: Outbox::new(completing.ack),
                fin: Fin::Open,
            },
        );
        active.sender.una = completing.ack;
        active.established(now);
        active
    }

    /// Both SYNs are acknowledged.
    pub(super) fn established(&mut self, now: Instant) {
        self.stage = if self.sender.fin == Fin::Open {
            Stage::Established
        } else {
            Stage::FinWait1
        };
        self.timers.stop(Timer::Retransmit);
        self.shared.ready |= Ready::CONNECTED | Ready::WRITABLE;
        if self.receiver.inbox.len() > 0 {
            self.shared.ready |= Ready::READABLE;
        }
        self.heard_at = now;
        self.watch_silence(now);
    }

    /// The state in RFC 9293's words.
    pub(super) fn state(&self) -> State {
        match self.stage {
            Stage::SynReceived(_) => State::SynReceived,
            Stage::Established => State::Established,
            Stage::FinWait1 => State::FinWait1,
            Stage::FinWait2 => State::FinWait2,
            Stage::CloseWait => State::CloseWait,
            Stage::Closing => State::Closing,
            Stage::LastAck => State::LastAck,
        }
    }

    /// RFC 9293 §3.10.4.
    pub(super) fn shutdown(&mut self) {
        if self.sender.fin != Fin::Open {
            return;
        }
        self.sender.fin = Fin::Queued;
        match self.stage {
            Stage::Established => self.stage = Stage::FinWait1,
            Stage::CloseWait => self.stage = Stage::LastAck,
            // The FIN follows once the handshake is complete.
            _ => {}
        }
    }

    /// The program lets go; returns how, if at once.
    pub(super) fn close(&mut self, now: Instant) -> Option<Exit> {
        self.shared.holder = Holder::Nobody;
        if self.receiver.inbox.len() > 0 {
            // RFC 1122 §4.2.2.13: what came and was not read is lost, and the peer has to know.
            return Some(self.abort());
        }
        self.shutdown();
        self.bound_fin_wait(now);
        None
    }

    /// RFC 9293 §3.10.5.
    pub(super) fn abort(&mut self) -> Exit {
        self.shared.reply = Some(self.reset());
        Exit::Failed(Error::Aborted)
    }

    /// A reset that the peer has to believe.
    pub(super) fn reset(&self) -> Control {
        let seq = self
            .sender
            .nxt
            .min(self.sender.window_end())
            .max(self.sender.una);
        Control {
            seq,
            ack: self.receiver.nxt,
            flags: Flags::RST | Flags::ACK,
            ..Control::default()
        }
    }

    /// In FIN-WAIT-2 with nobody to read: the peer's FIN is not awaited forever.
    pub(super) fn bound_fin_wait(&mut self, now: Instant) {
        if matches!(self.stage, Stage::FinWait2) && self.shared.holder == Holder::Nobody {
            self.timers
                .set(Timer::FinWait, now + self.shared.config.fin_wait);
        }
    }

    /// (Re)starts the keep-alive timer if there is to be one.
    pub(super) fn watch_silence(&mut self, now: Instant) {
        match self.shared.config.keepalive {
            Some(KeepAlive { idle, .. }) => self
                .timers
                .set(Timer::KeepAlive, now.max(self.heard_at + idle)),
            None => self.timers.stop(Timer::KeepAlive),
        }
    }

    /// Starts the time after which memory that is not needed is given back.
    pub(super) fn watch_spares(&mut self, now: Instant) {
        if self.receiver.inbox.has_spares() && !self.timers.runs(Timer::Spares) {
            self.timers.set(Timer::Spares, now + SPARES);
        }
    }

    /// Starts the user timeout if something waits for the peer and it does not run yet.
    pub(super) fn watch_progress(&mut self, now: Instant) {
        let waiting = self.sender.board.outstanding() > 0 || self.sender.has_unsent();
        match self.shared.config.user_timeout {
            Some(timeout) if waiting && !self.timers.runs(Timer::UserTimeout) => {
                self.timers.set(Timer::UserTimeout, now + timeout);
            }
            Some(_) if waiting => {}
            _ => self.timers.stop(Timer::UserTimeout),
        }
    }

    /// The round-trip time, as far as it is known.
    pub(super) fn rtt(&self) -> Option<Duration> {
        self.sender.rtt.smoothed()
    }

    /// The record that remains in TIME-WAIT.
    pub(super) fn time_wait(&mut self, now: Instant) -> TimeWait {
        let window = self.receiver.acknowledge(&mut self.timers);
        let duration = self.shared.config.time_wait;
        TimeWait {
            deadline: now + duration,
            duration,
            snd_nxt: self.sender.nxt,
            rcv_nxt: self.receiver.nxt,
            window,
            octets: self.receiver.window(),
            stamps: self.stamps,
            limiter: self.limiter,
        }
    }
}

impl SynReceived {
    pub(super) fn new(opening: Opening, peer_isn: SeqNum, agreement: &Agreement) -> Self {
        Self {
            opening,
            peer_isn,
            scaled: agreement.scaled,
            unsent: true,
            sent_at: None,
            retries: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::Connection;

    #[test]
    fn an_idle_connection_is_small() {
        let octets = size_of::<Active>() + size_of::<Connection>();
        assert!(octets <= 1536, "{octets} octets");
    }
}
