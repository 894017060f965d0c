//! `wharf stop`: ends a space and what runs in it, or ([`listeners`]) who listens at a port, and nothing else.

pub(crate) mod listeners;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::client::{self, Absence};
use crate::failure::Failure;
use crate::list::Question;
use crate::name::is_label;
use crate::place::spelling::Unclear;
use crate::place::{Place, named};
use crate::protocol::{Ask, Places, Reply, Target};
use crate::survey::survey;
use crate::{cli, run};

use listeners::Plan;

/// Ends the space that was named, else the one of this directory.
pub(crate) fn stop(typed: cli::Stop) -> Result<ExitCode> {
    if let Some(what) = &typed.what {
        match what.parse() {
            Ok(place) => return port(&place, &typed),
            Err(_) if what == "." || is_label(what) => {}
            Err(unclear) => return Err(neither(what, &unclear).into()),
        }
    }
    let target = match typed.all {
        true => Target::All,
        false => run::target(typed.what)?,
    };
    if typed.dry_run {
        return foretell(&target);
    }
    let answer = client::ask(&Ask::Stop(target), Absence::Report)?;
    let Reply::Stopped(names) = answer.reply else {
        bail!("the daemon answered {:?}", answer.reply)
    };
    for name in names {
        eprintln!("wharf: space {name} ended");
    }
    Ok(ExitCode::SUCCESS)
}

/// What can be neither a port nor a space's name.
fn neither(what: &str, unclear: &Unclear) -> Failure {
    Failure::usage(format!("{unclear}; nor can {what:?} be a space's name"))
}

/// Names the spaces that would end.
fn foretell(target: &Target) -> Result<ExitCode> {
    let spaces = survey(&Places::Spaces, &Question::LISTENERS)?.spaces;
    let meant: Vec<_> = spaces.iter().filter(|space| target.means(space)).collect();
    if meant.is_empty() {
        return Err(target.not_running().into());
    }
    for space in meant {
        eprintln!("wharf: would end space {} and what runs in it", space.name);
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends who listens at a port.
fn port(place: &Place, typed: &cli::Stop) -> Result<ExitCode> {
    let plan = Plan::make(place, typed.force.into())?;
    let verb = match typed.dry_run {
        true => "would end",
        false => "ends",
    };
    for program in plan.programs() {
        eprintln!("wharf: {verb} {}, which listens at {place}", named(program));
    }
    if !typed.dry_run {
        plan.carry_out()?;
    }
    Ok(ExitCode::SUCCESS)
}
