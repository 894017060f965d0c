//! What is asked of the kernel: `struct inet_diag_req_v2`, and a filter that it runs for us.
//!
//! To have read: `sock_diag(7)`; the filter's few instructions are in `include/uapi/linux/inet_diag.h`.

use std::num::NonZeroU16;

use rustix::net::AddressFamily;

use super::super::Protocol;

/// Which sockets are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// What they do.
    pub(crate) states: States,
    /// Only those of one protocol.
    pub(crate) protocol: Option<Protocol>,
    /// Only those that have this port.
    pub(crate) port: Option<NonZeroU16>,
    /// Whether it is told how much they have carried.
    pub(crate) bytes: Bytes,
}

/// Whether it is asked how much TCP connections have carried: a look at each by the kernel, and 240 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// It is.
    Counted,
    /// It isn't.
    Untold,
}

/// What sockets do that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum States {
    /// They listen, or are UDP sockets that take datagrams from anybody.
    Listening,
    /// These, and those that are bound and do not listen.
    Idle,
    /// All that have a port: connections too, and what the kernel keeps after them.
    All,
}

impl Wanted {
    /// Every listener.
    pub(crate) const LISTENERS: Self = Self {
        states: States::Listening,
        protocol: None,
        port: None,
        bytes: Bytes::Untold,
    };

    /// Everything of TCP, and how much it has carried.
    pub(crate) const STREAMS: Self = Self {
        states: States::All,
        protocol: Some(Protocol::Tcp),
        port: None,
        bytes: Bytes::Counted,
    };

    /// The attributes that are asked for besides: bit n-1 is attribute n.
    const fn extensions(&self) -> u8 {
        match self.bytes {
            Bytes::Counted => 1 << (INFO - 1),
            Bytes::Untold => 0,
        }
    }
}

/// `SOCK_DIAG_BY_FAMILY`.
pub(super) const BY_FAMILY: u16 = 20;

/// `NLM_F_REQUEST | NLM_F_DUMP`.
const FLAGS: u16 = 0x301;

/// `INET_DIAG_INFO`: of TCP, a `struct tcp_info`.
pub(super) const INFO: u16 = 2;

/// `INET_DIAG_REQ_BYTECODE`.
const BYTECODE: u16 = 1;

/// `INET_DIAG_BC_S_EQ`: is the socket's own port the one in the instruction's second half?
const OWN_PORT_IS: u8 = 11;

const LISTEN: u32 = 1 << 10;
const CLOSE: u32 = 1 << 7;
const ESTABLISHED: u32 = 1 << 1;
/// Since Linux 6.8; older ones don't look at it.
const BOUND_INACTIVE: u32 = 1 << 13;
/// Everything but SYN-RECEIVED sockets that are none yet: their listener has the port.
const ALL: u32 = ((1 << 12) - 2) | BOUND_INACTIVE;

/// The bits of the states that are wanted.
const fn mask(protocol: Protocol, states: States) -> u32 {
    match (protocol, states) {
        (Protocol::Tcp, States::Listening) => LISTEN,
        (Protocol::Tcp, States::Idle) => LISTEN | BOUND_INACTIVE,
        (Protocol::Tcp, States::All) => ALL,
        // UDP knows two of TCP's states: CLOSE is an unconnected socket.
        (Protocol::Udp, States::Listening | States::Idle) => CLOSE,
        (Protocol::Udp, States::All) => CLOSE | ESTABLISHED,
    }
}

/// The bytes that ask for one dump.
pub(super) fn bytes(
    protocol: Protocol,
    family: AddressFamily,
    wanted: &Wanted,
    sequence: u32,
) -> Vec<u8> {
    let family = u8::try_from(family.as_raw()).expect("AF_INET and AF_INET6 are below 256");
    let number: u8 = match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    let mut body = vec![family, number, wanted.extensions(), 0];
    body.extend(mask(protocol, wanted.states).to_ne_bytes());
    // Which socket, for those who ask for a single one.
    body.extend([0; 48]);
    body.extend(wanted.port.map(filter).into_iter().flatten());
    let length = u32::try_from(16 + body.len()).expect("a request is short");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(FLAGS.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(body);
    bytes
}

/// The attribute that keeps all sockets but those with this port of their own in the kernel.
///
/// One instruction of two halves. Where it says yes the next one is behind it, which is the end: accepted. Where it says no it
/// jumps past the end: refused.
fn filter(port: NonZeroU16) -> Vec<u8> {
    let mut attribute = 12_u16.to_ne_bytes().to_vec();
    attribute.extend(BYTECODE.to_ne_bytes());
    attribute.extend([OWN_PORT_IS, 8]);
    attribute.extend(12_u16.to_ne_bytes());
    attribute.extend([0, 0]);
    attribute.extend(port.get().to_ne_bytes());
    attribute
}
