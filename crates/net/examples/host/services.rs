//! The small services every host once had: echo (RFC 862), discard (RFC 863), chargen (RFC 864).

use std::collections::HashMap;
use std::error::Error;

use bytes::Bytes;
use wharf_net::{Event, Host, Instant, Ready, SocketId};
use wharf_port::{Domain, Port, Protocol};

#[derive(Clone, Copy)]
enum Service {
    Echo,
    Discard,
    Chargen,
}

/// The services' listeners and sessions.
pub(crate) struct Services {
    listeners: HashMap<SocketId, Service>,
    sessions: HashMap<SocketId, Service>,
    datagrams: SocketId,
}

impl Services {
    pub(crate) fn open(host: &mut Host) -> Result<Self, Box<dyn Error>> {
        let mut listeners = HashMap::new();
        for (port, service) in [
            (7, Service::Echo),
            (9, Service::Discard),
            (19, Service::Chargen),
        ] {
            let socket = host.open(Protocol::Tcp, Domain::Dual)?;
            host.bind(socket, local(port))?;
            host.listen(socket, 512)?;
            listeners.insert(socket, service);
        }
        let datagrams = host.open(Protocol::Udp, Domain::Dual)?;
        host.bind(datagrams, local(7))?;
        Ok(Self {
            listeners,
            sessions: HashMap::new(),
            datagrams,
        })
    }

    /// Does what an event asks for, if it is about one of the services.
    pub(crate) fn react(&mut self, host: &mut Host, now: Instant, event: &Event) {
        match *event {
            Event::Incoming { listener, .. } => {
                let Some(service) = self.listeners.get(&listener).copied() else {
                    return;
                };
                while let Ok(socket) = host.accept(listener) {
                    self.sessions.insert(socket, service);
                    self.go_on(host, now, socket, service);
                }
            }
            Event::Ready { socket, .. } if socket == self.datagrams => {
                while let Ok(received) = host.recv_from(socket) {
                    // An echo that finds no way is lost, as datagrams are.
                    let _ = host.send_to(now, socket, Some(received.from), received.payload);
                }
            }
            Event::Ready { socket, ready } => {
                let Some(service) = self.sessions.get(&socket).copied() else {
                    return;
                };
                if ready.intersects(Ready::FAILED | Ready::CLOSED) {
                    self.sessions.remove(&socket);
                    host.close(now, socket);
                    return;
                }
                self.go_on(host, now, socket, service);
            }
            _ => {}
        }
    }

    fn go_on(&mut self, host: &mut Host, now: Instant, socket: SocketId, service: Service) {
        match service {
            Service::Echo => echo(host, now, socket),
            Service::Discard => {
                let count = host.readable(socket);
                host.consume(now, socket, count);
            }
            Service::Chargen => chargen(host, now, socket),
        }
        if host.is_read_closed(socket) {
            self.sessions.remove(&socket);
            host.close(now, socket);
        }
    }
}

fn local(port: u16) -> wharf_port::Local {
    wharf_port::Local {
        address: std::net::Ipv6Addr::UNSPECIFIED.into(),
        port: Port::new(port),
    }
}

fn echo(host: &mut Host, now: Instant, socket: SocketId) {
    loop {
        let room = host.room(socket);
        let said: Vec<u8> = host.chunks(socket).flatten().copied().take(room).collect();
        if said.is_empty() {
            return;
        }
        let Ok(taken) = host.write(now, socket, said.into()) else {
            return;
        };
        host.consume(now, socket, taken);
    }
}

fn chargen(host: &mut Host, now: Instant, socket: SocketId) {
    let count = host.readable(socket);
    host.consume(now, socket, count);
    while host.room(socket) > 0 {
        let line: Bytes = (b' '..=b'~').cycle().take(8192).collect();
        if host.write(now, socket, line).is_err() {
            return;
        }
    }
}
