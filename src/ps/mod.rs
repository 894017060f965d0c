//! `wharf ps`: the programs of spaces, as the daemon finds them now, and those that have ended lately, as their runs have
//! written down.
//!
//! - [`table`]: how that is shown.

pub(crate) mod table;

use std::collections::HashMap;
use std::process::ExitCode;

use anyhow::{Result, bail};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cli;
use crate::client::{self, Absence};
use crate::failure::{status, status_of};
use crate::list::render::{Look, SCHEMA};
use crate::list::running::Running;
use crate::output;
use crate::place::space_named;
use crate::protocol::{Ask, Places, Reply};
use crate::runs::{self, Account};

/// What has ended within this time is shown to people.
const LATELY: SignedDuration = SignedDuration::from_hours(1);
/// No more of those than this.
const LATELY_COUNT: usize = 10;

/// What is listed.
#[derive(Debug, Serialize)]
struct List {
    schema: u32,
    programs: Vec<Program>,
    ended: Vec<Account>,
}

/// A process that runs.
#[derive(Debug, Serialize)]
struct Program {
    #[serde(flatten)]
    running: Running,
    /// Whether it was started in the background.
    background: bool,
}

/// Lists them; exit status 1 if there are none.
pub(crate) fn ps(typed: &cli::Ps) -> Result<ExitCode> {
    let list = List::of(space_named(typed.space.as_deref())?.as_deref())?;
    if typed.json {
        output::line(serde_json::to_string(&list)?)?;
    } else {
        let ended = list.lately(Timestamp::now());
        output::print(table::table(&list.programs, ended, &Look::of_stdout()))?;
        if list.programs.is_empty() && ended.is_empty() {
            eprintln!(
                "wharf: nothing runs in any space. Start a program in one: wharf run -- COMMAND"
            );
        }
    }
    Ok(match list.programs.is_empty() {
        true => ExitCode::from(status::NOTHING),
        false => ExitCode::SUCCESS,
    })
}

impl List {
    fn of(space: Option<&str>) -> Result<Self> {
        let mut known = runs::all()?;
        known.retain(|account| space.is_none_or(|space| account.space == space));
        let running = match running(space) {
            // A space that has ended may have been one a moment ago.
            Err(error)
                if status_of(&error) == status::NOTHING
                    && (space.is_none() || !known.is_empty()) =>
            {
                Vec::new()
            }
            running => running?,
        };
        let runs::Known { attended, over } = known;
        let background = |running: &Running| {
            let run = running.run.as_ref();
            run.is_some_and(|run| attended.iter().any(|account| account.run == *run))
        };
        let programs = marked(running, &attended)
            .into_iter()
            .map(|running| Program {
                background: background(&running),
                running,
            });
        let (programs, mut ended): (Vec<_>, _) = (programs.collect(), over);
        // Somebody may attend what others of a program that has ended say.
        ended.extend(
            attended
                .into_iter()
                .filter(|account| account.ended.is_some()),
        );
        ended.sort_by_key(|account| account.ended.map_or(account.started, |ended| ended.at));
        Ok(Self {
            schema: SCHEMA,
            programs,
            ended,
        })
    }

    /// Those that have ended lately.
    fn lately(&self, now: Timestamp) -> &[Account] {
        let first = self.ended.iter().position(|account| {
            let ended = account.ended.map_or(account.started, |ended| ended.at);
            now.duration_since(ended) <= LATELY
        });
        let lately = first.map_or(&[][..], |first| &self.ended[first..]);
        &lately[lately.len().saturating_sub(LATELY_COUNT)..]
    }
}

/// The same, with the runs of those whose environment doesn't say it: programs that show a title of their own write it there.
/// Theirs is the run of the program that was started with their number, else that of their parent.
fn marked(mut all: Vec<Running>, attended: &[Account]) -> Vec<Running> {
    let mut runs: HashMap<i32, String> = attended
        .iter()
        .map(|account| (account.pid, account.run.clone()))
        .collect();
    // A parent is older than its child.
    all.sort_by_key(|one| one.process.started);
    for one in &mut all {
        let known = [one.process.pid, one.parent];
        let found = known.iter().find_map(|pid| runs.get(pid));
        one.run = one.run.take().or_else(|| found.cloned());
        if let Some(run) = &one.run {
            runs.insert(one.process.pid, run.clone());
        }
    }
    all.sort_by(|one, other| one.space.cmp(&other.space));
    all
}

/// What runs in one space, or in all.
pub(crate) fn running(space: Option<&str>) -> Result<Vec<Running>> {
    let places = space.map_or(Places::Spaces, |space| Places::Space(space.to_owned()));
    let answer = client::ask(&Ask::Programs(places), Absence::Report)?;
    let Reply::Programs(programs) = answer.reply else {
        bail!("the daemon answered {:?}", answer.reply)
    };
    Ok(programs)
}
