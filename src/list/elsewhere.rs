//! Sockets of network namespaces that are neither the machine's nor a space's: containers', mostly.
//!
//! Such a namespace is found by the processes in it, as far as this user may see which they are in. Its sockets stand in
//! `/proc/PID/net`, which needs no way in. Connections and what is only bound are left out: what matters of another
//! namespace is that somebody serves this port there.
//!
//! To have read: `proc_pid_net(5)`, `network_namespaces(7)`.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use rustix::process::Pid;

use super::diag::{Socket, State};
use super::holders::{NetNamespace, Scope, holders_with, walk};
use super::process::{Lookup, Process};
use super::{Hold, Question, hold, of_socket};
use wharf_port::Protocol;

/// More namespaces than these are not looked into.
const NAMESPACES: usize = 64;

/// More lines of a namespace's list are not read.
const LINES: usize = 100_000;

/// The listeners at the question's port in all other namespaces than the `known` ones and this process's own.
///
/// What can't be read is left out: this is told besides.
pub(crate) fn elsewhere(known: &[NetNamespace], question: &Question) -> Vec<Hold> {
    let mut seen: HashSet<_> = known.iter().copied().collect();
    seen.extend(NetNamespace::own());
    let mut found: Vec<(Pid, NetNamespace)> = Vec::new();
    walk(|pid, process| {
        if found.len() < NAMESPACES
            && let Some(namespace) = NetNamespace::of_process(process)
            && seen.insert(namespace)
        {
            found.push((pid, namespace));
        }
    })
    .ok();
    let lookup = Lookup::new(question.detail);
    let mut holds = Vec::new();
    for (pid, namespace) in found {
        holds.extend(holds_in(pid, namespace, question, &lookup));
    }
    holds
}

/// The listeners of one namespace, that of process `pid`.
fn holds_in(pid: Pid, namespace: NetNamespace, question: &Question, lookup: &Lookup) -> Vec<Hold> {
    let mut sockets = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        if question.protocol.is_none_or(|only| only == protocol) {
            for family in ["", "6"] {
                let net = format!("/proc/{}/net", pid.as_raw_pid());
                // The kernel walks the machine's whole table for each list, so an empty one is not asked for.
                if in_use(&format!("{net}/sockstat{family}"), protocol, family) {
                    let path = format!("{net}/{protocol}{family}");
                    sockets.extend(listeners(&path, protocol, question));
                }
            }
        }
    }
    if sockets.is_empty() {
        return Vec::new();
    }
    let inodes = sockets.iter().map(|socket| socket.inode).collect();
    let holders = holders_with(&inodes, Scope::In(&[namespace]), lookup).unwrap_or_default();
    let mut programs: HashMap<u64, Vec<Process>> = super::programs(holders);
    let mut holds: Vec<_> = sockets
        .iter()
        .map(|socket| {
            let programs = programs.remove(&socket.inode).unwrap_or_default();
            let hold = of_socket(None, socket, programs, lookup, Timestamp::now());
            Hold {
                namespace: Some(namespace.number()),
                ..hold
            }
        })
        .collect();
    hold::sort(&mut holds);
    hold::join_groups(&mut holds);
    holds
}

/// Whether a namespace has sockets of this protocol and family at all: `TCP6: inuse 0 …` if not.
fn in_use(path: &str, protocol: Protocol, family: &str) -> bool {
    let head = format!("{}{family}: inuse 0", protocol.name().to_ascii_uppercase());
    let Ok(counts) = std::fs::read_to_string(path) else {
        return true;
    };
    let none = |line: &str| line == head || line.starts_with(&format!("{head} "));
    !counts.lines().any(none)
}

/// The listeners that a file of `/proc/PID/net` has, and the question is about.
fn listeners(path: &str, protocol: Protocol, question: &Question) -> Vec<Socket> {
    let Ok(file) = File::open(path) else {
        return Vec::new();
    };
    let lines = BufReader::new(file).lines().skip(1).take(LINES);
    lines
        .map_while(Result::ok)
        .filter_map(|line| socket(&line, protocol))
        .filter(|it| question.port.is_none_or(|only| only == it.port))
        .collect()
}

/// One line: number, own end, other end, state, queues, timer, retransmits, uid, timeout, inode, …
fn socket(line: &str, protocol: Protocol) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (address, port) = fields.next()?.split_once(':')?;
    let state = u8::from_str_radix(fields.nth(1)?, 16).ok()?;
    let waiting = fields.next()?.split_once(':')?.1;
    let uid = fields.nth(2)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(Socket {
        protocol,
        address: self::address(address)?,
        port: std::num::NonZeroU16::new(u16::from_str_radix(port, 16).ok()?)?,
        state: State::of(state, protocol),
        peer: None,
        expires: None,
        waiting: u32::from_str_radix(waiting, 16).ok()?,
        ipv6_only: None,
        inode,
        uid,
        cookie: 0,
        cgroup: None,
        carried: None,
    })
    .filter(|socket| socket.state == State::Listening)
}

/// An address as the kernel prints it: words of 32 bits in the machine's order, in hexadecimal.
fn address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Some(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_s_is_read_field_by_field() {
        let port = 3000_u16;
        let loopback = format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1]));
        let line = format!(
            "   0: {loopback}:{port:04X} 00000000:0000 0A 00000000:00000003 00:00000000 00000000  1001        0 4242 1 0 100 0 0 10 0"
        );
        let found = socket(&line, Protocol::Tcp).unwrap();
        assert_eq!(found.address, Ipv4Addr::LOCALHOST);
        assert_eq!(
            (found.port.get(), found.inode, found.uid),
            (3000, 4242, 1001)
        );
        assert_eq!(found.waiting, 3);
        assert_eq!(socket(&line.replace(" 0A ", " 01 "), Protocol::Tcp), None);
        for cut in 0..line.find("4242").unwrap() {
            assert_eq!(socket(&line[..cut], Protocol::Tcp), None, "{cut}");
        }
    }

    #[test]
    fn addresses_are_words_in_the_machine_s_order() {
        let one = u32::from_ne_bytes([0, 0, 0, 1]);
        let text = format!("{:024}{one:08X}", 0);
        assert_eq!(address(&text), Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(address("00000000"), Some(Ipv4Addr::UNSPECIFIED.into()));
        assert_eq!(address("0000000"), None);
        assert_eq!(address("0000000G"), None);
    }
}
