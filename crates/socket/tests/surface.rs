//! What tokio's sockets offer beyond reading and writing, and ours too.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod network;

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use network::{RIGHT, at, connected, pair, soon};
use tokio::io::{AsyncWriteExt, Interest, ReadBuf, Ready};
use wharf_link::{Capabilities, memory};
use wharf_socket::{KeepAlive, Stack, TcpListener, TcpSocket, TcpStream, UdpSocket};

#[tokio::test]
async fn options_are_told_as_they_were_set() {
    let (left, right) = pair(Capabilities::ALL);
    let (stream, _server) = connected(&left, &right).await;
    assert!(!stream.nodelay().unwrap());
    stream.set_nodelay(true).unwrap();
    assert!(stream.nodelay().unwrap());
    assert_eq!(stream.keepalive().unwrap(), None);
    stream.set_keepalive(Some(KeepAlive::default())).unwrap();
    assert_eq!(stream.keepalive().unwrap(), Some(KeepAlive::default()));
    assert_eq!(stream.linger().unwrap(), None);
    stream.set_zero_linger().unwrap();
    assert_eq!(stream.linger().unwrap(), Some(Duration::ZERO));

    let socket = TcpSocket::new_v4(&left).unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.set_reuseaddr(false).unwrap();
    assert!(socket.reuseport().unwrap() && !socket.reuseaddr().unwrap());
    assert!(socket.recv_buffer_size().unwrap() > 0);
    socket.set_recv_buffer_size(12_345).unwrap();
    socket.set_send_buffer_size(54_321).unwrap();
    assert_eq!(socket.recv_buffer_size().unwrap(), 12_345);
    assert_eq!(socket.send_buffer_size().unwrap(), 54_321);
    assert!(!socket.nodelay().unwrap() && socket.keepalive().unwrap().is_none());
}

#[tokio::test]
async fn accepted_connections_have_their_listeners_options() {
    let (left, right) = pair(Capabilities::ALL);
    let socket = TcpSocket::new_v4(&right).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.bind("10.0.0.2:80").unwrap();
    let listener = socket.listen(1).unwrap();
    let _client = TcpStream::connect(&left, "10.0.0.2:80").await.unwrap();
    let (server, _) = soon(listener.accept()).await.unwrap();
    assert!(server.nodelay().unwrap());
}

#[tokio::test]
async fn listeners_that_share_a_port_share_what_comes() {
    let (left, right) = pair(Capabilities::ALL);
    let listen = || {
        let socket = TcpSocket::new_v4(&right).unwrap();
        socket.set_reuseport(true).unwrap();
        socket.bind("10.0.0.2:80").unwrap();
        socket.listen(100).unwrap()
    };
    let (one, other) = (listen(), listen());
    let mut clients = Vec::new();
    for _ in 0..64 {
        clients.push(TcpStream::connect(&left, "10.0.0.2:80").await.unwrap());
    }
    let mut waiting = Context::from_waker(Waker::noop());
    let mut count = |listener: &TcpListener| {
        let mut count = 0;
        while listener.poll_accept(&mut waiting).is_ready() {
            count += 1;
        }
        count
    };
    let (ones, others) = (count(&one), count(&other));
    assert_eq!(ones + others, 64);
    assert!(ones > 0 && others > 0, "{ones} and {others}");
}

#[tokio::test]
async fn whole_streams_and_halves_try_and_wait_alike() {
    let (left, right) = pair(Capabilities::ALL);
    let (client, mut server) = connected(&left, &right).await;
    let both = Interest::READABLE | Interest::WRITABLE;
    assert_eq!(soon(client.ready(both)).await.unwrap(), Ready::WRITABLE);
    let parts = [IoSlice::new(b"one, "), IoSlice::new(b"two, three")];
    assert_eq!(client.try_write_vectored(&parts).unwrap(), 15);
    {
        let (mut from, to) = server.split();
        soon(from.readable()).await.unwrap();
        assert_eq!(soon(from.peek(&mut [0; 4])).await.unwrap(), 4);
        let (mut first, mut second) = ([0; 3], [0; 6]);
        let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(from.try_read_vectored(&mut buffers).unwrap(), 9);
        assert_eq!((&first, &second), (b"one", b", two,"));
        let mut rest = bytes::BytesMut::with_capacity(100);
        assert_eq!(from.try_read_buf(&mut rest).unwrap(), 6);
        assert_eq!(&rest[..], b" three");
        let error = from.try_read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        soon(to.writable()).await.unwrap();
        assert_eq!(to.try_write(b"back").unwrap(), 4);
    }
    let (mut from, mut to) = client.into_split();
    let ready = soon(from.ready(Interest::READABLE)).await.unwrap();
    assert_eq!(ready, Ready::READABLE);
    let mut buffer = [0; 10];
    let mut space = ReadBuf::new(&mut buffer);
    let peeked = poll_fn(|cx| from.poll_peek(cx, &mut space));
    assert_eq!(soon(peeked).await.unwrap(), 4);
    assert_eq!(from.try_read(&mut [0; 10]).unwrap(), 4);
    to.shutdown().await.unwrap();
    assert_eq!(
        to.try_write(b"x").unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
    // The end is ready to be read.
    soon(poll_fn(|cx| server.poll_read_ready(cx)))
        .await
        .unwrap();
    assert_eq!(server.try_read(&mut [0; 1]).unwrap(), 0);
    soon(poll_fn(|cx| server.poll_write_ready(cx)))
        .await
        .unwrap();
}

#[tokio::test]
async fn datagrams_are_peeked_tried_and_appended() {
    let (left, right) = pair(Capabilities::ALL);
    let client = UdpSocket::bind(&left, "0.0.0.0:0").await.unwrap();
    let server = UdpSocket::bind(&right, "10.0.0.2:53").await.unwrap();
    let nobody = client.peer_addr().unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::NotConnected);
    client.connect("10.0.0.2:53").await.unwrap();
    assert_eq!(client.peer_addr().unwrap().to_string(), "10.0.0.2:53");
    assert_eq!(
        server.try_peek(&mut []).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    for text in ["first", "second", "third"] {
        assert_eq!(client.try_send(text.as_bytes()).unwrap(), text.len());
    }
    let from = client.local_addr().unwrap();
    soon(server.readable()).await.unwrap();
    assert_eq!(server.peek_sender().await.unwrap(), from);
    let mut buffer = [0; 3];
    for _ in 0..2 {
        assert_eq!(server.try_peek_from(&mut buffer).unwrap(), (3, from));
        assert_eq!(&buffer, b"fir");
    }
    let mut all = Vec::new();
    assert_eq!(
        soon(server.recv_buf_from(&mut all)).await.unwrap(),
        (5, from)
    );
    assert_eq!(soon(server.recv_buf(&mut all)).await.unwrap(), 6);
    let mut space = [0; 10];
    let mut space = ReadBuf::new(&mut space);
    soon(poll_fn(|cx| server.poll_recv(cx, &mut space)))
        .await
        .unwrap();
    assert_eq!(
        (&all[..], space.filled()),
        (&b"firstsecond"[..], &b"third"[..])
    );
}

#[tokio::test]
async fn a_refusal_is_told_once_by_whatever_asks_first() {
    let (left, _right) = pair(Capabilities::ALL);
    let client = UdpSocket::bind(&left, "0.0.0.0:0").await.unwrap();
    client.connect(at(RIGHT[0], 9)).await.unwrap();
    for turn in 0..2 {
        client.send(b"anybody?").await.unwrap();
        soon(client.readable()).await.unwrap();
        let refusal = match turn {
            0 => client.take_error().unwrap().unwrap(),
            _ => client.peek(&mut []).await.unwrap_err(),
        };
        assert_eq!(refusal.kind(), ErrorKind::ConnectionRefused);
        assert!(client.take_error().unwrap().is_none());
        assert_eq!(
            client.try_recv(&mut []).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    }
}

#[tokio::test]
async fn all_who_poll_for_room_are_woken() {
    // A link that takes nothing: the other end is not read.
    let (near, far) = memory::pair(1, 1500, Capabilities::NONE);
    let stack = Stack::start(near, network::config(1));
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(UdpSocket::bind(&stack, "10.0.0.1:0").await.unwrap());
    }
    // To everybody: no neighbour has to be found.
    while sockets[0].try_send_to(&[7; 100], "10.0.0.255:9").is_ok() {}
    let tasks: Vec<_> = sockets
        .into_iter()
        .map(|socket| {
            tokio::spawn(async move {
                poll_fn(|cx| socket.poll_send_ready(cx)).await.unwrap();
                let to = "10.0.0.255:9".parse().unwrap();
                poll_fn(|cx| socket.poll_send_to(cx, b"room", to))
                    .await
                    .unwrap()
            })
        })
        .collect();
    tokio::task::yield_now().await;
    let drain = Stack::start(far, network::config(2));
    for task in tasks {
        assert_eq!(soon(task).await.unwrap(), 4);
    }
    drop(drain);
}

#[tokio::test]
async fn a_polled_side_wakes_the_last_to_ask() {
    let (left, right) = pair(Capabilities::ALL);
    let (_client, server) = connected(&left, &right).await;
    let mut ignored = Context::from_waker(Waker::noop());
    assert!(matches!(
        server.poll_read_ready(&mut ignored),
        Poll::Pending
    ));
    let wait = poll_fn(|cx| server.poll_read_ready(cx));
    let (waited, wrote) = tokio::join!(soon(wait), async { _client.try_write(b"now") });
    waited.unwrap();
    assert_eq!(wrote.unwrap(), 3);
}
