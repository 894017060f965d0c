//! `wharf doctor`: does this machine give wharf what it needs, and if not, what to do.
//!
//! Every check tries the thing itself rather than guess from settings, and
//! reads settings only to explain a failure. None changes anything on the
//! machine, none needs the daemon, and all together take less than a second.
//!
//! A thing that wharf replaces by itself is well, with a remark. What a
//! feature of wharf can't do without is a failure.

mod apparmor;
mod command;
mod machine;
mod namespace;
mod network;
mod sys;
mod system;

use std::fmt::Write as _;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

pub(crate) use command::doctor;
pub(crate) use machine::Machine;
pub(crate) use namespace::{NamespaceStep, explain as explain_namespace_failure};

use crate::columns::Colour;

/// The number of the JSON form; see `docs/json.md`.
const SCHEMA: u32 = 1;

/// What is specific to this user's wharf.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The port that serves spaces by name, at 127.0.0.1 and `::1`; `None` if that isn't wanted.
    pub(crate) names_port: Option<u16>,
    /// The same over TLS; `None` if that isn't wanted, or nobody is to be trusted for it.
    pub(crate) https_port: Option<u16>,
    /// The directory of the daemon's socket; it need not exist yet.
    pub(crate) runtime_directory: PathBuf,
    /// The process id of this user's daemon, if it runs.
    pub(crate) daemon: Option<i32>,
}

/// What one look at the machine found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// What was looked at.
    pub(crate) name: &'static str,
    /// How it is.
    pub(crate) state: State,
    /// What was found, in words.
    pub(crate) finding: String,
    /// What to do about it; lines of their own are commands.
    pub(crate) remedy: Option<String>,
}

/// How a checked thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it should be, or replaced by something as good.
    Ok,
    /// It works, but with less than it could have.
    Warn,
    /// Something that wharf offers won't work.
    Fail,
}

impl Check {
    fn ok(name: &'static str, finding: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            finding: finding.into(),
            remedy: None,
        }
    }

    fn warn(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self {
            name,
            state: State::Warn,
            finding: finding.into(),
            remedy,
        }
    }

    fn fail(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self {
            name,
            state: State::Fail,
            finding: finding.into(),
            remedy,
        }
    }
}

/// Makes all checks, in the order that people are shown.
pub(crate) fn examine(settings: &Settings) -> Vec<Check> {
    examine_with(settings, network::resolve)
}

/// Makes all checks, with this way to look up names.
fn examine_with(settings: &Settings, resolve: network::Resolve) -> Vec<Check> {
    let machine = Machine::this();
    // A name server that doesn't answer must not hold up the rest.
    let lookup = network::Lookup::begin("wharf-doctor.localhost", resolve);
    vec![
        system::kernel(&system::kernel_release()),
        namespace::check(&machine, sys::attempt_namespace()),
        system::tun(system::try_tun(&machine)),
        network::names_port(settings),
        network::https_port(settings),
        system::runtime_directory(&settings.runtime_directory),
        network::ping(&machine, network::try_ping()),
        network::name_servers(&machine),
        network::localhost_names(lookup.finish()),
        system::open_files(system::most_open_files()),
    ]
}

/// Whether nothing is left to be done: only then does `wharf doctor` exit with 0.
pub(crate) fn all_well(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.state == State::Ok)
}

/// The JSON form of the checks, on one line, without a line end.
pub(crate) fn json(checks: &[Check]) -> String {
    #[derive(Serialize)]
    struct Report<'a> {
        schema: u32,
        well: bool,
        checks: &'a [Check],
    }
    serde_json::to_string(&Report {
        schema: SCHEMA,
        well: all_well(checks),
        checks,
    })
    .expect("a report holds only strings, numbers and sequences, which always have a JSON form")
}

/// The checks as people read them: a line each, and the remedies below.
pub(crate) fn text(checks: &[Check], colour: Colour) -> String {
    let width = checks
        .iter()
        .map(|check| check.name.len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for check in checks {
        let (word, style) = match check.state {
            State::Ok => ("ok  ", AnsiColor::Green.on_default()),
            State::Warn => ("warn", AnsiColor::Yellow.on_default()),
            State::Fail => ("FAIL", AnsiColor::Red.on_default().bold()),
        };
        let style = if colour == Colour::Ansi {
            style
        } else {
            Style::new()
        };
        let Check {
            name,
            finding,
            remedy,
            ..
        } = check;
        let mut line = |line: std::fmt::Arguments<'_>| {
            writeln!(text, "{line}").expect("writing to a string can't fail");
        };
        line(format_args!(
            "{style}{word}{style:#}  {name:width$}  {finding}"
        ));
        for remedy in remedy.iter().flat_map(|remedy| remedy.lines()) {
            line(format_args!(
                "{:indent$}{remedy}",
                "",
                indent = 4 + 2 + width + 2
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Check> {
        vec![
            Check::ok("kernel", "6.18"),
            Check::warn("open files", "few", "more"),
            Check::fail(
                "user namespaces",
                "forbidden: user.max_user_namespaces is 0",
                "sudo sysctl -w user.max_user_namespaces=65536",
            ),
        ]
    }

    #[test]
    fn the_report_is_aligned_and_shows_each_remedy_below_its_finding() {
        let expected = "\
ok    kernel           6.18
warn  open files       few
                       more
FAIL  user namespaces  forbidden: user.max_user_namespaces is 0
                       sudo sysctl -w user.max_user_namespaces=65536
";
        assert_eq!(text(&samples(), Colour::Plain), expected);
        let coloured = text(&samples(), Colour::Ansi);
        assert!(coloured.contains("\u{1b}[32mok  \u{1b}[0m"), "{coloured}");
        assert_eq!(
            anstream::adapter::strip_str(&coloured).to_string(),
            expected
        );
    }

    #[test]
    fn all_is_well_only_if_every_check_is() {
        assert!(all_well(&samples()[..1]));
        assert!(!all_well(&samples()[..2]));
        assert!(!all_well(&samples()[2..]));
    }

    #[test]
    fn the_json_form_is_the_documented_one() {
        let documented = include_str!("../../docs/json.md");
        let section = documented.split("## `wharf doctor --json`").nth(1).unwrap();
        let example = section.split("```json\n").nth(1).unwrap();
        let example = example.split("```").next().unwrap();
        let example: serde_json::Value = serde_json::from_str(example).unwrap();
        let written: serde_json::Value = serde_json::from_str(&json(&samples()[2..])).unwrap();
        assert_eq!(written, example);
        assert!(json(&samples()[..1]).contains(r#""well":true"#));
    }

    #[test]
    fn examining_a_machine_leaves_nothing_unsaid() {
        let scratch = tempfile::tempdir().unwrap();
        let runtime_directory = scratch.path().join("wharf");
        let settings = Settings {
            names_port: Some(7070),
            https_port: None,
            runtime_directory,
            daemon: None,
        };
        let checks = examine_with(&settings, |_| Ok(Vec::new()));
        assert_eq!(checks.len(), 10);
        for check in &checks {
            assert!(!check.finding.is_empty(), "{check:?}");
            assert_eq!(
                check.state == State::Ok,
                check.remedy.is_none(),
                "{check:?}"
            );
        }
        assert!(!settings.runtime_directory.exists());
    }
}
