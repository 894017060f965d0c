//! One stack with a foot on each of two networks.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod network;

use network::soon;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wharf_link::{Capabilities, Joined, memory};
use wharf_net::Route;
use wharf_net::wire::ethernet::Mac;
use wharf_socket::{Arrival, Config, Gateway, Interface, Stack, TcpListener, TcpSocket, TcpStream};

fn host(number: u8, addresses: &[&str]) -> Config {
    let mut config = Config::new(Mac([2, 0, 0, 0, 0, number]), [number; 32]);
    config.addresses = addresses.iter().map(|own| own.parse().unwrap()).collect();
    config
}

/// A neighbour on each network, and the host on both; what lies behind the right one is reached through it.
fn three() -> (Stack, Stack, Stack) {
    let (left, to_left) = memory::pair(256, 1500, Capabilities::ALL);
    let (right, to_right) = memory::pair(256, 1500, Capabilities::NONE);
    let mut middle = host(1, &["10.0.0.1/24", "10.1.0.1/24", "fd01::1/64"]);
    middle.routes.push(Route {
        network: "0.0.0.0/0".parse().unwrap(),
        gateway: "10.1.0.2".parse().unwrap(),
    });
    let mut beyond = host(3, &["10.1.0.2/24", "fd01::2/64"]);
    beyond.accept_anything = true;
    beyond.proxy = false;
    (
        Stack::start(left, host(2, &["10.0.0.2/24"])),
        Stack::start(Joined::new(to_left).and(to_right), middle),
        Stack::start(right, beyond),
    )
}

async fn echo(stack: &Stack, address: &str) {
    let listener = TcpListener::bind(stack, address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await?;
                to.shutdown().await
            });
        }
    });
}

async fn talk(from: &Stack, to: &str, own: &str) {
    let mut stream = TcpStream::connect(from, to).await.unwrap();
    assert_eq!(stream.local_addr().unwrap().ip().to_string(), own);
    let said = vec![7; 300_000];
    let (mut read, mut write) = stream.split();
    let mut heard = Vec::new();
    let talk = async {
        let write = async {
            write.write_all(&said).await.unwrap();
            write.shutdown().await.unwrap();
        };
        tokio::join!(write, read.read_to_end(&mut heard)).1.unwrap()
    };
    soon(talk).await;
    assert!(heard == said);
}

#[tokio::test]
async fn each_network_is_reached_from_the_address_on_it() {
    let (left, middle, right) = three();
    echo(&left, "10.0.0.2:7").await;
    echo(&right, "[::]:7").await;
    echo(&middle, "[::]:7").await;
    tokio::join!(
        talk(&middle, "10.0.0.2:7", "10.0.0.1"),
        talk(&middle, "10.1.0.2:7", "10.1.0.1"),
        talk(&middle, "[fd01::2]:7", "fd01::1"),
        talk(&left, "10.0.0.1:7", "10.0.0.2"),
        talk(&right, "10.1.0.1:7", "10.1.0.2"),
    );
}

#[tokio::test]
async fn everything_else_lies_behind_the_gateway() {
    let (_left, middle, right) = three();
    let gateway = Gateway::new(&right);
    let visit = TcpStream::connect(&middle, "192.0.2.7:80");
    let welcome = async {
        let Arrival::Knock(knock) = gateway.arrival().await.unwrap() else {
            panic!("no knock");
        };
        assert_eq!(knock.flow().local.to_string(), "192.0.2.7:80");
        knock.admit().await.unwrap()
    };
    let (visited, _welcomed) = soon(async { tokio::join!(visit, welcome) }).await;
    visited.unwrap();
}

#[tokio::test]
async fn one_network_goes_and_the_other_stays() {
    let (left, middle, right) = three();
    echo(&right, "10.1.0.2:7").await;
    echo(&middle, "0.0.0.0:7").await;
    talk(&left, "10.0.0.1:7", "10.0.0.2").await;
    left.stop();
    soon(left.ended()).await;
    talk(&middle, "10.1.0.2:7", "10.1.0.1").await;
    right.stop();
    let reason = soon(middle.ended()).await;
    assert!(reason.to_string().contains("its link is gone"), "{reason}");
}

/// Both links in the same network, of different MTU: each address is reached by its link, and answers there.
#[tokio::test]
async fn links_of_one_host_keep_their_addresses_apart() {
    let (left, to_left) = memory::pair(256, 1500, Capabilities::ALL);
    let (right, to_right) = memory::pair(256, 9000, Capabilities::NONE);
    let mut second = Interface::new(Mac([2, 0, 0, 0, 0, 9]));
    second.addresses = vec!["10.0.0.9/24".parse().unwrap()];
    let middle = Stack::start_on(
        to_left,
        vec![(second, Box::new(to_right))],
        host(1, &["10.0.0.1/24"]),
    );
    let left = Stack::start(left, host(2, &["10.0.0.2/24"]));
    let right = Stack::start(right, host(3, &["10.0.0.3/24"]));
    echo(&middle, "0.0.0.0:7").await;
    echo(&right, "10.0.0.3:7").await;
    tokio::join!(
        talk(&left, "10.0.0.1:7", "10.0.0.2"),
        talk(&right, "10.0.0.9:7", "10.0.0.3"),
    );
    // The other's address is not there to be reached.
    let lost = TcpStream::connect(&left, "10.0.0.9:7");
    assert!(soon(lost).await.is_err());
    // Bound to the address of a link, a connection leaves by it.
    let socket = TcpSocket::new_v4(&middle).unwrap();
    socket.bind("10.0.0.9:0").unwrap();
    soon(socket.connect("10.0.0.3:7")).await.unwrap();
    // One link goes, the other stays.
    left.stop();
    soon(left.ended()).await;
    talk(&right, "10.0.0.9:7", "10.0.0.3").await;
    right.stop();
    let reason = soon(middle.ended()).await;
    assert!(reason.to_string().contains("its link is gone"), "{reason}");
}
