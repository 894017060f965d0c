//! The daemon and its keepers give up what they don't need; programs in spaces give up nothing.

use std::fs;

use rustix::process::Pid;

use crate::harness::{Played, User, World, scenes};

scenes![
    a_program_in_a_space_gives_up_nothing,
    the_daemon_and_the_keeper_hold_no_more_than_they_need,
];

/// A line of `/proc/PID/status`.
#[track_caller]
fn status(pid: Pid, name: &str) -> String {
    let pid = pid.as_raw_pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    line(&status, name)
}

fn line(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let line = line.and_then(|rest| rest.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} is not in\n{status}"))
        .trim()
        .to_owned()
}

fn the_daemon_and_the_keeper_hold_no_more_than_they_need(world: &World) -> Played {
    const SYS_ADMIN: u64 = 1 << 21;
    let shop = world.project("shop");
    let _held = shop.hold();
    let daemon = world.daemon().expect("it runs");
    for process in [daemon, world.keepers()[0]] {
        assert_eq!(status(process, "NoNewPrivs"), "1");
        assert_eq!(status(process, "Seccomp"), "2");
    }
    let held = u64::from_str_radix(&status(daemon, "CapPrm"), 16).unwrap();
    assert_eq!(held & SYS_ADMIN, 0, "{held:x}");
    if world.user != User::Root {
        assert_eq!(held, 0);
    }
    Ok(())
}

fn a_program_in_a_space_gives_up_nothing(world: &World) -> Played {
    let shop = world.project("shop");
    let inside = shop.run(["cat", "/proc/self/status"]).out();
    assert_eq!(line(&inside, "NoNewPrivs"), "0");
    // The filter that has its binds seen.
    assert_eq!(line(&inside, "Seccomp_filters"), "1");
    Ok(())
}
