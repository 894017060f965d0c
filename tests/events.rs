//! `wharf events` tells what happens to ports; `wharf why --at` what happened.

use serde_json::Value;

use crate::harness::{Played, Skipped, World, await_that, scenes};

scenes![
    a_conflict_is_told_with_both_sides,
    the_past_is_kept_and_asked,
    what_comes_too_fast_to_be_told_is_counted,
    what_happens_is_told_as_it_happens,
];

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn what_happens_is_told_as_it_happens(world: &World) -> Played {
    let shop = world.project("shop");
    let _held = shop.hold();
    let all = world.wharf(["events"]).start();
    let json = world.wharf(["events", "shop", "--json"]).start();
    let other = world.wharf(["events", "blog"]).start();
    for process in [&all, &json, &other] {
        process.warns("wharf: following");
    }
    let server = shop.serve(&["listen", "tcp", "127.0.0.1", "3000"]);
    all.says("  shop  listening  tcp/127.0.0.1:3000  python3");
    drop(server);
    all.says("  shop  released   tcp/127.0.0.1:3000  python3");
    json.says("\"event\":\"released\"");
    for process in [&all, &json, &other] {
        process.signal(rustix::process::Signal::TERM);
    }
    let (json, other) = (json.outcome(), other.outcome());
    let told: Vec<_> = lines(&json.stdout)
        .iter()
        .map(|line| line["event"].clone())
        .collect();
    assert_eq!(told, ["bound", "listening", "released"]);
    assert_eq!(other.stdout, "");
    Ok(())
}

fn a_conflict_is_told_with_both_sides(world: &World) -> Played {
    let shop = world.project("shop");
    let _server = shop.serve(&["listen", "tcp", "127.0.0.1", "3000"]);
    shop.peer(&["listen", "tcp", "0.0.0.0", "3000"])
        .run()
        .ended_with(1);
    let past = await_that("the conflict is kept", || {
        let past = world.wharf(["events", "--no-follow", "--json"]).run();
        past.stdout.contains("conflict").then_some(past.stdout)
    });
    let past = lines(&past);
    let conflict = past
        .iter()
        .find(|line| line["event"] == "conflict")
        .unwrap();
    assert_eq!(
        (&conflict["schema"], &conflict["address"]),
        (&1.into(), &"0.0.0.0".into())
    );
    let holder = &conflict["reason"]["held"][0];
    assert_eq!(
        (&holder["address"], &holder["listens"]),
        (&"127.0.0.1".into(), &true.into())
    );
    assert_eq!(holder["program"]["directory"].as_str(), shop.path.to_str());
    let text = world
        .wharf(["events", "shop", "--since", "1h", "--no-follow"])
        .out();
    assert!(
        text.contains("conflict   tcp/0.0.0.0:3000  python3") && text.contains(": held by python3"),
        "{text}"
    );
    world
        .wharf(["events", "--since", "noon"])
        .run()
        .ended_with(2);
    Ok(())
}

fn the_past_is_kept_and_asked(world: &World) -> Played {
    let shop = world.project("shop");
    let nothing = world.wharf(["events", "--no-follow"]).run();
    assert_eq!(nothing.code(), 1);
    assert!(nothing.stderr.contains("no event"), "{}", nothing.stderr);
    let server = shop.serve(&["listen", "tcp", "127.0.0.1", "3000"]);
    let held = jiff::Timestamp::now().to_string();
    drop(server);
    // What was told is written before the daemon goes.
    world.is_empty_within(std::time::Duration::from_secs(10));
    let then = world
        .wharf(["why", "3000", "--at", &held])
        .run()
        .ended_with(0);
    assert!(
        then.stdout
            .contains("listening  tcp/127.0.0.1:3000  python3"),
        "{then}"
    );
    let json = world.wharf(["why", "3000", "--at", &held, "--json"]).out();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["schema"], &json["held"][0]["event"]),
        (&1.into(), &"listening".into())
    );
    let before = world
        .wharf(["why", "3000", "--at", "1h ago"])
        .run()
        .ended_with(1);
    assert!(before.stdout.contains("was free in all spaces"), "{before}");
    let now = world
        .wharf(["why", "3000", "--at", "0s"])
        .run()
        .ended_with(1);
    assert!(now.stdout.contains("released"), "{now}");
    world
        .wharf(["why", "5432", "--at", &held])
        .run()
        .ended_with(1);
    world
        .wharf(["why", "3000", "--at", "noon"])
        .run()
        .ended_with(2);
    Ok(())
}

fn what_comes_too_fast_to_be_told_is_counted(world: &World) -> Played {
    // Opened behind the filter's back, so that all of them are found at once.
    const SCRIPT: &str = "
import resource, socket, sys
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
for port in range(2000, 3500):
    sock = socket.socket()
    sock.bind(('127.0.0.1', port))
    held.append(sock)
for sock in held:
    sock.listen(1)
print('all of them', flush=True)
sys.stdin.readline()
";
    let program = world.in_c(&[])?;
    let shop = world.project("shop");
    let _held = shop.hold();
    let told = world.wharf(["events", "--json"]).start();
    told.warns("wharf: following");
    let line = world.line(&shop.path, &program).word("watched");
    let line = line.word(&world.binary).words(["run", "-q", "--"]);
    let server = line.words(["python3", "-c", SCRIPT]).start();
    let said = server.line_that(|line| Some(line.to_owned()));
    if said.starts_with("skipped") {
        return Err(Skipped(said));
    }
    await_that("all of them are told or counted", || {
        let said = told.stdout_so_far();
        let whole = said.rfind('\n').map_or("", |end| &said[..end]);
        let count = |line: &Value| line["missed"].as_u64().unwrap_or(1);
        let all: u64 = lines(whole).iter().map(count).sum();
        assert!(all <= 3000, "{all} of 3000");
        (all == 3000).then_some(())
    });
    Ok(())
}
