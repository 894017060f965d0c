//! What the commands and the daemon say to each other.
//!
//! A conversation opens with one [`Request`]. Some stay open after their [`Reply`]; the others end with it.
//!
//! - `Run` (and `Resume`) lasts as long as the program runs, so that the daemon knows of its end however it comes. The run
//!   tells its [`Progress`], and hears [`Notice`]s.
//! - `Events` lasts until the command hangs up: [`Reply::Following`] says that nothing from here on is missed, then one
//!   [`News`](crate::event::News) comes for each event. A command that wants the state as well asks `Survey` on a second
//!   conversation after `Following`. One that reads too slowly is told how many events it has missed; the daemon waits
//!   for nobody. While one follows, the daemon stays, even without a space.
//! - `Capture` has its frames come in a stream of their own, which [`Reply::Capturing`] carries, and which the command ends by
//!   shutting down its side; [`Reply::Captured`] is the last word.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::binding::policy::Policy;
use crate::capture::filter::Filter;
use crate::event::Event;
use crate::failure::{Failure, status};
use crate::list::running::Running;
use crate::list::{Hold, Question};
use crate::publish::Publication;
use crate::publish::wish::{Named, Wish};
use crate::space::Device;

/// Raised with every change that an older program would misread.
pub(crate) const VERSION: u32 = 3;

/// What a command asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Request {
    /// [`VERSION`] of the command.
    pub(crate) version: u32,
    /// What is asked.
    pub(crate) ask: Ask,
}

/// The questions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Create or join a space; the reply carries its user and network namespaces.
    Run(Run),
    /// A running `wharf run` tells a new daemon that it is there.
    Resume {
        /// The space that it runs in.
        space: String,
        /// What [`Reply::Entered`] called it.
        run: String,
        /// The ports of the machine that it let in.
        from_host: Vec<NonZeroU16>,
    },
    /// Which sockets are there, and whose are they?
    Survey {
        /// Where.
        places: Places,
        /// Which of them.
        question: Question,
    },
    /// Which programs run in these spaces?
    Programs(Places),
    /// The frames of a space.
    Capture(Capture),
    /// How a space is reached from the machine.
    Reach(Reach),
    /// Follow what happens to ports, in one space or in all, those that are made later included.
    Events {
        /// Name of the space, which need not run yet, or all.
        space: Option<String>,
    },
    /// The address of the page, good for one use.
    Web,
    /// End a space and what runs in it.
    Stop(Target),
}

/// The questions about how spaces are reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Reach {
    /// What a space is called and where it is reached.
    Space(Target),
    /// Offer ports of a space at the machine.
    Publish {
        /// The space.
        target: Target,
        /// Its ports, and where.
        wishes: Vec<Wish>,
        /// Whether a place that somebody else has is waited for.
        waits: bool,
    },
    /// End what is published.
    Unpublish {
        /// Of which spaces.
        target: Target,
        /// Which port; all, if none is named.
        named: Option<Named>,
    },
    /// Everything that is published.
    Published,
    /// Which space shared places lead to.
    Focused,
    /// Have them lead to this space; to whoever claimed them first, if it is none.
    Focus(Option<String>),
    /// Serve names where they should be served now; `wharf trust` may have changed that.
    Doors,
    /// A connection to a port of a space; the reply carries the socket.
    Connect {
        /// The space.
        target: Target,
        /// Its port.
        port: NonZeroU16,
    },
}

/// Which space is meant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Target {
    /// The one of this name.
    Name(String),
    /// The one of this project (root directory of a worktree, or a plain directory).
    Directory(PathBuf),
    /// All of them.
    All,
}

impl Target {
    /// Whether it is that space, or one of those.
    pub(crate) fn means(&self, space: &SpaceInfo) -> bool {
        match self {
            Self::Name(name) => space.name == *name,
            target => target.is_of(space.directory.as_deref()),
        }
    }

    /// Whether it is every space, or that of this project.
    pub(crate) fn is_of(&self, project: Option<&Path>) -> bool {
        match self {
            Self::Name(_) => false,
            Self::Directory(directory) => project == Some(directory),
            Self::All => true,
        }
    }

    /// That it doesn't run, with exit status 1.
    pub(crate) fn not_running(&self) -> Failure {
        let message = match self {
            Self::Name(name) => {
                format!("no space called {name} runs; `wharf ls` lists those that do")
            }
            Self::Directory(directory) => format!("no space runs for {}", directory.display()),
            Self::All => "no space runs".into(),
        };
        Failure {
            message,
            status: status::NOTHING,
        }
    }
}

/// Where sockets are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Places {
    /// In one space.
    Space(String),
    /// In all spaces.
    Spaces,
    /// On the machine itself.
    Machine,
    /// On the machine and in all spaces.
    Everywhere,
}

/// What `wharf capture` asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Capture {
    /// The space.
    pub(crate) target: Target,
    /// Which frames; all, if there is none.
    pub(crate) filter: Option<Filter>,
    /// How many frames; without an end, if there is none.
    pub(crate) count: Option<u64>,
}

/// What `wharf run` asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Name or project; never [`Target::All`].
    pub(crate) target: Target,
    /// What the project wants its space to be called.
    pub(crate) name: Option<String>,
    /// Ports of the machine to let in.
    pub(crate) from_host: Vec<NonZeroU16>,
    /// Ports to publish.
    pub(crate) publish: Vec<Wish>,
    /// Whether every port is published as it opens.
    pub(crate) publish_all: bool,
    /// The project's rules about ports; they hold for the whole space until another run brings some. `None` if this one brings
    /// none.
    pub(crate) policy: Option<Policy>,
    /// Whether the space is isolated from others from now on; `None` leaves it as it is.
    pub(crate) isolated: Option<bool>,
    /// The device, if the space is yet to be made.
    pub(crate) device: Device,
    /// The device's MTU in bytes, if the space is yet to be made.
    pub(crate) mtu: u16,
}

/// What the daemon answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// To `Run` (with two descriptors: user namespace, network namespace) and `Resume` (without).
    Entered {
        /// The space.
        space: SpaceInfo,
        /// This run's name, in the program's environment as `WHARF_RUN`.
        run: String,
        /// What the user should know, a sentence each.
        remarks: Vec<String>,
        /// What was published for it.
        published: Vec<Publication>,
    },
    /// To `Survey`.
    Surveyed {
        /// The spaces that were looked at.
        spaces: Vec<SpaceInfo>,
        /// What was found.
        holds: Vec<Hold>,
    },
    /// To `Programs`.
    Programs(Vec<Running>),
    /// To `Capture`: the space; the one descriptor is a stream of pcapng.
    Capturing(SpaceInfo),
    /// To `Capture`, at its end.
    Captured {
        /// How many frames are in the stream.
        captured: u64,
        /// How many aren't, because they were not read fast enough.
        missed: u64,
    },
    /// To `Space`.
    Space(SpaceInfo),
    /// To `Publish`, `Unpublish` and `Published`: what they are about.
    Published(Vec<Publication>),
    /// To `Focused` and `Focus`: the space in focus.
    Focus(Option<String>),
    /// To `Doors`: what stands in the way, a sentence each.
    Doors(Vec<String>),
    /// To `Connect`.
    Connected,
    /// To `Web`.
    Web(String),
    /// To `Events`: from here on, [`News`](crate::event::News) come.
    Following,
    /// To `Stop`: the names of the spaces that ended.
    Stopped(Vec<String>),
    /// It can't be done: the sentence for the user, and the command's exit status.
    Refused {
        /// What, why and what to do.
        message: String,
        /// The command's exit status.
        status: u8,
    },
}

/// What `wharf run` says after it was let in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Progress {
    /// The program runs, and its binds arrive at this listener: the one descriptor.
    Supervised,
    /// The program runs, and its binds can't be seen when they happen.
    Unsupervised,
    /// The program is done: without this, the run was cut off and its processes are ended. The daemon says what it still
    /// has to say and hangs up.
    Finished,
}

/// What the daemon says to a `wharf run`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Notice {
    /// The run's binds are dealt with from now on. Descriptors: what the daemon has in hand of them, and a pidfd of the keeper,
    /// unless that is gone.
    Kept,
    /// A program of this run wanted a port and didn't get it.
    Conflict(Event),
    /// How much has passed in the run's space until its end.
    Passed(Traffic),
}

/// How much passes between a space and everything else, in bytes of frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Traffic {
    /// What its programs have sent.
    pub(crate) sent: u64,
    /// What they were sent.
    pub(crate) received: u64,
}

/// A space, as its user sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SpaceInfo {
    /// Its name, a DNS label.
    pub(crate) name: String,
    /// The project that it belongs to.
    pub(crate) directory: Option<PathBuf>,
    /// Its IPv4 address.
    pub(crate) ipv4: Ipv4Addr,
    /// Its IPv6 address.
    pub(crate) ipv6: Ipv6Addr,
    /// The number of its network namespace.
    pub(crate) network: u64,
    /// Where its web servers are reached by name, if that is on.
    pub(crate) url: Option<String>,
    /// The same over TLS, once `wharf trust` was asked for it.
    pub(crate) https: Option<String>,
}
