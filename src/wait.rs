//! `wharf wait`: until somebody listens at a port.
//!
//! In spaces the daemon tells what happens. Of the machine's own ports the kernel tells an ordinary user nothing, so these
//! are looked at from time to time, at first often. Either way one look asks the kernel about one port.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cli;
use crate::failure::{Failure, status};
use crate::follow::Follower;
use crate::list::{Detail, Hold, render};
use crate::output;
use crate::place::{Place, Where, who};
use crate::survey::space_around;

/// The first pause between two looks, and the longest; each is half as long again as the one before.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(250)];

/// Waits; exit status 124 when the time is over.
pub(crate) fn wait(typed: &cli::Wait) -> Result<ExitCode> {
    let deadline = (!typed.timeout.is_zero()).then(|| Instant::now() + typed.timeout);
    let listeners = await_listeners(&typed.place, deadline)?;
    let Some(first) = listeners.first() else {
        return Err(timed_out(typed)?.into());
    };
    if typed.json {
        output::line(render::json(&listeners, false))?;
    } else {
        eprintln!("wharf: {} listens: {}", typed.place, who(first));
    }
    Ok(ExitCode::SUCCESS)
}

/// Who listens there, as soon as somebody does; nobody when the time is over.
///
/// # Errors
/// When sockets can't be listed.
pub(crate) fn await_listeners(place: &Place, deadline: Option<Instant>) -> Result<Vec<Hold>> {
    let mut follower = match (&place.within, space_around()) {
        (Where::Here, None) | (Where::Machine, _) => None,
        (Where::Here, around) => Some(Follower::of(around)),
        (Where::Space(name), _) => Some(Follower::of(Some(name.clone()))),
        (Where::Project, _) => Some(Follower::of(None)),
    };
    let mut pause = PAUSES[0];
    loop {
        // Who follows before looking misses nothing in between.
        if let Some(follower) = &mut follower {
            follower.follow()?;
        }
        let found = place.listeners(Detail::Row)?;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if !found.is_empty() || left.is_some_and(|left| left.is_zero()) {
            return Ok(found);
        }
        let now = left.map_or(pause, |left| left.min(pause));
        match &mut follower {
            Some(follower) => drop(follower.hear_within(now)?),
            None => std::thread::sleep(now),
        }
        pause = (pause * 3 / 2).min(PAUSES[1]);
    }
}

fn timed_out(typed: &cli::Wait) -> Result<Failure> {
    let Place { port, .. } = typed.place;
    let mut message = format!(
        "nothing listens at {} after {:?}",
        typed.place, typed.timeout
    );
    for hold in typed.place.listeners_elsewhere()? {
        let space = hold.space.as_deref().unwrap_or_default();
        message += &format!(
            "\nin space {space} there is {}: wharf wait {space}:{port}",
            who(&hold)
        );
    }
    Ok(Failure {
        message,
        status: status::TIMEOUT,
    })
}
