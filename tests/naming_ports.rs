//! A port is named alike in every command that is about one.

use serde_json::Value;

use crate::harness::{Played, Process, Project, World, free_port, scenes};

scenes![
    a_space_s_own_address_means_the_space,
    a_url_by_name_means_the_server_behind_it,
    every_command_understands_every_name,
    the_machine_can_be_meant_from_inside_a_space,
    what_names_no_port_is_refused_by_every_command,
];

const COMMANDS: [&[&str]; 4] = [
    &["why"],
    &["wait", "--timeout", "10s"],
    &["assert", "--cwd", "."],
    &["stop", "--dry-run"],
];

/// Has each command look at the port by that name, and find who listens.
#[track_caller]
fn is_found(project: &Project<'_>, place: &str, server: &Process) {
    let pid = format!("(pid {}", server.program().as_raw_pid());
    for command in COMMANDS {
        let found = project.wharf(command).word(place).run().ended_with(0);
        let said = format!("{}{}", found.stdout, found.stderr);
        let names = command[0] != "assert";
        assert!(
            !names || said.contains(&pid),
            "{command:?} {place}: {found}"
        );
    }
}

fn every_command_understands_every_name(world: &World) -> Played {
    let shop = world.project("shop");
    let web = shop.serve(&["listen", "tcp", "::", "3000"]);
    let dns = shop.serve(&["listen", "udp", "127.0.0.1", "53"]);
    for place in [
        "shop:3000",
        ".:3000",
        "tcp/shop:3000",
        "shop.internal:3000/tcp",
        "http://api.shop.internal:3000/cart",
    ] {
        is_found(&shop, place, &web);
    }
    for place in ["udp/shop:53", ".:53/udp"] {
        is_found(&shop, place, &dns);
    }
    // On the machine, not of the space that has the same port.
    let port = free_port().to_string();
    let _other = shop.serve(&["listen", "tcp", "::", &port]);
    let line = world.line(&shop.path, "python3");
    let line = line.words(["-c", crate::harness::peer::SOURCE]);
    let machine = line.words(["listen", "tcp", "127.0.0.1", &port]).start();
    machine.says("ready");
    for place in [
        format!("127.0.0.1:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("localhost:{port}"),
        format!("http://localhost:{port}/cart?x=1"),
        format!("host.internal:{port}"),
    ] {
        for command in &COMMANDS[..3] {
            shop.wharf(*command).word(&place).run().ended_with(0);
        }
        let stop = shop
            .wharf(["stop", "--dry-run", &place])
            .run()
            .ended_with(0);
        assert!(
            stop.stderr
                .contains(&format!("(pid {}", machine.pid().as_raw_pid())),
            "{stop}"
        );
    }
    Ok(())
}

fn a_url_by_name_means_the_server_behind_it(world: &World) -> Played {
    let shop = world.project("shop");
    let server = shop.serve(&["http", "127.0.0.1", "3000", "of the shop"]);
    let names = world.names_port;
    for place in [
        format!("http://3000.shop.localhost:{names}/"),
        format!("3000.shop.localhost:{names}"),
        "3000.shop.localhost".to_owned(),
    ] {
        is_found(&shop, &place, &server);
    }
    // All of a space's servers have this one: `why` says which, the others want one.
    let all = format!("http://shop.localhost:{names}/");
    let told = world.wharf(["why", &all]).run().ended_with(0).stdout;
    assert!(told.contains("wharf why shop:3000"), "{told}");
    for command in &COMMANDS[1..3] {
        let refused = shop.wharf(*command).word(&all).run().ended_with(2).stderr;
        assert!(refused.contains("shop:3000"), "{refused}");
    }
    Ok(())
}

fn a_space_s_own_address_means_the_space(world: &World) -> Played {
    let shop = world.project("shop");
    let server = shop.serve(&["listen", "tcp", "::", "3000"]);
    let env: Value = serde_json::from_str(&shop.wharf(["env", "--json"]).out()).unwrap();
    let four = env["ipv4"].as_str().unwrap();
    let six = env["ipv6"].as_str().unwrap();
    is_found(&shop, &format!("{four}:3000"), &server);
    is_found(&shop, &format!("[{six}]:3000"), &server);
    Ok(())
}

fn the_machine_can_be_meant_from_inside_a_space(world: &World) -> Played {
    let shop = world.project("shop");
    let port = free_port().to_string();
    let _machine = world.serve(&["listen", "tcp", "127.0.0.1", &port]);
    let wharf = world.binary.to_str().unwrap();
    let wait = |place: &str| shop.run([wharf, "wait", place, "--timeout", "100ms"]).run();
    wait(&format!("host.internal:{port}")).ended_with(0);
    wait(&port).ended_with(124);
    let why = shop
        .run([wharf, "why", &format!("host.internal:{port}")])
        .run();
    assert_ne!(why.code(), 1, "{why}");
    assert!(!why.stdout.contains("in space shop"), "{why}");
    Ok(())
}

fn what_names_no_port_is_refused_by_every_command(world: &World) -> Played {
    for (typed, hint) in [
        ("x:y", "a port is typed as 3000"),
        ("65536:80x", "a port is typed as 3000"),
        ("127.0.0.1:65536", "65535"),
        ("::1:3000", "[::1]:3000"),
        ("http://example.com/", "only the ports of this machine"),
        ("tcp/", "a port is typed as 3000"),
        ("sctp/80", "tcp or udp"),
    ] {
        for command in COMMANDS {
            let refused = world.wharf(command).word(typed).run().ended_with(2);
            assert!(
                refused.stderr.contains(hint) && refused.stdout.is_empty(),
                "{command:?}: {refused}"
            );
        }
    }
    let service = world.wharf(["why", "postgresql"]).run().ended_with(2);
    assert!(
        service.stderr.contains("wharf service postgresql"),
        "{service}"
    );
    // A name alone is a space's to `stop`.
    world.wharf(["stop", "x"]).run().ended_with(1);
    Ok(())
}
