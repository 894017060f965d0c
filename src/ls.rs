//! `wharf ls`: every listening port of every space.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::cli;
use crate::client::{self, Absence};
use crate::failure::status;
use crate::list::render;
use crate::protocol::{Ask, Reply};

/// Lists; exit status 1 when nothing listens.
pub(crate) fn ls(typed: cli::Ls) -> Result<ExitCode> {
    let listeners = match client::ask(&Ask::List { space: typed.space }, Absence::Report) {
        Ok(answer) => match answer.reply {
            Reply::Listeners(listeners) => listeners,
            other => bail!("the daemon answered {other:?}"),
        },
        Err(error) if typed.json && crate::failure::status_of(&error) == status::NOTHING => {
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    if typed.json {
        println!("{}", render::json(&listeners));
    } else {
        print!("{}", render::table(&listeners, &render::Look::of_stdout()));
    }
    if listeners.is_empty() {
        if !typed.json {
            eprintln!("{}", render::NOTHING);
        }
        return Ok(ExitCode::from(status::NOTHING));
    }
    Ok(ExitCode::SUCCESS)
}
