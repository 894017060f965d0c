//! SYN cookies (RFC 4987 §3.6): answering SYNs without remembering them, when a listener remembers as many as it may.
//!
//! # Theory of operation
//!
//! What would have to be remembered of a SYN is put into our answer, so that the acknowledgment of that brings it back. Our
//! initial sequence number is the sum of the peer's, a keyed hash of the flow, the time in steps of 64 s (its upper eight bits), and
//! another keyed hash, of all of these, to whose lower 24 bits the number of a segment size is added. Only who
//! was sent it can acknowledge it, and for two minutes at most; a guess is right once in 2²⁸. The other options fit
//! where the peer speaks timestamps: the lowest five bits of ours carry its window scale and whether it permits SACK, under the same hash.
//!
//! What is lost: segment sizes are those of the table, never above the peer's; without timestamps, there is neither window scaling nor SACK; ECN is
//! not agreed to; text in the SYN is dropped, and sent again by the peer; our answer is not repeated if it is lost, but
//! the peer repeats its SYN.

use core::hash::Hash;
use core::time::Duration;
use siphasher::sip::SipHasher24;
use wharf_port::Flow;

use super::keys::hash;
use crate::tcp::{Handshake, Offer};
use crate::time::Instant;
use crate::wire::tcp::{Control, Flags, MAX_WINDOW_SCALE, Options, SeqNum, Timestamps};

/// Segment sizes to choose from: the least that is honest, and what paths are made of, from 536 of RFC 9293 §3.7.1 to jumbo frames.
const SIZES: [u16; 8] = [64, 536, 1220, 1360, 1440, 1460, 4312, 8940];

/// A step of a cookie's time, in seconds; it is good until the end of the next.
const STEP: u64 = 64;

/// How long after the last cookie an acknowledgment may bring one back.
pub(super) const VALID: Duration = Duration::from_secs(2 * STEP);

/// Bits of a timestamp that carry options, and what they mean.
const CARRIED: u32 = 0x1f;
const SCALE: u32 = 0x0f;
const SACK: u32 = 0x10;
/// A scale that no peer can have: it offered none.
const NO_SCALE: u32 = 0x0f;

/// Low bits of the sequence number beside the time.
const LOW: u32 = 0x00ff_ffff;

/// The secret.
#[derive(Clone, Copy)]
pub(super) struct Cookies(SipHasher24);

impl Cookies {
    pub(super) fn new(secret: SipHasher24) -> Self {
        Self(secret)
    }

    /// The SYN-ACK that answers a SYN.
    pub(super) fn answer(
        &self,
        now: Instant,
        flow: &Flow,
        syn: &Control,
        offer: &Offer,
    ) -> Control {
        let asked = &syn.options;
        let size = asked.mss.unwrap_or(offer.default_mss);
        let index = SIZES.partition_point(|known| *known <= size).max(1) - 1;
        let stamps = asked.timestamps.zip(offer.clock);
        let carried = stamps.map(|_| carried(asked, offer.sack));
        let isn = self.isn(flow, syn.seq, step(now), carried, index as u32);
        Control {
            seq: isn,
            ack: syn.seq + 1,
            flags: Flags::SYN | Flags::ACK,
            window: offer.window,
            urgent: 0,
            options: Options {
                mss: Some(offer.mss),
                window_scale: asked.window_scale.and(carried).map(|_| offer.scale),
                sack_permitted: carried.is_some_and(|bits| bits & SACK != 0),
                timestamps: stamps.zip(carried).map(|((peer, clock), bits)| Timestamps {
                    value: stamp(clock, bits),
                    echo: peer.value,
                }),
                ..Options::default()
            },
        }
    }

    /// What a segment acknowledges, if that is a cookie of ours.
    pub(super) fn check(&self, now: Instant, flow: &Flow, segment: &Control) -> Option<Handshake> {
        let peer_isn = segment.seq.back(1);
        let isn = segment.ack.back(1);
        let stamps = segment.options.timestamps;
        let carried = stamps.map(|stamps| stamps.echo & CARRIED);
        let rest = isn.value().wrapping_sub(self.base(flow, peer_isn));
        let present = step(now);
        let age = present.wrapping_sub(rest >> 24) & 0xff;
        if age > 1 {
            return None;
        }
        let made = present.wrapping_sub(age);
        let index = rest.wrapping_sub(self.lid((flow, peer_isn), made, carried)) & LOW;
        let size = *SIZES.get(index as usize)?;
        let scale = carried.map(|bits| bits & SCALE);
        let scale = scale.filter(|scale| *scale <= u32::from(MAX_WINDOW_SCALE));
        Some(Handshake {
            peer_isn,
            peer_mss: Some(size),
            peer_window_scale: scale.map(|scale| scale as u8),
            sack: carried.is_some_and(|bits| bits & SACK != 0),
            timestamp: stamps.map(|stamps| stamps.value),
            window: segment.window,
        })
    }

    fn isn(
        &self,
        flow: &Flow,
        peer: SeqNum,
        step: u32,
        carried: Option<u32>,
        index: u32,
    ) -> SeqNum {
        let low = self.lid((flow, peer), step, carried).wrapping_add(index) & LOW;
        let rest = (step << 24) | low;
        SeqNum::new(self.base(flow, peer).wrapping_add(rest))
    }

    fn base(&self, flow: &Flow, peer: SeqNum) -> u32 {
        self.hash((0u8, flow)).wrapping_add(peer.value())
    }

    fn lid(&self, (flow, peer): (&Flow, SeqNum), step: u32, carried: Option<u32>) -> u32 {
        self.hash((1u8, flow, peer.value(), step, carried))
    }

    fn hash(&self, value: impl Hash) -> u32 {
        hash(&self.0, value) as u32
    }
}

fn carried(asked: &Options, sack: bool) -> u32 {
    let scale = asked.window_scale;
    let scale = scale.map_or(NO_SCALE, |scale| u32::from(scale.min(MAX_WINDOW_SCALE)));
    scale
        | if asked.sack_permitted && sack {
            SACK
        } else {
            0
        }
}

/// The latest timestamp up to `clock` that carries `bits`.
fn stamp(clock: u32, bits: u32) -> u32 {
    let value = clock & !CARRIED | bits;
    if value & CARRIED > clock & CARRIED {
        value.wrapping_sub(CARRIED + 1)
    } else {
        value
    }
}

fn step(now: Instant) -> u32 {
    (now.as_millis() / (STEP * 1000)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies() -> Cookies {
        Cookies::new(SipHasher24::new_with_keys(1, 2))
    }

    fn flow() -> Flow {
        "tcp/10.0.0.1:80-10.0.0.2:40000".parse().unwrap()
    }

    const OFFER: Offer = Offer {
        mss: 1460,
        default_mss: 536,
        scale: 7,
        sack: true,
        clock: Some(1000),
        window: 65_535,
    };

    fn syn(mss: Option<u16>, scale: Option<u8>, stamps: bool) -> Control {
        Control {
            seq: SeqNum::new(77),
            flags: Flags::SYN,
            options: Options {
                mss,
                window_scale: scale,
                sack_permitted: true,
                timestamps: stamps.then_some(Timestamps { value: 5, echo: 0 }),
                ..Options::default()
            },
            ..Control::default()
        }
    }

    /// The acknowledgment of an answer.
    fn completing(answer: &Control) -> Control {
        Control {
            seq: answer.ack,
            ack: answer.seq + 1,
            flags: Flags::ACK,
            window: 500,
            options: Options {
                timestamps: answer.options.timestamps.map(|stamps| Timestamps {
                    value: 6,
                    echo: stamps.value,
                }),
                ..Options::default()
            },
            ..Control::default()
        }
    }

    const NOW: Instant = Instant::from_millis(640_000);

    /// (the SYN's size, scale and timestamps; the size, scale and SACK that come back)
    #[test]
    fn what_was_asked_for_comes_back() {
        for (mss, scale, stamps, size, back, sack) in [
            (Some(1460), Some(8), true, 1460, Some(8), true),
            (Some(1459), None, true, 1440, None, true),
            (Some(65_495), Some(14), true, 8940, Some(14), true),
            (Some(1460), Some(8), false, 1460, None, false),
            (None, Some(0), true, 536, Some(0), true),
            (Some(100), None, false, 64, None, false),
            (Some(1), None, false, 64, None, false),
        ] {
            let answer = cookies().answer(NOW, &flow(), &syn(mss, scale, stamps), &OFFER);
            let options = &answer.options;
            assert_eq!(options.window_scale.is_some(), back.is_some());
            assert_eq!((options.sack_permitted, options.mss), (sack, Some(1460)));
            assert!(options.timestamps.is_none_or(|stamps| stamps.value <= 1000));
            let found = cookies().check(NOW, &flow(), &completing(&answer)).unwrap();
            assert_eq!(
                (found.peer_mss, found.peer_window_scale),
                (Some(size), back)
            );
            assert_eq!((found.sack, found.timestamp), (sack, stamps.then_some(6)));
            assert_eq!((found.peer_isn.value(), found.window), (77, 500));
        }
    }

    #[test]
    fn a_cookie_is_good_for_one_step_or_two() {
        let answer = cookies().answer(NOW, &flow(), &syn(None, None, false), &OFFER);
        let check = |seconds| {
            let now = NOW + Duration::from_secs(seconds);
            cookies()
                .check(now, &flow(), &completing(&answer))
                .is_some()
        };
        assert!(check(0) && check(127));
        assert!(!check(128) && !check(256 * STEP - 65));
    }

    #[test]
    fn nothing_else_is_a_cookie() {
        let answer = cookies().answer(NOW, &flow(), &syn(None, Some(7), true), &OFFER);
        let honest = completing(&answer);
        let check = |flow: &Flow, control: &Control| cookies().check(NOW, flow, control);
        assert!(check(&flow(), &honest).is_some());
        let mut forged = honest;
        forged.seq += 1;
        assert!(check(&flow(), &forged).is_none(), "another sequence number");
        let mut forged = honest;
        forged.options.timestamps = Some(Timestamps {
            value: 6,
            echo: honest.options.timestamps.unwrap().echo ^ SACK,
        });
        assert!(check(&flow(), &forged).is_none(), "other options");
        let other = "tcp/10.0.0.1:80-10.0.0.3:40000".parse().unwrap();
        assert!(check(&other, &honest).is_none(), "another flow");
        let guessed = (0..1_000_000u32).filter(|guess| {
            let ack = SeqNum::new(guess.wrapping_mul(4294));
            check(&flow(), &Control { ack, ..honest }).is_some()
        });
        assert_eq!(guessed.count(), 0);
    }

    #[test]
    fn timestamps_carry_options_and_never_run_ahead() {
        for (clock, bits, value) in [
            (64, 0, 64),
            (64, 31, 63),
            (95, 31, 95),
            (70, 6, 70),
            (3, 4, 4u32.wrapping_sub(32)),
        ] {
            assert_eq!(stamp(clock, bits), value, "{clock} {bits}");
        }
    }
}
