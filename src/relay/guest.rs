//! Clients of published ports that come from the network: the program inside sees their own address.
//!
//! # Theory of operation
//!
//! The host answers for every address behind its link, so it may speak from any, too. A client's connection that was
//! accepted at a published place is handed to the relay, whose host connects into the space from the client's address
//! and port. The program's answers go to the space's gateway, as everything does, and that is the host. From there on it
//! is a [stream](super::stream) like those that programs inside begin.
//!
//! It can't be had where the answers would not come here (the client's address is a space's or the gateway's), nor
//! where the program listens on the space's loopback only: then the connection is made inside instead, as for clients on
//! the machine's own loopback.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use rustix::net::sockopt;
use tokio::sync::oneshot;
use wharf_net::wire::ethernet::{self, EtherType, Mac};
use wharf_net::wire::{ipv4, ipv6, virtio};
use wharf_net::{Frame, SocketId};
use wharf_port::{Domain, Endpoint, Local, Port, Protocol};

use super::engine::Engine;
use super::stream::{Stage, Stream};
use crate::space::network::{GATEWAY_IPV4, GATEWAY_IPV6, GATEWAY_MAC, SPACE_MAC};

/// IP's numbers of protocols: UDP, and "nothing follows" (RFC 8200 §4.7).
const UDP: u8 = 17;
const NO_NEXT_HEADER: u8 = 59;

/// A client's connection that wants to go on into the space.
#[derive(Debug)]
pub(crate) struct Guest {
    /// Whose it is.
    pub(crate) client: SocketAddr,
    /// The machine's socket, nonblocking.
    pub(crate) outside: OwnedFd,
    /// The program's port.
    pub(crate) inside: NonZeroU16,
    /// Is told when the connection stands and is carried; dropped if it can't be had, with nothing read or written.
    pub(crate) admitted: oneshot::Sender<()>,
}

impl Engine {
    /// Begins a guest's connection to the program.
    pub(super) fn welcome(&mut self, guest: Guest) {
        let Guest {
            client,
            outside,
            inside,
            admitted,
        } = guest;
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        if !self.may_speak_as(client.ip()) {
            return;
        }
        let Some(socket) = self.speak_as(client, inside) else {
            return;
        };
        // What the client sends has waited for more already, if that was wanted.
        sockopt::set_tcp_nodelay(&outside, true).ok();
        self.watch(Stream::new(outside, Stage::Arriving { socket, admitted }));
    }

    /// A connection of the host on its way to the program, from the client's address, and from its port unless that is taken.
    fn speak_as(&mut self, client: SocketAddr, inside: NonZeroU16) -> Option<SocketId> {
        let (domain, address) = match client.ip() {
            IpAddr::V4(_) => (Domain::V4, IpAddr::V4(self.number.ipv4())),
            IpAddr::V6(_) => (Domain::V6Only, IpAddr::V6(self.number.ipv6())),
        };
        self.meet(address);
        let socket = self.host.open(Protocol::Tcp, domain).ok()?;
        let exact = Local {
            address: client.ip(),
            port: Port::new(client.port()),
        };
        let program = Endpoint::new(address, Port::new(inside.get())?);
        let bound = self.host.bind(socket, exact).is_ok()
            || self.host.bind_address(socket, client.ip()).is_ok();
        if bound && self.host.connect(self.now, socket, program).is_ok() {
            return Some(socket);
        }
        self.host.close(self.now, socket);
        None
    }

    /// Has the host know where the space is: nobody there answers questions, and it may not have said a word yet. An empty
    /// packet from it does.
    pub(super) fn meet(&mut self, space: IpAddr) {
        let ethertype = if space.is_ipv4() {
            EtherType::Ipv4
        } else {
            EtherType::Ipv6
        };
        let ethernet = ethernet::Header {
            destination: Mac(GATEWAY_MAC),
            source: Mac(SPACE_MAC),
            ethertype,
        };
        let mut bytes = vec![0; virtio::LEN];
        bytes.extend_from_slice(&ethernet.emit());
        match space {
            IpAddr::V4(space) => bytes.extend_from_slice(&empty_ipv4(space)),
            IpAddr::V6(space) => bytes.extend_from_slice(&empty_ipv6(space)),
        }
        if let Ok(frame) = Frame::from_link(Bytes::from(bytes)) {
            self.host.receive(self.now, frame);
        }
    }
}

fn empty_ipv4(from: Ipv4Addr) -> [u8; ipv4::LEN] {
    let header = ipv4::Header {
        traffic_class: 0,
        payload_len: 0,
        ident: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 1,
        protocol: UDP,
        source: from,
        destination: GATEWAY_IPV4,
    };
    header.emit()
}

fn empty_ipv6(from: Ipv6Addr) -> [u8; ipv6::LEN] {
    let header = ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: 0,
        next_header: NO_NEXT_HEADER,
        hop_limit: 1,
        source: from,
        destination: GATEWAY_IPV6,
    };
    header.emit()
}
