//! What is known of a socket whose holders may not be seen: another user's, mostly.
//!
//! The kernel hides whose descriptor a socket is, but says to everybody in which control group it was made, and which
//! processes are in that. Of a Docker container's proxy the command line has the port.
//!
//! To have read: `cgroups(7)`, `proc(5)`.

use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::background::Ancestor;
use super::cgroup::{self, Unit};
use super::hold::Hold;
use super::holders::walk;
use super::process::{RECORD_BYTES, file};

/// What is known all the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unseen {
    /// The control group in which it was made.
    pub(crate) group: Option<String>,
    /// The systemd unit that this belongs to.
    pub(crate) unit: Option<Unit>,
    /// Processes of which one may hold it, as far as they can be told apart at all.
    pub(crate) suspects: Vec<Ancestor>,
}

/// Where control groups of version 2 are mounted: alone, or beside those of version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// No more directories are looked at.
const DIRECTORIES: usize = 20_000;

/// More suspects say nothing.
const SUSPECTS: usize = 8;

/// Adds what is known to those holds whose programs may not be seen; `groups` are the inodes of their control groups, in the same order.
pub(super) fn tell(holds: &mut [Hold], groups: impl Iterator<Item = Option<u64>>) {
    for (hold, group) in holds.iter_mut().zip(groups) {
        if hold.is_hidden() {
            hold.unseen = Some(known(hold, group));
        }
    }
}

fn known(hold: &Hold, group: Option<u64>) -> Unseen {
    let path = group.and_then(path_of);
    // Everything may be in the topmost group.
    let group = path.filter(|path| path != "/");
    let mut suspects = Vec::new();
    let mut look = |pid: Pid, process: BorrowedFd<'_>| {
        let in_group = || {
            let groups = file(process, c"cgroup", RECORD_BYTES).unwrap_or_default();
            group.is_some() && group.as_deref() == unified(&String::from_utf8_lossy(&groups))
        };
        if suspects.len() < SUSPECTS
            && let Some(it) = Ancestor::at(pid, process)
            && (is_proxy(&it.command, hold) || in_group() || is_named(&it.command, process, hold))
        {
            suspects.push(it);
        }
    };
    // What can't be looked through has no suspects.
    walk(&mut look).ok();
    Unseen {
        unit: group.as_deref().and_then(cgroup::unit),
        group,
        suspects,
    }
}

/// The path of the group of version 2 in `/proc/PID/cgroup`.
fn unified(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Whether this is the command line of the proxy that Docker has for a published port.
fn is_proxy(command: &[String], hold: &Hold) -> bool {
    let named = |path: &String| path.ends_with("docker-proxy");
    let value = |flag: &str| {
        let at = command.iter().position(|word| word == flag)?;
        command.get(at + 1).map(String::as_str)
    };
    command.first().is_some_and(named)
        && value("-host-port") == Some(&hold.port.to_string())
        && value("-proto").unwrap_or("tcp") == hold.protocol.name()
}

/// Whether this is a process of the user's that has the port on its command line.
fn is_named(command: &[String], process: BorrowedFd<'_>, hold: &Hold) -> bool {
    let port = hold.port.to_string();
    let mut words = command.iter().skip(1);
    let named = words.any(|word| {
        let mut numbers = word.split(|letter: char| !letter.is_ascii_digit());
        word.len() < WORD_BYTES && numbers.any(|number| number == port)
    });
    named && rustix::fs::fstat(process).is_ok_and(|found| found.st_uid == hold.uid)
}

/// A longer word is a text, in which a number may be anything.
const WORD_BYTES: usize = 256;

/// The path of the group with this inode, from the topmost one.
fn path_of(inode: u64) -> Option<String> {
    let mount = MOUNTS
        .map(Path::new)
        .into_iter()
        .find(|mount| mount.join("cgroup.controllers").exists())?;
    if fs::metadata(mount).is_ok_and(|top| std::os::unix::fs::MetadataExt::ino(&top) == inode) {
        return Some("/".to_owned());
    }
    let mut waiting: Vec<PathBuf> = vec![mount.to_owned()];
    let mut looked_at = 0;
    while let Some(directory) = waiting.pop() {
        looked_at += 1;
        if looked_at > DIRECTORIES {
            return None;
        }
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = entry.path();
            if entry.ino() == inode {
                let below = path.strip_prefix(mount).ok()?;
                return Some(format!("/{}", below.display()));
            }
            waiting.push(path);
        }
    }
    None
}
