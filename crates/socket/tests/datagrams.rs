//! UDP and ICMP echo between two stacks.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod network;

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use network::{LEFT, RIGHT, at, impaired, pair, soon};
use tokio::io::ReadBuf;
use tokio::time::timeout;
use wharf_link::{Capabilities, Impairment};
use wharf_socket::{UdpSocket, ping};

#[tokio::test]
async fn datagrams_go_both_ways_over_ipv4_and_ipv6() {
    let (left, right) = pair(Capabilities::NONE);
    for (here, there) in LEFT.into_iter().zip(RIGHT) {
        let client = UdpSocket::bind(&left, at(here, 0)).await.unwrap();
        let server = UdpSocket::bind(&right, at(there, 53)).await.unwrap();
        let sent = client.send_to(b"question", at(there, 53)).await.unwrap();
        assert_eq!(sent, 8);
        let mut buffer = [0; 100];
        let (count, peer) = soon(server.recv_from(&mut buffer)).await.unwrap();
        assert_eq!(
            (&buffer[..count], peer),
            (&b"question"[..], client.local_addr().unwrap())
        );
        // Larger than the link's packets: it goes in fragments.
        server.send_to(&[9; 20_000], peer).await.unwrap();
        let received = soon(client.recv_whole()).await.unwrap();
        assert_eq!(received.payload, [9; 20_000][..]);
    }
}

#[tokio::test]
async fn a_connected_socket_hears_its_peer_only() {
    let (left, right) = pair(Capabilities::ALL);
    let client = UdpSocket::bind(&left, "10.0.0.1:1000").await.unwrap();
    let peer = UdpSocket::bind(&right, "10.0.0.2:2000").await.unwrap();
    let stranger = UdpSocket::bind(&right, "10.0.0.2:3000").await.unwrap();
    client.connect("10.0.0.2:2000").await.unwrap();
    stranger
        .send_to(b"stranger", "10.0.0.1:1000")
        .await
        .unwrap();
    peer.send_to(b"peer", "10.0.0.1:1000").await.unwrap();
    let mut buffer = [0; 100];
    let count = soon(client.recv(&mut buffer)).await.unwrap();
    assert_eq!(&buffer[..count], b"peer");
    client.send(b"back").await.unwrap();
    assert_eq!(soon(peer.recv(&mut buffer)).await.unwrap(), 4);
}

#[tokio::test]
async fn a_connected_socket_learns_that_nobody_is_there() {
    let (left, _right) = pair(Capabilities::ALL);
    for (here, there) in LEFT.into_iter().zip(RIGHT) {
        let client = UdpSocket::bind(&left, at(here, 0)).await.unwrap();
        client.connect(at(there, 9)).await.unwrap();
        client.send(b"anybody?").await.unwrap();
        let error = soon(client.recv(&mut [0; 10])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

#[tokio::test]
async fn mistakes_have_their_kinds() {
    let (left, _right) = pair(Capabilities::ALL);
    let socket = UdpSocket::bind(&left, "10.0.0.1:1000").await.unwrap();
    let kind = |result: std::io::Result<usize>| result.unwrap_err().kind();
    assert_eq!(kind(socket.send(b"").await), ErrorKind::NotConnected);
    assert_eq!(
        kind(socket.send_to(&[0; 65_508], "10.0.0.2:1").await),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        kind(socket.send_to(b"", "[fd00::2]:1").await),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        kind(socket.send_to(b"", "10.0.0.2:0").await),
        ErrorKind::InvalidInput
    );
    let error = UdpSocket::bind(&left, "10.0.0.1:1000").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[tokio::test]
async fn cancelled_receives_lose_no_datagram() {
    let (left, right) = pair(Capabilities::ALL);
    let server = UdpSocket::bind(&right, "10.0.0.2:53").await.unwrap();
    let client = UdpSocket::bind(&left, "10.0.0.1:0").await.unwrap();
    let mut buffer = [0; 10];
    for number in 0..50 {
        {
            let mut receive = pin!(server.recv_from(&mut buffer));
            let pending = poll_fn(|cx| Poll::Ready(receive.as_mut().poll(cx).is_pending()));
            assert!(pending.await);
        }
        client.send_to(&[number], "10.0.0.2:53").await.unwrap();
        let mut space = ReadBuf::new(&mut buffer);
        soon(poll_fn(|cx| server.poll_recv_from(cx, &mut space)))
            .await
            .unwrap();
        assert_eq!(space.filled(), [number]);
    }
}

#[tokio::test]
async fn a_fast_sender_waits_for_the_link() {
    let (left, right) = pair(Capabilities::NONE);
    let server = UdpSocket::bind(&right, "10.0.0.2:53").await.unwrap();
    server.set_recv_buffer_size(64 << 20).unwrap();
    let client = UdpSocket::bind(&left, "10.0.0.1:0").await.unwrap();
    client
        .send_to(b"find the way", "10.0.0.2:53")
        .await
        .unwrap();
    soon(server.recv_whole()).await.unwrap();
    // Ten times what may wait for the link: not one is lost.
    let send = async {
        for number in 0..40_000_u32 {
            client
                .send_to(&number.to_be_bytes(), "10.0.0.2:53")
                .await
                .unwrap();
        }
    };
    let receive = async {
        for number in 0..40_000_u32 {
            let received = server.recv_whole().await.unwrap();
            assert_eq!(received.payload, number.to_be_bytes()[..]);
        }
    };
    soon(async { tokio::join!(send, receive) }).await;
}

#[tokio::test]
async fn a_ping_comes_back() {
    let (left, _right) = pair(Capabilities::ALL);
    for ip in RIGHT {
        let ip: IpAddr = ip.parse().unwrap();
        soon(ping(&left, ip, b"anybody there?")).await.unwrap();
    }
    let error = ping(&left, [192, 0, 2, 1].into(), b"").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
}

#[tokio::test(start_paused = true)]
async fn a_ping_takes_the_time_of_the_way() {
    let impairment = Impairment {
        delay: Duration::from_millis(50),
        ..Impairment::default()
    };
    let (left, _right) = impaired(impairment, 1);
    let there = RIGHT[0].parse().unwrap();
    // The first one has to find the neighbour too.
    ping(&left, there, b"").await.unwrap();
    let took = ping(&left, there, b"").await.unwrap();
    assert!((100..110).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn unanswered_pings_leave_nothing_behind() {
    let (left, _right) = pair(Capabilities::ALL);
    // More than may wait at once, for nobody.
    for _ in 0..2000 {
        let answer = ping(&left, [10, 0, 0, 99].into(), b"");
        let answer = timeout(Duration::from_millis(1), answer).await;
        assert!(!matches!(answer, Ok(Ok(_))));
    }
    ping(&left, [10, 0, 0, 2].into(), b"").await.unwrap();
}
