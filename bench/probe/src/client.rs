//! The two measurements, and several clients at once.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::summary::Summary;
use crate::{LAST, SIZE};

/// How long to wait for anything: what stands still that long counts as failed.
const PATIENCE: Duration = Duration::from_secs(2);
/// After so many failures in a row the server counts as gone.
const FAILURES_MAX: u32 = 5;
/// The part of the time that goes by before anything is counted: caches, pools and windows fill.
const WARM_UP: f64 = 0.1;

/// What one client does for a while.
pub(crate) type Measure = fn(SocketAddr, Duration) -> io::Result<Summary>;

/// Runs `count` clients side by side.
pub(crate) fn at_once(
    count: usize,
    server: SocketAddr,
    duration: Duration,
    measure: Measure,
) -> io::Result<Summary> {
    let clients: Vec<_> = (0..count)
        .map(|_| thread::spawn(move || measure(server, duration)))
        .collect();
    let mut all = Summary::new(duration);
    for client in clients {
        all.merge(client.join().expect("a client doesn't panic")?);
    }
    Ok(all)
}

/// Round trips over one connection.
pub(crate) fn round_trips(server: SocketAddr, duration: Duration) -> io::Result<Summary> {
    let mut connection = connect(server)?;
    let warm = Instant::now() + duration.mul_f64(WARM_UP);
    while Instant::now() < warm {
        ask(&mut connection, 0)?;
    }
    let mut summary = Summary::new(duration);
    let end = Instant::now() + duration;
    loop {
        let began = Instant::now();
        if began >= end {
            return Ok(summary);
        }
        ask(&mut connection, 0)?;
        summary.add(began.elapsed());
    }
}

/// Whole connections: connect, ask, be answered, see the server's end.
pub(crate) fn connections(server: SocketAddr, duration: Duration) -> io::Result<Summary> {
    let warm = Instant::now() + duration.mul_f64(WARM_UP);
    while Instant::now() < warm {
        whole(server)?;
    }
    let mut summary = Summary::new(duration);
    let mut failures = 0;
    let end = Instant::now() + duration;
    loop {
        let began = Instant::now();
        if began >= end {
            return Ok(summary);
        }
        match whole(server) {
            Ok(()) => {
                summary.add(began.elapsed());
                failures = 0;
            }
            Err(error) => {
                summary.fail();
                failures += 1;
                if failures == FAILURES_MAX {
                    return Err(error);
                }
            }
        }
    }
}

fn whole(server: SocketAddr) -> io::Result<()> {
    let mut connection = connect(server)?;
    ask(&mut connection, LAST)?;
    match connection.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("more came than was asked for")),
    }
}

fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let connection = TcpStream::connect_timeout(&server, PATIENCE)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    Ok(connection)
}

fn ask(connection: &mut TcpStream, kind: u8) -> io::Result<()> {
    let mut request = [0x77; SIZE];
    request[0] = kind;
    connection.write_all(&request)?;
    let mut response = [0; SIZE];
    connection.read_exact(&mut response)?;
    if response == request {
        Ok(())
    } else {
        Err(io::Error::other("the response is not the request"))
    }
}
