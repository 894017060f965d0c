//! `wharf trust` and `wharf untrust`: HTTPS for names of spaces, with an authority of this user's own.
//!
//! [`authority`] makes and keeps it, [`stores`] has browsers and the machine believe it. Nothing here happens unless it
//! was asked for: without an authority, the daemon serves no HTTPS.

pub(crate) mod authority;
mod stores;

use std::fmt;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::cli;
use crate::client::{self, Absence};
use crate::daemon;
use crate::failure::{Failure, status, status_of};
use crate::protocol::{Ask, Reach, Reply};
use authority::{Authority, Draft, Files};
use stores::{CERTUTIL, Database, System};

/// Whether this user has an authority, and so HTTPS is wanted.
pub(crate) fn is_set_up() -> bool {
    Files::of_user().exist()
}

/// One thing that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Make(Files),
    Tell(Database),
    TellAll(System),
}

/// As it is announced.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make(files) => write!(
                f,
                "  write   {} (the key; nobody else may read it)\n  write   {}",
                files.key.display(),
                files.certificate.display()
            ),
            Self::Tell(Database { browser, directory }) => {
                write!(f, "  add to  {} ({browser})", directory.display())
            }
            Self::TellAll(system) => write!(
                f,
                "  write   {} (for all users of this machine)",
                system.file.display()
            ),
        }
    }
}

/// Makes the authority, and has it believed.
pub(crate) fn trust(typed: &cli::Trust) -> Result<ExitCode> {
    let files = Files::of_user();
    let databases = databases();
    let draft = (!files.exist()).then(Draft::new).transpose()?;
    let name = match &draft {
        Some(draft) => draft.name(),
        None => Authority::read(&files)?.name().to_owned(),
    };
    let system = System::find(&name);
    let ours = system.clone().filter(|_| is_root());
    let made = draft.as_ref().map(|_| Step::Make(files.clone()));
    let told = databases.iter().cloned().map(Step::Tell);
    let steps = made
        .into_iter()
        .chain(told)
        .chain(ours.clone().map(Step::TellAll));
    announce(steps);
    if typed.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if !typed.yes && !agreed()? {
        return Ok(ExitCode::from(status::NOTHING));
    }
    if let Some(draft) = draft {
        draft.write(&files)?;
    }
    let mut untold = Vec::new();
    for database in &databases {
        if let Err(error) = database.add(&name, &files.certificate) {
            untold.push(format!("{}: {error:#}", database.directory.display()));
        }
    }
    if let Some(system) = &ours
        && let Err(error) = system.add(&files.certificate)
    {
        untold.push(format!("{error:#}"));
    }
    let in_the_way = have_doors_follow()?;
    for remark in untold.iter().chain(&in_the_way) {
        eprintln!("wharf: {remark}");
    }
    if in_the_way.is_empty() {
        say_where();
    }
    explain(&name, &files, system.filter(|_| ours.is_none()));
    Ok(ExitCode::from(match (&untold[..], &in_the_way[..]) {
        ([], []) => 0,
        ([], _) => status::CONFLICT,
        _ => status::WHARF_FAILED,
    }))
}

/// Says what is served now.
fn say_where() {
    match daemon::https_port() {
        Some(port) => eprintln!(
            "wharf: https://NAME.localhost:{port} leads to your spaces; browsers that run may have to be started anew"
        ),
        None => eprintln!("wharf: WHARF_HTTPS_PORT is 0, so nothing is served over HTTPS"),
    }
}

/// The databases of browsers that can be edited: none, without the program for it.
fn databases() -> Vec<Database> {
    let found = Database::below(&std::env::home_dir().unwrap_or_default());
    if found.is_empty() || stores::is_installed(CERTUTIL.as_ref()) {
        return found;
    }
    for Database { browser, directory } in found {
        eprintln!(
            "wharf: {browser} ({}) can't be told without certutil (Debian: apt install libnss3-tools)",
            directory.display()
        );
    }
    Vec::new()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says what will be done.
fn announce(steps: impl Iterator<Item = Step>) {
    eprintln!(
        "wharf trust has an authority of your own vouch for https://NAME.localhost. It can vouch for names below\n\
         localhost and internal and for loopback addresses, and for nothing else. It will:"
    );
    for step in steps {
        eprintln!("{step}");
    }
}

/// Asks whether it may be done.
fn agreed() -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("nobody is there to be asked: --yes agrees").into());
    }
    eprint!("Go on? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    let answer = answer.trim().to_ascii_lowercase();
    Ok(["y", "yes"].contains(&answer.as_str()))
}

/// Says what else could believe it.
fn explain(name: &str, files: &Files, system: Option<System>) {
    let certificate = files.certificate.display();
    eprintln!(
        "\nThe authority is called \"{name}\". For what asks neither a browser nor the system:"
    );
    eprintln!("  export NODE_EXTRA_CA_CERTS={certificate}");
    eprintln!("and in place of everything else that these trust (so for one command at a time):");
    eprintln!("  SSL_CERT_FILE={certificate}          OpenSSL, Go, Ruby, Rust");
    eprintln!("  REQUESTS_CA_BUNDLE={certificate}     Python's requests");
    eprintln!("  curl --cacert {certificate} ...");
    if let Some(system) = system {
        eprintln!("For all users of this machine, as root:");
        for line in system.as_typed(&files.certificate).lines() {
            eprintln!("  {line}");
        }
    }
}

/// Undoes what [`trust`] did.
pub(crate) fn untrust() -> Result<ExitCode> {
    let files = Files::of_user();
    if !files.exist() {
        // What half an authority there is goes all the same.
        files.remove()?;
        eprintln!("wharf: there is no authority of yours to remove");
        return Ok(ExitCode::from(status::NOTHING));
    }
    let authority = Authority::read(&files)?;
    let name = authority.name();
    let mut failed = Vec::new();
    for database in databases().iter().filter(|database| database.has(name)) {
        let place = database.directory.display();
        match database.remove(name) {
            Ok(()) => eprintln!("wharf: removed from {place} ({})", database.browser),
            Err(error) => failed.push(format!("{place}: {error:#}")),
        }
    }
    if let Some(system) = System::find(name).filter(|system| system.file.exists()) {
        let shown = system.file.display();
        match system.remove() {
            Ok(()) => eprintln!("wharf: removed {shown}"),
            Err(error) if is_root() => failed.push(format!("{error:#}")),
            Err(_) => failed.push(format!(
                "{shown} is root's to remove:\n{}",
                system.undone_as_typed()
            )),
        }
    }
    if !failed.is_empty() {
        return Err(Failure {
            message: format!(
                "the authority is still trusted, and so is kept: {}",
                failed.join("; ")
            ),
            status: status::NOT_PERMITTED,
        }
        .into());
    }
    files.remove().context("cannot remove the authority")?;
    have_doors_follow()?;
    eprintln!("wharf: removed the authority and its key; HTTPS is no longer served");
    Ok(ExitCode::SUCCESS)
}

/// Tells a daemon that runs; answers with what stands in its way.
fn have_doors_follow() -> Result<Vec<String>> {
    match client::ask(&Ask::Reach(Reach::Doors), Absence::Report) {
        Ok(answer) => match answer.reply {
            Reply::Doors(remarks) => Ok(remarks),
            other => anyhow::bail!("the daemon answered {other:?}"),
        },
        Err(error) if status_of(&error) == status::NOTHING => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
