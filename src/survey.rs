//! Which sockets are there, and whose are they: asked of the daemon for the spaces, and looked up here for the machine.
//!
//! A command inside a space can't look at the machine's processes, so there the daemon does both.

use anyhow::{Context, Result, bail};

use crate::client::{self, Absence};
use crate::failure::{status, status_of};
use crate::list::{self, Detail, Hold, Question, containers};
use crate::protocol::{Ask, Places, Reply, SpaceInfo};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The spaces that were looked at.
    pub(crate) spaces: Vec<SpaceInfo>,
    /// The sockets, the machine's first.
    pub(crate) holds: Vec<Hold>,
}

/// Finds the sockets in these places that the question is about.
///
/// # Errors
/// With exit status 1 if one space is asked about and does not run, or all spaces and none runs.
pub(crate) fn survey(places: &Places, question: &Question) -> Result<Survey> {
    let outside = space_around().is_none();
    let mut found = match places {
        Places::Machine if outside => machine(question)?,
        Places::Everywhere if outside => everywhere(question)?,
        places => ask(places, question)?,
    };
    if question.detail == Detail::Story {
        // Not by the daemon, which an engine that hangs must not hold up.
        containers::name(&mut found.holds);
    }
    Ok(found)
}

fn everywhere(question: &Question) -> Result<Survey> {
    let mut all = machine(question)?;
    let spaces = match ask(&Places::Spaces, question) {
        Err(error) if status_of(&error) == status::NOTHING => Survey::default(),
        spaces => spaces?,
    };
    all.spaces = spaces.spaces;
    all.holds.extend(spaces.holds);
    Ok(all)
}

/// The name of the space that this process runs in.
pub(crate) fn space_around() -> Option<String> {
    std::env::var("WHARF_SPACE").ok()
}

fn machine(question: &Question) -> Result<Survey> {
    let holds = list::machine(question).context("cannot list the sockets of the machine")?;
    Ok(Survey {
        spaces: Vec::new(),
        holds,
    })
}

fn ask(places: &Places, question: &Question) -> Result<Survey> {
    let asked = Ask::Survey {
        places: places.clone(),
        question: *question,
    };
    let answer = client::ask(&asked, Absence::Report)?;
    let Reply::Surveyed { spaces, mut holds } = answer.reply else {
        bail!("the daemon answered {:?}", answer.reply)
    };
    // The machine's first.
    holds.sort_by_key(|hold| hold.space.is_some());
    Ok(Survey { spaces, holds })
}
