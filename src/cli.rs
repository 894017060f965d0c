//! What can be typed: the commands, their options and their help. What they mean is in their own modules.

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand};
use wharf_port::Port;

use crate::publish::command::{InSpace, Port as Number};
use crate::publish::wish::{Named, Wishes};
use crate::space::Device;

const EXAMPLES: &str = "\
Examples:
  wharf run -- npm run dev            port 3000 is free, whatever else runs
  wharf run -- psql -h localhost      joins what runs in this directory
  wharf ls                            every listening port of every space
  wharf service 5432                  what a port is used for
  wharf stop                          ends this directory's space

Exit status: 0 yes or done, 1 no or nothing, 2 usage, 3 not permitted, 4 conflict, 124 timeout, 125 wharf failed.
`wharf run` passes on the program's own (128+n for signal n; 126 cannot be run, 127 not found).";

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
    /// List every listening port of every space
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// End a space and what runs in it
    Stop(Stop),
    /// Offer a space's ports at an address of the machine, or list what is offered
    Publish(Publish),
    /// End what `wharf publish` began
    Unpublish(Unpublish),
    /// Say or choose which space the shared ports of 127.0.0.1 lead to
    Focus(Focus),
    /// Print where a space's web server is reached
    Url(Url),
    /// Open a space's web server in the browser
    Open(Url),
    /// Connect standard input and output with a port of a space
    Connect(Connect),
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

impl Command {
    /// Whether it prints an answer and ends, rather than serving others, who may go away.
    pub(crate) fn prints(&self) -> bool {
        !matches!(
            self,
            Self::Run(_) | Self::Connect(_) | Self::Daemon | Self::Keeper
        )
    }
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The space to create or join [default: the one it is run in, or of this git worktree or directory]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) space: Option<String>,

    /// Let one of the machine's own TCP ports in: localhost:PORT inside reaches it (repeatable)
    #[arg(long, value_name = "PORT")]
    pub(crate) from_host: Vec<Port>,

    /// Publish a port: 5432, 8080:80, 127.0.0.1:3000:3000, 8000-8005, 3000+ (next free), 53/udp (repeatable)
    #[arg(short, long, value_name = "PORTS")]
    pub(crate) publish: Vec<Wishes>,

    /// Publish every port as it opens, at the space's face
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,

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
    pub(crate) space: Option<String>,

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
pub(crate) struct Publish {
    /// 5432, shop:5432, 8080:80, 127.0.0.1:3000:3000, 8000-8005, 3000+ (next free), 53/udp
    #[arg(value_name = "[SPACE:]PORTS")]
    pub(crate) what: Vec<InSpace<Wishes>>,

    /// The machine's address [default: the space's face, 127.77.x.y]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) at: Option<String>,

    /// Where somebody else has the port, wait for it
    #[arg(long)]
    pub(crate) wait: bool,

    /// Print JSON (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Unpublish {
    /// 5432, shop:5432, 127.0.0.1:3000, 53/udp
    #[arg(value_name = "[SPACE:]PORT", required_unless_present = "all")]
    pub(crate) what: Vec<InSpace<Named>>,

    /// Everything that is published
    #[arg(long, conflicts_with = "what")]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Focus {
    /// The space that they lead to from now on
    pub(crate) space: Option<String>,

    /// Have them lead to whoever published them first
    #[arg(long, conflicts_with = "space")]
    pub(crate) none: bool,

    /// Print JSON (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Url {
    /// The port, where a space has several web servers
    pub(crate) port: Option<Port>,

    /// The space [default: the one it is run in, or of this git worktree or directory]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) space: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Where to: shop:5432, or a port of this directory's space
    #[arg(value_name = "[SPACE:]PORT")]
    pub(crate) what: InSpace<Number>,
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
