//! Doing as told: one JSON object a line, each answered by one.
//!
//! `listen`, `accept`, `connect`, `status`, `send`, `recv`, `shutdown`, `close`, `abort`, `set`, `udp`, `sendto`, `recvfrom`,
//! `reset_all`, `hello`. Sockets go by numbers. What has to wait, waits for `timeout` seconds at most, and the next line waits
//! with it.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use wharf_net::tcp::{Error, KeepAlive, State};
use wharf_net::{AcceptError, Host, Instant, OwnConnectError, RecvError, Setting, SocketId};
use wharf_port::{Domain, Endpoint, Local, Port, Protocol};

/// Why a line is not done: not yet, or never.
enum Hitch {
    Later,
    Failed(&'static str),
}

type Outcome = Result<Value, Hitch>;

#[derive(Default)]
pub(crate) struct Control {
    stream: Option<UnixStream>,
    lines: VecDeque<(Instant, Value)>,
    handles: HashMap<u64, SocketId>,
    /// How many octets of the known pattern each socket has sent.
    patterns: HashMap<u64, usize>,
    unsent: HashMap<u64, Bytes>,
    last: u64,
}

impl Control {
    pub(crate) fn attach(&mut self, stream: UnixStream) {
        self.stream = Some(stream);
    }

    pub(crate) fn take(&mut self, host: &mut Host, now: Instant, line: &str) {
        if let Ok(request) = serde_json::from_str(line) {
            self.lines.push_back((now, request));
            self.go_on(host, now);
        }
    }

    /// When the line in hand has waited long enough.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.lines
            .front()
            .map(|(since, request)| *since + patience(request))
    }

    pub(crate) fn go_on(&mut self, host: &mut Host, now: Instant) {
        let waiting: Vec<u64> = self.unsent.keys().copied().collect();
        for handle in waiting {
            self.push(host, now, handle);
        }
        while let Some((since, request)) = self.lines.front() {
            let (over, request) = (now >= *since + patience(request), request.clone());
            let answer = match self.perform(host, now, &request) {
                Ok(mut answer) => {
                    answer["ok"] = true.into();
                    answer
                }
                Err(Hitch::Later) if !over => return,
                Err(Hitch::Later) => json!({"ok": false, "err": "ETIMEDOUT"}),
                Err(Hitch::Failed(error)) => json!({"ok": false, "err": error}),
            };
            self.lines.pop_front();
            if let Some((since, _)) = self.lines.front_mut() {
                *since = now;
            }
            if let Some(stream) = &mut self.stream {
                let _ = writeln!(stream, "{answer}");
            }
        }
    }

    fn perform(&mut self, host: &mut Host, now: Instant, request: &Value) -> Outcome {
        match request["op"].as_str().unwrap_or("") {
            "hello" => Ok(json!({"agent": "wharf-net"})),
            "listen" => self.listen(host, now, request),
            "accept" => self.accept(host, request),
            "connect" => self.connect(host, now, request),
            "status" => self.status(host, request),
            "send" => self.send(host, now, request),
            "recv" => self.recv(host, now, request),
            "udp" => self.udp(host, now, request),
            "sendto" => self.send_to(host, now, request),
            "recvfrom" => self.recv_from(host, request),
            "set" => self.set(host, now, request),
            "shutdown" => {
                let socket = self.socket(request)?;
                if request["how"] != "rd" {
                    host.shutdown(now, socket);
                }
                Ok(json!({}))
            }
            "close" => self.close(host, now, request),
            "abort" => {
                host.abort(now, self.socket(request)?);
                self.close(host, now, request)
            }
            "reset_all" => {
                for (_, socket) in self.handles.drain() {
                    host.abort(now, socket);
                    host.close(now, socket);
                }
                self.unsent.clear();
                Ok(json!({}))
            }
            _ => Err(Hitch::Failed("ENOSYS")),
        }
    }

    fn name(&mut self, socket: SocketId) -> u64 {
        self.last += 1;
        self.handles.insert(self.last, socket);
        self.last
    }

    fn socket(&self, request: &Value) -> Result<SocketId, Hitch> {
        let handle = request["h"].as_u64().unwrap_or(0);
        self.handles
            .get(&handle)
            .copied()
            .ok_or(Hitch::Failed("EBADF"))
    }

    fn open(
        &mut self,
        host: &mut Host,
        protocol: Protocol,
        local: Local,
    ) -> Result<SocketId, Hitch> {
        let domain = if local.address.is_ipv4() {
            Domain::V4
        } else {
            Domain::V6Only
        };
        let socket = host
            .open(protocol, domain)
            .map_err(|_| Hitch::Failed("ENFILE"))?;
        host.bind(socket, local)
            .map_err(|_| Hitch::Failed("EADDRINUSE"))?;
        Ok(socket)
    }

    fn listen(&mut self, host: &mut Host, now: Instant, request: &Value) -> Outcome {
        let socket = self.open(host, Protocol::Tcp, local(request, "port")?)?;
        apply(host, now, socket, &request["opts"])?;
        let backlog = request["backlog"].as_u64().unwrap_or(128) as usize;
        let port = host
            .listen(socket, backlog)
            .map_err(|_| Hitch::Failed("EADDRINUSE"))?;
        Ok(json!({"h": self.name(socket), "port": port.number()}))
    }

    fn accept(&mut self, host: &mut Host, request: &Value) -> Outcome {
        let listener = self.socket(request)?;
        let socket = host.accept(listener).map_err(|error| match error {
            AcceptError::Empty => Hitch::Later,
            AcceptError::Gone(_) => Hitch::Failed("EINVAL"),
        })?;
        let peer = host.flow(socket).map(|flow| flow.remote);
        let peer = peer.map(|peer| json!([peer.address().to_string(), peer.port().number()]));
        Ok(json!({"h": self.name(socket), "peer": peer}))
    }

    fn connect(&mut self, host: &mut Host, now: Instant, request: &Value) -> Outcome {
        let remote = remote(request)?;
        let domain = if remote.address().is_ipv4() {
            Domain::V4
        } else {
            Domain::V6Only
        };
        let socket = host
            .open(Protocol::Tcp, domain)
            .map_err(|_| Hitch::Failed("ENFILE"))?;
        let port = request["lport"]
            .as_u64()
            .and_then(|port| Port::new(port as u16));
        if port.is_some() {
            let address = match remote.address() {
                IpAddr::V4(_) => IpAddr::from([0; 4]),
                IpAddr::V6(_) => IpAddr::from([0; 16]),
            };
            host.bind(socket, Local { address, port })
                .map_err(|_| Hitch::Failed("EADDRINUSE"))?;
        }
        apply(host, now, socket, &request["opts"])?;
        let flow = host
            .connect(now, socket, remote)
            .map_err(|error| match error {
                OwnConnectError::NoRoute => Hitch::Failed("ENETUNREACH"),
                _ => Hitch::Failed("EADDRNOTAVAIL"),
            })?;
        Ok(json!({"h": self.name(socket), "port": flow.local.port().number()}))
    }

    fn status(&mut self, host: &Host, request: &Value) -> Outcome {
        let socket = self.socket(request)?;
        if let Some(error) = host.error(socket) {
            return Ok(json!({"state": "error", "err": errno(error)}));
        }
        match host.state(socket) {
            Some(State::SynSent | State::SynReceived) if request["timeout"].is_number() => {
                Err(Hitch::Later)
            }
            Some(State::SynSent | State::SynReceived) => Ok(json!({"state": "connecting"})),
            _ => Ok(json!({"state": "connected"})),
        }
    }

    fn send(&mut self, host: &mut Host, now: Instant, request: &Value) -> Outcome {
        let socket = self.socket(request)?;
        if let Some(error) = host.error(socket) {
            return Err(Hitch::Failed(errno(error)));
        }
        let handle = request["h"].as_u64().unwrap_or(0);
        let data: Bytes = match request["n"].as_u64() {
            Some(count) => {
                let sent = self.patterns.entry(handle).or_default();
                let from = core::mem::replace(sent, *sent + count as usize);
                (from..*sent)
                    .map(|at| at % 65536)
                    .map(|at| (at * 7 + (at >> 8)) as u8)
                    .collect()
            }
            None => hex(request["data"].as_str().unwrap_or("")).into(),
        };
        let count = data.len();
        let unsent = self.unsent.remove(&handle).unwrap_or_default();
        self.unsent.insert(handle, [unsent, data].concat().into());
        self.push(host, now, handle);
        Ok(json!({"n": count}))
    }

    fn push(&mut self, host: &mut Host, now: Instant, handle: u64) {
        let (Some(socket), Some(data)) = (self.handles.get(&handle), self.unsent.get_mut(&handle))
        else {
            return;
        };
        match host.write(now, *socket, data.clone()) {
            Ok(taken) if taken < data.len() => *data = data.slice(taken..),
            _ => drop(self.unsent.remove(&handle)),
        }
    }

    fn recv(&mut self, host: &mut Host, now: Instant, request: &Value) -> Outcome {
        let socket = self.socket(request)?;
        let most = request["max"].as_u64().unwrap_or(65536) as usize;
        let data: Vec<u8> = host.chunks(socket).flatten().copied().take(most).collect();
        if !data.is_empty() {
            host.consume(now, socket, data.len());
            let text: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
            return Ok(json!({"data": text, "eof": false}));
        }
        if let Some(error) = host.error(socket) {
            return Err(Hitch::Failed(errno(error)));
        }
        match host.is_read_closed(socket) {
            true => Ok(json!({"data": "", "eof": true})),
            false => Err(Hitch::Later),
        }
    }

    fn udp(&mut self, host: &mut Host, now: Instant, request: &Value) -> Outcome {
        let socket = self.open(host, Protocol::Udp, local(request, "port")?)?;
        if let (Some(address), Some(port)) =
            (request["peer"][0].as_str(), request["peer"][1].as_u64())
        {
            let peer = remote(&json!({"ip": address, "port": port}))?;
            host.connect(now, socket, peer)
                .map_err(|_| Hitch::Failed("ENETUNREACH"))?;
        }
        let port = host.bound(socket).map(|(_, port)| port.number());
        Ok(json!({"h": self.name(socket), "port": port}))
    }

    fn send_to(&mut self, host: &mut Host, now: Instant, request: &Value) -> Outcome {
        let socket = self.socket(request)?;
        let data = hex(request["data"].as_str().unwrap_or(""));
        host.send_to(now, socket, Some(remote(request)?), data.into())
            .map_err(|_| Hitch::Failed("EIO"))?;
        Ok(json!({}))
    }

    fn recv_from(&mut self, host: &mut Host, request: &Value) -> Outcome {
        let received = host
            .recv_from(self.socket(request)?)
            .map_err(|error| match error {
                RecvError::Empty => Hitch::Later,
                RecvError::Refused => Hitch::Failed("ECONNREFUSED"),
                RecvError::Gone => Hitch::Failed("EBADF"),
            })?;
        let text: String = received
            .payload
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        let peer = (
            received.from.address().to_string(),
            received.from.port().number(),
        );
        Ok(json!({"data": text, "peer": [peer.0, peer.1]}))
    }

    fn set(&mut self, host: &mut Host, now: Instant, request: &Value) -> Outcome {
        apply(host, now, self.socket(request)?, &request["opts"])?;
        Ok(json!({}))
    }

    fn close(&mut self, host: &mut Host, now: Instant, request: &Value) -> Outcome {
        let socket = self.socket(request)?;
        let handle = request["h"].as_u64().unwrap_or(0);
        if self.unsent.contains_key(&handle) {
            return Err(Hitch::Later);
        }
        self.handles.remove(&handle);
        host.close(now, socket);
        Ok(json!({}))
    }
}

/// How long a line may wait.
fn patience(request: &Value) -> Duration {
    Duration::from_secs_f64(request["timeout"].as_f64().unwrap_or(5.0).max(0.0))
}

fn local(request: &Value, port: &str) -> Result<Local, Hitch> {
    let address = request["ip"].as_str().and_then(|text| text.parse().ok());
    let address = address.ok_or(Hitch::Failed("EINVAL"))?;
    Ok(Local {
        address,
        port: request[port]
            .as_u64()
            .and_then(|port| Port::new(port as u16)),
    })
}

fn remote(request: &Value) -> Result<Endpoint, Hitch> {
    let local = local(request, "port")?;
    let port = local.port.ok_or(Hitch::Failed("EINVAL"))?;
    Ok(Endpoint::new(local.address, port))
}

fn hex(text: &str) -> Vec<u8> {
    let pairs = text
        .as_bytes()
        .chunks_exact(2)
        .filter_map(|pair| str::from_utf8(pair).ok());
    pairs
        .filter_map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect()
}

fn errno(error: Error) -> &'static str {
    match error {
        Error::Refused => "ECONNREFUSED",
        Error::Reset => "ECONNRESET",
        Error::Aborted => "ECONNABORTED",
        Error::TimedOut => "ETIMEDOUT",
        Error::Unreachable => "EHOSTUNREACH",
    }
}

fn apply(host: &mut Host, now: Instant, socket: SocketId, options: &Value) -> Result<(), Hitch> {
    let number = |name: &str| options[name].as_u64();
    let seconds = |name: &str, default| number(name).map_or(default, Duration::from_secs);
    let mut settings = Vec::new();
    if let Some(on) = number("nodelay") {
        settings.push(Setting::NoDelay(on != 0));
    }
    if let Some(on) = number("cork") {
        settings.push(Setting::Cork(on != 0));
    }
    if let Some(on) = number("keepalive") {
        let default = KeepAlive::default();
        let keepalive = KeepAlive {
            idle: seconds("keepidle", default.idle),
            interval: seconds("keepintvl", default.interval),
            count: number("keepcnt").map_or(default.count, |count| count as u8),
        };
        settings.push(Setting::KeepAlive((on != 0).then_some(keepalive)));
    }
    if let Some(ms) = number("user_timeout") {
        settings.push(Setting::UserTimeout(Some(Duration::from_millis(ms))));
    }
    if let Some(octets) = number("rcvbuf") {
        settings.push(Setting::ReceiveBuffer(octets as usize));
    }
    if let Some(octets) = number("sndbuf") {
        settings.push(Setting::SendBuffer(octets as usize));
    }
    for setting in settings {
        host.set(now, socket, setting)
            .map_err(|_| Hitch::Failed("EBADF"))?;
    }
    Ok(())
}
