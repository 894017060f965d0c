//! A machine for one case: a host, its clock, and names for its sockets and ports. It makes the calls, and puts the host's
//! answers in the words of the C library.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use wharf_net::wire::ethernet::Mac;
use wharf_net::{Config, Host, Instant, SocketId};
use wharf_port::table::{Device, Reuse};
use wharf_port::{Domain, Endpoint, Local, Port, Protocol};

use super::file::{Conditions, Number, Step};

/// The first port that a name stands for: below every range that connections choose from.
const FIRST_NAMED: u16 = 2001;
/// Ports at which the recorded machine had listeners.
const ENVIRONMENT: [&str; 2] = ["Q", "R"];
/// How long a connection attempt is waited for, and TIME-WAIT: two seconds of virtual time are enough for any
/// timer on the way.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// What a call returns: what the recorder would have written, a C error's name included.
pub(super) type Answer = Result<String, &'static str>;

/// A named socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Socket {
    pub(super) id: SocketId,
    pub(super) protocol: Protocol,
    pub(super) domain: Domain,
    pub(super) reuse: Reuse,
    /// Whether it is bound to an address first and gets its port when it connects.
    pub(super) port_later: bool,
    /// The address that it was bound to without a port.
    pub(super) address: Option<IpAddr>,
}

/// A machine.
pub(crate) struct Machine {
    pub(super) host: Host,
    pub(super) now: Instant,
    pub(super) conditions: Conditions,
    pub(super) ports: HashMap<String, Port>,
    pub(super) devices: HashMap<String, Device>,
    pub(super) sockets: HashMap<String, Socket>,
}

pub(super) fn done<T>(_: T) -> Answer {
    Ok("ok".to_owned())
}

impl Machine {
    pub(crate) fn new(conditions: &Conditions) -> Result<Self, String> {
        let mut config = Config::new(Mac([2, 0, 0, 0, 0, 1]), [3; 32]);
        config.addresses = vec!["fd00::2/128".parse().expect("an address")];
        config.ports = conditions.ports;
        config.tcp.timestamps = conditions.timestamps;
        let mut machine = Self {
            host: Host::new(config),
            now: Instant::from_millis(1_000),
            conditions: *conditions,
            ports: HashMap::new(),
            devices: HashMap::from([("lo".to_owned(), Host::LOOPBACK)]),
            sockets: HashMap::new(),
        };
        for name in ENVIRONMENT {
            let port = machine.named(name)?;
            for (domain, address) in [
                (Domain::V4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                (Domain::V6Only, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            ] {
                let local = Local {
                    address,
                    port: Some(port),
                };
                machine.serve(domain, local)?;
            }
        }
        Ok(machine)
    }

    fn serve(&mut self, domain: Domain, local: Local) -> Result<(), String> {
        let id = self.host.open(Protocol::Tcp, domain);
        let id = id.map_err(|error| error.to_string())?;
        let bound = self.host.bind(id, local);
        bound.map_err(|error| error.to_string())?;
        let listening = self.host.listen(id, self.conditions.somaxconn);
        listening.map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Makes a call and returns the answer to it.
    ///
    /// # Errors
    /// Why such a call can't be made here.
    pub(crate) fn call(&mut self, step: &Step) -> Result<String, String> {
        let answer = match step {
            Step::Socket(wanted) => self.socket(wanted)?,
            Step::Bind {
                s,
                addr,
                port,
                sa_family,
                sa_len,
            } => {
                let port = self.number(port)?;
                self.bind(s, *addr, port, (*sa_family, *sa_len))
            }
            Step::Listen { s, backlog } => self.listen(s, *backlog),
            Step::Connect { s, addr, port } => {
                let remote = self.endpoint(*addr, port)?;
                let id = self.find(s).map(|socket| socket.id);
                id.and_then(|id| self.connect(id, remote))
            }
            Step::Client { s, addr, port } => {
                let remote = self.endpoint(*addr, port)?;
                self.client(s, *addr, remote)
            }
            Step::Accept { s, name } => self.accept(s, name),
            Step::Close { s } => self.close(s),
            Step::Shutdown { s, how } => self.shutdown(s, *how),
            Step::Setopt { s, name, val } => self.set(s, *name, *val),
            Step::Disconnect { s } => self.disconnect(s),
            Step::AwaitTimewait { port } => {
                let port = self.number(port)?;
                self.await_timewait(port)
            }
            Step::Localport { s } => self.local_port(s),
            Step::Localaddr { s } => self.local_address(s),
            Step::ProbeTcp { to, port } => {
                let remote = self.endpoint(*to, port)?;
                self.probe_tcp(*to, remote)
            }
            Step::ProbeUdp { from, to, port } => {
                let remote = self.endpoint(*to, port)?;
                self.probe_udp(from, remote)
            }
            Step::Fill {
                addr,
                port,
                max,
                ms,
                ..
            } => {
                let remote = self.endpoint(*addr, port)?;
                self.fill(*addr, remote, *max, Duration::from_millis(*ms))
            }
        };
        Ok(answer.unwrap_or_else(str::to_owned))
    }

    /// The port that a name stands for.
    fn named(&mut self, name: &str) -> Result<Port, String> {
        if let Some(port) = self.ports.get(name) {
            return Ok(*port);
        }
        let number = u16::try_from(self.ports.len()).ok();
        let number = number.and_then(|count| FIRST_NAMED.checked_add(count));
        let port = number
            .and_then(Port::new)
            .ok_or("too many names of ports")?;
        self.ports.insert(name.to_owned(), port);
        Ok(port)
    }

    fn number(&mut self, port: &Number) -> Result<Option<Port>, String> {
        match port {
            Number::Literal(number) => Ok(Port::new(*number)),
            Number::Named(name) => self.named(name).map(Some),
        }
    }

    fn endpoint(&mut self, address: IpAddr, port: &Number) -> Result<Endpoint, String> {
        let port = self.number(port)?.ok_or("port 0 is nobody's to send to")?;
        Ok(Endpoint::new(address, port))
    }

    pub(super) fn find(&self, name: &str) -> Result<Socket, &'static str> {
        self.sockets.get(name).copied().ok_or("EBADF")
    }

    /// Lets the host talk to itself until it has nothing to say.
    pub(super) fn settle(&mut self) {
        while self.host.transmit(self.now).is_some() {}
        while self.host.event().is_some() {}
    }

    /// Lets time pass until something is so; nothing if it isn't in time.
    pub(super) fn wait<T>(
        &mut self,
        patience: Duration,
        so: impl Fn(&Host) -> Option<T>,
    ) -> Option<T> {
        let end = self.now + patience;
        loop {
            self.settle();
            if let Some(found) = so(&self.host) {
                return Some(found);
            }
            let next = self.host.deadline().filter(|next| *next <= end)?;
            self.now = next.max(self.now);
            self.host.expire(self.now);
        }
    }
}
