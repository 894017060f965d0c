//! What runs on the machine: processes by a mark in their environment, and who holds a network namespace.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, getpid};

/// A process.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Its id.
    pub(crate) pid: Pid,
    /// Its command line.
    pub(crate) words: Vec<String>,
}

/// A network namespace. As long as this has it open, its number is not given to another.
#[derive(Debug)]
pub(crate) struct Network {
    _open: File,
    inode: u64,
}

impl PartialEq for Network {
    fn eq(&self, other: &Self) -> bool {
        self.inode == other.inode
    }
}

impl Network {
    /// The network of a process, if it may be known.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        let open = File::open(of(pid, "ns/net")).ok()?;
        let inode = open.metadata().ok()?.ino();
        Some(Self { _open: open, inode })
    }

    /// Waits until nobody but these tests holds it.
    #[track_caller]
    pub(crate) fn is_gone(&self) {
        let mut holders = Vec::new();
        for _ in 0..500 {
            holders = self.holders();
            if holders.is_empty() {
                return;
            }
            // Between fork and exec, what other scenes start has all that is open here.
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("a network outlives its space: {holders:#?}");
    }

    /// Whoever is in it, holds it open or has it mounted, as far as may be seen.
    fn holders(&self) -> Vec<String> {
        let mut holders = Vec::new();
        let is_it = |link: &Path| inode(link) == Some(self.inode);
        for pid in processes().filter(|&pid| pid != getpid()) {
            if is_it(of(pid, "ns/net").as_ref()) {
                holders.push(format!("{pid:?} {:?} is in it", words(pid)));
            }
            let descriptors = fs::read_dir(of(pid, "fd")).into_iter().flatten().flatten();
            if descriptors
                .into_iter()
                .any(|descriptor| is_it(&descriptor.path()))
            {
                holders.push(format!("{pid:?} {:?} has it open", words(pid)));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        holders.extend(
            mounts
                .lines()
                .filter(|line| line.contains(&format!("net:[{}]", self.inode)))
                .map(str::to_owned),
        );
        holders
    }
}

/// Every process with this `NAME=value` in its environment.
pub(crate) fn marked(mark: &str) -> Vec<Trace> {
    let is_marked = |pid: &Pid| {
        let environment = fs::read(of(*pid, "environ")).unwrap_or_default();
        environment
            .split(|&byte| byte == 0)
            .any(|one| one == mark.as_bytes())
    };
    processes()
        .filter(is_marked)
        .map(|pid| Trace {
            pid,
            words: words(pid),
        })
        .collect()
}

/// The children of a process.
pub(crate) fn children(parent: Pid) -> Vec<Pid> {
    let is_child = |pid: &Pid| {
        let status = fs::read_to_string(of(*pid, "status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        line.is_some_and(|line| line.trim() == parent.as_raw_pid().to_string())
    };
    processes().filter(is_child).collect()
}

/// How many descriptors a process has open, and how much memory it has in use, in bytes.
pub(crate) fn size(pid: Pid) -> (usize, u64) {
    let descriptors = fs::read_dir(of(pid, "fd")).map_or(0, Iterator::count);
    let status = fs::read_to_string(of(pid, "status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    (descriptors, kibibytes.unwrap_or(0_u64) * 1024)
}

/// Whether a process is stopped.
pub(crate) fn is_stopped(pid: Pid) -> bool {
    let status = fs::read_to_string(of(pid, "status")).unwrap_or_default();
    status
        .lines()
        .any(|line| line.starts_with("State:") && line.contains('T'))
}

/// Whether a process exists and has not ended.
pub(crate) fn runs(pid: Pid) -> bool {
    let status = fs::read_to_string(of(pid, "status")).unwrap_or_default();
    status
        .lines()
        .any(|line| line.starts_with("State:") && !line.contains('Z'))
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

fn of(pid: Pid, file: &str) -> String {
    format!("/proc/{}/{file}", pid.as_raw_pid())
}

/// A process's command line.
pub(crate) fn words(pid: Pid) -> Vec<String> {
    let line = fs::read(of(pid, "cmdline")).unwrap_or_default();
    let words = line
        .split(|&byte| byte == 0)
        .filter(|word| !word.is_empty());
    words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// The number in `net:[4026531840]`, which such a link points to.
fn inode(link: impl AsRef<Path>) -> Option<u64> {
    let target = fs::read_link(link).ok()?;
    target
        .to_str()?
        .strip_prefix("net:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}
