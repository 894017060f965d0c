//! Our host, in virtual time.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use wharf_net::tcp::{self, Algorithm, EcnUse, KeepAlive, State};
use wharf_net::wire::ethernet::Mac;
use wharf_net::{Capabilities, Frame, Host, Instant, Offload, Setting, SocketId};
use wharf_port::{Domain, Endpoint, Port, Protocol};

use super::machine::{Machine, Read};
use super::parse::Family;
use crate::network::{LEFT_MAC, Side, ordinary};
use crate::play::craft;

pub(crate) struct Ours {
    host: Host,
    now: Instant,
    sent: VecDeque<(Instant, Vec<u8>)>,
    listener: Option<SocketId>,
    socket: Option<SocketId>,
}

const EPOCH: Instant = Instant::from_millis(100_000);

impl Ours {
    /// A host with the defaults, but with Reno: its steps can be told in a script.
    pub(crate) fn new() -> Self {
        let mut config = ordinary(Side::Left, Capabilities::NONE);
        config.tcp.congestion = Algorithm::Reno;
        config.tcp.ecn = EcnUse::Accept;
        Self {
            host: Host::new(config),
            now: EPOCH,
            sent: VecDeque::new(),
            listener: None,
            socket: None,
        }
    }

    /// Takes what the host has to send; questions where the peer is are answered at once.
    fn collect(&mut self) {
        while let Some(frame) = self.host.transmit(self.now) {
            let frame = frame.to_ethernet().to_vec();
            match craft::answer(&frame) {
                Some(answer) => self.receive(answer),
                None => self.sent.push_back((self.now, frame)),
            }
        }
        while self.host.event().is_some() {}
    }

    fn receive(&mut self, frame: Vec<u8>) {
        let frame = Frame::from_ethernet(frame.into(), Offload::default());
        self.host.receive(self.now, frame);
    }

    fn socket(&self) -> SocketId {
        self.socket.expect("a script has a socket before it calls")
    }
}

impl Machine for Ours {
    fn now(&self) -> Duration {
        self.now - EPOCH
    }

    fn slack(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(1000)
    }

    fn mac(&self) -> Mac {
        LEFT_MAC
    }

    fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => [10, 0, 0, 1].into(),
            Family::V6 => "fd00::1".parse().expect("an address"),
        }
    }

    fn give(&mut self, frame: Vec<u8>) {
        self.receive(frame);
        self.collect();
    }

    fn sent(&mut self, until: Duration) -> Option<(Duration, Vec<u8>)> {
        let until = EPOCH + until;
        loop {
            self.collect();
            if let Some((at, frame)) = self.sent.pop_front() {
                return Some((at - EPOCH, frame));
            }
            match self.host.deadline().filter(|at| *at <= until) {
                Some(at) => {
                    self.now = self.now.max(at);
                    self.host.expire(self.now);
                }
                None => {
                    self.now = self.now.max(until);
                    return None;
                }
            }
        }
    }

    fn listen(&mut self, family: Family, port: u16, backlog: usize) {
        let domain = match family {
            Family::V4 => Domain::V4,
            Family::V6 => Domain::V6Only,
        };
        let listener = self
            .host
            .open(Protocol::Tcp, domain)
            .expect("there is room");
        let port = Port::new(port).expect("a script's port is not 0");
        let place = Endpoint::new(self.address(family), port);
        self.host.bind(listener, place.into()).expect("it is free");
        self.host.listen(listener, backlog).expect("it is free");
        self.listener = Some(listener);
        self.socket = Some(listener);
    }

    fn connect(&mut self, to: IpAddr, port: u16) -> u16 {
        let socket = self
            .host
            .open(Protocol::Tcp, Domain::Dual)
            .expect("there is room");
        let port = Port::new(port).expect("a script's port is not 0");
        let flow = self.host.connect(self.now, socket, Endpoint::new(to, port));
        self.socket = Some(socket);
        self.collect();
        flow.expect("there is a way to the peer")
            .local
            .port()
            .number()
    }

    fn accept(&mut self) -> bool {
        let listener = self.listener.expect("a script listens before it accepts");
        let accepted = self.host.accept(listener);
        self.socket = accepted.ok().or(self.socket);
        accepted.is_ok()
    }

    fn is_connected(&mut self) -> bool {
        self.host.state(self.socket()) == Some(State::Established)
    }

    fn write(&mut self, octets: &[u8]) -> usize {
        let taken = self
            .host
            .write(self.now, self.socket(), Bytes::copy_from_slice(octets));
        self.collect();
        taken.unwrap_or(0)
    }

    fn read(&mut self, count: usize) -> Read {
        let socket = self.socket();
        let mut octets: Vec<u8> = self.host.chunks(socket).flatten().copied().collect();
        octets.truncate(count);
        if !octets.is_empty() {
            self.host.consume(self.now, socket, octets.len());
            self.collect();
            return Read::Octets(octets);
        }
        match (self.error(), self.host.is_read_closed(socket)) {
            ("none", true) => Read::End,
            ("none", false) => Read::Nothing,
            (error, _) => Read::Error(error),
        }
    }

    fn error(&mut self) -> &'static str {
        match self.host.error(self.socket()) {
            None => "none",
            Some(tcp::Error::Refused) => "refused",
            Some(tcp::Error::Reset | tcp::Error::Aborted) => "reset",
            Some(tcp::Error::TimedOut) => "timeout",
            Some(tcp::Error::Unreachable) => "unreachable",
        }
    }

    fn shutdown(&mut self) {
        self.host.shutdown(self.now, self.socket());
        self.collect();
    }

    fn close(&mut self) {
        self.host.close(self.now, self.socket());
        self.collect();
    }

    fn abort(&mut self) {
        self.host.abort(self.now, self.socket());
        self.collect();
    }

    fn set(&mut self, words: &[String]) -> bool {
        let seconds = |at: usize| {
            words
                .get(at)
                .and_then(|word| word.parse().ok())
                .map(Duration::from_secs)
        };
        let setting = match words[0].as_str() {
            "nodelay" => Setting::NoDelay(true),
            "cork" => Setting::Cork(true),
            "uncork" => Setting::Cork(false),
            "keepalive" => match (
                seconds(1),
                seconds(2),
                words.get(3).and_then(|word| word.parse().ok()),
            ) {
                (Some(idle), Some(interval), Some(count)) => Setting::KeepAlive(Some(KeepAlive {
                    idle,
                    interval,
                    count,
                })),
                _ => return false,
            },
            "user_timeout" => Setting::UserTimeout(seconds(1)),
            "receive" => match words.get(1).and_then(|word| word.parse().ok()) {
                Some(octets) => Setting::ReceiveBuffer(octets),
                None => return false,
            },
            _ => return false,
        };
        let set = self.host.set(self.now, self.socket(), setting).is_ok();
        self.collect();
        set
    }
}
