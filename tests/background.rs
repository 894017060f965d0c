//! Programs in the background: started, seen, listened to, ended.

use std::fmt::Display;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::process::ends_within;
use crate::harness::{DEADLINE, Played, Project, World, await_that, scenes};

scenes![
    a_program_goes_on_in_the_background_and_stop_ends_it,
    a_program_that_cannot_run_in_the_background_says_so,
    a_program_that_overwrites_its_environment_is_in_the_background,
    logs_are_followed_to_the_end_and_have_a_bound,
    logs_of_several_programs_are_told_apart,
    programs_are_listed_with_what_they_do,
    the_next_daemon_knows_what_runs_in_the_background,
    what_ended_lately_is_listed_with_its_status,
];

/// Starts it in the background; answers with its process id.
#[track_caller]
fn detach(project: &Project<'_>, script: &str) -> Pid {
    let said = project
        .wharf(["run", "--detach", "--", "sh", "-c", script])
        .out();
    let pid = said.trim().parse().expect("a process id is printed");
    Pid::from_raw(pid).expect("no process has the id 0")
}

#[track_caller]
fn list(line: crate::harness::process::Line) -> Value {
    let outcome = line.run();
    assert!([0, 1].contains(&outcome.code()), "{outcome}");
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome}"))
}

/// The program of this process id in `wharf ps`.
#[track_caller]
fn program(world: &World, pid: Pid) -> Option<Value> {
    let listed = list(world.wharf(["ps", "--json"]));
    let mut programs = listed["programs"].as_array().unwrap().iter();
    let found = programs.find(|program| program["pid"] == pid.as_raw_pid());
    found.cloned()
}

fn a_program_that_overwrites_its_environment_is_in_the_background(world: &World) -> Played {
    let shop = world.project("shop");
    let script = "exec env -u WHARF_RUN sh -c 'sleep 1000 & echo started; wait'";
    let pid = detach(&shop, script);
    let programs = await_that("the program's child", || {
        let listed = list(world.wharf(["ps", "--json"]));
        let programs = listed["programs"].as_array().unwrap().clone();
        (programs.len() == 2).then_some(programs)
    });
    assert!(
        programs.iter().all(|one| one["background"] == true),
        "{pid:?} {programs:?}"
    );
    shop.wharf(["stop"]).run().ended_with(0);
    Ok(())
}

/// The entry of this process id among those that have ended.
fn ended(world: &World, pid: Pid) -> Option<Value> {
    let listed = list(world.wharf(["ps", "--json"]));
    let mut ended = listed["ended"].as_array().unwrap().iter();
    ended.find(|one| one["pid"] == pid.as_raw_pid()).cloned()
}

/// The session of a process: 0 if it began outside of this process id namespace, as in many a container.
fn session(process: impl Display) -> u32 {
    let told = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, behind_name) = told.rsplit_once(") ").unwrap();
    behind_name.split(' ').nth(3).unwrap().parse().unwrap()
}

fn a_program_goes_on_in_the_background_and_stop_ends_it(world: &World) -> Played {
    let shop = world.project("shop");
    let run = shop
        .wharf(["run", "-d", "--", "sh", "-c"])
        .word("echo out; echo err >&2; cat; echo read; exec sleep 1000");
    let outcome = run.run().ended_with(0);
    for part in ["space shop", "wharf logs -f", "wharf stop shop"] {
        assert!(outcome.stderr.contains(part), "{outcome}");
    }
    let pid = Pid::from_raw(outcome.stdout.trim().parse().unwrap()).unwrap();
    // Its input has ended, so it reads on.
    await_that("it has said everything", || {
        (shop.wharf(["logs"]).out() == "out\nerr\nread\n").then_some(())
    });
    assert_eq!(shop.wharf(["logs", "--lines", "1"]).out(), "read\n");
    // The shell becomes another program after its last word.
    let listed = await_that("the program is listed as what it became", || {
        let listed = program(world, pid).expect("it is listed");
        (listed["command"] == serde_json::json!(["sleep", "1000"])).then_some(listed)
    });
    assert_eq!(
        (&listed["background"], &listed["space"]),
        (&true.into(), &"shop".into())
    );
    // It has no terminal, and a session that isn't this one's.
    assert_ne!(session(pid.as_raw_pid()), session("self"));
    shop.wharf(["stop"]).run().ended_with(0);
    assert!(ends_within(pid, DEADLINE));
    let gone = await_that("its end is written down", || ended(world, pid));
    assert_eq!(gone["ended"]["status"], 128 + 15, "{gone}");
    world.is_empty_within(Duration::from_secs(10));
    Ok(())
}

fn a_program_that_cannot_run_in_the_background_says_so(world: &World) -> Played {
    let shop = world.project("shop");
    for (program, status) in [("there-is-no-such-program", 127), ("/etc/passwd", 126)] {
        let outcome = shop.wharf(["run", "-d", "-q", "--", program]).run();
        assert!(outcome.stderr.contains("cannot run"), "{outcome}");
        assert_eq!(outcome.stdout, "");
        outcome.ended_with(status);
    }
    let none = shop.wharf(["logs"]).run().ended_with(1);
    assert!(none.stderr.contains("wharf run -d"), "{none}");
    shop.wharf(["logs", "4711"]).run().ended_with(1);
    Ok(())
}

fn logs_are_followed_to_the_end_and_have_a_bound(world: &World) -> Played {
    let shop = world.project("shop");
    let fifo = shop.path.join("go");
    let made = world.program("mkfifo").word(&fifo).run();
    made.ended_with(0);
    // 20 MiB in lines of 16 bytes: more than is kept.
    let pid = detach(
        &shop,
        "echo first; read -r _ < go; yes 123456789012345 | head -n 1310720; echo last; sleep 0.1 & exit 3",
    );
    let followed = shop.wharf(["logs", "--follow", &pid.as_raw_pid().to_string()]);
    let followed = followed.start();
    followed.says("first\n");
    let go = world
        .program("sh")
        .words(["-c", "echo > \"$0\""])
        .word(&fifo);
    go.run().ended_with(0);
    let outcome = followed.outcome().ended_with(0);
    assert!(outcome.stdout.ends_with("\n123456789012345\nlast\n"));
    let whole = outcome
        .stdout
        .lines()
        .filter(|line| line.len() == 15)
        .count();
    assert!(whole > 1 << 19, "{whole} lines");
    let kept = shop.wharf(["logs"]).out();
    assert!(kept.ends_with("last\n"));
    assert!(
        ((8 << 20)..(17 << 20)).contains(&kept.len()),
        "{}",
        kept.len()
    );
    let gone = await_that("its end is written down", || ended(world, pid));
    assert_eq!(gone["ended"]["status"], 3, "{gone}");
    Ok(())
}

fn logs_of_several_programs_are_told_apart(world: &World) -> Played {
    let shop = world.project("shop");
    let one = detach(&shop, "echo one; exec sleep 1000");
    let two = detach(&shop, "echo two; exec sleep 1000");
    let expected = format!(
        "==> sh -c echo one; exec sleep 1000 (pid {}) <==\none\n\n==> sh -c echo two; exec sleep 1000 (pid {}) <==\ntwo\n",
        one.as_raw_pid(),
        two.as_raw_pid()
    );
    await_that("both have spoken", || {
        (world.wharf(["logs", "shop"]).out() == expected).then_some(())
    });
    let of_one = shop.wharf(["logs", &one.as_raw_pid().to_string()]).out();
    assert_eq!(of_one, "one\n");
    Ok(())
}

fn programs_are_listed_with_what_they_do(world: &World) -> Played {
    let (shop, other) = (world.project("shop"), world.project("other"));
    let server = shop.serve(&["http", "127.0.0.1", "8000", "of the shop"]);
    let _held = other.hold();
    let pid = server.program();
    let listed = program(world, pid).expect("it is listed");
    assert_eq!(listed["listens"][0]["port"], 8000, "{listed}");
    assert_eq!(listed["background"], false, "{listed}");
    assert_eq!(listed["parent"], server.pid().as_raw_pid(), "{listed}");
    assert!(
        listed["memory_bytes"].as_u64().unwrap() > 1 << 20,
        "{listed}"
    );
    assert!(
        ["running", "sleeping"].contains(&listed["state"].as_str().unwrap()),
        "{listed}"
    );
    kill_process(pid, Signal::STOP).unwrap();
    await_that("it is seen to be stopped", || {
        (program(world, pid)?["state"] == "stopped").then_some(())
    });
    kill_process(server.pid(), Signal::CONT).unwrap();
    kill_process(pid, Signal::CONT).unwrap();
    let of_one = list(world.wharf(["ps", "other", "--json"]));
    let spaces: Vec<_> = of_one["programs"].as_array().unwrap().iter().collect();
    assert!(spaces.iter().all(|one| one["space"] == "other") && !spaces.is_empty());
    let table = world.wharf(["ps"]).out();
    let row = table.lines().find(|line| line.contains("8000")).unwrap();
    for cell in ["shop", "terminal", "python3", &pid.as_raw_pid().to_string()] {
        assert!(row.contains(cell), "{cell} in {table}");
    }
    world.wharf(["ps", "nowhere"]).run().ended_with(1);
    Ok(())
}

fn the_next_daemon_knows_what_runs_in_the_background(world: &World) -> Played {
    let shop = world.project("shop");
    let pid = detach(&shop, "echo begun; exec sleep 1000");
    let before = program(world, pid).expect("it is listed");
    let daemon = world.daemon().expect("it runs");
    kill_process(daemon, Signal::KILL).unwrap();
    await_that("the next daemon runs", || {
        world.daemon().filter(|&next| next != daemon)
    });
    let after = await_that("it knows the program", || program(world, pid));
    assert_eq!(
        (&after["space"], &after["run"], &after["background"]),
        (&before["space"], &before["run"], &true.into())
    );
    assert_eq!(shop.wharf(["logs"]).out(), "begun\n");
    shop.wharf(["stop"]).run().ended_with(0);
    assert!(ends_within(pid, DEADLINE));
    Ok(())
}

fn what_ended_lately_is_listed_with_its_status(world: &World) -> Played {
    let shop = world.project("shop");
    shop.shell("exit 5").run().ended_with(5);
    let listed = list(world.wharf(["ps", "--json"]));
    let last = listed["ended"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["ended"]["status"], &last["attendant"]),
        (&5.into(), &Value::Null)
    );
    let none = world.wharf(["ps"]).run().ended_with(1);
    assert!(none.stdout.contains("ended 5"), "{none}");
    // An attendant that is killed takes its program with it, and nobody hears how that ended.
    let pid = detach(&shop, "exec sleep 1000");
    let attendant = program(world, pid).unwrap()["parent"].as_i64().unwrap();
    let attendant = Pid::from_raw(i32::try_from(attendant).unwrap()).unwrap();
    kill_process(attendant, Signal::KILL).unwrap();
    assert!(ends_within(pid, DEADLINE));
    let cut = await_that("it is listed as ended", || ended(world, pid));
    assert_eq!(cut["ended"], Value::Null);
    let table = world.wharf(["ps"]).run();
    assert!(table.stdout.contains("cut off"), "{table}");
    Ok(())
}
