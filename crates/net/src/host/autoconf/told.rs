//! What a host that configures itself makes of a router advertisement. RFC 4861 §6.3.4, RFC 4862 §5.5.3.

use core::net::Ipv6Addr;
use core::time::Duration;

use super::{Autoconf, MAX_PREFIXES, MAX_ROUTERS, Origin, Own, Stage};
use crate::cidr::Cidr;
use crate::time::Instant;
use crate::wire::router::{Advertisement, Lifetime, Prefix};

/// RFC 4862 §5.5.3 (e).
const TWO_HOURS: Duration = Duration::from_secs(7200);

impl Autoconf {
    /// A router tells of itself and of networks. RFC 4861 §6.3.4, RFC 4862 §5.5.3.
    pub(in crate::host) fn advertised(
        &mut self,
        now: Instant,
        router: Ipv6Addr,
        told: &Advertisement,
    ) {
        self.routers
            .retain(|(known, _)| *known != router || told.lifetime > Duration::ZERO);
        let until = now + told.lifetime;
        let room = told.lifetime > Duration::ZERO && self.routers.len() < MAX_ROUTERS;
        match self.routers.iter_mut().find(|(known, _)| *known == router) {
            Some((_, known)) => *known = until,
            None if room => self.routers.push((router, until)),
            None => {}
        }
        if told.lifetime > Duration::ZERO {
            // RFC 7559 §2: there is a way out now.
            self.solicit = None;
        }
        if told.retransmit > Duration::ZERO {
            self.interval = told.retransmit.min(Duration::from_secs(60));
        }
        for prefix in &told.prefixes {
            if prefix.network.is_unicast_link_local() || prefix.network.is_multicast() {
                continue;
            }
            if prefix.on_link {
                self.on_link(now, prefix);
            }
            if prefix.autonomous {
                self.autonomous(now, prefix);
            }
        }
    }

    fn on_link(&mut self, now: Instant, told: &Prefix) {
        let bits = u32::from(128 - told.length);
        let network = told.network.to_bits().checked_shr(bits).unwrap_or(0);
        let network = Ipv6Addr::from_bits(network.checked_shl(bits).unwrap_or(0));
        let Some(cidr) = Cidr::new(network.into(), told.length) else {
            return;
        };
        self.prefixes.retain(|(known, _)| *known != cidr);
        if told.valid != Lifetime::Seconds(0) && self.prefixes.len() < MAX_PREFIXES {
            self.prefixes.push((cidr, end(now, told.valid)));
        }
    }

    fn autonomous(&mut self, now: Instant, told: &Prefix) {
        // RFC 4862 §5.5.3 (c), (d): nonsense, or a network that our identifiers don't fit.
        if told.preferred > told.valid || told.length != 64 {
            return;
        }
        let (preferred, valid) = (end(now, told.preferred), end(now, told.valid));
        let same = |own: &&mut Own| {
            matches!(own.origin, Origin::Made { .. })
                && own.address.to_bits() >> 64 == told.network.to_bits() >> 64
        };
        let Some(own) = self.addresses.iter_mut().find(same) else {
            if told.valid > Lifetime::Seconds(0) {
                self.make(now, told.network, [preferred, valid]);
            }
            return;
        };
        own.preferred = preferred;
        if own.stage == Stage::Deprecated && preferred.is_none_or(|until| until > now) {
            own.stage = Stage::Preferred;
        }
        let left = own.valid.map(|until| until - now);
        let longer = match (valid, own.valid) {
            (None, _) => true,
            (Some(new), Some(old)) => new > old,
            (Some(_), None) => false,
        };
        if longer || valid.is_some_and(|until| until - now > TWO_HOURS) {
            own.valid = valid;
        } else if left.is_none_or(|left| left > TWO_HOURS) {
            own.valid = Some(now + TWO_HOURS);
        }
    }
}

fn end(now: Instant, lifetime: Lifetime) -> Option<Instant> {
    match lifetime {
        Lifetime::Seconds(seconds) => Some(now + Duration::from_secs(seconds.into())),
        Lifetime::Infinite => None,
    }
}
