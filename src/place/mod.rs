//! One port of one network, and who listens there; [`spelling`] reads how it is typed.
//!
//! A port alone is the one that a client started right here would reach: in a space that of the space, else the machine's.
//! Nothing falls through from one to the other.

pub(crate) mod spelling;

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::str::FromStr;

use anyhow::{Result, bail};
use wharf_port::{Port, Protocol};

use crate::columns::visible;
use crate::event::Event;
use crate::failure::{status, status_of};
use crate::list::label::label;
use crate::list::{Detail, Hold, Process, Question, States};
use crate::name::is_label;
use crate::protocol::{Places, SpaceInfo, Target};
use crate::survey::{space_around, survey};
use crate::{env, run};

use spelling::{Host, LOCALHOST, Spelled, Unclear};

/// Where a port is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Where {
    /// Where this command is run.
    Here,
    /// On the machine, wherever this command is run.
    Machine,
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
            Where::Here => Some(match self.space_of_address()?.or_else(space_around) {
                Some(name) => Places::Space(name),
                None => Places::Machine,
            }),
            Where::Machine => Some(Places::Machine),
            Where::Space(name) => Some(Places::Space(name.clone())),
            Where::Project => space_of_project()?.map(Places::Space),
        })
    }

    /// The space whose own address was named.
    fn space_of_address(&self) -> Result<Option<String>> {
        let [address] = self.addresses[..] else {
            return Ok(None);
        };
        if !is_of_spaces(address) {
            return Ok(None);
        }
        match survey(&Places::Spaces, &Question::LISTENERS) {
            Err(error) if status_of(&error) == status::NOTHING => Ok(None),
            found => Ok(space_at(address, &found?.spaces).map(|space| space.name.clone())),
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

    /// Where something happened.
    pub(crate) fn of_event(event: &Event) -> Self {
        Self {
            within: Where::Space(event.space.clone()),
            protocol: event.protocol,
            addresses: Vec::new(),
            port: Port::new(event.port.get()).expect("it is not zero"),
        }
    }

    /// As it is typed on a command line.
    pub(crate) fn typed(&self) -> String {
        let protocol = match self.protocol {
            Protocol::Tcp => "",
            Protocol::Udp => "udp/",
        };
        let host = match (&self.within, &self.addresses[..]) {
            (Where::Machine, _) => "host.internal:".to_owned(),
            (Where::Space(name), _) => format!("{name}:"),
            (Where::Project, _) => ".:".to_owned(),
            (Where::Here, [IpAddr::V4(address)]) => format!("{address}:"),
            (Where::Here, [IpAddr::V6(address)]) => format!("[{address}]:"),
            (Where::Here, []) => String::new(),
            (Where::Here, _) => "localhost:".to_owned(),
        };
        format!("{protocol}{host}{}", self.port)
    }

    /// The same port, elsewhere.
    pub(crate) fn in_space(&self, name: &str) -> Self {
        Self {
            within: Where::Space(name.to_owned()),
            ..self.clone()
        }
    }
}

/// The name of the space of the current directory's project, if it runs.
///
/// # Errors
/// When the daemon can't be asked.
pub(crate) fn space_of_project() -> Result<Option<String>> {
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

/// The name of the space that was typed, if one was: `.` is the one of the current directory's project.
///
/// # Errors
/// With exit status 1 if that one does not run.
pub(crate) fn space_named(typed: Option<&str>) -> Result<Option<String>> {
    match typed {
        Some(".") => Ok(Some(env::space(&run::project()?)?.name)),
        typed => Ok(typed.map(str::to_owned)),
    }
}

/// The space that has this address.
pub(crate) fn space_at(address: IpAddr, spaces: &[SpaceInfo]) -> Option<&SpaceInfo> {
    let has = |space: &&SpaceInfo| [IpAddr::V4(space.ipv4), space.ipv6.into()].contains(&address);
    spaces.iter().find(has)
}

/// A name for a space beside this one.
pub(crate) fn beside(space: &str) -> String {
    let name = format!("{space}-2");
    match is_label(&name) {
        true => name,
        false => "other".to_owned(),
    }
}

/// Whether an address is one that only spaces have.
fn is_of_spaces(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.octets()[..2] == [10, 77],
        IpAddr::V6(six) => six.segments()[..3] == [0xfd77, 0x7761, 0x7266],
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

impl FromStr for Place {
    type Err = Unclear;

    fn from_str(text: &str) -> Result<Self, Unclear> {
        let spelled: Spelled = text.parse()?;
        let port = spelled.port.and_then(|port| Port::new(port.get()));
        let (within, addresses) = match spelled.host {
            Host::Any => (Where::Here, Vec::new()),
            Host::Address(address) => (Where::Here, vec![address]),
            Host::Localhost => (Where::Here, LOCALHOST.to_vec()),
            Host::Machine => (Where::Machine, Vec::new()),
            Host::Space(name) => (Where::Space(name), Vec::new()),
            Host::Project => (Where::Project, Vec::new()),
            Host::ByName(name) => return Err(Unclear::Several(name)),
        };
        Ok(Self {
            within,
            protocol: spelled.protocol.unwrap_or(Protocol::Tcp),
            addresses,
            port: port.ok_or(Unclear::Zero)?,
        })
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
            Where::Machine => f.write_str(" of the machine"),
            Where::Space(name) => write!(f, " of space {name}"),
            Where::Project => write!(f, " of this directory's space"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_what_was_typed_and_of_tcp_unless_that_says_more() {
        let place = |text: &str| text.parse::<Place>().unwrap();
        let plain = place("3000");
        assert_eq!(
            (&plain.within, plain.protocol),
            (&Where::Here, Protocol::Tcp)
        );
        assert_eq!(place("udp/shop:53").within, Where::Space("shop".into()));
        assert_eq!(place("udp/shop:53").protocol, Protocol::Udp);
        assert_eq!(place("localhost:80").addresses, LOCALHOST);
        assert_eq!(place("host.internal:80").within, Where::Machine);
        assert_eq!(place(".:80").within, Where::Project);
        assert_eq!(place("http://localhost").port.number(), 80);
        for text in [
            "3000",
            "udp/53",
            "127.0.0.1:80",
            "[::1]:80",
            "localhost:80",
            "udp/shop:53",
            ".:80",
            "host.internal:80",
        ] {
            assert_eq!(place(text).typed(), text);
        }
        assert_eq!("0".parse::<Place>(), Err(Unclear::Zero));
        let several = Unclear::Several("shop".into());
        assert_eq!("shop.localhost".parse::<Place>(), Err(several));
    }
}
