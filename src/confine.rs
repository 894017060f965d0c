//! What the daemon gives up before it serves: new privileges, capabilities, calls that it has no use for; and what those of
//! its threads give up that touch bytes of programs.
//!
//! It is a second line: what comes from programs is parsed in safe code. Landlock is for threads only, since the kernel lets
//! whoever is under it look at no process outside (`ptrace(2)`'s rule), and the daemon must find the holders of sockets
//! in `/proc` and take duplicates of sockets (`pidfd_getfd(2)`). Threads share their memory, so that is worth as much as that is.
//!
//! To have read: `seccomp(2)`, `landlock(7)`, `capabilities(7)`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use landlock::{ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetStatus};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// What root's daemon, and its keepers, have no use for. Others have no capability in the first place.
const GIVEN_UP: CapabilitySet = CapabilitySet::SYS_MODULE
    .union(CapabilitySet::SYS_RAWIO)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::SYS_BOOT)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::SYS_TIME)
    .union(CapabilitySet::SYS_PACCT)
    .union(CapabilitySet::SYS_TTY_CONFIG)
    .union(CapabilitySet::SYSLOG)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::LINUX_IMMUTABLE)
    .union(CapabilitySet::MAC_ADMIN)
    .union(CapabilitySet::MAC_OVERRIDE)
    .union(CapabilitySet::AUDIT_CONTROL)
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::PERFMON);

/// Calls that neither the daemon nor a keeper makes, and that whoever had taken one over would like to.
const FORBIDDEN: &[libc::c_long] = &[
    // Other programs' memory and what they hold.
    libc::SYS_ptrace,
    libc::SYS_process_vm_writev,
    libc::SYS_userfaultfd,
    // The file system's shape.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_mknodat,
    // Who it is.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    // The kernel, and where it has had most holes.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
];

/// Gives up what this process, which must have a single thread, and its children don't need. What the kernel doesn't know, it
/// goes without.
///
/// # Errors
/// With what could not be given up.
pub(crate) fn process() -> Result<()> {
    set_no_new_privs(true).context("no_new_privs can't be set")?;
    drop_capabilities().context("capabilities can't be dropped")?;
    seccompiler::apply_filter(&filter()?).context("there is no seccomp filter")
}

fn drop_capabilities() -> rustix::io::Result<()> {
    let held = capabilities(None)?;
    // Only who may change it has a set that is worth it.
    if held.effective.contains(CapabilitySet::SETPCAP) {
        for one in GIVEN_UP.iter() {
            // An older kernel doesn't know all of them.
            if capability_is_in_bounding_set(one).unwrap_or(false) {
                remove_capability_from_bounding_set(one)?;
            }
        }
    }
    set_capabilities(
        None,
        CapabilitySets {
            effective: held.effective.difference(GIVEN_UP),
            permitted: held.permitted.difference(GIVEN_UP),
            inheritable: held.inheritable.difference(GIVEN_UP),
        },
    )
}

fn filter() -> Result<BpfProgram> {
    let rules: BTreeMap<_, _> = FORBIDDEN.iter().map(|&call| (call, Vec::new())).collect();
    let refusal = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, architecture)?;
    Ok(filter.try_into()?)
}

/// Takes all files from the calling thread, except those that are open.
pub(crate) fn thread() {
    match landlocked() {
        Ok(RulesetStatus::NotEnforced) => tracing::info!("this kernel has no Landlock"),
        Ok(_) => {}
        Err(error) => tracing::warn!("a thread is not confined: {error}"),
    }
}

fn landlocked() -> Result<RulesetStatus, landlock::RulesetError> {
    let ruleset = Ruleset::default().handle_access(AccessFs::from_all(ABI::V5))?;
    Ok(ruleset.create()?.restrict_self()?.ruleset)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;

    use super::*;

    /// What is found in a thread of its own, which alone is confined.
    fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(work).join().unwrap()
    }

    #[test]
    fn a_confined_thread_opens_nothing_and_the_others_do() {
        let opened = in_thread(|| {
            if landlocked().unwrap() == RulesetStatus::NotEnforced {
                eprintln!("skipped: this kernel has no Landlock");
                return None;
            }
            Some(File::open("/proc/self/status").map_err(|error| error.kind()))
        });
        assert!(matches!(
            opened,
            None | Some(Err(io::ErrorKind::PermissionDenied))
        ));
        assert!(File::open("/proc/self/status").is_ok());
    }

    #[test]
    fn what_is_given_up_is_gone_and_the_rest_is_not() {
        let (forbidden, allowed) = in_thread(|| {
            process().unwrap();
            let forbidden = rustix::process::chroot("/");
            (forbidden, File::open("/proc/self/status").is_ok())
        });
        assert_eq!(forbidden, Err(rustix::io::Errno::PERM));
        assert!(allowed);
        let left = in_thread(|| {
            process().unwrap();
            capabilities(None).unwrap().permitted
        });
        assert!(!left.intersects(GIVEN_UP), "{left:?}");
    }
}
