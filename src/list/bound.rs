//! Sockets that are bound and do not listen, on kernels that don't show them.
//!
//! Since Linux 6.8 [`super::diag`] gets them from the kernel. Before that they are in no list of it: what is left is to
//! look at every descriptor of every process that lets itself be looked at, by taking a copy of it for a moment. What
//! another user's processes hold stays unknown.
//!
//! To have read: `pidfd_getfd(2)`.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use super::diag::{Socket, State};
use super::holders::{NetNamespace, sockets_of, walk};
use wharf_port::Protocol;

/// The TCP sockets of `namespace` that are bound and neither listen nor are connected, but for those whose inodes
/// are `known`.
pub(super) fn sockets(namespace: NetNamespace, known: &HashSet<u64>) -> Vec<Socket> {
    let mut found: Vec<Socket> = Vec::new();
    let visit = |pid: Pid, process: BorrowedFd<'_>| {
        if NetNamespace::of_process(process) != Some(namespace) {
            return;
        }
        let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
            return;
        };
        for (descriptor, inode) in sockets_of(process).unwrap_or_default() {
            if known.contains(&inode) || found.iter().any(|socket| socket.inode == inode) {
                continue;
            }
            let flags = PidfdGetfdFlags::empty();
            if let Ok(copy) = rustix::process::pidfd_getfd(&pidfd, descriptor, flags) {
                found.extend(bound(&copy, inode));
            }
        }
    };
    // Without /proc there is nothing to be found.
    walk(visit).ok();
    found
}

/// The socket, if it is one of TCP that is only bound.
fn bound(copy: &OwnedFd, inode: u64) -> Option<Socket> {
    let family = sockopt::socket_domain(copy).ok()?;
    let is_tcp = [AddressFamily::INET, AddressFamily::INET6].contains(&family)
        && sockopt::socket_type(copy).ok()? == SocketType::STREAM;
    if !is_tcp || sockopt::socket_acceptconn(copy).ok()? || rustix::net::getpeername(copy).is_ok() {
        return None;
    }
    let own = SocketAddr::try_from(rustix::net::getsockname(copy).ok()?).ok()?;
    Some(Socket {
        protocol: Protocol::Tcp,
        address: own.ip(),
        port: NonZeroU16::new(own.port())?,
        state: State::Bound,
        peer: None,
        expires: None,
        waiting: 0,
        ipv6_only: match family {
            AddressFamily::INET6 => sockopt::ipv6_v6only(copy).ok(),
            _ => None,
        },
        inode,
        uid: rustix::fs::fstat(copy.as_fd()).ok()?.st_uid,
        cookie: sockopt::socket_cookie(copy).ok()?,
        cgroup: None,
        carried: None,
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};

    use super::super::diag;
    use super::*;

    #[test]
    fn a_bound_socket_is_found_in_its_process_as_the_kernel_shows_it() {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let inode = |fd: &dyn std::os::fd::AsFd| rustix::fs::fstat(fd).unwrap().st_ino;
        let own = NetNamespace::of(File::open("/proc/self/ns/net").unwrap()).unwrap();

        let found = sockets(own, &HashSet::new());
        let by = |wanted: u64| found.iter().find(|socket| socket.inode == wanted);
        let bound = by(inode(&socket)).unwrap();
        assert_eq!(by(inode(&listener)), None);
        assert_eq!(by(inode(&client)), None);
        let without = sockets(own, &HashSet::from([inode(&socket)]));
        assert!(without.iter().all(|other| other.inode != inode(&socket)));

        if diag::shows_bound() {
            let wanted = diag::Wanted {
                bytes: diag::Bytes::Untold,
                states: diag::States::Idle,
                protocol: Some(Protocol::Tcp),
                port: Some(bound.port),
            };
            let dumped = diag::dump_wanted(diag::open().unwrap().as_fd(), &wanted).unwrap();
            let [mut told] = dumped[..] else {
                panic!("{dumped:?}");
            };
            told.cgroup = None;
            assert_eq!(told, *bound);
        }
    }
}
