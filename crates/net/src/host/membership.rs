//! Groups of hosts: sockets join and leave them, routers are told and ask, and what is sent to them reaches everybody who listens.
//!
//! RFC 1112, RFC 3376 (IGMPv3) and RFC 3810 (MLDv2); when to tell what is [`groups`](super::groups)' to know. Sockets hear the groups
//! that they have joined and no others (RFC 3376 §3.2), unlike on Linux, where a bound socket hears whatever anybody on the machine has joined.
//! All systems and all nodes (224.0.0.1, ff02::1) and broadcasts are for every socket that is bound to the port.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use thiserror::Error;
use wharf_port::{Cover, Domain, Endpoint, Flow};

use super::Host;
use super::discard::Discard;
use super::egress::{Marking, Outbound};
use super::event::SocketId;
use super::groups::{Member, Question, Report, Telling, Version};
use super::inbound::Inbound;
use super::ingress::malformed;
use super::resolve::ALL_NODES;
use crate::time::Instant;
use crate::wire::igmp::Filter;
use crate::wire::{extension, icmpv6, igmp, ipv6, mld, ndp};

/// Groups that one socket hears at most.
const MAX_JOINED: usize = 64;
/// RFC 3376 §4, RFC 3810 §5: never beyond the link.
const HOP_LIMIT: u8 = 1;
/// RFC 3376 §4: the precedence of internetwork control.
const CONTROL: u8 = 0xc0;
/// What a report's headers take of the MTU: IP with options, and the report's own.
const OVERHEAD: usize = 64;

/// Why a socket did not join a group, or leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GroupError {
    /// There is no such socket, or it is not a UDP socket.
    #[error("no such UDP socket")]
    Gone,
    /// The address is not that of a multicast group.
    #[error("not the address of a multicast group")]
    NotGroup,
    /// The group is of a family that the socket doesn't have.
    #[error("the group is of another family than the socket")]
    Family,
    /// The socket has joined it before.
    #[error("the socket is a member already")]
    Member,
    /// The socket has not joined it.
    #[error("the socket is no member")]
    NoMember,
    /// More than 64 groups for one socket, or 512 in all.
    #[error("there is no room for one more group")]
    Crowded,
}

impl Host {
    /// Makes a UDP socket hear a multicast group: what is sent to it and to the socket's port. Routers are told if it is the group's
    /// first member.
    ///
    /// # Errors
    /// [`GroupError`].
    pub fn join(
        &mut self,
        now: Instant,
        socket: SocketId,
        group: IpAddr,
    ) -> Result<(), GroupError> {
        let domain = self.sockets.find(socket).ok_or(GroupError::Gone)?.domain;
        let mailbox = self.mailbox(socket).ok_or(GroupError::Gone)?;
        if !group.is_multicast() {
            return Err(GroupError::NotGroup);
        }
        let possible = match domain {
            Domain::V4 => group.is_ipv4(),
            Domain::V6Only => group.is_ipv6(),
            Domain::Dual => true,
        };
        if !possible {
            return Err(GroupError::Family);
        }
        if mailbox.joined.contains(&group) {
            return Err(GroupError::Member);
        }
        if mailbox.joined.len() >= MAX_JOINED {
            return Err(GroupError::Crowded);
        }
        let member = Member::Socket(socket);
        let joined = self.groups.join(now, group, member, Telling::Aloud);
        joined.map_err(|_| GroupError::Crowded)?;
        if let Some(mailbox) = self.mailbox(socket) {
            mailbox.joined.push(group);
        }
        self.expire_groups(now);
        Ok(())
    }

    /// Takes a UDP socket out of a multicast group. Closing it does the same for all of its groups.
    ///
    /// # Errors
    /// [`GroupError::Gone`], [`GroupError::NoMember`].
    pub fn leave(
        &mut self,
        now: Instant,
        socket: SocketId,
        group: IpAddr,
    ) -> Result<(), GroupError> {
        let mailbox = self.mailbox(socket).ok_or(GroupError::Gone)?;
        let at = mailbox.joined.iter().position(|joined| *joined == group);
        mailbox.joined.swap_remove(at.ok_or(GroupError::NoMember)?);
        self.groups.leave(now, group, Member::Socket(socket));
        self.expire_groups(now);
        Ok(())
    }

    /// A socket is closed.
    pub(super) fn leave_all(&mut self, now: Instant, socket: SocketId) {
        let joined = self
            .mailbox(socket)
            .map(|it| core::mem::take(&mut it.joined));
        for group in joined.unwrap_or_default() {
            self.groups.leave(now, group, Member::Socket(socket));
        }
        self.expire_groups(now);
    }

    /// The host has an address, and hears its solicited-node group. RFC 4291 §2.8, RFC 4861 §7.2.1.
    pub(super) fn hear_solicitations(&mut self, now: Instant, own: Ipv6Addr, telling: Telling) {
        let group = ndp::solicited_node(own).into();
        // Own addresses are few; without room, unicast questions are answered still.
        let _ = self.groups.join(now, group, Member::Host, telling);
    }

    /// The host has an address no more.
    pub(super) fn ignore_solicitations(&mut self, now: Instant, own: Ipv6Addr) {
        let group = ndp::solicited_node(own).into();
        self.groups.leave(now, group, Member::Host);
    }

    /// Whether packets for a group are for this host.
    pub(super) fn hears(&self, group: IpAddr) -> bool {
        let always = match group {
            IpAddr::V4(group) => group == igmp::ALL_SYSTEMS,
            // Who answers for others has to hear all questions.
            IpAddr::V6(group) => is_everybody(group) || self.is_proxy() && is_solicited_node(group),
        };
        always || self.groups.hears(group)
    }

    /// The sockets that get a datagram for a group or everybody.
    pub(super) fn readers(
        &self,
        inbound: &Inbound,
        to: Endpoint,
        flow: Option<&Flow>,
    ) -> Vec<SocketId> {
        let group = to.address();
        let everybody = match group {
            IpAddr::V4(v4) => !v4.is_multicast() || v4 == igmp::ALL_SYSTEMS,
            IpAddr::V6(v6) => is_everybody(v6),
        };
        let device = inbound.device;
        if everybody {
            let connected = flow.and_then(|flow| self.table.connected(flow));
            let bound = self.table.everybody(to, device);
            return connected
                .into_iter()
                .chain(bound)
                .map(|found| *found.owner)
                .collect();
        }
        let cover = match group {
            IpAddr::V4(group) => Cover::V4(group),
            IpAddr::V6(group) => Cover::V6(group),
        };
        let listens = |id: &SocketId| {
            let hold = self.sockets.find(*id).map(|socket| socket.hold);
            let holding = hold.and_then(|hold| self.table.holding(hold));
            holding.is_some_and(|holding| {
                let place = holding.port == Some(to.port()) && holding.cover.meets(cover);
                let near = holding.device.is_none_or(|bound| bound == device);
                let peer = hold.and_then(|hold| self.table.flow(hold));
                place && near && peer.is_none_or(|peer| Some(&peer) == flow)
            })
        };
        self.groups.sockets(group).filter(listens).collect()
    }

    pub(super) fn receive_igmp(&mut self, now: Instant, inbound: &Inbound) -> Result<(), Discard> {
        let message = igmp::Message::parse(inbound.payload()).map_err(malformed)?;
        match message {
            igmp::Message::Query {
                group,
                response,
                version,
            } => {
                let question = question_v4(group, response, version).ok_or(Discard::Multicast)?;
                self.groups.ask(now, false, &question);
                self.expire_groups(now);
            }
            igmp::Message::Heard(group) => self.groups.overhear(now, group.into()),
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
                self.groups.ask(now, true, &question);
                self.expire_groups(now);
            }
            mld::REPORT_V1 => {
                let group = mld::group(inbound.payload()).ok_or(Discard::Malformed)?;
                self.groups.overhear(now, group.into());
            }
            _ => return Err(Discard::Multicast),
        }
        Ok(())
    }

    /// Sends the reports that are due.
    pub(super) fn expire_groups(&mut self, now: Instant) {
        while let Some(report) = self.groups.report(now) {
            match report {
                Report::Records(records) => self.send_records(now, &records),
                Report::Heard(version, group) => self.send_heard(now, version, group),
                Report::Left(group) => self.send_left(now, group),
            }
        }
    }

    /// Records of one family, as many to a packet as it takes; one has at most as many sources as fit the least MTU.
    fn send_records(&mut self, now: Instant, records: &[(Filter, IpAddr, Vec<IpAddr>)]) {
        let v6 = records.first().is_some_and(|record| record.1.is_ipv6());
        let each = if v6 {
            mld::RECORD_LEN
        } else {
            igmp::RECORD_LEN
        };
        let room = usize::from(self.routes.link_mtu()) - OVERHEAD;
        for records in records.chunks(room / each) {
            match v6 {
                true => self.send_records_v6(now, records),
                false => self.send_records_v4(now, records),
            }
        }
    }

    fn send_records_v4(&mut self, now: Instant, records: &[(Filter, IpAddr, Vec<IpAddr>)]) {
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
        self.send_igmp(now, igmp::ROUTERS, &igmp::report(&records));
    }

    fn send_records_v6(&mut self, now: Instant, records: &[(Filter, IpAddr, Vec<IpAddr>)]) {
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
        let source = self.routes.link_local();
        self.send_mld(now, (source, mld::ROUTERS), &mld::report(&records, source));
    }

    fn send_heard(&mut self, now: Instant, version: Version, group: IpAddr) {
        match group {
            IpAddr::V4(group) => {
                let report = igmp::heard(version == Version::First, group);
                self.send_igmp(now, group, &report);
            }
            IpAddr::V6(group) => {
                let source = self.routes.link_local();
                let report = mld::old(mld::REPORT_V1, group, source, group);
                self.send_mld(now, (source, group), &report);
            }
        }
    }

    fn send_left(&mut self, now: Instant, group: IpAddr) {
        match group {
            IpAddr::V4(group) => self.send_igmp(now, igmp::ALL_ROUTERS, &igmp::leave(group)),
            IpAddr::V6(group) => {
                let source = self.routes.link_local();
                let done = mld::old(mld::DONE_V1, group, source, mld::ALL_ROUTERS);
                self.send_mld(now, (source, mld::ALL_ROUTERS), &done);
            }
        }
    }

    fn send_igmp(&mut self, now: Instant, to: Ipv4Addr, message: &[u8]) {
        // RFC 3376 §4.2.13: a host without an address says so.
        let from = self
            .routes
            .own(to.into())
            .unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let mut packet = Outbound::new(from, to.into(), igmp::PROTOCOL, message);
        packet.traffic_class = CONTROL;
        self.send_report(now, packet);
    }

    fn send_mld(&mut self, now: Instant, (from, to): (Ipv6Addr, Ipv6Addr), message: &[u8]) {
        let packet = Outbound::new(from.into(), to.into(), icmpv6::PROTOCOL, message);
        self.send_report(now, packet);
    }

    fn send_report(&mut self, now: Instant, mut packet: Outbound) {
        packet.hop_limit = Some(HOP_LIMIT);
        packet.marking = Marking::RouterAlert;
        // A report that finds no room is counted there, and told again.
        let _ = self.send(now, packet);
    }
}

/// Groups that nobody has to join: all nodes of the link, and of this node. RFC 4291 §2.7.1.
fn is_everybody(group: Ipv6Addr) -> bool {
    group == ALL_NODES || group == Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 1)
}

fn is_solicited_node(group: Ipv6Addr) -> bool {
    group.segments()[..6] == [0xff02, 0, 0, 0, 0, 1] && group.octets()[12] == 0xff
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
