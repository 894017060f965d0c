//! What has been set on a socket, for whoever asks.

use core::time::Duration;
use wharf_port::table::Reuse;

use super::Host;
use super::egress::HOP_LIMIT;
use super::event::SocketId;
use super::mailbox::Sending;
use super::outbound::OwnCopy;
use super::sockets::Role;
use crate::tcp::{Algorithm, KeepAlive};

/// What has been set on a socket by [`Host::set`], or else is the host's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// With whom its place is shared: `SO_REUSEADDR`, `SO_REUSEPORT`.
    pub reuse: Reuse,
    /// `TCP_NODELAY`.
    pub nodelay: bool,
    /// `TCP_CORK`.
    pub cork: bool,
    /// `SO_KEEPALIVE` and its times.
    pub keepalive: Option<KeepAlive>,
    /// `TCP_USER_TIMEOUT`.
    pub user_timeout: Option<Duration>,
    /// `TCP_CONGESTION`.
    pub congestion: Algorithm,
    /// `SO_RCVBUF`, in octets. While nobody has set it under TCP, what a connection begins with.
    pub receive_buffer: usize,
    /// `SO_SNDBUF`, in octets. While nobody has set it, what a connection begins with.
    pub send_buffer: usize,
    /// `IP_TTL`, `IPV6_UNICAST_HOPS`, under UDP. While nobody has set it, 64, unless a router says otherwise over IPv6.
    pub hop_limit: u8,
    /// `IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`.
    pub group_hop_limit: u8,
    /// `IP_MULTICAST_LOOP`.
    pub group_loop: bool,
}

impl Host {
    /// What is set on a socket; nothing if there is no such socket.
    #[must_use]
    pub fn settings(&self, socket: SocketId) -> Option<Settings> {
        let found = self.sockets.named(socket)?;
        let (options, defaults) = (found.options(), &self.tcp);
        let holding = self.table.holding(found.hold);
        let sending = match &found.role {
            Role::Datagrams(mailbox) => mailbox.sending,
            _ => Sending::default(),
        };
        let receive_buffer = match &found.role {
            Role::Datagrams(mailbox) => mailbox.room,
            _ => options.receive_buffer.unwrap_or(defaults.receive_initial),
        };
        Some(Settings {
            reuse: holding.map(|holding| holding.reuse).unwrap_or_default(),
            nodelay: options.nodelay.unwrap_or(defaults.nodelay),
            cork: options.cork,
            keepalive: options.keepalive.unwrap_or(defaults.keepalive),
            user_timeout: options.user_timeout.unwrap_or(defaults.user_timeout),
            congestion: options.congestion.unwrap_or(defaults.congestion),
            receive_buffer,
            send_buffer: options.send_buffer.unwrap_or(defaults.send_initial),
            hop_limit: sending.hop_limit.unwrap_or(HOP_LIMIT),
            group_hop_limit: sending.group_hop_limit,
            group_loop: sending.own_copy == OwnCopy::IfHeard,
        })
    }
}
