//! `wharf service-install`: has the user's systemd listen for the daemon and start it when it is wanted. Only on request: without it,
//! commands start the daemon themselves.
//!
//! - [`files`]: the two units.

mod files;

use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::failure::{Failure, status};
use crate::list::render::SCHEMA;
use crate::{cli, client, output};
use files::{MARK, SERVICE, SOCKET};

/// Installs the units, removes them, or says how they are.
pub(crate) fn service_install(typed: &cli::ServiceInstall) -> Result<ExitCode> {
    let units = Units::here()?;
    match (typed.status, typed.uninstall) {
        (true, _) => units.report(typed.json),
        (_, true) => units.uninstall(),
        _ => units.install(),
    }
}

/// The units, as they should be, and where.
struct Units {
    directory: PathBuf,
    texts: [(&'static str, String); 2],
}

/// How a unit's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Current,
    /// Written by another version of wharf, or for another file of it.
    Outdated,
    /// Not there.
    Missing,
    /// Not written by wharf.
    Foreign,
}

impl Units {
    fn here() -> Result<Self> {
        let named = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let named = named.filter(|path| path.is_absolute());
        let config = named.or_else(|| Some(env::home_dir()?.join(".config")));
        let config = config.context("there is no home directory to write into")?;
        let program = env::current_exe().context("cannot tell where wharf is")?;
        Ok(Self {
            directory: config.join("systemd/user"),
            texts: [
                (SOCKET, files::socket()),
                (SERVICE, files::service(&program)),
            ],
        })
    }

    fn install(&self) -> Result<ExitCode> {
        let units = self.look()?;
        if let Some((_, path, _)) = units.iter().find(|(.., state)| *state == State::Foreign) {
            let message = format!(
                "{} is there and was not written by wharf; move it away first",
                path.display()
            );
            return Err(Failure {
                message,
                status: status::CONFLICT,
            }
            .into());
        }
        for (file, path, _) in units {
            fs::create_dir_all(&self.directory)
                .and_then(|()| fs::write(&path, self.text(file)))
                .with_context(|| format!("cannot write {}", path.display()))?;
            eprintln!("wharf: wrote {}", path.display());
        }
        let runs = client::daemon_pid();
        let mut enable = vec!["enable", SOCKET];
        if runs.is_none() {
            enable.insert(1, "--now");
        }
        let enabled = systemctl(&["daemon-reload"]).and_then(|()| systemctl(&enable));
        if let Err(why) = enabled {
            eprintln!("wharf: it is not enabled: {why}");
            eprintln!("wharf: where your systemd runs: systemctl --user enable --now {SOCKET}");
            return Ok(ExitCode::from(status::NOTHING));
        }
        if let Some(pid) = runs {
            eprintln!(
                "wharf: a daemon runs already (pid {pid}); systemd listens once its last space is gone: systemctl --user start {SOCKET}"
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    fn uninstall(&self) -> Result<ExitCode> {
        let ours: Vec<_> = self
            .look()?
            .into_iter()
            .filter(|(.., state)| [State::Current, State::Outdated].contains(state))
            .collect();
        if ours.is_empty() {
            eprintln!(
                "wharf: nothing is installed in {}",
                self.directory.display()
            );
            return Ok(ExitCode::from(status::NOTHING));
        }
        // Spaces are left alone: their keepers wait for the next daemon.
        if let Err(why) = systemctl(&["disable", "--now", SOCKET]) {
            eprintln!("wharf: it can't be disabled: {why}");
        }
        for (_, path, _) in ours {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            eprintln!("wharf: removed {}", path.display());
        }
        systemctl(&["daemon-reload"]).ok();
        Ok(ExitCode::SUCCESS)
    }

    fn report(&self, json: bool) -> Result<ExitCode> {
        #[derive(Serialize)]
        struct Unit {
            file: PathBuf,
            state: State,
        }
        let units = self.look()?;
        let is_current = units.iter().all(|(.., state)| *state == State::Current);
        let listens = systemctl(&["is-active", "--quiet", SOCKET]).is_ok();
        if json {
            let units: Vec<_> = units
                .into_iter()
                .map(|(_, file, state)| Unit { file, state })
                .collect();
            let report = serde_json::json!({
                "schema": SCHEMA, "installed": is_current, "listens": listens, "units": units,
            });
            output::line(report)?;
        } else {
            for (_, path, state) in &units {
                output::line(format_args!("{}  {}", path.display(), state.said()))?;
            }
            output::line(match listens {
                true => "systemd listens for the daemon",
                false => "systemd does not listen for the daemon",
            })?;
        }
        Ok(match is_current {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(status::NOTHING),
        })
    }

    fn look(&self) -> Result<Vec<(&'static str, PathBuf, State)>> {
        let look = |&(file, ref text): &(&'static str, String)| {
            let path = self.directory.join(file);
            let state = match fs::read_to_string(&path) {
                Ok(found) if found == *text => State::Current,
                Ok(found) if found.starts_with(MARK) => State::Outdated,
                Ok(_) => State::Foreign,
                Err(error) if error.kind() == io::ErrorKind::NotFound => State::Missing,
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read {}", path.display()));
                }
            };
            Ok((file, path, state))
        };
        self.texts.iter().map(look).collect()
    }

    fn text(&self, file: &str) -> &str {
        let found = self.texts.iter().find(|(name, _)| *name == file);
        found.map_or("", |(_, text)| text)
    }
}

impl State {
    fn said(self) -> &'static str {
        match self {
            Self::Current => "installed",
            Self::Outdated => "installed by another version; `wharf service-install` renews it",
            Self::Missing => "not installed",
            Self::Foreign => "not written by wharf",
        }
    }
}

/// One command to the user's systemd; what went wrong, if something did.
fn systemctl(words: &[&str]) -> Result<(), String> {
    let mut command = Command::new("systemctl");
    command.arg("--user").args(words).stdin(Stdio::null());
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "systemctl --user {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("systemctl can't be run: {error}")),
    }
}
