//! Who gets an arriving packet.

use core::net::IpAddr;

use super::arena::NONE;
use super::index::{Cell, Print};
use super::keys::FlowKey;
use super::{Device, Hold, Table};
use crate::address::Packed;
use crate::{Endpoint, Flow, Protocol};

/// By what a packet found its hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// Its flow: the hold is connected.
    Flow,
    /// Its local endpoint.
    Endpoint,
    /// A wildcard and its port.
    Wildcard,
}

/// The hold that gets a packet.
#[derive(Debug)]
pub struct Found<'a, O> {
    table: &'a Table<O>,
    slot: u32,
    /// Whose it is.
    pub owner: &'a O,
    /// By what it was found.
    pub by: Match,
}

impl<O> Found<'_, O> {
    /// The hold. Its owner is at hand; for its handle, memory is looked at once more.
    #[must_use]
    pub fn hold(&self) -> Hold {
        self.table.handle(self.slot)
    }
}

impl<O> Table<O> {
    /// Who gets a packet of this flow: first the hold of the flow, then one bound to the local endpoint, then a wildcard's;
    /// under TCP the latter two listen. IPv4 sockets go before IPv6 ones, a reuse-port group is picked from by a keyed
    /// hash of the flow.
    ///
    /// The cost is one look-up for a hit by flow and two otherwise, whatever the table holds. Holds that are bound
    /// to a device are found by [`who_on`](Self::who_on) only, those with a flow by both.
    #[must_use]
    pub fn who(&self, flow: &Flow) -> Option<Found<'_, O>> {
        self.look_up(&flow.into(), 0)
    }

    /// How often anything has changed by which packets find their hold. As long as it stays, every question of
    /// [`who_on`](Self::who_on) and the others here has the answer that it had.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.flows.changes() + self.receivers.changes()
    }

    /// Who gets a packet of this flow that arrived on this device: of two holds of equal rank, the one bound
    /// to the device.
    #[must_use]
    pub fn who_on(&self, flow: &Flow, device: Device) -> Option<Found<'_, O>> {
        self.look_up(&flow.into(), device.number())
    }

    /// Who gets a UDP datagram without a source port (RFC 768: "port" zero, no reply is possible): as
    /// [`who_on`](Self::who_on), but no flow is asked for, as it has none. The sender's address only picks from a group.
    #[must_use]
    pub fn who_without_port(
        &self,
        local: Endpoint,
        sender: IpAddr,
        device: Device,
    ) -> Option<Found<'_, O>> {
        let key = FlowKey {
            protocol: Protocol::Udp,
            local: local.address().into(),
            remote: Packed::from(sender),
            local_port: local.port().number(),
            remote_port: 0,
        };
        self.receiver(&key, self.keys.flow(&key), device.number())
    }

    /// Everybody who gets a UDP datagram for a group of hosts (RFC 1122 §3.3.7, §4.1.3.5): all that are bound where it goes, on the
    /// device or on none, and not only the first of them. Holds with a flow are not among them.
    pub fn everybody(&self, local: Endpoint, device: Device) -> impl Iterator<Item = Found<'_, O>> {
        let port = local.port().number();
        let places = self
            .register
            .reached(&self.keys, Protocol::Udp, local.address().into(), port);
        let stacks = places.map(|place| match place {
            Some(place) => self.register.place(place).stacks,
            None => NONE,
        });
        stacks
            .into_iter()
            .flat_map(move |stacks| self.receivers.seated(stacks, device.number()))
            .map(|slot| self.found(slot, Match::Endpoint))
    }

    /// The hold that has exactly this flow.
    #[must_use]
    pub fn connected(&self, flow: &Flow) -> Option<Found<'_, O>> {
        let key = flow.into();
        self.by_flow(self.keys.flow(&key))
    }

    fn look_up(&self, key: &FlowKey, device: u32) -> Option<Found<'_, O>> {
        let print = self.keys.flow(key);
        let found = self.by_flow(print);
        if found.is_some() {
            return found;
        }
        self.receiver(key, print, device)
    }

    /// The hold without a flow that gets a packet.
    fn receiver(&self, key: &FlowKey, print: Print, device: u32) -> Option<Found<'_, O>> {
        let reached = self
            .register
            .reached(&self.keys, key.protocol, key.local, key.local_port);
        let [exact, family, all] = reached.map(|place| match place {
            Some(place) => self.register.place(place).stacks,
            None => NONE,
        });
        if let Some(slot) = self.receivers.pick([exact, NONE], device, print.high) {
            return Some(self.found(slot, Match::Endpoint));
        }
        let slot = self.receivers.pick([family, all], device, print.high)?;
        Some(self.found(slot, Match::Wildcard))
    }

    pub(super) fn find_flow(&self, key: &FlowKey) -> Option<u32> {
        self.flows.find(self.keys.flow(key)).map(Cell::number)
    }

    fn by_flow(&self, print: Print) -> Option<Found<'_, O>> {
        let cell = self.flows.find(print)?;
        Some(Found {
            table: self,
            slot: cell.number(),
            owner: &cell.value,
            by: Match::Flow,
        })
    }

    fn found(&self, slot: u32, by: Match) -> Found<'_, O> {
        Found {
            table: self,
            slot,
            owner: &self.entries[slot].owner,
            by,
        }
    }
}
