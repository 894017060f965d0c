//! `wharf why`: whose a port is, the whole story, and the ways out.
//!
//! - [`crate::place::spelling`]: what was asked;
//! - [`found`]: everything that an answer is made of;
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
mod found;
mod notes;
mod place;
mod proxy;
mod render;
mod rules;
mod then;
mod ways;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli;
use crate::failure::status;
use crate::list;
use crate::output;

use answer::{Answer, Verdict};
use found::{Found, Sight};
use then::Past;

/// Explains; exit status 0 if the port is held, 1 if it is free, 3 if somebody holds it who may not be seen.
pub(crate) fn why(typed: &cli::Why) -> Result<ExitCode> {
    let asked = &typed.port;
    if let Some(at) = &typed.at {
        return before(&Past::look_up(asked, at)?, typed);
    }
    let answer = match asked.port {
        Some(port) => {
            let (asked, found) = Found::look(asked, port)?;
            answer::answer(&asked, &found)
        }
        None => Answer::of_port_0(asked),
    };
    if typed.json {
        output::line(answer.json())?;
    } else {
        output::print(render::text(&answer, &list::render::Look::of_stdout()))?;
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
        true => output::line(past.json())?,
        false => output::print(past.text())?,
    }
    Ok(match past.is_held() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(status::NOTHING),
    })
}
