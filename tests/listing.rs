//! `wharf ls` shows every listening port of every space.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::terminal::Terminal;
use crate::harness::{Played, World, scenes};

scenes![
    a_listener_is_shown_with_all_that_is_known_of_it,
    a_port_that_the_kernel_chose_is_shown,
    a_program_with_several_processes_is_one_row,
    a_narrow_terminal_is_not_overrun_and_no_colour_is_none,
    nothing_running_is_said_and_not_a_success,
    who_reads_only_the_beginning_is_no_error,
    one_space_alone_can_be_listed,
    the_machine_s_own_ports_can_be_listed,
    connections_are_listed_on_request,
    a_listener_says_where_it_is_reached,
    the_table_has_a_row_for_each_listener,
    a_listener_that_has_ended_is_not_shown,
];

fn nothing_running_is_said_and_not_a_success(world: &World) -> Played {
    let nothing = world.wharf(["ls"]).run().ended_with(1);
    assert_eq!(nothing.stdout, "");
    assert!(nothing.stderr.contains("no space runs"), "{nothing}");
    let json = world.wharf(["ls", "--json"]).run().ended_with(1);
    assert_eq!(json.stdout, "{\"schema\":1,\"listeners\":[]}\n");
    // A space in which nothing listens is no listener either.
    let shop = world.project("shop");
    let _held = shop.hold();
    let nothing = world.wharf(["ls"]).run().ended_with(1);
    assert!(
        nothing.stdout.is_empty() && nothing.stderr.contains("nothing listens"),
        "{nothing}"
    );
    let unknown = world.wharf(["ls", "blog"]).run().ended_with(1);
    assert!(
        unknown.stderr.contains("no space called blog runs"),
        "{unknown}"
    );
    Ok(())
}

fn a_listener_is_shown_with_all_that_is_known_of_it(world: &World) -> Played {
    let shop = world.project("shop");
    let before = now();
    let server = shop.serve(&["listen", "tcp", "127.0.0.1", "8000"]);
    let list: Value = serde_json::from_str(&world.wharf(["ls", "--json"]).out()).unwrap();
    let [listener] = &list["listeners"].as_array().unwrap()[..] else {
        panic!("{list}")
    };
    let known =
        ["space", "protocol", "address", "port", "ipv6_only", "uid"].map(|field| &listener[field]);
    let uid = world.user.uid();
    assert_eq!(
        known,
        [
            &json!("shop"),
            &json!("tcp"),
            &json!("127.0.0.1"),
            &json!(8000),
            &Value::Null,
            &json!(uid)
        ]
    );
    let [program] = &listener["programs"].as_array().unwrap()[..] else {
        panic!("{listener}")
    };
    // The program, not the `wharf run` that is its parent.
    assert_eq!(program["pid"], json!(server.program().as_raw_pid()));
    assert!(
        program["program"].as_str().unwrap().starts_with("python3"),
        "{program}"
    );
    assert_eq!(program["directory"], json!(shop.path));
    assert_eq!(
        program["command"].as_array().unwrap()[3..],
        ["listen", "tcp", "127.0.0.1", "8000"]
    );
    let since: jiff::Timestamp = listener["since"].as_str().unwrap().parse().unwrap();
    let since = Duration::try_from(since.duration_since(jiff::Timestamp::UNIX_EPOCH)).unwrap();
    // The kernel counts a process's start in hundredths of a second.
    let slack = Duration::from_millis(100);
    assert!(
        before - slack <= since && since <= now() + slack,
        "{before:?} {since:?}"
    );
    Ok(())
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn the_table_has_a_row_for_each_listener(world: &World) -> Played {
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let tcp = shop.serve(&["listen", "tcp", "0.0.0.0", "80", "8000"]);
    let udp = blog.serve(&["listen", "udp", "::1", "53"]);
    let table = world.wharf(["ls"]).out();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[0],
        [
            "SPACE",
            "PROTO",
            "ADDRESS",
            "PORT",
            "USE",
            "PROGRAM",
            "PID",
            "USER",
            "DIRECTORY",
            "BRANCH",
            "SINCE",
            "REACH"
        ]
    );
    let heads: Vec<_> = rows[1..].iter().map(|row| &row[..4]).collect();
    let expected = [
        ["blog", "udp", "::1", "53"],
        ["shop", "tcp", "0.0.0.0", "80"],
        ["shop", "tcp", "0.0.0.0", "8000"],
    ];
    assert_eq!(heads, expected, "{table}");
    for (row, (server, project)) in
        rows[1..]
            .iter()
            .zip([(&udp, &blog), (&tcp, &shop), (&tcp, &shop)])
    {
        let pid = server.program().as_raw_pid().to_string();
        assert!(row.contains(&pid.as_str()), "{pid} in {table}");
        assert!(row.contains(&project.path.to_str().unwrap()), "{table}");
        assert!(
            row.iter().any(|word| word.starts_with("python3")),
            "{table}"
        );
        // Today's times are hours, minutes and seconds.
        let is_time = |word: &&str| {
            let mut parts = word.split(':');
            parts.clone().count() == 3
                && parts.all(|part| part.len() == 2 && part.parse::<u8>().is_ok())
        };
        assert!(row.iter().any(is_time), "{table}");
    }
    Ok(())
}

fn one_space_alone_can_be_listed(world: &World) -> Played {
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let _shop = shop.serve(&["listen", "tcp", "::", "8000"]);
    let _blog = blog.serve(&["listen", "tcp", "::", "8000"]);
    let table = world.wharf(["list", "blog"]).out();
    assert!(table.contains("blog") && !table.contains("shop"), "{table}");
    Ok(())
}

fn the_machine_s_own_ports_can_be_listed(world: &World) -> Played {
    let port = crate::harness::free_port();
    let word = port.to_string();
    let server = world.peer(&["listen", "udp", "127.0.0.1", &word]).start();
    server.says("ready");
    let shop = world.project("shop");
    let _shop = shop.serve(&["listen", "tcp", "::", "8000"]);
    let list = |words: &[&str]| -> Vec<Value> {
        let line = world.wharf(["ls", "--json"]).words(words);
        let list: Value = serde_json::from_str(&line.out()).unwrap();
        list["listeners"].as_array().unwrap().clone()
    };
    let own = |it: &&Value| it["port"] == port && it["protocol"] == "udp";
    let host = list(&["--host"]);
    let found = host.iter().find(own).unwrap();
    assert_eq!(found["space"], Value::Null);
    assert_eq!(found["programs"][0]["pid"], server.pid().as_raw_pid());
    assert_eq!(found["reach"][0], format!("localhost:{port}"));
    assert!(host.iter().all(|it| it["space"].is_null()), "{host:?}");
    let all = list(&["--all"]);
    assert!(all.iter().any(|it| it["space"] == "shop") && all.iter().any(|it| own(&it)));
    let udp = list(&["--all", "--udp"]);
    assert!(udp.iter().all(|it| it["protocol"] == "udp") && udp.iter().any(|it| own(&it)));
    Ok(())
}

fn connections_are_listed_on_request(world: &World) -> Played {
    const SCRIPT: &str = "
import socket
server = socket.create_server(('127.0.0.1', 8000))
client = socket.create_connection(('127.0.0.1', 8000))
print('connected', flush=True)
input()
";
    let shop = world.project("shop");
    let server = shop.run(["python3", "-c", SCRIPT]).start();
    server.says("connected");
    let list: Value = serde_json::from_str(&world.wharf(["ls", "-f", "--json"]).out()).unwrap();
    let flows = list["flows"].as_array().unwrap();
    let client = flows
        .iter()
        .find(|it| it["peer"] == "127.0.0.1:8000")
        .unwrap();
    assert_eq!(client["state"], "connected");
    assert_eq!(client["programs"][0]["pid"], server.program().as_raw_pid());
    assert_eq!(list["listeners"].as_array().unwrap().len(), 1);
    let table = world.wharf(["ls", "--flows"]).out();
    assert!(
        table.contains("STATE") && table.contains("connected"),
        "{table}"
    );
    Ok(())
}

fn a_listener_says_where_it_is_reached(world: &World) -> Played {
    let shop = world.project("shop");
    let _web = shop.serve(&["http", "127.0.0.1", "3000", "the shop"]);
    let _database = shop.serve(&["listen", "tcp", "0.0.0.0", "5432"]);
    let listeners = world.listeners();
    let url = format!("http://3000.shop.localhost:{}", world.names_port);
    assert_eq!(
        listeners[0]["reach"],
        json!([url, "localhost:3000 in shop"])
    );
    assert_eq!(listeners[0]["use"], "Web application");
    let reach = json!(["shop.internal:5432", "localhost:5432 in shop"]);
    assert_eq!(listeners[1]["reach"], reach);
    world.needs("curl")?;
    assert_eq!(world.program("curl").words(["-sS", &url]).out(), "the shop");
    Ok(())
}

fn a_port_that_the_kernel_chose_is_shown(world: &World) -> Played {
    let shop = world.project("shop");
    let server = shop.serve(&["listen", "tcp", "127.0.0.1", "0"]);
    let port: u16 = server.line_after("ready ").parse().unwrap();
    let listeners = world.listeners();
    assert_eq!(listeners.len(), 1, "{listeners:?}");
    assert_eq!(listeners[0]["port"], json!(port));
    Ok(())
}

fn a_program_with_several_processes_is_one_row(world: &World) -> Played {
    const SCRIPT: &str = "
import os, socket
server = socket.create_server(('127.0.0.1', 8000))
children = [os.fork() for _ in range(2)]
if all(children):
    print('forked', flush=True)
os.read(0, 1)
";
    let shop = world.project("shop");
    let server = shop.run(["python3", "-c", SCRIPT]).start();
    server.says("forked");
    // 1 + 1 + 2: the second fork is made by the first child, too.
    let holders = crate::harness::await_that("every process holds the socket", || {
        let listeners = world.listeners();
        assert_eq!(listeners.len(), 1, "{listeners:?}");
        listeners[0]["programs"]
            .as_array()
            .cloned()
            .filter(|programs| programs.len() == 4)
    });
    let oldest = server.program().as_raw_pid();
    assert_eq!(holders[0]["pid"], json!(oldest));
    Ok(())
}

fn a_listener_that_has_ended_is_not_shown(world: &World) -> Played {
    let shop = world.project("shop");
    let _stays = shop.serve(&["listen", "tcp", "0.0.0.0", "8000"]);
    let mut goes = shop.serve(&["listen", "udp", "0.0.0.0", "9000"]);
    assert_eq!(world.listeners().len(), 2);
    goes.close_input();
    goes.outcome().ended_with(0);
    let ports: Vec<_> = world
        .listeners()
        .iter()
        .map(|listener| listener["port"].clone())
        .collect();
    assert_eq!(ports, [json!(8000)]);
    Ok(())
}

fn a_narrow_terminal_is_not_overrun_and_no_colour_is_none(world: &World) -> Played {
    let shop = world.project("shop");
    let _server = shop.serve(&["listen", "tcp", "127.0.0.1", "3000"]);
    let script = "read go; \"$0\" ls; \"$0\" why shop:3000; echo en\"\"ded";
    let shown = |name: &str| -> Result<String, crate::harness::Skipped> {
        let mut terminal = Terminal::open(world, |line| {
            let line = line.words(["sh", "-c", script]).word(&world.binary);
            line.with("TERM", "xterm-256color").with(name, "1")
        })?;
        terminal.resize(60, 24);
        terminal.types("\n");
        terminal.shows("ended");
        Ok(terminal.shown())
    };
    let plain = shown("NO_COLOR")?;
    assert!(!plain.contains('\x1b'), "{plain:?}");
    assert!(
        plain.contains("3000") && plain.contains("wharf stop"),
        "{plain}"
    );
    for line in plain.lines().filter(|line| !line.starts_with("      ")) {
        assert!(
            line.trim_end().chars().count() <= 60,
            "{line:?} in\n{plain}"
        );
    }
    let coloured = shown("CLICOLOR")?;
    assert!(coloured.contains("\x1b["), "{coloured:?}");
    Ok(())
}

fn who_reads_only_the_beginning_is_no_error(world: &World) -> Played {
    let shop = world.project("shop");
    let _server = shop.serve(&["listen", "tcp", "127.0.0.1", "3000"]);
    for command in ["ls", "ls --json", "why shop:3000", "--help", "man"] {
        let script = format!("\"$0\" {command} | head -c 1 > /dev/null");
        let said = world
            .program("sh")
            .words(["-c", &script])
            .word(&world.binary);
        let said = said.run().ended_with(0);
        assert_eq!(said.stderr, "", "{command}: {said}");
    }
    Ok(())
}
