//! One command's conversation with the daemon.

use std::os::fd::AsFd;
use std::rc::Rc;

use anyhow::{Context, Result, anyhow, bail};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::board::Patience;
use super::from_host;
use super::space::{Attached, Space};
use super::spaces::Spaces;
use crate::binding::notify::Listener;
use crate::channel::AsyncChannel;
use crate::event::News;
use crate::failure::{Failure, status, status_of};
use crate::list::{self, Question};
use crate::protocol::{Ask, Notice, Places, Progress, Reach, Reply, Request, Run, Target, VERSION};
use crate::publish::Publication;

/// Answers one command.
pub(super) async fn converse(socket: tokio::net::UnixStream, spaces: Rc<Spaces>) {
    let _busy = spaces.busy();
    let mut channel = AsyncChannel::new(socket);
    let outcome = match channel.receive::<Request>().await {
        Ok(Some((request, _))) => answer(request, &mut channel, &spaces).await,
        Ok(None) => Ok(()),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = outcome {
        let refused = Reply::Refused {
            message: format!("{error:#}"),
            status: status_of(&error),
        };
        channel.send(&refused, &[]).await.ok();
    }
}

async fn answer(request: Request, channel: &mut AsyncChannel, spaces: &Rc<Spaces>) -> Result<()> {
    if request.version != VERSION {
        let message = "the running daemon is of another version of wharf; \
             when its programs have ended (or `wharf stop --all` of that version), this one works"
            .into();
        return Err(Failure {
            message,
            status: status::WHARF_FAILED,
        }
        .into());
    }
    match request.ask {
        Ask::Run(run) => enter(&run, channel, spaces).await,
        Ask::Resume {
            space,
            run,
            from_host,
        } => {
            let space = spaces
                .find(&space)
                .ok_or_else(|| Target::Name(space).not_running())?
                .attach();
            let remarks = from_host::let_in(&space, &from_host).await;
            let welcome = Welcome {
                run,
                remarks,
                published: Vec::new(),
            };
            stay(&space, welcome, channel, spaces, Namespaces::Known).await
        }
        Ask::Capture(asked) => super::capture::serve(asked, channel, spaces).await,
        Ask::Events { space } => follow(space, channel, spaces).await,
        Ask::Reach(Reach::Connect { target, port }) => {
            let socket = super::reach::connect(&target, port, spaces).await?;
            Ok(channel.send(&Reply::Connected, &[socket.as_fd()]).await?)
        }
        ask => Ok(channel.send(&reply(ask, spaces).await?, &[]).await?),
    }
}

/// Answers what has one answer and needs no conversation.
pub(super) async fn reply(ask: Ask, spaces: &Rc<Spaces>) -> Result<Reply> {
    match ask {
        Ask::Survey { places, question } => survey(places, &question, spaces),
        Ask::Programs(places) => {
            let running = spaces.running(&looked_at(&places, spaces)?)?;
            Ok(Reply::Programs(running))
        }
        Ask::Reach(reach) => super::reach::reply(reach, spaces).await,
        Ask::Web => {
            let remarks = spaces.open_doors().await;
            let none = || match remarks.first() {
                Some(remark) => remark.clone(),
                None => "names are not served: WHARF_NAMES_PORT is 0".into(),
            };
            Ok(Reply::Web(spaces.page()?.with_context(none)?))
        }
        Ask::Stop(target) => Ok(Reply::Stopped(stop(&target, spaces).await?)),
        Ask::Run(_) | Ask::Resume { .. } | Ask::Events { .. } | Ask::Capture(_) => {
            bail!("this wants a conversation")
        }
    }
}

/// The spaces that are meant, without the machine.
fn looked_at(places: &Places, spaces: &Spaces) -> Result<Vec<Rc<Space>>> {
    Ok(match places {
        Places::Space(name) => {
            let found = spaces.find(name);
            vec![found.ok_or_else(|| Target::Name(name.clone()).not_running())?]
        }
        Places::Spaces | Places::Everywhere => spaces.all(),
        Places::Machine => Vec::new(),
    })
}

/// Looks for sockets.
fn survey(places: Places, question: &Question, spaces: &Rc<Spaces>) -> Result<Reply> {
    let looked_at = looked_at(&places, spaces)?;
    let mut holds = spaces.survey(&looked_at, question)?;
    if matches!(places, Places::Machine | Places::Everywhere) {
        holds.extend(list::machine(question)?);
    }
    let infos = looked_at.iter().map(|space| spaces.info(space));
    Ok(Reply::Surveyed {
        spaces: infos.collect(),
        holds,
    })
}

async fn enter(run: &Run, channel: &mut AsyncChannel, spaces: &Rc<Spaces>) -> Result<()> {
    let space = spaces.enter(run).await?;
    let mut remarks = space.remarks.borrow().clone();
    remarks.extend(from_host::let_in(&space, &run.from_host).await);
    let published = spaces.publish(&space, &run.publish, Patience::None).await?;
    if run.publish_all {
        spaces.publish_everything(&space).await;
    }
    let welcome = Welcome {
        run: format!("{:016x}", rand::random::<u64>()),
        remarks,
        published,
    };
    stay(&space, welcome, channel, spaces, Namespaces::Wanted).await
}

/// What a run is told first.
#[derive(Debug)]
struct Welcome {
    run: String,
    remarks: Vec<String>,
    published: Vec<Publication>,
}

/// Whether the command needs the space's namespaces.
#[derive(Debug, Clone, Copy)]
enum Namespaces {
    Wanted,
    Known,
}

/// Holds the space for a run until that ends; ends what is left of it if it was cut off.
async fn stay(
    space: &Attached,
    mut welcome: Welcome,
    channel: &mut AsyncChannel,
    spaces: &Rc<Spaces>,
    wanted: Namespaces,
) -> Result<()> {
    let run = &welcome.run;
    welcome.remarks.extend(spaces.open_doors().await);
    let info = spaces.info(space);
    let entered = Reply::Entered {
        space: info,
        run: run.to_owned(),
        remarks: welcome.remarks,
        published: welcome.published,
    };
    let descriptors = [
        space.namespaces.user.as_fd(),
        space.namespaces.network.as_fd(),
    ];
    let descriptors = match wanted {
        Namespaces::Wanted => &descriptors[..],
        Namespaces::Known => &[],
    };
    let mut notices = space.ports.attendance.enter(run);
    let sent = channel.send(&entered, descriptors).await;
    let end = match sent {
        Ok(()) => accompany(space, run, channel, &mut notices, spaces).await,
        Err(_) => End::CutOff,
    };
    space.ports.attendance.leave(run);
    space.forget(run);
    if end == End::CutOff {
        tracing::info!(
            "a run in {} was cut off; what is left of it is ended",
            space.entry.name
        );
        space.end_run(run).await?;
    }
    Ok(())
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// As it said.
    Finished,
    /// It is gone, and has said nothing.
    CutOff,
}

/// Hears what a run has to say, and tells it what concerns it, until it ends.
async fn accompany(
    space: &Space,
    run: &str,
    channel: &mut AsyncChannel,
    notices: &mut mpsc::Receiver<Notice>,
    spaces: &Spaces,
) -> End {
    loop {
        let (progress, mut descriptors) = tokio::select! {
            said = channel.receive::<Progress>() => match said {
                Ok(Some(said)) => said,
                Ok(None) | Err(_) => return End::CutOff,
            },
            Some(notice) = notices.recv() => {
                // If it is gone, that is heard next.
                channel.send(&notice, &[]).await.ok();
                continue;
            }
        };
        match progress {
            Progress::Supervised => {
                if let Some(listener) = descriptors.pop() {
                    let listener = Listener::new(listener);
                    spaces.supervise(space, run, listener, Some(channel)).await;
                }
            }
            Progress::Unsupervised => space.ports.attendance.is_unsupervised(run),
            Progress::Finished => {
                // What its program was refused last is told before this run is let go.
                space.ports.settle();
                while let Ok(notice) = notices.try_recv() {
                    channel.send(&notice, &[]).await.ok();
                }
                let passed = Notice::Passed(space.ears.traffic());
                channel.send(&passed, &[]).await.ok();
                return End::Finished;
            }
        }
    }
}

/// Tells the events of one space, or of all, until the command hangs up.
async fn follow(space: Option<String>, channel: &mut AsyncChannel, spaces: &Spaces) -> Result<()> {
    let mut events = spaces.events.subscribe();
    let mut untold = spaces.untold.count();
    channel.send(&Reply::Following, &[]).await?;
    loop {
        let news = tokio::select! {
            heard = events.recv() => match heard {
                Ok(event) => News::Event(event),
                Err(RecvError::Lagged(count)) => News::Missed(count),
                Err(RecvError::Closed) => return Ok(()),
            },
            // The command has nothing to say: whatever comes is its end.
            _ = channel.receive::<Progress>() => return Ok(()),
        };
        if let Some(count) = spaces.untold.since(&mut untold) {
            channel.send(&News::Missed(count), &[]).await?;
        }
        if let News::Event(event) = &news
            && space.as_ref().is_some_and(|space| !event.concerns(space))
        {
            continue;
        }
        channel.send(&news, &[]).await?;
    }
}

/// Ends spaces and what runs in them; answers with their names.
async fn stop(target: &Target, spaces: &Rc<Spaces>) -> Result<Vec<String>> {
    if matches!(target, Target::All) {
        spaces.dismiss();
    }
    let meant = spaces.meant(target).await;
    if meant.is_empty() {
        return Err(target.not_running().into());
    }
    let mut ending = tokio::task::JoinSet::new();
    for space in meant {
        let spaces = Rc::clone(spaces);
        ending.spawn_local(async move {
            let name = space.entry.name.clone();
            space
                .end(|_| true)
                .await
                .map_err(|error| anyhow!("{name}: {error}"))?;
            spaces.gone(&space).await;
            Ok(name)
        });
    }
    let mut ended: Vec<_> = ending.join_all().await.into_iter().collect::<Result<_>>()?;
    ended.sort();
    Ok(ended)
}
