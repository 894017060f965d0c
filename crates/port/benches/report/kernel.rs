//! The kernel's own choice of ports, in a network namespace of its own, with a range of its own.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Resource, getrlimit, setrlimit};
use wharf_port::{Port, PortRange};

use crate::measure::{Calls, Report, both, calls, some_calls};
use crate::{chosen, connect_release, connected, open_bind_release};

/// The argument by which this program knows that it is in a namespace.
pub(crate) const CHILD: &str = "--in-a-namespace";
/// A range that leaves both ends of as many connections within the open files that an ordinary user may have.
const FIRST: u16 = 40_000;
const COUNT: u16 = 4_000;
/// How much of it is taken, in percent.
const SHARES: [u16; 3] = [1, 50, 99];
const ROUNDS: usize = 2_000;

/// Measures the kernel and, on the same range, ourselves.
pub(crate) fn beside(report: &mut Report) {
    let theirs = match in_a_namespace() {
        Ok(theirs) => theirs,
        Err(why) => return report.fact("the kernel's bind(0) and connect()", "not measured", &why),
    };
    let range = |number| Port::new(number).expect("not zero");
    let range = PortRange::new(range(FIRST), range(FIRST + COUNT - 1)).expect("ascending");
    for (share, [bind, connect]) in SHARES.into_iter().zip(theirs) {
        let taken = u32::from(COUNT) * u32::from(share) / 100;
        let mut table = chosen(range, taken);
        let ours = calls(|| open_bind_release(&mut table));
        row(
            report,
            &format!("bind(0) + close, {share} % of {COUNT} taken"),
            bind,
            ours,
        );
        let (mut table, remote) = connected(range, taken);
        let ours = calls(|| connect_release(&mut table, remote));
        row(
            report,
            &format!("connect(), {share} % of {COUNT} taken"),
            connect,
            ours,
        );
    }
}

fn row(report: &mut Report, what: &str, theirs: Calls, ours: Calls) {
    report.row(&format!("the kernel's {what}"), theirs.median, "", "");
    let ratio = format!("kernel {:.0} ×", theirs.median / ours.median);
    report.row(&format!("ours, {what}"), ours.median, &ratio, "");
    eprintln!("{what}: kernel {}, ours {}", both(theirs), both(ours));
}

fn in_a_namespace() -> Result<Vec<[Calls; 2]>, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--net"]);
    let output = unshare.arg(program).arg(CHILD).output();
    let output = output.map_err(|error| format!("unshare: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr)
            .trim()
            .replace('\n', "; "));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let pairs = numbers.chunks_exact(4).map(|four| {
        let calls = |at: usize| Calls {
            median: four[at],
            p99: four[at + 1],
        };
        [calls(0), calls(2)]
    });
    Ok(pairs.collect())
}

/// What is run in the namespace: for each share four numbers.
pub(crate) fn child() {
    let lo = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(lo.is_ok_and(|status| status.success()), "ip link set lo up");
    let range = format!("{FIRST} {}", FIRST + COUNT - 1);
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", range).expect("the namespace is ours");
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to the maximum anybody may");
    for share in SHARES {
        let taken = usize::from(COUNT) * usize::from(share) / 100;
        for Calls { median, p99 } in [binds(taken), connects(taken)] {
            println!("{median} {p99}");
        }
    }
}

fn socket() -> OwnedFd {
    rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket")
}

fn any() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)
}

fn binds(taken: usize) -> Calls {
    let bound = || {
        let socket = socket();
        rustix::net::bind(&socket, &any()).expect("a port is free");
        socket
    };
    let held: Vec<OwnedFd> = (0..taken).map(|_| bound()).collect();
    let calls = some_calls(ROUNDS, || drop(bound()));
    drop(held);
    calls
}

fn connects(taken: usize) -> Calls {
    let listener = socket();
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80);
    sockopt::set_socket_reuseaddr(&listener, true).expect("an option");
    rustix::net::bind(&listener, &to).expect("port 80 is free here");
    rustix::net::listen(&listener, 64).expect("nobody else listens");
    let connected = || {
        let client = socket();
        // Closed by a reset, so that no TIME-WAIT is left.
        sockopt::set_socket_linger(&client, Some(Duration::ZERO)).expect("an option");
        rustix::net::connect(&client, &to).expect("a port is free");
        let server = rustix::net::accept(&listener).expect("it is connected");
        (client, server)
    };
    let held: Vec<_> = (0..taken).map(|_| connected()).collect();
    let clock = some_calls(ROUNDS, || {
        let (client, server) = connected();
        drop(client);
        drop(server);
    });
    drop(held);
    clock
}
