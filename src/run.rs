//! `wharf run`: starts a program in a space, stays as its parent, and ends as it ended.
//!
//! The program shares this process's group and terminal, so that job control works by itself: what the terminal sends
//! reaches both, and only what another process sends to this one is passed on. When the daemon is gone, the next one is
//! told of this run. In the background ([`crate::background`]) it is the same, without a terminal.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::num::NonZeroU16;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use wharf_port::Port;

use crate::background::{self, Stage};
use crate::channel::Channel;
use crate::client::Absence;
use crate::config::Config;
use crate::failure::{Failure, cannot_run, status};
use crate::protocol::{Ask, Notice, Progress, Reply, Run, SpaceInfo, Target, Traffic};
use crate::publish::Publication;
use crate::runs::Account;
use crate::signals::{Caught, Signals};
use crate::space::enter::{EnterError, Namespaces, Started, Supervision};
use crate::space::standby::Standby;
use crate::survey::space_around;
use crate::{cli, client, config, conflict, env, space};

/// How long a daemon may take for its last word; usually it has none.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs the program and answers with its exit status; in the background, as soon as it runs.
pub(crate) fn run(typed: cli::Run) -> Result<ExitCode> {
    match typed.detach {
        true => background::launch(),
        false => {
            let outcome = carry(typed, config::of_here()?, Stage::Terminal)?;
            Ok(ExitCode::from(outcome.status))
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// The program's exit status, as a shell has it.
    pub(crate) status: u8,
    /// What had passed between its space and everything else until then.
    pub(crate) traffic: Traffic,
}

/// Runs the program on this stage.
pub(crate) fn carry(typed: cli::Run, config: Config, mut stage: Stage) -> Result<Outcome> {
    let from_host = let_in(&typed.from_host, &config);
    let typed_wishes = typed.publish.into_iter().flat_map(|wishes| wishes.0);
    let publish = config.publish.iter().copied().chain(typed_wishes).collect();
    let asked = Ask::Run(Run {
        target: target(typed.space)?,
        name: config.name,
        from_host: from_host.clone(),
        policy: config.policy,
        isolated: typed.isolated.then_some(true).or(config.isolated),
        publish,
        publish_all: typed.publish_all,
        device: typed.device,
        mtu: typed.mtu,
    });
    let answer = client::ask(&asked, Absence::Start)?;
    let Reply::Entered {
        space,
        run,
        remarks,
        published,
    } = answer.reply
    else {
        bail!("the daemon answered something else")
    };
    if !typed.quiet {
        announce(&space, &remarks, &published);
    }
    let program = prepare(&typed.command, &space, &run, &published)
        .and_then(|command| start(command, answer.descriptors, &mut stage));
    let resume = Ask::Resume {
        space: space.name.clone(),
        run: run.clone(),
        from_host,
    };
    let mut session = Session {
        channel: Some(answer.channel),
        resume,
        refused: false,
        standby: None,
        silent: typed.quiet,
        command: typed.command,
    };
    let ended = program.and_then(|(started, mut signals)| {
        session.supervise(started.supervision, |listener| {
            Standby::of(&space, &run, listener)
        });
        let program = Pid::from_child(&started.child);
        let mut account = Account::begin(&run, &space, program.as_raw_pid(), &session.command);
        stage.begun(&mut account, typed.quiet)?;
        let code = attend(program, &mut signals, &mut session, &mut stage)?;
        account.end(code);
        Ok((code, signals))
    });
    let traffic = session.finish();
    let (status, signals) = ended?;
    stage.outlast(signals);
    Ok(Outcome { status, traffic })
}

/// That the space can't be entered from here.
fn no_way_in() -> Failure {
    let message = match space_around() {
        Some(_) => {
            "this process is inside another space; start the program from outside of it, or without -s"
        }
        None => {
            "this process is in a user namespace that the space is not in; start the program from outside of it, or set \
             WHARF_APART to a directory, for spaces of its own"
        }
    };
    Failure {
        message: message.into(),
        status: status::NOT_PERMITTED,
    }
}

/// The space of that name (`.`: of the current directory's project), else the one that this process is in, else the one of the project that holds the current
/// directory.
pub(crate) fn target(space: Option<String>) -> Result<Target> {
    match space.or_else(space_around) {
        Some(name) if name != "." => Ok(Target::Name(name)),
        _ => project(),
    }
}

/// The space of the project that holds the current directory.
pub(crate) fn project() -> Result<Target> {
    let root = space::project::root(&current_directory()?);
    Ok(Target::Directory(root))
}

fn current_directory() -> Result<PathBuf> {
    std::env::current_dir().context("cannot tell the current directory")
}

/// The machine's ports that are typed or that the project wants, each once.
fn let_in(typed: &[Port], config: &Config) -> Vec<NonZeroU16> {
    let typed = typed
        .iter()
        .filter_map(|port| NonZeroU16::new(port.number()));
    let wanted = config.from_host.iter().copied();
    typed
        .chain(wanted)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

fn announce(space: &SpaceInfo, remarks: &[String], published: &[Publication]) {
    let url = space
        .url
        .as_ref()
        .map_or_else(String::new, |url| format!(" · {url}"));
    eprintln!("wharf: space {} · {}{url}", space.name, space.ipv4);
    for publication in published {
        eprintln!("wharf: published {publication}");
    }
    for remark in remarks {
        eprintln!("wharf: {remark}");
    }
}

/// `WHARF_PORT_3000`: the port of the machine that leads to the program's port 3000.
fn ports_variable(publication: &Publication) -> (String, String) {
    (
        format!("WHARF_PORT_{}", publication.inside),
        publication.place.port.to_string(),
    )
}

/// The program as it is to be started.
fn prepare(
    words: &[OsString],
    space: &SpaceInfo,
    run: &str,
    published: &[Publication],
) -> Result<Command> {
    let (name, arguments) = words.split_first().context("no program was named")?;
    let mut command = Command::new(name);
    command
        .args(arguments)
        .envs(env::variables(space))
        .env("WHARF_RUN", run)
        .envs(published.iter().map(ports_variable));
    Ok(command)
}

/// The program, started, and the signals that come for it.
fn start(
    mut command: Command,
    descriptors: Vec<OwnedFd>,
    stage: &mut Stage,
) -> Result<(Started, Signals)> {
    let signals = Signals::catch().context("cannot catch signals")?;
    let [user, network] = <[OwnedFd; 2]>::try_from(descriptors)
        .map_err(|_| anyhow::anyhow!("the daemon sent no namespaces"))?;
    stage.furnish(&mut command)?;
    let name = command.get_program().to_owned();
    match (Namespaces { user, network }).spawn(command) {
        Ok(started) => Ok((started, signals)),
        Err(EnterError::Namespace(error)) if error.raw_os_error() == Some(libc::EPERM) => {
            Err(no_way_in().into())
        }
        Err(EnterError::Exec(error)) => Err(cannot_run(&name, error).into()),
        Err(error) => Err(error.into()),
    }
}

/// The run as the daemon knows it.
struct Session {
    channel: Option<Channel>,
    resume: Ask,
    /// The kernel has refused the filter.
    refused: bool,
    /// The listener is held here as well, for when nobody else does.
    standby: Option<Standby>,
    silent: bool,
    /// What was typed.
    command: Vec<OsString>,
}

impl Session {
    /// Where the daemon speaks, or without one, calls wait that this run has to let pass.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        let channel = self.channel.as_ref().map(AsFd::as_fd);
        channel.or_else(|| self.standby.as_ref()?.waiting())
    }

    /// The daemon says something, or is gone; or without one, a call waits.
    fn attend(&mut self) {
        if self.channel.is_some() {
            self.hear();
        } else if let Some(Err(error)) = self.standby.as_mut().map(Standby::let_pass) {
            eprintln!("wharf: cannot stand in for the daemon: {error}");
        }
    }

    /// The program runs, and its binds are to be seen by the daemon.
    fn supervise(&mut self, supervision: Supervision, hold: impl FnOnce(OwnedFd) -> Standby) {
        match supervision {
            Supervision::Listener(listener) => self.standby = Some(hold(listener)),
            Supervision::Inherited => {}
            Supervision::Refused(errno) => {
                self.refused = true;
                if !self.silent {
                    eprintln!(
                        "wharf: binds can't be watched here ({errno}): ports are listed, and conflicts are not explained"
                    );
                }
            }
        }
        self.report_supervision();
    }

    fn report_supervision(&self) {
        let Some(channel) = &self.channel else { return };
        // If the daemon is gone, the next one is told.
        match &self.standby {
            Some(standby) => {
                channel
                    .send(&Progress::Supervised, &[standby.listener()])
                    .ok();
            }
            None if self.refused => {
                channel.send(&Progress::Unsupervised, &[]).ok();
            }
            None => {}
        }
    }

    /// The daemon says something, or is gone.
    fn hear(&mut self) {
        let Some(channel) = &mut self.channel else {
            return;
        };
        let mut heard = channel.receive();
        while let Ok(Some((notice, descriptors))) = heard {
            match (notice, &mut self.standby) {
                (Notice::Kept, Some(standby)) => standby.served(descriptors),
                (Notice::Conflict(event), _) if !self.silent => {
                    eprint!("{}", conflict::explain(&event, &self.command));
                }
                _ => {}
            }
            heard = match channel.arrived() {
                Ok(None) => return,
                arrived => arrived,
            };
        }
        self.resume();
    }

    /// The daemon is gone: start the next one, which takes the space up again, and tell it of this run.
    fn resume(&mut self) {
        self.channel = None;
        match client::ask(&self.resume, Absence::Start) {
            Ok(answer) => {
                self.channel = Some(answer.channel);
                self.report_supervision();
            }
            Err(error) => {
                eprintln!(
                    "wharf: the daemon is gone: {error:#}; the program goes on without a network"
                );
                self.stand_in();
            }
        }
    }

    /// Nobody else answers the program's binds any more.
    fn stand_in(&mut self) {
        let outcome = self.standby.as_mut().map_or(Ok(()), Standby::stand_in);
        if let Err(error) = outcome {
            eprintln!("wharf: cannot stand in for the daemon: {error}");
        }
    }

    /// The program is done: the daemon says what it still has to say, and how much has passed in the space; what the program
    /// leaves behind is looked after.
    fn finish(mut self) -> Traffic {
        let traffic = self.part();
        if let Some(Err(error)) = self.standby.map(Standby::leave) {
            eprintln!("wharf: {error:#}");
        }
        traffic
    }

    fn part(&mut self) -> Traffic {
        let mut traffic = Traffic::default();
        let Some(channel) = &mut self.channel else {
            return traffic;
        };
        // If the daemon is gone at this moment, there is nobody to tell.
        if channel.wait_at_most(PATIENCE).is_err()
            || channel.send(&Progress::Finished, &[]).is_err()
        {
            return traffic;
        }
        while let Ok(Some((notice, descriptors))) = channel.receive() {
            match (notice, &mut self.standby) {
                (Notice::Kept, Some(standby)) => standby.served(descriptors),
                (Notice::Passed(passed), _) => traffic = passed,
                (Notice::Conflict(event), _) if !self.silent => {
                    eprint!("{}", conflict::explain(&event, &self.command));
                }
                _ => {}
            }
        }
        traffic
    }
}

/// Waits for the program's end; passes signals on, and stops when it stops.
fn attend(
    program: Pid,
    signals: &mut Signals,
    session: &mut Session,
    stage: &mut Stage,
) -> Result<u8> {
    loop {
        for caught in signals.pending() {
            pass_on(caught, program);
        }
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
        // Any child, in whatever process group (an interactive shell has its own): a daemon that this process once
        // started may end, too.
        while let Some((child, status)) = wait(options).context("cannot wait for the program")? {
            if child != program {
                continue;
            }
            if let Some(code) = end(status) {
                return Ok(code);
            }
            if stage.is_in_terminal() {
                // The program was stopped (Ctrl-Z): so is this, and the shell takes over. Both go on with SIGCONT.
                kill_process(rustix::process::getpid(), Signal::STOP).context("cannot stop")?;
            }
        }
        let [daemon_speaks, program_speaks] = wait_for(signals, session, stage)?;
        if daemon_speaks {
            session.attend();
        }
        if program_speaks {
            stage.hear();
        }
    }
}

/// Waits until a signal comes, or the daemon or the program says something: which of these two does.
fn wait_for(signals: &Signals, session: &Session, stage: &Stage) -> Result<[bool; 2]> {
    let mut watched = vec![PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
    let mut places = [None, None];
    for (place, descriptor) in places
        .iter_mut()
        .zip([session.descriptor(), stage.descriptor()])
    {
        if let Some(descriptor) = descriptor {
            *place = Some(watched.len());
            watched.push(PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
        }
    }
    match poll(&mut watched, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error).context("cannot wait for signals"),
    }
    Ok(places.map(|place| place.is_some_and(|place| !watched[place].revents().is_empty())))
}

/// What the terminal sends reaches the program by itself, as a member of the same process group.
fn pass_on(caught: Caught, program: Pid) {
    if let Caught::FromProcess(signal) = caught {
        // It may have ended by itself just now.
        kill_process(program, signal).ok();
    }
}

/// The exit status for the shell, unless the program was only stopped.
fn end(status: WaitStatus) -> Option<u8> {
    let code = status
        .exit_status()
        .or_else(|| Some(128 + status.terminating_signal()?))?;
    Some(u8::try_from(code).unwrap_or(u8::MAX))
}
