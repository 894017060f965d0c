//! The file: cases, each of them steps with the answer that was recorded.
//!
//! Reading is strict about steps, so that nothing is replayed as something else: an operation or an option that is not known here
//! makes the case one that can't be replayed. That is the case's failure, not the file's.

use std::net::IpAddr;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use wharf_port::{Port, PortRange};

/// A whole file.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) conditions: Conditions,
    pub(crate) cases: Vec<Case>,
}

/// How the recorded machine was set up, as far as answers depend on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    pub(crate) ports: PortRange,
    pub(crate) somaxconn: usize,
    pub(crate) v6only: bool,
    pub(crate) timestamps: bool,
}

/// One sequence of calls.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) class: String,
    #[serde(default, deserialize_with = "some_range")]
    range: Option<PortRange>,
    somaxconn: Option<usize>,
    #[serde(default, deserialize_with = "flag")]
    no_ts: bool,
    pub(crate) steps: Vec<Value>,
    /// What else there is: words explain, anything else would have to be set.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A call.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Step {
    Socket(Wanted),
    Bind {
        s: String,
        addr: IpAddr,
        port: Number,
        sa_family: Option<Family>,
        sa_len: Option<usize>,
    },
    Listen {
        s: String,
        backlog: i64,
    },
    Connect {
        s: String,
        addr: IpAddr,
        port: Number,
    },
    /// A new TCP socket of this name connects.
    Client {
        s: String,
        addr: IpAddr,
        port: Number,
    },
    Accept {
        s: String,
        #[serde(rename = "as")]
        name: String,
    },
    Close {
        s: String,
    },
    Shutdown {
        s: String,
        how: How,
    },
    Setopt {
        s: String,
        name: Name,
        #[serde(deserialize_with = "flag")]
        val: bool,
    },
    Disconnect {
        s: String,
    },
    /// Waits until a connection of this local port rests.
    AwaitTimewait {
        port: Number,
    },
    Localport {
        s: String,
    },
    Localaddr {
        s: String,
    },
    /// Which listener gets a connection to there?
    ProbeTcp {
        to: IpAddr,
        port: Number,
    },
    /// Which socket gets a datagram to there?
    ProbeUdp {
        from: String,
        to: IpAddr,
        port: Number,
    },
    /// How many connections complete, if nobody accepts?
    Fill {
        addr: IpAddr,
        port: Number,
        max: usize,
        ms: u64,
        /// Why the recorder left off; what counts is how many there were.
        #[serde(rename = "stopped_by")]
        _stopped_by: Option<Value>,
    },
}

/// What a socket is opened with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    pub(crate) s: String,
    pub(crate) proto: Proto,
    pub(crate) af: u8,
    #[serde(default, deserialize_with = "flag")]
    pub(crate) ra: bool,
    #[serde(default, deserialize_with = "flag")]
    pub(crate) rp: bool,
    #[serde(default, deserialize_with = "some_flag")]
    pub(crate) v6only: Option<bool>,
    #[serde(default)]
    pub(crate) uid: u32,
    pub(crate) dev: Option<String>,
    #[serde(default, deserialize_with = "some_range")]
    pub(crate) range: Option<PortRange>,
    #[serde(default, deserialize_with = "flag")]
    pub(crate) no_port: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Proto {
    Tcp,
    Udp,
}

/// The family that a socket address says it is of.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Family {
    Unspec,
    Unix,
    Inet,
    Inet6,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum How {
    #[serde(alias = "r")]
    Rd,
    #[serde(alias = "w")]
    Wr,
    #[serde(alias = "both")]
    Rdwr,
}

/// An option that is set later.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Name {
    Ra,
    Rp,
    V6only,
}

/// A port: by its number, or by a name that stands for one that nothing else has.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub(crate) enum Number {
    Literal(u16),
    Named(String),
}

impl Recording {
    pub(crate) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Whole {
            #[serde(default)]
            meta: Value,
            cases: Vec<Case>,
        }
        let Whole { meta, cases } = serde_json::from_str(text)?;
        let conditions = Conditions::of(&meta["sysctl"]);
        Ok(Self { conditions, cases })
    }
}

impl Conditions {
    /// What the file says, and Linux's defaults where it says nothing.
    fn of(sysctl: &Value) -> Self {
        let number = |name: &str, at: usize| sysctl[name][at].as_str()?.parse::<u16>().ok();
        let port = |at| Port::new(number("net/ipv4/ip_local_port_range", at)?);
        let ports = port(0).zip(port(1));
        let ports = ports.and_then(|(first, last)| PortRange::new(first, last));
        Self {
            ports: ports.unwrap_or(PortRange::LINUX),
            somaxconn: number("net/core/somaxconn", 0).map_or(4096, usize::from),
            v6only: number("net/ipv6/bindv6only", 0) == Some(1),
            timestamps: true,
        }
    }
}

impl Case {
    /// What this case was recorded under.
    pub(crate) fn conditions(&self, general: &Conditions) -> Result<Conditions, String> {
        if let Some((name, value)) = self.rest.iter().find(|(_, value)| !value.is_string()) {
            return Err(format!("the setting {name}: {value} is unknown"));
        }
        Ok(Conditions {
            ports: self.range.unwrap_or(general.ports),
            somaxconn: self.somaxconn.unwrap_or(general.somaxconn),
            timestamps: !self.no_ts,
            ..*general
        })
    }
}

impl Step {
    /// A step and the answer to it.
    pub(crate) fn parse(step: &Value) -> Result<(Self, String), String> {
        let mut fields = step.as_object().cloned().ok_or("a step is an object")?;
        let answer = match fields.remove("r").ok_or("a step has an answer, r")? {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let call = Self::deserialize(Value::Object(fields)).map_err(|error| error.to_string())?;
        Ok((call, answer))
    }
}

/// 0 or 1, or a truth value.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(flag) => Ok(flag),
        Value::Number(number) if number.as_u64() == Some(0) => Ok(false),
        Value::Number(number) if number.as_u64() == Some(1) => Ok(true),
        other => Err(serde::de::Error::custom(format!(
            "{other} is neither 0 nor 1"
        ))),
    }
}

fn some_flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    flag(deserializer).map(Some)
}

fn some_range<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PortRange>, D::Error> {
    let (first, last) = <(u16, u16)>::deserialize(deserializer)?;
    let range = Port::new(first)
        .zip(Port::new(last))
        .and_then(|(first, last)| PortRange::new(first, last));
    let error = || serde::de::Error::custom(format!("{first} to {last} is no range of ports"));
    range.map(Some).ok_or_else(error)
}
