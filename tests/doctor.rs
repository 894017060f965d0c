//! What is missing is explained, at once, with what to do about it.

use serde_json::Value;

use crate::harness::{Played, World, scenes};

scenes![
    a_machine_on_which_all_is_well_is_called_well,
    a_port_of_the_names_that_another_holds_is_found_with_its_holder,
    a_runtime_directory_that_is_open_to_others_is_found,
    forbidden_user_namespaces_are_explained_with_their_remedy,
    no_name_servers_are_found,
    too_few_open_files_are_found,
    the_apparmor_profile_is_printed_for_this_file,
    the_doctor_changes_nothing,
];

/// A check of `wharf doctor --json`, and whether all was well.
#[track_caller]
fn check(line: crate::harness::process::Line, name: &str) -> Value {
    let outcome = line.run();
    let report: Value =
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome}"));
    assert_eq!(report["schema"], 1);
    let checks = report["checks"].as_array().unwrap();
    let well = checks.iter().all(|check| check["state"] == "ok");
    assert_eq!(
        (report["well"].as_bool(), outcome.code()),
        (Some(well), i32::from(!well)),
        "{outcome}"
    );
    for check in checks {
        assert_eq!(check["state"] == "ok", check["remedy"].is_null(), "{check}");
    }
    checks
        .iter()
        .find(|check| check["name"] == name)
        .cloned()
        .unwrap_or_else(|| panic!("no {name} in {outcome}"))
}

#[track_caller]
fn assert_check(check: &Value, state: &str, finding: &str, remedy: &str) {
    assert_eq!(check["state"], state, "{check}");
    assert!(
        check["finding"].as_str().unwrap().contains(finding),
        "{finding:?} in {check}"
    );
    assert!(
        check["remedy"]
            .as_str()
            .unwrap_or_default()
            .contains(remedy),
        "{remedy:?} in {check}"
    );
}

fn a_machine_on_which_all_is_well_is_called_well(world: &World) -> Played {
    world.machine()?;
    let report = world.wharf(["doctor"]).run();
    assert_eq!(report.code(), 0, "{report}");
    for name in [
        "kernel",
        "user namespaces",
        "/dev/net/tun",
        "port of the names",
        "ping",
        "name servers",
        "open files",
    ] {
        assert!(report.stdout.contains(name), "{name} in {report}");
    }
    assert!(
        report.stdout.lines().all(|line| line.starts_with("ok ")),
        "{report}"
    );
    // Its own daemon is not in its own way.
    let shop = world.project("shop");
    let _held = shop.hold();
    assert_check(
        &check(world.wharf(["doctor", "--json"]), "port of the names"),
        "ok",
        "7070 is wharf's",
        "",
    );
    Ok(())
}

fn forbidden_user_namespaces_are_explained_with_their_remedy(world: &World) -> Played {
    const FORBID: &str = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    world.needs("unshare")?;
    let binary = world.binary.to_str().unwrap();
    let without = |words: &[&str]| {
        world
            .program("unshare")
            .words(["-Ur", "sh", "-c", FORBID, "sh", binary])
            .words(words)
    };
    if without(&["--version"]).run().code() != 0 {
        return Err(crate::harness::Skipped(
            "user namespaces can't be forbidden here".into(),
        ));
    }
    let found = check(without(&["doctor", "--json"]), "user namespaces");
    assert_check(&found, "fail", "user.max_user_namespaces is 0", "sysctl");
    // `wharf run` says the same, and doesn't run the program anywhere else.
    let run = without(&["run", "--", "echo", "runs"]).run().ended_with(3);
    assert_eq!(run.stdout, "");
    assert!(
        run.stderr.contains("user.max_user_namespaces is 0"),
        "{run}"
    );
    assert!(run.stderr.contains("sudo sysctl -p"), "{run}");
    Ok(())
}

fn a_port_of_the_names_that_another_holds_is_found_with_its_holder(world: &World) -> Played {
    world.machine()?;
    let holder = world.peer(&["listen", "tcp", "127.0.0.1", "7070"]).start();
    holder.says("ready");
    let pid = holder.pid().as_raw_pid();
    let found = check(world.wharf(["doctor", "--json"]), "port of the names");
    assert_check(
        &found,
        "fail",
        &format!("(pid {pid}) in"),
        &format!("kill {pid}"),
    );
    assert_check(
        &found,
        "fail",
        "127.0.0.1:7070 is taken by python3",
        &format!("kill {pid}"),
    );
    Ok(())
}

fn a_runtime_directory_that_is_open_to_others_is_found(world: &World) -> Played {
    use std::os::unix::fs::PermissionsExt;
    let directory = world.runtime();
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    world.own(&directory);
    let found = check(world.wharf(["doctor", "--json"]), "runtime directory");
    assert_check(
        &found,
        "fail",
        "is open to other users",
        &format!("chmod 700 {}", directory.display()),
    );
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700)).unwrap();
    Ok(())
}

fn no_name_servers_are_found(world: &World) -> Played {
    let machine = world.machine()?;
    machine.set_resolv_conf("# none\n");
    assert_eq!(
        check(world.wharf(["doctor", "--json"]), "name servers")["state"],
        "fail"
    );
    Ok(())
}

fn too_few_open_files_are_found(world: &World) -> Played {
    let script = "ulimit -n 1000; exec \"$@\"";
    let line = world
        .program("sh")
        .words(["-c", script, "sh"])
        .word(&world.binary)
        .words(["doctor", "--json"]);
    assert_check(
        &check(line, "open files"),
        "fail",
        "no more than 1000",
        "hard nofile",
    );
    Ok(())
}

fn the_apparmor_profile_is_printed_for_this_file(world: &World) -> Played {
    let profile = world.wharf(["doctor", "--apparmor"]).out();
    assert!(
        profile.contains(&format!("profile wharf \"{}\"", world.binary.display())),
        "{profile}"
    );
    assert!(profile.contains("userns,"), "{profile}");
    Ok(())
}

fn the_doctor_changes_nothing(world: &World) -> Played {
    let report = world.wharf(["doctor"]).run();
    assert!([0, 1].contains(&report.code()), "{report}");
    assert_eq!(world.traces().len(), 0);
    assert!(!world.runtime().exists(), "the runtime directory was made");
    assert!(
        !world.top().join("state/wharf").exists(),
        "the state directory was made"
    );
    Ok(())
}
