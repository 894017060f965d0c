//! Congestion control: how much may be in flight, and how fast it may be sent.
//!
//! A [`Control`] hears what happens to a connection's segments: sent, delivered, lost, a recovery that begins and ends. Everything
//! that it wants is a window, and perhaps a pace. CUBIC and Reno share all of that but two formulas ([`loss_based`]); BBR goes by a
//! model of the path ([`bbr`]).

mod bbr;
mod cubic;
mod hystart;
mod loss_based;
mod reduction;
mod reno;

use alloc::boxed::Box;
use core::time::Duration;

use super::delivery::{Loss, Sample};
use crate::time::Instant;
use crate::wire::tcp::SeqNum;
use bbr::Bbr;
use loss_based::LossBased;

/// Which congestion control a connection uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// CUBIC (RFC 9438).
    #[default]
    Cubic,
    /// Reno: additive increase, multiplicative decrease (RFC 5681).
    Reno,
    /// BBR, version 3 (draft-ietf-ccwg-bbr): by a model of the path, paced.
    Bbr,
}

/// The largest congestion window: what the largest scaled receive window could use.
const MAX_WINDOW: usize = 1 << 30;

/// RFC 6928 §2.
fn initial_window(mss: usize) -> usize {
    (10 * mss).min((2 * mss).max(14_600))
}

/// Where loss recovery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing is known to be lost.
    Open,
    /// Fast recovery.
    Fast,
    /// After a timeout.
    Timeout,
}

/// Why less is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Segments were found lost: fast recovery begins.
    Loss,
    /// A router marked a packet (RFC 3168): the same, though nothing is missing.
    Mark,
    /// A tail loss probe repaired a loss that was never seen (RFC 8985 §7.4): nothing is to be recovered.
    Tail,
    /// A retransmission timeout; `again` if nothing came since the last one.
    Timeout {
        /// Nothing came since the last one.
        again: bool,
    },
}

/// How a recovery ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What was lost is repaired.
    Repaired,
    /// Nothing had been lost (RFC 3522).
    Mistaken,
}

/// What an acknowledgment did, after what was found lost by it was told; also without one, when a timer found losses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ack {
    pub(super) now: Instant,
    pub(super) stage: Stage,
    /// SND.UNA and SND.NXT.
    pub(super) una: SeqNum,
    pub(super) nxt: SeqNum,
    /// SND.UNA moved.
    pub(super) advanced: bool,
    /// Octets found lost.
    pub(super) lost: usize,
    /// Octets in flight now.
    pub(super) in_flight: usize,
    /// The largest flight of the present round trip.
    pub(super) peak: usize,
    /// The smoothed round-trip time; zero before the first.
    pub(super) smoothed: Duration,
    /// Octets delivered in all.
    pub(super) delivered: u64,
    pub(super) sample: Sample,
}

/// Nothing is in flight and something is about to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    pub(super) now: Instant,
    /// Nothing was sent for longer than a retransmission timeout.
    pub(super) long: bool,
    /// The program had nothing to send.
    pub(super) starved: bool,
}

/// How fast to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// Octets per second; not 0.
    pub(super) rate: u64,
    /// Octets that may go in one piece.
    pub(super) quantum: usize,
}

/// What sets one congestion control apart from another.
pub(super) trait Control {
    /// Octets that may be in flight.
    fn cwnd(&self) -> usize;

    /// How fast they may be sent; as fast as possible if it does not say.
    fn pace(&self) -> Option<Pace> {
        None
    }

    /// Whether less is sent than could be, on purpose, so that what is measured meanwhile says nothing of the path.
    fn holds_back(&self) -> bool {
        false
    }

    /// Segments have `mss` octets of text from now on; the window stays in octets.
    fn set_mss(&mut self, mss: usize);

    /// The handshake is complete. It took `rtt` if that is known; or its own segment was lost (RFC 5681 §3.1).
    fn opened(&mut self, handshake: Opened);

    /// The first segment after a pause is about to go.
    fn resume(&mut self, pause: &Pause);

    /// `octets` were sent, again or for the first time.
    fn sent(&mut self, octets: usize);

    /// A stretch was declared lost, with `delivered` octets delivered in all; the acknowledgment that brought it to light follows.
    fn lost(&mut self, now: Instant, delivered: u64, loss: &Loss);

    /// An acknowledgment came.
    fn acknowledged(&mut self, ack: &Ack);

    /// Congestion was seen with `flight` octets outstanding.
    fn congested(&mut self, now: Instant, cause: Cause, flight: usize);

    /// A recovery is over.
    fn recovered(&mut self, now: Instant, verdict: Verdict);
}

/// How a handshake went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// In one round trip of this length.
    In(Duration),
    /// With a segment sent again.
    WithLoss,
}

/// A congestion control and the segment size that it reckons in.
#[derive(Debug)]
pub(super) struct Congestion {
    mss: usize,
    law: Law,
}

#[derive(Debug)]
enum Law {
    LossBased(LossBased),
    Bbr(Box<Bbr>),
}

impl Congestion {
    /// `seed` is for what has to differ from connection to connection.
    pub(super) fn new(
        algorithm: Algorithm,
        now: Instant,
        mss: usize,
        sack: bool,
        seed: u32,
    ) -> Self {
        let law = match algorithm {
            Algorithm::Cubic => Law::LossBased(LossBased::cubic(mss)),
            Algorithm::Reno => Law::LossBased(LossBased::reno(mss)),
            Algorithm::Bbr => Law::Bbr(Box::new(Bbr::new(now, mss, sack, seed))),
        };
        Self { mss, law }
    }

    /// What it is told things by.
    pub(super) fn control(&mut self) -> &mut dyn Control {
        match &mut self.law {
            Law::LossBased(law) => law,
            Law::Bbr(law) => &mut **law,
        }
    }

    fn asked(&self) -> &dyn Control {
        match &self.law {
            Law::LossBased(law) => law,
            Law::Bbr(law) => &**law,
        }
    }

    /// Octets of text in a segment, as segments are made at present.
    pub(super) fn mss(&self) -> usize {
        self.mss
    }

    /// Segments have `mss` octets of text from now on.
    pub(super) fn set_mss(&mut self, mss: usize) {
        if self.mss != mss {
            self.mss = mss;
            self.control().set_mss(mss);
        }
    }

    /// Octets that may be in flight.
    pub(super) fn cwnd(&self) -> usize {
        self.asked().cwnd()
    }

    /// See [`Control::pace`].
    pub(super) fn pace(&self) -> Option<Pace> {
        self.asked().pace()
    }

    /// See [`Control::holds_back`].
    pub(super) fn holds_back(&self) -> bool {
        self.asked().holds_back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_window_is_ten_segments_within_bounds() {
        for (mss, initial) in [
            (100, 1000),
            (536, 5360),
            (1460, 14_600),
            (2000, 14_600),
            (9000, 18_000),
        ] {
            for algorithm in [Algorithm::Cubic, Algorithm::Reno, Algorithm::Bbr] {
                let congestion = Congestion::new(algorithm, Instant::ZERO, mss, true, 1);
                assert_eq!(congestion.cwnd(), initial, "{algorithm:?}, mss {mss}");
            }
        }
    }
}
