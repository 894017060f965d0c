//! SYN-SENT: our SYN is out, nothing acceptable came back yet (RFC 9293 §3.10.7.3).

use alloc::sync::Arc;
use core::ops::ControlFlow;

use bytes::Bytes;

use super::active::{Active, Opening, Parts, Shared, Stage, SynReceived};
use super::agreement::{Agreement, window_scale};
use super::outbox::Outbox;
use super::peer_window::PeerWindow;
use super::rtt::Rtt;
use super::sender::Fin;
use super::stamps::clock;
use super::timers::{Timer, Timers};
use super::{Config, EcnUse, Error, Setup};
use crate::discard::Discard;
use crate::time::Instant;
use crate::wire::tcp::{Control, Flags, Options, SeqNum, Timestamps};

/// What a connection has in SYN-SENT.
#[derive(Debug)]
pub(super) struct SynSent {
    pub(super) shared: Shared,
    setup: Setup,
    /// Written early; goes once the connection is established (RFC 9293 §3.10.2).
    pub(super) outbox: Outbox,
    pub(super) fin: Fin,
    pub(super) timers: Timers,
    rtt: Rtt,
    unsent: bool,
    sent_at: Option<Instant>,
    retries: u8,
}

/// What a segment made of SYN-SENT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing, and why.
    Wait(Discard),
    /// A SYN came: [`SynSent::meet`] makes the rest.
    Meet,
    /// It is over.
    Fail(Error),
}

type Check = ControlFlow<Answer>;

impl SynSent {
    pub(super) fn new(now: Instant, config: &Arc<Config>, setup: &Setup) -> Self {
        let mut timers = Timers::default();
        if let Some(timeout) = config.user_timeout {
            timers.set(Timer::UserTimeout, now + timeout);
        }
        Self {
            shared: Shared::new(config),
            setup: *setup,
            outbox: Outbox::new(setup.isn + 1),
            fin: Fin::Open,
            timers,
            rtt: Rtt::new(config.rto_min),
            unsent: true,
            sent_at: None,
            retries: 0,
        }
    }

    /// Octets that the program may write.
    pub(super) fn room(&self) -> usize {
        self.shared
            .config
            .send_initial
            .saturating_sub(self.outbox.len())
    }

    /// Whether `seq` is of our SYN.
    pub(super) fn covers(&self, seq: SeqNum) -> bool {
        seq == self.setup.isn
    }

    /// Judges a segment: the checks of RFC 9293 §3.10.7.3 in their order.
    pub(super) fn receive(&mut self, segment: &Control) -> Answer {
        match self.check(segment) {
            ControlFlow::Break(answer) => answer,
            // Fifth: neither SYN nor RST.
            ControlFlow::Continue(()) => Answer::Wait(Discard::Handshake),
        }
    }

    fn check(&mut self, segment: &Control) -> Check {
        self.first_ack(segment)?;
        Self::second_reset(segment)?;
        // Third, security: see the synchronized states.
        Self::fourth_syn(segment)
    }

    /// First: an acknowledgment of anything but our SYN is reset.
    fn first_ack(&mut self, segment: &Control) -> Check {
        if !segment.flags.contains(Flags::ACK) || segment.ack == self.setup.isn + 1 {
            return ControlFlow::Continue(());
        }
        if !segment.flags.contains(Flags::RST) {
            self.shared.reply = Some(Control {
                seq: segment.ack,
                flags: Flags::RST,
                ..Control::default()
            });
        }
        ControlFlow::Break(Answer::Wait(Discard::Acknowledgment))
    }

    /// Second: a reset counts if it acknowledges our SYN.
    fn second_reset(segment: &Control) -> Check {
        if !segment.flags.contains(Flags::RST) {
            return ControlFlow::Continue(());
        }
        let acknowledges = segment.flags.contains(Flags::ACK);
        ControlFlow::Break(if acknowledges {
            Answer::Fail(Error::Refused)
        } else {
            Answer::Wait(Discard::Reset)
        })
    }

    /// Fourth: the peer's SYN.
    fn fourth_syn(segment: &Control) -> Check {
        match segment.flags.contains(Flags::SYN) {
            true => ControlFlow::Break(Answer::Meet),
            false => ControlFlow::Continue(()),
        }
    }

    /// Both SYNs are known: ESTABLISHED if ours is acknowledged, else SYN-RECEIVED (a simultaneous open). What else the segment
    /// carries is then taken as any other segment's.
    pub(super) fn meet(self, now: Instant, syn: &Control, text: Bytes) -> Active {
        let acknowledged = syn.flags.contains(Flags::ACK);
        let agreement = Agreement::of_syn(
            now,
            &self.shared.config,
            &self.setup,
            syn.flags,
            &syn.options,
        );
        let stage = if acknowledged {
            Stage::Established
        } else {
            Stage::SynReceived(SynReceived::new(Opening::Active, syn.seq, &agreement))
        };
        let (sent_at, retries) = (self.sent_at, self.retries);
        let parts = Parts {
            window: PeerWindow::of_syn(syn, agreement.peer_scale),
            shared: self.shared,
            setup: self.setup,
            agreement,
            stage,
            rcv_nxt: syn.seq + 1,
            outbox: self.outbox,
            fin: self.fin,
        };
        let mut active = Active::new(now, parts);
        if acknowledged {
            active.sender.una = syn.ack;
            active
                .sender
                .handshake_took(sent_at.map(|sent_at| now - sent_at), retries);
            active.receiver.acknowledge_now();
        }
        active.receiver.text(syn.seq + 1, text);
        if acknowledged {
            active.established(now);
        }
        active
    }

    /// Our SYN, when it is due.
    pub(super) fn transmit(&mut self, now: Instant) -> Option<Control> {
        if let Some(reply) = self.shared.reply.take() {
            return Some(reply);
        }
        if !core::mem::take(&mut self.unsent) {
            return None;
        }
        self.sent_at = Some(now);
        self.timers.set(Timer::Retransmit, now + self.rtt.timeout());
        Some(self.syn(now))
    }

    fn syn(&self, now: Instant) -> Control {
        let config = &self.shared.config;
        // RFC 3168 §6.1.1.1: a SYN sent again does not ask, in case the asking is what was dropped.
        let asks = config.ecn == EcnUse::Ask && self.retries == 0;
        let value = clock(now, self.setup.timestamp_offset);
        Control {
            seq: self.setup.isn,
            ack: SeqNum::new(0),
            flags: if asks {
                Flags::SYN | Flags::ECE | Flags::CWR
            } else {
                Flags::SYN
            },
            window: config.receive_initial.min(config.receive_max).min(0xffff) as u16,
            urgent: 0,
            options: Options {
                mss: Some(self.setup.mss),
                window_scale: Some(window_scale(config)),
                sack_permitted: config.sack,
                timestamps: config.timestamps.then_some(Timestamps { value, echo: 0 }),
                ..Options::default()
            },
        }
    }

    /// Runs what is due.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Error> {
        while let Some(timer) = self.timers.take_due(now) {
            if timer == Timer::UserTimeout || self.retries >= self.shared.config.syn_retries {
                return Some(Error::TimedOut);
            }
            self.retries += 1;
            self.rtt.back_off();
            self.unsent = true;
        }
        None
    }
}
