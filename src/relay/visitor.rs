//! Clients of published UDP ports that come from the network: the program inside sees their own address.
//!
//! The socket at the published place is the carrier's, which reads it. What a client sends there is handed to the relay, whose
//! host sends it into the space from the client's address and port. The program's answers are of that same flow, and leave
//! by the socket that the client knows. It lives as long as the place is published: nothing here keeps it open.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::sync::Weak;
use std::sync::mpsc::TrySendError;

use bytes::Bytes;
use wharf_port::{Endpoint, Flow, Port, Protocol};

use super::association::Name;
use super::engine::{Engine, Source};
use super::{Back, Command};
use crate::space::network::{GATEWAY_IPV4, GATEWAY_IPV6};

/// A client whose datagrams come to a published place.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// The socket at the place, while that is published.
    pub(super) place: Weak<OwnedFd>,
    /// Whom answers are for.
    pub(super) client: SocketAddr,
}

/// A datagram of such a client.
#[derive(Debug)]
pub(super) struct Visit {
    visitor: Visitor,
    inside: NonZeroU16,
    payload: Bytes,
}

/// The way of one client's datagrams to a program.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    back: Back,
    client: SocketAddr,
    inside: NonZeroU16,
}

/// The relay has ended.
#[derive(Debug)]
pub(crate) struct Ended;

impl Way {
    pub(super) fn new(back: Back, client: SocketAddr, inside: NonZeroU16) -> Self {
        Self {
            back,
            client,
            inside,
        }
    }

    /// Sends a datagram to the program, whose answers leave by `place`. With a full queue it is lost, as datagrams are.
    ///
    /// # Errors
    /// When the space has ended.
    pub(crate) fn send(&self, place: Weak<OwnedFd>, payload: &[u8]) -> Result<(), Ended> {
        let visit = Command::Visit(Visit {
            visitor: Visitor {
                place,
                client: self.client,
            },
            inside: self.inside,
            payload: Bytes::copy_from_slice(payload),
        });
        match self.back.commands.try_send(visit) {
            Ok(()) => self.back.wake(),
            Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => return Err(Ended),
        }
        Ok(())
    }
}

impl Engine {
    /// Sends a visitor's datagram to the program.
    pub(super) fn receive_visit(&mut self, visit: Visit) {
        let Visit {
            visitor,
            inside,
            payload,
        } = visit;
        let client = visitor.client.ip().to_canonical();
        if !self.may_speak_as(client) {
            return;
        }
        let space = match client {
            IpAddr::V4(_) => IpAddr::V4(self.number.ipv4()),
            IpAddr::V6(_) => IpAddr::V6(self.number.ipv6()),
        };
        // From port 0 nobody can be answered.
        let (Some(from), Some(to)) = (Port::new(visitor.client.port()), Port::new(inside.get()))
        else {
            return;
        };
        let flow = Flow {
            protocol: Protocol::Udp,
            local: Endpoint::new(client, from),
            remote: Endpoint::new(space, to),
        };
        self.meet(space);
        self.receive_as(visitor, flow);
        // A full link loses it, as any network may.
        self.host.send_datagram(self.now, flow, payload, None).ok();
    }

    /// Has the answers of this flow go to the visitor, wherever the program's datagrams to that address have gone before.
    fn receive_as(&mut self, visitor: Visitor, flow: Flow) {
        let name = Name::Datagrams(flow);
        let known = self.associations.touch(&name, self.now);
        let known = known.and_then(|key| self.sources.get_mut(key));
        if let Some(Source::Visitor(known)) = known {
            // The place may have been published anew.
            *known = visitor;
            return;
        }
        self.associations.visit(flow.remote.port());
        let key = self.sources.insert(Source::Visitor(visitor));
        self.keep_used(name, key);
    }

    /// Whether the host may speak from this address into the space: the program's answers come here then.
    pub(super) fn may_speak_as(&self, client: IpAddr) -> bool {
        !self.routes.leads_to(client)
            && ![IpAddr::V4(GATEWAY_IPV4), IpAddr::V6(GATEWAY_IPV6)].contains(&client)
    }
}
