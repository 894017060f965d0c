//! What the machine's network gives: the port of the names, echo, name servers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::sync::mpsc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};

use super::machine::{Machine, set_sysctl};
use super::{Check, Settings};
use crate::list::{self, Hold, Protocol};

/// Whether spaces can be served by name.
pub(super) fn names_port(settings: &Settings) -> Check {
    const NAME: &str = "port of the names";
    match settings.names_port {
        Some(port) => front_port(NAME, port, settings.daemon),
        None => Check::ok(NAME, "none is wanted"),
    }
}

/// Whether that can be over TLS too.
pub(super) fn https_port(settings: &Settings) -> Check {
    const NAME: &str = "port of HTTPS";
    match settings.https_port {
        Some(port) => front_port(NAME, port, settings.daemon),
        None => Check::ok(NAME, "none is wanted; `wharf trust` sets HTTPS up"),
    }
}

/// Whether a port is free at both loopback addresses, or ours.
fn front_port(name: &'static str, port: u16, daemon: Option<i32>) -> Check {
    let mut remarks = Vec::new();
    for address in [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ] {
        let endpoint = SocketAddr::new(address, port);
        match TcpListener::bind(endpoint) {
            Ok(_) => remarks.push(format!("{endpoint} is free")),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                match taken(endpoint, daemon) {
                    Taken::ByDaemon => remarks.push(format!("{endpoint} is wharf's")),
                    Taken::By(finding, remedy) => return Check::fail(name, finding, remedy),
                }
            }
            Err(error) if lacks_address(&error) => {
                remarks.push(format!("this machine has no {address}"));
            }
            Err(error) => {
                let finding = format!("{endpoint} can't be used: {error}");
                return Check::fail(name, finding, "Choose a port from 1024 up.");
            }
        }
    }
    Check::ok(name, remarks.join(", "))
}

/// Whose a taken endpoint is.
enum Taken {
    /// Our own daemon's.
    ByDaemon,
    /// Somebody else's: who it is, and what to do.
    By(String, String),
}

/// Finds out who holds an endpoint.
fn taken(endpoint: SocketAddr, daemon: Option<i32>) -> Taken {
    let listeners = list::machine_listeners().unwrap_or_default();
    let Some(holder) = listeners.iter().find(|listener| covers(listener, endpoint)) else {
        let finding = format!("{endpoint} is taken by a socket that doesn't listen");
        let remedy = "End the program that is bound to it without listening; only it knows why.";
        return Taken::By(finding, remedy.to_owned());
    };
    let Some(program) = holder.programs.first() else {
        let finding = format!("{endpoint} is taken by a program of user {}", holder.uid);
        let remedy = format!(
            "Ask that user to end it. To see it:\nsudo ss -tlnp sport = :{}",
            endpoint.port()
        );
        return Taken::By(finding, remedy);
    };
    if holder
        .programs
        .iter()
        .any(|program| Some(program.pid) == daemon)
    {
        return Taken::ByDaemon;
    }
    let directory = program
        .directory
        .as_deref()
        .unwrap_or("a directory that may not be seen");
    let finding = format!(
        "{endpoint} is taken by {} (pid {}) in {directory}",
        program.program, program.pid
    );
    Taken::By(finding, format!("End it:\nkill {}", program.pid))
}

/// Whether a listener is what keeps others from this TCP endpoint.
fn covers(listener: &Hold, endpoint: SocketAddr) -> bool {
    if listener.protocol != Protocol::Tcp || listener.port.get() != endpoint.port() {
        return false;
    }
    match (listener.address.to_canonical(), endpoint.ip()) {
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(_)) => listener.ipv6_only != Some(true),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(_)) => true,
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(_)) => true,
        (address, asked) => address == asked,
    }
}

/// Whether a bind failed because the machine has no IPv6.
fn lacks_address(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    [Some(Errno::ADDRNOTAVAIL), Some(Errno::AFNOSUPPORT)].contains(&errno)
}

/// Opens a socket as echo requests need it.
pub(super) fn try_ping() -> Result<(), Errno> {
    let flags = SocketFlags::CLOEXEC;
    let protocol = Some(ipproto::ICMP);
    rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, protocol).map(drop)
}

/// Whether programs in spaces can ping the world.
pub(super) fn ping(machine: &Machine, opened: Result<(), Errno>) -> Check {
    const NAME: &str = "ping";
    const RANGE: &str = "net.ipv4.ping_group_range";
    let Err(errno) = opened else {
        return Check::ok(NAME, "this user may send echo requests");
    };
    match machine.sysctl(RANGE) {
        Some(range) if errno == Errno::ACCESS => {
            let range = range.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            let finding = format!("{RANGE} is \"{range}\", which leaves out your groups");
            Check::fail(NAME, finding, set_sysctl(RANGE, "0 2147483647"))
        }
        _ => Check::fail(
            NAME,
            format!("no socket for echo requests: {errno}"),
            "Look for a sandbox around this shell that forbids ICMP sockets.",
        ),
    }
}

/// Whether the machine itself can resolve names, which spaces then can too.
pub(super) fn name_servers(machine: &Machine) -> Check {
    const NAME: &str = "name servers";
    const PATH: &str = "/etc/resolv.conf";
    let content = match std::fs::read(machine.path(PATH)) {
        Ok(content) => String::from_utf8_lossy(&content).into_owned(),
        Err(error) => {
            let finding = format!("{PATH} can't be read: {error}");
            return Check::fail(NAME, finding, add_name_server());
        }
    };
    let servers: Vec<&str> = content.lines().filter_map(name_server).collect();
    if servers.is_empty() {
        return Check::fail(NAME, format!("{PATH} names none"), add_name_server());
    }
    Check::ok(NAME, servers.join(", "))
}

/// The remedy for a machine that doesn't know whom to ask.
fn add_name_server() -> &'static str {
    "Name one, for instance your router:\n\
     echo 'nameserver ADDRESS' | sudo tee -a /etc/resolv.conf"
}

/// The address in a line of resolv.conf(5), if it names a server.
fn name_server(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    if words.next()? != "nameserver" {
        return None;
    }
    let address = words.next()?;
    // A scope such as fe80::1%eth0 is not part of the address itself.
    let bare = address.split('%').next()?;
    bare.parse::<IpAddr>().is_ok().then_some(address)
}

/// How long a name server may take to answer.
const PATIENCE: Duration = Duration::from_millis(600);

/// A name being looked up while other checks go on.
#[derive(Debug)]
pub(super) struct Lookup(mpsc::Receiver<io::Result<Vec<IpAddr>>>);

impl Lookup {
    /// Begins to look up a name with `resolve`, in a thread that ends by itself.
    pub(super) fn begin(name: &'static str, resolve: Resolve) -> Self {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            // Nobody is left to hear an answer that comes too late.
            let _ = sender.send(resolve(name));
        });
        Self(receiver)
    }

    /// The addresses, or why there are none; `TimedOut` if the answer takes too long.
    pub(super) fn finish(self) -> io::Result<Vec<IpAddr>> {
        let answer = self.0.recv_timeout(PATIENCE);
        answer.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
    }
}

/// A way to find a name's addresses.
pub(super) type Resolve = fn(&str) -> io::Result<Vec<IpAddr>>;

/// The machine's own way: whatever `/etc/nsswitch.conf` says.
pub(super) fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 80)
        .to_socket_addrs()?
        .map(|endpoint| endpoint.ip())
        .collect())
}

/// Whether programs other than browsers find `NAME.localhost` (RFC 6761 §6.3).
pub(super) fn localhost_names(found: io::Result<Vec<IpAddr>>) -> Check {
    const NAME: &str = "localhost names";
    let addresses = found.unwrap_or_default();
    match addresses.iter().find(|address| !address.is_loopback()) {
        Some(elsewhere) => Check::warn(
            NAME,
            format!("the name server says that NAME.localhost is {elsewhere}"),
            "Browsers and curl don't ask it. For other programs use a name server that follows \
             RFC 6761, or let systemd answer: add myhostname before dns in /etc/nsswitch.conf.",
        ),
        None if addresses.is_empty() => Check::ok(
            NAME,
            "the machine's resolver doesn't know NAME.localhost; browsers and curl do by themselves",
        ),
        None => Check::ok(NAME, "NAME.localhost is this machine"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::State;
    use super::super::machine::fake;
    use super::*;

    fn settings(names_port: u16, daemon: Option<i32>) -> Settings {
        Settings {
            names_port: Some(names_port),
            https_port: None,
            runtime_directory: PathBuf::from("/nonexistent"),
            daemon,
        }
    }

    /// The name of this test program's file.
    fn own_name() -> String {
        let path = std::env::current_exe().unwrap();
        path.file_name().unwrap().to_string_lossy().into_owned()
    }

    #[test]
    fn a_taken_port_is_wharf_s_or_its_holder_is_named() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = holder.local_addr().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let check = names_port(&settings(endpoint.port(), None));
        assert_eq!(check.state, State::Fail);
        let expected = format!("{endpoint} is taken by {} (pid {own}) in /", own_name());
        assert!(check.finding.starts_with(&expected), "{check:?}");
        assert_eq!(check.remedy, Some(format!("End it:\nkill {own}")));
        let check = names_port(&settings(endpoint.port(), Some(own)));
        assert_eq!((check.state, check.remedy), (State::Ok, None));
        assert!(
            check.finding.starts_with(&format!("{endpoint} is wharf's")),
            "{}",
            check.finding
        );
    }

    #[test]
    fn a_wildcard_listener_takes_the_port_too() {
        for any in ["0.0.0.0:0", "[::]:0"] {
            let holder = TcpListener::bind(any).unwrap();
            let port = holder.local_addr().unwrap().port();
            let check = names_port(&settings(port, None));
            assert_eq!(check.state, State::Fail, "{any}");
            assert!(
                check
                    .finding
                    .contains(&format!("is taken by {}", own_name())),
                "{check:?}"
            );
        }
    }

    #[test]
    fn a_socket_that_is_bound_only_is_explained() {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        rustix::net::bind(&socket, &any).unwrap();
        let bound = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
        let check = names_port(&settings(bound.port(), None));
        assert_eq!(check.state, State::Fail);
        assert!(check.finding.contains("doesn't listen"), "{check:?}");
    }

    #[test]
    fn a_refused_echo_socket_is_explained_by_the_range_of_groups() {
        let files = [("/proc/sys/net/ipv4/ping_group_range", "1\t0\n")];
        let (_root, machine) = fake(&files);
        assert_eq!(ping(&machine, Ok(())).state, State::Ok);
        let check = ping(&machine, Err(Errno::ACCESS));
        assert_eq!(check.state, State::Fail);
        assert!(check.finding.contains("\"1 0\""), "{check:?}");
        assert!(
            check
                .remedy
                .unwrap()
                .contains("net.ipv4.ping_group_range = 0 2147483647")
        );
        let check = ping(&machine, Err(Errno::PROTONOSUPPORT));
        assert!(
            check.finding.contains("no socket for echo requests"),
            "{check:?}"
        );
    }

    #[test]
    fn resolv_conf_must_name_a_server() {
        let cases = [
            (
                "nameserver 10.0.0.1\nsearch lan\nnameserver ::1\n",
                Some("10.0.0.1, ::1"),
            ),
            (
                "  nameserver\tfe80::1%eth0 # router\n",
                Some("fe80::1%eth0"),
            ),
            ("# nameserver 10.0.0.1\n;nameserver 10.0.0.1\n", None),
            ("nameserver\nnameserver here\nnameservers 10.0.0.1\n", None),
            ("", None),
        ];
        for (content, expected) in cases {
            let (_root, machine) = fake(&[("/etc/resolv.conf", content)]);
            let check = name_servers(&machine);
            match expected {
                Some(servers) => assert_eq!(check, Check::ok("name servers", servers)),
                None => assert_eq!(check.state, State::Fail, "{content:?}"),
            }
        }
        let (_root, machine) = fake(&[]);
        let check = name_servers(&machine);
        assert_eq!(check.state, State::Fail);
        assert!(check.finding.contains("can't be read"), "{check:?}");
    }

    #[test]
    fn only_a_wrong_answer_about_localhost_names_is_worth_a_warning() {
        let none = Err(io::Error::other("no such name"));
        assert_eq!(localhost_names(none).state, State::Ok);
        let right = vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        assert_eq!(
            localhost_names(Ok(right)).finding,
            "NAME.localhost is this machine"
        );
        let wrong = vec![Ipv4Addr::new(192, 0, 2, 1).into()];
        let check = localhost_names(Ok(wrong));
        assert_eq!(check.state, State::Warn);
        assert!(check.finding.contains("192.0.2.1"), "{check:?}");
    }

    #[test]
    fn a_name_server_that_is_silent_is_not_waited_for() {
        // Ends with the test program: nothing ever unparks it.
        let silent = Lookup::begin("x.localhost", |_| {
            loop {
                std::thread::park();
            }
        });
        assert_eq!(silent.finish().unwrap_err().kind(), io::ErrorKind::TimedOut);
        let quick = Lookup::begin("x.localhost", |_| Ok(vec![Ipv4Addr::LOCALHOST.into()]));
        assert_eq!(quick.finish().unwrap(), [Ipv4Addr::LOCALHOST]);
    }
}
