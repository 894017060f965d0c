//! `wharf web`: the address of the page, and the page in a browser.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::client::{self, Absence};
use crate::protocol::{Ask, Reply};
use crate::{browser, cli, output};

/// Prints the address, and opens it where somebody sits before a desktop.
pub(crate) fn web(typed: &cli::Web) -> Result<ExitCode> {
    let reply = client::ask(&Ask::Web, Absence::Report)?.reply;
    let Reply::Web(url) = reply else {
        bail!("the daemon answered {reply:?}")
    };
    output::line(&url)?;
    match !typed.print && browser::is_wanted() {
        true => browser::open(&url),
        false => Ok(ExitCode::SUCCESS),
    }
}
