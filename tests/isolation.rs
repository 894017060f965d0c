//! A space that is isolated neither reaches other spaces nor is reached by them, and who tries is told of.

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::harness::events::Events;
use crate::harness::peer::Fared;
use crate::harness::{Played, Project, World, await_that, scenes};

scenes![
    an_isolated_space_reaches_and_is_reached_by_nobody,
    a_connection_that_stands_is_reset_when_a_space_is_isolated,
    an_isolated_space_stays_so_when_the_daemon_dies,
    who_tries_to_reach_an_isolated_space_is_named,
];

fn address(project: &Project<'_>, family: &str) -> String {
    let space: Value = serde_json::from_str(&project.wharf(["env", "--json"]).out()).unwrap();
    space[family].as_str().unwrap().to_owned()
}

/// Refused at once. Over IPv4, Linux has no error of its own for what is prohibited.
#[track_caller]
fn is_closed(fared: &Fared) {
    let said = ["prohibited", "unreachable"].contains(&&*fared.said);
    assert!(said, "{fared:?}");
}

fn an_isolated_space_reaches_and_is_reached_by_nobody(world: &World) -> Played {
    let (shop, vault) = (world.project("shop"), world.project("vault"));
    std::fs::write(vault.path.join("wharf.toml"), "isolated = true\n").unwrap();
    let _servers = [&shop, &vault].map(|project| {
        (
            project.serve(&["echo", "tcp", "0.0.0.0", "7000"]),
            project.serve(&["echo", "udp", "0.0.0.0", "7000"]),
            project.serve(&["echo", "tcp", "::", "7001"]),
        )
    });
    for (from, to) in [(&shop, &vault), (&vault, &shop)] {
        for (family, port) in [("ipv4", "7000"), ("ipv6", "7001")] {
            let to = address(to, family);
            is_closed(&from.fares(&["ask", "tcp", &to, port, "hello"]));
        }
        let to = address(to, "ipv4");
        is_closed(&from.fares(&["ask", "udp", &to, "7000", "hello"]));
        // From the machine, and to it, the way is open: within the space and by its own names all is as ever.
        let own = from.fares(&["ask", "tcp", "127.0.0.1", "7000", "hello"]);
        own.is("answer: hello");
    }
    // The other one isn't isolated from a third.
    let third = world.project("third");
    let _held = third.hold();
    let to = address(&shop, "ipv4");
    third
        .fares(&["ask", "tcp", &to, "7000", "hello"])
        .is("answer: hello");
    // The option says the same, and holds for the space that runs.
    let joined = third.wharf(["run", "-q", "--isolated", "--", "true"]).run();
    joined.ended_with(0);
    is_closed(&third.fares(&["ask", "tcp", &to, "7000", "hello"]));
    // Until a file says otherwise.
    std::fs::write(third.path.join("wharf.toml"), "isolated = false\n").unwrap();
    third
        .fares(&["ask", "tcp", &to, "7000", "hello"])
        .is("answer: hello");
    Ok(())
}

fn a_connection_that_stands_is_reset_when_a_space_is_isolated(world: &World) -> Played {
    let (shop, vault) = (world.project("shop"), world.project("vault"));
    let _server = vault.serve(&["echo", "tcp", "0.0.0.0", "7000"]);
    let script = "import socket, sys\n\
        sock = socket.create_connection((sys.argv[1], 7000), 30)\n\
        print('stands', flush=True)\n\
        sys.stdin.readline()\n\
        try:\n\
        \x20sock.sendall(b'hello')\n\
        \x20print('answer', sock.recv(5))\n\
        except ConnectionResetError: print('reset')\n";
    let to = address(&vault, "ipv4");
    let mut client = shop.run(["python3", "-c", script, &to]).start();
    client.says("stands");
    let isolated = vault.wharf(["run", "-q", "--isolated", "--", "true"]);
    isolated.run().ended_with(0);
    client.write(b"go\n");
    client.says("reset");
    client.outcome().ended_with(0);
    if world.needs("ping").is_ok() {
        let ping = shop.run(["ping", "-n", "-c", "1", "-W", "20", &to]).run();
        let said = ping.stdout.contains("filtered") || ping.stdout.contains("rohibited");
        assert!(said, "{ping}");
    }
    Ok(())
}

fn an_isolated_space_stays_so_when_the_daemon_dies(world: &World) -> Played {
    let (shop, vault) = (world.project("shop"), world.project("vault"));
    let _held = shop.hold();
    let server = vault.wharf(["run", "-q", "--isolated", "--", "python3", "-c"]);
    let server = server.word(crate::harness::peer::SOURCE);
    let server = server.words(["echo", "tcp", "0.0.0.0", "7000"]).start();
    server.says("ready");
    let to = address(&vault, "ipv4");
    let daemon = world.daemon().expect("it runs");
    kill_process(daemon, Signal::KILL).unwrap();
    await_that("the next daemon runs", || {
        world.daemon().filter(|&next| next != daemon)
    });
    is_closed(&shop.fares(&["ask", "tcp", &to, "7000", "hello"]));
    Ok(())
}

fn who_tries_to_reach_an_isolated_space_is_named(world: &World) -> Played {
    let (shop, vault) = (world.project("shop"), world.project("vault"));
    let (_held, _isolated) = (shop.hold(), vault.hold_with(&["--isolated"]));
    let to = address(&vault, "ipv4");
    let mut events = Events::follow(world);
    let script = "import socket\nfor _ in range(200):\n try: socket.create_connection(('ADDRESS', 5432), 5)\n except OSError: pass";
    let script = script.replace("ADDRESS", &to);
    shop.run(["python3", "-c", &script]).run().ended_with(0);
    let told = events.about(5432);
    assert_eq!(
        (
            &told["event"],
            &told["space"],
            &told["to"],
            &told["address"]
        ),
        (
            &"denied".into(),
            &"shop".into(),
            &"vault".into(),
            &to.as_str().into()
        )
    );
    let program = told["program"]["program"].as_str().unwrap();
    assert!(program.starts_with("python3"), "{told}");
    let log = world.log();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("5432") && line.contains("vault is isolated"))
        .collect();
    assert!(lines[0].contains(program) && lines[0].contains("in shop"));
    // Two hundred attempts take less than a few of the times after which they are told again.
    assert!(lines.len() < 10, "{lines:#?}");
    let past = ["events", "shop", "--since", "1h", "--no-follow"];
    let told = await_that("it is in the history", || {
        let told = world.wharf(past).run().stdout;
        told.contains("denied").then_some(told)
    });
    assert!(told.contains("no way to vault"), "{told}");
    Ok(())
}
