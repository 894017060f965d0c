//! One connection.

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    Config, Ecn, Error, Handshake, KeepAlive, Limits, Ready, Setup, State, TimeWait, WriteError,
};
use crate::time::Instant;
use crate::wire::tcp::{Control, SeqNum};
use core::time::Duration;

/// A segment to send: header fields and slices of what was written.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The header, ports aside.
    pub control: Control,
    /// The text, in order.
    pub payload: SmallVec<[Bytes; 4]>,
    /// Octets in `payload`.
    pub length: usize,
    /// The segment size at which the link has to cut the payload, if it is longer than one segment.
    pub segment: Option<u16>,
    /// The congestion bits for the IP header.
    pub ecn: Ecn,
}

/// One end of a TCP connection, from the first SYN to TIME-WAIT; ports and addresses are its holder's.
///
/// - **Making one**: [`connect`](Self::connect), [`accept`](Self::accept), [`resume`](Self::resume).
/// - **For the host**: [`receive`](Self::receive), [`transmit`](Self::transmit) until it is `None` after every other call,
///   [`deadline`](Self::deadline), [`expire`](Self::expire).
/// - **For the program**: [`write`](Self::write), [`chunks`](Self::chunks), [`consume`](Self::consume),
///   [`shutdown`](Self::shutdown), [`close`](Self::close), [`abort`](Self::abort).
/// - **To be asked**: [`state`](Self::state), [`take_ready`](Self::take_ready), [`error`](Self::error), [`room`](Self::room).
#[derive(Debug)]
pub struct Connection {}

impl Connection {
    /// Opens actively: the SYN is the first thing that [`transmit`](Self::transmit) gives.
    #[must_use]
    pub fn connect(now: Instant, config: &Config, setup: &Setup) -> Self {
        let _ = (now, config, setup);
        Self {}
    }

    /// Answers a SYN that arrived, perhaps some time ago: the SYN-ACK is the first thing that `transmit` gives.
    /// `payload` is the text that the SYN carried, usually none; it is kept until the handshake is complete.
    #[must_use]
    pub fn accept(
        now: Instant,
        config: &Config,
        setup: &Setup,
        syn: &Control,
        payload: Bytes,
        ecn: Ecn,
    ) -> Self {
        let _ = (now, config, setup, syn, payload, ecn);
        Self {}
    }

    /// Begins in ESTABLISHED with what a handshake kept elsewhere (a SYN cookie) agreed on. The segment that completed it is
    /// then given to [`receive`](Self::receive) as well, for its text.
    #[must_use]
    pub fn resume(now: Instant, config: &Config, setup: &Setup, handshake: &Handshake) -> Self {
        let _ = (now, config, setup, handshake);
        Self {}
    }

    /// Takes a segment that arrived for this connection.
    pub fn receive(&mut self, now: Instant, segment: &Control, payload: Bytes, ecn: Ecn) {
        let _ = (now, segment, payload, ecn);
    }

    /// The next segment to send now, if any. Call it until it returns `None`, after each batch of other calls.
    pub fn transmit(&mut self, now: Instant, limits: &Limits) -> Option<Outgoing> {
        let _ = (now, limits);
        None
    }

    /// When [`expire`](Self::expire) wants to be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Runs the timers that are due. Calling it early does no harm.
    pub fn expire(&mut self, now: Instant) {
        let _ = now;
    }

    /// Octets that [`write`](Self::write) would take now.
    #[must_use]
    pub fn room(&self) -> usize {
        0
    }

    /// Queues data for sending and returns how many octets of it were taken: all, or [`room`](Self::room).
    ///
    /// # Errors
    ///
    /// [`WriteError::Closed`] after `shutdown`, `close` or in a finished connection; [`WriteError::Failed`] in a failed one.
    pub fn write(&mut self, data: Bytes) -> Result<usize, WriteError> {
        let _ = data;
        Ok(0)
    }

    /// Octets received in order and not yet consumed.
    #[must_use]
    pub fn readable(&self) -> usize {
        0
    }

    /// What [`readable`](Self::readable) counts, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        core::iter::empty()
    }

    /// Drops the first `count` octets of what is readable (all of it if there are fewer), which opens the window.
    pub fn consume(&mut self, now: Instant, count: usize) {
        let _ = (now, count);
    }

    /// Closes our direction: a FIN follows what is queued (RFC 9293 §3.10.4). Reading goes on.
    pub fn shutdown(&mut self, now: Instant) {
        let _ = now;
    }

    /// The program lets go of the connection: `shutdown`, and whatever still arrives is answered by a reset, as is unread data
    /// right now (RFC 1122 §4.2.2.13). The connection finishes alone; it is over when [`is_finished`](Self::is_finished).
    pub fn close(&mut self, now: Instant) {
        let _ = now;
    }

    /// Resets the connection: everything queued is dropped (RFC 9293 §3.10.5).
    pub fn abort(&mut self, now: Instant) {
        let _ = now;
    }

    /// Ends the connection with `error` without sending anything: for what the network reports (RFC 1122 §4.2.3.9). The caller
    /// has checked with [`covers`](Self::covers) that the report is about a segment in flight.
    pub fn fail(&mut self, error: Error) {
        let _ = error;
    }

    /// Whether `seq` is of a segment sent and not acknowledged: the test for ICMP messages (RFC 5927 §4.1).
    #[must_use]
    pub fn covers(&self, seq: SeqNum) -> bool {
        let _ = seq;
        false
    }

    /// The path takes only `mss` octets (TCP options included) per packet from now on; what was sent in larger ones is sent
    /// again (RFC 1191 §6.5, RFC 8201 §5.4). Larger values raise nothing.
    pub fn shrink_mss(&mut self, now: Instant, mss: u16) {
        let _ = (now, mss);
    }

    /// The state in RFC 9293's words.
    #[must_use]
    pub fn state(&self) -> State {
        State::Closed
    }

    /// How the connection failed, if it did.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        None
    }

    /// What has happened since the last call.
    pub fn take_ready(&mut self) -> Ready {
        Ready::NONE
    }

    /// Whether the peer's FIN has come and everything before it was consumed.
    #[must_use]
    pub fn is_read_closed(&self) -> bool {
        false
    }

    /// Whether nothing is left to send, to answer or to wait for: the connection is CLOSED and its last segment was taken from
    /// `transmit`. In TIME-WAIT, [`time_wait`](Self::time_wait) can take over earlier.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        true
    }

    /// In TIME-WAIT: the record that answers in this connection's place once nobody holds it and `transmit` has run dry.
    #[must_use]
    pub fn time_wait(&self) -> Option<&TimeWait> {
        None
    }

    /// Nagle's algorithm off (or on): small segments go out at once.
    pub fn set_nodelay(&mut self, nodelay: bool) {
        let _ = nodelay;
    }

    /// While corked, only full segments are sent; uncorking sends the rest.
    pub fn set_cork(&mut self, cork: bool) {
        let _ = cork;
    }

    /// Keep-alives on or off.
    pub fn set_keepalive(&mut self, now: Instant, keepalive: Option<KeepAlive>) {
        let _ = (now, keepalive);
    }

    /// How long data may stay unacknowledged (RFC 5482).
    pub fn set_user_timeout(&mut self, now: Instant, timeout: Option<Duration>) {
        let _ = (now, timeout);
    }

    /// Fixes the receive buffer's size in octets and ends its auto-tuning.
    pub fn set_receive_buffer(&mut self, octets: usize) {
        let _ = octets;
    }

    /// Fixes the send buffer's size in octets and ends its auto-tuning.
    pub fn set_send_buffer(&mut self, octets: usize) {
        let _ = octets;
    }
}
