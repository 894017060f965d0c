//! What the two SYNs agree on: segment size, window scales, SACK, timestamps, ECN.

use super::stamps::Stamps;
use super::{Config, EcnUse, Handshake, Setup};
use crate::time::Instant;
use crate::wire::tcp::{Flags, MAX_WINDOW_SCALE, Options};

/// Segments are never made smaller than this, whatever the peer announces: below it, headers are all there is.
const LEAST_MSS: u16 = 48;

/// What holds for a connection once both SYNs are known.
#[derive(Clone, Debug)]
pub(super) struct Agreement {
    /// The largest segment to send, TCP options included (RFC 6691).
    pub(super) peer_mss: u16,
    /// Shift of the windows that the peer sends.
    pub(super) peer_scale: u8,
    /// Shift of the windows that we send.
    pub(super) scale: u8,
    /// Whether the peer offered window scaling, so that a SYN-ACK may carry ours.
    pub(super) scaled: bool,
    pub(super) sack: bool,
    pub(super) stamps: Option<Stamps>,
    pub(super) ecn: bool,
}

impl Agreement {
    /// From the peer's SYN or SYN-ACK; we offer, or have offered, everything that `config` allows.
    pub(super) fn of_syn(
        now: Instant,
        config: &Config,
        setup: &Setup,
        flags: Flags,
        options: &Options,
    ) -> Self {
        let stamps = options.timestamps.filter(|_| config.timestamps);
        // RFC 3168 §6.1.1: a SYN asks with both bits, a SYN-ACK agrees with ECE alone.
        let echo = if flags.contains(Flags::ACK) {
            Flags::ECE
        } else {
            Flags::ECE | Flags::CWR
        };
        let wanted = match config.ecn {
            EcnUse::Off => false,
            EcnUse::Accept => !flags.contains(Flags::ACK),
            EcnUse::Ask => true,
        };
        Self {
            peer_mss: options.mss.unwrap_or(setup.default_mss).max(LEAST_MSS),
            peer_scale: options.window_scale.unwrap_or(0),
            scale: options.window_scale.map_or(0, |_| window_scale(config)),
            scaled: options.window_scale.is_some(),
            sack: options.sack_permitted && config.sack,
            stamps: stamps.map(|stamps| Stamps::new(now, setup.timestamp_offset, stamps.value)),
            ecn: wanted && flags.without(Flags::SYN | Flags::ACK) == echo,
        }
    }

    /// From a handshake finished elsewhere.
    pub(super) fn of_handshake(
        now: Instant,
        config: &Config,
        setup: &Setup,
        handshake: &Handshake,
    ) -> Self {
        let scale = handshake.peer_window_scale;
        Self {
            peer_mss: handshake
                .peer_mss
                .unwrap_or(setup.default_mss)
                .max(LEAST_MSS),
            peer_scale: scale.unwrap_or(0).min(MAX_WINDOW_SCALE),
            scale: scale.map_or(0, |_| window_scale(config)),
            scaled: scale.is_some(),
            sack: handshake.sack,
            stamps: handshake
                .timestamp
                .map(|value| Stamps::new(now, setup.timestamp_offset, value)),
            ecn: false,
        }
    }
}

/// What a SYN-ACK that is not remembered may offer (RFC 4987 §3.6).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    /// See [`Setup::mss`].
    pub(crate) mss: u16,
    /// See [`Setup::default_mss`].
    pub(crate) default_mss: u16,
    /// Shift of the windows that we send, if the peer wants to have it.
    pub(crate) scale: u8,
    pub(crate) sack: bool,
    /// Our timestamp at this moment, if timestamps are spoken.
    pub(crate) clock: Option<u32>,
    pub(crate) window: u16,
}

impl Offer {
    /// Everything that `config` allows.
    pub(crate) fn new(now: Instant, config: &Config, setup: &Setup) -> Self {
        let timestamps = config.timestamps;
        Self {
            mss: setup.mss,
            default_mss: setup.default_mss,
            scale: window_scale(config),
            sack: config.sack,
            clock: timestamps.then(|| super::stamps::clock(now, setup.timestamp_offset)),
            window: config.receive_initial.min(config.receive_max).min(0xffff) as u16,
        }
    }
}

/// The shift that lets a 16-bit field announce the largest receive buffer (RFC 7323 §2.2).
pub(super) fn window_scale(config: &Config) -> u8 {
    (0..MAX_WINDOW_SCALE)
        .find(|shift| 0xffff << shift >= config.receive_max)
        .unwrap_or(MAX_WINDOW_SCALE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_the_smallest_that_reaches() {
        for (octets, scale) in [
            (0, 0),
            (65_535, 0),
            (65_536, 1),
            (2 << 20, 6),
            (1 << 30, 14),
            (usize::MAX, 14),
        ] {
            let config = Config {
                receive_max: octets,
                ..Config::default()
            };
            assert_eq!(window_scale(&config), scale, "{octets}");
        }
    }

    #[test]
    fn ecn_is_agreed_on_only_as_the_rfc_says() {
        let setup = Setup {
            isn: Default::default(),
            timestamp_offset: 0,
            mss: 1460,
            default_mss: 536,
        };
        let both = Flags::ECE | Flags::CWR;
        let cases = [
            (EcnUse::Off, Flags::SYN | both, false),
            (EcnUse::Accept, Flags::SYN | both, true),
            (EcnUse::Accept, Flags::SYN | Flags::ECE, false),
            (EcnUse::Accept, Flags::SYN | Flags::ACK | Flags::ECE, false),
            (EcnUse::Ask, Flags::SYN | Flags::ACK | Flags::ECE, true),
            (EcnUse::Ask, Flags::SYN | Flags::ACK | both, false),
        ];
        for (ecn, flags, agreed) in cases {
            let config = Config {
                ecn,
                ..Config::default()
            };
            let agreement =
                Agreement::of_syn(Instant::ZERO, &config, &setup, flags, &Options::default());
            assert_eq!(agreement.ecn, agreed, "{ecn:?} {flags:?}");
        }
    }
}
