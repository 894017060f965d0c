//! `wharf service-install`: units of the user's systemd, on request, with stand-ins for it and for its directory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::harness::process::Line;
use crate::harness::{Played, World, await_that, scenes};

scenes![
    the_daemon_serves_at_a_socket_that_it_is_given,
    units_are_installed_looked_at_and_removed,
    without_systemd_the_units_are_written_and_it_is_said,
];

/// A systemctl that writes down what it is asked.
fn stand_in(world: &World) -> PathBuf {
    let directory = world.top().join("bin");
    fs::create_dir(&directory).unwrap();
    let program = directory.join("systemctl");
    let script = "#!/bin/sh\necho \"$*\" >> \"$HOME/asked\"\ntest ! -e \"$HOME/broken\"\n";
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

fn configured(world: &World, line: Line) -> Line {
    line.with("XDG_CONFIG_HOME", world.home().join("config"))
}

fn asked(world: &World) -> String {
    let file = world.home().join("asked");
    let asked = fs::read_to_string(&file).unwrap_or_default();
    fs::remove_file(&file).ok();
    asked
}

fn units_are_installed_looked_at_and_removed(world: &World) -> Played {
    let path = stand_in(world);
    let path = format!("{}:/usr/bin:/bin", path.display());
    let wharf = |words: &[&str]| {
        let line = world.wharf(["service-install"]).words(words);
        configured(world, line).with("PATH", &path).run()
    };
    let state = || {
        let outcome = wharf(&["--status", "--json"]);
        let said: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(outcome.code() == 0, said["installed"] == true, "{outcome}");
        said["units"][1]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(), "missing");
    wharf(&["--uninstall"]).ended_with(1);
    asked(world);
    wharf(&[]).ended_with(0);
    assert_eq!(
        asked(world),
        "--user daemon-reload\n--user enable --now wharf.socket\n"
    );
    assert_eq!(state(), "current");
    let units = world.home().join("config/systemd/user");
    let service = fs::read_to_string(units.join("wharf.service")).unwrap();
    let start = format!("ExecStart=\"{}\" daemon\n", world.binary.display());
    assert!(service.contains(&start), "{service}");
    let socket = fs::read_to_string(units.join("wharf.socket")).unwrap();
    assert!(
        socket.contains("ListenStream=%t/wharf/daemon\n"),
        "{socket}"
    );
    fs::write(units.join("wharf.service"), format!("{service}# older\n")).unwrap();
    assert_eq!(state(), "outdated");
    wharf(&[]).ended_with(0);
    assert_eq!(state(), "current");
    // Where a daemon runs, its socket isn't taken from it.
    let held = world.project("shop").hold();
    asked(world);
    let outcome = wharf(&[]).ended_with(0);
    assert!(
        outcome.stderr.contains("a daemon runs already"),
        "{outcome}"
    );
    assert!(asked(world).contains("--user enable wharf.socket\n"));
    drop(held);
    wharf(&["--uninstall"]).ended_with(0);
    assert!(asked(world).contains("--user disable --now wharf.socket\n"));
    assert_eq!(state(), "missing");
    // What somebody else wrote stays.
    fs::write(units.join("wharf.service"), "[Unit]\n").unwrap();
    assert_eq!(state(), "foreign");
    wharf(&[]).ended_with(4);
    wharf(&["--uninstall"]).ended_with(1);
    let kept = fs::read_to_string(units.join("wharf.service")).unwrap();
    assert_eq!(kept, "[Unit]\n");
    Ok(())
}

fn without_systemd_the_units_are_written_and_it_is_said(world: &World) -> Played {
    let path = stand_in(world);
    fs::write(world.home().join("broken"), "").unwrap();
    let path = format!("{}:/usr/bin:/bin", path.display());
    let install = configured(world, world.wharf(["service-install"])).with("PATH", &path);
    let outcome = install.run().ended_with(1);
    assert!(outcome.stderr.contains("it is not enabled"), "{outcome}");
    let units = world.home().join("config/systemd/user");
    assert!(units.join("wharf.socket").exists());
    let status = configured(world, world.wharf(["service-install", "--status"]));
    let outcome = status.with("PATH", &path).run().ended_with(0);
    assert!(outcome.stdout.contains("does not listen"), "{outcome}");
    Ok(())
}

/// As systemd does: it listens, and starts the daemon with the socket when somebody comes.
fn the_daemon_serves_at_a_socket_that_it_is_given(world: &World) -> Played {
    const ACTIVATE: &str = "import os, select, socket, sys\n\
        path = os.environ['XDG_RUNTIME_DIR'] + '/wharf'\n\
        os.makedirs(path, 0o700, exist_ok=True)\n\
        sock = socket.socket(socket.AF_UNIX)\n\
        sock.bind(path + '/daemon')\n\
        sock.listen(64)\n\
        print('listening', flush=True)\n\
        while True:\n\
        \x20ready = select.select([sock, sys.stdin], [], [])[0]\n\
        \x20if sys.stdin in ready: break\n\
        \x20pid = os.fork()\n\
        \x20if pid == 0:\n\
        \x20 os.dup2(sock.fileno(), 3)\n\
        \x20 os.set_inheritable(3, True)\n\
        \x20 os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n\
        \x20 os.execv(sys.argv[1], ['wharf', 'daemon'])\n\
        \x20os.waitpid(pid, 0)\n\
        \x20print('ended', flush=True)\n\
        os.unlink(path + '/daemon')\n";
    let mut systemd = world
        .program("python3")
        .words(["-c", ACTIVATE])
        .word(&world.binary)
        .start();
    systemd.says("listening");
    let shop = world.project("shop");
    for round in 1..=2 {
        shop.run(["true"]).run().ended_with(0);
        await_that("the daemon has ended with its last space", || {
            (systemd.stdout_so_far().matches("ended").count() >= round).then_some(())
        });
    }
    systemd.close_input();
    systemd.outcome().ended_with(0);
    Ok(())
}
