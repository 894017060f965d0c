//! `wharf free`: ports that nobody has, and programs that are started with them.
//!
//! A port that is only printed may be taken before it is used. `--hold` leaves no such gap: the sockets that found the ports
//! free are the ones that the program gets, numbered from 3 on, as systemd passes them (`sd_listen_fds(3)`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::Result;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with, sockopt};
use serde::Serialize;
use wharf_port::{Port, PortRange, Protocol, registry};

use crate::failure::{Failure, cannot_run, status};
use crate::list::render::SCHEMA;
use crate::{cli, output, sys};

/// Prints ports, or becomes the program that has them; exit status 1 if there are too few.
pub(crate) fn free(typed: &cli::Free) -> Result<ExitCode> {
    let protocol = match typed.udp {
        true => Protocol::Udp,
        false => Protocol::Tcp,
    };
    let candidates = candidates(typed.range);
    let wanted = usize::from(typed.count);
    if typed.hold {
        let held = find(candidates, wanted, |port| held(protocol, typed.at, port));
        return start(enough(held, typed)?, typed);
    }
    // Held until all are found, so that no two are the same one.
    let found = find(candidates, wanted, |port| proof(protocol, port));
    let ports: Vec<_> = enough(found, typed)?
        .into_iter()
        .map(|(port, _)| port)
        .collect();
    if typed.json {
        output::line(json(protocol, &ports))?;
    } else {
        ports.iter().try_for_each(output::line)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The ports of a range from a random one on, those that people use for something last: whoever wants them will come.
fn candidates(range: PortRange) -> impl Iterator<Item = Port> {
    let (first, count) = (u32::from(range.first().number()), range.count());
    let start = rand::random_range(0..count);
    let ports = move || {
        let numbers = (0..count).map(move |step| first + (start + step) % count);
        numbers.filter_map(|number| Port::new(u16::try_from(number).ok()?))
    };
    let has_use = |port: &Port| !registry::common(*port).is_empty();
    ports()
        .filter(move |port| !has_use(port))
        .chain(ports().filter(has_use))
}

fn find<T>(
    candidates: impl Iterator<Item = Port>,
    wanted: usize,
    take: impl Fn(Port) -> io::Result<T>,
) -> io::Result<Vec<(Port, T)>> {
    let mut found = Vec::new();
    let mut other = None;
    for port in candidates {
        if found.len() == wanted {
            break;
        }
        match take(port) {
            Ok(taken) => found.push((port, taken)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            // A system port, mostly; others may still be had.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => other = Some(error),
            Err(error) => return Err(error),
        }
    }
    match other {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

fn enough<T>(found: io::Result<Vec<(Port, T)>>, typed: &cli::Free) -> Result<Vec<(Port, T)>> {
    let range = typed.range;
    let found = found.map_err(|error| Failure {
        message: match error.kind() {
            io::ErrorKind::PermissionDenied => format!("{range}: {error}; ports below 1024 are free to all inside a space: wharf run -- wharf free {range}"),
            _ => format!("cannot bind at {}: {error}", typed.at),
        },
        status: status::NOT_PERMITTED,
    })?;
    if found.len() < usize::from(typed.count) {
        let message = format!(
            "{} of {range} are free, {} are wanted",
            found.len(),
            typed.count
        );
        return Err(Failure {
            message,
            status: status::NOTHING,
        }
        .into());
    }
    Ok(found)
}

/// Sockets that have the port at every address: the proof that nobody else has it at any.
fn proof(protocol: Protocol, port: Port) -> io::Result<Vec<OwnedFd>> {
    let everywhere: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let mut sockets = Vec::new();
    for address in everywhere {
        match bound(protocol, address, port) {
            Ok(socket) => sockets.push(socket),
            // A machine without IPv6 has no ports there.
            Err(error) if address.is_ipv6() && no_ipv6(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sockets)
}

fn no_ipv6(error: &io::Error) -> bool {
    [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL]
        .map(Some)
        .contains(&error.raw_os_error())
}

/// A socket that is bound there, and nowhere else.
fn bound(protocol: Protocol, address: IpAddr, port: Port) -> io::Result<OwnedFd> {
    let family = match address {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &SocketAddr::new(address, port.number()))?;
    Ok(socket)
}

/// A socket that a program can be given.
fn held(protocol: Protocol, address: IpAddr, port: Port) -> io::Result<OwnedFd> {
    let at = (address, port.number());
    Ok(match protocol {
        Protocol::Tcp => TcpListener::bind(at)?.into(),
        Protocol::Udp => UdpSocket::bind(at)?.into(),
    })
}

/// Becomes the program.
fn start(held: Vec<(Port, OwnedFd)>, typed: &cli::Free) -> Result<ExitCode> {
    let (name, arguments) = typed
        .command
        .split_first()
        .expect("--hold requires a command");
    let names: Vec<_> = held.iter().map(|(port, _)| port.to_string()).collect();
    let mut command = Command::new(name);
    // What takes this process's place has its number.
    command
        .args(arguments)
        .env("LISTEN_FDS", held.len().to_string())
        .env("LISTEN_PID", std::process::id().to_string())
        .env("LISTEN_FDNAMES", names.join(":"));
    let sockets: Vec<_> = held.into_iter().map(|(_, socket)| socket).collect();
    sys::pass_from_3(&mut command, &sockets)?;
    let error = command.exec();
    Err(cannot_run(name, error).into())
}

fn json(protocol: Protocol, ports: &[Port]) -> String {
    #[derive(Serialize)]
    struct Free<'a> {
        schema: u32,
        protocol: &'a str,
        ports: Vec<u16>,
    }
    serde_json::to_string(&Free {
        schema: SCHEMA,
        protocol: protocol.name(),
        ports: ports.iter().map(|port| port.number()).collect(),
    })
    .expect("a list of numbers always has a JSON form")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_port_of_a_range_is_a_candidate_once_those_with_a_use_last() {
        let found: Vec<_> = candidates("5430-5440".parse().unwrap())
            .map(Port::number)
            .collect();
        assert_eq!(
            found.iter().copied().collect::<BTreeSet<_>>(),
            (5430..=5440).collect()
        );
        assert_eq!(found.len(), 11);
        let uses = |port: &u16| !registry::common(Port::new(*port).unwrap()).is_empty();
        assert!(found.is_sorted_by_key(uses), "{found:?}");
        assert!(found.iter().any(uses), "{found:?}");
    }

    #[test]
    fn a_port_that_anybody_has_at_any_address_is_not_free() {
        for address in ["127.0.0.1:0", "127.77.0.9:0", "[::1]:0", "0.0.0.0:0"] {
            let other = TcpListener::bind(address).unwrap();
            let port = Port::new(other.local_addr().unwrap().port()).unwrap();
            let error = proof(Protocol::Tcp, port).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{address}");
        }
    }
}
