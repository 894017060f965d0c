//! The questions about how spaces are reached, answered.

use std::io;
use std::num::NonZeroU16;
use std::rc::Rc;

use anyhow::{Context, Result};
use tokio::net::TcpStream;

use super::board::Patience;
use super::space::Space;
use super::spaces::Spaces;
use crate::failure::{Failure, status};
use crate::protocol::{Reach, Reply, Target};
use crate::publish::Publication;
use crate::publish::wish::Named;

/// Answers one that has one answer.
pub(super) async fn reply(reach: Reach, spaces: &Rc<Spaces>) -> Result<Reply> {
    Ok(match reach {
        Reach::Space(target) => {
            let space = one(&target, spaces).await?;
            drop(spaces.open_doors().await);
            Reply::Space(spaces.info(&space))
        }
        Reach::Publish {
            target,
            wishes,
            waits,
        } => {
            let space = one(&target, spaces).await?;
            let patience = if waits {
                Patience::Waits
            } else {
                Patience::None
            };
            Reply::Published(spaces.publish(&space, &wishes, patience).await?)
        }
        Reach::Unpublish { target, named } => {
            Reply::Published(withdraw(&target, named, spaces).await?)
        }
        Reach::Published => Reply::Published(spaces.board()?.publications()),
        Reach::Focused => Reply::Focus(spaces.board()?.focused()),
        Reach::Focus(focus) => {
            if let Some(name) = &focus {
                one(&Target::Name(name.clone()), spaces).await?;
            }
            spaces.board()?.focus(focus.clone()).await;
            Reply::Focus(focus)
        }
        Reach::Doors => Reply::Doors(spaces.open_doors().await),
        Reach::Connect { target, port } => {
            drop(connect(&target, port, spaces).await?);
            Reply::Connected
        }
    })
}

/// A connection to a port of a space.
pub(super) async fn connect(
    target: &Target,
    port: NonZeroU16,
    spaces: &Spaces,
) -> Result<TcpStream> {
    let space = one(target, spaces).await?;
    let name = &space.entry.name;
    match space.dial(port.get()).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(Failure {
            message: format!("nothing listens at {name}:{port}; `wharf ls {name}` lists what does"),
            status: status::NOTHING,
        }
        .into()),
        dialled => dialled.with_context(|| format!("cannot connect to {name}:{port}")),
    }
}

/// The one running space that is meant.
async fn one(target: &Target, spaces: &Spaces) -> Result<Rc<Space>> {
    spaces
        .meant(target)
        .await
        .pop()
        .ok_or_else(|| target.not_running().into())
}

async fn withdraw(
    target: &Target,
    named: Option<Named>,
    spaces: &Spaces,
) -> Result<Vec<Publication>> {
    let meant = spaces.meant(target).await;
    let board = spaces.board()?;
    let of_these = |publication: &Publication| {
        meant
            .iter()
            .any(|space| space.entry.name == publication.space)
            && named.is_none_or(|named| named.means(publication))
    };
    if named.is_none() {
        meant
            .iter()
            .for_each(|space| board.withdraw_everything(&space.entry.name));
    }
    let ended = board.withdraw(of_these).await;
    if ended.is_empty() {
        let what = if named.is_some() {
            "that is not published"
        } else {
            "nothing is published"
        };
        return Err(Failure {
            message: format!("{what}; `wharf publish` lists what is"),
            status: status::NOTHING,
        }
        .into());
    }
    Ok(ended)
}
