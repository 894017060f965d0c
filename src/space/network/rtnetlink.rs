//! Interfaces, addresses, routes and neighbours, by rtnetlink(7).
//!
//! One request, one answer, one after the other: a set-up is a dozen of them, some microseconds each.

use std::io;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::netdevice;

/// An Ethernet address.
pub(super) type Mac = [u8; 6];

/// The index that the loopback interface has in every network namespace.
const LOOPBACK: u32 = 1;
/// Room for any answer: an acknowledgement that quotes its request, or all about one interface.
const ANSWER_CAPACITY: usize = 32 << 10;

/// A conversation with the kernel about this network namespace.
pub(super) struct Rtnetlink {
    socket: Socket,
    sequence: u32,
    answer: Vec<u8>,
}

impl Rtnetlink {
    /// Opens it in this thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        // Only the kernel, port 0, is talked and listened to.
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
            answer: Vec::with_capacity(ANSWER_CAPACITY),
        })
    }

    /// The index of the interface `name`.
    pub(super) fn index_of(&self, name: &str) -> io::Result<u32> {
        Ok(netdevice::name_to_index(&self.socket, name)?)
    }

    /// Sets loopback up, which gives it 127.0.0.1/8 and ::1.
    pub(super) fn set_loopback_up(&mut self) -> io::Result<()> {
        self.set_link(LOOPBACK, LinkFlags::Up, Vec::new())
    }

    /// Sets an interface's link address and MTU, then sets it up.
    pub(super) fn configure(&mut self, index: u32, mac: Mac, mtu: u16) -> io::Result<()> {
        let attributes = vec![
            LinkAttribute::Address(mac.to_vec()),
            LinkAttribute::Mtu(mtu.into()),
        ];
        self.set_link(index, LinkFlags::Up, attributes)
    }

    /// Sets an interface up on which ARP is neither asked nor answered.
    pub(super) fn set_up_without_arp(&mut self, index: u32) -> io::Result<()> {
        self.set_link(index, LinkFlags::Up | LinkFlags::Noarp, Vec::new())
    }

    /// Makes two interfaces joined by a cable, both down.
    pub(super) fn make_veth(&mut self, near: &str, far: &str, mtu: u16) -> io::Result<()> {
        let end = |name: &str| {
            let mut link = LinkMessage::default();
            link.attributes = vec![
                LinkAttribute::IfName(name.into()),
                LinkAttribute::Mtu(mtu.into()),
            ];
            link
        };
        let mut link = end(near);
        let far = InfoData::Veth(InfoVeth::Peer(end(far)));
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(far),
        ]));
        self.request(
            RouteNetlinkMessage::NewLink(link),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Adds `address`, alone in its subnet and usable at once.
    pub(super) fn add_address(&mut self, index: u32, address: IpAddr) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.family = family(address);
        message.header.prefix_len = host_prefix(address);
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes = vec![
            AddressAttribute::Local(address),
            AddressAttribute::Address(address),
        ];
        self.request(
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Makes `address` known at `mac` for good.
    pub(super) fn add_neighbour(
        &mut self,
        index: u32,
        address: IpAddr,
        mac: Mac,
    ) -> io::Result<()> {
        let destination = match address {
            IpAddr::V4(address) => NeighbourAddress::Inet(address),
            IpAddr::V6(address) => NeighbourAddress::Inet6(address),
        };
        let mut message = NeighbourMessage::default();
        message.header.ifindex = index;
        message.header.family = family(address);
        message.header.state = NeighbourState::Permanent;
        message.attributes = vec![
            NeighbourAttribute::Destination(destination),
            NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
        ];
        self.request(
            RouteNetlinkMessage::NewNeighbour(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
    }

    /// Makes `neighbour` reachable on the link itself, from `source`.
    pub(super) fn add_host_route(
        &mut self,
        index: u32,
        neighbour: IpAddr,
        source: IpAddr,
    ) -> io::Result<()> {
        let mut message = unicast_route(index, neighbour);
        message.header.destination_prefix_length = host_prefix(neighbour);
        message.header.scope = RouteScope::Link;
        message
            .attributes
            .push(RouteAttribute::Destination(neighbour.into()));
        message
            .attributes
            .push(RouteAttribute::PrefSource(source.into()));
        self.request(
            RouteNetlinkMessage::NewRoute(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Sends everything that has no other route to `gateway`.
    pub(super) fn add_default_route(&mut self, index: u32, gateway: IpAddr) -> io::Result<()> {
        let mut message = unicast_route(index, gateway);
        message
            .attributes
            .push(RouteAttribute::Gateway(RouteAddress::from(gateway)));
        self.request(
            RouteNetlinkMessage::NewRoute(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    fn set_link(
        &mut self,
        index: u32,
        flags: LinkFlags,
        attributes: Vec<LinkAttribute>,
    ) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = flags;
        message.header.change_mask = flags;
        message.attributes = attributes;
        self.request(RouteNetlinkMessage::NewLink(message), 0)
    }

    /// Waits until what is sent on an interface that is up isn't lost any more: the kernel puts its queueing
    /// discipline in a moment after the cable's other end has come up, and drops all before. A second is more than
    /// it ever takes; after that what is lost is sent again.
    pub(super) fn await_queue(&mut self, index: u32) -> io::Result<()> {
        for _ in 0..2000 {
            let mut message = LinkMessage::default();
            message.header.index = index;
            let answer = self.transact(RouteNetlinkMessage::GetLink(message), 0)?;
            let Some(RouteNetlinkMessage::NewLink(link)) = answer else {
                return Err(io::Error::other("no answer about an interface"));
            };
            let none = LinkAttribute::Qdisc("noop".into());
            if !link.attributes.contains(&none) {
                break;
            }
            thread::sleep(Duration::from_micros(500));
        }
        Ok(())
    }

    /// Sends one request and waits for its acknowledgement.
    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.transact(message, flags).map(drop)
    }

    /// Sends one request and waits for its acknowledgement; answers with what came before that, if something did.
    fn transact(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Option<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        self.acknowledged()
    }

    fn acknowledged(&mut self) -> io::Result<Option<RouteNetlinkMessage>> {
        let mut told = None;
        loop {
            self.answer.clear();
            self.socket.recv(&mut self.answer, 0)?;
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&self.answer)
                .map_err(io::Error::other)?;
            if answer.header.sequence_number != self.sequence {
                continue;
            }
            match answer.payload {
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::Error(_) => return Ok(told),
                NetlinkPayload::InnerMessage(message) => told = Some(message),
                _ => {}
            }
        }
    }
}

fn unicast_route(index: u32, towards: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(towards);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![RouteAttribute::Oif(index)];
    message
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn host_prefix(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}
