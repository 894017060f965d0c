//! The program `wharf`: every program gets its own ports.
//!
//! This file is the table of contents; what each command does stands in the module of its name.

#![deny(clippy::print_stdout)]

mod assert;
mod background;
mod binding;
mod browser;
mod capture;
mod channel;
mod ci;
mod cli;
mod client;
mod columns;
mod config;
mod confine;
mod conflict;
mod daemon;
mod dns;
mod doctor;
mod env;
mod event;
mod events;
mod failure;
mod follow;
mod free;
mod history;
mod list;
mod logs;
mod ls;
mod man;
mod mcp;
mod name;
mod output;
mod paths;
mod place;
mod process;
mod protocol;
mod ps;
mod publish;
mod relay;
mod run;
mod runs;
mod service;
mod shell;
mod signals;
mod space;
mod stop;
mod survey;
mod sys;
mod trust;
mod unit;
mod wait;
mod watch;
mod web;
mod why;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use anyhow::Result;

fn main() -> ExitCode {
    let outcome = match cli::role() {
        Some(role) => play(role),
        None => {
            let command = cli::typed();
            if command.prints() {
                sys::end_with_a_broken_pipe();
            }
            carry_out(command)
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("wharf: {error:#}");
        ExitCode::from(failure::status_of(&error))
    })
}

fn carry_out(command: cli::Command) -> Result<ExitCode> {
    match command {
        cli::Command::Run(typed) => run::run(typed),
        cli::Command::Ci(typed) => ci::ci(typed),
        cli::Command::Ls(typed) => ls::ls(typed),
        cli::Command::Ps(typed) => ps::ps(&typed),
        cli::Command::Logs(typed) => logs::logs(typed),
        cli::Command::Capture(typed) => capture::capture(&typed),
        cli::Command::Why(typed) => why::why(&typed),
        cli::Command::Stop(typed) => stop::stop(typed),
        cli::Command::Wait(typed) => wait::wait(&typed),
        cli::Command::Assert(typed) => assert::assert(&typed),
        cli::Command::Free(typed) => free::free(&typed),
        cli::Command::Events(typed) => events::events(&typed),
        cli::Command::Env(typed) => env::env(typed),
        cli::Command::Publish(typed) => publish::command::publish(typed),
        cli::Command::Unpublish(typed) => publish::command::unpublish(typed),
        cli::Command::Focus(typed) => publish::command::focus(typed),
        cli::Command::Url(typed) => publish::command::url(typed),
        cli::Command::Open(typed) => publish::command::open(typed),
        cli::Command::Web(typed) => web::command::web(&typed),
        cli::Command::Connect(typed) => publish::command::connect(typed),
        cli::Command::Trust(typed) => trust::trust(&typed),
        cli::Command::Untrust => trust::untrust(),
        cli::Command::Service(typed) => service::service(&typed),
        cli::Command::ServiceInstall(typed) => unit::service_install(&typed),
        cli::Command::Doctor(typed) => doctor::doctor(&typed),
        cli::Command::Mcp(typed) => mcp::mcp(&typed),
        cli::Command::Completions(typed) => {
            let mut script = Vec::new();
            clap_complete::generate(typed.shell, &mut cli::definition(), "wharf", &mut script);
            output::print(String::from_utf8_lossy(&script))?;
            Ok(ExitCode::SUCCESS)
        }
        cli::Command::Man => man::man(),
    }
}

fn play(role: cli::Role) -> Result<ExitCode> {
    rustix::thread::set_name(c"wharf")?;
    match role {
        cli::Role::Attendant => return background::attend(),
        cli::Role::Daemon => daemon::serve()?,
        cli::Role::Keeper => space::keeper::keep(standard_input()?)?,
        cli::Role::Standby => space::standby::stand_by(standard_input()?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The socket of whoever started this process.
fn standard_input() -> Result<UnixStream> {
    Ok(std::io::stdin().as_fd().try_clone_to_owned()?.into())
}
