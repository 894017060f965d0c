//! quinn at both ends, over our UDP.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod certificate;
mod network;

use std::sync::Arc;
use std::time::Duration;

use certificate::{NAME, configurations};
use network::{bytes, impaired, pair, soon};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, ServerConfig};
use wharf_ecosystem::quic::endpoint;
use wharf_link::Impairment;
use wharf_socket::{Stack, UdpSocket};

/// A client and a server that know each other.
async fn endpoints(left: &Stack, right: &Stack) -> (Endpoint, Endpoint) {
    let (server, client) = configurations();
    let server = QuicServerConfig::try_from(server).unwrap();
    let server = ServerConfig::with_crypto(Arc::new(server));
    let socket = UdpSocket::bind(right, "10.0.0.2:443").await.unwrap();
    let server = endpoint(socket, Some(server)).unwrap();
    let socket = UdpSocket::bind(left, "10.0.0.1:0").await.unwrap();
    let mut visitor = endpoint(socket, None).unwrap();
    let client = QuicClientConfig::try_from(client).unwrap();
    visitor.set_default_client_config(ClientConfig::new(Arc::new(client)));
    (visitor, server)
}

/// Sends everything back on each stream of one connection.
async fn echo(server: Endpoint) {
    let connection = server.accept().await.unwrap().await.unwrap();
    while let Ok((mut to, mut from)) = connection.accept_bi().await {
        tokio::spawn(async move {
            let heard = from.read_to_end(usize::MAX).await.unwrap();
            to.write_all(&heard).await.unwrap();
            to.finish().unwrap();
        });
    }
}

async fn exchange(client: &Endpoint, streams: usize, length: usize) {
    let to = "10.0.0.2:443".parse().unwrap();
    let connection = client.connect(to, NAME).unwrap().await.unwrap();
    let said = Arc::new(bytes(length));
    let mut tasks = Vec::new();
    for _ in 0..streams {
        let (mut to, mut from) = connection.open_bi().await.unwrap();
        let said = Arc::clone(&said);
        tasks.push(tokio::spawn(async move {
            to.write_all(&said).await.unwrap();
            to.finish().unwrap();
            assert!(from.read_to_end(usize::MAX).await.unwrap() == *said);
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    connection.close(0_u8.into(), b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_streams_share_a_connection() {
    let (left, right) = pair();
    let (client, server) = endpoints(&left, &right).await;
    tokio::spawn(echo(server));
    soon(exchange(&client, 8, 256 << 10)).await;
    soon(client.wait_idle()).await;
}

#[tokio::test]
async fn loss_and_reordering_change_no_byte() {
    let (left, right) = impaired(Impairment {
        loss: 0.01,
        reorder: 0.02,
        reorder_by: Duration::from_millis(3),
        delay: Duration::from_millis(2),
        ..Impairment::default()
    });
    let (client, server) = endpoints(&left, &right).await;
    tokio::spawn(echo(server));
    soon(exchange(&client, 2, 64 << 10)).await;
}
