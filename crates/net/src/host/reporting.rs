//! What is said about groups: queries that come from routers, reports that go to them. RFC 3376 §4, §5; RFC 3810 §5, §6.
//!
//! Who hears what is [`membership`](super::membership)'s, when to tell it [`groups`](super::groups)'.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use wharf_port::Device;

use super::Host;
use super::groups::{Groups, Question, Report, Version};
use super::inbound::Inbound;
use super::ingress::malformed;
use super::links::Link;
use super::outbound::{Marking, Outbound};
use crate::discard::Discard;
use crate::time::Instant;
use crate::wire::igmp::Filter;
use crate::wire::{extension, icmpv6, igmp, ipv6, mld};

/// RFC 3376 §4, RFC 3810 §5: never beyond the link.
const HOP_LIMIT: u8 = 1;
/// RFC 3376 §4: the precedence of internetwork control.
const CONTROL: u8 = 0xc0;
/// What a report's headers take of the MTU: IP with options, and the report's own.
const OVERHEAD: usize = 64;

impl Host {
    pub(super) fn receive_igmp(&mut self, now: Instant, inbound: &Inbound) -> Result<(), Discard> {
        let message = igmp::Message::parse(inbound.payload()).map_err(malformed)?;
        match message {
            igmp::Message::Query {
                group,
                response,
                version,
            } => {
                let question = question_v4(group, response, version).ok_or(Discard::Multicast)?;
                self.asked(inbound.device, |groups| groups.ask(now, false, &question));
                self.expire_groups(now);
            }
            igmp::Message::Heard(group) => {
                self.asked(inbound.device, |groups| groups.overhear(now, group.into()));
            }
            igmp::Message::Other(_) => return Err(Discard::Multicast),
        }
        Ok(())
    }

    /// A query or a report of multicast listener discovery, from the ICMPv6 header on; its checksum was right.
    pub(super) fn receive_mld(
        &mut self,
        now: Instant,
        inbound: &Inbound,
        kind: u8,
    ) -> Result<(), Discard> {
        // RFC 3810 §6.2, RFC 2710 §3: what comes from farther away, or does not look like it, is nothing.
        let options = inbound.packet.get(ipv6::LEN..).unwrap_or(&[]);
        let alert = inbound.packet.get(6) == Some(&extension::HOP_BY_HOP_HEADER)
            && extension::has_router_alert(options);
        let near = matches!(inbound.source, IpAddr::V6(source) if source.is_unicast_link_local());
        if inbound.hop_limit != HOP_LIMIT || !near || !alert {
            return Err(Discard::Multicast);
        }
        match kind {
            mld::QUERY => {
                let query = mld::Query::parse(inbound.payload()).map_err(malformed)?;
                let question = question_v6(query).ok_or(Discard::Multicast)?;
                self.asked(inbound.device, |groups| groups.ask(now, true, &question));
                self.expire_groups(now);
            }
            mld::REPORT_V1 => {
                let group = mld::group(inbound.payload()).ok_or(Discard::Malformed)?;
                self.asked(inbound.device, |groups| groups.overhear(now, group.into()));
            }
            _ => return Err(Discard::Multicast),
        }
        Ok(())
    }

    /// Sends the reports that are due.
    pub(super) fn expire_groups(&mut self, now: Instant) {
        let mut due = |link: &mut Link| Some((link.device, link.groups.report(now)?));
        while let Some((device, report)) = self.links.iter_mut().find_map(&mut due) {
            match report {
                Report::Records(records) => self.send_records(now, device, &records),
                Report::Heard(version, group) => self.send_heard(now, device, version, group),
                Report::Left(group) => self.send_left(now, device, group),
            }
        }
    }

    /// Tells the groups of a link what a router there has said.
    fn asked(&mut self, device: Device, tell: impl FnOnce(&mut Groups)) {
        if let Some(link) = self.link_mut(device) {
            tell(&mut link.groups);
        }
    }

    /// Records of one family, as many to a packet as it takes; one has at most as many sources as fit the least MTU.
    fn send_records(
        &mut self,
        now: Instant,
        device: Device,
        records: &[(Filter, IpAddr, Vec<IpAddr>)],
    ) {
        let v6 = records.first().is_some_and(|record| record.1.is_ipv6());
        let each = if v6 {
            mld::RECORD_LEN
        } else {
            igmp::RECORD_LEN
        };
        let room = usize::from(self.routes.link_mtu(device)) - OVERHEAD;
        for records in records.chunks(room / each) {
            match v6 {
                true => self.send_records_v6(now, device, records),
                false => self.send_records_v4(now, device, records),
            }
        }
    }

    fn send_records_v4(
        &mut self,
        now: Instant,
        device: Device,
        records: &[(Filter, IpAddr, Vec<IpAddr>)],
    ) {
        let of = |address: &IpAddr| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        };
        let records: Vec<_> = records
            .iter()
            .filter_map(|(filter, group, sources)| {
                let sources: Vec<Ipv4Addr> = sources.iter().filter_map(of).collect();
                Some((*filter, of(group)?, sources))
            })
            .collect();
        self.send_igmp(now, device, igmp::ROUTERS, &igmp::report(&records));
    }

    fn send_records_v6(
        &mut self,
        now: Instant,
        device: Device,
        records: &[(Filter, IpAddr, Vec<IpAddr>)],
    ) {
        let of = |address: &IpAddr| match address {
            IpAddr::V6(address) => Some(*address),
            IpAddr::V4(_) => None,
        };
        let records: Vec<_> = records
            .iter()
            .filter_map(|(filter, group, sources)| {
                let sources: Vec<Ipv6Addr> = sources.iter().filter_map(of).collect();
                Some((*filter, of(group)?, sources))
            })
            .collect();
        let source = self.routes.link_local(device);
        self.send_mld(
            now,
            device,
            (source, mld::ROUTERS),
            &mld::report(&records, source),
        );
    }

    fn send_heard(&mut self, now: Instant, device: Device, version: Version, group: IpAddr) {
        match group {
            IpAddr::V4(group) => {
                let report = igmp::heard(version == Version::First, group);
                self.send_igmp(now, device, group, &report);
            }
            IpAddr::V6(group) => {
                let source = self.routes.link_local(device);
                let report = mld::old(mld::REPORT_V1, group, source, group);
                self.send_mld(now, device, (source, group), &report);
            }
        }
    }

    fn send_left(&mut self, now: Instant, device: Device, group: IpAddr) {
        match group {
            IpAddr::V4(group) => {
                self.send_igmp(now, device, igmp::ALL_ROUTERS, &igmp::leave(group))
            }
            IpAddr::V6(group) => {
                let source = self.routes.link_local(device);
                let done = mld::old(mld::DONE_V1, group, source, mld::ALL_ROUTERS);
                self.send_mld(now, device, (source, mld::ALL_ROUTERS), &done);
            }
        }
    }

    fn send_igmp(&mut self, now: Instant, device: Device, to: Ipv4Addr, message: &[u8]) {
        // RFC 3376 §4.2.13: a host without an address says so.
        let from = self
            .routes
            .own(Some(device), to.into())
            .unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let mut packet = Outbound::new(from, to.into(), igmp::PROTOCOL, message);
        packet.traffic_class = CONTROL;
        self.send_report(now, device, packet);
    }

    fn send_mld(
        &mut self,
        now: Instant,
        device: Device,
        (from, to): (Ipv6Addr, Ipv6Addr),
        message: &[u8],
    ) {
        let packet = Outbound::new(from.into(), to.into(), icmpv6::PROTOCOL, message);
        self.send_report(now, device, packet);
    }

    fn send_report(&mut self, now: Instant, device: Device, mut packet: Outbound) {
        packet.device = Some(device);
        packet.hop_limit = Some(HOP_LIMIT);
        packet.marking = Marking::RouterAlert;
        // A report that finds no room is counted there, and told again.
        let _ = self.send(now, &mut packet);
    }
}

/// Nothing for a query about what is no group.
fn question_v4(group: Ipv4Addr, response: Duration, version: igmp::Version) -> Option<Question> {
    if !group.is_unspecified() && !group.is_multicast() {
        return None;
    }
    let (version, robustness, interval, sources) = match version {
        igmp::Version::First => (Version::First, 0, Duration::ZERO, Vec::new()),
        igmp::Version::Second => (Version::Older, 0, Duration::ZERO, Vec::new()),
        igmp::Version::Third {
            robustness,
            interval,
            sources,
        } => (Version::Current, robustness, interval, sources),
    };
    Some(Question {
        version,
        group: (!group.is_unspecified()).then_some(group.into()),
        response,
        robustness,
        interval,
        sources: sources.into_iter().map(IpAddr::V4).collect(),
    })
}

fn question_v6(query: mld::Query) -> Option<Question> {
    let group = query.group;
    if !group.is_unspecified() && !group.is_multicast() {
        return None;
    }
    let (version, robustness, interval, sources) = match query.version {
        mld::Version::First => (Version::Older, 0, Duration::ZERO, Vec::new()),
        mld::Version::Second {
            robustness,
            interval,
            sources,
        } => (Version::Current, robustness, interval, sources),
    };
    Some(Question {
        version,
        group: (!group.is_unspecified()).then_some(group.into()),
        response: query.response,
        robustness,
        interval,
        sources: sources.into_iter().map(IpAddr::V6).collect(),
    })
}
