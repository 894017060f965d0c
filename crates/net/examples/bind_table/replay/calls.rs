//! The calls of the C library, made on the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use wharf_net::{AcceptError, Host, Setting, SocketId, tcp};
use wharf_port::table::{Device, Reuse, State};
use wharf_port::{Cover, Domain, Endpoint, Local, Port, Protocol};

use super::errno;
use super::file::{Family, How, Name, Proto, Wanted};
use super::machine::{Answer, Machine, PATIENCE, Socket, done};

impl Machine {
    pub(super) fn socket(&mut self, wanted: &Wanted) -> Result<Answer, String> {
        let protocol = match wanted.proto {
            Proto::Tcp => Protocol::Tcp,
            Proto::Udp => Protocol::Udp,
        };
        let domain = match (wanted.af, wanted.v6only.unwrap_or(self.conditions.v6only)) {
            (4, _) => Domain::V4,
            (6, true) => Domain::V6Only,
            (6, false) => Domain::Dual,
            (other, _) => return Err(format!("af {other} is neither 4 nor 6")),
        };
        let reuse = Reuse::new(wanted.ra, wanted.rp);
        let device = match &wanted.dev {
            Some(name) => Some(self.device(name)?),
            None => None,
        };
        let Ok(id) = self.host.open(protocol, domain) else {
            return Ok(Err("ENFILE"));
        };
        for setting in [
            Setting::Reuse(reuse),
            Setting::User(wanted.uid),
            Setting::Device(device),
            Setting::Ports(wanted.range),
        ] {
            let set = self.host.set(self.now, id, setting);
            set.map_err(|error| error.to_string())?;
        }
        let socket = Socket {
            id,
            protocol,
            domain,
            reuse,
            port_later: wanted.no_port,
            address: None,
        };
        self.sockets.insert(wanted.s.clone(), socket);
        Ok(done(()))
    }

    /// A device: the host's loopback, or one that is not the host's.
    pub(super) fn device(&mut self, name: &str) -> Result<Device, String> {
        let next = u32::try_from(self.devices.len()).ok();
        let next = next.and_then(|count| Device::new(Host::LINK.number() + count));
        let next = next.ok_or("too many devices")?;
        Ok(*self.devices.entry(name.to_owned()).or_insert(next))
    }

    pub(super) fn bind(
        &mut self,
        name: &str,
        address: IpAddr,
        port: Option<Port>,
        (family, length): (Option<Family>, Option<usize>),
    ) -> Answer {
        let socket = self.find(name)?;
        let address = read(socket.domain, address, family, length)?;
        if port.is_none() && socket.port_later {
            let bound = self.host.bind_address(socket.id, address);
            bound.map_err(|error| errno::of_bind(&error))?;
            if let Some(socket) = self.sockets.get_mut(name) {
                socket.address = Some(address);
            }
            return done(());
        }
        let bound = self.host.bind(socket.id, Local { address, port });
        bound.map_err(|error| errno::of_bind(&error)).and_then(done)
    }

    pub(super) fn listen(&mut self, name: &str, backlog: i64) -> Answer {
        let id = self.find(name)?.id;
        let backlog = usize::try_from(backlog).unwrap_or(usize::MAX);
        let listening = self.host.listen(id, backlog.min(self.conditions.somaxconn));
        listening
            .map_err(|error| errno::of_listen(&error))
            .and_then(done)
    }

    /// Connects, and waits until that is decided.
    pub(super) fn connect(&mut self, id: SocketId, remote: Endpoint) -> Answer {
        self.connect_within(id, remote, PATIENCE)
    }

    pub(super) fn connect_within(
        &mut self,
        id: SocketId,
        remote: Endpoint,
        patience: Duration,
    ) -> Answer {
        let flow = self.host.connect(self.now, id, remote);
        let flow = flow.map_err(|error| errno::of_connect(&error))?;
        if flow.protocol == Protocol::Udp {
            self.settle();
            return done(());
        }
        let decided = |host: &Host| match host.state(id) {
            Some(tcp::State::SynSent | tcp::State::SynReceived) => None,
            Some(tcp::State::Closed) | None => Some(Err(errno::of_attempt(host.error(id)))),
            Some(_) => Some(done(())),
        };
        let answer = self.wait(patience, decided).unwrap_or(Err("ETIMEDOUT"));
        if answer.is_err() {
            // The call leaves a socket with which one can try again.
            self.host.disconnect(self.now, id).map_err(|_| "EBADF")?;
            self.settle();
        }
        answer
    }

    pub(super) fn client(&mut self, name: &str, to: IpAddr, remote: Endpoint) -> Answer {
        let id = self.fresh(to)?;
        let socket = Socket {
            id,
            protocol: Protocol::Tcp,
            domain: domain_for(to),
            reuse: Reuse::Nothing,
            port_later: false,
            address: None,
        };
        self.sockets.insert(name.to_owned(), socket);
        self.connect(id, remote)
    }

    pub(super) fn fresh(&mut self, to: IpAddr) -> Result<SocketId, &'static str> {
        let opened = self.host.open(Protocol::Tcp, domain_for(to));
        opened.map_err(|_| "ENFILE")
    }

    pub(super) fn accept(&mut self, name: &str, accepted: &str) -> Answer {
        let listener = self.find(name)?;
        let id = self.host.accept(listener.id).map_err(|error| match error {
            AcceptError::Empty => "EAGAIN",
            AcceptError::Gone(_) => "EINVAL",
        })?;
        let socket = Socket { id, ..listener };
        self.sockets.insert(accepted.to_owned(), socket);
        done(())
    }

    pub(super) fn close(&mut self, name: &str) -> Answer {
        let socket = self.sockets.remove(name).ok_or("EBADF")?;
        self.host.close(self.now, socket.id);
        self.settle();
        done(())
    }

    pub(super) fn shutdown(&mut self, name: &str, how: How) -> Answer {
        let id = self.find(name)?.id;
        match self.host.state(id) {
            Some(tcp::State::Closed) => return Err("ENOTCONN"),
            Some(_) if how == How::Rd => return done(()),
            Some(_) => {
                self.host.shutdown(self.now, id);
                self.settle();
                return done(());
            }
            None => {}
        }
        match (self.state_of(id), how) {
            (Some(State::Listening), How::Wr) => done(()),
            (Some(State::Listening), How::Rd | How::Rdwr) => {
                let bound = self.host.unlisten(self.now, id);
                self.settle();
                bound.map_err(|_| "EBADF").and_then(done)
            }
            _ => Err("ENOTCONN"),
        }
    }

    pub(super) fn set(&mut self, name: &str, option: Name, on: bool) -> Answer {
        let bound = self.find(name)?;
        let bound = self.host.bound(bound.id).is_some();
        let socket = self.sockets.get_mut(name).ok_or("EBADF")?;
        let setting = match option {
            Name::Ra => Setting::Reuse(Reuse::new(on, socket.reuse.port())),
            Name::Rp => Setting::Reuse(Reuse::new(socket.reuse.address(), on)),
            Name::V6only if bound => return Err("EINVAL"),
            Name::V6only if socket.domain == Domain::V4 => return Err("ENOPROTOOPT"),
            Name::V6only if on => Setting::Domain(Domain::V6Only),
            Name::V6only => Setting::Domain(Domain::Dual),
        };
        match setting {
            Setting::Reuse(reuse) => socket.reuse = reuse,
            Setting::Domain(domain) => socket.domain = domain,
            _ => {}
        }
        let set = self.host.set(self.now, socket.id, setting);
        set.map_err(|_| "EBADF").and_then(done)
    }

    pub(super) fn disconnect(&mut self, name: &str) -> Answer {
        let id = self.find(name)?.id;
        let parted = self.host.disconnect(self.now, id);
        self.settle();
        parted.map_err(|_| "EBADF").and_then(done)
    }

    pub(super) fn local_port(&self, name: &str) -> Answer {
        let Some((_, port)) = self.host.bound(self.find(name)?.id) else {
            return Ok("zero".to_owned());
        };
        let named = self.ports.iter().find(|(_, named)| **named == port);
        Ok(named.map_or("ephemeral", |(name, _)| name).to_owned())
    }

    /// The local address as getsockname tells it: an IPv6 socket has IPv4 addresses in mapped form.
    pub(super) fn local_address(&self, name: &str) -> Answer {
        let socket = self.find(name)?;
        let bound = self.host.bound(socket.id).map(|(cover, _)| cover);
        let unbound = match socket.address {
            Some(address) => socket.domain.cover(address).map_err(|_| "EBADF")?,
            None => socket.domain.wildcard(),
        };
        let address = match bound.unwrap_or(unbound) {
            Cover::V4(v4) => IpAddr::V4(v4),
            Cover::AllV4 => Ipv4Addr::UNSPECIFIED.into(),
            Cover::V6(v6) => v6.into(),
            Cover::AllV6 | Cover::All => Ipv6Addr::UNSPECIFIED.into(),
        };
        Ok(match (socket.domain, address) {
            (Domain::V6Only | Domain::Dual, IpAddr::V4(v4)) => v4.to_ipv6_mapped().to_string(),
            _ => address.to_string(),
        })
    }
}

fn domain_for(to: IpAddr) -> Domain {
    match to {
        IpAddr::V4(_) => Domain::V4,
        IpAddr::V6(_) => Domain::Dual,
    }
}

/// Reads a socket address as a socket of this domain does: by its length, then by the family in it.
fn read(
    domain: Domain,
    address: IpAddr,
    family: Option<Family>,
    length: Option<usize>,
) -> Result<IpAddr, &'static str> {
    let (natural, size) = match address {
        IpAddr::V4(_) => (Family::Inet, 16),
        IpAddr::V6(_) => (Family::Inet6, 28),
    };
    // An IPv6 socket address without its scope is 24 octets long (RFC 2133).
    let (wanted, least) = match domain {
        Domain::V4 => (Family::Inet, 16),
        Domain::V6Only | Domain::Dual => (Family::Inet6, 24),
    };
    if length.unwrap_or(size) < least {
        return Err("EINVAL");
    }
    match family.unwrap_or(natural) {
        family if family == wanted => Ok(address),
        Family::Unspec if domain == Domain::V4 && address == Ipv4Addr::UNSPECIFIED => Ok(address),
        _ => Err("EAFNOSUPPORT"),
    }
}
