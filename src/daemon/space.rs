//! A space that runs: its keeper, its relay, the runs in it, and its end.
//!
//! A space lives as long as a run is attached or a process is in it. Whether one is, is asked when the last run ends,
//! and again when the processes that were then left (daemons, mostly) have ended: nothing polls.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use tokio::task::JoinSet;

use super::keeper::{Handover, Keeper};
use super::listeners::Remembered;
use super::ports::{Ports, Untold};
use crate::binding;
use crate::binding::clerk::{Clerk, Ward};
use crate::binding::notify::Listener;
use crate::binding::policy::Policy;
use crate::channel::AsyncChannel;
use crate::event::Event;
use crate::failure::Failure;
use crate::list::{self, Member, NetNamespace, Protocol, diag, holders};
use crate::protocol::{Notice, SpaceInfo};
use crate::relay::denials::Attempt;
use crate::relay::{self, Guest, Relay};
use crate::space::book::Entry;
use crate::space::enter::Namespaces;
use crate::space::keeper::Socket;
use crate::sys;

/// How long a process has after SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// Visitors that are noted and haven't been seen in a list yet; there are no more in a second.
const VISITORS_MAX: usize = 65_536;

/// A space.
#[derive(Debug)]
pub(super) struct Space {
    /// Never given again while the daemon lives.
    pub(super) id: u64,
    pub(super) entry: Entry,
    pub(super) namespaces: Namespaces,
    pub(super) keeper: Keeper,
    /// What every user of it should know.
    pub(super) remarks: RefCell<Vec<String>>,
    /// The machine's ports that are let in.
    pub(super) from_host: RefCell<HashSet<NonZeroU16>>,
    /// The loopback addresses inside at which names are answered.
    pub(super) named: RefCell<HashSet<IpAddr>>,
    /// Who has which port inside.
    pub(super) ports: Rc<Ports>,
    /// Whether it has to do with other spaces.
    pub(super) isolation: relay::Isolation,
    /// Who listens in on its frames.
    pub(super) ears: relay::Ears,
    /// Tasks that serve wharf's own sockets inside; they end with the space.
    servants: RefCell<JoinSet<()>>,
    diag: OwnedFd,
    namespace: NetNamespace,
    keeper_pid: Pid,
    /// The keeper's pidfd, unless it ended at once.
    keeper_process: Option<OwnedFd>,
    /// Its thread ends when this goes.
    relay: Relay,
    /// Cookies of sockets that were made here for whoever comes from the machine; noted only while a page is open.
    pub(super) visitors: RefCell<Option<HashSet<u64>>>,
    /// The programs behind listeners, by the cookie of these: looked up once for each.
    programs: RefCell<HashMap<u64, String>>,
    /// What listens, as the by-name front was told last.
    pub(super) remembered: Remembered,
    runs: Cell<usize>,
    /// What is in hand of the runs whose binds arrive at a clerk.
    supervised: RefCell<HashMap<String, OwnedFd>>,
    changed: Notify,
}

/// A run's hold on its space.
#[derive(Debug)]
pub(super) struct Attached(Rc<Space>);

impl Deref for Attached {
    type Target = Rc<Space>;

    fn deref(&self) -> &Rc<Space> {
        &self.0
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.runs.set(self.0.runs.get() - 1);
        self.0.changed.notify_one();
    }
}

impl Space {
    /// Carries on what a keeper handed over.
    pub(super) fn carry(
        id: u64,
        handover: Handover,
        routes: &relay::Routes,
        names: relay::Names,
        attempts: mpsc::Sender<Attempt>,
        told: (broadcast::Sender<Event>, Untold),
    ) -> Result<Rc<Self>> {
        let (isolation, ears) = (relay::Isolation::default(), relay::Ears::default());
        isolation.set(handover.charter.isolated);
        let Handover {
            charter,
            pid,
            kind,
            remarks,
            namespaces,
            link,
            diag,
            ends,
            keeper,
            kept: _,
            child: _,
        } = handover;
        let relay = Relay::start(relay::Setting {
            link,
            kind,
            number: charter.entry.number,
            name: charter.entry.name.clone(),
            mtu: charter.mtu,
            routes: routes.clone(),
            names,
            isolation: isolation.clone(),
            denials: relay::Denials::new(attempts),
            ears: ears.clone(),
        })?;
        let namespace = NetNamespace::of(&namespaces.network)?;
        let name = &charter.entry.name;
        let ports = Rc::new(Ports::new(name, namespace, diag.try_clone()?, told));
        if let Err(error) = ports.hear_with(ends) {
            tracing::warn!("ends of sockets in {name} are not announced: {error}");
        }
        Ok(Rc::new(Self {
            id,
            namespace,
            isolation,
            ears,
            ports,
            entry: charter.entry,
            namespaces,
            keeper,
            remarks: RefCell::new(remarks),
            from_host: RefCell::default(),
            named: RefCell::default(),
            servants: RefCell::default(),
            diag,
            keeper_pid: pid,
            keeper_process: pidfd_open(pid, PidfdFlags::empty()).ok(),
            relay,
            visitors: RefCell::default(),
            programs: RefCell::default(),
            remembered: Remembered::default(),
            runs: Cell::new(0),
            supervised: RefCell::default(),
            changed: Notify::new(),
        }))
    }

    /// The space as its users see it, where these addresses lead to it.
    pub(super) fn info(&self, url: Option<String>, https: Option<String>) -> SpaceInfo {
        SpaceInfo {
            name: self.entry.name.clone(),
            directory: self.entry.directory.clone(),
            ipv4: self.entry.number.ipv4(),
            ipv6: self.entry.number.ipv6(),
            network: self.namespace.number(),
            url,
            https,
        }
    }

    /// One more run is in it.
    pub(super) fn attach(self: &Rc<Self>) -> Attached {
        self.runs.set(self.runs.get() + 1);
        Attached(Rc::clone(self))
    }

    /// Waits until no run is attached and no process but the keeper is inside.
    pub(super) async fn deserted(&self) {
        loop {
            if self.runs.get() == 0 {
                match self.inhabitants(|_| true) {
                    Ok(left) if left.is_empty() => return,
                    Ok(left) => tokio::select! {
                        () = all_end(&left) => {}
                        () = self.changed.notified() => {}
                    },
                    Err(error) => {
                        tracing::error!("cannot tell what runs in {}: {error}", self.entry.name);
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            } else {
                self.changed.notified().await;
            }
        }
    }

    /// The processes inside that are `meant`, without the keeper. That there is none is certain.
    fn inhabitants(&self, meant: impl Fn(Pid) -> bool) -> io::Result<Vec<Member>> {
        let meant = |pid| pid != self.keeper_pid && meant(pid);
        list::processes_in(self.namespace, meant).map_err(|errno| match errno {
            Errno::AGAIN => io::Error::other("processes come and go too fast to be told apart"),
            errno => errno.into(),
        })
    }

    /// Where its programs are: its name, its namespace, and the one process there that is wharf's own.
    pub(super) fn place(&self) -> (&str, NetNamespace, Pid) {
        (&self.entry.name, self.namespace, self.keeper_pid)
    }

    /// Asks the kernel about the sockets inside.
    pub(super) fn diag(&self) -> BorrowedFd<'_> {
        self.diag.as_fd()
    }

    /// Nobody is inside any more: what serves it ends, and what anybody had is released.
    pub(super) fn close(&self) {
        self.servants.borrow_mut().abort_all();
        self.ports.close();
    }

    /// Ends every process inside that is `meant`: asks, and after [`GRACE`] insists.
    pub(super) async fn end(&self, meant: impl Fn(Pid) -> bool) -> io::Result<()> {
        let meant = || self.inhabitants(&meant);
        let asked = meant()?;
        signal(&asked, Signal::TERM);
        // A stopped process hears of it only when it goes on.
        signal(&asked, Signal::CONT);
        tokio::time::timeout(GRACE, all_end(&asked)).await.ok();
        // Whatever was started meanwhile goes as well; what forks faster than this looks is given up.
        for _ in 0..100 {
            let left = meant()?;
            if left.is_empty() {
                return Ok(());
            }
            signal(&left, Signal::KILL);
            all_end(&left).await;
        }
        Err(io::Error::other(
            "its processes multiply faster than they can be ended",
        ))
    }

    /// Ends what a cut-off run left behind.
    pub(super) async fn end_run(&self, run: &str) -> io::Result<()> {
        let mark = format!("WHARF_RUN={run}");
        self.end(|pid| has_variable(pid, mark.as_bytes())).await
    }

    /// A socket inside that is wharf's own: lists don't show it.
    pub(super) async fn own_socket(&self, kind: Socket) -> io::Result<OwnedFd> {
        let socket = self.keeper.socket(kind).await?;
        self.ports
            .hide(rustix::net::sockopt::socket_cookie(&socket)?);
        Ok(socket)
    }

    /// Has `servant` run until the space ends.
    pub(super) fn employ(&self, servant: impl Future<Output = ()> + 'static) {
        self.servants.borrow_mut().spawn_local(servant);
    }

    /// Connects to a port inside as a program inside would: at 127.0.0.1, else at ::1, else at the space's address.
    pub(super) async fn dial(&self, port: u16) -> io::Result<TcpStream> {
        let number = self.entry.number;
        let loopback = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        let mut outcome = Err(io::ErrorKind::ConnectionRefused.into());
        for address in loopback
            .into_iter()
            .chain([number.ipv4().into(), number.ipv6().into()])
        {
            let kind = if address.is_ipv4() {
                Socket::Tcp4
            } else {
                Socket::Tcp6
            };
            let socket = std::net::TcpStream::from(self.keeper.socket(kind).await?);
            self.note_visitor(&socket);
            outcome = TcpSocket::from_std_stream(socket)
                .connect((address, port).into())
                .await;
            match &outcome {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                _ => break,
            }
        }
        outcome
    }

    fn note_visitor(&self, socket: &std::net::TcpStream) {
        if let Some(visitors) = &mut *self.visitors.borrow_mut()
            && visitors.len() < VISITORS_MAX
        {
            visitors.extend(rustix::net::sockopt::socket_cookie(socket));
        }
    }

    /// Carries a client's connection to a port inside, so that the program there sees the client's own address; `None` if
    /// that can't be had.
    pub(super) async fn welcome(
        &self,
        client: SocketAddr,
        outside: OwnedFd,
        port: NonZeroU16,
    ) -> Option<()> {
        let (admitted, answer) = oneshot::channel();
        self.relay.welcome(Guest {
            client,
            outside,
            inside: port,
            admitted,
        });
        answer.await.ok()
    }

    /// The way of a client's datagrams to a port inside, so that the program there sees the client's own address; `None`
    /// where it listens on the space's loopback only, or has nothing of the client's address family.
    pub(super) fn way(
        &self,
        client: SocketAddr,
        port: NonZeroU16,
    ) -> io::Result<Option<relay::Way>> {
        let number = self.entry.number;
        let hears = |socket: &diag::Socket| match (client.ip().to_canonical(), socket.address) {
            (IpAddr::V4(_), IpAddr::V4(own)) => own.is_unspecified() || own == number.ipv4(),
            (IpAddr::V6(_), IpAddr::V6(own)) => own.is_unspecified() || own == number.ipv6(),
            (IpAddr::V4(_), IpAddr::V6(own)) => {
                own.is_unspecified() && socket.ipv6_only == Some(false)
            }
            (IpAddr::V6(_), IpAddr::V4(_)) => false,
        };
        let heard = self.datagram_sockets(port)?.iter().any(hears);
        Ok(heard.then(|| self.relay.way(client, port)))
    }

    /// The UDP sockets at a port inside that take datagrams of anybody.
    fn datagram_sockets(&self, port: NonZeroU16) -> io::Result<Vec<diag::Socket>> {
        let mut sockets = diag::dump(self.diag.as_fd()).map_err(io::Error::other)?;
        sockets.retain(|socket| socket.protocol == Protocol::Udp && socket.port == port);
        Ok(sockets)
    }

    /// A UDP socket that is connected to a port inside.
    pub(super) async fn dial_datagrams(&self, port: NonZeroU16) -> io::Result<OwnedFd> {
        let listens = self
            .datagram_sockets(port)?
            .first()
            .ok_or(io::ErrorKind::ConnectionRefused)?
            .address;
        let address = match listens {
            IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            specific => specific,
        };
        let kind = if address.is_ipv4() {
            Socket::Udp4
        } else {
            Socket::Udp6
        };
        let socket = self.own_socket(kind).await?;
        rustix::net::connect(&socket, &SocketAddr::new(address, port.get()))?;
        Ok(socket)
    }

    /// What listens inside, and the name of the program that does.
    pub(super) fn listening(&self) -> Result<Vec<(diag::Socket, String)>> {
        let hidden = self.ports.hidden();
        let mut sockets = diag::dump(self.diag.as_fd())?;
        sockets.retain(|socket| !hidden.contains(&socket.cookie));
        let mut known = self.programs.borrow_mut();
        if sockets
            .iter()
            .any(|socket| !known.contains_key(&socket.cookie))
        {
            let inodes = sockets
                .iter()
                .map(|socket| (socket.inode, socket.cookie))
                .collect();
            *known = self.programs_behind(&inodes)?;
        }
        let name = |socket: &diag::Socket| known.get(&socket.cookie).cloned().unwrap_or_default();
        Ok(sockets
            .into_iter()
            .map(|socket| (socket, name(&socket)))
            .collect())
    }

    /// The sockets inside that are wanted, wharf's own among them.
    pub(super) fn sockets(&self, wanted: &diag::Wanted) -> Result<Vec<diag::Socket>> {
        Ok(diag::dump_wanted(self.diag.as_fd(), wanted)?)
    }

    /// The processes inside, as they are listed; the keeper is none of them.
    pub(super) fn residents(&self) -> Result<Vec<list::Process>> {
        let residents = list::residents(self.namespace, |pid| pid != self.keeper_pid);
        residents.context("cannot look at the processes inside")
    }

    /// Names of programs by cookie, for these sockets (cookie by inode). A socket whose program can't be seen has an
    /// empty one.
    pub(super) fn programs_behind(
        &self,
        cookies: &HashMap<u64, u64>,
    ) -> Result<HashMap<u64, String>> {
        let mut programs: HashMap<_, _> = cookies
            .values()
            .map(|&cookie| (cookie, String::new()))
            .collect();
        let inodes = cookies.keys().copied().collect();
        for holder in holders::holders(&inodes, holders::Scope::In(&[self.namespace]))? {
            let cookies = holder.inodes.iter().filter_map(|inode| cookies.get(inode));
            programs.extend(cookies.map(|&cookie| (cookie, holder.process.program.clone())));
        }
        Ok(programs)
    }

    /// The space, to be listed together with others.
    pub(super) fn view<'a>(&'a self, known: &'a Known, url: Option<&'a str>) -> list::View<'a> {
        list::View {
            space: Some(&self.entry.name),
            url,
            diag: self.diag.as_fd(),
            namespace: Some(self.namespace),
            hidden: &known.hidden,
            first_seen: &*known.since,
        }
    }

    /// What is known of the sockets inside, at this moment.
    pub(super) fn known(&self) -> Known {
        self.ports.settle();
        let ledger = Arc::clone(&self.ports.ledger);
        Known {
            hidden: self.ports.hidden(),
            since: Box::new(move |cookie| ledger.record().since(cookie)),
        }
    }

    /// Has the project's rules about ports hold inside.
    pub(super) fn obey(&self, policy: Option<&Policy>) -> Result<()> {
        let Some(policy) = policy else { return Ok(()) };
        let set = self.ports.ledger.record().set_policy(policy.clone());
        set.map_err(|overlap| {
            Failure::usage(format!(
                "the rules of {} contradict each other: {overlap}",
                self.entry.name
            ))
        })?;
        Ok(())
    }

    /// Isolates it from other spaces, or has it reach and be reached again, if a run wants the one or the other. The next daemon
    /// will know.
    pub(super) async fn isolate(&self, wanted: Option<bool>) {
        if let Some(isolated) = wanted {
            self.isolation.set(isolated);
            self.keeper.isolate(isolated).await;
        }
    }

    /// Has the binds of a run arrive at a clerk, and, when this process dies, at the keeper, or when that is gone too, at the run,
    /// which is told by its channel. Nothing but this happens if they do.
    pub(super) async fn supervise(
        &self,
        run: &str,
        listener: Listener,
        channel: Option<&mut AsyncChannel>,
    ) -> Result<()> {
        let known = self.supervised.borrow().get(run).map(OwnedFd::try_clone);
        if let Some(in_hand) = known {
            self.tell_kept(channel, &in_hand?).await;
            return Ok(());
        }
        let clerk = Clerk::new()?;
        let copy = listener.as_fd().try_clone_to_owned()?;
        let in_hand = clerk.in_hand().try_clone_to_owned()?;
        let seen = in_hand.try_clone()?;
        self.supervised
            .borrow_mut()
            .insert(run.to_owned(), in_hand.try_clone()?);
        // First, so that there is no call in hand that the keeper and the run don't know of. Without a keeper, it goes on as
        // long as this process lives.
        let kept = self.keeper.keep(run, copy, in_hand).await;
        self.tell_kept(channel, &seen).await;
        clerk.attend(Ward {
            listener,
            run: run.into(),
            ledger: Arc::clone(&self.ports.ledger),
            namespace: binding::netns_cookie(self.diag.as_fd()).ok(),
        })?;
        Ok(kept?)
    }

    /// Tells a run, if it is there, what it needs to stand in for daemon and keeper.
    async fn tell_kept(&self, channel: Option<&mut AsyncChannel>, in_hand: &OwnedFd) {
        let Some(channel) = channel else { return };
        let keeper = self.keeper_process.as_ref();
        let descriptors: Vec<_> = [Some(in_hand), keeper]
            .into_iter()
            .flatten()
            .map(AsFd::as_fd)
            .collect();
        // If it is gone, that is heard next.
        channel.send(&Notice::Kept, &descriptors).await.ok();
    }

    /// A run has ended; whatever lives on of it is dealt with as before.
    pub(super) fn forget(&self, run: &str) {
        self.supervised.borrow_mut().remove(run);
    }
}

/// What is known of the sockets in a space.
pub(super) struct Known {
    hidden: HashSet<u64>,
    since: Box<dyn Fn(u64) -> Option<Timestamp>>,
}

fn signal(members: &[Member], signal: Signal) {
    for member in members {
        // It may have ended by itself.
        pidfd_send_signal(&member.pidfd, signal).ok();
    }
}

/// Waits until each of them has ended.
async fn all_end(members: &[Member]) {
    for member in members {
        match member.pidfd.try_clone().and_then(sys::awaitable) {
            Ok(pidfd) => drop(pidfd.readable().await),
            Err(error) => {
                tracing::error!("cannot watch process {:?}: {error}", member.pid);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Whether a process was started with this `NAME=value` in its environment.
fn has_variable(pid: Pid, variable: &[u8]) -> bool {
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_pid()));
    environment.is_ok_and(|all| all.split(|&byte| byte == 0).any(|one| one == variable))
}
