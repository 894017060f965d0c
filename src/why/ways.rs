//! The ways out: what can be done about a port that is held, with the exact commands.

use std::collections::HashSet;
use std::num::NonZeroU16;

use super::answer::{Verdict, Way};
use super::place::{Entry, Place, Where, is_connection};
use super::proxy::Carried;
use super::{Found, Sight};
use crate::list::cgroup::{Container, Engine};
use crate::list::label::label;
use crate::list::{Hold, Process, Protocol, State};
use crate::place as port;
use crate::place::spelling::Spelled;
use crate::publish::{Publication, suffix};
use crate::shell;
use crate::space::project;
use crate::stop::listeners::is_of;
use crate::survey;

/// No more processes are named in one command.
const ENDED: usize = 6;

/// The ways out of what these places say; none if the port is free and nothing stands in the way.
pub(super) fn ways(asked: &Spelled, found: &Found, places: &[Place]) -> Vec<Way> {
    let mut ways = Vec::new();
    let Some(port) = asked.port.map(NonZeroU16::get) else {
        return ways;
    };
    let concerned = |place: &&Place| place.here || place.place == Where::Machine;
    for place in places.iter().filter(concerned) {
        if place.verdict != Verdict::Free {
            ways.extend(around(place, port, found));
        }
        for entry in &place.holds {
            ways.extend(of_entry(entry, asked, found));
        }
    }
    let containers = found.carried.iter().filter_map(|carried| match carried {
        Carried::Container { name, compose, .. } => Some(stop_docker(name, compose.as_ref())),
        Carried::Rule { .. } => None,
    });
    ways.extend(containers);
    ways.extend(across(port, places));
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
    let mut told = HashSet::new();
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

/// How to do without the port that is held.
fn around(place: &Place, port: u16, found: &Found) -> Vec<Way> {
    let another = || {
        way(
            "have it take another port, one that nobody has",
            "wharf free",
        )
    };
    match (place.place, &found.here) {
        (Where::Machine, None) => vec![
            way(
                &format!("run yours in a space of its own, where {port} is free"),
                "wharf run -- COMMAND",
            ),
            another(),
        ],
        (Where::Space, Some(here)) if place.here => vec![way(
            &format!("run yours in another space, where {port} is free"),
            &format!("wharf run -s {} -- COMMAND", port::beside(here)),
        )],
        _ => Vec::new(),
    }
}

/// From a space to the machine's port, and from the machine to a space's.
fn across(port: u16, places: &[Place]) -> Vec<Way> {
    let inside = survey::space_around().is_some();
    let listener = |place: &Place, protocol: Option<Protocol>| {
        let mut holds = place.holds.iter().map(|entry| &entry.hold);
        let fits = |hold: &&Hold| {
            hold.listens() && protocol.is_none_or(|protocol| hold.protocol == protocol)
        };
        holds.find(fits).cloned()
    };
    let mut ways = Vec::new();
    let here = places.iter().find(|place| place.here);
    let machine = places
        .iter()
        .find(|place| place.place == Where::Machine && !place.here);
    if let (Some(here), Some(machine)) = (here, machine)
        && here.verdict == Verdict::Free
        && listener(machine, Some(Protocol::Tcp)).is_some()
    {
        ways.push(way(
            &format!("let the machine's in: then localhost:{port} leads there from inside"),
            &format!("wharf run --from-host {port} -- COMMAND"),
        ));
    }
    let space = places.iter().find_map(|place| {
        let hold = listener(place, None).filter(|hold| hold.published.is_empty())?;
        // A name of digits alone would be taken for a port.
        let name = place.space.as_ref()?;
        let has_letter = name.bytes().any(|byte| byte.is_ascii_alphabetic());
        has_letter.then(|| format!("{name}:{port}{}", suffix(hold.protocol)))
    });
    if let Some(space) = space.filter(|_| !inside) {
        ways.push(way(
            "offer the space's at an address of the machine",
            &format!("wharf publish {space}"),
        ));
    }
    ways
}

/// What can be done about one hold.
fn of_entry(entry: &Entry, asked: &Spelled, found: &Found) -> Vec<Way> {
    let hold = &entry.hold;
    if let Some(publication) = found.published_at(hold) {
        return of_publication(publication);
    }
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
        let command = format!("sudo wharf why {}", shell::word(&asked.typed));
        ways.push(way("see who it is", &command));
    }
    if let Some(program) = hold.programs.first()
        && !is_daemon(program)
    {
        ways.extend(look(program));
        ways.push(end(hold, program, found.sight));
    }
    ways
}

/// Whether it is wharf's own daemon, which serves others.
fn is_daemon(program: &Process) -> bool {
    let role = program.command.get(1);
    program.program == "wharf" && role.is_some_and(|word| word == "daemon")
}

/// What can be done about a published port.
fn of_publication(publication: &Publication) -> Vec<Way> {
    let Publication {
        space,
        inside,
        place,
        ..
    } = publication;
    let protocol = match place.protocol {
        Protocol::Tcp => "",
        Protocol::Udp => "udp/",
    };
    vec![
        way(
            "see who serves it",
            &format!("wharf why {protocol}{space}:{inside}"),
        ),
        way(
            "publish it no longer",
            &format!("wharf unpublish {}", shell::word(&place.to_string())),
        ),
    ]
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
            (true, _) => format!("systemctl --user stop {}", shell::word(&unit.name)),
            (false, Sight::All) => format!("systemctl stop {}", shell::word(&unit.name)),
            (false, Sight::Own) => format!("sudo systemctl stop {}", shell::word(&unit.name)),
        };
        return way(&format!("end {}", unit.name), &command);
    }
    let who = match hold.programs.len() {
        1 => format!("end {}", label(program)),
        _ => "end everybody who holds it".to_owned(),
    };
    let own = program.uid == rustix::process::geteuid().as_raw() || sight == Sight::All;
    if let Ok(place) = port::Place::of(hold)
        && hold.listens()
        && hold.namespace.is_none()
        && own
    {
        return stop(hold, &who, &place);
    }
    let pids: Vec<_> = hold
        .programs
        .iter()
        .take(ENDED)
        .map(|it| it.pid.to_string())
        .collect();
    let sudo = if own { "" } else { "sudo " };
    way(&who, &format!("{sudo}kill {}", pids.join(" ")))
}

/// How `wharf stop` ends who listens at a place.
fn stop(hold: &Hold, who: &str, place: &port::Place) -> Way {
    let ours = std::env::current_dir().map(|directory| project::root(&directory));
    let is_ours = |program| ours.as_ref().is_ok_and(|ours| is_of(program, ours));
    let place = shell::word(&place.typed());
    match hold.programs.iter().all(is_ours) {
        true => way(who, &format!("wharf stop {place}")),
        false => way(
            &format!("{who}, though not of this project"),
            &format!("wharf stop --force {place}"),
        ),
    }
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
            &format!("podman stop {}", shell::word(name)),
        )),
        Engine::Machine => Some(way(
            &format!("end machine {name}"),
            &format!("machinectl poweroff {}", shell::word(name)),
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
                shell::word(project),
                shell::word(service)
            ),
        ),
        None => way(
            &format!("end container {name}"),
            &format!("docker stop {}", shell::word(name)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
