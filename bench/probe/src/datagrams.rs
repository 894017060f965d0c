//! Datagrams per second, as many as one thread sends; what counts is what arrives.
//!
//! A datagram's first byte says what it is. A train is several datagrams in one call (UDP_SEGMENT, UDP_GRO), as QUIC sends them.

use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};

/// Payload that is counted.
const DATA: u8 = 0;
/// Asks how many came since the last such question; the answer is the same byte and a number.
const COUNT: u8 = 1;
/// Asks for data for a while.
const SEND: u8 = 2;

/// Octets of the largest train.
const TRAIN: usize = 64_000;
/// How long a question waits for its answer, and how often it is asked.
const PATIENCE: (Duration, usize) = (Duration::from_millis(100), 30);
/// How long nothing has come when everything has.
const SILENCE: Duration = Duration::from_millis(300);
/// Clients whose counts are kept.
const CLIENTS: usize = 64;

/// What is sent, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Octets of one datagram, at least 16.
    pub(crate) size: usize,
    /// Datagrams of one call.
    pub(crate) train: usize,
    pub(crate) time: Duration,
}

impl Load {
    fn to_bytes(self) -> [u8; 13] {
        let mut bytes = [SEND; 13];
        let numbers = [
            self.size as u32,
            self.train as u32,
            self.time.as_millis() as u32,
        ];
        for (place, number) in bytes[1..].chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let numbers: Vec<u32> = bytes
            .get(1..13)?
            .chunks_exact(4)
            .map(|number| u32::from_le_bytes(number.try_into().expect("it is four octets")))
            .collect();
        Some(Self {
            size: numbers[0] as usize,
            train: numbers[1] as usize,
            time: Duration::from_millis(numbers[2].into()),
        })
    }

    fn payload(self) -> Vec<u8> {
        vec![DATA; (self.size * self.train).min(TRAIN)]
    }
}

/// Counts and sends for whoever asks, in a thread of its own.
pub(crate) fn serve_in_background(socket: UdpSocket) {
    let socket = Arc::new(socket);
    thread::spawn(move || {
        let mut counts = HashMap::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            // What a client's host reports of its end is no reason to stop.
            if let Ok((peer, message, datagrams)) = receive(&socket, &mut buffer) {
                answer(&socket, &mut counts, peer, message, datagrams);
            }
        }
    });
}

fn answer(
    socket: &Arc<UdpSocket>,
    counts: &mut HashMap<SocketAddr, u64>,
    peer: SocketAddr,
    message: &[u8],
    datagrams: u64,
) {
    match message.first() {
        Some(&DATA) => {
            if counts.len() >= CLIENTS && !counts.contains_key(&peer) {
                counts.clear();
            }
            *counts.entry(peer).or_default() += datagrams;
        }
        Some(&COUNT) => {
            let mut told = vec![COUNT];
            told.extend(counts.remove(&peer).unwrap_or(0).to_le_bytes());
            socket.send_to(&told, peer).ok();
        }
        _ => {
            if let Some(load) = Load::from_bytes(message) {
                let socket = Arc::clone(socket);
                thread::spawn(move || send(&socket, Some(peer), load));
            }
        }
    }
}

/// Datagrams that arrived at the server per second.
pub(crate) fn outward(server: SocketAddr, load: Load) -> io::Result<f64> {
    let socket = connected(server)?;
    count(&socket)?;
    let took = send(&socket, None, load)?;
    Ok(count(&socket)? as f64 / took.as_secs_f64())
}

/// Datagrams that arrived here per second.
pub(crate) fn inward(server: SocketAddr, load: Load) -> io::Result<f64> {
    let socket = connected(server)?;
    if load.train > 1 {
        setsockopt(&socket, sockopt::UdpGroSegment, &true)?;
    }
    socket.send(&load.to_bytes())?;
    socket.set_read_timeout(Some(SILENCE))?;
    let (mut buffer, mut datagrams) = (vec![0; 1 << 16], 0);
    let (mut first, mut last) = (None, Instant::now());
    // A server that never stops doesn't keep this up.
    let end = Instant::now() + 3 * load.time + SILENCE;
    while Instant::now() < end {
        match receive(&socket, &mut buffer) {
            Ok((_, _, more)) => {
                datagrams += more;
                last = Instant::now();
                first.get_or_insert(last);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    let first = first.ok_or_else(|| io::Error::other("nothing came"))?;
    Ok(datagrams as f64 / (last - first).max(load.time / 2).as_secs_f64())
}

fn connected(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = if server.is_ipv4() {
        ([0; 4], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    Ok(socket)
}

/// How many came to the server since the last question.
fn count(socket: &UdpSocket) -> io::Result<u64> {
    socket.set_read_timeout(Some(PATIENCE.0))?;
    let mut answer = [0; 9];
    for _ in 0..PATIENCE.1 {
        socket.send(&[COUNT])?;
        match socket.recv(&mut answer) {
            Ok(9) => {
                return Ok(u64::from_le_bytes(
                    answer[1..].try_into().expect("eight octets"),
                ));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(
        ErrorKind::TimedOut,
        "the server doesn't say how many came",
    ))
}

/// Sends as fast as it goes; says how long that took.
fn send(socket: &UdpSocket, peer: Option<SocketAddr>, load: Load) -> io::Result<Duration> {
    let payload = load.payload();
    let size = u16::try_from(load.size).map_err(io::Error::other)?;
    let segments = [ControlMessage::UdpGsoSegments(&size)];
    let control = if load.train > 1 { &segments[..] } else { &[] };
    let peer = peer.map(SockaddrStorage::from);
    let begun = Instant::now();
    while begun.elapsed() < load.time {
        let slices = [IoSlice::new(&payload)];
        match sendmsg(
            socket.as_raw_fd(),
            &slices,
            control,
            MsgFlags::empty(),
            peer.as_ref(),
        ) {
            Ok(_) | Err(nix::Error::ENOBUFS | nix::Error::EAGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(begun.elapsed())
}

/// One datagram or one train, and of how many it consists.
fn receive<'a>(
    socket: &UdpSocket,
    buffer: &'a mut [u8],
) -> io::Result<(SocketAddr, &'a [u8], u64)> {
    let mut control = nix::cmsg_space!(i32);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let segment = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::UdpGroSegments(size) => u64::try_from(size).ok(),
        _ => None,
    });
    let length = message.bytes;
    let peer = message
        .address
        .and_then(to_std)
        .ok_or_else(|| io::Error::other("no sender"))?;
    let datagrams = segment.map_or(1, |size| (length as u64).div_ceil(size.max(1)));
    Ok((peer, &buffer[..length], datagrams))
}

fn to_std(address: SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|v6| SocketAddr::V6((*v6).into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_is_counted_both_ways_and_in_trains() {
        for train in [1, 10] {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            setsockopt(&socket, sockopt::UdpGroSegment, &(train > 1)).unwrap();
            let server = socket.local_addr().unwrap();
            serve_in_background(socket);
            let load = Load {
                size: 64,
                train,
                time: Duration::from_millis(30),
            };
            assert!(outward(server, load).unwrap() > 0.0);
            assert!(inward(server, load).unwrap() > 0.0);
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_an_error() {
        let gone = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let load = Load {
            size: 64,
            train: 1,
            time: Duration::from_millis(10),
        };
        outward(gone, load).unwrap_err();
        inward(gone, load).unwrap_err();
    }
}
