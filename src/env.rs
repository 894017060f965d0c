//! `wharf env`: what a program in a space finds in its environment, for a shell outside, or for a program as JSON.

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::cli;
use crate::list::Question;
use crate::list::render::SCHEMA;
use crate::output;
use crate::protocol::{Places, SpaceInfo, Target};
use crate::run;
use crate::survey::survey;

/// The variables of every program in a space.
pub(crate) fn variables(space: &SpaceInfo) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("WHARF_SPACE", space.name.clone()),
        ("WHARF_IPV4", space.ipv4.to_string()),
        ("WHARF_IPV6", space.ipv6.to_string()),
    ];
    variables.extend(space.url.clone().map(|url| ("WHARF_URL", url)));
    variables
}

/// Prints them; exit status 1 if the space does not run.
pub(crate) fn env(typed: cli::Env) -> Result<ExitCode> {
    let space = space(&run::target(typed.space)?)?;
    if typed.json {
        output::line(json(&space)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, value) in variables(&space) {
        // Labels, addresses and URLs have nothing in them that a shell would take for more than a letter.
        output::line(format_args!("export {name}='{value}'"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn json(space: &SpaceInfo) -> Result<String> {
    #[derive(Serialize)]
    struct Environment<'a> {
        schema: u32,
        #[serde(flatten)]
        space: &'a SpaceInfo,
    }
    let environment = Environment {
        schema: SCHEMA,
        space,
    };
    serde_json::to_string(&environment).context("cannot write JSON")
}

/// The running space that is meant.
///
/// # Errors
/// With exit status 1 if it does not run.
pub(crate) fn space(target: &Target) -> Result<SpaceInfo> {
    let spaces = survey(&Places::Spaces, &Question::LISTENERS)?.spaces;
    let found = spaces.into_iter().find(|space| target.means(space));
    Ok(found.ok_or_else(|| target.not_running())?)
}
