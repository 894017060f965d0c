//! Knocks: connection requests that wait for the caller's verdict before anything is answered.
//!
//! A repeated SYN is the same knock. There is a bound, and a knock without a verdict is forgotten after two minutes, when
//! the peer has long given up.

use alloc::collections::VecDeque;
use bytes::Bytes;
use core::net::IpAddr;
use core::time::Duration;
use hashbrown::HashMap;
use thiserror::Error;
use wharf_port::Flow;

use super::Host;
use super::event::{Event, KnockId, Refusal, SocketId, Unreachable};
use super::icmp_error::Trouble;
use super::inbound::Inbound;
use super::keys::{Keyed, Map};
use super::opening::{Syn, syn_text};
use super::sockets::{Keeper, Options};
use crate::discard::Discard;
use crate::tcp;
use crate::time::Instant;
use crate::wire::tcp::{Control, SeqNum};

/// Knocks at once.
const MAX_KNOCKS: usize = 4096;
/// How long a knock waits for its verdict.
const PATIENCE: Duration = Duration::from_secs(120);
/// What an ICMP error quotes of a SYN: both headers at their longest.
const QUOTE: usize = 120;

/// A SYN that waits.
#[derive(Debug)]
pub(super) struct Knock {
    pub(super) flow: Flow,
    pub(super) syn: Control,
    /// Text in the SYN, as far as it is kept, and how much there was.
    text: Bytes,
    length: usize,
    /// After which number ours has to begin: where an earlier connection of this flow ended.
    pub(super) isn_after: Option<SeqNum>,
    quote: Bytes,
}

/// The knocks that wait.
#[derive(Debug)]
pub(super) struct Knocks {
    waiting: Map<KnockId, Knock>,
    flows: Map<Flow, KnockId>,
    /// In the order of their coming; may name some that have had their verdict.
    order: VecDeque<(Instant, KnockId)>,
    last: u64,
}

/// The knock is not there any more: it was answered, took too long, or the peer has withdrawn it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KnockError {
    /// It was answered before, waited for more than two minutes, or was withdrawn.
    #[error("the knock is not waiting any more")]
    Gone,
    /// There is no room for one more socket.
    #[error("there are too many sockets")]
    Full,
}

impl Knocks {
    pub(super) fn new(keyed: Keyed) -> Self {
        Self {
            waiting: HashMap::with_hasher(keyed),
            flows: HashMap::with_hasher(keyed),
            order: VecDeque::new(),
            last: 0,
        }
    }

    fn insert(&mut self, now: Instant, knock: Knock) -> KnockId {
        self.last += 1;
        let id = KnockId(self.last);
        self.flows.insert(knock.flow, id);
        self.waiting.insert(id, knock);
        self.order.push_back((now + PATIENCE, id));
        id
    }

    fn take(&mut self, id: KnockId) -> Option<Knock> {
        let knock = self.waiting.remove(&id)?;
        self.flows.remove(&knock.flow);
        // Most are answered in the order of their coming: what is over goes from the front, so the queue
        // stays about as long as the set.
        while self
            .order
            .front()
            .is_some_and(|(_, id)| !self.waiting.contains_key(id))
        {
            self.order.pop_front();
        }
        if self.order.len() > 2 * MAX_KNOCKS {
            self.order.retain(|(_, id)| self.waiting.contains_key(id));
        }
        Some(knock)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.order.front().map(|(at, _)| *at)
    }

    /// The peer takes its request back.
    pub(super) fn withdraw(&mut self, flow: &Flow) {
        if let Some(id) = self.flows.get(flow).copied() {
            self.take(id);
        }
    }

    fn expired(&mut self, now: Instant) -> Option<Knock> {
        match self.order.front().copied() {
            Some((at, id)) if at <= now => self.take(id),
            _ => None,
        }
    }
}

impl Host {
    /// A SYN to where nobody listens, in a host that accepts anything.
    pub(super) fn knock(
        &mut self,
        now: Instant,
        inbound: &Inbound,
        (flow, syn, text): (Flow, Control, &[u8]),
        isn_after: Option<SeqNum>,
    ) -> Result<(), Discard> {
        if let Some(id) = self.knocks.flows.get(&flow)
            && let Some(waiting) = self.knocks.waiting.get_mut(id)
        {
            // A repetition; or the peer has begun anew, and the latest SYN is the one to answer.
            (waiting.syn, waiting.text, waiting.length) = (syn, syn_text(text), text.len());
            return Ok(());
        }
        if self.knocks.waiting.len() >= MAX_KNOCKS {
            return Err(Discard::KnockLimit);
        }
        let quote = Bytes::copy_from_slice(&inbound.packet[..inbound.packet.len().min(QUOTE)]);
        let knock = Knock {
            flow,
            syn,
            text: syn_text(text),
            length: text.len(),
            isn_after,
            quote,
        };
        let knock = self.knocks.insert(now, knock);
        if !self.events.offer(Event::Knock { knock, flow }) {
            self.knocks.take(knock);
            return Err(Discard::EventLimit);
        }
        Ok(())
    }

    /// Lets a knock in: the SYN is answered, and the connection is the caller's.
    ///
    /// [`Ready::CONNECTED`](crate::Ready::CONNECTED) tells when the handshake is complete; data may be written before.
    ///
    /// # Errors
    /// [`KnockError`]; nothing is sent then.
    pub fn admit(&mut self, now: Instant, knock: KnockId) -> Result<SocketId, KnockError> {
        let Some(knock) = self.knocks.take(knock) else {
            return Err(KnockError::Gone);
        };
        let id = self.sockets.next().ok_or(KnockError::Full)?;
        // Somebody may have connected or listened in between: then the knock was answered elsewhere.
        let hold = self
            .table
            .admit(&knock.flow, id)
            .map_err(|_| KnockError::Gone)?;
        let syn = Syn {
            flow: knock.flow,
            control: knock.syn,
            text: knock.text,
            isn_after: knock.isn_after,
        };
        self.answer_syn(now, (id, hold), syn, Keeper::Caller, Options::default());
        Ok(id)
    }

    /// Turns a knock away. One that is not waiting any more is none of ours.
    pub fn refuse(&mut self, now: Instant, knock: KnockId, refusal: Refusal) {
        let Some(knock) = self.knocks.take(knock) else {
            return;
        };
        match refusal {
            Refusal::Silent => {}
            Refusal::Reset => {
                if let Some(reset) = tcp::reset_for(&knock.syn, knock.length) {
                    self.send_control(now, &knock.flow, reset);
                }
            }
            Refusal::Unreachable(unreachable) => {
                let source = self.speaker(knock.flow.local.address(), unreachable);
                let remote = knock.flow.remote.address();
                self.send_error(
                    now,
                    (source, remote),
                    &knock.quote,
                    Trouble::Unreachable(unreachable),
                );
            }
        }
    }

    /// From whom an error comes: a closed port is the host's own word, everything else the gateway's.
    pub(super) fn speaker(&self, local: IpAddr, unreachable: Unreachable) -> IpAddr {
        match unreachable {
            Unreachable::Port => local,
            _ => self.routes.own(None, local).unwrap_or(local),
        }
    }

    pub(super) fn expire_knocks(&mut self, now: Instant) {
        while self.knocks.expired(now).is_some() {
            self.drop_for(Discard::KnockTimeout);
        }
    }
}
