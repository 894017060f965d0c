//! The scripts of `tests/scripts/`, on our host in virtual time, and on the kernel behind a TAP where that may be had. What a
//! script is: `tests/script/mod.rs`.
//!
//! `SCRIPT=NAME` plays those alone whose names contain it.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod network;
mod play;
mod script;

use std::process::{Command, Stdio};
use std::{env, fs};

use script::linux::Linux;
use script::ours::Ours;
use script::parse::{self, Family, Script};
use wharf_link::Tap;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts");
/// The host's port of the first script; each has its own, so that nothing of the one before is met.
const FIRST_PORT: u16 = 1000;
const INSIDE: &str = "WHARF_SCRIPTS_INSIDE";

fn scripts() -> Vec<Script> {
    let wanted = env::var("SCRIPT").unwrap_or_default();
    let mut paths: Vec<_> = fs::read_dir(SCRIPTS)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let scripts = paths
        .iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "script"));
    let scripts = scripts.map(|path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        parse::script(&name, &fs::read_to_string(path).unwrap()).unwrap()
    });
    scripts
        .filter(|script| script.name.contains(&wanted))
        .collect()
}

/// Plays each over both families; panics with all that failed.
fn play_all<'a>(
    scripts: impl Iterator<Item = &'a Script>,
    mut play: impl FnMut(&Script, Family, u16) -> Result<(), String>,
) -> usize {
    let (mut failed, mut count) = (Vec::new(), 0);
    for (index, script) in scripts.enumerate() {
        for family in &script.families {
            let port = FIRST_PORT + index as u16;
            if let Err(why) = play(script, *family, port) {
                failed.push(format!("{why}\n    {} ({})", script.title, script.section));
            }
        }
        count += 1;
    }
    assert!(
        failed.is_empty(),
        "{} of {count} scripts:\n{}",
        failed.len(),
        failed.join("\n")
    );
    count
}

#[test]
fn our_host_does_what_the_scripts_say() {
    let scripts = scripts();
    let count = play_all(scripts.iter(), |script, family, port| {
        script::play::play(script, family, port, &mut Ours::new())
    });
    assert!(
        count >= 40 || env::var_os("SCRIPT").is_some(),
        "{count} scripts"
    );
}

#[test]
fn a_script_that_is_not_true_fails() {
    let text = "# A port where nobody is says nothing.\nfrom no RFC\n+0 < SYN 0:0\n+1s silence\n";
    let script = parse::script("untrue", text).unwrap();
    let said = script::play::play(&script, Family::V4, 80, &mut Ours::new());
    assert!(said.unwrap_err().contains("RST"));
}

#[test]
fn linux_does_what_the_scripts_say() {
    let family = match env::var(INSIDE).as_deref() {
        Ok("4") => Family::V4,
        Ok("6") => Family::V6,
        _ => return outside(),
    };
    let tap = Tap::open("wire", 1500).unwrap();
    for line in [
        "link set lo up",
        "link set wire address 02:00:00:00:00:01 mtu 1500 up",
        "addr add 10.0.0.1/24 dev wire",
        "addr add fd00::1/64 dev wire nodad",
    ] {
        let status = Command::new("ip").args(line.split(' ')).status().unwrap();
        assert!(status.success(), "ip {line}");
    }
    for (key, value) in [
        ("tcp_no_metrics_save", "1"),
        ("tcp_ecn", "2"),
        ("tcp_rfc1337", "1"),
        ("tcp_min_tso_segs", "1"),
        ("tcp_syn_linear_timeouts", "0"),
    ] {
        // What a kernel does not know it can't do either.
        let _ = fs::write(format!("/proc/sys/net/ipv4/{key}"), value);
    }
    let mut linux = Linux::new(tap);
    let scripts = scripts();
    let (fit, others): (Vec<_>, Vec<_>) = scripts
        .iter()
        .partition(|script| script.not_on_linux.is_none());
    let count = play_all(fit.into_iter(), |script, its_family, port| {
        if its_family != family {
            return Ok(());
        }
        // A busy machine may be late, and the script with it; it is not late each time.
        let mut attempt = |number: u16| {
            linux.forget();
            script::play::play(script, family, port + number * 1000, &mut linux)
        };
        attempt(0).or_else(|_| attempt(1)).or_else(|_| attempt(2))
    });
    eprintln!(
        "Linux does what {count} scripts say over {family:?}; {} are not for it:",
        others.len()
    );
    for script in others {
        eprintln!(
            "    {}: {}",
            script.name,
            script.not_on_linux.as_deref().unwrap_or_default()
        );
    }
}

/// Runs this test again in a namespace of its own, if there may be one.
fn outside() {
    let namespace = ["--map-root-user", "--net"];
    let mut possible = Command::new("unshare");
    possible
        .args(namespace)
        .args(["ip", "tuntap", "add", "t", "mode", "tap"]);
    if !possible
        .output()
        .is_ok_and(|output| output.status.success())
    {
        eprintln!("skipped: no TAP in a namespace of one's own here");
        return;
    }
    // In real time, so both families at once.
    let children = ["4", "6"].map(|family| {
        let mut unshare = Command::new("unshare");
        unshare.args(namespace).arg(env::current_exe().unwrap());
        unshare.args(["linux_does_what_the_scripts_say", "--exact", "--nocapture"]);
        unshare
            .env(INSIDE, family)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        unshare.spawn().unwrap()
    });
    for child in children {
        let output = child.wait_with_output().unwrap();
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "inside the namespace:\n{said}");
    }
}
