//! The ways out: what can be done about a port that is held, with the exact commands.

use super::answer::{Verdict, Way};
use super::place::{Entry, Place, Where, is_connection};
use super::proxy::Carried;
use super::question::{Asked, Host};
use super::{Found, Sight};
use crate::list::cgroup::{Container, Engine};
use crate::list::label::label;
use crate::list::{Hold, Process, State};

/// No more processes are named in one command.
const ENDED: usize = 6;

/// The ways out of what these places say; none if the port is free and nothing stands in the way.
pub(super) fn ways(asked: &Asked, found: &Found, places: &[Place]) -> Vec<Way> {
    let mut ways = Vec::new();
    let Some(port) = asked.port.map(std::num::NonZeroU16::get) else {
        return ways;
    };
    for place in places
        .iter()
        .filter(|it| it.here || it.place == Where::Machine)
    {
        if place.verdict != Verdict::Free {
            ways.extend(around(place, port, found));
        }
        let is_daemon = names(place) && matches!(asked.host, Host::Any | Host::Localhost);
        if !is_daemon {
            for entry in &place.holds {
                ways.extend(of_entry(entry, asked, found));
            }
        }
    }
    let containers = found.carried.iter().filter_map(|carried| match carried {
        Carried::Container { name, compose, .. } => Some(stop_docker(name, compose.as_ref())),
        Carried::Rule { .. } => None,
    });
    ways.extend(containers);
    if found.here.is_none() && found.rules.is_system(port) && !found.rules.privileged {
        ways.push(way(
            "run it where everybody may have the port",
            "wharf run -- COMMAND",
        ));
        let command = format!("sudo sysctl -w net.ipv4.ip_unprivileged_port_start={port}");
        ways.push(way(
            "let everybody have it on the machine, from this port up",
            &command,
        ));
    }
    let mut told = std::collections::HashSet::new();
    ways.retain(|way| {
        told.insert((
            way.command.clone(),
            way.command.is_none().then(|| way.text.clone()),
        ))
    });
    ways
}

fn way(text: &str, command: &str) -> Way {
    Way {
        text: text.to_owned(),
        command: Some(command.to_owned()),
    }
}

/// Whether what listens there is wharf's own front.
fn names(place: &Place) -> bool {
    place.holds.iter().any(|entry| {
        let program = entry.hold.programs.first();
        program.is_some_and(|it| {
            it.command.get(1).is_some_and(|word| word == "daemon") && it.program == "wharf"
        })
    })
}

/// How to do without the port that is held.
fn around(place: &Place, port: u16, found: &Found) -> Option<Way> {
    match (place.place, &found.here) {
        (Where::Machine, None) => Some(way(
            &format!("run yours in a space of its own, where {port} is free"),
            "wharf run -- COMMAND",
        )),
        (Where::Space, Some(_)) if place.here => Some(way(
            &format!("run yours in another space, where {port} is free"),
            "wharf run -s OTHER -- COMMAND",
        )),
        _ => None,
    }
}

/// What can be done about one hold.
fn of_entry(entry: &Entry, asked: &Asked, found: &Found) -> Vec<Way> {
    let hold = &entry.hold;
    let mut ways = Vec::new();
    match hold.state {
        State::TimeWait => ways.push(Way {
            text: "wait until the kernel lets go of it, or have the server set SO_REUSEADDR"
                .to_owned(),
            command: None,
        }),
        _ if is_connection(hold)
            && found.rules.may_be_chosen(hold.port.get())
            && hold.space.is_none() =>
        {
            ways.push(way(
                "keep the kernel from choosing it for connections",
                &format!(
                    "sudo sysctl -w net.ipv4.ip_local_reserved_ports={}",
                    hold.port
                ),
            ));
        }
        _ => {}
    }
    if hold.is_hidden() && found.sight == Sight::Own {
        let command = format!("sudo wharf why {}", shell_word(&asked.typed));
        ways.push(way("see who it is", &command));
    }
    if let Some(program) = hold.programs.first() {
        ways.extend(look(program));
        ways.push(end(hold, program, found.sight));
    }
    ways
}

/// Where it can be looked at.
fn look(program: &Process) -> Option<Way> {
    let pane = program.background.as_ref()?.tmux_pane.as_ref()?;
    if std::env::var("TMUX_PANE").ok().as_ref() == Some(pane) {
        return None;
    }
    let command = format!("tmux switch-client -t '{pane}' \\; select-pane -t '{pane}'");
    Some(way("look at it in its tmux pane", &command))
}

/// How it is ended, by whoever runs it.
fn end(hold: &Hold, program: &Process, sight: Sight) -> Way {
    let background = program.background.as_ref();
    if let Some(container) = background.and_then(|it| it.container.as_ref())
        && let Some(way) = stop_container(container)
    {
        return way;
    }
    let unit = background.and_then(|it| it.unit.as_ref());
    if let Some(unit) = unit.filter(|unit| unit.name.ends_with(".service") && hold.space.is_none())
    {
        let command = match (unit.of_user, sight) {
            (true, _) => format!("systemctl --user stop {}", shell_word(&unit.name)),
            (false, Sight::All) => format!("systemctl stop {}", shell_word(&unit.name)),
            (false, Sight::Own) => format!("sudo systemctl stop {}", shell_word(&unit.name)),
        };
        return way(&format!("end {}", unit.name), &command);
    }
    let pids: Vec<_> = hold
        .programs
        .iter()
        .take(ENDED)
        .map(|it| it.pid.to_string())
        .collect();
    let own = program.uid == rustix::process::geteuid().as_raw() || sight == Sight::All;
    let sudo = if own { "" } else { "sudo " };
    let who = match hold.programs.len() {
        1 => format!("end {}", label(program)),
        _ => "end everybody who holds it".to_owned(),
    };
    way(&who, &format!("{sudo}kill {}", pids.join(" ")))
}

/// How a container is ended; `None` if its engine has no command for that here.
fn stop_container(container: &Container) -> Option<Way> {
    let short = container.id.get(..12).unwrap_or(&container.id);
    let name = container.name.as_deref().unwrap_or(short);
    let compose = container.project.clone().zip(container.service.clone());
    match container.engine {
        Engine::Docker => Some(stop_docker(name, compose.as_ref())),
        Engine::Podman => Some(way(
            &format!("end container {name}"),
            &format!("podman stop {}", shell_word(name)),
        )),
        Engine::Machine => Some(way(
            &format!("end machine {name}"),
            &format!("machinectl poweroff {}", shell_word(name)),
        )),
        Engine::Kubernetes | Engine::Lxc | Engine::Other => None,
    }
}

fn stop_docker(name: &str, compose: Option<&(String, String)>) -> Way {
    match compose {
        Some((project, service)) => way(
            &format!("end service {service} of Compose project {project}"),
            &format!(
                "docker compose -p {} stop {}",
                shell_word(project),
                shell_word(service)
            ),
        ),
        None => way(
            &format!("end container {name}"),
            &format!("docker stop {}", shell_word(name)),
        ),
    }
}

/// A word as a shell reads it.
fn shell_word(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/.:_-@%+=".contains(letter);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_shell_as_they_are() {
        assert_eq!(shell_word("tcp/127.0.0.1:3000"), "tcp/127.0.0.1:3000");
        assert_eq!(shell_word("[::1]:80"), "'[::1]:80'");
        assert_eq!(shell_word("a'b; rm"), "'a'\\''b; rm'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn containers_are_ended_by_who_runs_them() {
        let mut container = Container {
            engine: Engine::Docker,
            id: "0123456789abcdef".repeat(4),
            name: None,
            project: None,
            service: None,
        };
        let command = |container: &Container| stop_container(container).and_then(|way| way.command);
        assert_eq!(
            command(&container).as_deref(),
            Some("docker stop 0123456789ab")
        );
        container.name = Some("shop-db-1".to_owned());
        container.project = Some("shop".to_owned());
        container.service = Some("db".to_owned());
        assert_eq!(
            command(&container).as_deref(),
            Some("docker compose -p shop stop db")
        );
        container.engine = Engine::Podman;
        assert_eq!(
            command(&container).as_deref(),
            Some("podman stop shop-db-1")
        );
        container.engine = Engine::Other;
        assert_eq!(command(&container), None);
    }
}
