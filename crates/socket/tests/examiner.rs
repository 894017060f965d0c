//! The example host before an examiner that plays every other host on its link, packet by packet.
//!
//! The examiner is no part of this repository: it is run if it lies beside it, in `../shared/cases/examiner.py`, and Debian's
//! python3-scapy is there to run it. Otherwise that is said, and nothing is claimed.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod example;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use example::Host;

const PYTHON: &str = "/usr/bin/python3";

#[test]
fn the_examiner_finds_no_fault() {
    let Some(examiner) = examiner() else { return };
    let mut host = Host::start();
    let mut said = examine(&examiner, &host, None);
    // A busy machine makes either of them late, and an interval wrong; it is not late each time.
    for _ in 0..2 {
        let failed = failed(&said);
        if failed.is_empty() {
            break;
        }
        println!("once more: {failed}");
        said = examine(&examiner, &host, Some(&failed));
    }
    assert!(host.is_up(), "the host is gone:\n{said}");
    println!("{}", said.lines().last().unwrap_or_default());
    assert!(
        failed(&said).is_empty() && said.contains(" passed, 0 failed"),
        "{said}"
    );
}

/// Runs the examiner, with some of its cases or all; what it says.
fn examine(examiner: &Path, host: &Host, only: Option<&str>) -> String {
    let mut command = Command::new(PYTHON);
    command
        .arg(examiner)
        .arg("--link")
        .arg(format!("unix:{}", host.link.display()))
        .arg("--ctl")
        .arg(&host.control)
        .args(["--peer-ip", "10.0.0.2", "--peer-ip6", "fd00::2"]);
    if let Some(only) = only {
        command.args(["--only", only]);
    }
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The cases that failed, as the examiner wants them named.
fn failed(said: &str) -> String {
    let names = said.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words
            .next()
            .filter(|word| matches!(*word, "FAIL" | "ERROR"))?;
        words.next()
    });
    names.collect::<Vec<_>>().join(",")
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
