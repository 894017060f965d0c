//! The command `wharf doctor`.

use std::process::ExitCode;

use anyhow::Result;

use super::apparmor::profile;
use super::{Settings, all_well, examine, json, text};
use crate::failure::status;
use crate::list::render::Look;
use crate::{cli, client, daemon, output, paths, trust};

/// Prints what was found; exit status 0 only if all is well.
pub(crate) fn doctor(typed: &cli::Doctor) -> Result<ExitCode> {
    if typed.apparmor {
        output::print(profile(&std::env::current_exe()?))?;
        return Ok(ExitCode::SUCCESS);
    }
    let checks = examine(&Settings {
        names_port: daemon::names_port(),
        https_port: daemon::https_port().filter(|_| trust::is_set_up()),
        runtime_directory: paths::runtime_place(),
        daemon: client::daemon_pid(),
    });
    if typed.json {
        output::line(json(&checks))?;
    } else {
        output::print(text(&checks, Look::of_stdout().colour))?;
    }
    Ok(if all_well(&checks) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(status::NOTHING)
    })
}
