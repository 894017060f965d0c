//! `wharf publish`, `unpublish`, `focus`, `url`, `open` and `connect`: how a space's ports are reached from the machine.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::in_space::{InSpace, port_of_space};
use super::wish::{self, Wishes};
use super::{Publication, State};
use crate::client::{self, Absence};
use crate::failure::{Failure, status, status_of};
use crate::place::space_named;
use crate::protocol::{Ask, Reach, Reply, SpaceInfo, Target};
use crate::{browser, cli, output, run, trust};

/// Publishes, or lists what is.
pub(crate) fn publish(typed: cli::Publish) -> Result<ExitCode> {
    if typed.what.is_empty() {
        return list(typed.json);
    }
    let at = typed
        .at
        .as_deref()
        .map(wish::address_alone)
        .transpose()
        .map_err(Failure::usage)?;
    let mut published = Vec::new();
    for InSpace {
        space,
        what: Wishes(mut wishes),
    } in typed.what
    {
        if let Some(at) = at {
            wishes.iter_mut().for_each(|wish| wish.at = Some(at));
        }
        let ask = Reach::Publish {
            target: run::target(space)?,
            wishes,
            waits: typed.wait,
        };
        published.extend(publications(&ask)?);
    }
    show(&published, typed.json)?;
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool) -> Result<ExitCode> {
    let published = match publications(&Reach::Published) {
        Ok(published) => published,
        Err(error) if status_of(&error) == status::NOTHING => Vec::new(),
        Err(error) => return Err(error),
    };
    show(&published, json)?;
    if published.is_empty() {
        if !json {
            eprintln!(
                "wharf: nothing is published; `wharf publish PORT` offers a port of this directory's space"
            );
        }
        return Ok(ExitCode::from(status::NOTHING));
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(reach: Reach) -> Result<client::Answer> {
    client::ask(&Ask::Reach(reach), Absence::Report)
}

fn publications(reach: &Reach) -> Result<Vec<Publication>> {
    match ask(reach.clone())?.reply {
        Reply::Published(published) => Ok(published),
        other => bail!("the daemon answered {other:?}"),
    }
}

/// Prints publications, one a line.
fn show(published: &[Publication], json: bool) -> Result<()> {
    if json {
        return output::line(serde_json::json!({ "schema": 1, "published": published }));
    }
    published.iter().try_for_each(output::line)
}

/// `127.77.3.2:5432 → shop:5432`, and what keeps it from being reached.
impl std::fmt::Display for Publication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} → {}:{}", self.place, self.space, self.inside)?;
        match &self.state {
            State::Served => Ok(()),
            State::Waiting => f.write_str(" (nothing listens there yet)"),
            State::Elsewhere { to } => write!(
                f,
                " (leads to {to}; `wharf focus {}` changes that)",
                self.space
            ),
            State::Blocked { why } => write!(f, " (waits: {why})"),
        }
    }
}

/// Ends publications.
pub(crate) fn unpublish(typed: cli::Unpublish) -> Result<ExitCode> {
    let ended = if typed.all {
        publications(&Reach::Unpublish {
            target: Target::All,
            named: None,
        })?
    } else {
        let mut ended = Vec::new();
        for InSpace { space, what } in typed.what {
            let target = match space {
                // An address says it all.
                None if what.at.is_some() => Target::All,
                space => run::target(space)?,
            };
            ended.extend(publications(&Reach::Unpublish {
                target,
                named: Some(what),
            })?);
        }
        ended
    };
    for publication in &ended {
        eprintln!("wharf: {} is no longer published", publication.place);
    }
    Ok(ExitCode::SUCCESS)
}

/// Says or changes which space the shared ports of 127.0.0.1 lead to.
pub(crate) fn focus(typed: cli::Focus) -> Result<ExitCode> {
    let question = match space_named(typed.space.as_deref())? {
        Some(space) => Reach::Focus(Some(space)),
        None if typed.none => Reach::Focus(None),
        None => Reach::Focused,
    };
    let asks = matches!(question, Reach::Focused);
    let Reply::Focus(focused) = ask(question)?.reply else {
        bail!("the daemon answered something else")
    };
    if typed.json {
        output::line(serde_json::json!({ "schema": 1, "focus": focused }))?;
    } else if let Some(space) = &focused {
        output::line(space)?;
    } else if asks {
        eprintln!("wharf: no space is in focus");
    }
    Ok(match focused {
        None if asks => ExitCode::from(status::NOTHING),
        _ => ExitCode::SUCCESS,
    })
}

/// Prints where a space's web server is reached.
pub(crate) fn url(typed: cli::Url) -> Result<ExitCode> {
    let url = url_of(typed)?;
    output::line(url)?;
    Ok(ExitCode::SUCCESS)
}

/// Opens it with the user's own browser.
pub(crate) fn open(typed: cli::Url) -> Result<ExitCode> {
    let url = url_of(typed)?;
    eprintln!("wharf: {url}");
    browser::open(&url)
}

fn url_of(typed: cli::Url) -> Result<String> {
    let reply = ask(Reach::Space(run::target(typed.space)?))?.reply;
    let Reply::Space(SpaceInfo {
        name, url, https, ..
    }) = reply
    else {
        bail!("the daemon answered {reply:?}")
    };
    let url = if typed.https { https } else { url };
    let Some(url) = url else {
        return Err(not_served(typed.https)?.into());
    };
    Ok(match typed.port {
        Some(port) => url.replacen(&name, &format!("{port}.{name}"), 1),
        None => url,
    })
}

/// Why there is no address to print.
fn not_served(https: bool) -> Result<Failure> {
    if https && !trust::is_set_up() {
        return Ok(Failure {
            message: "HTTPS is not set up; `wharf trust` does that, and asks first".into(),
            status: status::NOTHING,
        });
    }
    bail!("names are not served: `wharf doctor` says what is in the way")
}

/// Connects standard input and output with a port of a space.
pub(crate) fn connect(typed: cli::Connect) -> Result<ExitCode> {
    let (space, port) = port_of_space(&typed.what).map_err(Failure::usage)?;
    let answer = ask(Reach::Connect {
        target: run::target(space)?,
        port,
    })?;
    let (Reply::Connected, Ok([socket])) =
        (answer.reply, <[OwnedFd; 1]>::try_from(answer.descriptors))
    else {
        bail!("the daemon answered something else")
    };
    let socket = TcpStream::from(socket);
    socket.set_nonblocking(false)?;
    // What is typed may have no end; what is heard has one, and that is this command's.
    std::thread::spawn({
        let socket = socket.try_clone()?;
        move || {
            pump(io::stdin().lock(), &socket).ok();
            socket.shutdown(Shutdown::Write).ok();
        }
    });
    pump(&socket, io::stdout().lock()).context("the connection was cut off")?;
    Ok(ExitCode::SUCCESS)
}

/// Passes on what comes as soon as it comes.
fn pump(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            length => {
                to.write_all(&buffer[..length])?;
                to.flush()?;
            }
        }
    }
}
