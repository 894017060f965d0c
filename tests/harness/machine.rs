//! A machine made for one scene: a network and a mount namespace of their own.
//!
//! It has addresses besides those of its loopback ([`IPV4`], [`IPV6`]), so that scenes can talk to "the network", and no
//! other interface, so that nothing leaves the machine that tests run on. Its name servers are whatever the scene wants.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{getegid, geteuid};

use super::{Skipped, User};

/// The machine's address on its network; RFC 5737.
pub(crate) const IPV4: &str = "192.0.2.1";
/// The machine's IPv6 address on its network; RFC 3849.
pub(crate) const IPV6: &str = "2001:db8::1";
/// A network that the machine knows it can't reach.
pub(crate) const UNREACHABLE: &str = "198.51.100.1";
/// A network that the machine's administrator has forbidden.
pub(crate) const PROHIBITED: &str = "203.0.113.1";
/// An address that the machine has no route to; RFC 2544.
pub(crate) const NOWHERE: &str = "198.18.0.1";
/// The address of the machine's name server, which is its own.
pub(crate) const NAME_SERVER: &str = "192.0.2.53";
/// The usual port of the names, which is free on such a machine.
pub(crate) const NAMES_PORT: u16 = 7070;

const SET_UP: &str = r#"
set -e
ip link set lo up
ip addr add 192.0.2.1/32 dev lo
ip addr add 192.0.2.53/32 dev lo
ip -6 addr add 2001:db8::1/128 dev lo
ip route add unreachable 198.51.100.0/24
ip route add prohibit 203.0.113.0/24
echo "$1" > /proc/sys/net/ipv4/ping_group_range
echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start
mount --bind "$2" /etc/resolv.conf
if test -c /dev/net/tun && test "$(id -u)" = 0; then
    # As it is on most machines: open to everybody.
    mount -t tmpfs -o mode=755 none /dev/net
    mknod -m 666 /dev/net/tun c 10 200
fi
set +e
echo ready
while read -r line; do
    eval "$line"
    echo "status $?"
done
"#;

/// The machine; it goes when this does.
#[derive(Debug)]
pub(crate) struct Machine {
    holder: Child,
    /// The shell that made it, and has every right over it.
    administrator: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
    resolv_conf: PathBuf,
}

impl Machine {
    /// Makes one whose files are below `top`.
    pub(crate) fn make(user: User, top: &Path) -> Result<Self, Skipped> {
        let resolv_conf = top.join("resolv.conf");
        fs::write(&resolv_conf, format!("nameserver {NAME_SERVER}\n")).unwrap();
        let mut command = Command::new("unshare");
        if !geteuid().is_root() {
            // An ordinary user's machine belongs to a user namespace in which that user may set it up.
            command.args(["--user", "--map-current-user", "--keep-caps"]);
        }
        let gid = user.other().unwrap_or(getegid().as_raw());
        command.args(["--net", "--mount", "--", "sh", "-c", SET_UP, "machine"]);
        command.arg(format!("{gid} {gid}")).arg(&resolv_conf);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut holder = command
            .spawn()
            .map_err(|error| Skipped(format!("unshare: {error}")))?;
        let mut said = String::new();
        let mut stdout = BufReader::new(holder.stdout.take().expect("it is piped"));
        stdout.read_line(&mut said).unwrap();
        if said.trim() != "ready" {
            let output = holder.wait_with_output().unwrap();
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Skipped(format!(
                "a machine for this scene can't be made: {why}"
            )));
        }
        let stdin = holder.stdin.take().expect("it is piped");
        Ok(Self {
            holder,
            administrator: RefCell::new((stdin, stdout)),
            resolv_conf,
        })
    }

    /// From now on the machine's /etc/resolv.conf says this.
    pub(crate) fn set_resolv_conf(&self, content: &str) {
        fs::write(&self.resolv_conf, content).unwrap();
    }

    /// Runs a shell's line as the machine's administrator.
    #[track_caller]
    pub(crate) fn administrate(&self, line: &str) {
        let (stdin, stdout) = &mut *self.administrator.borrow_mut();
        writeln!(stdin, "{line}").unwrap();
        let mut said = String::new();
        stdout.read_line(&mut said).unwrap();
        assert_eq!(said, "status 0\n", "{line}");
    }

    /// A command on this machine, as `user`, in `directory`.
    pub(super) fn command(&self, user: User, directory: &Path, program: &OsStr) -> Command {
        let mut command = self.enter();
        if let Some(uid) = user.other() {
            let uid = uid.to_string();
            command.args([
                "setpriv",
                "--reuid",
                &uid,
                "--regid",
                &uid,
                "--clear-groups",
                "--",
            ]);
        }
        command.args(["env", "-C"]).arg(directory).arg(program);
        command
    }

    /// A command on this machine, as whoever runs the tests.
    pub(super) fn service(&self, program: &OsStr) -> Command {
        let mut command = self.enter();
        command.arg(program);
        command
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg("--target")
            .arg(self.holder.id().to_string())
            .args(["--net", "--mount"]);
        if !geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--");
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}
