//! Questions and answers about hardware addresses: ARP and neighbour discovery. The memory is [`neighbour`](super::neighbour)'s.
//!
//! RFC 826, RFC 1122 §2.3.2, RFC 5227 §2.1.1, RFC 4861 §7, RFC 1027 and RFC 4389 (answering for others).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wharf_port::Device;

use super::Host;
use super::discovery::Retired;
use super::inbound::Inbound;
use super::ingress::malformed;
use super::links::Link;
use super::neighbour::{Advertised, Due, Waiting};
use super::outbound::{Outbound, whole_frame};
use super::route::Scope;
use crate::discard::Discard;
use crate::frame::{Body, Frame};
use crate::time::Instant;
use crate::wire::arp::{Operation, Packet};
use crate::wire::ethernet::{self, EtherType, Mac};
use crate::wire::icmpv6::{self, Message};
use crate::wire::ndp::{self, Kind};

/// RFC 4861 §7.1: proof that a message did not come through a router.
pub(super) const NDP_HOP_LIMIT: u8 = 255;
/// The least that Ethernet carries, without its checksum.
const MIN_FRAME: usize = 60;
/// RFC 4291 §2.7.1.
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

impl Host {
    /// Whether questions for an address are ours to answer, when `asker` asks.
    fn answers_for(&self, device: Device, target: IpAddr, asker: IpAddr) -> bool {
        if self.routes.is_own_on(device, target) {
            return true;
        }
        let proxy = self.is_proxy();
        // Who checks whether its own address is free asks without a source: it must not hear from us.
        proxy
            && target != asker
            && !asker.is_unspecified()
            && self.routes.scope(device, target) == Some(Scope::Foreign)
    }

    /// Whether the host answers for others.
    pub(super) fn is_proxy(&self) -> bool {
        self.config.accept_anything && self.config.proxy
    }

    pub(super) fn receive_arp(
        &mut self,
        now: Instant,
        device: Device,
        packet: &[u8],
    ) -> Result<(), Discard> {
        let arp = Packet::parse(packet).map_err(malformed)?;
        if self.is_claim(device, &arp) {
            self.defend(now, device, arp.sender);
            return Err(Discard::Conflict);
        }
        let (sender, target) = (IpAddr::V4(arp.sender), IpAddr::V4(arp.target));
        // RFC 5227 §2.1.1: a probe has no sender.
        let usable = !arp.sender.is_unspecified() && self.routes.is_possible_source(sender);
        let answered =
            arp.operation == Operation::Request && self.answers_for(device, target, sender);
        let for_us = arp.operation == Operation::Reply && self.routes.is_own_on(device, target);
        let Some(link) = self.link_mut(device) else {
            return Err(Discard::OtherStation);
        };
        let (own, neighbours) = (link.mac, &mut link.neighbours);
        let usable = usable && !arp.sender_mac.is_group() && arp.sender_mac != own;
        let teaches = usable && (answered || neighbours.has(sender));
        if usable {
            let waiting = match (for_us, answered) {
                // What we have asked for, if we have: it hears us, and we hear it.
                (true, _) => {
                    let told = Advertised {
                        mac: Some(arp.sender_mac),
                        solicited: true,
                        overrides: true,
                    };
                    neighbours.advertised(now, sender, told)
                }
                (false, true) => neighbours.heard(now, sender, arp.sender_mac),
                (false, false) => neighbours.overheard(now, sender, arp.sender_mac),
            };
            self.release(device, waiting, arp.sender_mac);
        }
        if !answered || arp.sender == arp.target {
            return match (teaches, arp.operation) {
                (true, _) => Ok(()),
                (false, Operation::Request) => Err(Discard::NotMine),
                (false, Operation::Reply) => Err(Discard::Neighbour),
            };
        }
        let reply = Packet {
            operation: Operation::Reply,
            sender_mac: own,
            sender: arp.target,
            target_mac: arp.sender_mac,
            target: arp.sender,
        };
        self.put_arp(device, &reply, arp.sender_mac);
        Ok(())
    }

    pub(super) fn put_arp(&mut self, device: Device, packet: &Packet, to: Mac) {
        let ethernet = ethernet::Header {
            destination: to,
            source: packet.sender_mac,
            ethertype: EtherType::Arp,
        };
        let mut frame = Frame::of(Body::new());
        let octets = frame.put_in_front(MIN_FRAME);
        octets[..ethernet::LEN].copy_from_slice(&ethernet.emit());
        let packet = packet.emit();
        octets[ethernet::LEN..ethernet::LEN + packet.len()].copy_from_slice(&packet);
        // A question that finds no room is asked again later; the loss is counted where it happens.
        let _ = self.put(device, &mut frame, to);
    }

    /// A solicitation or an advertisement.
    pub(super) fn receive_ndp(
        &mut self,
        now: Instant,
        inbound: &Inbound,
        kind: Kind,
    ) -> Result<(), Discard> {
        if inbound.hop_limit != NDP_HOP_LIMIT {
            return Err(Discard::Neighbour);
        }
        let payload = inbound.payload().get(icmpv6::LEN..).unwrap_or(&[]);
        let body = ndp::Body::parse(kind, payload).map_err(|_| Discard::Neighbour)?;
        match kind {
            Kind::Solicitation => self.solicited(now, inbound, &body),
            Kind::Advertisement => {
                let flags = inbound.payload().get(4).copied().unwrap_or(0);
                self.told(now, inbound, &body, flags)
            }
        }
    }

    /// RFC 4861 §7.1.2, §7.2.5.
    fn told(
        &mut self,
        now: Instant,
        inbound: &Inbound,
        body: &ndp::Body,
        flags: u8,
    ) -> Result<(), Discard> {
        let (device, target) = (inbound.device, IpAddr::V6(body.target));
        if self.is_tentative(device, target) {
            self.contested(now, device, body.target);
            return Ok(());
        }
        let solicited = flags & ndp::SOLICITED != 0;
        let group = body.link.is_some_and(Mac::is_group);
        let ours = body.link.is_some_and(|mac| self.is_ours(mac));
        if self.routes.is_own_on(device, target) && !ours {
            return Err(Discard::Conflict);
        }
        if self.routes.is_own(target) || group || solicited && inbound.destination.is_multicast() {
            return Err(Discard::Neighbour);
        }
        let told = Advertised {
            mac: body.link,
            solicited,
            overrides: flags & ndp::OVERRIDE != 0,
        };
        // RFC 4861 §7.2.5: who was not looked for is not entered.
        let sought = |link: &&mut Link| link.neighbours.has(target);
        let link = self.link_mut(device).filter(sought);
        let link = link.ok_or(Discard::Neighbour)?;
        let waiting = link.neighbours.advertised(now, target, told);
        if let Some(mac) = body.link {
            self.release(device, waiting, mac);
        }
        if flags & ndp::ROUTER == 0 {
            self.doubt_router(device, target, Retired::Yes);
        }
        Ok(())
    }

    fn solicited(
        &mut self,
        now: Instant,
        inbound: &Inbound,
        body: &ndp::Body,
    ) -> Result<(), Discard> {
        let (device, target) = (inbound.device, IpAddr::V6(body.target));
        let probing = inbound.source.is_unspecified();
        let group = IpAddr::V6(ndp::solicited_node(body.target));
        // RFC 4861 §7.1.1: who probes asks the group, and doesn't say where it is.
        if probing && (inbound.destination != group || body.link.is_some()) {
            return Err(Discard::Neighbour);
        }
        if self.is_tentative(device, target) {
            // RFC 4862 §5.4.3: who has an address already is not answered before it is ours.
            if probing {
                self.contested(now, device, body.target);
            }
            return Ok(());
        }
        if !self.answers_for(device, target, inbound.source) {
            return Err(Discard::NotMine);
        }
        if let (Some(mac), false) = (body.link, probing || body.link.is_some_and(Mac::is_group)) {
            let link = self.link_mut(device).ok_or(Discard::Neighbour)?;
            let waiting = link.neighbours.heard(now, inbound.source, mac);
            self.release(device, waiting, mac);
        }
        let IpAddr::V6(source) = inbound.source else {
            return Err(Discard::Neighbour);
        };
        // RFC 4861 §7.2.4: who has no address yet is answered with everybody listening.
        let to = if probing { ALL_NODES } else { source };
        let solicited = if probing { 0 } else { ndp::SOLICITED };
        let router = if self.config.accept_anything {
            ndp::ROUTER
        } else {
            0
        };
        let own = if self.routes.is_own_on(device, target) {
            ndp::OVERRIDE
        } else {
            0
        };
        let message = Message::NeighbourAdvertisement {
            flags: solicited | router | own,
        };
        let kind = Kind::Advertisement;
        let ends = [body.target, to];
        let mut packet = self.ndp_packet(device, (message, kind), body.target, ends);
        let _ = self.send(now, &mut packet);
        Ok(())
    }

    fn ndp_packet(
        &self,
        device: Device,
        (message, kind): (Message, Kind),
        target: Ipv6Addr,
        [from, to]: [Ipv6Addr; 2],
    ) -> Outbound {
        let body = ndp::Body {
            target,
            link: self.link(device).map(|link| link.mac),
        }
        .emit(kind);
        let header = message.emit(&body, from, to);
        let message = [&header[..], &body].concat();
        let mut packet = Outbound::new(from.into(), to.into(), icmpv6::PROTOCOL, &message);
        packet.hop_limit = Some(NDP_HOP_LIMIT);
        packet.device = Some(device);
        packet
    }

    /// Asks for a neighbour: everybody, or only the station where it was last.
    pub(super) fn ask(&mut self, device: Device, address: IpAddr, station: Option<Mac>) {
        match address {
            IpAddr::V4(target) => self.ask_arp(device, target, station),
            IpAddr::V6(target) => self.ask_ndp(device, target, station),
        }
    }

    fn ask_arp(&mut self, device: Device, target: Ipv4Addr, station: Option<Mac>) {
        let sender = match self.routes.source_for(Some(device), IpAddr::V4(target)) {
            Some(IpAddr::V4(own)) => own,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        let request = Packet {
            operation: Operation::Request,
            sender_mac: self.link(device).map_or(Mac::default(), |link| link.mac),
            sender,
            target_mac: Mac::default(),
            target,
        };
        self.put_arp(device, &request, station.unwrap_or(Mac::BROADCAST));
    }

    fn ask_ndp(&mut self, device: Device, target: Ipv6Addr, station: Option<Mac>) {
        let source = match self.routes.source_for(Some(device), IpAddr::V6(target)) {
            Some(IpAddr::V6(own)) => own,
            _ => Ipv6Addr::UNSPECIFIED,
        };
        let group = ndp::solicited_node(target);
        let (destination, mac) = match station {
            Some(mac) => (target, mac),
            None => (group, Mac::of_group_v6(group)),
        };
        let message = (Message::NeighbourSolicitation, Kind::Solicitation);
        let mut packet = self.ndp_packet(device, message, target, [source, destination]);
        let _ = self.put(device, whole_frame(&mut packet, 0), mac);
    }

    /// Sends what has waited for a neighbour.
    pub(super) fn release(&mut self, device: Device, waiting: Vec<Waiting>, station: Mac) {
        for mut waiting in waiting {
            // A full queue is counted where it is found.
            let _ = self.put(device, &mut waiting.frame, station);
        }
    }

    /// Asks again, or gives up.
    pub(super) fn expire_neighbours(&mut self, now: Instant) {
        let mut due = |link: &mut Link| Some((link.device, link.neighbours.expire(now)?));
        while let Some((device, due)) = self.links.iter_mut().find_map(&mut due) {
            match due {
                Due::Ask(address) => self.ask(device, address, None),
                Due::Probe(address, mac) => self.ask(device, address, Some(mac)),
                Due::Unanswered(address, waiting) => {
                    self.doubt_router(device, address, Retired::Perhaps);
                    for waiting in waiting {
                        self.drop_for(Discard::NoNeighbour);
                        if let Some(socket) = waiting.socket {
                            self.neighbour_missing(now, socket);
                        }
                    }
                }
            }
        }
    }
}
