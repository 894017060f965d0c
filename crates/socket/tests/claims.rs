//! What the documentation claims and no other test shows: errors, cancelling, back-pressure, threads, ends.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod network;

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join_all;
use network::{RIGHT, at, config, connected, pair, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use wharf_link::{Capabilities, memory};
use wharf_port::Port;
use wharf_socket::{
    Arrival, Gateway, Stack, TcpListener, TcpSocket, TcpStream, UdpSocket, holder, ping,
};

/// Polls once, finds it pending, and drops it.
async fn give_up<T>(what: impl Future<Output = T>) {
    let mut what = pin!(what);
    let pending = poll_fn(|cx| Poll::Ready(what.as_mut().poll(cx).is_pending()));
    assert!(pending.await, "it was ready");
}

#[tokio::test]
async fn an_error_has_the_holder_inside() {
    let (left, right) = pair(Capabilities::ALL);
    let _listener = TcpListener::bind(&left, "0.0.0.0:80").await.unwrap();
    let error = TcpListener::bind(&left, "10.0.0.1:80").await.unwrap_err();
    let held = holder(&error).unwrap();
    assert_eq!(held.port, Port::new(80));
    assert_eq!(held.state, wharf_port::table::State::Listening);

    let _datagrams = UdpSocket::bind(&left, "10.0.0.1:53").await.unwrap();
    let error = UdpSocket::bind(&left, "10.0.0.1:53").await.unwrap_err();
    assert_eq!(holder(&error).unwrap().protocol, wharf_port::Protocol::Udp);

    // Two at the same address, with reuse: the first to listen holds it.
    let bound = || {
        let socket = TcpSocket::new_v4(&left).unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("10.0.0.1:81").unwrap();
        socket
    };
    let (first, second) = (bound(), bound());
    let _first = first.listen(1).unwrap();
    let error = second.listen(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(holder(&error).is_some());

    // The same flow once more.
    let listener = TcpListener::bind(&right, "10.0.0.2:80").await.unwrap();
    let from = || {
        let socket = TcpSocket::new_v4(&left).unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("10.0.0.1:4000").unwrap();
        socket
    };
    let (one, two) = (from(), from());
    let _stream = one.connect("10.0.0.2:80").await.unwrap();
    let error = two.connect("10.0.0.2:80").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    assert!(holder(&error).is_some());
    drop(listener);

    let error = TcpListener::bind(&left, "10.9.9.9:80").await.unwrap_err();
    assert!(holder(&error).is_none());
}

#[tokio::test]
async fn dropping_a_stream_with_unread_data_resets() {
    let (left, right) = pair(Capabilities::ALL);
    let (client, mut server) = connected(&left, &right).await;
    server.write_all(b"unread").await.unwrap();
    soon(client.readable()).await.unwrap();
    drop(client);
    let error = soon(server.read(&mut [0; 1])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn shutting_down_twice_is_once() {
    let (left, right) = pair(Capabilities::ALL);
    let (mut client, mut server) = connected(&left, &right).await;
    client.write_all(b"all").await.unwrap();
    client.shutdown().await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    soon(server.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"all");
    // The end stays the end.
    assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0);
    server.shutdown().await.unwrap();
    assert_eq!(soon(client.read(&mut [0; 1])).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_n_takes_n_and_one_and_the_rest_waits_its_turn() {
    let (left, right) = pair(Capabilities::ALL);
    let socket = TcpSocket::new_v4(&right).unwrap();
    socket.bind("10.0.0.2:80").unwrap();
    let listener = socket.listen(2).unwrap();
    let mut connected = Vec::new();
    for _ in 0..3 {
        connected.push(
            soon(TcpStream::connect(&left, "10.0.0.2:80"))
                .await
                .unwrap(),
        );
    }
    let mut fourth = pin!(TcpStream::connect(&left, "10.0.0.2:80"));
    let early = timeout(Duration::from_millis(500), &mut fourth).await;
    assert!(early.is_err(), "there was room for a fourth");
    soon(listener.accept()).await.unwrap();
    // Its next SYN finds room.
    soon(fourth).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_send_has_sent_nothing() {
    let (near, far) = memory::pair(1, 1500, Capabilities::NONE);
    let stack = Stack::start(near, config(1));
    let socket = UdpSocket::bind(&stack, "10.0.0.1:1000").await.unwrap();
    let mut sent = 0_u32;
    while socket
        .try_send_to(&sent.to_be_bytes(), "10.0.0.255:9")
        .is_ok()
    {
        sent += 1;
    }
    for _ in 0..10 {
        give_up(socket.send_to(b"never", "10.0.0.255:9")).await;
    }
    let other = Stack::start(far, config(2));
    let ear = UdpSocket::bind(&other, "0.0.0.0:9").await.unwrap();
    ear.set_recv_buffer_size(64 << 20).unwrap();
    soon(socket.send_to(b"last", "10.0.0.255:9")).await.unwrap();
    let mut numbers = 0;
    loop {
        let received = soon(ear.recv_whole()).await.unwrap();
        if received.payload == b"last"[..] {
            break;
        }
        assert_eq!(received.payload.len(), 4);
        assert_ne!(received.payload, b"never"[..4]);
        numbers += 1;
    }
    assert!(numbers <= sent);
}

#[tokio::test]
async fn a_cancelled_arrival_is_the_next_ones() {
    let (left, right) = memory::pair(256, 1500, Capabilities::ALL);
    let mut accepting = config(1);
    accepting.accept_anything = true;
    let stack = Stack::start(left, accepting);
    let gateway = Gateway::new(&stack);
    let guest = Stack::start(right, config(2));
    for _ in 0..20 {
        give_up(gateway.arrival()).await;
    }
    let visit = tokio::spawn(async move { TcpStream::connect(&guest, "10.0.0.77:80").await });
    let Arrival::Knock(knock) = soon(gateway.arrival()).await.unwrap() else {
        panic!("no knock");
    };
    // An answer that nobody waits for any more is a connection that is closed at once.
    give_up(knock.admit()).await;
    let mut stream = soon(visit).await.unwrap().unwrap();
    assert_eq!(soon(stream.read(&mut [0; 1])).await.unwrap(), 0);
}

#[tokio::test]
async fn a_stack_that_ends_tells_everybody_who_waits() {
    let (left, right) = pair(Capabilities::ALL);
    let (client, _server) = connected(&left, &right).await;
    let listener = TcpListener::bind(&left, "10.0.0.1:80").await.unwrap();
    let socket = UdpSocket::bind(&left, "10.0.0.1:53").await.unwrap();
    let gateway = Gateway::new(&left);
    let kinds = async {
        tokio::join!(
            async { listener.accept().await.unwrap_err().kind() },
            async { socket.recv_whole().await.unwrap_err().kind() },
            async { gateway.arrival().await.unwrap_err().kind() },
            async { client.readable().await.unwrap_err().kind() },
            async {
                ping(&left, [10, 0, 0, 99].into(), b"")
                    .await
                    .unwrap_err()
                    .kind()
            },
            async {
                TcpStream::connect(&left, "10.0.0.98:1")
                    .await
                    .unwrap_err()
                    .kind()
            },
            async {
                tokio::task::yield_now().await;
                left.stop();
            },
        )
    };
    let (accept, receive, arrival, readable, echo, connect, ()) = soon(kinds).await;
    for kind in [accept, receive, arrival, readable, echo, connect] {
        assert_eq!(kind, ErrorKind::NetworkDown);
    }
}

#[test]
fn sockets_outlive_their_runtime_and_say_so() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let first = runtime();
    let (stack, socket) = first.block_on(async {
        let (near, _far) = memory::pair(8, 1500, Capabilities::NONE);
        let stack = Stack::start(near, config(1));
        let socket = UdpSocket::bind(&stack, "10.0.0.1:53").await.unwrap();
        (stack, socket)
    });
    drop(first);
    runtime().block_on(async {
        let error = socket.recv_whole().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NetworkDown);
        assert!(stack.ended().await.to_string().contains("ended"));
    });
}

/// Connections, datagrams and pings from many tasks on four threads, some of them given up half-way.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_share_a_stack() {
    let (left, right) = pair(Capabilities::NONE);
    let listener = TcpListener::bind(&right, "[::]:7").await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.into_split();
                // Some of them are reset.
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    let echo = Arc::new(UdpSocket::bind(&right, "[::]:7").await.unwrap());
    for _ in 0..4 {
        let echo = Arc::clone(&echo);
        tokio::spawn(async move {
            while let Ok(received) = echo.recv_whole().await {
                echo.send_to(&received.payload, received.sender().unwrap())
                    .await
                    .unwrap();
            }
        });
    }
    let session = |number: usize| {
        let left = left.clone();
        tokio::spawn(async move {
            let to = at(RIGHT[number % 2], 7);
            let mut stream = TcpStream::connect(&left, to).await.unwrap();
            let said = vec![number as u8; 20_000];
            if number.is_multiple_of(5) {
                return give_up(stream.read(&mut [0; 1])).await;
            }
            stream.write_all(&said).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.unwrap();
            assert!(heard == said);
            let socket = UdpSocket::bind(&left, ("::".parse::<std::net::IpAddr>().unwrap(), 0));
            let socket = socket.await.unwrap();
            socket.connect(to).await.unwrap();
            socket.send(&said[..1000]).await.unwrap();
            assert_eq!(socket.recv_whole().await.unwrap().payload, said[..1000]);
            ping(&left, to.0, &said[..number]).await.unwrap();
        })
    };
    for done in soon(join_all((0..200).map(session))).await {
        done.unwrap();
    }
}
