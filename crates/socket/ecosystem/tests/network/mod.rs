//! Two stacks with a link between them: 10.0.0.1 and 10.0.0.2.
#![allow(dead_code, reason = "each test file uses a part")]

use std::time::Duration;

use wharf_link::{AsyncLink, Capabilities, Impaired, Impairment, memory};
use wharf_net::wire::ethernet::Mac;
use wharf_socket::{Config, Stack};

pub(crate) fn host(number: u8, link: impl AsyncLink + 'static) -> Stack {
    let mut config = Config::new(Mac([2, 0, 0, 0, 0, number]), [number; 32]);
    config.addresses = vec![
        format!("10.0.0.{number}/24").parse().unwrap(),
        format!("fd00::{number}/64").parse().unwrap(),
    ];
    Stack::start(link, config)
}

pub(crate) fn pair() -> (Stack, Stack) {
    let (left, right) = memory::pair(256, 1500, Capabilities::ALL);
    (host(1, left), host(2, right))
}

/// What is sent suffers, either way.
pub(crate) fn impaired(impairment: Impairment) -> (Stack, Stack) {
    let (left, right) = memory::pair(1024, 1500, Capabilities::NONE);
    (
        host(1, Impaired::new(left, impairment, 1)),
        host(2, Impaired::new(right, impairment, 2)),
    )
}

/// Fails instead of hanging.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what)
        .await
        .expect("it happens within a minute")
}

/// Bytes that differ from place to place.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}
