//! Multicast between stacks, and stacks that make their addresses themselves.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod network;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use network::{LEFT, at, pair, soon};
use wharf_link::{Capabilities, memory};
use wharf_net::wire::ethernet::Mac;
use wharf_socket::{Autoconfiguration, Config, Identifiers, Stack, UdpSocket};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0x99);

fn join(socket: &UdpSocket, group: IpAddr) -> std::io::Result<()> {
    match group {
        IpAddr::V4(group) => socket.join_multicast_v4(group, Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(group) => socket.join_multicast_v6(&group, 0),
    }
}

#[tokio::test]
async fn every_member_hears_what_is_sent_to_the_group() {
    let (left, right) = pair(Capabilities::ALL);
    for ((group, wildcard), own) in [(GROUP.into(), "0.0.0.0"), (GROUP_V6.into(), "[::]")]
        .into_iter()
        .zip(LEFT)
    {
        let place = format!("{wildcard}:5353");
        let mut members = Vec::new();
        for stack in [&left, &right, &right] {
            let member = UdpSocket::bind_shared(stack, &place).await.unwrap();
            join(&member, group).unwrap();
            members.push(member);
        }
        let sender = UdpSocket::bind(&left, at(own, 0)).await.unwrap();
        sender.send_to(b"all of you", (group, 5353)).await.unwrap();
        for member in &members {
            let mut buffer = [0; 100];
            let (count, from) = soon(member.recv_from(&mut buffer)).await.unwrap();
            assert_eq!(
                (&buffer[..count], from),
                (&b"all of you"[..], sender.local_addr().unwrap())
            );
        }
        sender.set_multicast_loop_v4(false).unwrap();
        sender.send_to(b"you there", (group, 5353)).await.unwrap();
        assert_eq!(
            soon(members[1].recv_whole()).await.unwrap().payload,
            &b"you there"[..]
        );
        let nothing = members[0].try_recv_from(&mut [0; 9]).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    }
}

#[tokio::test]
async fn options_and_mistakes_are_as_tokio_s() {
    let (left, _right) = pair(Capabilities::ALL);
    let socket = UdpSocket::bind(&left, "0.0.0.0:0").await.unwrap();
    assert_eq!(
        (socket.multicast_ttl_v4().unwrap(), socket.ttl().unwrap()),
        (1, 64)
    );
    assert!(socket.multicast_loop_v4().unwrap() && socket.multicast_loop_v6().unwrap());
    socket.set_multicast_ttl_v4(7).unwrap();
    socket.set_ttl(9).unwrap();
    socket.set_multicast_loop_v6(false).unwrap();
    assert_eq!(
        (socket.multicast_ttl_v4().unwrap(), socket.ttl().unwrap()),
        (7, 9)
    );
    assert!(!socket.multicast_loop_v4().unwrap());
    let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(socket.set_ttl(0)), ErrorKind::InvalidInput);
    assert_eq!(
        kind(socket.set_multicast_ttl_v4(256)),
        ErrorKind::InvalidInput
    );
    let own = Ipv4Addr::new(10, 0, 0, 1);
    let group = |last| Ipv4Addr::new(239, 0, 0, last);
    socket.join_multicast_v4(group(1), own).unwrap();
    assert_eq!(
        kind(socket.join_multicast_v4(group(1), own)),
        ErrorKind::AddrInUse
    );
    assert_eq!(
        kind(socket.join_multicast_v4(own, own)),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        kind(socket.join_multicast_v4(group(2), group(2))),
        ErrorKind::AddrNotAvailable
    );
    assert_eq!(
        kind(socket.join_multicast_v6(&GROUP_V6, 0)),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        kind(socket.join_multicast_v6(&GROUP_V6, 9)),
        ErrorKind::AddrNotAvailable
    );
    socket.leave_multicast_v4(group(1), own).unwrap();
    assert_eq!(
        kind(socket.leave_multicast_v4(group(1), own)),
        ErrorKind::AddrNotAvailable
    );
    assert_eq!(
        kind(socket.leave_multicast_v6(&GROUP_V6, 0)),
        ErrorKind::AddrNotAvailable
    );
}

#[tokio::test(start_paused = true)]
async fn stacks_that_configure_themselves_reach_each_other_by_link_local_addresses() {
    let (left, right) = memory::pair(256, 1500, Capabilities::ALL);
    let host = |number: u8| {
        let mut config = Config::new(Mac([2, 0, 0, 0, 0, number]), Stack::seed());
        config.autoconfiguration = Some(Autoconfiguration {
            identifiers: Identifiers::Hardware,
            ..Autoconfiguration::default()
        });
        config
    };
    let (left, right) = (Stack::start(left, host(1)), Stack::start(right, host(2)));
    assert_eq!(left.addresses(), []);
    // Probing takes two seconds at most.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let own: IpAddr = "fe80::ff:fe00:2".parse().unwrap();
    assert!(right.addresses().iter().any(|cidr| cidr.address() == own));
    let server = UdpSocket::bind(&right, "[::]:7").await.unwrap();
    let client = UdpSocket::bind(&left, "[::]:0").await.unwrap();
    client.send_to(b"who?", (own, 7)).await.unwrap();
    let received = soon(server.recv_whole()).await.unwrap();
    let near: IpAddr = "fe80::ff:fe00:1".parse().unwrap();
    assert_eq!(received.from, near);
}
