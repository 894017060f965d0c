//! `wharf ls`: whose the ports of spaces and of the machine are.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli;
use crate::failure::{status, status_of};
use crate::list::{Detail, Protocol, Question, States, render};
use crate::output;
use crate::place::space_named;
use crate::protocol::Places;
use crate::survey::{Survey, survey};
use crate::watch::{self, Watched};

/// Lists; exit status 1 when there is nothing to list.
pub(crate) fn ls(typed: cli::Ls) -> Result<ExitCode> {
    let places = places(&typed);
    if typed.watch {
        let places = places?;
        let question = question(&typed);
        let watched = Watched { places, question };
        return match typed.json {
            true => watch::as_json(watched),
            false => watch::in_terminal(watched),
        };
    }
    let found = match places.and_then(|places| survey(&places, &question(&typed))) {
        Err(error) if typed.json && status_of(&error) == status::NOTHING => Survey::default(),
        found => found?,
    };
    let holds = found.holds;
    if typed.json {
        output::line(render::json(&holds, typed.flows))?;
    } else {
        output::print(render::table(&holds, &render::Look::of_stdout()))?;
    }
    if holds.is_empty() {
        if !typed.json {
            eprintln!("{}", nothing(&typed));
        }
        return Ok(ExitCode::from(status::NOTHING));
    }
    // The process ends: giving thousands of words back one by one would cost as much as printing them.
    std::mem::forget(holds);
    Ok(ExitCode::SUCCESS)
}

fn places(typed: &cli::Ls) -> Result<Places> {
    Ok(match space_named(typed.space.as_deref())? {
        Some(space) => Places::Space(space),
        None if typed.all => Places::Everywhere,
        None if typed.host => Places::Machine,
        None => Places::Spaces,
    })
}

fn question(typed: &cli::Ls) -> Question {
    Question {
        states: match (typed.flows, typed.all) {
            (true, _) => States::All,
            (false, true) => States::Idle,
            (false, false) => States::Listening,
        },
        protocol: typed.udp.then_some(Protocol::Udp),
        port: None,
        detail: Detail::Row,
    }
}

/// What to say, on standard error, when there is nothing to list.
fn nothing(typed: &cli::Ls) -> &'static str {
    match &typed.space {
        Some(_) => "wharf: nothing listens in that space",
        None if typed.all => "wharf: nothing listens on the machine or in any space",
        None if typed.host => "wharf: nothing listens on the machine",
        None => "wharf: nothing listens in any space. Start a program in one: wharf run -- COMMAND",
    }
}
