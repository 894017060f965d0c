//! One connection, as its host and its program see it: a thin face over the state it is in.
//!
//! What happens within SYN-SENT is in `syn_sent`, from SYN-RECEIVED to LAST-ACK in `active`; afterwards only what is unread
//! remains, and in TIME-WAIT the record.

use alloc::boxed::Box;
use alloc::sync::Arc;

use bytes::Bytes;

use super::active::{Active, Exit, Shared};
use super::inbox::Inbox;
use super::outbox::Slices;
use super::over::{self, Over};
use super::sender::Fin;
use super::syn_sent::{Answer, SynSent};
use super::{Config, Ecn, Error, Handshake, Limits, Ready, Setup, State, TimeWait, WriteError};
use crate::discard::Discard;
use crate::time::Instant;
use crate::wire::tcp::{Control, SeqNum};

/// A segment to send: header fields and slices of what was written.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The header, ports aside.
    pub control: Control,
    /// The text, in order; at most 64 slices.
    pub payload: Slices,
    /// Octets in `payload`.
    pub length: usize,
    /// The segment size at which the link has to cut the payload, if it is longer than one segment.
    pub segment: Option<u16>,
    /// The congestion bits for the IP header.
    pub ecn: Ecn,
}

impl Outgoing {
    /// A segment without text.
    pub(super) fn bare(control: Control) -> Self {
        Self {
            control,
            payload: Slices::new(),
            length: 0,
            segment: None,
            ecn: Ecn::NotCapable,
        }
    }
}

/// One end of a TCP connection, from the first SYN to TIME-WAIT; ports and addresses are its holder's.
///
/// - **Making one**: [`connect`](Self::connect), [`accept`](Self::accept), [`resume`](Self::resume).
/// - **For the host**: [`receive`](Self::receive), [`transmit`](Self::transmit) until it is `None` after every other call,
///   [`deadline`](Self::deadline), [`expire`](Self::expire).
/// - **For the program**: [`write`](Self::write), [`chunks`](Self::chunks), [`consume`](Self::consume),
///   [`shutdown`](Self::shutdown), [`close`](Self::close), [`abort`](Self::abort).
/// - **To be asked**: [`state`](Self::state), [`take_ready`](Self::take_ready), [`error`](Self::error), [`room`](Self::room).
///
/// ```
/// use std::sync::Arc;
///
/// use bytes::Bytes;
/// use wharf_net::tcp::{Config, Connection, Limits, Setup, State};
/// use wharf_net::time::Instant;
/// use wharf_net::wire::tcp::SeqNum;
///
/// let (now, config) = (Instant::ZERO, Arc::new(Config::default()));
/// let setup = |isn| Setup { isn: SeqNum::new(isn), timestamp_offset: 0, mss: 1460, default_mss: 536 };
/// let limits = Limits { mss: 1460, offload: None };
///
/// let mut client = Connection::connect(now, &config, &setup(1));
/// let syn = client.transmit(now, &limits).expect("a SYN");
/// let mut server = Connection::accept(now, &config, &setup(2), &syn.control, Bytes::new());
/// while let Some(segment) = server.transmit(now, &limits) {
///     client.receive(now, &segment.control, Bytes::new(), segment.ecn);
/// }
/// assert_eq!(client.state(), State::Established);
/// ```
#[derive(Debug)]
pub struct Connection {
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    SynSent(Box<SynSent>),
    Active(Box<Active>),
    /// Boxed: most connections are alive, and this must not make them larger.
    Over(Box<Over>),
}

impl Connection {
    /// Opens actively: the SYN is the first thing that [`transmit`](Self::transmit) gives.
    #[must_use]
    pub fn connect(now: Instant, config: &Arc<Config>, setup: &Setup) -> Self {
        Self {
            phase: Phase::SynSent(Box::new(SynSent::new(now, config, setup))),
        }
    }

    /// Answers a SYN that arrived, perhaps some time ago: the SYN-ACK is the first thing that `transmit` gives.
    /// `payload` is the text that the SYN carried, usually none; it is kept until the handshake is complete.
    #[must_use]
    pub fn accept(
        now: Instant,
        config: &Arc<Config>,
        setup: &Setup,
        syn: &Control,
        payload: Bytes,
    ) -> Self {
        Self::active(Active::accept(now, config, setup, syn, payload))
    }

    /// Begins in ESTABLISHED with what a handshake kept elsewhere (a SYN cookie) agreed on. The segment that completed it is
    /// then given to [`receive`](Self::receive) as well, for its text.
    #[must_use]
    pub fn resume(
        now: Instant,
        config: &Arc<Config>,
        setup: &Setup,
        handshake: &Handshake,
    ) -> Self {
        Self::active(Active::resume(now, config, setup, handshake))
    }

    fn active(active: Active) -> Self {
        Self {
            phase: Phase::Active(Box::new(active)),
        }
    }

    /// Takes a segment that arrived for this connection. Its checksum was right, and its ports and addresses are this
    /// connection's; nothing else is taken for granted. Returns why the segment, or a part of it, was dropped, if it was; it may have been
    /// answered all the same.
    pub fn receive(
        &mut self,
        now: Instant,
        segment: &Control,
        payload: Bytes,
        ecn: Ecn,
    ) -> Option<Discard> {
        match &mut self.phase {
            Phase::SynSent(opening) => match opening.receive(segment) {
                Answer::Wait(reason) => Some(reason),
                Answer::Meet => {
                    self.meet(now, segment, payload);
                    None
                }
                Answer::Fail(error) => {
                    self.leave(now, Exit::Failed(error));
                    None
                }
            },
            Phase::Active(active) => {
                let outcome = active.receive(now, segment, payload, ecn);
                if let Some(exit) = outcome.exit {
                    self.leave(now, exit);
                }
                outcome.dropped
            }
            Phase::Over(over) => Some(over.receive(now, segment, payload.len())),
        }
    }

    fn meet(&mut self, now: Instant, syn: &Control, text: Bytes) {
        match core::mem::replace(&mut self.phase, Phase::Over(Box::default())) {
            Phase::SynSent(opening) => *self = Self::active(opening.meet(now, syn, text)),
            other => self.phase = other,
        }
    }

    /// The living states are left behind.
    fn leave(&mut self, now: Instant, mut exit: Exit) {
        let doubted = self.shared().is_some_and(|shared| shared.doubted);
        if doubted && exit == Exit::Failed(Error::TimedOut) {
            exit = Exit::Failed(Error::Unreachable);
        }
        let mut over = match core::mem::replace(&mut self.phase, Phase::Over(Box::default())) {
            Phase::SynSent(mut opening) => {
                Box::new(Over::after(&mut opening.shared, Inbox::default()))
            }
            Phase::Active(mut active) => {
                let mut inbox = core::mem::take(&mut active.receiver.inbox);
                inbox.forget_spares();
                let mut over = Box::new(Over::after(&mut active.shared, inbox));
                if exit == Exit::TimeWait {
                    let fin = match active.receiver.is_due() {
                        true => over::Fin::Unacknowledged,
                        false => over::Fin::Acknowledged,
                    };
                    over.wait(now, active.time_wait(now), fin);
                }
                over
            }
            Phase::Over(over) => over,
        };
        match exit {
            Exit::Failed(error) => {
                over.error = Some(error);
                over.ready |= Ready::FAILED;
                over.inbox = Inbox::default();
            }
            Exit::Closed | Exit::TimeWait => over.ready |= Ready::CLOSED,
        }
        self.phase = Phase::Over(over);
    }

    /// The next segment to send now, if any. Call it until it returns `None`, after each batch of other calls.
    pub fn transmit(&mut self, now: Instant, limits: &Limits) -> Option<Outgoing> {
        match &mut self.phase {
            Phase::SynSent(opening) => opening.transmit(now).map(Outgoing::bare),
            Phase::Active(active) => active.transmit(now, limits),
            Phase::Over(over) => over.reply.take().map(Outgoing::bare),
        }
    }

    /// When [`expire`](Self::expire) wants to be called next. It changes with every other call.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::SynSent(opening) => opening.timers.next(),
            Phase::Active(active) => active.timers.next(),
            Phase::Over(over) => over.time_wait.as_ref().map(TimeWait::deadline),
        }
    }

    /// Runs the timers that are due. Calling it early does no harm.
    pub fn expire(&mut self, now: Instant) {
        let exit = match &mut self.phase {
            Phase::SynSent(opening) => opening.expire(now).map(Exit::Failed),
            Phase::Active(active) => active.expire(now),
            Phase::Over(over) => {
                over.time_wait = over
                    .time_wait
                    .take()
                    .filter(|record| record.deadline() > now);
                None
            }
        };
        if let Some(exit) = exit {
            self.leave(now, exit);
        }
    }

    /// Octets that [`write`](Self::write) would take now.
    #[must_use]
    pub fn room(&self) -> usize {
        match &self.phase {
            Phase::SynSent(opening) if opening.fin == Fin::Open => opening.room(),
            Phase::Active(active) if active.sender.fin == Fin::Open => active.sender.room(),
            _ => 0,
        }
    }

    /// Queues data for sending and returns how many octets of it were taken: all, or [`room`](Self::room). What is written
    /// before the handshake is complete goes after it. Large buffers are sent from where they are; small ones are gathered.
    ///
    /// # Errors
    ///
    /// [`WriteError::Closed`] after `shutdown`, `close` or in a finished connection; [`WriteError::Failed`] in a failed one.
    pub fn write(&mut self, mut data: Bytes) -> Result<usize, WriteError> {
        data.truncate(self.room());
        let taken = data.len();
        match &mut self.phase {
            Phase::SynSent(opening) if opening.fin == Fin::Open => opening.outbox.push(data),
            Phase::Active(active) if active.sender.fin == Fin::Open => {
                active.sender.note_starvation();
                active.sender.outbox.push(data);
                if active.sender.is_relieved() {
                    active.shared.ready |= Ready::WRITABLE;
                }
            }
            Phase::Over(over) => {
                return Err(over.error.map_or(WriteError::Closed, WriteError::Failed));
            }
            _ => return Err(WriteError::Closed),
        }
        Ok(taken)
    }

    fn inbox(&self) -> Option<&Inbox> {
        match &self.phase {
            Phase::SynSent(_) => None,
            Phase::Active(active) => Some(&active.receiver.inbox),
            Phase::Over(over) => Some(&over.inbox),
        }
    }

    /// Octets received in order and not yet consumed.
    #[must_use]
    pub fn readable(&self) -> usize {
        self.inbox().map_or(0, Inbox::len)
    }

    /// What [`readable`](Self::readable) counts, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.inbox().into_iter().flat_map(Inbox::chunks)
    }

    /// Drops the first `count` octets of what is readable (all of it if there are fewer), which opens the window.
    pub fn consume(&mut self, now: Instant, count: usize) {
        match &mut self.phase {
            Phase::SynSent(_) => {}
            Phase::Active(active) => {
                let rtt = active.rtt();
                active.receiver.consume(now, count, rtt);
                active.watch_spares(now);
            }
            Phase::Over(over) => {
                over.inbox.consume(count);
                over.inbox.forget_spares();
            }
        }
    }

    /// Closes our direction: a FIN follows what is queued (RFC 9293 §3.10.4). Reading goes on. A connection that is still in
    /// SYN-SENT sends its FIN once it is established.
    pub fn shutdown(&mut self) {
        match &mut self.phase {
            Phase::SynSent(opening) => opening.fin = Fin::Queued,
            Phase::Active(active) => active.shutdown(),
            Phase::Over(_) => {}
        }
    }

    /// The program lets go of the connection: `shutdown`, and whatever still arrives is answered by a reset, as is unread data
    /// right now (RFC 1122 §4.2.2.13). In SYN-SENT it is simply over (RFC 9293 §3.10.4). The connection finishes alone; drop it when
    /// [`is_finished`](Self::is_finished).
    pub fn close(&mut self, now: Instant) {
        let exit = match &mut self.phase {
            Phase::SynSent(_) => Some(Exit::Closed),
            Phase::Active(active) => active.close(now),
            Phase::Over(over) => {
                over.inbox = Inbox::default();
                None
            }
        };
        if let Some(exit) = exit {
            self.leave(now, exit);
        }
    }

    /// Resets the connection: everything queued is dropped (RFC 9293 §3.10.5).
    pub fn abort(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::SynSent(_) => self.leave(now, Exit::Failed(Error::Aborted)),
            Phase::Active(active) => {
                let exit = active.abort();
                self.leave(now, exit);
            }
            Phase::Over(over) => {
                **over = Over {
                    reply: over.reply.take(),
                    ready: over.ready,
                    ..Over::default()
                }
            }
        }
    }

    /// Ends the connection with `error` without sending anything: for what the network reports (RFC 1122 §4.2.3.9). The caller
    /// has checked with [`covers`](Self::covers) that the report is about a segment in flight.
    pub fn fail(&mut self, now: Instant, error: Error) {
        if !matches!(self.phase, Phase::Over(_)) {
            self.leave(now, Exit::Failed(error));
        }
    }

    /// The network says that the peer can't be reached, which may be over in a moment (RFC 1122 §4.2.3.9): the connection goes on, and
    /// if it times out before anything is acknowledged, it fails with [`Error::Unreachable`]. As for [`fail`](Self::fail), the
    /// caller has checked.
    pub fn doubt(&mut self) {
        if let Some(shared) = self.shared() {
            shared.doubted = true;
        }
    }

    /// Whether `seq` is of a segment sent and not acknowledged: the test for ICMP messages (RFC 5927 §4.1).
    #[must_use]
    pub fn covers(&self, seq: SeqNum) -> bool {
        match &self.phase {
            Phase::SynSent(opening) => opening.covers(seq),
            Phase::Active(active) => seq.within(active.sender.una, active.sender.max),
            Phase::Over(_) => false,
        }
    }

    /// The path takes only `mss` octets (TCP options included) per packet from now on; what was sent in larger ones is sent
    /// again (RFC 1191 §6.5, RFC 8201 §5.4). Larger values raise nothing.
    pub fn shrink_mss(&mut self, mss: u16) {
        if let Phase::Active(active) = &mut self.phase {
            active.sender.shrink_path(mss);
        }
    }

    /// The size of packets (as [`Limits::mss`] counts) that was found to get through since the last call, where larger ones did
    /// not, or had not been tried: for a cache that other connections on the path know it from (RFC 8899 §5.3).
    pub fn take_path_mss(&mut self) -> Option<u16> {
        match &mut self.phase {
            Phase::Active(active) => active.sender.path.take_news(),
            _ => None,
        }
    }

    /// The state in RFC 9293's words.
    #[must_use]
    pub fn state(&self) -> State {
        match &self.phase {
            Phase::SynSent(_) => State::SynSent,
            Phase::Active(active) => active.state(),
            Phase::Over(over) if over.time_wait.is_some() => State::TimeWait,
            Phase::Over(_) => State::Closed,
        }
    }

    /// How the connection failed, if it did.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        match &self.phase {
            Phase::Over(over) => over.error,
            _ => None,
        }
    }

    /// What has happened since the last call.
    pub fn take_ready(&mut self) -> Ready {
        core::mem::take(match &mut self.phase {
            Phase::SynSent(opening) => &mut opening.shared.ready,
            Phase::Active(active) => &mut active.shared.ready,
            Phase::Over(over) => &mut over.ready,
        })
    }

    /// Whether nothing more will become readable: the peer's FIN came, or the connection is over.
    #[must_use]
    pub fn is_read_closed(&self) -> bool {
        match &self.phase {
            Phase::SynSent(_) => false,
            Phase::Active(active) => active.receiver.is_closed(),
            Phase::Over(_) => true,
        }
    }

    /// Whether [`transmit`](Self::transmit) and [`take_path_mss`](Self::take_path_mss) would give nothing and change nothing.
    pub(crate) fn is_quiet(&self) -> bool {
        match &self.phase {
            Phase::Active(active) => active.is_quiet(),
            Phase::SynSent(_) | Phase::Over(_) => false,
        }
    }

    /// Whether the states are left in which anything is exchanged: finished, or in TIME-WAIT, or with a last answer to give.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over(_))
    }

    /// Whether nothing is left to send, to answer or to wait for: the connection is CLOSED and its last segment was taken from
    /// `transmit`. In TIME-WAIT, [`time_wait`](Self::time_wait) can take over earlier.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match &self.phase {
            Phase::Over(over) => over.reply.is_none() && over.time_wait.is_none(),
            _ => false,
        }
    }

    /// In TIME-WAIT: the record that answers in this connection's place once nobody holds it and `transmit` has run dry.
    #[must_use]
    pub fn time_wait(&self) -> Option<&TimeWait> {
        match &self.phase {
            Phase::Over(over) => over.time_wait.as_ref(),
            _ => None,
        }
    }

    pub(super) fn shared(&mut self) -> Option<&mut Shared> {
        match &mut self.phase {
            Phase::SynSent(opening) => Some(&mut opening.shared),
            Phase::Active(active) => Some(&mut active.shared),
            Phase::Over(_) => None,
        }
    }
}
