//! The kernel's loopback.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::measure::Clock;

/// How long it takes to open and close so many connections, one after the other.
pub(crate) fn openings(count: usize) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let to = listener.local_addr().expect("it is bound");
    let start = Clock::now();
    for _ in 0..count {
        let mut client = TcpStream::connect(to).expect("it listens");
        let (server, _) = listener.accept().expect("it is connected");
        drop(server);
        let end = client.read(&mut [0]).expect("it is closed in order");
        assert_eq!(end, 0, "nothing was sent");
    }
    start.elapsed()
}
