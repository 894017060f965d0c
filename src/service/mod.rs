//! `wharf service`: what a port is used for, and which port a service has.
//!
//! The knowledge is [`wharf_port::registry`]'s, and what the machine's own /etc/services adds ([`local`]). Whose a
//! port is at the moment is another question, which `wharf ls` answers.

mod found;
mod local;
mod query;
mod render;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli;
use crate::columns::Colour;
use crate::failure::status;
use crate::output;

use found::Answer;
use local::Names;
use query::Query;

/// Looks up; exit status 1 when nothing is known, 2 for what can be no port and no name.
pub(crate) fn service(typed: &cli::Service) -> Result<ExitCode> {
    let names = Names::of_machine();
    let answer = match &typed.what {
        Some(what) => Answer::to(&Query::parse(what)?, what, &names),
        None => Answer::taught(&names),
    };
    if typed.json {
        output::line(render::json(&answer))?;
    } else if answer.is_empty() {
        eprint!("{}", render::nothing(&answer));
    } else {
        output::print(render::text(&answer, Colour::of_stdout()))?;
    }
    Ok(match answer.is_empty() {
        true => ExitCode::from(status::NOTHING),
        false => ExitCode::SUCCESS,
    })
}
