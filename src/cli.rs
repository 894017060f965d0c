//! What can be typed: the commands, their options and their help. What they mean is in their own modules.
//!
//! - [`examples`]: what every help begins with;
//! - [`ports`]: the commands about single ports; [`running`]: those about programs that run.

mod examples;
mod ports;
mod running;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;
use wharf_port::Port;

use crate::place::Place;
use crate::place::spelling::Spelled;
use crate::publish::in_space::InSpace;
use crate::publish::wish::{Named, Wishes};
use crate::space::Device;

pub(crate) use ports::{Assert, Events, Free, Wait};
pub(crate) use running::{Annotate, Capture, Ci, Logs, Ps, ServiceInstall};

/// Examples come before the options, and after what the command does.
const HELP: &str = "\
{about-with-newline}
{before-help}{usage-heading} {usage}

{all-args}{after-help}";

const STATUSES: &str = "\
Exit status: 0 yes or done, 1 no or nothing, 2 usage, 3 not permitted, 4 conflict, 124 timeout, 125 wharf failed.
`wharf run` passes on the program's own (128+n for signal n; 126 cannot be run, 127 not found).";

const WHY_STATUSES: &str =
    "Exit status: 0 held, 1 free, 2 usage, 3 held by somebody whom you may not see.";

/// The MTU of a space, unless another is wanted: the largest that leaves a whole packet to a frame.
const MTU: u16 = 65520;

/// Gives every program its own network ports, without root.
#[derive(Debug, Parser)]
#[command(name = "wharf", version, before_help = examples::WHARF, after_help = STATUSES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The whole command line, as help, completions and the man page show it.
pub(crate) fn definition() -> clap::Command {
    Cli::command()
        .help_template(HELP)
        .mut_subcommands(|command| command.help_template(HELP))
}

/// What was typed; ends the program where that is wrong, or asks for help.
pub(crate) fn typed() -> Command {
    read(std::env::args_os().collect())
}

/// What was typed for an attendant, whose first word is [`ATTENDANT`].
pub(crate) fn typed_for_attendant() -> Command {
    let words = std::env::args_os().enumerate();
    let typed = words.filter(|(place, _)| *place != 1);
    read(typed.map(|(_, word)| word).collect())
}

fn read(words: Vec<OsString>) -> Command {
    let matches = definition().try_get_matches_from(words);
    let typed = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    typed
        .unwrap_or_else(|error| suggested(error).exit())
        .command
}

/// The error, with the command that was meant if only two letters are wrong or in each other's place.
fn suggested(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let definition = definition();
    let names = definition.get_subcommands().map(clap::Command::get_name);
    let nearest = names
        .map(|name| (strsim::damerau_levenshtein(name, typed), name))
        .min()
        .filter(|(distance, name)| *distance <= 2 && distance * 2 < name.len());
    if let Some((_, name)) = nearest {
        let meant = ContextValue::Strings(vec![name.to_owned()]);
        error.insert(ContextKind::SuggestedSubcommand, meant);
    }
    error
}

/// What wharf starts itself as; nothing that a person types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Carries one program in the background.
    Attendant,
    /// Carries the spaces of this user.
    Daemon,
    /// Holds a space open.
    Keeper,
    /// Lets binds pass when nobody else can.
    Standby,
}

/// The word that a command line begins with that an attendant is to carry out.
pub(crate) const ATTENDANT: &str = "attendant";

/// The role that this process was started in, if it is not a person's command.
pub(crate) fn role() -> Option<Role> {
    let words: Vec<_> = std::env::args_os().skip(1).take(2).collect();
    match words.first()?.to_str()? {
        ATTENDANT => Some(Role::Attendant),
        "daemon" if words.len() == 1 => Some(Role::Daemon),
        "keeper" if words.len() == 1 => Some(Role::Keeper),
        "standby" if words.len() == 1 => Some(Role::Standby),
        _ => None,
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a program in this project's space, where every port is free
    #[command(before_help = examples::RUN)]
    Run(Run),
    /// Run a program in a throw-away space, and sum up what happened to its ports
    #[command(before_help = examples::CI)]
    Ci(Ci),
    /// List whose the ports are, of spaces and of the machine
    #[command(visible_alias = "list", before_help = examples::LS)]
    Ls(Ls),
    /// List the programs of spaces, and those that have ended lately
    #[command(before_help = examples::PS)]
    Ps(Ps),
    /// Show what programs in the background say
    #[command(before_help = examples::LOGS)]
    Logs(Logs),
    /// Record the frames of a space, or tell of each on a line
    #[command(before_help = examples::CAPTURE)]
    Capture(Capture),
    /// Say whose a port is, the whole story, and what can be done
    #[command(before_help = examples::WHY, after_help = WHY_STATUSES)]
    Why(Why),
    /// End a space and what runs in it, or who listens at a port
    #[command(before_help = examples::STOP)]
    Stop(Stop),
    /// Wait until a port listens
    #[command(before_help = examples::WAIT)]
    Wait(Wait),
    /// Succeed only if the right program answers at a port
    #[command(before_help = examples::ASSERT)]
    Assert(Assert),
    /// Print free ports, or start a program that has them
    #[command(before_help = examples::FREE)]
    Free(Free),
    /// Tell what happens to the ports of spaces, as it happens
    #[command(before_help = examples::EVENTS)]
    Events(Events),
    /// Print what a program in the space sees of wharf, for a shell
    #[command(before_help = examples::ENV)]
    Env(Env),
    /// Offer a space's ports at an address of the machine, or list what is offered
    #[command(before_help = examples::PUBLISH)]
    Publish(Publish),
    /// End what `wharf publish` began
    #[command(before_help = examples::UNPUBLISH)]
    Unpublish(Unpublish),
    /// Say or choose which space the shared ports of 127.0.0.1 lead to
    #[command(before_help = examples::FOCUS)]
    Focus(Focus),
    /// Print where a space's web server is reached
    #[command(before_help = examples::URL)]
    Url(Url),
    /// Open a space's web server in the browser
    #[command(before_help = examples::OPEN)]
    Open(Url),
    /// Show everything in a page: spaces, ports, who talks to whom, conflicts, live
    #[command(before_help = examples::WEB)]
    Web(Web),
    /// Connect standard input and output with a port of a space
    #[command(before_help = examples::CONNECT)]
    Connect(Connect),
    /// Serve spaces by name over HTTPS too, with an authority of your own; asks first
    #[command(before_help = examples::TRUST)]
    Trust(Trust),
    /// Undo what `wharf trust` did
    #[command(before_help = examples::UNTRUST)]
    Untrust,
    /// Say what a port is used for, or which port a service has
    #[command(before_help = examples::SERVICE)]
    Service(Service),
    /// Have the user's systemd start wharf when it is wanted
    #[command(before_help = examples::SERVICE_INSTALL)]
    ServiceInstall(ServiceInstall),
    /// Check that everything wharf needs is there, and say what to do where it is not
    #[command(before_help = examples::DOCTOR)]
    Doctor(Doctor),
    /// Answer coding agents, by the Model Context Protocol over standard input and output
    #[command(before_help = examples::MCP)]
    Mcp(Mcp),
    /// Print what has a shell complete wharf's command line
    #[command(before_help = examples::COMPLETIONS)]
    Completions(Completions),
    /// Show the manual page, or print it where there is no terminal
    #[command(before_help = examples::MAN)]
    Man,
}

impl Command {
    /// Whether it prints an answer and ends, rather than serving others, who may go away.
    pub(crate) fn prints(&self) -> bool {
        !matches!(
            self,
            Self::Run(_) | Self::Ci(_) | Self::Connect(_) | Self::Mcp(_)
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

    /// Publish a port: 5432, 8080:80, 127.0.0.1:3000:3000, 8000-8005, 3000+ (next free), udp/53 (repeatable)
    #[arg(short, long, value_name = "PORTS")]
    pub(crate) publish: Vec<Wishes>,

    /// Publish every port as it opens, at the space's face
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,

    /// The device that carries the frames of a new space
    #[arg(long, value_enum, default_value_t = Device::Auto)]
    pub(crate) device: Device,

    /// The MTU of a new space, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = MTU, value_parser = clap::value_parser!(u16).range(1280..=65520))]
    pub(crate) mtu: u16,

    /// Neither reach other spaces nor be reached by them, as long as the space runs
    #[arg(long)]
    pub(crate) isolated: bool,

    /// In the background: prints the program's process id once it runs; `wharf logs` shows what it says
    #[arg(short, long)]
    pub(crate) detach: bool,

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

    /// A live table: sort, filter, details, stop; with --json a line for each change
    #[arg(short, long)]
    pub(crate) watch: bool,

    /// Print JSON (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The port, under both protocols if none is named: 3000, udp/53, 127.0.0.1:3000, shop:3000, .:3000, http://localhost:3000
    #[arg(value_name = ports::PLACE)]
    pub(crate) port: Spelled,

    /// Whose it was in the spaces then: 14:00, "2026-03-01 14:00", or 2h for two hours ago
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,

    /// Print JSON (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// The space to end [default: the one it is run in, or of this git worktree or directory], or a port, to end only who
    /// listens there
    #[arg(value_name = "SPACE|PORT")]
    pub(crate) what: Option<String>,

    /// End every space of this user
    #[arg(long, conflicts_with = "what")]
    pub(crate) all: bool,

    /// Say what would be ended, and end nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,

    /// End who listens at the port even if it is another project's
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// 5432, shop:5432, .:5432, 8080:80, 127.0.0.1:3000:3000, 8000-8005, 3000+ (next free), udp/53
    #[arg(value_name = "[SPACE:]PORTS|URL")]
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
    /// 5432, shop:5432, .:5432, 127.0.0.1:3000, udp/53
    #[arg(value_name = "[SPACE:]PORT|URL", required_unless_present = "all")]
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

    /// The address over TLS, which `wharf trust` sets up
    #[arg(long)]
    pub(crate) https: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// Don't ask
    #[arg(short, long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,

    /// Say what would be written, and write nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Web {
    /// Only print the page's address; without a terminal or a desktop that is all in any case
    #[arg(long)]
    pub(crate) print: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Where to: shop:5432, .:5432 or 5432 (of this directory's space), 3000.shop.localhost
    #[arg(value_name = "[SPACE:]PORT|URL")]
    pub(crate) what: Place,
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

#[derive(Debug, Args)]
pub(crate) struct Env {
    /// The space [default: the one it is run in, or of this git worktree or directory]
    pub(crate) space: Option<String>,

    /// Print JSON (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Mcp {
    /// Only what changes nothing: no stop
    #[arg(long)]
    pub(crate) read_only: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}
