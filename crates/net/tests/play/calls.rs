//! Calls to two hosts on one wire, in any order, with names that are good, stale, or of the wrong kind.

use std::time::Duration;

use bytes::Bytes;
use wharf_net::{Capabilities, Event, Host, Instant, Setting, SocketId};
use wharf_port::{Domain, Protocol};

use super::Octets;
use crate::network::{Network, Side, ordinary};

const PLACES: [&str; 10] = [
    "10.0.0.1:80",
    "10.0.0.2:80",
    "[fd00::1]:80",
    "[fd00::2]:80",
    "0.0.0.0:80",
    "[::]:80",
    "127.0.0.1:80",
    "[::1]:81",
    "10.0.0.2:81",
    "10.0.0.99:80",
];
const MOST_SOCKETS: usize = 64;

/// Plays a sequence of calls, then lets go of everything; how many connections there were.
pub(crate) fn play(octets: &[u8]) -> usize {
    let mut octets = Octets(octets);
    let none = Capabilities::NONE;
    let mut network = Network::new(ordinary(Side::Left, none), ordinary(Side::Right, none));
    network.impairment.loss = u64::from(octets.byte() % 3) * 50;
    let mut names: [Vec<SocketId>; 2] = [Vec::new(), Vec::new()];
    for side in [Side::Left, Side::Right] {
        let host = network.host(side);
        let listener = host
            .open(Protocol::Tcp, Domain::Dual)
            .expect("there is room");
        host.bind(
            listener,
            "[::]:80"
                .parse::<wharf_port::Endpoint>()
                .expect("an endpoint")
                .into(),
        )
        .expect("it is free");
        host.listen(listener, 3).expect("it is free");
        names[side as usize].push(listener);
    }
    let mut connections = 0;
    while let Some(what) = octets.next() {
        let side = [Side::Left, Side::Right][usize::from(what >> 7)];
        call(
            &mut network,
            side,
            &mut names[side as usize],
            what & 0x7f,
            &mut octets,
        );
        while let Some(event) = network.host(side).event() {
            if let Event::Incoming { listener, .. } = event {
                let accepted = network.host(side).accept(listener);
                connections += accepted.iter().count();
                names[side as usize].extend(accepted);
            }
        }
    }
    network.impairment.loss = 0;
    for (side, names) in [Side::Left, Side::Right].into_iter().zip(names) {
        let now = network.now;
        names
            .into_iter()
            .for_each(|name| network.host(side).close(now, name));
    }
    network.pass(Duration::from_secs(3 * 3600));
    let rest = [network.left.socket_count(), network.right.socket_count()];
    assert_eq!(rest, [0, 0], "sockets are left");
    connections
}

fn call(
    network: &mut Network,
    side: Side,
    names: &mut Vec<SocketId>,
    what: u8,
    octets: &mut Octets<'_>,
) {
    let now = network.now;
    if what < 24 {
        return network.pass(Duration::from_micros(1 << octets.below(26)));
    }
    let host = network.host(side);
    if what < 40 {
        return fresh(host, now, names, what, octets);
    }
    let Some(name) = names.get(octets.below(names.len())).copied() else {
        return;
    };
    let place = octets
        .one_of(&PLACES)
        .parse::<wharf_port::Endpoint>()
        .expect("an endpoint");
    let text = Bytes::from(vec![what; octets.below(5000)]);
    match what % 20 {
        0 | 1 => drop(host.bind(name, place.into())),
        2 => drop(host.listen(name, octets.below(5))),
        3 | 4 => drop(host.connect(now, name, place)),
        5 => names.extend(host.accept(name)),
        6..9 => drop(host.write(now, name, text)),
        9..11 => host.consume(now, name, octets.below(5000)),
        11 => host.shutdown(now, name),
        12 => host.abort(now, name),
        13 => host.close(now, name), // The name stays with us, stale.
        14 => drop(host.send_to(now, name, Some(place), text)),
        15 => drop(host.send_to(now, name, None, text)),
        16 => drop(host.recv_from(name)),
        17 => {
            let setting = setting(octets);
            let _ = host.set(now, name, setting);
        }
        18 => drop(host.unlisten(now, name)),
        _ => drop(host.disconnect(now, name)),
    }
    assert_eq!(
        host.readable(name),
        host.chunks(name).map(<[u8]>::len).sum::<usize>()
    );
}

/// A new socket, perhaps put to use at once.
fn fresh(
    host: &mut Host,
    now: Instant,
    names: &mut Vec<SocketId>,
    what: u8,
    octets: &mut Octets<'_>,
) {
    let protocol = octets.one_of(&[Protocol::Tcp, Protocol::Udp]);
    let domain = octets.one_of(&[Domain::V4, Domain::V6Only, Domain::Dual]);
    if names.len() >= MOST_SOCKETS {
        return;
    }
    let name = host.open(protocol, domain).expect("there is room");
    names.push(name);
    let place = octets
        .one_of(&PLACES)
        .parse::<wharf_port::Endpoint>()
        .expect("an endpoint");
    match what % 4 {
        0 => drop(host.connect(now, name, place)),
        1 if host.bind(name, place.into()).is_ok() => drop(host.listen(name, 2)),
        _ => {}
    }
}

fn setting(octets: &mut Octets<'_>) -> Setting {
    let on = octets.byte().is_multiple_of(2);
    let size = octets.below(10_000);
    octets.one_of(&[
        Setting::NoDelay(on),
        Setting::Cork(on),
        Setting::KeepAlive(on.then(Default::default)),
        Setting::ReceiveBuffer(size),
        Setting::SendBuffer(size),
        Setting::Domain(Domain::V6Only),
        Setting::User(1),
    ])
}
