//! Who talks to whom, and how much: from the kernel's lists of connections, taken one after the other while somebody looks.
//!
//! Theory of operation. The kernel counts the bytes of each TCP connection anyway, so nothing here is in their way: a look at
//! the lists says what each connection has carried since the last, and the kernel's announcement of its end what it carried
//! since then. A connection inside has two sockets. Only that of the client is counted: programs inside have one, and wharf makes
//! one inside for whoever comes from the machine. A guest from the network, who is carried in with an address of its own, has
//! none; there it is the server's. UDP isn't counted; the kernel doesn't.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::rc::Rc;

use serde::Serialize;

use crate::list::State;
use crate::list::diag::{Carried, Socket};

/// As many ways are told; those that have been without a connection for longest make room.
const WAYS_MAX: usize = 256;

/// From whom to where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct Way {
    /// The client's space; `None` is the machine, which comes in by name or where a port is published.
    pub(crate) from: Option<String>,
    /// The client's program, if it is seen and inside.
    pub(crate) program: Option<String>,
    /// Where it leads.
    pub(crate) to: End,
}

/// Where a way leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "place", rename_all = "lowercase")]
pub(crate) enum End {
    /// To a port of a space.
    Space {
        /// The space.
        space: String,
        /// Its port.
        port: NonZeroU16,
    },
    /// To a port of the machine: `host.internal`, or one that was let in.
    Machine {
        /// The machine's port.
        port: NonZeroU16,
    },
    /// Out to the network.
    Network {
        /// The address.
        address: IpAddr,
        /// The port there.
        port: NonZeroU16,
    },
}

/// What goes along a way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Load {
    /// Connections that stand.
    pub(crate) sessions: u32,
    /// Connections that were seen since it is counted.
    pub(crate) begun: u64,
    /// Bytes to where it leads, since it is counted; of connections that stood then, since they stand.
    pub(crate) sent: u64,
    /// Bytes back.
    pub(crate) received: u64,
}

/// A way and its load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Route {
    #[serde(flatten)]
    pub(crate) way: Way,
    #[serde(flatten)]
    pub(crate) load: Load,
}

/// Who holds a client's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Client {
    /// wharf, for somebody on the machine.
    Machine,
    /// A program inside, if it can be told which.
    Inside(Option<String>),
}

/// What is seen of one space at one look.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) space: String,
    /// Its own addresses.
    pub(crate) addresses: [IpAddr; 2],
    /// Ports of the machine that were let in.
    pub(crate) let_in: HashSet<NonZeroU16>,
    /// What has ended since the last look, heard before `sockets` were listed.
    pub(crate) ended: Vec<Socket>,
    /// The kernel's list.
    pub(crate) sockets: Vec<Socket>,
    /// Whose the sockets are that weren't there at the last look, by cookie.
    pub(crate) clients: HashMap<u64, Client>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    loads: BTreeMap<Way, Tally>,
    open: HashMap<u64, Open>,
    looks: u64,
}

#[derive(Debug, Default)]
struct Tally {
    load: Load,
    /// The last look at which there was a connection.
    used: u64,
}

/// A connection that stood at the last look, or at the one before and hasn't been told to have ended.
#[derive(Debug)]
struct Open {
    way: Rc<Way>,
    carried: Carried,
    seen: u64,
}

impl Traffic {
    /// Whether a connection was there at the last look.
    pub(crate) fn knows(&self, cookie: u64) -> bool {
        self.open.contains_key(&cookie)
    }

    /// Takes in what is seen of all spaces at the same time.
    pub(crate) fn look(&mut self, all: &[Seen]) {
        self.looks += 1;
        let map = Map::of(all);
        for seen in all {
            for socket in &seen.ended {
                self.count(&map, seen, socket);
                self.open.remove(&socket.cookie);
            }
            for socket in &seen.sockets {
                if matches!(socket.state, State::Connected | State::Closing) {
                    self.count(&map, seen, socket);
                }
            }
        }
        // The end of one that isn't listed any more may be heard next time; if it isn't then, it was missed.
        let looks = self.looks;
        self.open.retain(|_, open| open.seen + 1 >= looks);
        for tally in self.loads.values_mut() {
            tally.load.sessions = 0;
        }
        for open in self.open.values().filter(|open| open.seen == looks) {
            if let Some(tally) = self.loads.get_mut(&*open.way) {
                tally.load.sessions += 1;
                tally.used = looks;
            }
        }
        self.make_room();
    }

    /// The ways, in an order that stays.
    pub(crate) fn routes(&self) -> Vec<Route> {
        let route = |(way, tally): (&Way, &Tally)| Route {
            way: way.clone(),
            load: tally.load,
        };
        self.loads.iter().map(route).collect()
    }

    /// Adds what a client's connection has carried since it was last looked at.
    fn count(&mut self, map: &Map<'_>, seen: &Seen, socket: &Socket) {
        let mut now = socket.carried.unwrap_or_default();
        if map.is_guests(seen, socket) {
            // Seen from the server.
            (now.sent, now.received) = (now.received + 1, now.sent);
        }
        if let Some(open) = self.open.get_mut(&socket.cookie) {
            let before = std::mem::replace(&mut open.carried, now);
            open.seen = self.looks;
            let tally = self.loads.entry((*open.way).clone()).or_default();
            tally.load.sent += now.sent.saturating_sub(before.sent);
            tally.load.received += now.received.saturating_sub(before.received);
            return;
        }
        // Without an acknowledged SYN it never was a connection.
        let way = map.way(seen, socket).filter(|_| now.sent > 0);
        let Some(way) = way else { return };
        let tally = self.loads.entry(way.clone()).or_default();
        tally.load.begun += 1;
        // Its SYN is no byte of its own.
        tally.load.sent += now.sent.saturating_sub(1);
        tally.load.received += now.received;
        tally.used = self.looks;
        let open = Open {
            way: Rc::new(way),
            carried: now,
            seen: self.looks,
        };
        self.open.insert(socket.cookie, open);
    }

    fn make_room(&mut self) {
        while self.loads.len() > WAYS_MAX {
            let oldest = self.loads.iter().min_by_key(|(_, tally)| tally.used);
            let Some(way) = oldest.map(|(way, _)| way.clone()) else {
                return;
            };
            self.loads.remove(&way);
        }
    }
}

/// Which address is whose, and which ports listen.
struct Map<'a> {
    spaces: HashMap<IpAddr, &'a str>,
    listening: HashMap<&'a str, HashSet<NonZeroU16>>,
}

impl<'a> Map<'a> {
    fn of(all: &'a [Seen]) -> Self {
        let spaces = all.iter().flat_map(|seen| {
            let name = seen.space.as_str();
            seen.addresses.map(|address| (address, name))
        });
        let listening = all.iter().map(|seen| {
            let listeners = seen.sockets.iter();
            let listeners = listeners.filter(|socket| socket.state == State::Listening);
            let ports = listeners.map(|socket| socket.port).collect();
            (seen.space.as_str(), ports)
        });
        Self {
            spaces: spaces.collect(),
            listening: listening.collect(),
        }
    }

    /// Whether this is a server's socket, whose client has none in any space.
    fn is_guests(&self, seen: &Seen, socket: &Socket) -> bool {
        let address = socket.peer.map(|peer| peer.ip().to_canonical());
        let outside = |address: IpAddr| {
            !address.is_loopback()
                && !seen.addresses.contains(&address)
                && !self.spaces.contains_key(&address)
        };
        address.is_some_and(outside) && self.listens(&seen.space, socket.port)
    }

    fn listens(&self, space: &str, port: NonZeroU16) -> bool {
        let ports = self.listening.get(space);
        ports.is_some_and(|ports| ports.contains(&port))
    }

    /// The way of a connection, if this is its client's socket.
    fn way(&self, seen: &Seen, socket: &Socket) -> Option<Way> {
        let peer = socket.peer?;
        if self.is_guests(seen, socket) {
            let (space, port) = (seen.space.clone(), socket.port);
            return Some(Way {
                from: None,
                program: None,
                to: End::Space { space, port },
            });
        }
        let (address, port) = (peer.ip().to_canonical(), NonZeroU16::new(peer.port())?);
        let inside = match address.is_loopback() || seen.addresses.contains(&address) {
            true => Some(seen.space.as_str()),
            false => self.spaces.get(&address).copied(),
        };
        let to = match inside {
            Some(space) if !self.is_client(&seen.space, socket.port, space, port) => return None,
            Some(space) if space == seen.space && seen.let_in.contains(&port) => {
                End::Machine { port }
            }
            Some(space) => End::Space {
                space: space.to_owned(),
                port,
            },
            None if super::is_gateway(address) => End::Machine { port },
            None => End::Network { address, port },
        };
        let (from, program) = match seen.clients.get(&socket.cookie) {
            Some(Client::Machine) => (None, None),
            Some(Client::Inside(program)) => (Some(seen.space.clone()), program.clone()),
            None => (Some(seen.space.clone()), None),
        };
        Some(Way { from, program, to })
    }

    /// Whether the first of two ends is the client's. Where both or none listen, the higher port is: those that the kernel
    /// chooses are high.
    fn is_client(&self, own: &str, port: NonZeroU16, other: &str, peer: NonZeroU16) -> bool {
        match (self.listens(own, port), self.listens(other, peer)) {
            (true, false) => false,
            (false, true) => true,
            _ => port > peer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::Protocol;

    fn port(number: u16) -> NonZeroU16 {
        NonZeroU16::new(number).unwrap()
    }

    fn socket(cookie: u64, own: &str, peer: Option<&str>, sent: u64, received: u64) -> Socket {
        let own: std::net::SocketAddr = own.parse().unwrap();
        Socket {
            protocol: Protocol::Tcp,
            address: own.ip(),
            port: port(own.port()),
            state: match peer {
                Some(_) => State::Connected,
                None => State::Listening,
            },
            peer: peer.map(|peer| peer.parse().unwrap()),
            expires: None,
            waiting: 0,
            ipv6_only: None,
            inode: cookie,
            uid: 0,
            cookie,
            cgroup: None,
            carried: Some(Carried { sent, received }),
        }
    }

    fn seen(space: &str, last: u8, sockets: Vec<Socket>) -> Seen {
        Seen {
            space: space.into(),
            addresses: [
                format!("10.77.1.{last}").parse().unwrap(),
                format!("fd77::{last}").parse().unwrap(),
            ],
            let_in: HashSet::from([port(5432)]),
            ended: Vec::new(),
            sockets,
            clients: HashMap::from([
                (7, Client::Machine),
                (8, Client::Inside(Some("node".into()))),
            ]),
        }
    }

    fn told(traffic: &Traffic) -> Vec<String> {
        let told = |route: Route| {
            let Way { from, program, to } = route.way;
            let Load {
                sessions,
                begun,
                sent,
                received,
            } = route.load;
            let to = serde_json::to_string(&to).unwrap();
            format!("{from:?} {program:?} {to} {sessions}/{begun} {sent}>{received}<")
        };
        traffic.routes().into_iter().map(told).collect()
    }

    #[test]
    fn each_connection_is_counted_once_at_its_client() {
        let mut traffic = Traffic::default();
        let web = vec![
            socket(1, "0.0.0.0:3000", None, 0, 0),
            // From the machine, from its own program, and to the other space's database.
            socket(7, "127.0.0.1:40000", Some("127.0.0.1:3000"), 11, 20),
            socket(17, "127.0.0.1:3000", Some("127.0.0.1:40000"), 20, 10),
            socket(8, "10.77.1.1:40001", Some("10.77.1.2:5432"), 101, 200),
        ];
        let database = vec![
            socket(2, "0.0.0.0:5432", None, 0, 0),
            socket(18, "10.77.1.2:5432", Some("10.77.1.1:40001"), 200, 100),
        ];
        traffic.look(&[seen("web", 1, web), seen("db", 2, database)]);
        assert_eq!(
            told(&traffic),
            [
                r#"None None {"place":"space","space":"web","port":3000} 1/1 10>20<"#,
                r#"Some("web") Some("node") {"place":"space","space":"db","port":5432} 1/1 100>200<"#,
            ]
        );
    }

    #[test]
    fn what_is_outside_is_the_machine_or_the_network() {
        let mut traffic = Traffic::default();
        let sockets = vec![
            socket(3, "10.77.1.1:40000", Some("10.77.0.1:8080"), 1, 0),
            socket(4, "10.77.1.1:40001", Some("192.0.2.7:443"), 1, 0),
            // One that was let in, where wharf listens.
            socket(5, "127.0.0.1:40002", Some("127.0.0.1:5432"), 1, 0),
        ];
        traffic.look(&[seen("web", 1, sockets)]);
        assert_eq!(
            told(&traffic),
            [
                r#"Some("web") None {"place":"machine","port":5432} 1/1 0>0<"#,
                r#"Some("web") None {"place":"machine","port":8080} 1/1 0>0<"#,
                r#"Some("web") None {"place":"network","address":"192.0.2.7","port":443} 1/1 0>0<"#,
            ]
        );
    }

    #[test]
    fn a_guest_from_the_network_is_counted_at_the_server() {
        let mut traffic = Traffic::default();
        let sockets = vec![
            socket(1, "0.0.0.0:3000", None, 0, 0),
            socket(9, "10.77.1.1:3000", Some("192.0.2.7:50000"), 200, 10),
        ];
        traffic.look(&[seen("web", 1, sockets)]);
        let way = r#"None None {"place":"space","space":"web","port":3000}"#;
        assert_eq!(told(&traffic), [format!("{way} 1/1 10>200<")]);
    }

    #[test]
    fn bytes_are_added_up_to_the_end_and_beyond() {
        let mut traffic = Traffic::default();
        let at = |cookie, sent| socket(cookie, "10.77.1.1:40001", Some("192.0.2.7:443"), sent, 0);
        traffic.look(&[seen("web", 1, vec![at(4, 11)])]);
        assert!(traffic.knows(4));
        traffic.look(&[seen("web", 1, vec![at(4, 31)])]);
        // It has ended, and another came and went between two looks.
        let ended = Seen {
            ended: vec![at(4, 51), at(5, 6)],
            ..seen("web", 1, Vec::new())
        };
        traffic.look(&[ended]);
        assert!(!traffic.knows(4));
        let way = r#"Some("web") None {"place":"network","address":"192.0.2.7","port":443}"#;
        assert_eq!(told(&traffic), [format!("{way} 0/2 55>0<")]);
    }

    #[test]
    fn an_end_that_is_heard_late_or_never_is_not_counted_twice() {
        let mut traffic = Traffic::default();
        let at = |sent| socket(4, "10.77.1.1:40001", Some("192.0.2.7:443"), sent, 0);
        traffic.look(&[seen("web", 1, vec![at(11)])]);
        traffic.look(&[seen("web", 1, Vec::new())]);
        let ended = Seen {
            ended: vec![at(21)],
            ..seen("web", 1, Vec::new())
        };
        traffic.look(&[ended]);
        let way = r#"Some("web") None {"place":"network","address":"192.0.2.7","port":443}"#;
        assert_eq!(told(&traffic), [format!("{way} 0/1 20>0<")]);
        traffic.look(&[seen("web", 1, vec![at(11)])]);
        for _ in 0..3 {
            traffic.look(&[seen("web", 1, Vec::new())]);
        }
        assert!(!traffic.knows(4));
    }

    #[test]
    fn ways_are_bounded_and_the_longest_unused_goes() {
        let mut traffic = Traffic::default();
        let to = |cookie: u64| {
            let peer = format!("192.0.2.7:{cookie}");
            socket(cookie, "10.77.1.1:40001", Some(&peer), 1, 0)
        };
        traffic.look(&[seen("web", 1, vec![to(1)])]);
        let many = (1000..1000 + WAYS_MAX as u64).map(to).collect();
        traffic.look(&[seen("web", 1, many)]);
        let routes = traffic.routes();
        assert_eq!(routes.len(), WAYS_MAX);
        let first = End::Network {
            address: "192.0.2.7".parse().unwrap(),
            port: port(1),
        };
        assert!(routes.iter().all(|route| route.way.to != first));
    }
}
