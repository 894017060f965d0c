//! The program `wharf`: every program gets its own ports.
//!
//! This file is the table of contents; what each command does stands in the module of its name.

mod binding;
mod channel;
mod cli;
mod client;
mod columns;
mod conflict;
mod daemon;
mod dns;
mod doctor;
mod event;
mod failure;
mod list;
mod ls;
mod name;
mod paths;
mod protocol;
mod publish;
mod relay;
mod run;
mod service;
mod signals;
mod space;
mod stop;
mod sys;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

fn main() -> ExitCode {
    let typed = cli::Cli::parse();
    if typed.command.prints() {
        sys::end_with_a_broken_pipe();
    }
    carry_out(typed.command).unwrap_or_else(|error| {
        eprintln!("wharf: {error:#}");
        ExitCode::from(failure::status_of(&error))
    })
}

fn carry_out(command: cli::Command) -> Result<ExitCode> {
    match command {
        cli::Command::Run(typed) => run::run(typed),
        cli::Command::Ls(typed) => ls::ls(typed),
        cli::Command::Stop(typed) => stop::stop(typed),
        cli::Command::Publish(typed) => publish::command::publish(typed),
        cli::Command::Unpublish(typed) => publish::command::unpublish(typed),
        cli::Command::Focus(typed) => publish::command::focus(typed),
        cli::Command::Url(typed) => publish::command::url(typed),
        cli::Command::Open(typed) => publish::command::open(typed),
        cli::Command::Connect(typed) => publish::command::connect(typed),
        cli::Command::Service(typed) => service::service(&typed),
        cli::Command::Doctor(typed) => doctor::doctor(&typed),
        cli::Command::Daemon => {
            rustix::thread::set_name(c"wharf")?;
            daemon::serve().map(|()| ExitCode::SUCCESS)
        }
        cli::Command::Keeper => {
            rustix::thread::set_name(c"wharf")?;
            // The daemon's socket is standard input.
            let daemon = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
            space::keeper::keep(daemon).map(|()| ExitCode::SUCCESS)
        }
    }
}
