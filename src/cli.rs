//! What can be typed: the commands, their options and their help. What they mean is in their own modules.

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand};
use wharf_port::Port;

use crate::space::Device;

const EXAMPLES: &str = "\
Examples:
  wharf run -- npm run dev            port 3000 is free, whatever else runs
  wharf run -- psql -h localhost      joins what runs in this directory
  wharf ls                            every listening port of every space
  wharf why 3000                      whose a port is, and what to do
  wharf service 5432                  what a port is used for
  wharf stop                          ends this directory's space

Exit status: 0 yes or done, 1 no or nothing, 2 usage, 3 not permitted, 4 conflict, 124 timeout, 125 wharf failed.
`wharf run` passes on the program's own (128+n for signal n; 126 cannot be run, 127 not found).";

const WHY_EXAMPLES: &str = "\
Examples:
  wharf why 3000                      who has it, here and on the machine
  wharf why udp/53                    under one protocol only
  wharf why 127.0.0.1:3000            at one address
  wharf why http://localhost:3000/    whatever was in the address bar

Exit status: 0 held, 1 free, 2 usage, 3 held by somebody whom you may not see.";

/// Gives every program its own network ports, without root.
#[derive(Debug, Parser)]
#[command(name = "wharf", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a program in this project's space, where every port is free
    Run(Run),
    /// List whose the ports are, of spaces and of the machine
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Say whose a port is, the whole story, and what can be done
    #[command(after_help = WHY_EXAMPLES)]
    Why(Why),
    /// End a space and what runs in it
    Stop(Stop),
    /// Say what a port is used for, or which port a service has
    Service(Service),
    /// Check that everything wharf needs is there, and say what to do where it is not
    Doctor(Doctor),
    /// Carry the spaces of this user (started by itself)
    #[command(hide = true)]
    Daemon,
    /// Hold a space open (started by the daemon)
    #[command(hide = true)]
    Keeper,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The space to create or join [default: the one it is run in, or of this git worktree or directory]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) space: Option<String>,

    /// Let one of the machine's own TCP ports in: localhost:PORT inside reaches it (repeatable)
    #[arg(long, value_name = "PORT")]
    pub(crate) from_host: Vec<Port>,

    /// The device that carries the frames of a new space
    #[arg(long, value_enum, default_value_t = Device::Auto)]
    pub(crate) device: Device,

    /// The MTU of a new space, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 65520, value_parser = clap::value_parser!(u16).range(1280..=65520))]
    pub(crate) mtu: u16,

    /// Say nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Only this space
    #[arg(conflicts_with_all = ["host", "all"])]
    pub(crate) space: Option<String>,

    /// The machine's own ports instead of those of spaces
    #[arg(long)]
    pub(crate) host: bool,

    /// The machine's and every space's, and sockets that are bound without listening
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Only UDP
    #[arg(short, long)]
    pub(crate) udp: bool,

    /// Connections too, and what the kernel keeps after them
    #[arg(short, long)]
    pub(crate) flows: bool,

    /// Print JSON (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Why {
    /// A port, with or without a protocol or an address, or a URL: 3000, udp/53, 127.0.0.1:3000, http://localhost:3000
    #[arg(value_name = "PORT|URL")]
    pub(crate) port: String,

    /// Print JSON (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// The space to end [default: the one it is run in, or of this git worktree or directory]
    pub(crate) space: Option<String>,

    /// End every space of this user
    #[arg(long, conflicts_with = "space")]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Service {
    /// A port or a name, with or without a protocol: 5432, 3000/udp, postgres
    #[arg(required_unless_present = "common", value_name = "PORT|NAME")]
    pub(crate) what: Option<String>,

    /// List the ports that everybody should know
    #[arg(long, conflicts_with = "what")]
    pub(crate) common: bool,

    /// Print JSON (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Print JSON (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,

    /// Print the AppArmor profile for this binary, to be installed as root
    #[arg(long, conflicts_with = "json")]
    pub(crate) apparmor: bool,
}
