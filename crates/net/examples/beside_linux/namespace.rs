//! Where this runs: in a user and network namespace of its own, with another network namespace beside it.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::{env, fs, process, thread};

const PLACE: &str = "WHARF_BESIDE_LINUX";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Outside,
    Near,
    Far,
}

pub(crate) fn place() -> Place {
    match env::var(PLACE).as_deref() {
        Ok("near") => Place::Near,
        Ok("far") => Place::Far,
        _ => Place::Outside,
    }
}

/// Runs this program again in a namespace; returns only if that can't be.
pub(crate) fn enter(words: &[String]) {
    let mut unshare = Command::new("unshare");
    unshare.args(["--map-root-user", "--net", "--"]);
    unshare
        .arg(env::current_exe().unwrap())
        .args(words)
        .env(PLACE, "near");
    let error = unshare.exec();
    eprintln!("beside_linux: no namespace of one's own here: {error}");
    process::exit(1);
}

pub(crate) fn run(words: &[&str]) {
    let status = Command::new(words[0]).args(&words[1..]).status();
    assert!(status.unwrap().success(), "{words:?}");
}

/// Sets an interface up, by way of a command that goes where it is.
pub(crate) fn configure(way: &[&str], interface: &str, addresses: [&str; 2]) {
    let [v4, v6] = [
        format!("{}/24", addresses[0]),
        format!("{}/64", addresses[1]),
    ];
    run(&[way, &["ip", "link", "set", interface, "mtu", "1500", "up"]].concat());
    run(&[way, &["ip", "addr", "add", &v4, "dev", interface]].concat());
    run(&[way, &["ip", "addr", "add", &v6, "dev", interface, "nodad"]].concat());
}

/// A process that is ended with this.
#[derive(Debug)]
pub(crate) struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Another network namespace, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    /// What holds it open.
    _holder: Ends,
    pid: String,
}

impl Elsewhere {
    pub(crate) fn new() -> Self {
        let here = fs::read_link("/proc/self/ns/net").unwrap();
        let holder = Command::new("unshare")
            .args(["--net", "sleep", "3600"])
            .spawn();
        let holder = Ends(holder.unwrap());
        let pid = holder.0.id().to_string();
        while fs::read_link(format!("/proc/{pid}/ns/net")).unwrap() == here {
            thread::yield_now();
        }
        Self {
            _holder: holder,
            pid,
        }
    }

    /// The command that goes there.
    pub(crate) fn way(&self) -> [&str; 4] {
        ["nsenter", "-t", &self.pid, "-n"]
    }

    pub(crate) fn pid(&self) -> &str {
        &self.pid
    }

    /// Sends from there, until the returned is dropped.
    pub(crate) fn send(&self, to: SocketAddr, streams: usize, congestion: &str) -> Ends {
        let way = self.way();
        let mut sender = Command::new(way[0]);
        sender.args(&way[1..]).arg(env::current_exe().unwrap());
        sender
            .args([&to.to_string(), &streams.to_string(), congestion])
            .env(PLACE, "far");
        Ends(sender.spawn().unwrap())
    }
}
