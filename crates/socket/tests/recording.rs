//! A conversation written down while it takes place, and heard again by a host that was not there.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod network;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use network::{config, connected, over, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};
use wharf_link::pcap::{Direction, Pace, Reader, Recorded, Replay};
use wharf_link::{Capabilities, memory};
use wharf_socket::{Stack, UdpSocket};

/// A file in memory, for a link that a stack has.
#[derive(Clone, Default)]
struct File(Arc<Mutex<Vec<u8>>>);

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl File {
    fn content(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

/// Two stacks, of which the right one's link is recorded.
fn recorded(capabilities: Capabilities) -> (Stack, Stack, File) {
    let file = File::default();
    let (left, right) = memory::pair(256, 1500, capabilities);
    let right = Recorded::new(right, file.clone(), SystemTime::UNIX_EPOCH);
    let (left, right) = over(left, right);
    (left, right, file)
}

/// The sequence number and payload of a TCP packet over IPv4.
fn segment(frame: &[u8]) -> Option<(u32, &[u8])> {
    let ip = frame.get(14..)?;
    let length = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let tcp = ip.get(20..length)?;
    let sequence = u32::from_be_bytes(*tcp.get(4..)?.first_chunk()?);
    let offset = usize::from(tcp.get(12)? >> 4) * 4;
    (frame[12..14] == [8, 0] && ip[9] == 6).then(|| (sequence, &tcp[offset..]))
}

/// What was received in one stream, each byte at its place: a busy machine may have it sent twice.
fn stream(file: &[u8]) -> Vec<u8> {
    let mut reader = Reader::open(file).unwrap();
    let (mut first, mut stream) = (None, Vec::new());
    while let Some(packet) = reader.read().unwrap() {
        if packet.direction != Some(Direction::Inbound) {
            continue;
        }
        let Some((sequence, payload)) = segment(&packet.frame) else {
            continue;
        };
        // The first segment is the SYN, and data begins behind it.
        let first = *first.get_or_insert(sequence.wrapping_add(1));
        if payload.is_empty() {
            continue;
        }
        let at = sequence.wrapping_sub(first) as usize;
        stream.resize(stream.len().max(at + payload.len()), 0);
        stream[at..at + payload.len()].copy_from_slice(payload);
    }
    stream
}

#[tokio::test]
async fn every_byte_of_a_connection_is_in_its_recording() {
    for capabilities in [Capabilities::NONE, Capabilities::ALL] {
        let (left, right, file) = recorded(capabilities);
        let (mut client, mut server) = connected(&left, &right).await;
        let said: Vec<u8> = (0..200_000_u32).map(|at| (at / 251 + at) as u8).collect();
        let write = async {
            client.write_all(&said).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let mut heard = Vec::new();
        let ((), read) = soon(async { tokio::join!(write, server.read_to_end(&mut heard)) }).await;
        assert_eq!(read.unwrap(), said.len());
        let recorded = stream(&file.content());
        assert!(
            recorded == said,
            "{} of {} bytes",
            recorded.len(),
            said.len()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_speaks_at_the_recordings_pace() {
    let (left, right, file) = recorded(Capabilities::ALL);
    let (client, server) = (
        UdpSocket::bind(&left, "10.0.0.1:1000").await.unwrap(),
        UdpSocket::bind(&right, "10.0.0.2:53").await.unwrap(),
    );
    for number in 0..5 {
        client.send_to(&[number], "10.0.0.2:53").await.unwrap();
        soon(server.recv_whole()).await.unwrap();
        sleep(Duration::from_millis(700)).await;
    }
    left.stop();

    let file = io::Cursor::new(file.content());
    let link = Replay::open(file, Pace::AsRecorded, 1500).unwrap();
    let stack = Stack::start(link, config(2));
    let socket = UdpSocket::bind(&stack, "10.0.0.2:53").await.unwrap();
    let start = Instant::now();
    for number in 0..5 {
        let received = soon(socket.recv_whole()).await.unwrap();
        assert_eq!(received.payload[..], [number]);
        assert_eq!(received.source().to_string(), "10.0.0.1:1000");
        let late = start
            .elapsed()
            .as_millis()
            .abs_diff(700 * u128::from(number));
        assert!(late < 10, "{late} ms off");
    }
}
