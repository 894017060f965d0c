//! `wharf why`: whose a port is, the whole story, and the ways out.
//!
//! - [`question`]: what was asked;
//! - [`rules`]: what the machine's settings say about the number;
//! - [`proxy`]: who stands behind a port of the machine that is carried on to elsewhere;
//! - [`answer`]: the answer, as `docs/json.md` has it, put together from places;
//! - [`place`]: one network namespace's part of it; [`notes`]: what else is to be said about a hold;
//! - [`then`]: what was, as the history has it;
//! - [`ways`]: what can be done about it;
//! - [`render`]: the answer as people read it.
//!
//! What there is, [`crate::list`] knows; here is only what it means.

mod answer;
mod notes;
mod place;
mod proxy;
mod question;
mod render;
mod rules;
mod then;
mod ways;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli;
use crate::failure::status;
use crate::list::{self, Detail, Hold, NetNamespace, Question, States};
use crate::protocol::{Places, SpaceInfo};
use crate::survey::{self, Survey};

use answer::{Answer, Verdict};
use question::{Asked, Host};
use then::Past;

/// Explains; exit status 0 if the port is held, 1 if it is free, 3 if somebody holds it who may not be seen.
pub(crate) fn why(typed: &cli::Why) -> Result<ExitCode> {
    let asked = Asked::parse(&typed.port)?;
    if let Some(at) = &typed.at {
        return before(&Past::look_up(&asked, at)?, typed);
    }
    let answer = match asked.port {
        Some(port) => answer::answer(&asked, &found(&asked, port)?),
        None => Answer::of_port_0(&asked),
    };
    if typed.json {
        println!("{}", answer.json());
    } else {
        print!(
            "{}",
            render::text(&answer, &list::render::Look::of_stdout())
        );
    }
    Ok(ExitCode::from(match answer.verdict {
        Verdict::Held => 0,
        Verdict::Free => status::NOTHING,
        Verdict::Unseen => status::NOT_PERMITTED,
    }))
}

/// What was; exit status 0 if the port was held, else 1.
fn before(past: &Past, typed: &cli::Why) -> Result<ExitCode> {
    match typed.json {
        true => println!("{}", past.json()),
        false => print!("{}", past.text()),
    }
    Ok(match past.is_held() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(status::NOTHING),
    })
}

/// Everything that an answer is made of.
#[derive(Debug)]
struct Found {
    /// The space that counts as here; `None` is the machine.
    here: Option<String>,
    /// The spaces that run.
    spaces: Vec<SpaceInfo>,
    /// Sockets with this port: the machine's, then those of spaces.
    holds: Vec<Hold>,
    /// Listeners of other network namespaces.
    elsewhere: Vec<Hold>,
    /// The machine's settings.
    rules: rules::Rules,
    /// Where the machine carries the port on to.
    carried: Vec<proxy::Carried>,
    /// Whether this process sees all that there is.
    sight: Sight,
}

/// How much of the machine this process may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// Everything: it is the machine's root.
    All,
    /// What is its user's own.
    Own,
}

fn found(asked: &Asked, port: std::num::NonZeroU16) -> Result<Found> {
    let question = Question {
        states: States::All,
        protocol: asked.protocol,
        port: Some(port),
        detail: Detail::Story,
    };
    let Survey { spaces, holds } = survey::survey(&Places::Everywhere, &question)?;
    let inside = survey::space_around();
    let known: Vec<_> = spaces
        .iter()
        .map(|space| NetNamespace::numbered(space.network))
        .collect();
    // From inside a space, the machine's other namespaces are out of sight.
    let elsewhere = match inside {
        None => {
            let mut listeners = list::elsewhere(&known, &question);
            list::containers::name(&mut listeners);
            listeners
        }
        Some(_) => Vec::new(),
    };
    let sight = match inside.is_none() && rustix::process::geteuid().is_root() {
        true => Sight::All,
        false => Sight::Own,
    };
    Ok(Found {
        here: here(asked, inside, &spaces),
        rules: rules::Rules::here(),
        carried: proxy::carried(port, asked.protocol, sight),
        spaces,
        holds,
        elsewhere,
        sight,
    })
}

/// The space that the question is about first: the one that is named, or around this process, or of this project.
fn here(asked: &Asked, inside: Option<String>, spaces: &[SpaceInfo]) -> Option<String> {
    if let Host::Space(name) = &asked.host {
        return Some(name.clone());
    }
    inside.or_else(|| {
        let directory = std::env::current_dir().ok()?;
        let root = crate::space::project::root(&directory);
        let own = spaces
            .iter()
            .find(|space| space.directory.as_deref() == Some(&*root));
        own.map(|space| space.name.clone())
    })
}
