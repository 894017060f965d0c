//! An address of ours that another station claims: it is kept, and defended. RFC 5227 §2.4.
//!
//! # Theory of operation
//!
//! The host's IPv4 addresses were given to it, and it has nobody to ask for others, so it gives none up: that is the RFC's third way (c).
//! Each claim is counted ([`Discard::Conflict`]). Everybody on the link is told where the address is, once; what is claimed again within
//! [`DEFEND_INTERVAL`] of that is only counted, so that two hosts that were given the same address don't shout at each other for ever. The
//! claim itself teaches nothing and is not answered. Who asks before it uses an address (§2.1.1) claims nothing: it gets its answer.
//!
//! Over IPv6 it is the same but for the shout: who probes is answered (RFC 4862 §5.4.3), an address of ours that is still in question is given up,
//! one that is not is kept, and an advertisement of it counted, if not for its source already ([`Discard::Source`]: it says that it is from
//! us). What more to do about that one, RFC 4862 §5.4.4 leaves open.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use wharf_port::Device;

use super::Host;
use crate::time::Instant;
use crate::wire::arp::{Operation, Packet};
use crate::wire::ethernet::Mac;

/// RFC 5227 §1.1.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// When a link's addresses were defended last; only those that were.
#[derive(Debug, Default)]
pub(super) struct Defences(Vec<(Ipv4Addr, Instant)>);

impl Defences {
    /// Whether an own address may be defended now; if so, it is.
    fn begin(&mut self, now: Instant, own: Ipv4Addr) -> bool {
        match self.0.iter_mut().find(|(known, _)| *known == own) {
            Some((_, at)) if now < *at + DEFEND_INTERVAL => false,
            Some((_, at)) => {
                *at = now;
                true
            }
            None => {
                self.0.push((own, now));
                true
            }
        }
    }
}

impl Host {
    /// Whether another station says that an address of ours on this link is its own. RFC 5227 §2.4.
    pub(super) fn is_claim(&self, device: Device, arp: &Packet) -> bool {
        self.routes.is_own_on(device, IpAddr::V4(arp.sender))
            && !arp.sender_mac.is_group()
            && !self.is_ours(arp.sender_mac)
    }

    /// Whether a station is one of our links: of two in one network, neither conflicts with the other.
    pub(super) fn is_ours(&self, station: Mac) -> bool {
        self.links.iter().any(|link| link.mac == station)
    }

    /// Announces an own address that another station claims, unless that was done a moment ago.
    pub(super) fn defend(&mut self, now: Instant, device: Device, own: Ipv4Addr) {
        let Some(link) = self.link_mut(device) else {
            return;
        };
        if !link.defences.begin(now, own) {
            return;
        }
        // RFC 5227 §2.3: sender and target are the same.
        let announcement = Packet {
            operation: Operation::Request,
            sender_mac: link.mac,
            sender: own,
            target_mac: Mac::default(),
            target: own,
        };
        self.put_arp(device, &announcement, Mac::BROADCAST);
    }
}
