//! How large packets may be on the way to a destination. RFC 1191, RFC 8201, RFC 8899 §5.3.

use alloc::collections::VecDeque;
use core::net::IpAddr;
use core::time::Duration;
use hashbrown::HashMap;
use wharf_port::Device;

use super::super::Host;
use super::Routes;
use crate::host::config::MTU_MIN;
use crate::host::keys::{Keyed, Map};
use crate::time::Instant;

/// The smallest path MTU that is believed over IPv4: RFC 791's 68 would make every packet tiny (RFC 1191 §3 allows more).
pub(super) const PATH_MTU_MIN_V4: u16 = 552;
/// Paths whose MTU is remembered at once.
pub(super) const MAX_PATHS: usize = 1024;
/// RFC 1191 §6.3: how long a lowered path MTU is kept.
pub(super) const PATH_LIFETIME: Duration = Duration::from_secs(600);

/// The end of time.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// What was found out about paths.
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) known: Map<IpAddr, (Instant, u16)>,
    pub(super) order: VecDeque<IpAddr>,
}

impl Paths {
    pub(super) fn new(keyed: Keyed) -> Self {
        Self {
            known: HashMap::with_hasher(keyed),
            order: VecDeque::new(),
        }
    }

    fn note(&mut self, now: Instant, destination: IpAddr, mtu: u16) -> u16 {
        let entry = (now + PATH_LIFETIME, mtu);
        if self.known.insert(destination, entry).is_none() {
            self.order.push_back(destination);
        }
        if self.order.len() > MAX_PATHS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        mtu
    }
}

impl Routes {
    /// The link by which packets from an own address leave for a destination.
    fn device_for(&self, source: IpAddr, destination: IpAddr) -> Device {
        if self.links.len() == 1 {
            return Host::LINK;
        }
        let hop = self.next_hop(self.link_of(source), destination);
        hop.map_or(Host::LINK, |hop| hop.device)
    }

    /// The largest packet from an own address for a destination, in octets.
    pub(in crate::host) fn mtu(&self, now: Instant, source: IpAddr, destination: IpAddr) -> u16 {
        if self.is_internal(destination) {
            return u16::MAX;
        }
        let device = self.device_for(source, destination);
        self.path(now, device, destination).0
    }

    /// The largest packet for a destination that is reached by a link, and until when that is known if nothing changes.
    pub(in crate::host) fn path(
        &self,
        now: Instant,
        device: Device,
        destination: IpAddr,
    ) -> (u16, Instant) {
        let first = self.link_mtu_for(device, destination);
        match self.paths.known.get(&destination) {
            Some((until, mtu)) if now < *until => (first.min(*mtu), *until),
            _ => (first, NEVER),
        }
    }

    /// A link's MTU.
    pub(in crate::host) fn link_mtu(&self, device: Device) -> u16 {
        self.facts(device).mtu
    }

    fn link_mtu_for(&self, device: Device, destination: IpAddr) -> u16 {
        let link = self.facts(device);
        match destination {
            IpAddr::V4(_) => link.mtu,
            IpAddr::V6(_) => link.mtu.min(link.mtu_v6),
        }
    }

    /// The largest packet from an own address that its link takes towards a destination.
    pub(in crate::host) fn first_mtu(&self, source: IpAddr, destination: IpAddr) -> u16 {
        self.link_mtu_for(self.device_for(source, destination), destination)
    }

    /// Notes that only smaller packets get through, on a router's word; the path MTU from now on.
    pub(in crate::host) fn shrink(
        &mut self,
        now: Instant,
        (source, destination): (IpAddr, IpAddr),
        mtu: u32,
    ) -> u16 {
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        let known = self.mtu(now, source, destination);
        let mtu = mtu.min(known).max(least(destination));
        self.changes += 1;
        self.paths.note(now, destination, mtu)
    }

    /// Notes that packets of this size were seen to get through, and larger ones were not: the path MTU from now on, perhaps more than it
    /// was (RFC 8899 §5.3).
    pub(in crate::host) fn learn(&mut self, now: Instant, destination: IpAddr, mtu: u16) {
        if !self.is_internal(destination) {
            self.changes += 1;
            self.paths
                .note(now, destination, mtu.max(least(destination)));
        }
    }
}

/// The least path MTU that is believed.
fn least(destination: IpAddr) -> u16 {
    if destination.is_ipv4() {
        PATH_MTU_MIN_V4
    } else {
        MTU_MIN
    }
}
