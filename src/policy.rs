//! What a project forbids its own programs: ports reserved for one program, and binds that nobody may make.
//!
//! It is read from `wharf.toml` ([`crate::config`]), travels to the daemon with each run, and is asked at each bind(2) in
//! the space. It says nothing of what the machine or another space may do.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wharf_port::{Port, PortRange, Protocol};

/// The rules of one project; none by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policy {
    /// The file that has them, for messages.
    pub(crate) file: PathBuf,
    /// Binds that no program may make.
    pub(crate) forbid: Vec<Binds>,
    /// Ports that only one program may bind.
    pub(crate) reserve: Vec<Reserved>,
}

/// Ports that only one program may bind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reserved {
    /// Which ports.
    pub(crate) binds: Binds,
    /// The program's name: its executable's file, with or without the version at its end.
    pub(crate) program: String,
}

/// A set of binds: `3000`, `tcp/3000`, `3000-3010/udp`, `0.0.0.0`, `127.0.0.1:80`, `[::]:80-90`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Binds {
    /// Only under this protocol.
    pub(crate) protocol: Option<Protocol>,
    /// Only at this address, which is meant as it is written: `0.0.0.0` is the wildcard alone.
    pub(crate) address: Option<IpAddr>,
    /// At these ports.
    pub(crate) ports: PortRange,
}

/// The text is no set of binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a port, a range or an address is wanted, as in 3000, tcp/3000, 3000-3010, 0.0.0.0 or [::]:80"
)]
pub(crate) struct NoBinds;

/// Why a bind is against the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial<'a> {
    /// These are forbidden to all.
    Forbidden(&'a Binds),
    /// These are another program's.
    Reserved(&'a Reserved),
}

impl Policy {
    /// Whether there is no rule at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.forbid.is_empty() && self.reserve.is_empty()
    }

    /// The first rule that a program's bind is against, if there is one.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "asked by the supervisor of binds")
    )]
    pub(crate) fn denial(
        &self,
        protocol: Protocol,
        address: IpAddr,
        port: Port,
        program: &str,
    ) -> Option<Denial<'_>> {
        let forbidden = |binds: &&Binds| binds.have(protocol, address, port);
        let reserved = |reserved: &&Reserved| {
            reserved.binds.have(protocol, address, port) && !reserved.is_for(program)
        };
        let forbidden = self.forbid.iter().find(forbidden).map(Denial::Forbidden);
        forbidden.or_else(|| self.reserve.iter().find(reserved).map(Denial::Reserved))
    }
}

impl Reserved {
    /// Whether that is the program, such as `python3.11` for `python`.
    fn is_for(&self, program: &str) -> bool {
        let unversioned = program.trim_end_matches(|end: char| end.is_ascii_digit() || end == '.');
        [program, unversioned].contains(&self.program.as_str())
    }
}

impl Binds {
    /// Whether that bind is one of these.
    fn have(&self, protocol: Protocol, address: IpAddr, port: Port) -> bool {
        self.protocol.is_none_or(|only| only == protocol)
            && self
                .address
                .is_none_or(|only| only == address.to_canonical())
            && self.ports.contains(port)
    }
}

impl FromStr for Binds {
    type Err = NoBinds;

    fn from_str(text: &str) -> Result<Self, NoBinds> {
        let (place, protocol) = match text.split_once('/') {
            None => (text, None),
            Some((one, other)) => match (one.parse(), other.parse()) {
                (Ok(protocol), _) => (other, Some(protocol)),
                (_, Ok(protocol)) => (one, Some(protocol)),
                _ => return Err(NoBinds),
            },
        };
        let (address, ports) = place_of(place).ok_or(NoBinds)?;
        Ok(Self {
            protocol,
            address,
            ports,
        })
    }
}

/// The address and the ports of `0.0.0.0`, `0.0.0.0:80`, `[::]:80`, `80-90`.
fn place_of(text: &str) -> Option<(Option<IpAddr>, PortRange)> {
    let all = PortRange::new(Port::MIN, Port::MAX)?;
    if let Ok(ports) = text.parse() {
        return Some((None, ports));
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    if let Ok(address) = bare.parse() {
        return Some((Some(address), all));
    }
    let (address, ports) = text.rsplit_once(':')?;
    let bracketed = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = match bracketed {
        Some(six) => IpAddr::V6(six.parse().ok()?),
        None => IpAddr::V4(address.parse().ok()?),
    };
    Some((Some(address), ports.parse().ok()?))
}

impl fmt::Display for Binds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(protocol) = self.protocol {
            write!(f, "{}/", protocol.name())?;
        }
        let every = self.ports.count() == u32::from(u16::MAX);
        match self.address {
            Some(address) if every => return address.fmt(f),
            Some(IpAddr::V4(address)) => write!(f, "{address}:")?,
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            None => {}
        }
        if self.ports.count() == 1 {
            return self.ports.first().fmt(f);
        }
        self.ports.fmt(f)
    }
}

impl TryFrom<String> for Binds {
    type Error = NoBinds;

    fn try_from(text: String) -> Result<Self, NoBinds> {
        text.parse()
    }
}

impl From<Binds> for String {
    fn from(binds: Binds) -> Self {
        binds.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binds(text: &str) -> Binds {
        text.parse().unwrap()
    }

    #[test]
    fn sets_of_binds_are_read_and_written_alike() {
        for (typed, written) in [
            ("3000", "3000"),
            ("3000/udp", "udp/3000"),
            ("TCP/3000-3010", "tcp/3000-3010"),
            ("0.0.0.0", "0.0.0.0"),
            ("::", "::"),
            ("[::]", "::"),
            ("[::1]:80", "[::1]:80"),
            ("udp/127.0.0.1:53-54", "udp/127.0.0.1:53-54"),
        ] {
            assert_eq!(binds(typed).to_string(), written, "{typed}");
            assert_eq!(binds(written), binds(typed), "{typed}");
        }
        for wrong in [
            "",
            "0",
            "http",
            "80/http",
            "::1:80-",
            "3010-3000",
            "1.2.3.4:0",
            "tcp/",
            "1.2.3:80",
        ] {
            assert_eq!(wrong.parse::<Binds>(), Err(NoBinds), "{wrong}");
        }
    }

    #[test]
    fn a_bind_is_held_against_every_rule() {
        let policy = Policy {
            file: "wharf.toml".into(),
            forbid: vec![binds("0.0.0.0"), binds("udp/53")],
            reserve: vec![Reserved {
                binds: binds("5432"),
                program: "postgres".into(),
            }],
        };
        let denied = |protocol, address: &str, port, program| {
            let port = Port::new(port).unwrap();
            policy.denial(protocol, address.parse().unwrap(), port, program)
        };
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        assert_eq!(denied(tcp, "127.0.0.1", 80, "nginx"), None);
        assert_eq!(
            denied(tcp, "0.0.0.0", 80, "nginx"),
            Some(Denial::Forbidden(&policy.forbid[0]))
        );
        assert_eq!(
            denied(tcp, "::ffff:0.0.0.0", 80, "nginx"),
            Some(Denial::Forbidden(&policy.forbid[0]))
        );
        assert_eq!(denied(tcp, "::", 80, "nginx"), None);
        assert_eq!(denied(tcp, "::1", 53, "dnsmasq"), None);
        assert_eq!(
            denied(udp, "::1", 53, "dnsmasq"),
            Some(Denial::Forbidden(&policy.forbid[1]))
        );
        assert_eq!(
            denied(tcp, "::1", 5432, "mysqld"),
            Some(Denial::Reserved(&policy.reserve[0]))
        );
        assert_eq!(denied(tcp, "::1", 5432, "postgres"), None);
        assert_eq!(denied(tcp, "::1", 5432, "postgres16.2"), None);
    }
}
