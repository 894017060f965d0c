//! A command's ear for what happens in spaces: the daemon's events, for as long as a daemon runs.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::channel::Channel;
use crate::client::{self, Absence};
use crate::event::News;
use crate::failure::{status, status_of};
use crate::protocol::{Ask, Reply};

/// Follows one space, or all.
#[derive(Debug)]
pub(crate) struct Follower {
    space: Option<String>,
    channel: Option<Channel>,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Something happened.
    News(News),
    /// The daemon is gone, and with it what it would have told.
    Gone,
    /// Nothing, in that time.
    Nothing,
}

impl Follower {
    /// Follows the space of that name, or all; begins with [`Self::follow`].
    pub(crate) fn of(space: Option<String>) -> Self {
        Self {
            space,
            channel: None,
        }
    }

    /// Makes sure that it follows, if a daemon runs: then nothing that happens from here on is missed.
    ///
    /// # Errors
    /// When the daemon refuses.
    pub(crate) fn follow(&mut self) -> Result<()> {
        if self.channel.is_some() {
            return Ok(());
        }
        let asked = Ask::Events {
            space: self.space.clone(),
        };
        let answer = match client::ask(&asked, Absence::Report) {
            Err(error) if status_of(&error) == status::NOTHING => return Ok(()),
            answer => answer?,
        };
        let Reply::Following = answer.reply else {
            bail!("the daemon answered {:?}", answer.reply)
        };
        self.channel = Some(answer.channel);
        Ok(())
    }

    /// Whether it follows, since a daemon runs.
    pub(crate) fn follows(&self) -> bool {
        self.channel.is_some()
    }

    /// Waits for the next thing, no longer than `time`.
    ///
    /// # Errors
    /// When the daemon can't be heard, or says what isn't understood.
    pub(crate) fn hear_within(&mut self, time: Duration) -> Result<Heard> {
        let Some(channel) = &mut self.channel else {
            std::thread::sleep(time);
            return Ok(Heard::Nothing);
        };
        let time = Timespec::try_from(time).context("that is too long a time")?;
        if !channel.holds_more() {
            match poll(&mut [PollFd::new(&*channel, PollFlags::IN)], Some(&time)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Heard::Nothing),
                polled => polled.context("cannot wait for the daemon")?,
            };
        }
        let heard = channel.receive().context("cannot hear the daemon")?;
        let Some((news, _)) = heard else {
            self.channel = None;
            return Ok(Heard::Gone);
        };
        Ok(Heard::News(news))
    }
}
