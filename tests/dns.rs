//! Names are looked up inside as outside, and those of spaces besides.

use crate::harness::machine::{IPV4, NAME_SERVER};
use crate::harness::{Played, World, await_that, scenes};

scenes![
    a_change_of_the_name_servers_is_followed,
    a_loopback_name_server_is_asked_too,
    a_name_that_nobody_knows_is_unknown_at_once,
    an_answer_too_large_for_a_datagram_comes_over_tcp,
    names_of_spaces_and_of_the_machine_are_known_inside,
    other_names_are_looked_up_by_the_machines_name_servers,
    search_lists_are_the_machines,
    without_a_name_server_the_names_of_spaces_are_still_known,
];

fn names_of_spaces_and_of_the_machine_are_known_inside(world: &World) -> Played {
    world.machine()?;
    world.needs("getent")?;
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let _upstream = world.serve(&["names", NAME_SERVER, "example"]);
    let held = shop.hold();
    let lookup = |kind: &str, name: &str| {
        let outcome = blog.run(["getent", kind, name]).run();
        outcome
            .stdout
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    assert!(lookup("ahostsv4", "shop.internal").starts_with("10.77."));
    assert!(lookup("ahostsv6", "shop.internal").starts_with("fd77:7761:7266::"));
    assert!(
        lookup("ahostsv4", "blog.internal").starts_with("10.77."),
        "a space knows itself"
    );
    assert_eq!(lookup("ahostsv4", "host.internal"), "10.77.0.1");
    assert_eq!(lookup("ahostsv6", "host.internal"), "fd77:7761:7266::1");
    assert_eq!(lookup("ahostsv4", "nobody.internal"), "");
    drop(held);
    let _blog = blog.hold();
    await_that("a space that has ended has no name", || {
        lookup("ahostsv4", "shop.internal").is_empty().then_some(())
    });
    Ok(())
}

fn other_names_are_looked_up_by_the_machines_name_servers(world: &World) -> Played {
    world.machine()?;
    world.needs("getent")?;
    let _upstream = world.serve(&["names", NAME_SERVER, "example"]);
    let shop = world.project("shop");
    let _held = shop.hold();
    let four = shop.run(["getent", "ahostsv4", "www.example"]).out();
    assert!(four.starts_with("192.0.2.99 "), "{four}");
    let six = shop.run(["getent", "ahostsv6", "www.example"]).out();
    assert!(six.starts_with("2001:db8::99 "), "{six}");
    Ok(())
}

fn a_name_that_nobody_knows_is_unknown_at_once(world: &World) -> Played {
    world.machine()?;
    let _upstream = world.serve(&["names", NAME_SERVER, "example"]);
    let shop = world.project("shop");
    let _held = shop.hold();
    const SCRIPT: &str = "
import socket, time
begun = time.monotonic()
try:
    socket.getaddrinfo('no.such.name', 80)
except socket.gaierror as error:
    print(error.errno == socket.EAI_NONAME, time.monotonic() - begun < 2)
";
    assert_eq!(shop.run(["python3", "-c", SCRIPT]).out(), "True True\n");
    Ok(())
}

fn an_answer_too_large_for_a_datagram_comes_over_tcp(world: &World) -> Played {
    world.machine()?;
    world.needs("dig")?;
    let _upstream = world.serve(&["names", NAME_SERVER, "example"]);
    let shop = world.project("shop");
    let _held = shop.hold();
    let answer = shop.run(["dig", "+short", "big.example", "TXT"]).out();
    assert_eq!(answer.lines().count(), 20, "{answer}");
    let tcp = shop
        .run(["dig", "+tcp", "+short", "shop.internal", "A"])
        .out();
    assert!(tcp.starts_with("10.77."), "{tcp}");
    let reverse = shop.run(["dig", "+short", "www.example", "A"]).out();
    assert_eq!(reverse, "192.0.2.99\n");
    Ok(())
}

fn a_loopback_name_server_is_asked_too(world: &World) -> Played {
    let machine = world.machine()?;
    world.needs("getent")?;
    machine.set_resolv_conf("nameserver 127.0.0.53\noptions edns0\nsearch lan\n");
    let _upstream = world.serve(&["names", "127.0.0.53", "example"]);
    let shop = world.project("shop");
    let _held = shop.hold();
    let answer = shop.run(["getent", "ahostsv4", "www.example"]).out();
    assert!(answer.starts_with("192.0.2.99 "), "{answer}");
    let space = shop.run(["getent", "ahostsv4", "shop.internal"]).out();
    assert!(space.starts_with("10.77."), "{space}");
    // What answers there is wharf's, and no listener of the space.
    assert_eq!(world.listeners(), Vec::<serde_json::Value>::new());
    Ok(())
}

fn search_lists_are_the_machines(world: &World) -> Played {
    let machine = world.machine()?;
    world.needs("getent")?;
    let _upstream = world.serve(&["names", NAME_SERVER, "example"]);
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let (_shop, _blog) = (shop.hold(), blog.hold());
    let look = |name: &str| shop.run(["getent", "ahostsv4", name]).run().stdout;
    machine.set_resolv_conf(&format!(
        "nameserver {NAME_SERVER}\nsearch example internal\n"
    ));
    assert!(look("www").starts_with("192.0.2.99 "));
    machine.set_resolv_conf(&format!("nameserver {NAME_SERVER}\nsearch internal\n"));
    assert!(look("blog").starts_with("10.77."));
    assert_eq!(look("www"), "");
    // A name with a dot is tried in the lists first where the file says so, and found all the same.
    machine.set_resolv_conf(&format!(
        "nameserver {NAME_SERVER}\nsearch a.lan b.lan\noptions ndots:5\n"
    ));
    assert!(look("blog.internal").starts_with("10.77."));
    assert!(look("www.example").starts_with("192.0.2.99 "));
    Ok(())
}

fn a_change_of_the_name_servers_is_followed(world: &World) -> Played {
    let machine = world.machine()?;
    world.needs("getent")?;
    let _first = world.serve(&["names", NAME_SERVER, "first.example"]);
    let shop = world.project("shop");
    let _held = shop.hold();
    assert!(
        shop.run(["getent", "ahostsv4", "first.example"])
            .out()
            .starts_with("192.0.2.99")
    );
    let _second = world.serve(&["names", IPV4, "second.example"]);
    machine.set_resolv_conf(&format!("nameserver {IPV4}\n"));
    let look = || {
        shop.run(["getent", "ahostsv4", "second.example"])
            .run()
            .stdout
    };
    await_that("the new name server is asked", || {
        look().starts_with("192.0.2.99").then_some(())
    });
    // Until wharf has seen the change, the new address is a server like any other, which doesn't know of spaces.
    let look = || {
        shop.run(["getent", "ahostsv4", "shop.internal"])
            .run()
            .stdout
    };
    await_that("the new name server's address is wharf's", || {
        look().starts_with("10.77.").then_some(())
    });
    Ok(())
}

fn without_a_name_server_the_names_of_spaces_are_still_known(world: &World) -> Played {
    world.machine()?;
    world.needs("getent")?;
    let shop = world.project("shop");
    // The machine's name server is down.
    let line = shop.run(["getent", "ahostsv4", "shop.internal"]).out();
    assert!(line.starts_with("10.77."), "{line}");
    Ok(())
}
