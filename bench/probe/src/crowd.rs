//! Very many connections that do nothing, and what an active one beside them feels.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client;

/// Connections that are made at once.
const AT_ONCE: usize = 16;
/// Connections that may wait to be accepted at each port: the kernel's own bound, so that none is made twice.
const BACKLOG: i32 = 4096;
/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the active connection is looked at, without the crowd and beside it.
const LOOK: Duration = Duration::from_secs(1);

/// Accepts at so many ports and keeps what comes, until the standard input ends. Several ports, as one address has some
/// 28,000 of its own for each.
pub(crate) fn hold(address: SocketAddr, ports: usize) -> io::Result<()> {
    let mut names = Vec::new();
    for _ in 0..ports {
        let listener = TcpListener::bind(SocketAddr::new(address.ip(), 0))?;
        rustix::net::listen(&listener, BACKLOG)?;
        names.push(listener.local_addr()?.port().to_string());
        thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    }
    println!("{}", names.join(","));
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// Makes `count` connections to these ports, and measures round trips to `server` before and beside them.
pub(crate) fn join(server: SocketAddr, ports: &[u16], count: usize) -> io::Result<Value> {
    let alone = client::round_trips(server, LOOK)?.to_json();
    let begun = Instant::now();
    let threads: Vec<_> = (0..AT_ONCE)
        .map(|nth| {
            let ports = ports.to_vec();
            thread::spawn(move || {
                let mine = (nth..count).step_by(AT_ONCE);
                mine.map(|at| connect(server, ports[at % ports.len()]))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let crowd: Vec<_> = threads
        .into_iter()
        .flat_map(|thread| thread.join().expect("a client doesn't panic"))
        .collect();
    let took = begun.elapsed();
    let beside = client::round_trips(server, LOOK)?.to_json();
    let failed = crowd.iter().filter(|one| one.is_err()).count();
    let why = crowd
        .iter()
        .find_map(|one| one.as_ref().err())
        .map(ToString::to_string);
    Ok(json!({
        "count": count,
        "failed": failed,
        "why": why,
        "per_second": (count - failed) as f64 / took.as_secs_f64(),
        "alone": alone,
        "beside": beside,
    }))
}

fn connect(server: SocketAddr, port: u16) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::new(server.ip(), port), PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server;

    #[test]
    fn a_crowd_is_made_and_counted() {
        let (listener, address) = server::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        server::accept_in_background(listener);
        let idle = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = idle.local_addr().unwrap().port();
        thread::spawn(move || idle.incoming().take(50).collect::<Vec<_>>());
        let told = join(address, &[port], 50).unwrap();
        assert_eq!(told["failed"], 0, "{told}");
        assert!(told["beside"]["count"].as_u64().unwrap() > 0, "{told}");
    }
}
