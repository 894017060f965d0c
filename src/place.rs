//! A port as it is typed: `3000`, `udp/53`, `127.0.0.1:8080`, `shop:3000`, `.:3000`; and who listens there.
//!
//! A port alone is the one that a client started right here would reach: in a space that of the space, else the machine's.
//! Nothing falls through from one to the other.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

use anyhow::{Result, bail};
use wharf_port::{Port, Protocol};

use crate::columns::visible;
use crate::failure::{status, status_of};
use crate::list::label::label;
use crate::list::{Detail, Hold, Process, Question, States};
use crate::name::is_label;
use crate::protocol::{Places, Target};
use crate::survey::{space_around, survey};
use crate::{env, run};

/// Where a port is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Where {
    /// Where this command is run.
    Here,
    /// In the space of this name.
    Space(String),
    /// In the space of the project of the current directory.
    Project,
}

/// A port, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// In which network.
    pub(crate) within: Where,
    /// TCP unless UDP was typed.
    pub(crate) protocol: Protocol,
    /// Only who answers at one of these addresses; whoever has the port if there are none.
    pub(crate) addresses: Vec<IpAddr>,
    /// The port.
    pub(crate) port: Port,
}

impl Place {
    /// Who listens there now; nobody if that space doesn't run.
    ///
    /// # Errors
    /// When sockets can't be listed.
    pub(crate) fn listeners(&self, detail: Detail) -> Result<Vec<Hold>> {
        match self.places()? {
            Some(places) => self.listeners_in(&places, detail),
            None => Ok(Vec::new()),
        }
    }

    /// Who listens at this port in other spaces, if those aren't meant.
    ///
    /// # Errors
    /// When sockets can't be listed.
    pub(crate) fn listeners_elsewhere(&self) -> Result<Vec<Hold>> {
        match self.within == Where::Here && space_around().is_none() {
            true => self.listeners_in(&Places::Spaces, Detail::Row),
            false => Ok(Vec::new()),
        }
    }

    fn listeners_in(&self, places: &Places, detail: Detail) -> Result<Vec<Hold>> {
        let question = Question {
            states: States::Listening,
            protocol: Some(self.protocol),
            port: NonZeroU16::new(self.port.number()),
            detail,
        };
        let mut found = match survey(places, &question) {
            Err(error) if status_of(&error) == status::NOTHING => return Ok(Vec::new()),
            found => found?.holds,
        };
        let meant = |hold: &Hold| self.addresses.iter().any(|&address| covers(hold, address));
        found.retain(|hold| self.addresses.is_empty() || meant(hold));
        Ok(found)
    }

    /// Where to look; `None` if the project's space doesn't run.
    fn places(&self) -> Result<Option<Places>> {
        Ok(match &self.within {
            Where::Here => Some(space_around().map_or(Places::Machine, Places::Space)),
            Where::Space(name) => Some(Places::Space(name.clone())),
            Where::Project => self.project()?.map(Places::Space),
        })
    }

    /// The name of the project's space, if that runs.
    fn project(&self) -> Result<Option<String>> {
        let target = run::target(None)?;
        if let Target::Name(name) = target {
            return Ok(Some(name));
        }
        match env::space(&target) {
            Ok(space) => Ok(Some(space.name)),
            Err(error) if status_of(&error) == status::NOTHING => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The place of a listener that was listed.
    ///
    /// # Errors
    /// If it is the machine's and this command is run in a space.
    pub(crate) fn of(hold: &Hold) -> Result<Self> {
        let within = match &hold.space {
            Some(name) => Where::Space(name.clone()),
            None if space_around().is_none() => Where::Here,
            None => bail!("from inside a space, programs of the machine can't be ended"),
        };
        Ok(Self {
            within,
            protocol: hold.protocol,
            addresses: match hold.address.is_unspecified() {
                true => Vec::new(),
                false => vec![hold.address],
            },
            port: Port::new(hold.port.get()).expect("it is not zero"),
        })
    }

    /// The same port, elsewhere.
    pub(crate) fn in_space(&self, name: &str) -> Self {
        Self {
            within: Where::Space(name.to_owned()),
            ..self.clone()
        }
    }
}

/// Who a listener is, in a few words.
pub(crate) fn who(hold: &Hold) -> String {
    match (hold.programs.first(), &hold.user) {
        (Some(program), _) => named(program),
        (None, Some(user)) => format!("a program of {user}"),
        (None, None) => format!("a program of user {}", hold.uid),
    }
}

/// A program, in a few words.
pub(crate) fn named(program: &Process) -> String {
    let directory = program.directory.as_ref();
    let directory = directory.map_or_else(String::new, |directory| format!(" in {directory}"));
    visible(&format!(
        "{} (pid {}{directory})",
        label(program),
        program.pid
    ))
}

/// Whether a client that connects to `address` reaches this listener.
fn covers(hold: &Hold, address: IpAddr) -> bool {
    match hold.address {
        IpAddr::V6(any) if any.is_unspecified() => {
            address.is_ipv6() || hold.ipv6_only == Some(false)
        }
        IpAddr::V4(any) if any.is_unspecified() => address.is_ipv4(),
        one => one.to_canonical() == address.to_canonical(),
    }
}

/// The text is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a port from 1 to 65535 is wanted, as in 3000, udp/53, 127.0.0.1:3000, shop:3000 or .:3000"
)]
pub(crate) struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (rest, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((one, other)) => match (one.parse(), other.parse()) {
                (Ok(protocol), _) => (other, protocol),
                (_, Ok(protocol)) => (one, protocol),
                _ => return Err(NoPlace),
            },
        };
        let (host, port) = rest.rsplit_once(':').unwrap_or(("", rest));
        let (within, addresses) = host_of(host).ok_or(NoPlace)?;
        Ok(Self {
            within,
            protocol,
            addresses,
            port: port.parse().map_err(|_| NoPlace)?,
        })
    }
}

/// What stands before the colon.
fn host_of(host: &str) -> Option<(Where, Vec<IpAddr>)> {
    let six = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Some(six) = six {
        return Some((Where::Here, vec![six.parse::<Ipv6Addr>().ok()?.into()]));
    }
    if let Ok(four) = host.parse::<Ipv4Addr>() {
        return Some((Where::Here, vec![four.into()]));
    }
    match host {
        "" => Some((Where::Here, Vec::new())),
        "." => Some((Where::Project, Vec::new())),
        "localhost" => {
            let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            Some((Where::Here, loopback.to_vec()))
        }
        // As `wharf ls` says that a space's server is reached from others.
        name => {
            let name = name.strip_suffix(".internal").unwrap_or(name);
            is_label(name).then(|| (Where::Space(name.to_owned()), Vec::new()))
        }
    }
}

impl fmt::Display for Place {
    /// As a part of a sentence: `tcp/3000 of the machine`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.protocol.name())?;
        match &self.addresses[..] {
            [IpAddr::V4(address)] => write!(f, "{address}:{}", self.port)?,
            [IpAddr::V6(address)] => write!(f, "[{address}]:{}", self.port)?,
            [] => self.port.fmt(f)?,
            _ => write!(f, "localhost:{}", self.port)?,
        }
        match &self.within {
            Where::Here => match space_around() {
                Some(name) => write!(f, " of space {name}"),
                None => write!(f, " of the machine"),
            },
            Where::Space(name) => write!(f, " of space {name}"),
            Where::Project => write!(f, " of this directory's space"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_named_as_people_do() {
        let shop = || Where::Space("shop".into());
        for (text, within, protocol, addresses, port) in [
            ("3000", Where::Here, Protocol::Tcp, vec![], 3000),
            (":3000", Where::Here, Protocol::Tcp, vec![], 3000),
            ("udp/53", Where::Here, Protocol::Udp, vec![], 53),
            ("53/UDP", Where::Here, Protocol::Udp, vec![], 53),
            (
                "127.0.0.1:80",
                Where::Here,
                Protocol::Tcp,
                vec!["127.0.0.1"],
                80,
            ),
            ("[::1]:80", Where::Here, Protocol::Tcp, vec!["::1"], 80),
            (
                "localhost:80",
                Where::Here,
                Protocol::Tcp,
                vec!["127.0.0.1", "::1"],
                80,
            ),
            ("shop:80", shop(), Protocol::Tcp, vec![], 80),
            ("shop.internal:80", shop(), Protocol::Tcp, vec![], 80),
            ("udp/shop:80", shop(), Protocol::Udp, vec![], 80),
            (".:80", Where::Project, Protocol::Tcp, vec![], 80),
        ] {
            let place: Place = text.parse().unwrap();
            let addresses: Vec<IpAddr> = addresses
                .iter()
                .map(|address| address.parse().unwrap())
                .collect();
            assert_eq!(
                (
                    place.within,
                    place.protocol,
                    place.addresses,
                    place.port.number()
                ),
                (within, protocol, addresses, port),
                "{text}"
            );
        }
        for wrong in [
            "",
            "0",
            "65536",
            "http",
            "shop:",
            "My Shop:80",
            "::1:80",
            "3000/http",
            "1.2.3.4",
        ] {
            assert_eq!(wrong.parse::<Place>(), Err(NoPlace), "{wrong}");
        }
    }
}
