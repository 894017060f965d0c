//! `wharf assert`: does the right program answer at a port?
//!
//! It ends the green test against the wrong server: another checkout's, one left over from yesterday, a container's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use crate::cli;
use crate::failure::{Failure, status};
use crate::list::render::SCHEMA;
use crate::list::{Detail, Hold, Process};
use crate::output;
use crate::place::{Place, Where, who};

/// Looks; exit status 1 with the reason unless everybody who listens there is who was meant.
pub(crate) fn assert(typed: &cli::Assert) -> Result<ExitCode> {
    let expected = Expected::of(typed)?;
    let listeners = expected.place.listeners(Detail::Story)?;
    let reason = match &listeners[..] {
        [] => Some(format!("nothing listens at {}", expected.place)),
        found => found.iter().find_map(|hold| expected.objection(hold)),
    };
    if typed.json {
        output::line(json(&listeners, reason.as_deref()))?;
    } else if let Some(reason) = &reason {
        eprintln!("wharf: {reason}");
    }
    Ok(match reason {
        Some(_) => ExitCode::from(status::NOTHING),
        None => ExitCode::SUCCESS,
    })
}

/// Who should answer, and where.
#[derive(Debug)]
struct Expected {
    place: Place,
    directory: Option<PathBuf>,
    pid: Option<i32>,
}

impl Expected {
    fn of(typed: &cli::Assert) -> Result<Self> {
        let directory = typed.cwd.as_ref().map(|directory| {
            fs::canonicalize(directory).map_err(|error| {
                Failure::usage(format!("cannot find {}: {error}", directory.display()))
            })
        });
        let place = match (&typed.space, &typed.place.within) {
            (Some(space), Where::Here) => typed.place.in_space(space),
            (Some(space), Where::Space(named)) if space == named => typed.place.clone(),
            (Some(space), _) => {
                return Err(
                    Failure::usage(format!("{} is not in space {space}", typed.place)).into(),
                );
            }
            (None, _) => typed.place.clone(),
        };
        Ok(Self {
            place,
            directory: directory.transpose()?,
            pid: typed.pid,
        })
    }

    /// Why this listener is not the right one.
    fn objection(&self, hold: &Hold) -> Option<String> {
        let held = || format!("{} is held by {}", self.place, who(hold));
        let fits = |fit: &dyn Fn(&Process) -> bool| hold.programs.iter().any(fit);
        if let Some(expected) = &self.directory {
            let within = |directory: &String| Path::new(directory).starts_with(expected);
            if !fits(&|program| program.directory.as_ref().is_some_and(within)) {
                return Some(format!(
                    "{}, which doesn't work in {}",
                    held(),
                    expected.display()
                ));
            }
        }
        if let Some(expected) = self.pid
            && !fits(&|program| descends(program, expected))
        {
            return Some(format!(
                "{}, which is not process {expected} and was not started by it",
                held()
            ));
        }
        None
    }
}

/// Whether a program is that process, or its child, or its child's child.
fn descends(program: &Process, from: i32) -> bool {
    let background = program.background.iter();
    let mut parents = background.flat_map(|background| &background.parents);
    program.pid == from || parents.any(|parent| parent.pid == from)
}

fn json(listeners: &[Hold], reason: Option<&str>) -> String {
    #[derive(Serialize)]
    struct Asserted<'a> {
        schema: u32,
        holds: bool,
        reason: Option<&'a str>,
        listeners: &'a [Hold],
    }
    serde_json::to_string(&Asserted {
        schema: SCHEMA,
        holds: reason.is_none(),
        reason,
        listeners,
    })
    .expect("it holds only strings, numbers and sequences, which always have a JSON form")
}
