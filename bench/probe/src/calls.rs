//! What single system calls take: binding, which wharf performs for programs, and others, which it lets alone.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
use serde_json::{Value, json};

/// How many binds of a kind are timed, each for itself; and how many sockets are open together, so that between two binds no
/// socket ends, which in a space is announced.
const BINDS: (u16, u16) = (40, 500);
/// How many other calls are timed at once, and how often.
const BATCH: (u32, u64) = (1000, 500);

/// Medians and 95th percentiles in nanoseconds, by the name of the call.
pub(crate) fn measure() -> io::Result<Value> {
    let (tcp_bind, tcp_listen) = binds(SocketType::STREAM)?;
    let (udp_bind, _) = binds(SocketType::DGRAM)?;
    let (mut zero, mut null) = (File::open("/dev/zero")?, File::create("/dev/null")?);
    Ok(json!({
        "tcp bind": told(tcp_bind),
        "tcp listen": told(tcp_listen),
        "udp bind": told(udp_bind),
        "getppid": told(others(|| {
            std::hint::black_box(rustix::process::getppid());
            Ok(())
        })?),
        "read": told(others(|| zero.read(&mut [0]).map(drop))?),
        "write": told(others(|| null.write(&[0]).map(drop))?),
    }))
}

/// Nanoseconds of each bind, and of each listen if there are any.
fn binds(kind: SocketType) -> io::Result<(Vec<u64>, Vec<u64>)> {
    let (mut binds, mut listens) = (Vec::new(), Vec::new());
    for _ in 0..BINDS.0 {
        let sockets: Vec<_> = (0..BINDS.1)
            .map(|_| socket(AddressFamily::INET, kind, None))
            .collect::<Result<_, _>>()?;
        for (socket, port) in sockets.iter().zip(20_000..) {
            let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
            let begun = Instant::now();
            bind(socket, &address)?;
            binds.push(since(begun));
            if kind == SocketType::STREAM {
                let begun = Instant::now();
                listen(socket, 8)?;
                listens.push(since(begun));
            }
        }
    }
    Ok((binds, listens))
}

/// Nanoseconds of one call, from many at once.
fn others(mut call: impl FnMut() -> io::Result<()>) -> io::Result<Vec<u64>> {
    let mut each = Vec::new();
    for _ in 0..BATCH.1 {
        let begun = Instant::now();
        for _ in 0..BATCH.0 {
            call()?;
        }
        each.push(since(begun) / u64::from(BATCH.0));
    }
    Ok(each)
}

fn since(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn told(mut samples: Vec<u64>) -> Value {
    samples.sort_unstable();
    let percentile = |percent| crate::summary::percentile(&samples, percent);
    json!({ "p50": percentile(50), "p95": percentile(95) })
}
