//! Where clients find a listener.

use std::net::{IpAddr, SocketAddr};

use super::diag::Socket;
use wharf_port::Protocol;

/// Ports at which other protocols than HTTP are spoken, by what they are commonly used for.
const NO_WEB: &[u16] = &[
    21, 22, 23, 25, 53, 110, 119, 143, 389, 445, 465, 514, 587, 636, 853, 873, 993, 995, 1025,
    1080, 1433, 1521, 1883, 2049, 2181, 3306, 3389, 4222, 5222, 5269, 5432, 5433, 5671, 5672, 5900,
    6379, 6380, 6432, 8883, 9042, 9092, 11211, 27017, 33060,
];

/// Places of this listener, the best first: of a space's web server its name, of others what other spaces call it, and
/// what it is called inside. The machine's own are told as the machine and as spaces see them.
pub(super) fn of(space: Option<&str>, url: Option<&str>, socket: &Socket) -> Vec<String> {
    let port = socket.port.get();
    let address = socket.address.to_canonical();
    let Some(space) = space else {
        return of_machine(address, port);
    };
    let mut places = Vec::new();
    let web = socket.protocol == Protocol::Tcp && !NO_WEB.contains(&port);
    if let Some((scheme, rest)) = url.filter(|_| web).and_then(|url| url.split_once("://")) {
        places.push(format!("{scheme}://{port}.{rest}"));
    }
    if !address.is_loopback() {
        places.push(format!("{space}.internal:{port}"));
    }
    places.push(format!("{} in {space}", inside(address, port)));
    places
}

fn of_machine(address: IpAddr, port: u16) -> Vec<String> {
    let mut places = vec![inside(address, port)];
    if address.is_loopback() || address.is_unspecified() {
        places.push(format!("host.internal:{port}"));
    }
    places
}

/// What it is called where it is.
fn inside(address: IpAddr, port: u16) -> String {
    let loopback = ["127.0.0.1", "::1"]
        .iter()
        .any(|it| address.to_string() == *it);
    match address.is_unspecified() || loopback {
        true => format!("localhost:{port}"),
        false => SocketAddr::new(address, port).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::super::diag::State;
    use super::*;

    fn places(space: Option<&str>, protocol: Protocol, address: &str, port: u16) -> Vec<String> {
        let socket = Socket {
            protocol,
            address: address.parse().unwrap(),
            port: NonZeroU16::new(port).unwrap(),
            state: State::Listening,
            peer: None,
            expires: None,
            waiting: 0,
            ipv6_only: None,
            inode: 1,
            uid: 0,
            cookie: 1,
            cgroup: None,
            carried: None,
        };
        of(space, Some("http://shop.localhost:7070"), &socket)
    }

    #[test]
    fn a_space_s_web_server_has_a_name_and_its_database_an_address() {
        assert_eq!(
            places(Some("shop"), Protocol::Tcp, "0.0.0.0", 3000),
            [
                "http://3000.shop.localhost:7070",
                "shop.internal:3000",
                "localhost:3000 in shop"
            ]
        );
        assert_eq!(
            places(Some("shop"), Protocol::Tcp, "127.0.0.1", 3000),
            ["http://3000.shop.localhost:7070", "localhost:3000 in shop"]
        );
        assert_eq!(
            places(Some("shop"), Protocol::Tcp, "::", 5432),
            ["shop.internal:5432", "localhost:5432 in shop"]
        );
        assert_eq!(
            places(Some("shop"), Protocol::Udp, "::1", 3000),
            ["localhost:3000 in shop"]
        );
    }

    #[test]
    fn the_machine_s_own_are_told_from_both_sides() {
        let tcp = |address| places(None, Protocol::Tcp, address, 80);
        assert_eq!(tcp("127.0.0.1"), ["localhost:80", "host.internal:80"]);
        assert_eq!(tcp("127.77.0.2"), ["127.77.0.2:80", "host.internal:80"]);
        assert_eq!(tcp("192.0.2.1"), ["192.0.2.1:80"]);
        assert_eq!(tcp("2001:db8::1"), ["[2001:db8::1]:80"]);
    }
}
