//! smoltcp's demultiplexing: it asks one socket after the other whose a segment is.

use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{
    HardwareAddress, IpAddress, IpCidr, IpProtocol, IpRepr, Ipv4Address, Ipv4Packet, Ipv4Repr,
    TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};
use wharf_port::Local;

use crate::measure::{Report, batches};
use crate::workload::Scatter;
use crate::{at_endpoint, grouped, listeners};

/// Measures both with listeners at as many endpoints, and a segment for any one of them.
pub(crate) fn beside(report: &mut Report) {
    for count in [1_000, 100_000] {
        let theirs = theirs(count);
        let (table, flow) = listeners(count);
        let mut scatter = Scatter(7);
        let ours = batches(|| {
            let flow = flow(scatter.below(count as usize) as u32);
            table.who(&flow).map(|found| *found.owner)
        });
        let sockets = grouped(count);
        report.row(
            &format!("smoltcp, a segment to one of {sockets} listeners"),
            theirs,
            "",
            "",
        );
        let ratio = format!("smoltcp {:.0} ×", theirs / ours);
        report.row(
            &format!("ours, who among {sockets} listeners"),
            ours,
            &ratio,
            "",
        );
    }
}

fn theirs(count: u32) -> f64 {
    let mut wire = Wire(None);
    let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut wire, Instant::ZERO);
    interface.update_ip_addrs(|addresses| {
        for own in [1, 2] {
            let own = IpCidr::new(IpAddress::v4(10, 0, 0, own), 8);
            addresses.push(own).expect("there is room for two");
        }
    });
    let mut sockets = SocketSet::new(Vec::new());
    let mut last = None;
    for number in 0..count {
        let buffer = || tcp::SocketBuffer::new(vec![0; 16]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        let (address, port) = endpoint(number);
        socket
            .listen((IpAddress::Ipv4(address), port))
            .expect("it is closed");
        last = Some(sockets.add(socket));
    }
    let mut scatter = Scatter(7);
    let time = batches(|| {
        let (address, port) = endpoint(scatter.below(count as usize) as u32);
        wire.0 = Some(segment(address, port, TcpControl::Rst));
        interface.poll_ingress_single(Instant::ZERO, &mut wire, &mut sockets)
    });
    // That segments do arrive is seen by one that is answered.
    let (address, port) = endpoint(count - 1);
    wire.0 = Some(segment(address, port, TcpControl::Syn));
    interface.poll_ingress_single(Instant::ZERO, &mut wire, &mut sockets);
    let last = sockets.get::<tcp::Socket<'_>>(last.expect("there are listeners"));
    assert_eq!(last.state(), tcp::State::SynReceived);
    time
}

fn endpoint(number: u32) -> (Ipv4Address, u16) {
    let Local { address, port } = at_endpoint(number);
    let std::net::IpAddr::V4(address) = address else {
        unreachable!("the endpoints are IPv4");
    };
    (address, port.map_or(0, wharf_port::Port::number))
}

/// A segment. A reset finds its listener, which has nothing to answer.
fn segment(to: Ipv4Address, port: u16, control: TcpControl) -> Vec<u8> {
    let segment = TcpRepr {
        src_port: 40_000,
        dst_port: port,
        control,
        seq_number: TcpSeqNumber(1),
        ack_number: None,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let from = Ipv4Address::new(12, 0, 0, 1);
    let header = Ipv4Repr {
        src_addr: from,
        dst_addr: to,
        next_header: IpProtocol::Tcp,
        payload_len: segment.buffer_len(),
        hop_limit: 64,
    };
    let checksums = smoltcp::phy::ChecksumCapabilities::default();
    let mut bytes = vec![0; header.buffer_len() + segment.buffer_len()];
    header.emit(&mut Ipv4Packet::new_unchecked(&mut bytes), &checksums);
    let ip = IpRepr::Ipv4(header);
    segment.emit(
        &mut TcpPacket::new_unchecked(&mut bytes[ip.header_len()..]),
        &from.into(),
        &to.into(),
        &checksums,
    );
    bytes
}

/// A wire with at most one packet on it; what is sent is forgotten.
struct Wire(Option<Vec<u8>>);

struct Packet(Vec<u8>);

struct Away;

impl Device for Wire {
    type RxToken<'a> = Packet;
    type TxToken<'a> = Away;

    fn receive(&mut self, _now: Instant) -> Option<(Packet, Away)> {
        self.0.take().map(|packet| (Packet(packet), Away))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Away> {
        Some(Away)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        (capabilities.medium, capabilities.max_transmission_unit) = (Medium::Ip, 1500);
        capabilities
    }
}

impl RxToken for Packet {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for Away {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        write(&mut vec![0; length])
    }
}
