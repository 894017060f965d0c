//! What the page has the daemon do: each is what a command of the same name asks, and is answered with the same JSON.

use std::net::IpAddr;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::list::render::SCHEMA;
use crate::protocol::{Ask, Reach, Reply, Target};
use crate::publish::wish::{self, Named, Wishes};

/// The longest request, in bytes.
pub(crate) const LONGEST: usize = 4096;

/// What the page may have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errand {
    Publish,
    Unpublish,
    Focus,
    Stop,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    space: String,
    /// As `wharf publish` takes them.
    ports: String,
    at: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unpublish {
    space: String,
    /// As `wharf unpublish` takes it.
    port: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Focus {
    space: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stop {
    space: String,
}

impl Errand {
    /// The errand that a path names.
    pub(crate) fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/publish" => Self::Publish,
            "/unpublish" => Self::Unpublish,
            "/focus" => Self::Focus,
            "/stop" => Self::Stop,
            _ => return None,
        })
    }

    /// What it asks of the daemon.
    ///
    /// # Errors
    /// With exit status 2 if the request can't be understood.
    pub(crate) fn ask(self, body: &[u8]) -> Result<Ask, Failure> {
        Ok(match self {
            Self::Publish => {
                let Publish { space, ports, at } = read(body)?;
                let Wishes(mut wishes) = ports.parse().map_err(Failure::usage)?;
                let at: Option<IpAddr> = at
                    .as_deref()
                    .map(wish::address_alone)
                    .transpose()
                    .map_err(Failure::usage)?;
                if at.is_some() {
                    wishes.iter_mut().for_each(|wish| wish.at = at);
                }
                Ask::Reach(Reach::Publish {
                    target: Target::Name(space),
                    wishes,
                    waits: false,
                })
            }
            Self::Unpublish => {
                let Unpublish { space, port } = read(body)?;
                let named: Named = port.parse().map_err(Failure::usage)?;
                Ask::Reach(Reach::Unpublish {
                    target: Target::Name(space),
                    named: Some(named),
                })
            }
            Self::Focus => Ask::Reach(Reach::Focus(read::<Focus>(body)?.space)),
            Self::Stop => Ask::Stop(Target::Name(read::<Stop>(body)?.space)),
        })
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::usage(format!("the request can't be understood: {error}")))
}

/// The answer, as the command prints it.
pub(crate) fn answer(reply: Reply) -> Value {
    match reply {
        Reply::Published(published) => json!({ "schema": SCHEMA, "published": published }),
        Reply::Focus(focus) => json!({ "schema": SCHEMA, "focus": focus }),
        Reply::Stopped(stopped) => json!({ "schema": SCHEMA, "stopped": stopped }),
        // No errand has another answer.
        _ => json!({ "schema": SCHEMA }),
    }
}

/// What is said instead of an answer: the command's message, and its exit status.
pub(crate) fn refusal(message: &str, status: u8) -> Value {
    json!({ "schema": SCHEMA, "error": message, "status": status })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(errand: Errand, body: &str) -> String {
        match errand.ask(body.as_bytes()) {
            Ok(ask) => serde_json::to_string(&ask).unwrap(),
            Err(failure) => format!("{}: {}", failure.status, failure.message),
        }
    }

    #[test]
    fn errands_are_what_commands_ask() {
        assert_eq!(
            asked(Errand::Stop, r#"{"space":"shop"}"#),
            r#"{"Stop":{"Name":"shop"}}"#
        );
        assert_eq!(
            asked(Errand::Focus, r#"{"space":null}"#),
            r#"{"Reach":{"Focus":null}}"#
        );
        assert_eq!(
            asked(
                Errand::Publish,
                r#"{"space":"shop","ports":"8080:80","at":"localhost"}"#
            ),
            r#"{"Reach":{"Publish":{"target":{"Name":"shop"},"wishes":[{"at":"127.0.0.1","outside":{"Exactly":8080},"inside":80,"protocol":"tcp"}],"waits":false}}}"#
        );
        assert_eq!(
            asked(
                Errand::Unpublish,
                r#"{"space":"shop","port":"127.0.0.1:8080"}"#
            ),
            r#"{"Reach":{"Unpublish":{"target":{"Name":"shop"},"named":{"at":"127.0.0.1","port":8080,"protocol":"tcp"}}}}"#
        );
    }

    #[test]
    fn what_is_not_understood_says_why() {
        for (errand, body, part) in [
            (Errand::Stop, "", "can't be understood"),
            (Errand::Stop, "{}", "space"),
            (Errand::Stop, r#"{"space":"shop","all":true}"#, "all"),
            (
                Errand::Publish,
                r#"{"space":"shop","ports":"0"}"#,
                "no port",
            ),
            (
                Errand::Publish,
                r#"{"space":"shop","ports":"80","at":"example.com"}"#,
                "no address",
            ),
            (
                Errand::Unpublish,
                r#"{"space":"shop","port":"80-90"}"#,
                "not one published port",
            ),
        ] {
            let said = asked(errand, body);
            assert!(said.starts_with("2: ") && said.contains(part), "{said}");
        }
    }
}
