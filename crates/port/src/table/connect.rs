//! Connect, accept, admit: how a hold gets a flow, and how it loses it again.

use core::net::IpAddr;

use super::arena::NONE;
use super::entry::{Entry, Origin, Phase};
use super::index::Cell;
use super::register::{Span, Spot};
use super::{AcceptError, BindError, ConnectError, Event, FlowTaken, Gone, Hold, Request, Table};
use crate::address::Packed;
use crate::{Domain, Endpoint, Flow, Port, Protocol, WrongFamily};

impl<O: Clone> Table<O> {
    /// Connects a hold to a peer, and narrows it to the address that it goes out from.
    ///
    /// `source` is the local address that routing found; a hold that is bound to one address keeps that. A hold
    /// without a port gets one that is free towards this peer: the same port may serve other peers. A UDP hold may
    /// be connected again, to another peer.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing changes then. If the flow rests in TIME-WAIT and the caller knows a new connection to be
    /// safe (RFC 6191), it releases that hold and connects again.
    pub fn connect(
        &mut self,
        hold: Hold,
        source: IpAddr,
        remote: Endpoint,
    ) -> Result<Flow, ConnectError<O>> {
        let slot = self.slot(hold).ok_or(ConnectError::Gone)?;
        let entry = &self.entries[slot];
        match (entry.phase, entry.protocol) {
            (Phase::Open | Phase::Bound, _) | (Phase::Connected, Protocol::Udp) => {}
            (Phase::Listening, _) => return Err(ConnectError::Listening),
            (Phase::Connected | Phase::TimeWait, _) => return Err(ConnectError::Connected),
        }
        let source = match entry.asked {
            Span::One => IpAddr::from(entry.local),
            _ => source.to_canonical(),
        };
        entry.domain.connects(source, remote.address())?;
        let (port, origin) = match entry.port() {
            Some(port) => (port, entry.origin),
            None => {
                let port = self.choose_towards(slot, source.into(), remote);
                (port.map_err(ConnectError::Exhausted)?, Origin::Connect)
            }
        };
        let flow = Flow {
            protocol: self.entries[slot].protocol,
            local: Endpoint::new(source, port),
            remote,
        };
        self.check_move(slot, &flow)?;
        self.check_flow(slot, &flow).map_err(ConnectError::Taken)?;
        self.move_to(slot, &flow, origin);
        Ok(flow)
    }

    /// A connected UDP hold that goes out from another address now must be free to have its port there.
    fn check_move(&mut self, slot: u32, flow: &Flow) -> Result<(), ConnectError<O>> {
        let entry = &self.entries[slot];
        let address = Packed::from(flow.local.address());
        if entry.phase != Phase::Connected || entry.local == address {
            return Ok(());
        }
        let spot = Spot {
            address,
            ..entry.spot()
        };
        match self.check(&spot, &entry.newcomer()) {
            Err(BindError::InUse(error)) => Err(ConnectError::InUse(error)),
            _ => Ok(()),
        }
    }

    fn move_to(&mut self, slot: u32, flow: &Flow, origin: Origin) {
        if self.entries[slot].has_flow() {
            self.forget_flow(slot);
        }
        self.change(slot, |entry| {
            entry.set_flow(flow);
            entry.origin = origin;
        });
        self.record_flow(slot);
    }

    /// Makes a hold for a connection that came in to a listener. It has the listener's options, and keeps the
    /// port when the listener goes.
    ///
    /// # Errors
    /// [`AcceptError`].
    pub fn accept(
        &mut self,
        listener: Hold,
        flow: &Flow,
        owner: O,
    ) -> Result<Hold, AcceptError<O>> {
        let slot = self.slot(listener).ok_or(AcceptError::Gone)?;
        let entry = &self.entries[slot];
        let same = entry.protocol == flow.protocol && entry.port() == Some(flow.local.port());
        if entry.phase != Phase::Listening || !same {
            return Err(AcceptError::NotListening);
        }
        let request = Request {
            protocol: entry.protocol,
            domain: entry.domain,
            reuse: entry.reuse,
            user: entry.user,
            device: super::Device::new(entry.device),
            right: entry.right,
        };
        self.enter_flow(&request, flow, Origin::Accept, owner)
            .map_err(AcceptError::Taken)
    }

    /// Makes a hold for a flow whose local address is nobody's here: what a gateway answers that owns
    /// every address.
    ///
    /// It holds the flow and nothing else. Nobody is kept from binding to its local endpoint, and nobody bound there
    /// gets its packets, since a full flow goes first.
    ///
    /// # Errors
    /// [`FlowTaken`] if somebody has the flow.
    pub fn admit(&mut self, flow: &Flow, owner: O) -> Result<Hold, FlowTaken<O>> {
        let domain = match flow.local.address() {
            IpAddr::V4(_) => Domain::V4,
            IpAddr::V6(_) => Domain::V6Only,
        };
        let request = Request::new(flow.protocol, domain);
        self.enter_flow(&request, flow, Origin::Admit, owner)
    }

    fn enter_flow(
        &mut self,
        request: &Request,
        flow: &Flow,
        origin: Origin,
        owner: O,
    ) -> Result<Hold, FlowTaken<O>> {
        self.check_flow(NONE, flow)?;
        let mut entry = Entry::new(request, owner);
        entry.set_flow(flow);
        entry.asked = Span::One;
        entry.origin = origin;
        let slot = self.entries.insert(entry);
        self.put_back(slot);
        self.record_flow(slot);
        Ok(self.handle(slot))
    }

    /// Ends what connect began: the hold has no peer any more, and covers again what it was bound to.
    ///
    /// A port that connect chose is given back under UDP. Under TCP it is kept: Linux gives that back, too, but goes on to tell it to
    /// who asks. An admitted hold has nothing left. A hold that covers its wildcard again
    /// may meet others that came in between; they stay the more specific ones and lose nothing.
    ///
    /// # Errors
    /// [`Gone`] if the hold was released.
    pub fn disconnect(&mut self, hold: Hold) -> Result<(), Gone> {
        self.undo(hold, |entry| match entry.origin {
            Origin::Bind | Origin::Listen | Origin::Accept => true,
            Origin::Connect => entry.protocol == Protocol::Tcp,
            Origin::Admit => false,
        })
    }

    /// Notes that a connection did not come about, or is over without TIME-WAIT: the hold has no peer any more. What was bound
    /// before is bound again; who had his port by the connection only has none now.
    ///
    /// # Errors
    /// [`Gone`] if the hold was released.
    pub fn conclude(&mut self, hold: Hold) -> Result<(), Gone> {
        self.undo(hold, |entry| entry.origin == Origin::Bind)
    }

    fn undo(&mut self, hold: Hold, keeps_port: fn(&Entry<O>) -> bool) -> Result<(), Gone> {
        let slot = self.slot(hold).ok_or(Gone)?;
        if self.entries[slot].phase != Phase::Connected {
            return Ok(());
        }
        self.forget_flow(slot);
        self.change(slot, |entry| {
            let keeps_port = keeps_port(entry);
            entry.part(keeps_port);
        });
        if self.entries[slot].phase == Phase::Bound {
            self.announce(slot, Event::Bound);
        }
        Ok(())
    }

    /// Whether this hold may have the flow: nobody has, or both are UDP and agreed to share.
    fn check_flow(&self, slot: u32, flow: &Flow) -> Result<(), FlowTaken<O>> {
        let key = flow.into();
        let Some(other) = self.find_flow(&key) else {
            return Ok(());
        };
        let sharing = self.entries.find(slot).is_some_and(|entry| {
            flow.protocol == Protocol::Udp && entry.shares_with(&self.entries[other])
        });
        if sharing || slot == other {
            return Ok(());
        }
        Err(FlowTaken {
            holder: self.describe(other),
            flow: *flow,
        })
    }

    /// Changes what is known of a hold's owner; `None` if the hold was released.
    pub fn update_owner(&mut self, hold: Hold, change: impl FnOnce(&mut O)) -> Option<()> {
        let slot = self.slot(hold)?;
        change(&mut self.entries[slot].owner);
        let key = self.entries[slot].flow_key();
        // The table of flows has an owner of its own, next to the flow.
        if self.find_flow(&key) == Some(slot) {
            let owner = self.entries[slot].owner.clone();
            self.flows.insert(self.keys.flow(&key), slot, owner);
        }
        Some(())
    }

    fn record_flow(&mut self, slot: u32) {
        let key = self.entries[slot].flow_key();
        self.dense.insert(&key);
        let print = self.keys.flow(&key);
        let before = self.flows.find(print).map(Cell::number);
        let owner = self.entries[slot].owner.clone();
        self.flows.insert(print, slot, owner);
        let Some(before) = before else {
            return;
        };
        self.twins.insert(slot, [before, NONE]);
        self.twins.entry(before).or_insert([NONE; 2])[1] = slot;
    }

    /// Takes a hold's flow out of the table of flows; the hold itself still knows it.
    pub(super) fn forget_flow(&mut self, slot: u32) {
        let key = self.entries[slot].flow_key();
        let [before, after] = self.twins.remove(&slot).unwrap_or([NONE; 2]);
        self.untie(before, 1, after);
        self.untie(after, 0, before);
        if after != NONE {
            return;
        }
        let print = self.keys.flow(&key);
        if before != NONE {
            let owner = self.entries[before].owner.clone();
            return self.flows.insert(print, before, owner);
        }
        self.flows.remove(print);
        self.dense.remove(&key);
    }

    fn untie(&mut self, twin: u32, side: usize, neighbour: u32) {
        let Some(neighbours) = self.twins.get_mut(&twin) else {
            return;
        };
        neighbours[side] = neighbour;
        if *neighbours == [NONE; 2] {
            self.twins.remove(&twin);
        }
    }
}

impl<O> Entry<O> {
    pub(super) fn part(&mut self, keeps_port: bool) {
        (self.span, self.remote, self.remote_port) = (self.asked, Packed::NONE, 0);
        if self.asked != Span::One {
            self.local = Packed::NONE;
        }
        self.phase = Phase::Bound;
        if !keeps_port {
            (self.asked, self.local) = Span::of(self.domain.wildcard());
            (self.span, self.local_port, self.phase) = (self.asked, 0, Phase::Open);
        }
        self.origin = Origin::Bind;
    }

    fn shares_with(&self, other: &Self) -> bool {
        let address = self.reuse.address() && other.reuse.address();
        address || self.reuse.port() && other.reuse.port() && self.user == other.user
    }
}

impl Domain {
    /// Whether a socket of this domain can have a flow between the two addresses.
    fn connects(self, source: IpAddr, remote: IpAddr) -> Result<(), WrongFamily> {
        let refused = |address| WrongFamily {
            domain: self,
            address,
        };
        if !self.speaks(remote) || remote.is_ipv4() != source.is_ipv4() {
            return Err(refused(remote));
        }
        if source.is_unspecified() {
            return Err(refused(source));
        }
        Ok(())
    }
}

impl<O> Table<O> {
    /// The flow of a hold; `None` if it has none or was released.
    #[must_use]
    pub fn flow(&self, hold: Hold) -> Option<Flow> {
        self.slot(hold).and_then(|slot| self.entries[slot].flow())
    }

    /// The port of a hold; `None` if it has none or was released.
    #[must_use]
    pub fn port(&self, hold: Hold) -> Option<Port> {
        self.slot(hold).and_then(|slot| self.entries[slot].port())
    }
}
