//! `wharf events`: what happens to the ports of spaces, line by line, from some time on.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::Serialize;

use crate::cli;
use crate::columns::visible;
use crate::event::{Actor, Event, Kind, News, Reason};
use crate::failure::{Failure, status};
use crate::follow::{Follower, Heard};
use crate::history::{self, Wanted, when};
use crate::list::render::{SCHEMA, moment};
use crate::place::space_named;

/// How often it is looked whether a daemon runs, where none does.
const ABSENCE: Duration = Duration::from_millis(250);
/// How long the daemon is listened to at a time; nothing depends on it.
const HEARING: Duration = Duration::from_secs(3600);

/// Tells, until it is interrupted or nobody listens any more; exit status 1 if only the past is wanted and nothing was.
pub(crate) fn events(typed: &cli::Events) -> Result<ExitCode> {
    let form = match typed.json {
        true => Form::Json,
        false => Form::Text(TimeZone::system()),
    };
    let since = typed
        .since
        .as_deref()
        .map(|text| when::parse(text, &Zoned::now()));
    let since = since.transpose().map_err(Failure::usage)?;
    let told = tell(typed, since, &form);
    match told {
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        told => told,
    }
}

fn tell(typed: &cli::Events, since: Option<Timestamp>, form: &Form) -> Result<ExitCode> {
    let space = space_named(typed.space.as_deref())?;
    let mut follower = Follower::of(space.clone());
    if !typed.no_follow {
        // Before the past is read, so that there is no gap between it and what follows; what is told twice is told once.
        follower.follow()?;
    }
    let mut last = None;
    if since.is_some() || typed.no_follow {
        let wanted = Wanted {
            space: space.as_deref(),
            port: None,
            since,
            last: None,
        };
        for event in history::read(&wanted)? {
            say(&form.line(&event)?)?;
            last = Some(event);
        }
    }
    if typed.no_follow {
        return Ok(match last {
            Some(_) => ExitCode::SUCCESS,
            None => {
                eprintln!("wharf: {}", nothing(space.as_deref(), since.is_some()));
                ExitCode::from(status::NOTHING)
            }
        });
    }
    follow(&mut follower, last.as_ref(), form)
}

/// That there are no events to tell.
fn nothing(space: Option<&str>, since: bool) -> String {
    let space = space.map_or_else(String::new, |name| format!(" of the space {name}"));
    let since = if since { " since then" } else { "" };
    format!("no event{space} is known{since}; `wharf ls` lists the spaces that run")
}

fn follow(follower: &mut Follower, last: Option<&Event>, form: &Form) -> Result<ExitCode> {
    let mut told = None;
    loop {
        follower.follow()?;
        let follows = follower.follows();
        if told.replace(follows) != Some(follows) {
            eprintln!(
                "wharf: {}",
                match follows {
                    true => "following",
                    false => "no space runs yet",
                }
            );
        }
        let time = match follows {
            true => HEARING,
            false => ABSENCE,
        };
        match follower.hear_within(time)? {
            Heard::News(News::Event(event)) => {
                if last.is_none_or(|last| event.at > last.at) {
                    say(&form.line(&event)?)?;
                }
            }
            Heard::News(News::Missed(count)) => say(&form.missed(count)?)?,
            Heard::Gone | Heard::Nothing => {}
        }
    }
}

fn say(line: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .context("cannot write")
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let source = error.downcast_ref::<io::Error>();
    source.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// How lines look.
enum Form {
    Json,
    Text(TimeZone),
}

impl Form {
    fn line(&self, event: &Event) -> Result<String> {
        #[derive(Serialize)]
        struct Line<'a> {
            schema: u32,
            #[serde(flatten)]
            event: &'a Event,
        }
        match self {
            Self::Json => Ok(serde_json::to_string(&Line {
                schema: SCHEMA,
                event,
            })?),
            Self::Text(zone) => Ok(text(event, &Timestamp::now().to_zoned(zone.clone()))),
        }
    }

    fn missed(&self, count: u64) -> Result<String> {
        Ok(match self {
            Self::Json => serde_json::json!({ "schema": SCHEMA, "missed": count }).to_string(),
            Self::Text(_) => format!("… {count} events were missed"),
        })
    }
}

/// An event on one line.
pub(crate) fn text(event: &Event, now: &Zoned) -> String {
    let (verb, more) = match &event.kind {
        Kind::Bound => ("bound", String::new()),
        Kind::Listening => ("listening", String::new()),
        Kind::Released => ("released", String::new()),
        Kind::Conflict { reason } => ("conflict", format!(": {}", because(reason))),
        Kind::Denied { to } => (
            "denied",
            format!(": no way to {to}, one of the two is isolated"),
        ),
    };
    let place = SocketAddr::new(event.address, event.port.get());
    let line = format!(
        "{}  {}  {verb:9}  {}/{place}  {}{more}",
        moment(event.at, now),
        event.space,
        event.protocol.name(),
        actor(event.program.as_ref()),
    );
    visible(&line)
}

fn actor(actor: Option<&Actor>) -> String {
    let Some(actor) = actor else {
        return "-".into();
    };
    let directory = actor.directory.as_ref();
    let directory = directory.map_or_else(String::new, |directory| format!(" in {directory}"));
    format!("{} (pid {}{directory})", actor.program, actor.pid)
}

fn because(reason: &Reason) -> String {
    match reason {
        Reason::Held(holders) => match holders.first() {
            Some(holder) => format!("held by {}", actor(holder.program.as_ref())),
            None => "held by nobody who can be seen".into(),
        },
        Reason::Reserved(program) => format!("wharf.toml keeps it for {program}"),
        Reason::Forbidden(why) if why.is_empty() => "wharf.toml forbids it".into(),
        Reason::Forbidden(why) => format!("wharf.toml forbids it: {why}"),
    }
}
