//! Two stacks with one link between them.
#![allow(dead_code, reason = "each test file uses a part")]

use std::net::IpAddr;
use std::time::Duration;

use wharf_link::{AsyncLink, Capabilities, Impaired, Impairment, memory};
use wharf_net::wire::ethernet::Mac;
use wharf_socket::{Config, Stack, TcpListener, TcpStream};

/// The left host's addresses; the right one's end in 2.
pub(crate) const LEFT: [&str; 2] = ["10.0.0.1", "fd00::1"];
pub(crate) const RIGHT: [&str; 2] = ["10.0.0.2", "fd00::2"];

pub(crate) fn config(number: u8) -> Config {
    let mut config = Config::new(Mac([2, 0, 0, 0, 0, number]), [number; 32]);
    config.addresses = vec![
        format!("10.0.0.{number}/24").parse().unwrap(),
        format!("fd00::{number}/64").parse().unwrap(),
    ];
    config
}

pub(crate) fn over(
    left: impl AsyncLink + 'static,
    right: impl AsyncLink + 'static,
) -> (Stack, Stack) {
    (
        Stack::start(left, config(1)),
        Stack::start(right, config(2)),
    )
}

pub(crate) fn pair(capabilities: Capabilities) -> (Stack, Stack) {
    let (left, right) = memory::pair(256, 1500, capabilities);
    over(left, right)
}

/// Both directions suffer alike, each by dice of its own.
pub(crate) fn impaired(impairment: Impairment, seed: u64) -> (Stack, Stack) {
    let (left, right) = memory::pair(1024, 1500, Capabilities::NONE);
    over(
        Impaired::new(left, impairment, seed),
        Impaired::new(right, impairment, seed + 1),
    )
}

pub(crate) fn at(ip: &str, port: u16) -> (IpAddr, u16) {
    (ip.parse().unwrap(), port)
}

/// A connection from the left to the right.
pub(crate) async fn connected(left: &Stack, right: &Stack) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(right, at(RIGHT[0], 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(left, address), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

/// Fails instead of hanging.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what)
        .await
        .expect("it happens within a minute")
}
