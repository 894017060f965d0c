//! The example host before an examiner that plays every other host on its link, packet by packet.
//!
//! The examiner is no part of this repository: it is run if it lies beside it, in `../shared/cases/examiner.py`, and Debian's
//! python3-scapy is there to run it. Otherwise that is said, and nothing is claimed.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PYTHON: &str = "/usr/bin/python3";

#[test]
fn the_examiner_finds_no_fault() {
    let Some(examiner) = examiner() else { return };
    let directory = tempfile::tempdir().unwrap();
    let (link, control) = (directory.path().join("L"), directory.path().join("C"));
    let mut host = Host::start(&link, &control);
    let output = Command::new(PYTHON)
        .arg(&examiner)
        .arg("--link")
        .arg(format!("unix:{}", link.display()))
        .arg("--ctl")
        .arg(&control)
        .args(["--peer-ip", "10.0.0.2", "--peer-ip6", "fd00::2"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        host.0.try_wait().unwrap().is_none(),
        "the host is gone:\n{said}"
    );
    println!("{}", said.lines().last().unwrap_or_default());
    assert!(output.status.success(), "{said}");
}

/// Where the examiner is, if it can be run.
fn examiner() -> Option<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // A worktree lies a directory deeper than the repository.
    let places = [
        "../shared/cases/examiner.py",
        "../../shared/cases/examiner.py",
    ];
    let Some(examiner) = places
        .iter()
        .map(|place| repository.join(place))
        .find(|place| place.exists())
    else {
        eprintln!("skipped: there is no {} beside the repository", places[0]);
        return None;
    };
    let scapy = Command::new(PYTHON)
        .args(["-c", "import scapy.all"])
        .stderr(Stdio::null())
        .status();
    if !scapy.is_ok_and(|status| status.success()) {
        eprintln!("skipped: {PYTHON} has no scapy (Debian: python3-scapy)");
        return None;
    }
    Some(examiner)
}

/// The example, until it is dropped.
struct Host(Child);

impl Host {
    fn start(link: &Path, control: &Path) -> Self {
        // Built along with the tests: target/PROFILE/deps/this → target/PROFILE/examples/host.
        let this = std::env::current_exe().unwrap();
        let profile = this.parent().and_then(Path::parent).unwrap();
        let child = Command::new(profile.join("examples/host"))
            .arg("--link")
            .arg(format!("unix:{}", link.display()))
            .arg("--control")
            .arg(control)
            .args(["--address", "10.0.0.2/24", "--address", "fd00::2/64"])
            .args(["--gateway", "10.0.0.1", "--no-icmp-limit"])
            .spawn()
            .expect("`cargo test` builds the examples, and so does `cargo build --examples`");
        let host = Self(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !control.exists() {
            assert!(Instant::now() < deadline, "the host does not come up");
            std::thread::yield_now();
        }
        host
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
