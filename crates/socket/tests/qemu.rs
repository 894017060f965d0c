//! Stacks over Unix sockets, as QEMU has them: one peer after the other, and whatever it sends.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod network;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use network::{config, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wharf_link::qemu;
use wharf_net::Discard;
use wharf_socket::{Descriptor, QemuServer, Stack, TcpListener, TcpStream, UdpSocket};

async fn talk(listener: &TcpListener, client: &Stack) {
    let visit = async {
        let mut stream = TcpStream::connect(client, "10.0.0.1:80").await.unwrap();
        stream.write_all(&[7; 300_000]).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    };
    let host = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, [7; 300_000]);
    };
    soon(async { tokio::join!(visit, host) }).await;
}

#[tokio::test]
async fn a_new_peer_may_come_after_one_that_has_left_or_talked_nonsense() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("link");
    let server = Stack::start(QemuServer::bind(&path, 1500).unwrap(), config(1));
    let listener = TcpListener::bind(&server, "10.0.0.1:80").await.unwrap();

    for number in 2..4 {
        let link = Descriptor::new(qemu::Stream::connect(&path, 1500).unwrap()).unwrap();
        let client = Stack::start(link, config(number));
        talk(&listener, &client).await;
        client.stop();
        soon(client.ended()).await;

        let mut nonsense = UnixStream::connect(&path).unwrap();
        nonsense.write_all(&[0, 0, 0, 3, 1, 2, 3]).unwrap();
        nonsense.write_all(b"SSH-2.0-").unwrap();
        // Cut off by the host: reading ends.
        nonsense.set_nonblocking(true).unwrap();
        let mut nonsense = tokio::net::UnixStream::from_std(nonsense).unwrap();
        let mut rest = Vec::new();
        let _ = soon(nonsense.read_to_end(&mut rest)).await;
    }
}

#[tokio::test]
async fn a_second_peer_waits_until_the_first_has_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("link");
    let server = Stack::start(QemuServer::bind(&path, 1500).unwrap(), config(1));
    let listener = TcpListener::bind(&server, "10.0.0.1:80").await.unwrap();
    let stack = |number| {
        let link = qemu::Stream::connect(&path, 1500).unwrap();
        Stack::start(Descriptor::new(link).unwrap(), config(number))
    };
    let first = stack(2);
    talk(&listener, &first).await;
    let second = stack(3);
    let mut knock = Box::pin(TcpStream::connect(&second, "10.0.0.1:80"));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut knock).await;
    assert!(early.is_err());
    first.stop();
    drop(knock);
    talk(&listener, &second).await;
}

/// An Ethernet frame behind its length, from 10.0.0.9.
fn framed(ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let mut wire = (14 + packet.len() as u32).to_be_bytes().to_vec();
    wire.extend_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9]);
    wire.extend_from_slice(&ethertype.to_be_bytes());
    wire.extend_from_slice(packet);
    wire
}

/// Who has 10.0.0.1? It is to tell 10.0.0.9.
fn question() -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 9];
    packet.extend_from_slice(&[0, 0, 0, 0, 0, 0, 10, 0, 0, 1]);
    framed(0x0806, &packet)
}

/// One byte for port 53 of 10.0.0.1.
fn datagram(byte: u8) -> Vec<u8> {
    // Header checksum 0x66c7: the rest of the header never changes. UDP without a checksum.
    let mut packet = vec![0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0x66, 0xc7];
    packet.extend_from_slice(&[10, 0, 0, 9, 10, 0, 0, 1, 4, 0, 0, 53, 0, 9, 0, 0, byte]);
    framed(0x0800, &packet)
}

#[tokio::test]
async fn what_a_peer_sent_before_it_left_is_received() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("link");
    let server = Stack::start(QemuServer::bind(&path, 1500).unwrap(), config(1));
    let socket = UdpSocket::bind(&server, "10.0.0.1:53").await.unwrap();
    // The answer to the question finds nobody any more, with most of the rest still unread.
    let mut wire = question();
    wire.extend((0..200).flat_map(datagram));
    let mut peer = UnixStream::connect(&path).unwrap();
    peer.write_all(&wire).unwrap();
    drop(peer);
    for number in 0..200 {
        let received = soon(socket.recv_whole()).await.unwrap();
        assert_eq!(received.payload[..], [number]);
    }
}

#[tokio::test]
async fn a_link_that_is_gone_is_read_to_its_end() {
    let (here, mut there) = UnixStream::pair().unwrap();
    let mut wire = question();
    wire.extend((0..200).flat_map(datagram));
    there.write_all(&wire).unwrap();
    drop(there);
    let link = Descriptor::new(qemu::Stream::new(here, 1500).unwrap()).unwrap();
    let stack = Stack::start(link, config(1));
    let error = soon(stack.ended()).await;
    assert!(error.to_string().contains("its link is gone"), "{error}");
    assert_eq!(stack.discards().of(Discard::NoSocket), 200);
}
