//! `wharf wait` waits until a port listens; `wharf assert` says whether the right program does.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Played, World, free_port, scenes};

scenes![
    a_listener_in_another_directory_is_not_the_right_one,
    a_port_inside_is_not_the_machines,
    a_port_of_a_space_is_awaited_that_does_not_run_yet,
    a_port_of_the_machine_is_awaited,
    a_wait_in_vain_ends_with_124_and_says_where_else,
    an_assertion_without_a_listener_fails,
    only_who_answers_at_the_address_counts,
    the_process_that_was_started_is_the_right_one,
    udp_is_awaited_too,
    what_is_no_port_is_a_usage_error,
];

fn a_port_of_the_machine_is_awaited(world: &World) -> Played {
    let port = free_port().to_string();
    let waiting = world.wharf(["wait", &port]).start();
    let server = world.peer(&["listen", "tcp", "127.0.0.1", &port]).start();
    server.says("ready");
    let waited = waiting.outcome().ended_with(0);
    let expected = format!("wharf: tcp/{port} of the machine listens: python3");
    assert!(waited.stderr.starts_with(&expected), "{waited}");
    assert_eq!(waited.stdout, "");
    let json = world
        .wharf(["wait", "--json", &format!("localhost:{port}")])
        .out();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["listeners"][0]["port"].to_string(), port);
    Ok(())
}

fn a_port_of_a_space_is_awaited_that_does_not_run_yet(world: &World) -> Played {
    let shop = world.project("shop");
    let waiting = ["shop:8000", ".:8000"].map(|place| shop.wharf(["wait", place]).start());
    let _server = shop.serve(&["listen", "tcp", "127.0.0.1", "8000"]);
    for one in waiting {
        let waited = one.outcome().ended_with(0);
        assert!(waited.stderr.contains("listens: python3"), "{waited}");
    }
    let inside = shop
        .shell(&format!("{} wait 8000", world.binary.display()))
        .run()
        .ended_with(0);
    assert!(
        inside.stderr.contains("tcp/8000 of space shop listens"),
        "{inside}"
    );
    Ok(())
}

fn udp_is_awaited_too(world: &World) -> Played {
    let shop = world.project("shop");
    let _tcp = shop.serve(&["listen", "tcp", "127.0.0.1", "53"]);
    let wait = |place| shop.wharf(["wait", place, "--timeout", "200ms"]).run();
    wait("udp/.:53").ended_with(124);
    let _udp = shop.serve(&["listen", "udp", "127.0.0.1", "53"]);
    wait("udp/.:53").ended_with(0);
    Ok(())
}

fn a_wait_in_vain_ends_with_124_and_says_where_else(world: &World) -> Played {
    let port = free_port().to_string();
    let shop = world.project("shop");
    let _server = shop.serve(&["listen", "tcp", "127.0.0.1", &port]);
    let waited = shop
        .wharf(["wait", &port, "--timeout", "300ms"])
        .run()
        .ended_with(124);
    assert!(
        waited.took >= Duration::from_millis(300),
        "{:?}",
        waited.took
    );
    let first = format!(
        "wharf: nothing listens at tcp/{port} of the machine after 300ms\nin space shop there is python3"
    );
    assert!(waited.stderr.starts_with(&first), "{waited}");
    assert!(
        waited
            .stderr
            .ends_with(&format!(": wharf wait shop:{port}\n")),
        "{waited}"
    );
    Ok(())
}

fn a_port_inside_is_not_the_machines(world: &World) -> Played {
    let port = free_port().to_string();
    let _server = world.serve(&["listen", "tcp", "127.0.0.1", &port]);
    let shop = world.project("shop");
    let script = format!("{} wait {port} --timeout 200ms", world.binary.display());
    shop.shell(&script).run().ended_with(124);
    shop.wharf(["wait", &port, "--timeout", "200ms"])
        .run()
        .ended_with(0);
    Ok(())
}

fn what_is_no_port_is_a_usage_error(world: &World) -> Played {
    for words in [
        ["wait", "http"],
        ["wait", "65536"],
        ["assert", "3000"],
        ["free", "9-1"],
    ] {
        world.wharf(words).run().ended_with(2);
    }
    world
        .wharf(["wait", "3000", "--timeout", "soon"])
        .run()
        .ended_with(2);
    Ok(())
}

fn a_listener_in_another_directory_is_not_the_right_one(world: &World) -> Played {
    let (shop, fix) = (world.project("shop"), world.project("shop-fix"));
    let _server = shop.serve(&["listen", "tcp", "127.0.0.1", "3000"]);
    let assert = |directory: &str| fix.wharf(["assert", "shop:3000", "--cwd", directory]).run();
    assert("../shop").ended_with(0);
    assert("..").ended_with(0);
    assert("/nonexistent").ended_with(2);
    let wrong = assert(".").ended_with(1);
    let (held, meant) = (
        "tcp/3000 of space shop is held by python3",
        format!("which doesn't work in {}\n", fix.path.display()),
    );
    assert!(
        wrong.stderr.contains(held) && wrong.stderr.ends_with(&meant),
        "{wrong}"
    );
    let json = fix
        .wharf(["assert", "3000", "--space", "shop", "--cwd", ".", "--json"])
        .run()
        .ended_with(1);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&json["holds"], &json["listeners"][0]["space"]),
        (&false.into(), &"shop".into())
    );
    assert!(
        json["reason"]
            .as_str()
            .unwrap()
            .contains("is held by python3"),
        "{json}"
    );
    Ok(())
}

fn an_assertion_without_a_listener_fails(world: &World) -> Played {
    let shop = world.project("shop");
    let nothing = shop
        .wharf(["assert", "3000", "--space", "shop"])
        .run()
        .ended_with(1);
    assert_eq!(
        nothing.stderr,
        "wharf: nothing listens at tcp/3000 of space shop\n"
    );
    let _server = shop.serve(&["listen", "tcp", "127.0.0.1", "3000"]);
    shop.wharf(["assert", "3000", "--space", "shop"])
        .run()
        .ended_with(0);
    shop.wharf(["assert", "3000", "--space", "blog"])
        .run()
        .ended_with(1);
    Ok(())
}

fn the_process_that_was_started_is_the_right_one(world: &World) -> Played {
    let shop = world.project("shop");
    let server = shop.serve(&["listen", "tcp", "127.0.0.1", "3000"]);
    let assert = |pid: i32| {
        shop.wharf(["assert", ".:3000", "--pid", &pid.to_string()])
            .run()
    };
    // The one that listens, and the `wharf run` that started it.
    assert(server.program().as_raw_pid()).ended_with(0);
    assert(server.pid().as_raw_pid()).ended_with(0);
    let other = shop.hold();
    let wrong = assert(other.pid().as_raw_pid()).ended_with(1);
    assert!(wrong.stderr.contains("was not started by it"), "{wrong}");
    Ok(())
}

fn only_who_answers_at_the_address_counts(world: &World) -> Played {
    let port = free_port().to_string();
    let (one, other) = (world.project("one"), world.project("other"));
    let serve = |project: &crate::harness::world::Project<'_>, address: &str| {
        let line = world
            .line(&project.path, "python3")
            .word("-c")
            .word(crate::harness::peer::SOURCE);
        let server = line.words(["listen", "tcp", address, &port]).start();
        server.says("ready");
        server
    };
    let _servers = [serve(&one, "127.0.0.1"), serve(&other, "::1")];
    let assert = |place: String| one.wharf(["assert", &place, "--cwd", "."]).run();
    assert(format!("127.0.0.1:{port}")).ended_with(0);
    assert(format!("[::1]:{port}")).ended_with(1);
    // A client that says localhost may come to either.
    assert(format!("localhost:{port}")).ended_with(1);
    assert(format!("127.0.0.2:{port}")).ended_with(1);
    Ok(())
}
