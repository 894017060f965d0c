//! tcp_ip: two stacks of tasks on one thread, packets carried between them in batches, as its own example does.

use std::net::SocketAddr;
use std::time::Duration;

use tcp_ip::tcp::{TcpListener, TcpStream};
use tcp_ip::{IpStackConfig, IpStackRecv, IpStackSend, ip_stack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::measure::Clock;
use crate::{PIECE, REQUEST};

const MTU: u16 = 1500;
/// Packets handed over at once.
const BATCH: usize = 128;

/// How long a stream from one host to the other takes.
pub(crate) fn stream(octets: usize) -> Duration {
    on_a_thread(async move {
        let (mut client, mut server) = connected().await;
        let start = Clock::now();
        let sending = tokio::spawn(async move {
            let piece = vec![0x5a; PIECE];
            let mut left = octets;
            while left > 0 {
                let count = PIECE.min(left);
                client.write_all(&piece[..count]).await.expect("it is open");
                left -= count;
            }
            client
        });
        let mut buffer = vec![0; PIECE];
        let mut got = 0;
        while got < octets {
            let count = server.read(&mut buffer).await.expect("it is open");
            assert!(count > 0, "the stream ended after {got} octets");
            got += count;
        }
        let time = start.elapsed();
        drop(sending.await);
        time
    })
}

/// How long so many requests and responses take, one after the other.
pub(crate) fn trips(count: usize) -> Duration {
    on_a_thread(async move {
        let (mut client, mut server) = connected().await;
        let responding = tokio::spawn(async move {
            let mut buffer = [0; REQUEST];
            for _ in 0..count {
                server.read_exact(&mut buffer).await.expect("it is open");
                server.write_all(&buffer).await.expect("it is open");
            }
            server
        });
        let mut buffer = [0; REQUEST];
        let start = Clock::now();
        for _ in 0..count {
            client.write_all(&buffer).await.expect("it is open");
            client.read_exact(&mut buffer).await.expect("it is open");
        }
        let time = start.elapsed();
        drop(responding.await);
        time
    })
}

fn on_a_thread(measure: impl Future<Output = Duration>) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime").block_on(measure)
}

async fn connected() -> (TcpStream, TcpStream) {
    let config = IpStackConfig::builder().mtu(MTU).build();
    let (here, here_send, here_receive) = ip_stack(config).expect("a stack");
    let (there, there_send, there_receive) = ip_stack(config).expect("a stack");
    tokio::spawn(carry(here_receive, there_send));
    tokio::spawn(carry(there_receive, here_send));
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let to = address("10.0.0.2:80");
    let mut listener = TcpListener::bind(there, to).await.expect("it is free");
    let accepting = tokio::spawn(async move { listener.accept().await.expect("a connection").0 });
    let client = TcpStream::bind(here, address("10.0.0.1:0")).expect("a port is free");
    let client = client.connect_to(to).await.expect("it listens");
    (client, accepting.await.expect("it ends"))
}

async fn carry(mut from: IpStackRecv, to: IpStackSend) {
    let mut packets = vec![vec![0; usize::from(MTU)]; BATCH];
    let mut sizes = vec![0; BATCH];
    while let Ok(count) = from.recv_ip_packet(&mut packets, &mut sizes).await {
        for (packet, size) in packets.iter().zip(&sizes).take(count) {
            if to.send_ip_packet(&packet[..*size]).await.is_err() {
                return;
            }
        }
    }
}
