//! `wharf ci`: a program in a throw-away space, and then what is to be known of it.
//!
//! The space has a daemon, a runtime and a state directory of its own, so that nothing of any other space is touched, and all
//! of it is gone when this ends.
//!
//! - [`summary`]: what listened, what was in the way, what was left behind;
//! - [`annotations`]: the same for who reads the log of a workflow.

mod annotations;
mod summary;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::background::Stage;
use crate::client::{self, Absence};
use crate::config::{self, Config};
use crate::failure::{status, status_of};
use crate::history::{self, Wanted};
use crate::list::running::Running;
use crate::protocol::{Ask, Target};
use crate::run;
use crate::{cli, paths, process, ps, sys};
use summary::Summary;

/// How long the daemon may take to end; it has nothing more to do.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the program, tells, and ends with the program's exit status.
pub(crate) fn ci(typed: cli::Ci) -> Result<ExitCode> {
    // Opened first: what can't be written is better known before the tests have run.
    let mut json = typed.json.as_deref().map(create).transpose()?;
    let name = format!("ci-{:06x}", rand::random::<u32>() & 0xff_ffff);
    let apart = Apart::make(&name)?;
    let annotate = typed.annotate.and_then(cli::Annotate::form);
    let config = Config {
        // What is offered at the machine is others' as well.
        publish: Vec::new(),
        ..config::of_here()?
    };
    let ended = run::carry(typed.into_run(name.clone()), config, Stage::Terminal);
    let left = left_behind(&name);
    apart.end_all()?;
    let outcome = ended?;
    let summary = Summary::of(name, &outcome, &past()?, left?);
    eprint!("{}", summary.text());
    if annotate.is_some() {
        eprint!("{}", annotations::github(&summary));
    }
    if let Some(file) = &mut json {
        writeln!(file, "{}", serde_json::to_string(&summary)?)
            .context("cannot write the summary")?;
    }
    Ok(ExitCode::from(outcome.status))
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}

/// What runs in the space still.
fn left_behind(space: &str) -> Result<Vec<Running>> {
    match ps::running(Some(space)) {
        Err(error) if status_of(&error) == status::NOTHING => Ok(Vec::new()),
        running => running,
    }
}

/// Everything that happened to ports.
fn past() -> Result<Vec<crate::event::Event>> {
    history::read(&Wanted::default())
}

/// Directories that no other wharf knows; they go with this.
struct Apart(PathBuf);

impl Apart {
    fn make(name: &str) -> Result<Self> {
        let place = paths::runtime()?.join(name);
        let mut builder = fs::DirBuilder::new();
        let made = builder.mode(0o700).create(&place);
        made.with_context(|| format!("cannot make {}", place.display()))?;
        sys::set_variable(paths::APART, &place);
        // By name would be at a port that other spaces share.
        sys::set_variable("WHARF_NAMES_PORT", "0");
        Ok(Self(place))
    }

    /// Ends what runs, and waits until the daemon has ended.
    fn end_all(&self) -> Result<()> {
        let Some(daemon) = client::daemon_pid().and_then(Pid::from_raw) else {
            return Ok(());
        };
        let daemon = pidfd_open(daemon, PidfdFlags::empty());
        match client::ask(&Ask::Stop(Target::All), Absence::Report) {
            Err(error) if status_of(&error) != status::NOTHING => return Err(error),
            _ => {}
        }
        if let Ok(daemon) = daemon {
            process::ends_by(&daemon, Instant::now() + PATIENCE)
                .context("cannot wait for the daemon's end")?;
        }
        Ok(())
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
