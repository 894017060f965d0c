//! `wharf ci`: a throw-away space, what happened in it, and nothing of it left.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::harness::{Played, Project, World, free_port, scenes, traces};

scenes![
    a_program_ends_as_it_would_and_nothing_is_left,
    annotations_are_written_where_they_are_wanted,
    nothing_of_another_space_is_touched,
    what_listened_and_was_left_behind_is_summed_up,
];

/// Listens at port 8000, wants it once more, and leaves a process behind.
const SCRIPT: &str = "sleep 1000 > /dev/null 2>&1 & \
    python3 -c \"$PEER\" listen tcp 127.0.0.1 8000 < wait > ready & \
    read -r _ < ready; python3 -c \"$PEER\" listen tcp 127.0.0.1 8000 < /dev/null; exit 3";

#[track_caller]
fn summary(project: &Project<'_>, words: &[&str]) -> (crate::harness::process::Outcome, Value) {
    let shell = project.world.program("sh").word("-c");
    let made = shell.word("rm -f \"$0\"/wait \"$0\"/ready; mkfifo \"$0\"/wait \"$0\"/ready");
    made.word(&project.path).run().ended_with(0);
    // Held open, so that the server has an input that doesn't end.
    let script = format!("exec 3<> wait; {SCRIPT}");
    let outcome = project
        .wharf(["ci", "--json", "/dev/fd/4"])
        .words(words)
        .words(["--", "sh", "-c", &script])
        .with("PEER", crate::harness::peer::SOURCE)
        .into_command();
    // A descriptor of the shell's is the file.
    let words: Vec<_> = outcome.get_args().map(ToOwned::to_owned).collect();
    let json = project.path.join("summary.json");
    let line = project
        .world
        .line(&project.path, "sh")
        .words(["-c", "exec \"$0\" \"$@\" 4> summary.json"])
        .word(&project.world.binary)
        .words(words)
        .with("PEER", crate::harness::peer::SOURCE);
    let outcome = line.run();
    let text = fs::read_to_string(json).unwrap_or_else(|_| panic!("{outcome}"));
    let said = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}\n{outcome}"));
    (outcome, said)
}

fn a_program_ends_as_it_would_and_nothing_is_left(world: &World) -> Played {
    let shop = world.project("shop");
    fs::write(shop.path.join("wharf.toml"), "publish = [8000]\n").unwrap();
    for status in [0, 7] {
        let script = format!("echo out; cat; exit {status}");
        let mut run = shop.wharf(["ci", "--", "sh", "-c", &script]).start();
        run.says("out");
        run.write(b"through\n");
        run.says("through");
        run.close_input();
        let outcome = run.outcome().ended_with(status);
        assert!(
            outcome.stderr.contains(&format!("ended with {status}\n")),
            "{outcome}"
        );
        // The moment it has ended.
        let left = world.traces();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(fs::read_dir(world.runtime()).unwrap().count(), 0);
    }
    let killed = shop.wharf(["ci", "--", "sh", "-c", "kill -9 $$"]).run();
    killed.ended_with(137);
    shop.wharf(["ci", "--", "there-is-no-such-program"])
        .run()
        .ended_with(127);
    assert_eq!(fs::read_dir(world.runtime()).unwrap().count(), 0);
    Ok(())
}

fn what_listened_and_was_left_behind_is_summed_up(world: &World) -> Played {
    let (outcome, said) = summary(&world.project("shop"), &[]);
    assert_eq!(
        (outcome.code(), &said["status"], &said["schema"]),
        (3, &3.into(), &1.into())
    );
    let listened = &said["listened"][0];
    assert_eq!(
        (
            &listened["port"],
            &listened["protocol"],
            &listened["address"]
        ),
        (&8000.into(), &"tcp".into(), &"127.0.0.1".into())
    );
    assert_eq!(said["conflicts"][0]["port"], 8000, "{said}");
    let left = said["left"].as_array().unwrap().iter();
    let left: Vec<_> = left
        .map(|one| one["command"][0].as_str().unwrap())
        .collect();
    assert!(
        left.contains(&"sleep") && left.contains(&"python3"),
        "{said}"
    );
    assert!(said["traffic"]["sent"].is_u64(), "{said}");
    for part in [
        "listened    tcp/127.0.0.1:8000  python3",
        "conflict    tcp 127.0.0.1:8000: address already in use",
        "left behind sleep 1000 (pid ",
        "traffic     ",
    ] {
        assert!(outcome.stderr.contains(part), "{part} is not in {outcome}");
    }
    assert!(!outcome.stderr.contains("::warning"), "{outcome}");
    let left = world.traces();
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

fn annotations_are_written_where_they_are_wanted(world: &World) -> Played {
    let shop = world.project("shop");
    let (outcome, _) = summary(&shop, &["--annotate", "github"]);
    for part in [
        "\n::warning title=Port 8000 was taken::tcp 127.0.0.1:8000: address already in use",
        "\n::warning title=Left behind::still ran at the end, and was ended:%0A",
        "\n::notice title=Ports that listened::tcp/127.0.0.1:8000",
    ] {
        assert!(outcome.stderr.contains(part), "{part} is not in {outcome}");
    }
    let ci = |workflow: &str| {
        let line = shop.wharf(["ci", "--annotate", "auto", "--", "sh", "-c"]);
        let line = line.word("sleep 1000 > /dev/null 2>&1 &");
        line.with("GITHUB_ACTIONS", workflow).run().ended_with(0)
    };
    let outcome = ci("true");
    assert!(
        outcome.stderr.contains("::warning title=Left behind::"),
        "{outcome}"
    );
    let outcome = ci("false");
    assert!(!outcome.stderr.contains("::warning"), "{outcome}");
    Ok(())
}

fn nothing_of_another_space_is_touched(world: &World) -> Played {
    let shop = world.project("shop");
    let _server = shop.serve(&["http", "127.0.0.1", "8000", "of the shop"]);
    let daemon = world.daemon().expect("it runs");
    let host = free_port().to_string();
    let _host = world.serve(&["echo", "tcp", "127.0.0.1", &host]);
    let published = free_port();
    let wish = format!("127.0.0.1:{published}:8000");
    // Its own port 8000, its own list, its own way out of the machine's port that is let in.
    let script = format!(
        "python3 -c \"$PEER\" ask tcp 127.0.0.1 {host} hello; python3 -c \"$PEER\" ask tcp 127.0.0.1 8000 hello; \"$WHARF\" ls"
    );
    let line = shop
        .wharf(["ci", "--from-host", &host, "--publish", &wish])
        .words(["--", "sh", "-c", &script])
        .with("PEER", crate::harness::peer::SOURCE)
        .with("WHARF", &world.binary);
    let outcome = line.run();
    assert!(outcome.stdout.contains("answer: hello"), "{outcome}");
    assert!(outcome.stdout.contains("refused"), "{outcome}");
    assert!(!outcome.stdout.contains("shop"), "{outcome}");
    assert!(traces::runs(daemon));
    assert_eq!(world.listeners().len(), 1);
    // What can't be written is said before anything is run.
    let closed = world.top().join("closed");
    fs::write(&closed, "").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o444)).unwrap();
    let refused = shop
        .wharf(["ci", "--json", "/no/such/directory/x", "--", "echo", "ran"])
        .run()
        .ended_with(125);
    assert_eq!(refused.stdout, "");
    Ok(())
}
