//! Groups of hosts: sockets join and leave them, and what is sent to them reaches everybody who listens. RFC 1112.
//!
//! What routers ask and are told is [`reporting`](super::reporting)'s. Sockets hear the groups
//! that they have joined and no others (RFC 3376 §3.2), unlike on Linux, where a bound socket hears whatever anybody on the machine has joined.
//! All systems and all nodes (224.0.0.1, ff02::1) and broadcasts are for every socket that is bound to the port.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};
use thiserror::Error;
use wharf_port::table::Hold;
use wharf_port::{Cover, Device, Domain, Endpoint, Flow};

use super::Host;
use super::event::SocketId;
use super::groups::{Member, Telling};
use super::inbound::Inbound;
use super::links::Link;
use super::resolve::ALL_NODES;
use crate::time::Instant;
use crate::wire::{igmp, ndp};

/// Groups that one socket hears at most.
const MAX_JOINED: usize = 64;

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
    /// The socket is bound to a device that is no link.
    #[error("the socket's device is no link of this host")]
    Device,
    /// More than 64 groups for one socket, or 512 in all.
    #[error("there is no room for one more group")]
    Crowded,
}

impl Host {
    /// Makes a UDP socket hear a multicast group: what is sent to it and to the socket's port, on the link that the socket is bound to by
    /// [`Setting::Device`](crate::Setting::Device), else on the first. Routers are told if it is the group's first member.
    ///
    /// # Errors
    /// [`GroupError`].
    pub fn join(
        &mut self,
        now: Instant,
        socket: SocketId,
        group: IpAddr,
    ) -> Result<(), GroupError> {
        let found = self.sockets.named(socket).ok_or(GroupError::Gone)?;
        let (domain, device) = (found.domain, self.group_device(found.hold));
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
        if mailbox.joined.contains(&(device, group)) {
            return Err(GroupError::Member);
        }
        if mailbox.joined.len() >= MAX_JOINED {
            return Err(GroupError::Crowded);
        }
        let member = Member::Socket(socket);
        let link = self.link_mut(device).ok_or(GroupError::Device)?;
        let joined = link.groups.join(now, group, member, Telling::Aloud);
        joined.map_err(|_| GroupError::Crowded)?;
        if let Some(mailbox) = self.mailbox(socket) {
            mailbox.joined.push((device, group));
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
        let found = self.sockets.named(socket).ok_or(GroupError::Gone)?;
        let device = self.group_device(found.hold);
        let mailbox = self.mailbox(socket).ok_or(GroupError::Gone)?;
        let entry = (device, group);
        let at = mailbox.joined.iter().position(|joined| *joined == entry);
        mailbox.joined.swap_remove(at.ok_or(GroupError::NoMember)?);
        self.leave_on(now, entry, Member::Socket(socket));
        Ok(())
    }

    /// The link on which a socket joins and leaves groups.
    fn group_device(&self, hold: Hold) -> Device {
        let device = self.table.holding(hold).and_then(|holding| holding.device);
        device.unwrap_or(Self::LINK)
    }

    fn leave_on(&mut self, now: Instant, (device, group): (Device, IpAddr), member: Member) {
        if let Some(link) = self.link_mut(device) {
            link.groups.leave(now, group, member);
        }
        self.expire_groups(now);
    }

    /// A socket is closed.
    pub(super) fn leave_all(&mut self, now: Instant, socket: SocketId) {
        let joined = self
            .mailbox(socket)
            .map(|it| core::mem::take(&mut it.joined));
        for entry in joined.unwrap_or_default() {
            self.leave_on(now, entry, Member::Socket(socket));
        }
    }

    /// The host has an address, and hears its solicited-node group. RFC 4291 §2.8, RFC 4861 §7.2.1.
    pub(super) fn hear_solicitations(
        &mut self,
        now: Instant,
        device: Device,
        own: Ipv6Addr,
        telling: Telling,
    ) {
        let group = ndp::solicited_node(own).into();
        if let Some(link) = self.link_mut(device) {
            // Own addresses are few; without room, unicast questions are answered still.
            let _ = link.groups.join(now, group, Member::Host, telling);
        }
    }

    /// The host has an address no more.
    pub(super) fn ignore_solicitations(&mut self, now: Instant, device: Device, own: Ipv6Addr) {
        let group = ndp::solicited_node(own).into();
        self.leave_on(now, (device, group), Member::Host);
    }

    /// Whether packets for a group that come by a link, or from the host itself, are for this host.
    pub(super) fn hears(&self, device: Device, group: IpAddr) -> bool {
        let always = match group {
            IpAddr::V4(group) => group == igmp::ALL_SYSTEMS,
            // Who answers for others has to hear all questions.
            IpAddr::V6(group) => is_everybody(group) || self.is_proxy() && is_solicited_node(group),
        };
        always || self.near(device).any(|link| link.groups.hears(group))
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
        let members = self
            .near(device)
            .flat_map(|link| link.groups.sockets(group));
        let mut readers: Vec<SocketId> = members.filter(listens).collect();
        // Who has joined on several links hears once what comes from the host itself.
        readers.sort_unstable();
        readers.dedup();
        readers
    }

    /// The link that a device names; all of them for what comes from the host itself.
    fn near(&self, device: Device) -> impl Iterator<Item = &Link> {
        let links = self.links.iter();
        links.filter(move |link| link.device == device || device == Self::LOOPBACK)
    }
}

/// Groups that nobody has to join: all nodes of the link, and of this node. RFC 4291 §2.7.1.
fn is_everybody(group: Ipv6Addr) -> bool {
    group == ALL_NODES || group == Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 1)
}

fn is_solicited_node(group: Ipv6Addr) -> bool {
    group.segments()[..6] == [0xff02, 0, 0, 0, 0, 1] && group.octets()[12] == 0xff
}
