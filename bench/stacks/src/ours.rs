//! wharf-net.

use std::time::Duration;

use bytes::Bytes;
use wharf_net::SocketId;
use wharf_port::Endpoint;

use crate::measure::Clock;
use crate::wire::{Kind, PLAIN, Pair};
use crate::{PIECE, REQUEST};

/// How long a stream from one host to the other takes.
pub(crate) fn stream(octets: usize, kind: Kind) -> Duration {
    let mut pair = Pair::new(kind);
    let [client, server] = connected(&mut pair);
    let piece = Bytes::from(vec![0x5a; PIECE]);
    let mut buffer = vec![0; PIECE];
    let (mut sent, mut got) = (0, 0);
    let start = Clock::now();
    while got < octets {
        while sent < octets {
            let now = pair.now;
            let piece = piece.slice(..PIECE.min(octets - sent));
            match pair.hosts[0].write(now, client, piece) {
                Ok(taken) if taken > 0 => sent += taken,
                _ => break,
            }
        }
        pair.turn();
        loop {
            let count = read(&mut pair, 1, server, &mut buffer);
            if count == 0 {
                break;
            }
            got += count;
        }
        pair.forget_events();
    }
    start.elapsed()
}

/// How long so many requests and responses take, one after the other.
pub(crate) fn trips(count: usize) -> Duration {
    let mut pair = Pair::new(PLAIN);
    let ends = connected(&mut pair);
    let request = Bytes::from(vec![1; REQUEST]);
    let mut buffer = vec![0; PIECE];
    let start = Clock::now();
    for _ in 0..count {
        for side in [0, 1] {
            let now = pair.now;
            let taken = pair.hosts[side].write(now, ends[side], request.clone());
            assert_eq!(taken, Ok(REQUEST), "there is room");
            let mut got = 0;
            while got < REQUEST {
                pair.turn();
                got += read(&mut pair, 1 - side, ends[1 - side], &mut buffer);
            }
        }
        pair.forget_events();
    }
    start.elapsed()
}

/// How long it takes to open and close so many connections, each in order from both ends, one after the other.
pub(crate) fn openings(count: usize) -> Duration {
    let mut pair = Pair::new(PLAIN);
    let listener = pair.listen(80);
    let to: Endpoint = "10.0.0.2:80".parse().expect("an address");
    let start = Clock::now();
    for _ in 0..count {
        let [client, server] = pair.connect(listener, to);
        let now = pair.now;
        pair.hosts[1].close(now, server);
        while !pair.hosts[0].is_read_closed(client) {
            pair.turn();
        }
        pair.hosts[0].close(now, client);
        pair.turn();
    }
    start.elapsed()
}

fn connected(pair: &mut Pair) -> [SocketId; 2] {
    let listener = pair.listen(80);
    pair.connect(listener, "10.0.0.2:80".parse().expect("an address"))
}

/// Reads as a program does: into a buffer of its own.
fn read(pair: &mut Pair, side: usize, socket: SocketId, buffer: &mut [u8]) -> usize {
    let now = pair.now;
    let host = &mut pair.hosts[side];
    let mut count = 0;
    for chunk in host.chunks(socket) {
        let part = chunk.len().min(buffer.len() - count);
        buffer[count..count + part].copy_from_slice(&chunk[..part]);
        count += part;
        if count == buffer.len() {
            break;
        }
    }
    if count > 0 {
        host.consume(now, socket, count);
    }
    count
}
