//! Reads the text of a `wharf.toml`, key by key, so that whatever is wrong is shown at its place.

use std::fmt;
use std::num::NonZeroU16;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use wharf_port::PortRange;

use super::Config;
use crate::binding::policy::{Policy, Rule};
use crate::name::{is_label, label};
use crate::publish::wish::{Wish, Wishes};

/// Every key, as it is written.
const KEYS: [&str; 6] = [
    "forbid",
    "from-host",
    "isolated",
    "name",
    "publish",
    "reserve",
];
/// Two words are taken for one another from this likeness on, 0 to 1.
const LIKENESS: f64 = 0.75;

/// What can't be understood, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Counted from 1.
    line: usize,
    /// Counted in characters, from 1.
    column: usize,
    message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// A fault whose place is still counted in bytes.
type Wrong = (Range<usize>, String);

/// The text of a file.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    str::from_utf8(bytes).map_err(|error| {
        let end = error.valid_up_to();
        let text = String::from_utf8_lossy(bytes);
        place(&text, (end..end, "this is not UTF-8".into()))
    })
}

/// Reads the whole text.
pub(super) fn read(text: &str) -> Result<Config, Fault> {
    let parsed = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        (span, error.message().to_owned())
    });
    parsed
        .and_then(|table| config(table.get_ref()))
        .map_err(|wrong| place(text, wrong))
}

fn place(text: &str, (span, message): Wrong) -> Fault {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    Fault {
        line: before.matches('\n').count() + 1,
        column: line.chars().count() + 1,
        message,
    }
}

fn config(table: &DeTable<'_>) -> Result<Config, Wrong> {
    let mut config = Config::default();
    let mut policy = Policy::default();
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "name" => config.name = Some(name(value)?),
            "from-host" => config.from_host = each(value, port)?,
            "publish" => config.publish = each(value, published)?.concat(),
            "isolated" => config.isolated = Some(yes_or_no(value)?),
            "forbid" => policy.forbidden = forbidden(value)?,
            "reserve" => policy.reserved = rules(value, program)?,
            unknown => return Err((key.span(), not_known(unknown))),
        }
    }
    config.policy = Some(policy);
    Ok(config)
}

fn not_known(key: &str) -> String {
    let like = |known: &&str| strsim::jaro_winkler(known, &key.replace('_', "-"));
    let nearest = KEYS
        .iter()
        .max_by(|one, other| like(one).total_cmp(&like(other)))
        .filter(|known| like(known) >= LIKENESS);
    match nearest {
        Some(known) => format!("there is no key {key:?}; is {known:?} meant?"),
        None => format!("there is no key {key:?}; the keys are {}", KEYS.join(", ")),
    }
}

fn wanted<T>(value: &Spanned<DeValue<'_>>, what: &str) -> Result<T, Wrong> {
    let found = value.get_ref().type_str();
    Err((value.span(), format!("{what} is wanted here, not {found}")))
}

fn text<'a>(value: &'a Spanned<DeValue<'_>>, what: &str) -> Result<&'a str, Wrong> {
    value
        .get_ref()
        .as_str()
        .map_or_else(|| wanted(value, what), Ok)
}

fn yes_or_no(value: &Spanned<DeValue<'_>>) -> Result<bool, Wrong> {
    let said = value.get_ref().as_bool();
    said.map_or_else(|| wanted(value, "true or false"), Ok)
}

fn name(value: &Spanned<DeValue<'_>>) -> Result<String, Wrong> {
    let name = text(value, "a name in quotes")?;
    if is_label(name) {
        return Ok(name.to_owned());
    }
    let would = label(name);
    let message = format!(
        "a space's name is a DNS label (a–z, 0–9, -, at most 63): {name:?} is not, {would:?} would be"
    );
    Err((value.span(), message))
}

/// Every element of a list.
fn each<T>(
    value: &Spanned<DeValue<'_>>,
    one: impl Fn(&Spanned<DeValue<'_>>) -> Result<T, Wrong>,
) -> Result<Vec<T>, Wrong> {
    match value.get_ref().as_array() {
        Some(list) => list.iter().map(one).collect(),
        None => wanted(value, "a list in brackets"),
    }
}

fn port(value: &Spanned<DeValue<'_>>) -> Result<NonZeroU16, Wrong> {
    let number = value.get_ref().as_integer();
    let port = number.and_then(|number| u16::from_str_radix(number.as_str(), number.radix()).ok());
    match port.and_then(NonZeroU16::new) {
        Some(port) => Ok(port),
        None => Err((
            value.span(),
            "a port is wanted here: a number from 1 to 65535".into(),
        )),
    }
}

/// Ports to publish, as they are typed.
fn published(value: &Spanned<DeValue<'_>>) -> Result<Vec<Wish>, Wrong> {
    let typed = match value.get_ref() {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
        _ => text(value, "a port, or what `wharf run -p` takes, in quotes,")?,
    };
    let wishes: Result<Wishes, String> = typed.parse();
    wishes
        .map(|wishes| wishes.0)
        .map_err(|message| (value.span(), message))
}

/// A list of ports, or a table that has a reason for each.
fn forbidden(value: &Spanned<DeValue<'_>>) -> Result<Vec<Rule>, Wrong> {
    match value.get_ref().as_table() {
        Some(_) => rules(value, |value| {
            text(value, "a reason in quotes").map(str::to_owned)
        }),
        None => each(value, |value| {
            let ports = match value.get_ref() {
                DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
                _ => text(value, "a port, or a range in quotes,")?,
            };
            rule(ports, value.span(), String::new())
        }),
    }
}

/// A table of rules by their ports.
fn rules(
    value: &Spanned<DeValue<'_>>,
    note: impl Fn(&Spanned<DeValue<'_>>) -> Result<String, Wrong>,
) -> Result<Vec<Rule>, Wrong> {
    let Some(table) = value.get_ref().as_table() else {
        return wanted(value, "a table, as in 5432 = \"postgres\" below [reserve],");
    };
    table
        .iter()
        .map(|(key, value)| rule(key.get_ref(), key.span(), note(value)?))
        .collect()
}

fn rule(ports: &str, span: Range<usize>, note: String) -> Result<Rule, Wrong> {
    let message = format!("{ports:?}: a port or a range is wanted, as in 3000 or 3000-3010");
    let range: PortRange = ports.parse().map_err(|_| (span, message))?;
    let [first, last] = [range.first(), range.last()]
        .map(|port| NonZeroU16::new(port.number()).expect("a port is never 0"));
    Ok(Rule { first, last, note })
}

fn program(value: &Spanned<DeValue<'_>>) -> Result<String, Wrong> {
    let program = text(value, "a program's name in quotes")?;
    if program.is_empty() || program.contains('/') {
        let message =
            format!("{program:?}: the name of a program's file is wanted, without its directory");
        return Err((value.span(), message));
    }
    Ok(program.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(rules: &[Rule]) -> Vec<String> {
        let written = |rule: &Rule| format!("{}-{} {}", rule.first, rule.last, rule.note);
        rules.iter().map(written).collect()
    }

    #[test]
    fn what_is_not_text_is_shown_at_its_place() {
        assert_eq!(utf8("name = \"shop\"".as_bytes()), Ok("name = \"shop\""));
        let fault = utf8(b"# caf\xc3\xa9\nname = \"caf\xe9\"").unwrap_err();
        assert_eq!(fault.to_string(), "2:12: this is not UTF-8");
    }

    #[test]
    fn everything_that_can_be_said_is_read() {
        let config = read(
            "# the shop\nname = \"shop\"\nisolated = true\nfrom-host = [5432, 0x18eb]\npublish = [80, \"127.0.0.1:3000-3001:3000-3001\"]\nforbid = [\"8000-8010\", 80]\n\n\
             [reserve]\n5432 = \"postgres\"\n\"53-54\" = \"dnsmasq\"\n",
        )
        .unwrap();
        assert_eq!(config.name.as_deref(), Some("shop"));
        assert_eq!(config.isolated, Some(true));
        let published: Vec<_> = config
            .publish
            .iter()
            .map(|wish| wish.inside.get())
            .collect();
        assert_eq!(published, [80, 3000, 3001]);
        let ports: Vec<_> = config.from_host.iter().map(|port| port.get()).collect();
        assert_eq!(ports, [5432, 6379]);
        let policy = config.policy.unwrap();
        assert_eq!(written(&policy.forbidden), ["8000-8010 ", "80-80 "]);
        assert_eq!(
            written(&policy.reserved),
            ["53-54 dnsmasq", "5432-5432 postgres"]
        );
        let reasons = read("[forbid]\n25 = \"mail goes through mailpit\"").unwrap();
        let forbidden = reasons.policy.unwrap().forbidden;
        assert_eq!(written(&forbidden), ["25-25 mail goes through mailpit"]);
        assert_eq!(read("").unwrap().policy, Some(Policy::default()));
    }

    #[test]
    fn what_is_wrong_is_shown_at_its_place() {
        for (text, expected) in [
            (
                "\nfrom_host = [1]",
                "2:1: there is no key \"from_host\"; is \"from-host\" meant?",
            ),
            (
                "nmae = \"x\"",
                "1:1: there is no key \"nmae\"; is \"name\" meant?",
            ),
            (
                "colour = 1",
                "1:1: there is no key \"colour\"; the keys are forbid, from-host, isolated, name, publish, reserve",
            ),
            (
                "name = 3",
                "1:8: a name in quotes is wanted here, not integer",
            ),
            (
                "isolated = 1",
                "1:12: true or false is wanted here, not integer",
            ),
            (
                "from-host = 3",
                "1:13: a list in brackets is wanted here, not integer",
            ),
            (
                "from-host = [1,\n  65536]",
                "2:3: a port is wanted here: a number from 1 to 65535",
            ),
            ("publish = [\"80:\"]", "1:12: \"\" is no port"),
            (
                "from-host = [0]",
                "1:14: a port is wanted here: a number from 1 to 65535",
            ),
        ] {
            let fault = read(text).unwrap_err().to_string();
            assert!(fault.starts_with(expected), "{text:?}: {fault}");
        }
    }

    #[test]
    fn a_wrong_rule_is_shown_at_its_place() {
        for (text, expected) in [
            (
                "forbid = [\"9-1\"]",
                "1:11: \"9-1\": a port or a range is wanted",
            ),
            (
                "forbid = [[80]]",
                "1:11: a port, or a range in quotes, is wanted here, not array",
            ),
            (
                "[forbid]\n80 = 1",
                "2:6: a reason in quotes is wanted here, not integer",
            ),
            (
                "[reserve]\nhttp = \"nginx\"",
                "2:1: \"http\": a port or a range is wanted",
            ),
            (
                "[reserve]\n80 = \"/bin/x\"",
                "2:6: \"/bin/x\": the name of a program's file is wanted",
            ),
            (
                "reserve = [80]",
                "1:11: a table, as in 5432 = \"postgres\" below [reserve], is wanted here",
            ),
            ("name = \"é\" x", "1:12: "),
            ("name = \"a\"\nname = \"b\"", "2:1: duplicate key"),
        ] {
            let fault = read(text).unwrap_err().to_string();
            assert!(fault.starts_with(expected), "{text:?}: {fault}");
        }
        let fault = read("name = \"My Shop\"").unwrap_err().to_string();
        let would = fault.starts_with("1:8: ") && fault.ends_with("\"my-shop\" would be");
        assert!(would, "{fault}");
    }
}
