//! A stack that answers for every address behind its link.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod network;

use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use network::{config, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wharf_link::{Capabilities, memory};
use wharf_net::Route;
use wharf_socket::{Arrival, Gateway, Refusal, Stack, TcpStream, UdpSocket, Unreachable, ping};

/// A host whose way to everywhere leads through the other one, which accepts anything.
fn guest_and_gateway() -> (Stack, Stack) {
    let (left, right) = memory::pair(256, 1500, Capabilities::ALL);
    let mut guest = config(2);
    for (network, gateway) in [("0.0.0.0/0", "10.0.0.1"), ("::/0", "fd00::1")] {
        guest.routes.push(Route {
            network: network.parse().unwrap(),
            gateway: gateway.parse().unwrap(),
        });
    }
    let mut gateway = config(1);
    gateway.accept_anything = true;
    (Stack::start(right, guest), Stack::start(left, gateway))
}

#[tokio::test]
async fn a_knock_is_admitted_at_the_address_that_was_wanted() {
    let (guest, stack) = guest_and_gateway();
    let gateway = Gateway::new(&stack);
    for wanted in ["198.51.100.7:443", "[2001:db8::7]:443"] {
        let serve = async {
            let Arrival::Knock(knock) = gateway.arrival().await.unwrap() else {
                panic!("no knock");
            };
            assert_eq!(knock.flow().local.to_string(), wanted);
            let mut stream = knock.admit().await.unwrap();
            stream.write_all(b"welcome").await.unwrap();
        };
        let visit = async {
            let mut stream = TcpStream::connect(&guest, wanted).await.unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "welcome");
        };
        soon(async { tokio::join!(serve, visit) }).await;
    }
}

#[tokio::test]
async fn a_knock_is_refused_in_as_many_words() {
    let (guest, stack) = guest_and_gateway();
    let gateway = Gateway::new(&stack);
    let refusals = [
        (Some(Refusal::Reset), ErrorKind::ConnectionRefused),
        (
            Some(Refusal::Unreachable(Unreachable::Prohibited)),
            ErrorKind::HostUnreachable,
        ),
        // Dropped without a word.
        (None, ErrorKind::ConnectionRefused),
    ];
    for (refusal, kind) in refusals {
        let serve = async {
            if let Arrival::Knock(knock) = gateway.arrival().await.unwrap()
                && let Some(refusal) = refusal
            {
                knock.refuse(refusal);
            }
        };
        let visit = TcpStream::connect(&guest, "198.51.100.7:80");
        let ((), visited) = soon(async { tokio::join!(serve, visit) }).await;
        assert_eq!(visited.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn without_a_gateway_everything_is_turned_away() {
    let (guest, _stack) = guest_and_gateway();
    let error = soon(TcpStream::connect(&guest, "198.51.100.7:80"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let socket = UdpSocket::bind(&guest, "0.0.0.0:0").await.unwrap();
    socket.connect("198.51.100.7:53").await.unwrap();
    socket.send(b"anybody?").await.unwrap();
    let error = soon(socket.recv(&mut [0; 10])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn datagrams_and_echoes_are_answered_from_where_they_were_sent_to() {
    let (guest, stack) = guest_and_gateway();
    let gateway = Gateway::new(&stack);
    tokio::spawn(async move {
        while let Ok(arrival) = gateway.arrival().await {
            match arrival {
                Arrival::Datagram {
                    flow,
                    payload,
                    segment,
                } => {
                    gateway.send(flow, payload, segment).await.unwrap();
                }
                Arrival::Echo(echo) => gateway.reply(echo).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    });
    let socket = UdpSocket::bind(&guest, "0.0.0.0:0").await.unwrap();
    socket.connect("198.51.100.7:53").await.unwrap();
    socket.send(b"who is it?").await.unwrap();
    let mut buffer = [0; 100];
    let count = soon(socket.recv(&mut buffer)).await.unwrap();
    assert_eq!(&buffer[..count], b"who is it?");
    for ip in ["198.51.100.7", "2001:db8::7"] {
        let ip: IpAddr = ip.parse().unwrap();
        soon(ping(&guest, ip, b"there?")).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_knock_that_waited_too_long_is_not_admitted() {
    let (guest, stack) = guest_and_gateway();
    let gateway = Gateway::new(&stack);
    let visit = tokio::spawn(async move { TcpStream::connect(&guest, "198.51.100.7:80").await });
    let Arrival::Knock(knock) = gateway.arrival().await.unwrap() else {
        panic!("no knock");
    };
    tokio::time::sleep(Duration::from_secs(130)).await;
    let error = knock.admit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    visit.abort();
}

#[test]
fn the_example_needs_thirty_lines() {
    let example = include_str!("../examples/gateway.rs");
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    assert!(example.lines().filter(is_code).count() <= 30);
}
