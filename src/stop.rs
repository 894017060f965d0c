//! `wharf stop`: ends a space and what runs in it, and nothing else.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::client::{self, Absence};
use crate::protocol::{Ask, Reply, Target};
use crate::{cli, run};

/// Ends the space that was named, else the one of this directory.
pub(crate) fn stop(typed: cli::Stop) -> Result<ExitCode> {
    let target = if typed.all {
        Target::All
    } else {
        run::target(typed.space)?
    };
    let answer = client::ask(&Ask::Stop(target), Absence::Report)?;
    let Reply::Stopped(names) = answer.reply else {
        bail!("the daemon answered {:?}", answer.reply)
    };
    for name in names {
        eprintln!("wharf: space {name} ended");
    }
    Ok(ExitCode::SUCCESS)
}
