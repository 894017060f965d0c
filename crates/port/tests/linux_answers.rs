//! What a Linux kernel answered to 1,359 sequences of calls, asked of the table.
//!
//! A small loopback machine around the table plays what is not the table's: which addresses there are, the
//! handshake, and which side of a connection closes first. `data/bind-table.json` explains its own format.
#![allow(clippy::unwrap_used, reason = "what does not unwrap fails the test")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use serde_json::Value;
use wharf_port::table::{
    BindError, Config, ConnectError, Gone, ListenError, Moment, Request, State,
};
use wharf_port::{
    Device, Domain, Endpoint, Flow, Hold, Local, Port, PortRange, Protocol, Reuse, Table,
};

/// Cases of class `observed` that the table answers differently, or that are not about it.
const DIFFERENT: &[(&str, &str)] = &[
    ("backlog-0003", "the backlog is the host's"),
    ("backlog-0004", "the backlog is the host's"),
    ("backlog-0005", "the backlog is the host's"),
    ("backlog-0008", "the backlog is the host's"),
    (
        "ephemeral4-0067",
        "UDP's choice does not hand out a used port because of a reuse flag",
    ),
];

#[derive(Clone, Copy, PartialEq)]
enum End {
    Open,
    Closed,
}

/// One connection: both holds, and which of them are closed. The first to close waits in the end.
struct Session {
    holds: [Hold; 2],
    ends: [End; 2],
    first: usize,
}

struct Machine {
    table: Table<String>,
    ports: HashMap<String, Port>,
    holds: HashMap<String, Hold>,
    requests: HashMap<String, Request>,
    sessions: Vec<Session>,
    arrived: HashMap<Hold, Vec<Flow>>,
    delayed: HashSet<String>,
}

type Answer = Result<String, &'static str>;

fn done<T>(_: T) -> Answer {
    Ok("ok".into())
}

fn or_closed(result: Result<(), Gone>) -> Answer {
    result.map_or(Err("EBADF"), done)
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

fn bind_errno(error: &BindError<String>) -> &'static str {
    match error {
        BindError::InUse(_) | BindError::Exhausted(_) => "EADDRINUSE",
        BindError::AlreadyBound => "EINVAL",
        BindError::Family(_) => "EAFNOSUPPORT",
        BindError::Denied(_) | BindError::Reserved(_) => "EACCES",
        _ => "EBADF",
    }
}

impl Machine {
    fn new(case: &Value) -> Self {
        let mut config = Config::new([3; 32]);
        if let Some(range) = case.get("range") {
            config.ephemeral = range_of(range);
        }
        let mut table = Table::new(&config);
        let names = [
            ("P", 2001),
            ("P2", 2002),
            ("X", 2003),
            ("Y", 2004),
            ("Q", 2005),
            ("R", 2006),
        ];
        let ports = names.map(|(name, number)| (name.to_string(), port(number)));
        for number in [2005, 2006] {
            for (domain, local) in [(Domain::V4, "0.0.0.0"), (Domain::V6Only, "::")] {
                let hold = table.open(Request::new(Protocol::Tcp, domain), "environment".into());
                let local = Local {
                    address: local.parse().unwrap(),
                    port: Some(port(number)),
                };
                table.bind(hold, local).unwrap();
                table.listen(hold).unwrap();
            }
        }
        Self {
            table,
            ports: ports.into(),
            holds: HashMap::new(),
            requests: HashMap::new(),
            sessions: Vec::new(),
            arrived: HashMap::new(),
            delayed: HashSet::new(),
        }
    }

    fn port(&self, step: &Value) -> Option<Port> {
        match &step["port"] {
            Value::String(name) => Some(self.ports[name]),
            number => Port::new(number.as_u64().unwrap() as u16),
        }
    }

    fn hold(&self, step: &Value) -> Hold {
        self.holds[step["s"].as_str().unwrap()]
    }

    fn run(&mut self, step: &Value) -> Answer {
        match step["op"].as_str().unwrap() {
            "socket" => self.socket(step),
            "bind" => self.bind(step),
            "listen" => self.table.listen(self.hold(step)).map_or_else(
                |error| match error {
                    ListenError::Bind(error) => Err(bind_errno(&error)),
                    _ => Err("EINVAL"),
                },
                done,
            ),
            "connect" => self.connect(
                self.hold(step),
                address(&step["addr"]),
                self.port(step).unwrap(),
            ),
            "client" => self.client(step),
            "accept" => self.accept(step),
            "close" => self.close(self.hold(step)),
            "await_timewait" => self.await_timewait(step),
            "shutdown" => or_closed(self.table.unlisten(self.hold(step))),
            "setopt" => self.set_option(step),
            "disconnect" => or_closed(self.table.disconnect(self.hold(step))),
            "localport" => self.local_port(step),
            "localaddr" => self.local_address(step),
            "probe_tcp" => self.probe_tcp(step),
            "probe_udp" => self.probe_udp(step),
            _ => Err("not the table's"),
        }
    }

    fn socket(&mut self, step: &Value) -> Answer {
        let flag = |name: &str| step[name].as_u64() == Some(1);
        let protocol = step["proto"].as_str().unwrap().parse().unwrap();
        let domain = match (step["af"].as_u64().unwrap(), flag("v6only")) {
            (4, _) => Domain::V4,
            (_, true) => Domain::V6Only,
            (_, false) => Domain::Dual,
        };
        let device = step["dev"]
            .as_str()
            .map(|name| if name == "lo" { 1 } else { 2 });
        let request = Request {
            reuse: Reuse::new(flag("ra"), flag("rp")),
            user: step["uid"].as_u64().unwrap_or(0) as u32,
            device: device.and_then(Device::new),
            ..Request::new(protocol, domain)
        };
        let name = step["s"].as_str().unwrap().to_string();
        let hold = self.table.open(request, name.clone());
        if step.get("range").is_some() {
            self.table
                .set_range(hold, Some(range_of(&step["range"])))
                .unwrap();
        }
        if flag("no_port") {
            self.delayed.insert(name.clone());
        }
        self.holds.insert(name.clone(), hold);
        self.requests.insert(name, request);
        Ok("ok".into())
    }

    fn bind(&mut self, step: &Value) -> Answer {
        let asked = Local {
            address: address(&step["addr"]),
            port: self.port(step),
        };
        if step["sa_len"].as_u64().is_some_and(|length| length < 16) {
            return Err("EINVAL");
        }
        if let IpAddr::V6(v6) = asked.address
            && v6.is_multicast()
        {
            return Err("EINVAL");
        }
        if !is_local(asked.address) {
            return Err("EADDRNOTAVAIL");
        }
        if asked.port.is_none() && self.delayed.contains(step["s"].as_str().unwrap()) {
            return Ok("ok".into());
        }
        let bound = self.table.bind(self.hold(step), asked);
        bound.map_or_else(|error| Err(bind_errno(&error)), done)
    }

    fn connect(&mut self, hold: Hold, to: IpAddr, port: Port) -> Answer {
        let to = match to.to_canonical() {
            IpAddr::V6(v6) if v6.is_unspecified() => "::1".parse().unwrap(),
            to => to,
        };
        let source = match to {
            IpAddr::V4(_) => "127.0.0.1".parse().unwrap(),
            to => to,
        };
        let connected = self.table.connect(hold, source, Endpoint::new(to, port));
        let flow = match connected {
            Ok(flow) => flow,
            Err(ConnectError::Taken(taken))
                if matches!(taken.holder.state, State::TimeWait(..)) =>
            {
                // Linux lets a connection over loopback take a waiting one's place: tcp_tw_reuse is 2.
                self.table.release(taken.holder.hold);
                return self.connect(hold, to, port);
            }
            Err(ConnectError::Taken(_) | ConnectError::Exhausted(_)) => {
                return Err("EADDRNOTAVAIL");
            }
            Err(_) => return Err("EINVAL"),
        };
        if flow.protocol == Protocol::Tcp && flow.flipped() != flow {
            let listener = self
                .table
                .who(&flow.flipped())
                .ok_or("ECONNREFUSED")?
                .hold();
            let accepted = self
                .table
                .accept(listener, &flow.flipped(), "accepted".into());
            let accepted = accepted.map_err(|_| "ECONNREFUSED")?;
            self.arrived
                .entry(listener)
                .or_default()
                .push(flow.flipped());
            let holds = [hold, accepted];
            self.sessions.push(Session {
                holds,
                ends: [End::Open; 2],
                first: 0,
            });
        }
        Ok("ok".into())
    }

    fn client(&mut self, step: &Value) -> Answer {
        let to = address(&step["addr"]);
        let domain = if to.is_ipv4() {
            Domain::V4
        } else {
            Domain::Dual
        };
        let name = step["s"].as_str().unwrap().to_string();
        let hold = self
            .table
            .open(Request::new(Protocol::Tcp, domain), name.clone());
        self.holds.insert(name, hold);
        self.connect(hold, to, self.port(step).unwrap())
    }

    fn accept(&mut self, step: &Value) -> Answer {
        let arrived = self.arrived.get_mut(&self.hold(step)).ok_or("EAGAIN")?;
        let flow = arrived.pop().ok_or("EAGAIN")?;
        let hold = self.table.connected(&flow).ok_or("ECONNABORTED")?.hold();
        self.holds
            .insert(step["as"].as_str().unwrap().to_string(), hold);
        Ok("ok".into())
    }

    /// The side that closes first keeps its flow until the other closes, and then waits.
    fn close(&mut self, hold: Hold) -> Answer {
        let found = self
            .sessions
            .iter_mut()
            .find(|session| session.holds.contains(&hold));
        let Some(session) = found else {
            return self.table.release(hold).map_or(Err("EBADF"), done);
        };
        let side = usize::from(session.holds[1] == hold);
        session.ends[side] = End::Closed;
        if session.ends[1 - side] == End::Open {
            session.first = side;
            return Ok("ok".into());
        }
        let first = session.holds[session.first];
        self.table.release(session.holds[1 - session.first]);
        or_closed(self.table.time_wait(first, Moment(60_000_000_000)))
    }

    fn await_timewait(&mut self, step: &Value) -> Answer {
        let port = self.port(step).unwrap();
        let waiting = self.sessions.iter().any(|session| {
            let holding = self.table.holding(session.holds[session.first]);
            holding.is_some_and(|holding| {
                holding.port == Some(port) && matches!(holding.state, State::TimeWait(..))
            })
        });
        if waiting {
            Ok("ok".into())
        } else {
            Err("ETIMEDOUT")
        }
    }

    fn set_option(&mut self, step: &Value) -> Answer {
        let request = self.requests.get_mut(step["s"].as_str().unwrap()).unwrap();
        let on = step["val"].as_u64() == Some(1);
        request.reuse = match step["name"].as_str().unwrap() {
            "ra" => Reuse::new(on, request.reuse.port()),
            _ => Reuse::new(request.reuse.address(), on),
        };
        let reuse = request.reuse;
        or_closed(self.table.set_reuse(self.hold(step), reuse))
    }

    fn local_port(&self, step: &Value) -> Answer {
        let Some(port) = self.table.port(self.hold(step)) else {
            return Ok("zero".into());
        };
        let named = self.ports.iter().find(|(_, named)| **named == port);
        Ok(named.map_or("ephemeral".into(), |(name, _)| name.clone()))
    }

    fn local_address(&self, step: &Value) -> Answer {
        let holding = self.table.holding(self.hold(step)).ok_or("EBADF")?;
        Ok(holding.cover.to_string())
    }

    fn probe_tcp(&mut self, step: &Value) -> Answer {
        let to = address(&step["to"]);
        let source = if to.is_ipv4() { "127.0.0.1" } else { "::1" };
        let flow = Flow {
            protocol: Protocol::Tcp,
            local: Endpoint::new(to, self.port(step).unwrap()),
            remote: Endpoint::new(source.parse().unwrap(), port(60_999)),
        };
        self.table
            .who(&flow)
            .map(|found| found.owner.clone())
            .ok_or("ECONNREFUSED")
    }

    fn probe_udp(&mut self, step: &Value) -> Answer {
        let from = self.holds[step["from"].as_str().unwrap()];
        let from = self.table.holding(from).ok_or("EBADF")?;
        let flow = Flow {
            protocol: Protocol::Udp,
            local: Endpoint::new(address(&step["to"]), self.port(step).unwrap()),
            remote: Endpoint::new(from.cover.address().unwrap(), from.port.unwrap()),
        };
        Ok(self
            .table
            .who(&flow)
            .map_or("none".into(), |found| found.owner.clone()))
    }
}

fn address(text: &Value) -> IpAddr {
    text.as_str().unwrap().parse().unwrap()
}

fn range_of(pair: &Value) -> PortRange {
    let end = |at: usize| port(pair[at].as_u64().unwrap() as u16);
    PortRange::new(end(0), end(1)).unwrap()
}

fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()
        }
        v6 => v6.is_unspecified() || v6.is_loopback() || v6 == "fd00::2".parse::<IpAddr>().unwrap(),
    }
}

/// The first step that was answered differently, with both answers.
fn difference(case: &Value) -> Option<String> {
    let mut machine = Machine::new(case);
    for (number, step) in case["steps"].as_array().unwrap().iter().enumerate() {
        let answer = machine.run(step);
        let answer = answer.unwrap_or_else(str::to_string);
        let expected = step["r"]
            .as_str()
            .map_or_else(|| step["r"].to_string(), str::to_string);
        if answer != expected {
            return Some(format!("step {number}: {step}: the table says {answer}"));
        }
    }
    None
}

fn cases() -> Vec<Value> {
    let text = include_str!("data/bind-table.json");
    let file: Value = serde_json::from_str(text).unwrap();
    file["cases"].as_array().unwrap().clone()
}

/// Per class: how many agree, and the cases that don't.
fn replay() -> BTreeMap<String, (usize, Vec<(String, String)>)> {
    let mut classes: BTreeMap<String, (usize, Vec<_>)> = BTreeMap::new();
    for case in cases() {
        let class = classes
            .entry(case["class"].as_str().unwrap().to_string())
            .or_default();
        match difference(&case) {
            None => class.0 += 1,
            Some(why) => class
                .1
                .push((case["id"].as_str().unwrap().to_string(), why)),
        }
    }
    classes
}

#[test]
fn the_rule_predicts_every_case_of_its_class() {
    let classes = replay();
    for (name, (agree, differ)) in &classes {
        println!("{name}: {agree} agree, {} differ", differ.len());
    }
    let (agree, differ) = &classes["rule"];
    assert_eq!(*differ, []);
    assert_eq!(*agree, 1231);
}

#[test]
fn what_else_was_observed_differs_only_where_it_is_said() {
    let (_, differ) = &replay()["observed"];
    let differ: Vec<&str> = differ.iter().map(|(id, _)| id.as_str()).collect();
    let expected: Vec<&str> = DIFFERENT.iter().map(|(id, _)| *id).collect();
    let mut sorted = differ.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected, "{:#?}", replay()["observed"].1);
}
