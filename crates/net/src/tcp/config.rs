//! What a connection is told from outside: its configuration, how it begins, and what the link below can take.

use core::time::Duration;

use crate::tcp::congestion::Algorithm;
use crate::wire::tcp::SeqNum;

/// Settings that a host's connections share. All have defaults that fit both a local TAP and the Internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Congestion control; CUBIC by default (RFC 9438).
    pub congestion: Algorithm,
    /// Octets of receive buffer at the start; auto-tuning raises it towards [`receive_max`](Self::receive_max).
    pub receive_initial: usize,
    /// The most octets of receive buffer, and so of advertised window; at most 1 GiB (RFC 7323 §2.3). The window scale follows
    /// from it.
    pub receive_max: usize,
    /// Octets that may be written and unacknowledged at the start; the congestion window raises it.
    pub send_initial: usize,
    /// The most octets that may be written and unacknowledged; at most 1 GiB.
    pub send_max: usize,
    /// Whether timestamps are offered and taken (RFC 7323).
    pub timestamps: bool,
    /// Whether selective acknowledgments are offered and taken (RFC 2018). RACK-TLP needs them.
    pub sack: bool,
    /// Explicit congestion notification (RFC 3168).
    pub ecn: EcnUse,
    /// Nagle's algorithm off from the start (RFC 9293 §3.7.4).
    pub nodelay: bool,
    /// Keep-alives, off unless set (RFC 9293 §3.8.4).
    pub keepalive: Option<KeepAlive>,
    /// How long data may stay unacknowledged before the connection is given up (RFC 5482, locally). Without it, about fifteen
    /// minutes of retransmissions.
    pub user_timeout: Option<Duration>,
    /// The longest that an acknowledgment is held back; at most 500 ms (RFC 9293 §3.8.6.3).
    pub ack_delay: Duration,
    /// The shortest retransmission timeout. RFC 6298 §2.4 says one second; 200 ms is what others use and what fits today's
    /// timers.
    pub rto_min: Duration,
    /// Retransmissions of a SYN before the attempt is given up; 7 makes three minutes (RFC 9293 §3.8.3, MUST-23).
    pub syn_retries: u8,
    /// Retransmissions of a SYN-ACK before a half-open connection is forgotten.
    pub syn_ack_retries: u8,
    /// How long a connection that nobody holds any more waits for the peer's FIN (FIN-WAIT-2).
    pub fin_wait: Duration,
    /// How long TIME-WAIT lasts: twice the maximum segment lifetime (RFC 9293 §3.4.2 says four minutes; a minute is common).
    pub time_wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            congestion: Algorithm::Cubic,
            receive_initial: 256 << 10,
            receive_max: 2 << 20,
            send_initial: 256 << 10,
            send_max: 2 << 20,
            timestamps: true,
            sack: true,
            ecn: EcnUse::Accept,
            nodelay: false,
            keepalive: None,
            user_timeout: None,
            ack_delay: Duration::from_millis(40),
            rto_min: Duration::from_millis(200),
            syn_retries: 7,
            syn_ack_retries: 5,
            fin_wait: Duration::from_secs(60),
            time_wait: Duration::from_secs(60),
        }
    }
}

/// When explicit congestion notification is used (RFC 3168 §6.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcnUse {
    /// Neither asked for nor agreed to.
    Off,
    /// Agreed to when the peer asks.
    Accept,
    /// Asked for in every SYN too.
    Ask,
}

/// When a silent connection is asked whether it still lives (RFC 9293 §3.8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before the first probe; the RFC wants no less than two hours as a default.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Unanswered probes before the connection is given up.
    pub count: u8,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(7200),
            interval: Duration::from_secs(75),
            count: 9,
        }
    }
}

/// How one connection begins: what its host chooses for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The initial sequence number, unpredictable to others (RFC 6528).
    pub isn: SeqNum,
    /// Added to the millisecond clock to make this connection's timestamps; a keyed hash of the addresses, so that timestamps
    /// of one address pair keep growing (RFC 7323 §7.1, RFC 6191).
    pub timestamp_offset: u32,
    /// The segment size to announce: the link's MTU less 40 (IPv4) or 60 (IPv6) octets (RFC 9293 §3.7.1).
    pub mss: u16,
    /// The segment size to assume of a peer that announces none: 536 over IPv4, 1220 over IPv6 (RFC 9293 §3.7.1, MUST-15).
    pub default_mss: u16,
}

/// What a handshake finished elsewhere agreed on: the contents of a SYN cookie (RFC 4987 §3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The initial sequence number of the peer: one before the sequence number of the acknowledgment that completes the handshake.
    pub peer_isn: SeqNum,
    /// The peer's MSS option.
    pub peer_mss: Option<u16>,
    /// The peer's window shift; ours is what [`Config::receive_max`] asks for, if the peer sent one.
    pub peer_window_scale: Option<u8>,
    /// Both sides permitted SACK.
    pub sack: bool,
    /// TSval of the completing acknowledgment, if timestamps were agreed on.
    pub timestamp: Option<u32>,
    /// SEG.WND of the completing acknowledgment, not shifted.
    pub window: u16,
}

/// What the path and the link take at the moment of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of payload and TCP options in one packet: the path MTU less the IP header and 20. At least 48 is assumed.
    pub mss: u16,
    /// Octets of TCP header and payload in one frame if the link cuts it up (TCP segmentation offload): 65,515 over IPv4;
    /// `None` if it does not.
    pub offload: Option<u32>,
}

/// The congestion bits of the IP header (RFC 3168 §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ecn {
    /// The transport does not speak ECN.
    #[default]
    NotCapable,
    /// ECT(0): the sender speaks ECN.
    Capable0,
    /// ECT(1).
    Capable1,
    /// A router saw congestion.
    Congested,
}

impl Ecn {
    /// From the two low bits of the traffic class.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::NotCapable,
            1 => Self::Capable1,
            2 => Self::Capable0,
            _ => Self::Congested,
        }
    }

    /// The two low bits of the traffic class.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::NotCapable => 0,
            Self::Capable1 => 1,
            Self::Capable0 => 2,
            Self::Congested => 3,
        }
    }
}
