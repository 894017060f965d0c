//! The keeper: the small process inside a space that holds it open and makes sockets there on request.
//!
//! It is started by the daemon, makes the space (namespaces, device, addresses) and then serves one daemon at a time.
//! If the daemon dies, it keeps everything (device, namespaces) for the next one, which finds it by its socket in the
//! runtime directory; if none comes and nothing else runs in the space, it goes. Meanwhile it lets the programs' binds
//! pass ([`crate::binding::standin`]). It never looks at a packet.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use serde::{Deserialize, Serialize};

use super::book::Entry;
use super::network::{self, Device, Kind};
use crate::binding::notify::Listener;
use crate::binding::standin::{Kept, StandIn};
use crate::channel::Channel;
use crate::{list, paths, sys};

/// How often a keeper without a daemon looks whether anything still runs in its space.
const ORPHAN_LOOK: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// What a space is to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Charter {
    /// Name, project, number.
    pub(crate) entry: Entry,
    /// Which device carries its frames.
    pub(crate) device: Device,
    /// The device's MTU in bytes.
    pub(crate) mtu: u16,
    /// Whether it neither reaches other spaces nor is reached by them.
    pub(crate) isolated: bool,
    /// Where the keeper is found by the next daemon.
    pub(crate) socket: PathBuf,
}

/// What the daemon orders.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Make this space. The first order of all.
    Make(Charter),
    /// The id maps are written; go on.
    Mapped,
    /// Make a socket inside.
    Socket(Socket),
    /// Hold a run's listener for the next daemon. Descriptors: the listener, and what the daemon has in hand.
    Keep {
        /// The run's name.
        run: String,
    },
    /// From now on the space is isolated, or not, for the next daemon to know. Answered like every order: with one at
    /// a time under way none can wait unseen behind another.
    Isolate(bool),
    /// The space ends.
    End,
}

/// A socket to be made inside.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Socket {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over IPv4.
    Udp4,
    /// UDP over IPv6.
    Udp6,
}

/// What the keeper reports.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// It is in new namespaces and waits for its id maps.
    Unshared,
    /// The space stands. Descriptors: user namespace, network namespace, link, and two sock_diag sockets, one to ask with and a
    /// new one to listen with.
    Ready {
        /// What was made.
        charter: Charter,
        /// The keeper itself.
        pid: i32,
        /// Which kind of link was had.
        kind: Kind,
        /// What could not be set, a sentence each.
        remarks: Vec<String>,
        /// How many runs have listeners, each of which comes as [`Self::Kept`] behind this.
        kept: usize,
    },
    /// A run's listener, as the one descriptor; or, after [`Order::Keep`], that it is held, without.
    Kept {
        /// The run's name.
        run: String,
    },
    /// The socket asked for, as the one descriptor.
    Socket,
    /// The space is isolated, or isn't, as it was told.
    Isolated,
    /// It can't be done.
    Failed {
        /// Where it failed.
        step: Step,
        /// What and why.
        message: String,
        /// The kernel's errno, if it was the kernel.
        errno: Option<i32>,
    },
}

/// Where making a space failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// unshare(2).
    Unshare,
    /// The network inside.
    Network,
    /// Making a socket.
    Socket,
}

/// A space from inside: everything that a daemon needs to carry it on.
struct Inside {
    charter: Charter,
    user: OwnedFd,
    network: OwnedFd,
    made: network::SetUp,
    diag: OwnedFd,
    /// The listeners of the runs inside.
    stand_in: StandIn,
}

/// The life of a keeper; `daemon` is the socket to the daemon that started it.
pub(crate) fn keep(daemon: UnixStream) -> Result<()> {
    let mut daemon = Channel::new(daemon);
    let Some((Order::Make(charter), _)) = daemon.receive()? else {
        return Ok(());
    };
    if let Err(error) = sys::unshare() {
        return fail(&daemon, Step::Unshare, &error.into());
    }
    daemon.send(&Report::Unshared, &[])?;
    let Some((Order::Mapped, _)) = daemon.receive()? else {
        return Ok(());
    };
    let mut inside = match Inside::make(charter) {
        Ok(inside) => inside,
        Err(error) => return fail(&daemon, Step::Network, &error),
    };
    let socket = inside.charter.socket.clone();
    let successors = listen(&socket)?;
    inside.report(&daemon)?;
    let served = inside.serve(daemon, &successors);
    // Whoever comes next must not find the socket of one who is gone.
    fs::remove_file(&socket).ok();
    served
}

fn fail(daemon: &Channel, step: Step, error: &anyhow::Error) -> Result<()> {
    let errno = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error());
    Ok(daemon.send(
        &Report::Failed {
            step,
            message: format!("{error:#}"),
            errno,
        },
        &[],
    )?)
}

fn listen(path: &PathBuf) -> Result<UnixListener> {
    UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))
}

impl Inside {
    fn make(charter: Charter) -> Result<Self> {
        let number = charter.entry.number;
        let plan = network::Plan::new(number.ipv4(), number.ipv6(), charter.mtu, charter.device);
        let made = network::set_up(&plan)?;
        let diag = list::diag::open()?;
        let user = fs::File::open("/proc/self/ns/user")?.into();
        let network = fs::File::open("/proc/self/ns/net")?.into();
        // From here on it makes plain sockets, for which it needs no right at all, and may have to look whether a program
        // inside has bound its socket.
        let left = CapabilitySet::SYS_PTRACE;
        set_capabilities(
            None,
            CapabilitySets {
                effective: left,
                permitted: left,
                inheritable: CapabilitySet::empty(),
            },
        )?;
        Ok(Self {
            charter,
            user,
            network,
            made,
            diag,
            stand_in: StandIn::default(),
        })
    }

    fn report(&self, daemon: &Channel) -> Result<()> {
        let ends = list::diag::open()?;
        let ready = Report::Ready {
            charter: self.charter.clone(),
            pid: rustix::process::getpid().as_raw_pid(),
            kind: self.made.kind,
            remarks: self.made.remarks.clone(),
            kept: self.stand_in.kept().len(),
        };
        let inside = [
            &self.user,
            &self.network,
            &self.made.link,
            &self.diag,
            &ends,
        ];
        let descriptors = inside.map(AsFd::as_fd);
        daemon.send(&ready, &descriptors)?;
        for Kept { run, listener } in self.stand_in.kept() {
            let kept = Report::Kept { run: run.clone() };
            daemon.send(&kept, &[listener.as_fd()])?;
        }
        Ok(())
    }

    /// Serves one daemon after the other, until one says `End` or nobody needs the space any more.
    fn serve(&mut self, first: Channel, successors: &UnixListener) -> Result<()> {
        let mut daemon = Some(first);
        loop {
            match self.wait(daemon.as_ref().map(AsFd::as_fd), successors.as_fd())? {
                Woken::Daemon => match daemon.as_mut().map(|daemon| self.obey(daemon)) {
                    Some(Ok(Next::Stay)) => {}
                    Some(Ok(Next::End)) => return Ok(()),
                    Some(Ok(Next::Orphaned) | Err(_)) | None => {
                        daemon = None;
                        self.stand_in.take_over()?;
                    }
                },
                Woken::Successor => {
                    let successor = Channel::new(successors.accept()?.0);
                    // It may be here before the former one's end was seen.
                    self.stand_in.take_over()?;
                    self.stand_in.tidy();
                    daemon = self.report(&successor).is_ok().then_some(successor);
                }
                Woken::Listener if daemon.is_some() => self.stand_in.tidy(),
                Woken::Listener => self.stand_in.let_pass()?,
                Woken::Clock if self.is_alone()? => return Ok(()),
                Woken::Clock => {}
            }
        }
    }

    /// Whether nothing else runs inside. As long as that can't be told, the space stays.
    fn is_alone(&self) -> Result<bool> {
        let namespace = list::NetNamespace::of(&self.network)?;
        let own = rustix::process::getpid();
        let others = list::processes_in(namespace, |pid| pid != own);
        Ok(others.is_ok_and(|others| others.is_empty()))
    }

    fn obey(&mut self, daemon: &mut Channel) -> Result<Next> {
        match daemon.receive()? {
            None => return Ok(Next::Orphaned),
            Some((Order::End, _)) => return Ok(Next::End),
            Some((Order::Socket(kind), _)) => match kind.make() {
                Ok(socket) => daemon.send(&Report::Socket, &[socket.as_fd()])?,
                Err(error) => fail(daemon, Step::Socket, &error.into())?,
            },
            Some((Order::Keep { run }, descriptors)) => {
                let [listener, in_hand] = <[OwnedFd; 2]>::try_from(descriptors)
                    .map_err(|_| anyhow::anyhow!("the daemon sent no listener"))?;
                let listener = Listener::new(listener);
                let kept = Report::Kept { run: run.clone() };
                self.stand_in.keep(Kept { run, listener }, in_hand);
                daemon.send(&kept, &[])?;
            }
            Some((Order::Isolate(isolated), _)) => {
                self.charter.isolated = isolated;
                daemon.send(&Report::Isolated, &[])?;
            }
            Some((Order::Make(_) | Order::Mapped, _)) => {}
        }
        Ok(Next::Stay)
    }

    /// Waits for whoever wants something. The listeners are a living daemon's; only their end is seen then.
    fn wait(&self, daemon: Option<BorrowedFd<'_>>, successors: BorrowedFd<'_>) -> Result<Woken> {
        let (timeout, calls) = match daemon {
            Some(_) => (None, PollFlags::empty()),
            None => (Some(&ORPHAN_LOOK), PollFlags::IN),
        };
        let mut watched = vec![PollFd::from_borrowed_fd(successors, PollFlags::IN)];
        watched.extend(daemon.map(|daemon| PollFd::from_borrowed_fd(daemon, PollFlags::IN)));
        let listeners = watched.len();
        let kept = self.stand_in.kept();
        watched.extend(kept.map(|kept| PollFd::new(&kept.listener, calls)));
        loop {
            match poll(&mut watched, timeout) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(0) => return Ok(Woken::Clock),
                Ok(_) => break,
            }
        }
        Ok(
            match watched.iter().position(|one| !one.revents().is_empty()) {
                Some(0) => Woken::Successor,
                Some(found) if found < listeners => Woken::Daemon,
                _ => Woken::Listener,
            },
        )
    }
}

impl Socket {
    fn make(self) -> io::Result<OwnedFd> {
        let (family, kind) = match self {
            Self::Tcp4 => (AddressFamily::INET, SocketType::STREAM),
            Self::Tcp6 => (AddressFamily::INET6, SocketType::STREAM),
            Self::Udp4 => (AddressFamily::INET, SocketType::DGRAM),
            Self::Udp6 => (AddressFamily::INET6, SocketType::DGRAM),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(rustix::net::socket_with(family, kind, flags, None)?)
    }
}

enum Next {
    Stay,
    Orphaned,
    End,
}

enum Woken {
    Daemon,
    Successor,
    Listener,
    Clock,
}

/// Where a new keeper of the space is to be found: at a place of its own, so that one that ends late doesn't take the
/// socket of its space's next keeper with it.
pub(crate) fn new_socket(entry: &Entry) -> Result<PathBuf> {
    let file = format!("{}.{:08x}", entry.name, rand::random::<u32>());
    Ok(paths::keepers()?.join(file))
}
