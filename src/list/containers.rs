//! What people call a container: its name, and the Compose project and service that it is.
//!
//! The control group has only its id. Docker and Podman are asked for the rest over their socket, if the user may talk
//! to that, and not for longer than a moment.

use std::collections::HashMap;
use std::env;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use wharf_port::Protocol;

use super::cgroup::{Container, Engine};
use super::hold::Hold;

/// How long an engine may think about its answer. It takes a few milliseconds, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(1);

/// No description of a container is longer.
const ANSWER_BYTES: u64 = 1 << 20;

/// Labels of Compose, which Podman's has as well.
const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";

/// Names the containers of these holds' programs.
pub(crate) fn name(holds: &mut [Hold]) {
    let mut known: HashMap<String, Option<Description>> = HashMap::new();
    let programs = holds.iter_mut().flat_map(|hold| &mut hold.programs);
    let backgrounds = programs.filter_map(|program| program.background.as_mut());
    for container in backgrounds.filter_map(|background| background.container.as_mut()) {
        let described = known
            .entry(container.id.clone())
            .or_insert_with(|| describe(container));
        if let Some(description) = described {
            description.clone().fill(container);
        }
    }
}

/// What an engine says of a container.
#[derive(Debug, Clone, Deserialize)]
struct Description {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Config")]
    config: Config,
}

#[derive(Debug, Clone, Deserialize)]
struct Config {
    #[serde(rename = "Labels")]
    labels: Option<HashMap<String, String>>,
}

impl Description {
    fn fill(self, container: &mut Container) {
        let mut labels = self.config.labels.unwrap_or_default();
        container.name = Some(self.name.trim_start_matches('/').to_owned());
        container.project = labels.remove(PROJECT);
        container.service = labels.remove(SERVICE);
    }
}

/// A container that has a port of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    /// What people call it.
    pub(crate) name: String,
    /// The port inside.
    pub(crate) port: u16,
    /// Compose's project and service.
    pub(crate) compose: Option<(String, String)>,
}

/// The containers that Docker publishes at this port of the machine, if this user may ask it.
pub(crate) fn published(port: NonZeroU16, protocol: Option<Protocol>) -> Vec<Published> {
    let listed: Option<Vec<Listed>> = ask(&docker(), "/containers/json");
    let listed = listed.unwrap_or_default();
    listed
        .into_iter()
        .filter_map(|container| container.publishes(port, protocol))
        .collect()
}

/// One of Docker's running containers.
#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(rename = "Names")]
    names: Vec<String>,
    #[serde(rename = "Labels")]
    labels: Option<HashMap<String, String>>,
    #[serde(rename = "Ports", default)]
    ports: Vec<Mapping>,
}

#[derive(Debug, Deserialize)]
struct Mapping {
    #[serde(rename = "PrivatePort")]
    inside: u16,
    #[serde(rename = "PublicPort")]
    outside: Option<u16>,
    #[serde(rename = "Type")]
    protocol: String,
}

impl Listed {
    fn publishes(self, port: NonZeroU16, protocol: Option<Protocol>) -> Option<Published> {
        let is_it = |mapping: &&Mapping| {
            mapping.outside == Some(port.get())
                && protocol.is_none_or(|only| only.name() == mapping.protocol)
        };
        let inside = self.ports.iter().find(is_it)?.inside;
        let mut labels = self.labels.unwrap_or_default();
        Some(Published {
            name: self.names.first()?.trim_start_matches('/').to_owned(),
            port: inside,
            compose: labels.remove(PROJECT).zip(labels.remove(SERVICE)),
        })
    }
}

fn describe(container: &Container) -> Option<Description> {
    let socket = match container.engine {
        Engine::Docker => docker(),
        Engine::Podman => podman(),
        _ => return None,
    };
    ask(&socket, &format!("/containers/{}/json", container.id))
}

/// Where Docker listens: what `DOCKER_HOST` says, else the usual place.
fn docker() -> PathBuf {
    let named = env::var("DOCKER_HOST").ok();
    let path = named
        .as_deref()
        .and_then(|host| host.strip_prefix("unix://"));
    PathBuf::from(path.unwrap_or("/var/run/docker.sock"))
}

/// Where the user's Podman listens, if it does; root's is at the machine's place.
fn podman() -> PathBuf {
    let runtime = match rustix::process::geteuid().as_raw() {
        0 => PathBuf::from("/run"),
        uid => PathBuf::from(format!("/run/user/{uid}")),
    };
    runtime.join("podman/podman.sock")
}

/// Asks an engine. HTTP/1.0, so that the answer ends where the connection does and has no chunks.
fn ask<T: DeserializeOwned>(socket: &Path, path: &str) -> Option<T> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer).ok()?;
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    serde_json::from_slice(&answer[body..]).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    const ANSWER: &str = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n\
        {\"Name\":\"/shop-db-1\",\"Config\":{\"Labels\":{\
        \"com.docker.compose.project\":\"shop\",\"com.docker.compose.service\":\"db\"}}}";

    #[test]
    fn an_engine_names_a_container() {
        let top = tempfile::tempdir().unwrap();
        let socket = top.path().join("s");
        let engine = UnixListener::bind(&socket).unwrap();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = engine.accept().unwrap();
            let mut asked = [0; 64];
            let length = stream.read(&mut asked).unwrap();
            stream.write_all(ANSWER.as_bytes()).unwrap();
            String::from_utf8_lossy(&asked[..length]).into_owned()
        });
        let mut container = Container {
            engine: Engine::Docker,
            id: "abc".to_owned(),
            name: None,
            project: None,
            service: None,
        };
        let described: Description = ask(&socket, "/containers/abc/json").unwrap();
        described.fill(&mut container);
        assert!(
            served
                .join()
                .unwrap()
                .starts_with("GET /containers/abc/json HTTP/1.0\r\n")
        );
        assert_eq!(container.name.as_deref(), Some("shop-db-1"));
        assert_eq!(container.project.as_deref(), Some("shop"));
        assert_eq!(container.service.as_deref(), Some("db"));
    }

    #[test]
    fn a_published_port_has_its_container() {
        let listed = || -> Listed {
            serde_json::from_str(
                r#"{"Names":["/shop-web-1"],"Labels":{"com.docker.compose.project":"shop",
                "com.docker.compose.service":"web"},"Ports":[{"PrivatePort":53,"Type":"udp"},
                {"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}]}"#,
            )
            .unwrap()
        };
        let published =
            |port, protocol| listed().publishes(NonZeroU16::new(port).unwrap(), protocol);
        let found = published(8080, None).unwrap();
        assert_eq!((found.name.as_str(), found.port), ("shop-web-1", 80));
        assert_eq!(found.compose, Some(("shop".to_owned(), "web".to_owned())));
        assert_eq!(published(8080, Some(Protocol::Tcp)), Some(found));
        assert_eq!(published(8080, Some(Protocol::Udp)), None);
        assert_eq!(published(80, None), None);
    }

    #[test]
    fn an_engine_that_isn_t_there_or_answers_nonsense_says_nothing() {
        let top = tempfile::tempdir().unwrap();
        let socket = top.path().join("s");
        assert!(ask::<Description>(&socket, "/x").is_none());
        let engine = UnixListener::bind(&socket).unwrap();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = engine.accept().unwrap();
            let mut asked = [0; 64];
            let _length = stream.read(&mut asked).unwrap();
            stream
                .write_all(b"HTTP/1.0 404 Not Found\r\n\r\n{\"message\":\"no\"}")
                .unwrap();
        });
        assert!(ask::<Description>(&socket, "/x").is_none());
        served.join().unwrap();
    }
}
