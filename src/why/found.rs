//! Everything that an answer is made of, and the space that the question is about.

use std::num::NonZeroU16;

use anyhow::{Context, Result, bail};

use super::{proxy, rules};
use crate::client::{self, Absence};
use crate::config;
use crate::failure::{status, status_of};
use crate::list::{self, Detail, Hold, NetNamespace, Protocol, Question, States};
use crate::name::label;
use crate::place::spelling::{Host, Spelled};
use crate::place::{space_at, space_of_project};
use crate::protocol::{Ask, Places, Reach, Reply, SpaceInfo};
use crate::publish::Publication;
use crate::space::project;
use crate::survey::{self, Survey};

/// What there is.
#[derive(Debug)]
pub(super) struct Found {
    /// The space that counts as here; `None` is the machine.
    pub(super) here: Option<String>,
    /// The spaces that run.
    pub(super) spaces: Vec<SpaceInfo>,
    /// Sockets with this port: the machine's, then those of spaces.
    pub(super) holds: Vec<Hold>,
    /// Listeners of other network namespaces.
    pub(super) elsewhere: Vec<Hold>,
    /// What is published.
    pub(super) published: Vec<Publication>,
    /// Of a space that was asked about by name, the TCP ports that listen.
    pub(super) by_name: Vec<u16>,
    /// The machine's settings.
    pub(super) rules: rules::Rules,
    /// Where the machine carries the port on to.
    pub(super) carried: Vec<proxy::Carried>,
    /// Whether this process sees all that there is.
    pub(super) sight: Sight,
}

/// How much of the machine this process may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// Everything: it is the machine's root.
    All,
    /// What is its user's own.
    Own,
}

impl Found {
    /// Looks everywhere; answers with the question as it is meant, too.
    ///
    /// # Errors
    /// When sockets can't be listed.
    pub(super) fn look(asked: &Spelled, port: NonZeroU16) -> Result<(Spelled, Self)> {
        let question = Question {
            states: States::All,
            protocol: asked.protocol,
            port: Some(port),
            detail: Detail::Story,
        };
        let Survey { spaces, holds } = survey::survey(&Places::Everywhere, &question)?;
        let inside = survey::space_around();
        let asked = meant(asked, &spaces)?;
        let sight = match inside.is_none() && rustix::process::geteuid().is_root() {
            true => Sight::All,
            false => Sight::Own,
        };
        let found = Self {
            elsewhere: match inside {
                None => elsewhere(&spaces, &question),
                // From inside a space, the machine's other namespaces are out of sight.
                Some(_) => Vec::new(),
            },
            here: here(&asked, inside, &spaces),
            published: match spaces.is_empty() {
                true => Vec::new(),
                false => published()?,
            },
            by_name: match &asked.host {
                Host::ByName(name) => listening(name)?,
                _ => Vec::new(),
            },
            rules: rules::Rules::here(),
            carried: proxy::carried(port, asked.protocol, sight),
            spaces,
            holds,
            sight,
        };
        Ok((asked, found))
    }

    /// What is published at the place of this listener of the machine.
    pub(super) fn published_at(&self, hold: &Hold) -> Option<&Publication> {
        let is_it = |publication: &&Publication| {
            let place = publication.place;
            let at = (place.protocol, place.address, place.port);
            hold.space.is_none()
                && hold.namespace.is_none()
                && at == (hold.protocol, hold.address, hold.port)
                && !matches!(publication.state, crate::publish::State::Elsewhere { .. })
        };
        self.published.iter().find(is_it)
    }
}

/// Listeners of namespaces that are neither the machine's nor a space's.
fn elsewhere(spaces: &[SpaceInfo], question: &Question) -> Vec<Hold> {
    let numbered = |space: &SpaceInfo| NetNamespace::numbered(space.network);
    let known: Vec<_> = spaces.iter().map(numbered).collect();
    let mut listeners = list::elsewhere(&known, question);
    list::containers::name(&mut listeners);
    listeners
}

fn published() -> Result<Vec<Publication>> {
    match client::ask(&Ask::Reach(Reach::Published), Absence::Report) {
        // The last space has just gone.
        Err(error) if status_of(&error) == status::NOTHING => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(answer) => match answer.reply {
            Reply::Published(published) => Ok(published),
            other => bail!("the daemon answered {other:?}"),
        },
    }
}

/// The TCP ports that listen in a space, each once.
fn listening(space: &str) -> Result<Vec<u16>> {
    let question = Question {
        protocol: Some(Protocol::Tcp),
        ..Question::LISTENERS
    };
    let holds = match survey::survey(&Places::Space(space.to_owned()), &question) {
        Err(error) if status_of(&error) == status::NOTHING => Vec::new(),
        found => found?.holds,
    };
    let mut ports: Vec<_> = holds.iter().map(|hold| hold.port.get()).collect();
    ports.dedup();
    Ok(ports)
}

/// The question, with a space by its name where it was meant in another way.
///
/// # Errors
/// When it can't be told which project the current directory belongs to.
pub(super) fn meant(asked: &Spelled, spaces: &[SpaceInfo]) -> Result<Spelled> {
    let name = match &asked.host {
        Host::Project => Some(match space_of_project()? {
            Some(name) => name,
            None => name_of_project()?,
        }),
        Host::Address(address) => space_at(*address, spaces).map(|space| space.name.clone()),
        _ => None,
    };
    let mut meant = asked.clone();
    if let Some(name) = name {
        meant.host = Host::Space(name);
    }
    Ok(meant)
}

/// What the project's space would be called, unless another project has that name.
fn name_of_project() -> Result<String> {
    let directory = std::env::current_dir().context("cannot tell the current directory")?;
    let root = project::root(&directory);
    let named = config::of(&directory)?.name;
    let of_root = || label(&root.file_name().unwrap_or_default().to_string_lossy());
    Ok(named.unwrap_or_else(of_root))
}

/// The space that the question is about first: the one that is named, or around this process, or of this project.
fn here(asked: &Spelled, inside: Option<String>, spaces: &[SpaceInfo]) -> Option<String> {
    match &asked.host {
        Host::Space(name) => return Some(name.clone()),
        Host::Machine => return None,
        _ => {}
    }
    inside.or_else(|| {
        let root = project::root(&std::env::current_dir().ok()?);
        let own = spaces
            .iter()
            .find(|space| space.directory.as_deref() == Some(&*root));
        own.map(|space| space.name.clone())
    })
}
