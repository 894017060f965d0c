//! From inside, the network works as it does outside.

use crate::harness::machine::{IPV4, IPV6, NOWHERE, PROHIBITED, UNREACHABLE};
use crate::harness::{Played, World, scenes};

scenes![
    a_datagram_to_a_port_that_nobody_has_is_refused_at_once,
    a_refused_connection_is_refused_at_once,
    a_space_reaches_another_by_address_and_by_name,
    a_space_within_a_run_reaches_the_network_too,
    a_stream_arrives_whole_in_both_directions,
    an_address_that_can_not_be_reached_is_unreachable_at_once,
    datagrams_of_every_size_come_back_as_they_were,
    ping_reaches_what_the_machine_reaches,
    servers_of_the_machine_are_reached_at_its_address,
    servers_on_the_machines_loopback_are_reached_at_host_internal,
];

/// The gateway, which is host.internal.
const GATEWAY4: &str = "10.77.0.1";
const GATEWAY6: &str = "fd77:7761:7266::1";

fn servers_of_the_machine_are_reached_at_its_address(world: &World) -> Played {
    world.machine()?;
    let shop = world.project("shop");
    let _held = shop.hold();
    for protocol in ["tcp", "udp"] {
        for address in [IPV4, IPV6] {
            let _server = world.serve(&["echo", protocol, address, "7"]);
            shop.fares(&["ask", protocol, address, "7", "hello"])
                .is_at_once("answer: hello");
        }
    }
    Ok(())
}

fn servers_on_the_machines_loopback_are_reached_at_host_internal(world: &World) -> Played {
    world.machine()?;
    let shop = world.project("shop");
    let _held = shop.hold();
    for protocol in ["tcp", "udp"] {
        let four = world.serve(&["echo", protocol, "127.0.0.1", "7"]);
        let six = world.serve(&["echo", protocol, "::1", "8"]);
        for (address, port) in [(GATEWAY4, "7"), (GATEWAY6, "8")] {
            shop.fares(&["ask", protocol, address, port, "hello"])
                .is_at_once("answer: hello");
        }
        drop((four, six));
    }
    // A connection finds a server whichever loopback address it is on.
    let _four = world.serve(&["echo", "tcp", "127.0.0.1", "7"]);
    let _six = world.serve(&["echo", "tcp", "::1", "8"]);
    shop.fares(&["ask", "tcp", GATEWAY6, "7", "hello"])
        .is_at_once("answer: hello");
    shop.fares(&["ask", "tcp", GATEWAY4, "8", "hello"])
        .is_at_once("answer: hello");
    Ok(())
}

fn a_refused_connection_is_refused_at_once(world: &World) -> Played {
    world.machine()?;
    let shop = world.project("shop");
    let _held = shop.hold();
    for address in [IPV4, IPV6, GATEWAY4, GATEWAY6] {
        shop.fares(&["ask", "tcp", address, "9", "hello"])
            .is_at_once("refused");
    }
    Ok(())
}

fn a_datagram_to_a_port_that_nobody_has_is_refused_at_once(world: &World) -> Played {
    world.machine()?;
    let shop = world.project("shop");
    let _held = shop.hold();
    for address in [IPV4, IPV6, GATEWAY4, GATEWAY6] {
        shop.fares(&["ask", "udp", address, "9", "hello"])
            .is_at_once("refused");
    }
    Ok(())
}

fn an_address_that_can_not_be_reached_is_unreachable_at_once(world: &World) -> Played {
    world.machine()?;
    let shop = world.project("shop");
    let _held = shop.hold();
    for (address, outcome) in [
        (UNREACHABLE, "unreachable"),
        (NOWHERE, "unreachable"),
        ("2001:db8:1::1", "unreachable"),
        // "This link" and "this host" end at the space.
        ("169.254.1.1", "unreachable"),
    ] {
        for protocol in ["tcp", "udp"] {
            let fared = shop.fares(&["ask", protocol, address, "7", "hello"]);
            assert_eq!(fared.said, outcome, "{protocol} {address}: {fared:?}");
            fared.is_at_once(outcome);
        }
    }
    // Linux tells a TCP socket of a prohibition as of an unreachable host; what it never does is wait.
    let prohibited = shop.fares(&["ask", "tcp", PROHIBITED, "7", "hello"]);
    assert!(
        ["unreachable", "prohibited"].contains(&prohibited.said.as_str()),
        "{prohibited:?}"
    );
    prohibited.is_at_once(&prohibited.said);
    Ok(())
}

fn datagrams_of_every_size_come_back_as_they_were(world: &World) -> Played {
    world.machine()?;
    let _four = world.serve(&["echo", "udp", IPV4, "7"]);
    let _six = world.serve(&["echo", "udp", IPV6, "7"]);
    for mtu in ["1280", "1500", "65520"] {
        let space = world.project(&format!("mtu-{mtu}"));
        let _held = space.hold_with(&["--mtu", mtu]);
        let sizes = [
            "1", "512", "1232", "1233", "1252", "1253", "1472", "1473", "4096", "16384", "65507",
        ];
        for address in [IPV4, IPV6] {
            let words: Vec<_> = ["datagrams", address, "7"]
                .into_iter()
                .chain(sizes)
                .collect();
            space
                .fares(&words)
                .is(&format!("answer: {n} of {n}", n = sizes.len()));
        }
    }
    Ok(())
}

fn ping_reaches_what_the_machine_reaches(world: &World) -> Played {
    world.machine()?;
    world.needs("ping")?;
    let shop = world.project("shop");
    let _held = shop.hold();
    for address in [IPV4, IPV6, GATEWAY4, GATEWAY6] {
        let pong = shop
            .run(["ping", "-n", "-c", "3", "-i", "0.2", "-W", "5", address])
            .run()
            .ended_with(0);
        assert!(pong.stdout.contains("3 received"), "{pong}");
    }
    let large = shop
        .run(["ping", "-n", "-c", "1", "-s", "8000", "-W", "5", IPV4])
        .run()
        .ended_with(0);
    assert!(large.stdout.contains("8008 bytes from"), "{large}");
    let nowhere = shop
        .run(["ping", "-n", "-c", "1", "-W", "5", UNREACHABLE])
        .run();
    assert_ne!(nowhere.code(), 0, "{nowhere}");
    assert!(
        nowhere.stdout.contains("Unreachable") || nowhere.stderr.contains("unreachable"),
        "{nowhere}"
    );
    Ok(())
}

fn a_stream_arrives_whole_in_both_directions(world: &World) -> Played {
    world.machine()?;
    let plans = world
        .devices()
        .iter()
        .flat_map(|device| [(device, "65520"), (device, "1500")]);
    for (device, mtu) in plans {
        let space = world.project(&format!("{device}-{mtu}"));
        let _held = space.hold_with(&["--mtu", mtu, "--device", device]);
        let bytes = crate::endurance::bytes();
        for (address, direction, opposite) in [(IPV4, "send", "receive"), (IPV6, "receive", "send")]
        {
            let there = world.serve(&["stream", "listen", opposite, address, "0", &bytes]);
            let port = there.line_after("ready ");
            let here = space
                .peer(&["stream", "connect", direction, address, &port, &bytes])
                .out();
            let there = there.outcome().ended_with(0).stdout;
            let (_, there) = there.split_once('\n').unwrap();
            assert_eq!(here, there, "{direction} at MTU {mtu} over {device}");
            assert!(here.ends_with(&format!(" {bytes}\n")), "{here}");
        }
    }
    Ok(())
}

fn a_space_reaches_another_by_address_and_by_name(world: &World) -> Played {
    world.machine()?;
    world.needs("getent")?;
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let _tcp = shop.serve(&["echo", "tcp", "::", "7"]);
    let _udp = shop.serve(&["echo", "udp", "::", "7"]);
    let _held = blog.hold();
    let said = shop.wharf(["run", "--", "hostname", "-I"]).run().stderr;
    let address = said.split(" · ").nth(1).unwrap().trim();
    let name = |kind: &str| {
        let line = blog.run(["getent", kind, "shop.internal"]).out();
        line.split_whitespace().next().unwrap().to_owned()
    };
    let (four, six) = (name("ahostsv4"), name("ahostsv6"));
    assert_eq!(four, address);
    for address in [&four, &six] {
        for protocol in ["tcp", "udp"] {
            blog.fares(&["ask", protocol, address, "7", "hello"])
                .is_at_once("answer: hello");
        }
        // What nobody listens at is refused by the other space itself.
        blog.fares(&["ask", "tcp", address, "9", "hello"])
            .is_at_once("refused");
    }
    let bytes = crate::endurance::bytes();
    let there = shop.serve(&["stream", "listen", "receive", &four, "0", &bytes]);
    let port = there.line_after("ready ");
    let here = blog
        .peer(&["stream", "connect", "send", &four, &port, &bytes])
        .out();
    assert!(there.outcome().ended_with(0).stdout.ends_with(&here));
    Ok(())
}

fn a_space_within_a_run_reaches_the_network_too(world: &World) -> Played {
    world.machine()?;
    world.needs("curl")?;
    let _server = world.serve(&["http", IPV4, "8000", "of the machine"]);
    let shop = world.project("shop");
    let binary = world.binary.to_str().unwrap();
    let url = format!("http://{IPV4}:8000/");
    assert_eq!(
        shop.run([binary, "run", "-q", "--", "curl", "-sS", &url])
            .out(),
        "of the machine"
    );
    Ok(())
}
