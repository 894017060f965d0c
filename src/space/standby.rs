//! The last holder of a run's listener, for when the daemon and the keeper are both gone: killed, or out of memory.
//!
//! Nobody would hold the listener then, and to the programs every bind would fail with "function not implemented". So
//! `wharf run` holds it as well ([`Standby`]) and stands in when no daemon knows its space any more. If programs of it
//! live on when it ends (daemons, mostly), it leaves a process behind ([`stand_by`]) that does the same and ends with the
//! last of them. As long as the keeper or a daemon that carries the space lives, neither looks at a call.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::binding::hand;
use crate::binding::notify::Listener;
use crate::binding::standin::{Kept, StandIn};
use crate::channel::Channel;
use crate::client;
use crate::failure::{status, status_of};
use crate::list::{Question, States};
use crate::protocol::{Places, SpaceInfo};
use crate::survey::survey;

/// A run's own hold on its listener.
#[derive(Debug)]
pub(crate) struct Standby {
    known: Known,
    listener: OwnedFd,
    in_hand: Option<OwnedFd>,
    keeper: Option<OwnedFd>,
    /// It answers, since nobody else does.
    stand_in: Option<StandIn>,
}

/// What a run was, for the process that it leaves behind.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    run: String,
    /// The number of its network namespace.
    network: u64,
}

impl Standby {
    /// Holds the listener of this run.
    pub(crate) fn of(space: &SpaceInfo, run: &str, listener: OwnedFd) -> Self {
        let known = Known {
            run: run.to_owned(),
            network: space.network,
        };
        Self {
            known,
            listener,
            in_hand: None,
            keeper: None,
            stand_in: None,
        }
    }

    /// The listener.
    pub(crate) fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// A daemon serves: what it has in hand, and the keeper's process, unless that has ended.
    pub(crate) fn served(&mut self, descriptors: Vec<OwnedFd>) {
        let mut descriptors = descriptors.into_iter();
        (self.in_hand, self.keeper) = (descriptors.next(), descriptors.next());
    }

    /// Nobody else answers any more.
    ///
    /// # Errors
    /// When what the daemon had in hand can't be read.
    pub(crate) fn stand_in(&mut self) -> io::Result<()> {
        let in_hand = self.in_hand.take().map_or_else(hand::empty, Ok)?;
        let listener = Listener::new(self.listener.try_clone()?);
        let run = self.known.run.clone();
        let stand_in = self.stand_in.insert(StandIn::default());
        stand_in.keep(Kept { run, listener }, in_hand);
        stand_in.take_over()
    }

    /// Where calls wait that are to be answered here, if they are.
    pub(crate) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        let kept = self.stand_in.as_ref()?.kept().next()?;
        Some(kept.listener.as_fd())
    }

    /// Lets the calls pass that wait.
    ///
    /// # Errors
    /// When there is no memory for that.
    pub(crate) fn let_pass(&mut self) -> io::Result<()> {
        self.stand_in.as_mut().map_or(Ok(()), StandIn::let_pass)
    }

    /// The run ends: leaves a process behind if programs of it live on.
    ///
    /// # Errors
    /// When that can't be started.
    pub(crate) fn leave(self) -> Result<()> {
        if Listener::new(self.listener.try_clone()?).is_over() {
            return Ok(());
        }
        let in_hand = self.in_hand.map_or_else(hand::empty, Ok)?;
        let (near, far) = UnixStream::pair()?;
        Command::new("/proc/self/exe")
            .arg0("wharf")
            .arg("standby")
            .current_dir("/")
            .stdin(OwnedFd::from(far))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot leave a process behind")?;
        let descriptors = [Some(&self.listener), Some(&in_hand), self.keeper.as_ref()];
        let descriptors: Vec<_> = descriptors.into_iter().flatten().map(AsFd::as_fd).collect();
        Ok(Channel::new(near).send(&self.known, &descriptors)?)
    }
}

/// The life of the process that a run leaves behind; `run` is the socket to that run.
pub(crate) fn stand_by(run: UnixStream) -> Result<()> {
    let heard = Channel::new(run).receive::<Known>()?;
    let (known, descriptors) = heard.context("the run ended first")?;
    let mut descriptors = descriptors.into_iter();
    let (Some(listener), Some(in_hand)) = (descriptors.next(), descriptors.next()) else {
        bail!("the run sent no listener")
    };
    let listener = Listener::new(listener);
    if let Some(keeper) = descriptors.next()
        && await_end(&keeper, &listener)? == End::OfPrograms
    {
        return Ok(());
    }
    // One that found the space before its keeper ended may carry it still.
    while let Some(daemon) = daemon_of(known.network)? {
        if await_end(&daemon, &listener)? == End::OfPrograms {
            return Ok(());
        }
    }
    let run = known.run;
    let mut stand_in = StandIn::default();
    stand_in.keep(Kept { run, listener }, in_hand);
    stand_in.take_over()?;
    while stand_in.awaits_calls()? {
        stand_in.let_pass()?;
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    OfProcess,
    OfPrograms,
}

/// Waits for the end of a process, or of the last program whose calls arrive at the listener.
fn await_end(process: &OwnedFd, listener: &Listener) -> Result<End> {
    loop {
        let mut watched = [
            PollFd::new(process, PollFlags::IN),
            // No call wakes this.
            PollFd::new(listener, PollFlags::empty()),
        ];
        match poll(&mut watched, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) if !watched[1].revents().is_empty() => return Ok(End::OfPrograms),
            Ok(_) => return Ok(End::OfProcess),
        }
    }
}

/// The daemon that carries the space with this network namespace, if one does.
fn daemon_of(network: u64) -> Result<Option<OwnedFd>> {
    let nothing = Question {
        states: States::Listening,
        port: std::num::NonZeroU16::new(1),
        ..Question::LISTENERS
    };
    let spaces = match survey(&Places::Spaces, &nothing) {
        Err(error) if status_of(&error) == status::NOTHING => return Ok(None),
        // It was killed while it answered.
        Err(_) if client::daemon_pid().is_none() => return Ok(None),
        found => found?.spaces,
    };
    if !spaces.iter().any(|space| space.network == network) {
        return Ok(None);
    }
    let pid = client::daemon_pid().and_then(Pid::from_raw);
    Ok(pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()))
}
