//! The daemon's end of the conversation with a keeper: starts one, or takes over from a daemon that died.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::process::Pid;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

use crate::binding::notify::Listener;
use crate::binding::standin::Kept;
use crate::channel::AsyncChannel;
use crate::doctor;
use crate::failure::{Failure, status};
use crate::space::enter::Namespaces;
use crate::space::ids;
use crate::space::keeper::{Charter, Order, Report, Socket, Step};
use crate::space::network::Kind;

/// A space as its keeper hands it over.
pub(super) struct Handover {
    pub(super) charter: Charter,
    pub(super) pid: Pid,
    pub(super) kind: Kind,
    pub(super) remarks: Vec<String>,
    pub(super) namespaces: Namespaces,
    pub(super) link: OwnedFd,
    pub(super) diag: OwnedFd,
    /// A diag socket that has asked nothing yet.
    pub(super) ends: OwnedFd,
    pub(super) keeper: Keeper,
    /// The listeners that it kept for this daemon.
    pub(super) kept: Vec<Kept>,
    /// The keeper, if this daemon started it: to be waited for.
    pub(super) child: Option<Child>,
}

/// A keeper that serves.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    requests: mpsc::Sender<Wish>,
}

/// What a keeper is asked for.
enum Wish {
    Socket(Socket, oneshot::Sender<io::Result<OwnedFd>>),
    Keep {
        run: String,
        /// The listener, and what the daemon has in hand.
        descriptors: [OwnedFd; 2],
        answer: oneshot::Sender<io::Result<()>>,
    },
    Isolate(bool),
}

impl Keeper {
    /// Makes a socket inside the space.
    pub(super) async fn socket(&self, kind: Socket) -> io::Result<OwnedFd> {
        self.wish(|answer| Wish::Socket(kind, answer)).await
    }

    /// Has a run's listener held for the next daemon, which finds in a file what this one had in hand.
    pub(super) async fn keep(
        &self,
        run: &str,
        listener: OwnedFd,
        in_hand: OwnedFd,
    ) -> io::Result<()> {
        let wish = |answer| Wish::Keep {
            run: run.to_owned(),
            descriptors: [listener, in_hand],
            answer,
        };
        self.wish(wish).await
    }

    /// Has it remember, for the next daemon, whether the space is isolated.
    pub(super) async fn isolate(&self, isolated: bool) {
        // A keeper that is gone is noticed elsewhere.
        self.requests.send(Wish::Isolate(isolated)).await.ok();
    }

    async fn wish<T>(
        &self,
        wish: impl FnOnce(oneshot::Sender<io::Result<T>>) -> Wish,
    ) -> io::Result<T> {
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "the space's keeper is gone");
        let (answer, answered) = oneshot::channel();
        let wish = wish(answer);
        self.requests.send(wish).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Serves wishes in turn over `channel` until every handle is dropped (then the keeper is told to end) or the
    /// keeper is gone.
    fn serve(mut channel: AsyncChannel, socket: PathBuf) -> Self {
        let (requests, mut wishes) = mpsc::channel::<Wish>(64);
        tokio::task::spawn_local(async move {
            loop {
                tokio::select! {
                    wish = wishes.recv() => {
                        let Some(wish) = wish else {
                            channel.send(&Order::End, &[]).await.ok();
                            return;
                        };
                        wish.fulfil(&mut channel).await;
                    }
                    report = channel.receive::<Report>() => {
                        tracing::warn!("a keeper ended: {report:?}");
                        // If it was killed, it left its socket.
                        fs::remove_file(&socket).ok();
                        return;
                    }
                }
            }
        });
        Self { requests }
    }
}

impl Wish {
    /// Who wished may have ended meanwhile.
    async fn fulfil(self, channel: &mut AsyncChannel) {
        match self {
            Self::Socket(kind, answer) => {
                answer.send(one_socket(channel, kind).await).ok();
            }
            Self::Keep {
                run,
                descriptors,
                answer,
            } => {
                answer.send(keep(channel, run, &descriptors).await).ok();
            }
            Self::Isolate(isolated) => {
                if channel.send(&Order::Isolate(isolated), &[]).await.is_ok() {
                    channel.receive::<Report>().await.ok();
                }
            }
        }
    }
}

async fn one_socket(channel: &mut AsyncChannel, kind: Socket) -> io::Result<OwnedFd> {
    channel.send(&Order::Socket(kind), &[]).await?;
    match channel.receive().await? {
        Some((Report::Socket, mut descriptors)) => descriptors
            .pop()
            .ok_or_else(|| io::Error::other("the keeper sent no socket")),
        Some((
            Report::Failed {
                errno: Some(errno), ..
            },
            _,
        )) => Err(io::Error::from_raw_os_error(errno)),
        answer => Err(io::Error::other(format!("the keeper answered {answer:?}"))),
    }
}

async fn keep(
    channel: &mut AsyncChannel,
    run: String,
    descriptors: &[OwnedFd; 2],
) -> io::Result<()> {
    let descriptors = descriptors.each_ref().map(AsFd::as_fd);
    channel.send(&Order::Keep { run }, &descriptors).await?;
    match channel.receive().await? {
        Some((Report::Kept { .. }, _)) => Ok(()),
        answer => Err(io::Error::other(format!("the keeper answered {answer:?}"))),
    }
}

/// Starts a keeper, which makes the space.
pub(super) async fn start(charter: Charter) -> Result<Handover> {
    let (near, far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    let child = Command::new("/proc/self/exe")
        .arg0("wharf")
        .arg("keeper")
        .stdin(OwnedFd::from(far))
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start a keeper")?;
    let pid = child.id().context("the keeper ended at once")?;
    let mut channel = AsyncChannel::new(tokio::net::UnixStream::from_std(near)?);
    channel.send(&Order::Make(charter), &[]).await?;
    match channel.receive().await? {
        Some((Report::Unshared, _)) => {}
        answer => return Err(failure(answer.map(|(report, _)| report))),
    }
    if let Err(error) = ids::map(pid) {
        return Err(not_permitted(&error, doctor::NamespaceStep::UidMap));
    }
    channel.send(&Order::Mapped, &[]).await?;
    let handover = take_over(channel).await?;
    Ok(Handover {
        child: Some(child),
        ..handover
    })
}

/// Takes the space that the keeper at the other end of `channel` holds.
pub(super) async fn take_over(mut channel: AsyncChannel) -> Result<Handover> {
    match channel.receive().await? {
        Some((
            Report::Ready {
                charter,
                pid,
                kind,
                remarks,
                kept,
            },
            descriptors,
        )) => {
            let Ok([user, network, link, diag, ends]) = <[OwnedFd; 5]>::try_from(descriptors)
            else {
                bail!(
                    "the keeper of {} sent too few descriptors",
                    charter.entry.name
                );
            };
            let kept = take_kept(&mut channel, kept).await?;
            let keeper = Keeper::serve(channel, charter.socket.clone());
            Ok(Handover {
                charter,
                pid: Pid::from_raw(pid).context("the keeper has no pid")?,
                kind,
                remarks,
                namespaces: Namespaces { user, network },
                link,
                diag,
                ends,
                keeper,
                kept,
                child: None,
            })
        }
        answer => Err(failure(answer.map(|(report, _)| report))),
    }
}

/// The listeners that come behind [`Report::Ready`].
async fn take_kept(channel: &mut AsyncChannel, count: usize) -> Result<Vec<Kept>> {
    let mut kept = Vec::new();
    for _ in 0..count {
        match channel.receive().await? {
            Some((Report::Kept { run }, mut descriptors)) => {
                let listener = descriptors.pop().context("a keeper sent no listener")?;
                let listener = Listener::new(listener);
                kept.push(Kept { run, listener });
            }
            answer => return Err(failure(answer.map(|(report, _)| report))),
        }
    }
    Ok(kept)
}

fn failure(report: Option<Report>) -> anyhow::Error {
    match report {
        Some(Report::Failed {
            step: Step::Unshare,
            message,
            errno,
        }) => {
            let error =
                errno.map_or_else(|| io::Error::other(message), io::Error::from_raw_os_error);
            not_permitted(&error, doctor::NamespaceStep::Unshare)
        }
        Some(Report::Failed { message, .. }) => {
            anyhow::anyhow!("cannot set up the space: {message}")
        }
        other => anyhow::anyhow!("the keeper ended before the space stood ({other:?})"),
    }
}

fn not_permitted(error: &io::Error, step: doctor::NamespaceStep) -> anyhow::Error {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::PERM);
    let why = doctor::explain_namespace_failure(&doctor::Machine::this(), errno, step);
    let message = format!("user namespaces are {}\n{}", why.finding, why.remedy);
    Failure {
        message,
        status: status::NOT_PERMITTED,
    }
    .into()
}
