//! What idle connections weigh: the process's memory before and after.

use wharf_net::{Host, SocketId};
use wharf_port::{Endpoint, Port};

use crate::measure::Report;
use crate::wire::{PLAIN, Pair};

/// Connections to one of the server's ports: fewer than there are ephemeral ones.
const EACH: usize = 20_000;

/// Makes so many connections between two hosts; each is held at both ends.
pub(crate) fn measure(report: &mut Report, count: usize) {
    let before = resident();
    let mut pair = Pair::new(PLAIN);
    let mut held: Vec<[SocketId; 2]> = Vec::with_capacity(count);
    for number in (0..count).step_by(EACH) {
        let port = 1000 + (number / EACH) as u16;
        let listener = pair.listen(port);
        let address = "10.0.0.2".parse().expect("an address");
        let to = Endpoint::new(address, Port::new(port).expect("not zero"));
        for _ in 0..EACH.min(count - number) {
            held.push(pair.connect(listener, to));
        }
    }
    let (after, notes) = (resident(), held.capacity() * size_of::<[SocketId; 2]>());
    let octets = (after - before - notes) / (2 * count);
    let sockets: Vec<usize> = pair.hosts.iter().map(Host::socket_count).collect();
    assert!(
        sockets.iter().all(|sockets| *sockets >= count),
        "{sockets:?} sockets"
    );
    let what = format!("memory of an idle connection, {count} held at both ends");
    report.row(&what, format!("{octets} octets an end"), "", "1536 octets");
}

/// Octets of this process in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux says what a process has");
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("the second field is a number") * 4096
}
