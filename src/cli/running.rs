//! What can be typed about programs that run: which there are, what they say, and what passes between them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use wharf_port::Port;

use super::{Device, Run, Wishes};

#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Only of this space
    pub(crate) space: Option<String>,

    /// Print JSON (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The space [default: the one it is run in, or of this git worktree or directory], or one program
    #[arg(value_name = "SPACE|PID")]
    pub(crate) what: Option<String>,

    /// Show what follows, until the program has ended
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Only the last so many lines
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) lines: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Capture {
    /// The space; . is that of this git worktree or directory
    pub(crate) space: String,

    /// Write them to this file as pcapng, for Wireshark; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) write: Option<String>,

    /// End after so many frames
    #[arg(short, long, value_name = "N")]
    pub(crate) count: Option<u64>,

    /// Tell of each frame as a JSON object on a line (docs/json.md)
    #[arg(long, conflicts_with = "write")]
    pub(crate) json: bool,

    /// Only these: tcp, udp, icmp, arp, ip, ip6, [src|dst] port N, [src|dst] host ADDRESS, with and, or, not and brackets
    pub(crate) filter: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Ci {
    /// Write annotations to standard error: github, or auto, which is that where GITHUB_ACTIONS is set
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) annotate: Option<Annotate>,

    /// Write the summary as JSON to this file, such as /dev/fd/3 (docs/json.md)
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Let one of the machine's own TCP ports in: localhost:PORT inside reaches it (repeatable)
    #[arg(long, value_name = "PORT")]
    pub(crate) from_host: Vec<Port>,

    /// Publish a port, as `wharf run` does (repeatable)
    #[arg(short, long, value_name = "PORTS")]
    pub(crate) publish: Vec<Wishes>,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// Whom annotations are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Annotate {
    /// GitHub's workflows.
    Github,
    /// Whoever runs this, as far as known.
    Auto,
}

impl Annotate {
    /// Whom they are for here; `None` if that is nobody.
    pub(crate) fn form(self) -> Option<Self> {
        let in_workflow = std::env::var("GITHUB_ACTIONS").is_ok_and(|set| set == "true");
        match self {
            Self::Auto if !in_workflow => None,
            Self::Auto | Self::Github => Some(Self::Github),
        }
    }
}

impl Ci {
    /// The run of the program, in a new space of this name.
    pub(crate) fn into_run(self, space: String) -> Run {
        Run {
            space: Some(space),
            from_host: self.from_host,
            publish: self.publish,
            publish_all: false,
            device: Device::Auto,
            mtu: super::MTU,
            isolated: false,
            detach: false,
            quiet: false,
            command: self.command,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ServiceInstall {
    /// Say whether they are installed
    #[arg(long, conflicts_with = "uninstall")]
    pub(crate) status: bool,

    /// Remove them
    #[arg(long)]
    pub(crate) uninstall: bool,

    /// Print JSON (docs/json.md)
    #[arg(long, requires = "status")]
    pub(crate) json: bool,
}
