//! `--from-host PORT` lets one of the machine's ports in.

use crate::harness::{Played, World, free_port, scenes};

scenes![
    a_port_of_the_machine_is_let_in_and_no_other,
    a_port_that_a_program_inside_has_is_not_taken_from_it,
    a_server_that_listens_only_on_one_loopback_address_is_let_in,
    a_port_that_is_let_in_is_no_listener_of_the_space,
];

fn a_port_of_the_machine_is_let_in_and_no_other(world: &World) -> Played {
    let [asked, other] = [free_port(), free_port()].map(|port| port.to_string());
    let _asked = world.serve(&["http", "0.0.0.0", &asked, "asked for"]);
    let _other = world.serve(&["http", "0.0.0.0", &other, "not asked for"]);
    world.needs("curl")?;
    let shop = world.project("shop");
    let _held = shop.hold_with(&["--from-host", &asked]);
    let run = |port: &str| {
        shop.wharf(["run", "-q", "--from-host", &asked, "--", "curl", "-sS"])
            .word(format!("localhost:{port}"))
            .run()
    };
    assert_eq!(run(&asked).ended_with(0).stdout, "asked for");
    run(&other).ended_with(7);
    // The port is the space's, so that of a neighbour stays shut.
    let blog = world.project("blog");
    blog.fares(&["ask", "tcp", "127.0.0.1", &asked, "hello"])
        .is_at_once("refused");
    Ok(())
}

fn a_server_that_listens_only_on_one_loopback_address_is_let_in(world: &World) -> Played {
    let [four, six] = [free_port(), free_port()].map(|port| port.to_string());
    let _four = world.serve(&["echo", "tcp", "127.0.0.1", &four]);
    let _six = world.serve(&["echo", "tcp", "::1", &six]);
    let shop = world.project("shop");
    let _held = shop.hold_with(&["--from-host", &four, "--from-host", &six]);
    for (address, port) in [
        ("127.0.0.1", &four),
        ("::1", &four),
        ("127.0.0.1", &six),
        ("::1", &six),
    ] {
        shop.fares(&["ask", "tcp", address, port, "hello"])
            .is("answer: hello");
    }
    Ok(())
}

fn a_port_that_a_program_inside_has_is_not_taken_from_it(world: &World) -> Played {
    let port = free_port().to_string();
    let _machine = world.serve(&["echo", "tcp", "127.0.0.1", &port]);
    let shop = world.project("shop");
    world.needs("curl")?;
    let _inside = shop.serve(&["http", "0.0.0.0", &port, "of the shop"]);
    let url = format!("127.0.0.1:{port}");
    let run = shop
        .wharf(["run", "--from-host", &port, "--", "curl", "-sS", &url])
        .run()
        .ended_with(0);
    assert_eq!(run.stdout, "of the shop");
    assert!(
        run.stderr
            .contains(&format!("cannot let port {port} in at 127.0.0.1")),
        "{run}"
    );
    Ok(())
}

fn a_port_that_is_let_in_is_no_listener_of_the_space(world: &World) -> Played {
    let port = free_port().to_string();
    let shop = world.project("shop");
    let _held = shop.hold();
    shop.wharf(["run", "-q", "--from-host", &port, "--", "true"])
        .run()
        .ended_with(0);
    assert_eq!(world.listeners(), Vec::<serde_json::Value>::new());
    Ok(())
}
