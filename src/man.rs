//! `wharf man`: one manual page for the whole command line, made of the same definition as the help.

use std::io::{self, IsTerminal as _, Write};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use clap_mangen::Man;

use crate::cli;

/// Shows the page in a terminal, if there is a man(1); else prints its source.
pub(crate) fn man() -> Result<ExitCode> {
    let page = page().context("cannot lay out the manual page")?;
    if io::stdout().is_terminal() && show(&page).is_ok() {
        return Ok(ExitCode::SUCCESS);
    }
    match io::stdout().write_all(&page) {
        // Whoever reads it has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.context("cannot write the manual page")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(page: &[u8]) -> io::Result<()> {
    let mut pager = Command::new("man")
        .args(["-l", "-"])
        .stdin(Stdio::piped())
        .spawn()?;
    let mut source = pager.stdin.take().expect("it is piped");
    source.write_all(page)?;
    drop(source);
    match pager.wait()?.success() {
        true => Ok(()),
        false => Err(io::Error::other("man failed")),
    }
}

/// The source of the page: wharf, then each command with its synopsis, examples and options.
fn page() -> io::Result<Vec<u8>> {
    let mut whole = cli::definition();
    whole.build();
    let commands: Vec<_> = whole
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help")
        .cloned()
        .collect();
    let mut page = Vec::new();
    let man = Man::new(whole.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    examples(&whole, &mut page)?;
    for command in commands {
        section(command, &mut page)?;
    }
    man.render_extra_section(&mut page)?;
    man.render_version_section(&mut page)?;
    Ok(page)
}

fn section(command: clap::Command, page: &mut Vec<u8>) -> io::Result<()> {
    writeln!(page, ".SH WHARF {}", command.get_name().to_uppercase())?;
    if let Some(about) = command.get_about() {
        writeln!(page, "{about}.")?;
    }
    examples(&command, page)?;
    let man = Man::new(command);
    let mut parts = Vec::new();
    man.render_synopsis_section(&mut parts)?;
    man.render_options_section(&mut parts)?;
    // Parts of a section instead of sections.
    let parts = String::from_utf8_lossy(&parts).replace(".SH ", ".SS ");
    page.write_all(parts.as_bytes())
}

fn examples(command: &clap::Command, page: &mut Vec<u8>) -> io::Result<()> {
    let Some(examples) = command.get_before_help() else {
        return Ok(());
    };
    let text = examples
        .to_string()
        .replace('\\', "\\e")
        .replace('-', "\\-");
    let lines = text.trim_start_matches("Examples:\n").trim_end();
    writeln!(page, ".PP\n.nf\n{lines}\n.fi")
}
