//! Makes the list anew whenever something may have changed: at once when the daemon tells of it, and every second for what
//! nobody tells, which is the machine's own ports.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Watched;
use crate::failure::{status, status_of};
use crate::follow::{Follower, Heard};
use crate::list::Hold;
use crate::protocol::Places;
use crate::survey::survey;

/// How old a list becomes at most.
const PERIOD: Duration = Duration::from_secs(1);
/// What comes together is listed together.
const TOGETHER: Duration = Duration::from_millis(50);

/// The lists.
#[derive(Debug)]
pub(super) struct Feed {
    watched: Watched,
    follower: Follower,
    last: Option<Vec<Hold>>,
}

impl Feed {
    /// Lists of these places.
    pub(super) fn of(watched: Watched) -> Self {
        let space = match &watched.places {
            Places::Space(name) => Some(name.clone()),
            Places::Spaces | Places::Machine | Places::Everywhere => None,
        };
        Self {
            watched,
            follower: Follower::of(space),
            last: None,
        }
    }

    /// The next list that differs from the last; the first at once.
    ///
    /// # Errors
    /// When sockets can't be listed.
    pub(super) fn next(&mut self) -> Result<Vec<Hold>> {
        loop {
            // Who follows before listing misses nothing in between.
            if self.watched.places != Places::Machine {
                self.follower.follow()?;
            }
            let now = self.list()?;
            if self.last.as_ref() != Some(&now) {
                self.last = Some(now.clone());
                return Ok(now);
            }
            self.pause()?;
        }
    }

    fn list(&self) -> Result<Vec<Hold>> {
        match survey(&self.watched.places, &self.watched.question) {
            // What does not run yet may come.
            Err(error) if status_of(&error) == status::NOTHING => Ok(Vec::new()),
            found => Ok(found?.holds),
        }
    }

    /// Waits for news, or a while; what comes soon after the first is waited for as well, but not for ever.
    fn pause(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut time = PERIOD;
        while let Heard::News(_) = self.follower.hear_within(time)? {
            if begun.elapsed() > PERIOD {
                break;
            }
            time = TOGETHER;
        }
        Ok(())
    }
}
