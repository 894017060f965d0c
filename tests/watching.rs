//! `wharf ls --watch` shows a list that stays true.

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::terminal::Terminal;
use crate::harness::{Played, World, free_port, scenes};

scenes![
    a_program_is_ended_after_a_yes,
    a_signal_gives_the_terminal_back,
    each_change_is_a_line,
    rows_are_filtered_and_looked_at,
    rows_are_put_in_order,
    without_a_terminal_there_is_no_table,
];

/// What leaves the screen that a program draws on.
const LEFT: &str = "\x1b[?1049l";

fn each_change_is_a_line(world: &World) -> Played {
    let port = free_port();
    let shop = world.project("shop");
    let _held = shop.hold();
    let first = shop.serve(&["listen", "tcp", "127.0.0.1", "80"]);
    let watch = world.wharf(["ls", "--watch", "--json"]).start();
    watch.says("\"change\":\"present\"");
    let host = world.wharf(["ls", "--host", "-w", "--json"]).start();
    let appeared = |line: &str| -> Option<Value> {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["change"] == "appeared").then_some(line)
    };
    let _second = shop.serve(&["listen", "udp", "127.0.0.1", "53"]);
    let line = watch.line_that(appeared);
    assert_eq!(
        (&line["schema"], &line["listener"]["space"]),
        (&1.into(), &"shop".into())
    );
    assert_eq!(
        (&line["listener"]["port"], &line["listener"]["protocol"]),
        (&53.into(), &"udp".into())
    );
    drop(first);
    watch.says("\"change\":\"gone\"");
    let _machine = world.serve(&["listen", "tcp", "127.0.0.1", &port.to_string()]);
    host.line_that(|line| appeared(line).filter(|line| line["listener"]["port"] == port));
    Ok(())
}

fn rows_are_filtered_and_looked_at(world: &World) -> Played {
    let shop = world.project("shop");
    let _servers = ["3000", "5432"].map(|port| shop.serve(&["listen", "tcp", "127.0.0.1", port]));
    let mut terminal = Terminal::open(world, |line| {
        line.word(&world.binary).words(["ls", "--watch"])
    })?;
    for word in ["DIRECTORY", "3000", "5432", "127.0.0.1"] {
        terminal.pictures(word);
    }
    terminal.types("/:5432\r");
    terminal.pictures("filter:");
    terminal.types("\r");
    terminal.pictures("worktree");
    terminal.types("qq");
    assert_eq!(terminal.ended(), 0);
    Ok(())
}

fn rows_are_put_in_order(world: &World) -> Played {
    let shop = world.project("shop");
    let _server = shop.serve(&["listen", "tcp", "127.0.0.1", "3000"]);
    let mut terminal = Terminal::open(world, |line| {
        line.word(&world.binary).words(["ls", "--watch"])
    })?;
    terminal.pictures("3000");
    for order in ["port", "program", "directory"] {
        terminal.types("o");
        terminal.pictures(&format!("order: {order} ↑"));
    }
    terminal.types("r");
    terminal.pictures("order: directory ↓");
    // Whatever the size, it is drawn.
    for (columns, rows) in [(20, 5), (1, 1), (300, 100)] {
        terminal.resize(columns, rows);
    }
    terminal.types("q");
    assert_eq!(terminal.ended(), 0);
    Ok(())
}

fn a_program_is_ended_after_a_yes(world: &World) -> Played {
    let shop = world.project("shop");
    let mut server = shop.serve(&["listen", "tcp", "127.0.0.1", "3000"]);
    let mut terminal = Terminal::open(world, |line| {
        line.word(&world.binary).words(["ls", "-w", "shop"])
    })?;
    terminal.pictures("3000");
    terminal.types("x");
    terminal.pictures("ends");
    terminal.types("n");
    terminal.pictures("nothing");
    assert!(server.runs());
    terminal.types("xy");
    server.outcome().ended_with(143);
    terminal.pictures("ended");
    terminal.types("\x03");
    terminal.shows(LEFT);
    assert_eq!(terminal.ended(), 0);
    Ok(())
}

fn a_signal_gives_the_terminal_back(world: &World) -> Played {
    let shop = world.project("shop");
    let _server = shop.serve(&["listen", "tcp", "127.0.0.1", "3000"]);
    for signal in [Signal::TERM, Signal::INT] {
        let terminal = Terminal::open(world, |line| {
            line.word(&world.binary).words(["ls", "--watch"])
        })?;
        terminal.pictures("3000");
        terminal.signal(signal);
        terminal.shows(LEFT);
        assert_eq!(terminal.ended(), 0);
    }
    Ok(())
}

fn without_a_terminal_there_is_no_table(world: &World) -> Played {
    let refused = world.wharf(["ls", "--watch"]).run().ended_with(2);
    assert!(refused.stderr.contains("--watch --json"), "{refused}");
    Ok(())
}
