//! TCP between two stacks: what a program does with listeners and streams.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod network;

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join_all;
use network::{LEFT, RIGHT, at, connected, impaired, pair, soon};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use wharf_link::{Capabilities, Impairment};
use wharf_socket::{TcpListener, TcpSocket, TcpStream};

/// The byte at a place of an endless stream.
fn byte(at: usize) -> u8 {
    (at.wrapping_mul(2_654_435_761) >> 13) as u8
}

async fn write_stream(to: &mut (impl AsyncWrite + Unpin), length: usize) {
    let mut at = 0;
    while at < length {
        let piece: Vec<u8> = (at..length.min(at + 100_000)).map(byte).collect();
        to.write_all(&piece).await.unwrap();
        at += piece.len();
    }
    to.shutdown().await.unwrap();
}

async fn read_stream(from: &mut (impl AsyncRead + Unpin), length: usize) {
    let mut buffer = vec![0; 100_000];
    let mut at = 0;
    loop {
        let count = from.read(&mut buffer).await.unwrap();
        if count == 0 {
            break;
        }
        let wrong = (0..count).find(|offset| buffer[*offset] != byte(at + offset));
        assert_eq!(wrong, None, "behind byte {at}");
        at += count;
    }
    assert_eq!(at, length);
}

/// Both ways at once, every byte checked; borrowed halves at one end, owned ones at the other.
async fn exchange(mut client: TcpStream, server: TcpStream, length: usize) {
    let (mut from_server, mut to_server) = client.split();
    let (mut from_client, mut to_client) = server.into_split();
    tokio::join!(
        write_stream(&mut to_server, length),
        read_stream(&mut from_server, length),
        write_stream(&mut to_client, length),
        read_stream(&mut from_client, length),
    );
}

#[tokio::test]
async fn sixty_four_mebibytes_go_both_ways_with_offload() {
    let (left, right) = pair(Capabilities::ALL);
    let (client, server) = connected(&left, &right).await;
    exchange(client, server, 64 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_go_both_ways_in_frames_of_1500_on_several_threads() {
    let (left, right) = pair(Capabilities::NONE);
    let (client, server) = connected(&left, &right).await;
    exchange(client, server, 8 << 20).await;
}

#[tokio::test]
async fn ipv6_carries_streams_too() {
    let (left, right) = pair(Capabilities::NONE);
    let listener = TcpListener::bind(&right, "[::]:80").await.unwrap();
    let (client, server) = tokio::join!(
        TcpStream::connect(&left, at(RIGHT[1], 80)),
        listener.accept()
    );
    let (client, (server, peer)) = (client.unwrap(), server.unwrap());
    assert_eq!(peer, client.local_addr().unwrap());
    assert_eq!(peer.ip().to_string(), LEFT[1]);
    assert_eq!(server.local_addr().unwrap(), client.peer_addr().unwrap());
    exchange(client, server, 1 << 20).await;
}

#[tokio::test]
async fn a_dual_stack_listener_names_an_ipv4_peer_by_its_ipv4_address() {
    let (left, right) = pair(Capabilities::ALL);
    let listener = TcpListener::bind(&right, "[::]:80").await.unwrap();
    let (client, server) = tokio::join!(
        TcpStream::connect(&left, at(RIGHT[0], 80)),
        listener.accept()
    );
    assert_eq!(server.unwrap().1, client.unwrap().local_addr().unwrap());
}

#[tokio::test]
async fn a_thousand_connections_at_once_each_get_their_own_bytes() {
    let (left, right) = pair(Capabilities::ALL);
    let listener = TcpListener::bind(&right, "0.0.0.0:7").await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await.unwrap();
                to.shutdown().await.unwrap();
            });
        }
    });
    let session = async |number: usize| {
        let mut stream = TcpStream::connect(&left, at(RIGHT[0], 7)).await.unwrap();
        let said: Vec<u8> = (number..number + 3000).map(byte).collect();
        stream.write_all(&said).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        assert!(heard == said, "session {number}");
    };
    soon(join_all((0..1000).map(session))).await;
}

#[tokio::test(start_paused = true)]
async fn loss_delay_reordering_and_duplication_change_no_byte() {
    let impairment = Impairment {
        loss: 0.02,
        duplication: 0.01,
        reorder: 0.02,
        reorder_by: Duration::from_millis(10),
        delay: Duration::from_millis(10),
        jitter: Duration::from_millis(2),
        ..Impairment::default()
    };
    let (left, right) = impaired(impairment, 4);
    let (client, server) = connected(&left, &right).await;
    exchange(client, server, 1 << 20).await;
}

#[tokio::test(start_paused = true)]
async fn corruption_is_noticed_and_made_good() {
    let impairment = Impairment {
        corruption: 0.02,
        delay: Duration::from_millis(5),
        ..Impairment::default()
    };
    let (left, right) = impaired(impairment, 8);
    let (client, server) = connected(&left, &right).await;
    exchange(client, server, 256 << 10).await;
}

#[tokio::test]
async fn a_closed_direction_leaves_the_other_open() {
    let (left, right) = pair(Capabilities::ALL);
    let (mut client, mut server) = connected(&left, &right).await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = String::new();
    server.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "question");
    server.write_all(b"answer").await.unwrap();
    drop(server);
    heard.clear();
    client.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "answer");
    let error = client.write_all(b"more").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn nobody_at_the_port_is_connection_refused() {
    let (left, _right) = pair(Capabilities::ALL);
    for ip in RIGHT {
        let error = TcpStream::connect(&left, at(ip, 80)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

#[tokio::test]
async fn no_way_is_network_unreachable() {
    let (left, _right) = pair(Capabilities::ALL);
    let error = TcpStream::connect(&left, "192.0.2.1:80").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
}

#[tokio::test(start_paused = true)]
async fn no_neighbour_is_host_unreachable() {
    let (left, _right) = pair(Capabilities::ALL);
    let error = TcpStream::connect(&left, "10.0.0.99:80").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HostUnreachable);
}

#[tokio::test]
async fn an_address_in_use_names_its_holder() {
    let (left, _right) = pair(Capabilities::ALL);
    let _holder = TcpListener::bind(&left, "0.0.0.0:80").await.unwrap();
    let error = TcpListener::bind(&left, "10.0.0.1:80").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let text = error.to_string();
    assert!(text.starts_with("address already in use: "), "{text}");
    assert!(text.contains("tcp/10.0.0.1:80 is taken"), "{text}");
    let error = TcpListener::bind(&left, "10.0.0.7:80").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
}

#[tokio::test]
async fn a_dropped_listener_frees_its_port_at_once() {
    let (left, _right) = pair(Capabilities::ALL);
    for _ in 0..3 {
        let listener = TcpListener::bind(&left, "10.0.0.1:80").await.unwrap();
        assert_eq!(listener.local_addr().unwrap().to_string(), "10.0.0.1:80");
    }
}

#[tokio::test]
async fn a_reset_reaches_reader_and_writer() {
    let (left, right) = pair(Capabilities::ALL);
    let (mut client, mut server) = connected(&left, &right).await;
    let read = tokio::spawn(async move {
        let error = server.read(&mut [0; 10]).await.unwrap_err();
        (error, server)
    });
    client.abort();
    let (error, mut server) = soon(read).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let error = server.write(b"late").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let error = client.read(&mut [0; 10]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
}

#[tokio::test]
async fn zero_linger_resets_when_dropped() {
    let (left, right) = pair(Capabilities::ALL);
    let (client, mut server) = connected(&left, &right).await;
    client.set_zero_linger().unwrap();
    drop(client);
    let error = soon(server.read(&mut [0; 10])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn what_was_written_before_the_drop_arrives() {
    let (left, right) = pair(Capabilities::NONE);
    let (mut client, mut server) = connected(&left, &right).await;
    let said: Vec<u8> = (0..100_000).map(byte).collect();
    client.write_all(&said).await.unwrap();
    drop(client);
    drop(left);
    let mut heard = Vec::new();
    soon(server.read_to_end(&mut heard)).await.unwrap();
    assert!(heard == said);
}

#[tokio::test]
async fn peeking_takes_nothing() {
    let (left, right) = pair(Capabilities::ALL);
    let (mut client, mut server) = connected(&left, &right).await;
    client.write_all(b"once").await.unwrap();
    let mut buffer = [0; 16];
    for _ in 0..2 {
        assert_eq!(server.peek(&mut buffer).await.unwrap(), 4);
    }
    assert_eq!(server.read(&mut buffer).await.unwrap(), 4);
    let error = server.try_read(&mut buffer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn halves_find_together_again_and_strangers_do_not() {
    let (left, right) = pair(Capabilities::ALL);
    let (client, server) = connected(&left, &right).await;
    let (read, write) = client.into_split();
    let (other_read, other_write) = server.into_split();
    let error = read.reunite(other_write).unwrap_err();
    let mut client = error.0.reunite(write).unwrap();
    let mut server = other_read.reunite(error.1).unwrap();
    client.write_all(b"whole").await.unwrap();
    let mut heard = [0; 5];
    server.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"whole");
}

#[tokio::test]
async fn a_dropped_writing_half_closes_its_direction() {
    let (left, right) = pair(Capabilities::ALL);
    let (client, mut server) = connected(&left, &right).await;
    let (mut read, write) = client.into_split();
    drop(write);
    assert_eq!(soon(server.read(&mut [0; 8])).await.unwrap(), 0);
    server.write_all(b"still").await.unwrap();
    assert_eq!(soon(read.read(&mut [0; 8])).await.unwrap(), 5);
}

#[tokio::test]
async fn a_writer_waits_for_a_reader_that_does_not_read() {
    let (left, right) = pair(Capabilities::NONE);
    let (mut client, mut server) = connected(&left, &right).await;
    server.set_recv_buffer_size(16 << 10).unwrap();
    client.set_send_buffer_size(16 << 10).unwrap();
    let data = vec![7; 8 << 20];
    let mut taken = 0;
    // What the buffers hold is taken, and not a byte more until somebody reads.
    while let Ok(count) = timeout(Duration::from_millis(200), client.write(&data)).await {
        taken += count.unwrap();
        assert!(taken < 4 << 20, "{taken} bytes were taken");
    }
    let mut read = vec![0; taken];
    soon(server.read_exact(&mut read)).await.unwrap();
    assert!(soon(client.write(&data)).await.unwrap() > 0);
}

#[tokio::test]
async fn cancelled_accepts_lose_no_connection() {
    let (left, right) = pair(Capabilities::ALL);
    let listener = TcpListener::bind(&right, "10.0.0.2:80").await.unwrap();
    for _ in 0..100 {
        let mut accept = pin!(listener.accept());
        let pending = poll_fn(|cx| Poll::Ready(accept.as_mut().poll(cx).is_pending()));
        assert!(pending.await);
    }
    let _client = TcpStream::connect(&left, "10.0.0.2:80").await.unwrap();
    soon(listener.accept()).await.unwrap();
}

#[tokio::test]
async fn cancelled_reads_and_writes_lose_and_repeat_nothing() {
    let (left, right) = pair(Capabilities::NONE);
    let (mut client, mut server) = connected(&left, &right).await;
    let length = 512 << 10;
    let writer = async {
        let mut at = 0;
        while at < length {
            let piece: Vec<u8> = (at..length.min(at + 5000)).map(byte).collect();
            // Polled once and dropped: it wrote, or it did not.
            let mut write = pin!(client.write(&piece));
            match poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx))).await {
                Poll::Ready(count) => at += count.unwrap(),
                Poll::Pending => tokio::task::yield_now().await,
            }
        }
        client.shutdown().await.unwrap();
    };
    let reader = async {
        let (mut at, mut buffer) = (0, [0; 3000]);
        loop {
            let mut read = pin!(server.read(&mut buffer));
            match poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await {
                Poll::Ready(Ok(0)) => return at,
                Poll::Ready(count) => {
                    let count = count.unwrap();
                    assert!(
                        buffer[..count]
                            .iter()
                            .enumerate()
                            .all(|(i, b)| *b == byte(at + i))
                    );
                    at += count;
                }
                Poll::Pending => tokio::task::yield_now().await,
            }
        }
    };
    let ((), read) = soon(async { tokio::join!(writer, reader) }).await;
    assert_eq!(read, length);
}

#[tokio::test]
async fn a_cancelled_connect_leaves_no_connection_behind() {
    let (left, right) = pair(Capabilities::ALL);
    let listener = TcpListener::bind(&right, "10.0.0.2:80").await.unwrap();
    let socket = TcpSocket::new_v4(&left).unwrap();
    socket.bind("10.0.0.1:5000").unwrap();
    {
        let mut connect = pin!(socket.connect("10.0.0.2:80"));
        let pending = poll_fn(|cx| Poll::Ready(connect.as_mut().poll(cx).is_pending()));
        assert!(pending.await);
    }
    // Its port is free, and the next attempt is an attempt of its own.
    let socket = TcpSocket::new_v4(&left).unwrap();
    socket.bind("10.0.0.1:5000").unwrap();
    let _stream = soon(socket.connect("10.0.0.2:80")).await.unwrap();
    let (_, peer) = soon(listener.accept()).await.unwrap();
    assert_eq!(peer.to_string(), "10.0.0.1:5000");
}

#[tokio::test]
async fn several_tasks_may_accept_from_one_listener() {
    let (left, right) = pair(Capabilities::ALL);
    let listener = TcpListener::bind(&right, "10.0.0.2:80").await.unwrap();
    let accepts = (0..10).map(|_| listener.accept());
    let connects = (0..10).map(|_| TcpStream::connect(&left, "10.0.0.2:80"));
    let (accepted, connected) =
        soon(async { tokio::join!(join_all(accepts), join_all(connects)) }).await;
    assert!(accepted.iter().all(Result::is_ok) && connected.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_stopped_stack_fails_everybody_who_waits() {
    let (left, right) = pair(Capabilities::ALL);
    let (client, mut server) = connected(&left, &right).await;
    let read = tokio::spawn(async move { server.read(&mut [0; 1]).await });
    tokio::task::yield_now().await;
    right.stop();
    let error = soon(read).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NetworkDown);
    assert!(soon(right.ended()).await.to_string().contains("stopped"));
    let error = TcpListener::bind(&right, "10.0.0.2:1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NetworkDown);
    // The other end of the cable is gone with it.
    assert!(
        soon(left.ended())
            .await
            .to_string()
            .contains("link is gone")
    );
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_stack_ends_once_its_connections_have() {
    let (left, right) = pair(Capabilities::ALL);
    let (client, server) = connected(&left, &right).await;
    drop((client, left));
    drop(server);
    // The left host leaves after TIME-WAIT, and takes its end of the link along.
    let reason = timeout(Duration::from_secs(120), right.ended())
        .await
        .unwrap();
    assert!(reason.to_string().contains("link is gone"), "{reason}");
}

#[test]
fn what_is_shared_among_threads_may_be() {
    fn check<T: Send + Sync>() {}
    fn check_future<T: Send>(_: impl FnOnce(&'static TcpListener) -> T) {}
    check::<(TcpListener, TcpStream, TcpSocket, wharf_socket::UdpSocket)>();
    check::<(
        wharf_socket::Stack,
        wharf_socket::Gateway,
        wharf_socket::Knock,
    )>();
    check_future(TcpListener::accept);
}
