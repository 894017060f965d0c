//! What this part's tests share: sample rows, and children that wait to be looked at.

use std::io::{BufRead as _, BufReader};
use std::num::NonZeroU16;
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;

use super::process::file_name;
use super::{Hold, Process, Protocol, SinceFrom, State};

/// A process as if started by this command line, which is split at its blanks.
pub(crate) fn sample_process(command: &str) -> Process {
    let command: Vec<String> = command.split(' ').map(str::to_owned).collect();
    Process {
        pid: 4242,
        program: file_name(&command[0]).to_owned(),
        command,
        directory: Some("/home/ada/shop".to_owned()),
        started: "2026-03-01T10:00:00Z".parse().unwrap(),
        uid: 1001,
        user: Some("ada".to_owned()),
        worktree: Some("/home/ada/shop".to_owned()),
        branch: Some("main".to_owned()),
        background: None,
    }
}

/// A listener held by one program.
pub(crate) fn sample(space: Option<&str>, protocol: Protocol, address: &str, port: u16) -> Hold {
    let process = sample_process("/usr/bin/python3 -m http.server");
    Hold {
        space: space.map(str::to_owned),
        namespace: None,
        protocol,
        address: address.parse().unwrap(),
        port: NonZeroU16::new(port).unwrap(),
        state: State::Listening,
        peer: None,
        until: None,
        ipv6_only: None,
        sockets: 1,
        waiting: 0,
        inode: Some(57_005),
        usage: None,
        uid: process.uid,
        user: process.user.clone(),
        since: Some(process.started),
        since_from: SinceFrom::Program,
        programs: vec![process],
        unseen: None,
        reach: Vec::new(),
        published: Vec::new(),
    }
}

/// This test program's number.
pub(super) fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// A shell that stands still until the test ends.
///
/// Spawning returns while the child may still hold its parent's descriptors and lack a command
/// line, so the child says when it really runs. For the same reason a test must not be surprised
/// by a stranger among a socket's holders: another test's child on its way.
pub(super) struct Standing(Child);

/// What the shell runs, with `sh -c`.
const SCRIPT: &str = "echo ready; kill -STOP $$";

impl Standing {
    /// Starts a shell in this way, and waits until it runs; `None` if it never does.
    pub(super) fn start(shell: &mut Command) -> Option<Self> {
        let shell = shell.args(["-c", SCRIPT]).stdout(Stdio::piped());
        let mut child = Self(shell.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(child.0.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        (line == "ready\n").then_some(child)
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    pub(super) fn number(&self) -> i32 {
        self.pid().as_raw_nonzero().get()
    }

    /// Ends it; its parent hasn't taken note yet.
    pub(super) fn kill(&mut self) {
        self.0.kill().unwrap();
    }

    /// Takes note of its end.
    pub(super) fn wait(&mut self) {
        self.0.wait().unwrap();
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.kill();
        self.wait();
    }
}
