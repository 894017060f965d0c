//! One hold: what the table keeps of a socket.

use super::keys::FlowKey;
use super::receivers::{Chair, Family, Guest};
use super::register::{Grip, Span, Spot};
use super::shelf::{Kind, Newcomer, PortSharing};
use super::{Moment, Request, Reuse, Right};
use crate::address::Packed;
use crate::{Domain, Endpoint, Flow, Port, Protocol};

/// How far a hold has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Bound,
    Listening,
    Connected,
    TimeWait,
}

/// How a hold came to its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// By bind.
    Bind,
    /// By listening without one.
    Listen,
    /// Chosen by connect.
    Connect,
    /// From a listener.
    Accept,
    /// It holds its flow only.
    Admit,
}

/// The fields stand in the order in which they are needed: what a packet's look-up reads is together in front.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Entry<O> {
    pub(super) owner: O,
    pub(super) local: Packed,
    pub(super) remote: Packed,
    pub(super) local_port: u16,
    pub(super) remote_port: u16,
    pub(super) protocol: Protocol,
    pub(super) phase: Phase,
    pub(super) origin: Origin,
    pub(super) domain: Domain,
    pub(super) reuse: Reuse,
    pub(super) right: Right,
    /// What it covers now, and what it covered before connect narrowed it.
    pub(super) span: Span,
    pub(super) asked: Span,
    pub(super) group: u32,
    pub(super) neighbours: [u32; 2],
    pub(super) user: u32,
    pub(super) device: u32,
    /// Where it sits while it receives, and in TIME-WAIT its deadline in two halves.
    extra: [u32; 2],
}

impl<O> Entry<O> {
    pub(super) fn new(request: &Request, owner: O) -> Self {
        let (span, local) = Span::of(request.domain.wildcard());
        Self {
            owner,
            local,
            remote: Packed::NONE,
            local_port: 0,
            remote_port: 0,
            group: super::arena::NONE,
            neighbours: [super::arena::NONE; 2],
            user: request.user,
            device: request.device.map_or(0, super::Device::number),
            extra: [0; 2],
            protocol: request.protocol,
            domain: request.domain,
            reuse: request.reuse,
            right: request.right,
            phase: Phase::Open,
            origin: Origin::Bind,
            span,
            asked: span,
        }
    }

    pub(super) const fn spot(&self) -> Spot {
        Spot {
            protocol: self.protocol,
            port: self.local_port,
            span: self.span,
            address: self.local,
        }
    }

    pub(super) const fn newcomer(&self) -> Newcomer {
        Newcomer {
            device: self.device,
            reuse: self.reuse,
            user: self.user,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        let sharing = match self.phase {
            Phase::TimeWait => PortSharing::Anybody,
            _ => PortSharing::User(self.user),
        };
        Kind {
            device: self.device,
            address_sharing: self.reuse.address() && self.phase != Phase::Listening,
            port_sharing: if self.reuse.port() {
                sharing
            } else {
                PortSharing::Nobody
            },
        }
    }

    pub(super) const fn grip(&self) -> Grip {
        match self.origin {
            Origin::Connect => Grip::Flow,
            Origin::Bind | Origin::Listen | Origin::Accept | Origin::Admit => Grip::Whole,
        }
    }

    /// Whether it gets packets of flows that nobody holds.
    pub(super) const fn receives(&self) -> bool {
        match self.protocol {
            Protocol::Tcp => matches!(self.phase, Phase::Listening),
            Protocol::Udp => matches!(self.phase, Phase::Bound),
        }
    }

    pub(super) fn guest(&self, stamp: u64) -> Guest {
        Guest {
            device: self.device,
            family: Family::from(self.domain),
            shares_as: self.reuse.port().then_some(self.user),
            stamp,
        }
    }

    pub(super) const fn has_flow(&self) -> bool {
        matches!(self.phase, Phase::Connected | Phase::TimeWait)
    }

    pub(super) const fn flow_key(&self) -> FlowKey {
        FlowKey {
            protocol: self.protocol,
            local: self.local,
            remote: self.remote,
            local_port: self.local_port,
            remote_port: self.remote_port,
        }
    }

    pub(super) fn port(&self) -> Option<Port> {
        Port::new(self.local_port)
    }

    pub(super) fn flow(&self) -> Option<Flow> {
        if !self.has_flow() {
            return None;
        }
        let endpoint =
            |address: Packed, port| Some(Endpoint::new(address.into(), Port::new(port)?));
        Some(Flow {
            protocol: self.protocol,
            local: endpoint(self.local, self.local_port)?,
            remote: endpoint(self.remote, self.remote_port)?,
        })
    }

    pub(super) fn set_flow(&mut self, flow: &Flow) {
        self.local = flow.local.address().into();
        self.local_port = flow.local.port().number();
        self.remote = flow.remote.address().into();
        self.remote_port = flow.remote.port().number();
        self.span = Span::One;
        self.phase = Phase::Connected;
    }

    pub(super) const fn sit(&mut self, chair: Chair) {
        self.extra = [chair.bench, chair.position];
    }

    /// Where a hold sits that receives and is in a group.
    pub(super) const fn chair(&self) -> Chair {
        let [bench, position] = self.extra;
        Chair { bench, position }
    }

    pub(super) const fn rest(&mut self, until: Moment) {
        self.phase = Phase::TimeWait;
        self.extra = [(until.0 >> 32) as u32, until.0 as u32];
    }

    pub(super) const fn until(&self) -> Option<Moment> {
        let [high, low] = self.extra;
        match self.phase {
            Phase::TimeWait => Some(Moment((high as u64) << 32 | low as u64)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_flows_fit_into_128_bytes_each() {
        // With generation and option in its cell, and what the index of flows takes, which `index` tests.
        let cell = size_of::<(u32, Option<Entry<u64>>)>();
        assert!(cell + 38 <= 128, "{cell}");
    }
}
