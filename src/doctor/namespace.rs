//! Whether this user may make a space, and if not, who forbids it.
//!
//! A space is a user and a network namespace. Linux lets everybody make them,
//! but there are five places where that may have been switched off, and the
//! kernel's answer (`EPERM`, `ENOSPC`) doesn't say which.
//!
//! To have read: `user_namespaces(7)`, `unshare(2)`.

use std::fmt;

use rustix::io::Errno;

use super::machine::{Machine, set_sysctl};
use super::{Check, apparmor};

/// What is done to make a space, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamespaceStep {
    /// `unshare(CLONE_NEWUSER | CLONE_NEWNET)`.
    Unshare,
    /// Writing `/proc/self/uid_map`.
    UidMap,
    /// Writing `deny` to `/proc/self/setgroups`.
    Setgroups,
    /// Writing `/proc/self/gid_map`.
    GidMap,
}

impl NamespaceStep {
    /// All steps, in their order.
    pub(super) const ALL: [Self; 4] = [Self::Unshare, Self::UidMap, Self::Setgroups, Self::GidMap];
}

impl fmt::Display for NamespaceStep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unshare => "unshare(CLONE_NEWUSER | CLONE_NEWNET)",
            Self::UidMap => "writing /proc/self/uid_map",
            Self::Setgroups => "writing /proc/self/setgroups",
            Self::GidMap => "writing /proc/self/gid_map",
        })
    }
}

/// Why a space can't be made, and what to do about it. Shows as both, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{finding}\n{remedy}")]
pub(crate) struct Explanation {
    /// What stands in the way.
    pub(crate) finding: String,
    /// What to do; lines of their own are commands.
    pub(crate) remedy: String,
}

impl Explanation {
    fn new(finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            finding: finding.into(),
            remedy: remedy.into(),
        }
    }
}

/// The check, given how the attempt in a child process went.
pub(super) fn check(machine: &Machine, attempt: Result<(), (NamespaceStep, Errno)>) -> Check {
    const NAME: &str = "user namespaces";
    match attempt {
        Ok(()) => Check::ok(NAME, "can be made"),
        Err((step, errno)) => {
            let Explanation { finding, remedy } = explain(machine, errno, step);
            Check::fail(NAME, finding, remedy)
        }
    }
}

/// Explains the failure of a step with this error, from the machine's settings.
pub(crate) fn explain(machine: &Machine, errno: Errno, step: NamespaceStep) -> Explanation {
    let causes = [limits, debian, container, ubuntu, missing, nesting];
    let explained = causes.iter().find_map(|cause| cause(machine, errno, step));
    explained.unwrap_or_else(|| {
        Explanation::new(
            format!("forbidden: {step} fails: {errno}"),
            "None of the usual settings forbids it. Look for a security module (SELinux: \
             sudo ausearch -m avc -ts recent), a chroot, or a sandbox around this shell.",
        )
    })
}

/// `ENOSPC`: there may be only so many namespaces, often 0.
fn limits(machine: &Machine, errno: Errno, _: NamespaceStep) -> Option<Explanation> {
    let names = ["user.max_user_namespaces", "user.max_net_namespaces"];
    let zero = names
        .iter()
        .find(|name| machine.sysctl(name).as_deref() == Some("0"));
    if let Some(name) = zero {
        return Some(Explanation::new(
            format!("forbidden: {name} is 0"),
            set_sysctl(name, "65536"),
        ));
    }
    if errno != Errno::NOSPC {
        return None;
    }
    let [user, net] = names.map(|name| machine.sysctl(name).unwrap_or_else(|| "?".to_owned()));
    Some(Explanation::new(
        format!(
            "as many as allowed are in use: {} is {user}, {} is {net}",
            names[0], names[1]
        ),
        format!(
            "End what holds them (lsns -t user), or allow more:\n\
             sudo sysctl -w {}=262144 {}=262144",
            names[0], names[1]
        ),
    ))
}

/// Debian's own switch; it doesn't concern root.
fn debian(machine: &Machine, errno: Errno, _: NamespaceStep) -> Option<Explanation> {
    const NAME: &str = "kernel.unprivileged_userns_clone";
    if !forbidden(errno) || machine.uid == 0 || machine.sysctl(NAME)? != "0" {
        return None;
    }
    Some(Explanation::new(
        format!("forbidden: {NAME} is 0"),
        set_sysctl(NAME, "1"),
    ))
}

/// A container's seccomp filter, which refuses `unshare` itself.
fn container(machine: &Machine, errno: Errno, step: NamespaceStep) -> Option<Explanation> {
    let refused = forbidden(errno) || errno == Errno::NOSYS;
    let contained = machine.is_container() && machine.is_filtered();
    if !refused || step != NamespaceStep::Unshare || !contained {
        return None;
    }
    Some(Explanation::new(
        "forbidden by the seccomp profile of this container",
        "Start the container with another profile:\n\
         docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined …\n\
         (podman takes the same; in Kubernetes: securityContext: \
         {seccompProfile: {type: Unconfined}, appArmorProfile: {type: Unconfined}})",
    ))
}

/// Ubuntu's switch, which leaves namespaces to programs with an AppArmor profile.
fn ubuntu(machine: &Machine, errno: Errno, _: NamespaceStep) -> Option<Explanation> {
    const NAME: &str = "kernel.apparmor_restrict_unprivileged_userns";
    if !forbidden(errno) || machine.uid == 0 || machine.sysctl(NAME)? != "1" {
        return None;
    }
    Some(Explanation::new(
        format!("forbidden by AppArmor: {NAME} is 1 and wharf has no profile"),
        format!(
            "Install wharf's profile, once:\n{}",
            apparmor::install(&machine.binary)
        ),
    ))
}

/// A kernel without user namespaces.
fn missing(machine: &Machine, errno: Errno, step: NamespaceStep) -> Option<Explanation> {
    let known = machine.path("/proc/self/ns/user").exists();
    if step != NamespaceStep::Unshare || known || ![Errno::INVAL, Errno::NOSYS].contains(&errno) {
        return None;
    }
    Some(Explanation::new(
        "this kernel is built without user namespaces",
        "Start a kernel that has them (CONFIG_USER_NS=y and CONFIG_NET_NS=y), as those of all \
         large distributions do.",
    ))
}

/// `EUSERS`: namespaces nest 32 deep.
fn nesting(_: &Machine, errno: Errno, _: NamespaceStep) -> Option<Explanation> {
    if errno != Errno::USERS {
        return None;
    }
    Some(Explanation::new(
        "this shell is already 32 user namespaces deep, and Linux allows no more",
        "Leave some of the shells or containers that this one was started in.",
    ))
}

/// Whether the error says "you may not" rather than "it can't be".
fn forbidden(errno: Errno) -> bool {
    [Errno::PERM, Errno::ACCESS].contains(&errno)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::super::machine::fake;
    use super::*;

    const USER: &str = "/proc/sys/user/max_user_namespaces";
    const NET: &str = "/proc/sys/user/max_net_namespaces";
    const DEBIAN: &str = "/proc/sys/kernel/unprivileged_userns_clone";
    const UBUNTU: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    const STATUS: &str = "/proc/self/status";
    const FILTERED: (&str, &str) = (STATUS, "Name:\tsh\nSeccomp:\t2\nSeccomp_filters:\t1\n");
    const KNOWN: (&str, &str) = ("/proc/self/ns/user", "");
    const OPEN: [(&str, &str); 3] = [(USER, "63000\n"), (NET, "63000\n"), KNOWN];

    /// What is said on a machine with these files, all else being open.
    fn explained(files: &[(&str, &str)], errno: Errno, step: NamespaceStep) -> Explanation {
        let (_root, machine) = fake(&[&OPEN[..], files].concat());
        explain(&machine, errno, step)
    }

    use NamespaceStep::{UidMap, Unshare};

    /// Expects these words in the finding and in the remedy.
    fn says(
        files: &[(&str, &str)],
        (errno, step): (Errno, NamespaceStep),
        finding: &str,
        remedy: &str,
    ) {
        let explanation = explained(files, errno, step);
        assert!(
            explanation.finding.contains(finding),
            "{files:?}: {explanation}"
        );
        assert!(
            explanation.remedy.contains(remedy),
            "{files:?}: {explanation}"
        );
    }

    #[test]
    fn a_limit_is_raised() {
        let full = (Errno::NOSPC, Unshare);
        for (path, name) in [
            (USER, "user.max_user_namespaces"),
            (NET, "user.max_net_namespaces"),
        ] {
            says(
                &[(path, "0\n")],
                full,
                &format!("{name} is 0"),
                &format!("{name} = 65536"),
            );
        }
        says(
            &[],
            full,
            "user.max_user_namespaces is 63000",
            "lsns -t user",
        );
        says(
            &[],
            (Errno::USERS, Unshare),
            "32 user namespaces deep",
            "Leave",
        );
    }

    #[test]
    fn debian_s_switch_is_turned() {
        const NAME: &str = "kernel.unprivileged_userns_clone";
        let refused = (Errno::PERM, Unshare);
        says(
            &[(DEBIAN, "0\n")],
            refused,
            &format!("{NAME} is 0"),
            &format!("{NAME} = 1"),
        );
    }

    #[test]
    fn ubuntu_s_switch_is_left_on_and_the_profile_installed() {
        let files = [(UBUNTU, "1\n")];
        let print = "/home/ada/bin/wharf doctor --apparmor | sudo tee /etc/apparmor.d/wharf";
        says(
            &files,
            (Errno::PERM, UidMap),
            "forbidden by AppArmor",
            print,
        );
        let load = "sudo apparmor_parser -r /etc/apparmor.d/wharf";
        says(
            &files,
            (Errno::ACCESS, Unshare),
            "forbidden by AppArmor",
            load,
        );
    }

    #[test]
    fn a_container_is_started_with_another_profile() {
        let remedy = "--security-opt seccomp=unconfined";
        let docker = [FILTERED, ("/.dockerenv", "")];
        says(&docker, (Errno::PERM, Unshare), "container", remedy);
        let podman = [FILTERED, ("/run/.containerenv", "")];
        says(&podman, (Errno::NOSYS, Unshare), "container", remedy);
    }

    #[test]
    fn an_unknown_cause_names_the_step_and_where_to_look() {
        let open = [(DEBIAN, "1\n"), (UBUNTU, "0\n")];
        let unshare = "unshare(CLONE_NEWUSER | CLONE_NEWNET) fails";
        says(&open, (Errno::PERM, Unshare), unshare, "SELinux");
        let map = "writing /proc/self/uid_map fails";
        says(&[FILTERED], (Errno::PERM, UidMap), map, "sandbox");
    }

    #[test]
    fn a_container_on_ubuntu_is_told_apart_by_the_step() {
        let files = [FILTERED, ("/.dockerenv", ""), (UBUNTU, "1\n")];
        assert!(
            explained(&files, Errno::PERM, Unshare)
                .finding
                .contains("container")
        );
        assert!(
            explained(&files, Errno::PERM, UidMap)
                .finding
                .contains("AppArmor")
        );
    }

    #[test]
    fn a_kernel_without_user_namespaces_is_recognised() {
        for errno in [Errno::INVAL, Errno::NOSYS] {
            let (_root, machine) = fake(&[]);
            let explanation = explain(&machine, errno, Unshare);
            assert!(
                explanation.finding.contains("built without"),
                "{explanation}"
            );
        }
        let explanation = explained(&[], Errno::INVAL, Unshare);
        assert!(
            !explanation.finding.contains("built without"),
            "{explanation}"
        );
    }

    #[test]
    fn switches_for_ordinary_users_are_not_blamed_for_root_s_failure() {
        let (_root, mut machine) = fake(&[(DEBIAN, "0"), (UBUNTU, "1"), KNOWN]);
        machine.uid = 0;
        let explanation = explain(&machine, Errno::PERM, Unshare);
        assert!(explanation.finding.contains("fails"), "{explanation}");
    }

    #[test]
    fn the_check_fails_with_the_explanation() {
        let (_root, machine) = fake(&OPEN);
        assert_eq!(check(&machine, Ok(())).state, State::Ok);
        let failed = check(&machine, Err((Unshare, Errno::PERM)));
        assert_eq!(failed.state, State::Fail);
        assert!(failed.remedy.is_some());
    }
}
