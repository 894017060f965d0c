//! What a process's control group tells: its systemd unit, and its container.
//!
//! systemd and container engines give each unit and each container a group of its own, whose path has the name in it.
//!
//! To have read: `cgroups(7)`, `systemd.unit(5)`.

use serde::{Deserialize, Serialize};

/// A systemd unit: a service, or a scope that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unit {
    /// Its name, such as `nginx.service`.
    pub(crate) name: String,
    /// Whether a user's own systemd runs it, not the machine's.
    pub(crate) of_user: bool,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Container {
    /// Who runs it.
    pub(crate) engine: Engine,
    /// Its id: 64 hexadecimal digits, or a name where the engine has only that.
    pub(crate) id: String,
    /// What people call it, where the engine tells.
    pub(crate) name: Option<String>,
    /// The Compose project that it is part of.
    pub(crate) project: Option<String>,
    /// Its service in that project.
    pub(crate) service: Option<String>,
}

/// Programs that run containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// Kubernetes, with whatever engine below.
    Kubernetes,
    /// LXC and Incus.
    Lxc,
    /// systemd-nspawn and other machines of systemd.
    Machine,
    /// Something that names groups as containers do.
    Other,
}

impl Engine {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Kubernetes => "kubernetes",
            Self::Lxc => "lxc",
            Self::Machine => "machine",
            Self::Other => "container",
        }
    }
}

/// What a control group tells of a process.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) unit: Option<Unit>,
    pub(super) container: Option<Container>,
}

/// The place that `/proc/PID/cgroup` tells: lines of `NUMBER:CONTROLLERS:PATH`.
pub(super) fn place(text: &str) -> Place {
    let paths = || text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    Place {
        unit: paths().find_map(unit),
        container: paths().find_map(container),
    }
}

/// The innermost unit of a group's path. Sessions and the users' managers are not what anybody would call a unit.
pub(super) fn unit(path: &str) -> Option<Unit> {
    let parts: Vec<_> = path.split('/').collect();
    let is_unit = |part: &&&str| {
        let named = part.ends_with(".service") || part.ends_with(".scope");
        let session = part.starts_with("session-") || part.starts_with("user@");
        named && !session && **part != "init.scope"
    };
    let name = parts.iter().rev().find(is_unit)?;
    Some(Unit {
        name: (*name).to_owned(),
        of_user: parts.iter().any(|part| part.starts_with("user@")),
    })
}

/// The innermost container of a group's path.
fn container(path: &str) -> Option<Container> {
    let parts: Vec<_> = path.split('/').collect();
    (0..parts.len()).rev().find_map(|at| {
        let above = &parts[..at];
        named(parts[at], above).map(|(engine, id)| Container {
            engine,
            id: id.to_owned(),
            name: None,
            project: None,
            service: None,
        })
    })
}

/// Whether a part of a path is a container's, below these.
fn named<'a>(part: &'a str, above: &[&str]) -> Option<(Engine, &'a str)> {
    let in_pod = above.iter().any(|part| part.starts_with("kubepods"));
    let scope = part.strip_suffix(".scope").unwrap_or(part);
    let (prefix, id) = match scope.rsplit_once('-') {
        Some((prefix, id)) if is_id(id) => (prefix, id),
        _ if is_id(scope) => (*above.last()?, scope),
        _ => return by_name(scope, above),
    };
    let engine = match prefix {
        _ if in_pod => Engine::Kubernetes,
        "docker" => Engine::Docker,
        "libpod" | "libpod_parent" => Engine::Podman,
        // The group of Podman's monitor, not of the container.
        "libpod-conmon" => return None,
        "crio" | "cri-containerd" => Engine::Kubernetes,
        _ => Engine::Other,
    };
    Some((engine, id))
}

/// Containers that have a name and no id.
fn by_name<'a>(scope: &'a str, above: &[&str]) -> Option<(Engine, &'a str)> {
    if let Some(name) = scope.strip_prefix("lxc.payload.") {
        return Some((Engine::Lxc, name));
    }
    match above.last().copied() {
        Some("lxc") => Some((Engine::Lxc, scope)),
        Some("machine.slice") => {
            let name = scope.strip_prefix("machine-").unwrap_or(scope);
            Some((
                Engine::Machine,
                name.strip_suffix(".service").unwrap_or(name),
            ))
        }
        _ => None,
    }
}

/// Whether this is a container's full id.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f1d0c3b2a49586776859403a1b2c3d4e5f60718293a4b5c6d7e8f9001122334";

    type Told = (Option<(String, bool)>, Option<(Engine, String)>);

    fn told(text: &str) -> Told {
        let place = place(&text.replace("ID", ID));
        (
            place.unit.map(|unit| (unit.name, unit.of_user)),
            place.container.map(|it| (it.engine, it.id)),
        )
    }

    #[test]
    fn units_are_told_apart_from_sessions() {
        let unit = |path: &str| told(&format!("0::{path}\n")).0;
        let named = |name: &str, of_user| Some((name.to_owned(), of_user));
        assert_eq!(
            unit("/system.slice/ssh.service"),
            named("ssh.service", false)
        );
        assert_eq!(
            unit("/user.slice/user-1000.slice/user@1000.service/app.slice/web.service"),
            named("web.service", true)
        );
        assert_eq!(unit("/user.slice/user-1000.slice/session-3.scope"), None);
        assert_eq!(unit("/init.scope"), None);
        assert_eq!(unit("/"), None);
        let old = "9:name=systemd:/system.slice/cron.service\n8:pids:/\n0::/\n";
        assert_eq!(told(old).0, named("cron.service", false));
    }

    #[test]
    fn containers_are_told_with_their_engine() {
        let cases = [
            ("0::/docker/ID", Engine::Docker),
            ("4:memory:/docker/ID\n0::/", Engine::Docker),
            ("0::/system.slice/docker-ID.scope", Engine::Docker),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
                Engine::Podman,
            ),
            ("0::/libpod_parent/ID", Engine::Podman),
            (
                "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-ID.scope",
                Engine::Kubernetes,
            ),
            ("0::/kubepods/besteffort/pod1/ID", Engine::Kubernetes),
            ("0::/somewhere/ID", Engine::Other),
        ];
        for (text, engine) in cases {
            assert_eq!(told(text).1, Some((engine, ID.to_owned())), "{text}");
        }
        assert_eq!(
            told("0::/lxc.payload.web/system.slice/nginx.service").1,
            Some((Engine::Lxc, "web".to_owned()))
        );
        assert_eq!(
            told("0::/machine.slice/systemd-nspawn@web.service").1,
            Some((Engine::Machine, "systemd-nspawn@web".to_owned()))
        );
        for none in [
            "0::/",
            "0::/libpod-conmon-ID.scope",
            "0::/docker",
            "0::/user.slice",
            "",
        ] {
            assert_eq!(told(none).1, None, "{none}");
        }
    }
}
