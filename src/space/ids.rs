//! The user and group ids of a space: every id stays what it is.
//!
//! An ordinary user may map only its own id, so all others are nobody inside. Root may map whatever it has itself, so
//! that package managers and servers that change their user work in its spaces as outside.

use std::fs;
use std::io::{self, Write};

use rustix::thread::{CapabilitySet, capabilities};

/// Writes the id maps of process `pid`, which has just made a user namespace that is a child of ours.
pub(crate) fn map(pid: u32) -> io::Result<()> {
    let may = capabilities(None)?
        .effective
        .contains(CapabilitySet::SETUID | CapabilitySet::SETGID);
    let write = |file: &str, content: &str| -> io::Result<()> {
        // One write(2): the kernel takes a map only as a whole.
        fs::File::options()
            .write(true)
            .open(format!("/proc/{pid}/{file}"))?
            .write_all(content.as_bytes())
    };
    if may {
        write(
            "uid_map",
            &identity(&fs::read_to_string("/proc/self/uid_map")?),
        )?;
        return write(
            "gid_map",
            &identity(&fs::read_to_string("/proc/self/gid_map")?),
        );
    }
    let (uid, gid) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    write("uid_map", &format!("{uid} {uid} 1\n"))?;
    write("setgroups", "deny")?;
    write("gid_map", &format!("{gid} {gid} 1\n"))
}

/// The map that keeps every id of `ours` (lines of inside, outside, count) what it is here.
fn identity(ours: &str) -> String {
    let extent = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (inside, count) = (fields.next()?, fields.nth(1)?);
        Some(format!("{inside} {inside} {count}\n"))
    };
    ours.lines().filter_map(extent).collect()
}

#[cfg(test)]
mod tests {
    use super::identity;

    #[test]
    fn each_extent_keeps_its_ids() {
        assert_eq!(
            identity("         0          0 4294967295\n"),
            "0 0 4294967295\n"
        );
        assert_eq!(identity("0 1000 1\n1 100000 65536\n"), "0 0 1\n1 1 65536\n");
    }
}
