//! What a program may set on a connection while it lives.

use alloc::sync::Arc;
use core::time::Duration;

use super::connection::{Connection, Phase};
use super::timers::Timer;
use super::{KeepAlive, State};
use crate::time::Instant;

impl Connection {
    /// Nagle's algorithm off (or on): small segments go out at once (RFC 9293 §3.7.4).
    pub fn set_nodelay(&mut self, nodelay: bool) {
        if let Some(shared) = self.shared() {
            Arc::make_mut(&mut shared.config).nodelay = nodelay;
        }
    }

    /// While corked, only full segments are sent; uncorking, and shutting down, sends the rest.
    pub fn set_cork(&mut self, cork: bool) {
        if let Some(shared) = self.shared() {
            shared.corked = cork;
        }
    }

    /// Keep-alives on or off (RFC 9293 §3.8.4).
    pub fn set_keepalive(&mut self, now: Instant, keepalive: Option<KeepAlive>) {
        if let Some(shared) = self.shared() {
            Arc::make_mut(&mut shared.config).keepalive = keepalive;
        }
        if let Phase::Active(active) = &mut self.phase
            && active.state() != State::SynReceived
        {
            active.watch_silence(now);
        }
    }

    /// How long data may stay unacknowledged, from now on (RFC 5482).
    pub fn set_user_timeout(&mut self, now: Instant, timeout: Option<Duration>) {
        if let Some(shared) = self.shared() {
            Arc::make_mut(&mut shared.config).user_timeout = timeout;
        }
        match (&mut self.phase, timeout) {
            (Phase::SynSent(opening), Some(timeout)) => {
                opening.timers.set(Timer::UserTimeout, now + timeout)
            }
            (Phase::SynSent(opening), None) => opening.timers.stop(Timer::UserTimeout),
            (Phase::Active(active), _) => {
                active.timers.stop(Timer::UserTimeout);
                active.watch_progress(now);
            }
            (Phase::Over(_), _) => {}
        }
    }

    /// Fixes the receive buffer's size in octets and ends its auto-tuning. A window already offered is not taken back.
    pub fn set_receive_buffer(&mut self, octets: usize) {
        match &mut self.phase {
            Phase::SynSent(opening) => {
                Arc::make_mut(&mut opening.shared.config).receive_initial = octets
            }
            Phase::Active(active) => active.receiver.set_limit(octets),
            Phase::Over(_) => {}
        }
    }

    /// Fixes the send buffer's size in octets and ends its auto-tuning.
    pub fn set_send_buffer(&mut self, octets: usize) {
        if let Some(shared) = self.shared() {
            Arc::make_mut(&mut shared.config).send_initial = octets;
            Arc::make_mut(&mut shared.config).send_max = octets;
        }
        if let Phase::Active(active) = &mut self.phase {
            active.sender.buffer.fix(octets);
        }
    }
}
