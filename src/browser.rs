//! The user's own browser.

use std::io::IsTerminal as _;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

/// Opens an address with `$BROWSER`, else with `xdg-open`; ends as that does.
///
/// # Errors
/// If it can't be started.
pub(crate) fn open(url: &str) -> Result<ExitCode> {
    let browser = std::env::var_os("BROWSER").unwrap_or_else(|| "xdg-open".into());
    let opened = Command::new(&browser)
        .arg(url)
        .stdin(Stdio::null())
        .status();
    let opened = opened.with_context(|| {
        format!(
            "cannot start {}; set BROWSER to a program that opens {url}",
            browser.display()
        )
    })?;
    let code = opened.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

/// Whether somebody sits here who may want one: at a terminal, and before a desktop or with `$BROWSER` set.
pub(crate) fn is_wanted() -> bool {
    let set =
        |variable: Option<std::ffi::OsString>| variable.is_some_and(|value| !value.is_empty());
    let desktop = set(std::env::var_os("WAYLAND_DISPLAY")) || set(std::env::var_os("DISPLAY"));
    std::io::stdout().is_terminal() && (desktop || set(std::env::var_os("BROWSER")))
}
