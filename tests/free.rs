//! `wharf free` prints ports that nobody has, and starts programs that have them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Played, World, free_port, scenes};

scenes![
    a_held_port_is_the_programs_own_from_the_start,
    a_system_port_is_free_inside_for_everybody,
    datagram_sockets_are_passed_too,
    ports_that_somebody_has_are_not_free,
    several_ports_are_different_ones,
    what_cannot_be_run_ends_as_in_a_shell,
];

/// Says which sockets it was given, as systemd's protocol has it.
const GIVEN: &str = "
import os, socket
assert int(os.environ['LISTEN_PID']) == os.getpid()
count = int(os.environ['LISTEN_FDS'])
names = os.environ['LISTEN_FDNAMES'].split(':')
for number in range(3, 3 + count):
    given = socket.socket(fileno=number)
    listens = given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    kind = 'tcp' if given.type == socket.SOCK_STREAM else 'udp'
    print(kind, *given.getsockname(), 'listens' if listens else 'bound', names[number - 3], flush=True)
try:
    os.fstat(3 + count)
    print('and something else')
except OSError:
    print('and nothing else')
";

fn ports(text: &str) -> Vec<u16> {
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn ports_that_somebody_has_are_not_free(world: &World) -> Played {
    let port = free_port();
    let range = format!("{port}-{port}");
    assert_eq!(ports(&world.wharf(["free", &range]).out()), [port]);
    for address in ["127.0.0.1", "0.0.0.0", "::1"] {
        let _server = world.serve(&["listen", "tcp", address, &port.to_string()]);
        let none = world.wharf(["free", &range]).run().ended_with(1);
        assert_eq!(
            none.stderr,
            format!("wharf: 0 of {range} are free, 1 are wanted\n")
        );
        assert_eq!(ports(&world.wharf(["free", "--udp", &range]).out()), [port]);
    }
    Ok(())
}

fn several_ports_are_different_ones(world: &World) -> Played {
    let found = ports(&world.wharf(["free", "-n", "20"]).out());
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 20);
    assert!(
        found.iter().all(|port| (10_000..30_000).contains(port)),
        "{found:?}"
    );
    let json = world
        .wharf(["free", "--count", "2", "--udp", "--json"])
        .out();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["schema"], &json["protocol"]),
        (&json!(1), &json!("udp"))
    );
    assert_eq!(json["ports"].as_array().unwrap().len(), 2);
    Ok(())
}

fn a_system_port_is_free_inside_for_everybody(world: &World) -> Played {
    let shop = world.project("shop");
    let _server = shop.serve(&["listen", "tcp", "127.0.0.1", "80"]);
    let free = |range: &str| {
        shop.shell(&format!("{} free {range}", world.binary.display()))
            .run()
    };
    free("80").ended_with(1);
    assert_eq!(free("81").ended_with(0).stdout, "81\n");
    Ok(())
}

fn a_held_port_is_the_programs_own_from_the_start(world: &World) -> Played {
    let port = free_port();
    let range = format!("{port}");
    let given = |words: &[&str]| {
        let line = world.wharf(["free", "--hold"]).words(words);
        line.words(["--", "python3", "-c", GIVEN]).out()
    };
    let expected = format!("tcp 127.0.0.1 {port} listens {port}\nand nothing else\n");
    assert_eq!(given(&[&range]), expected);
    let at = given(&["--at", "127.77.0.5", &range]);
    assert!(
        at.starts_with(&format!("tcp 127.77.0.5 {port} listens")),
        "{at}"
    );
    let several = given(&["-n", "3"]);
    assert_eq!(several.lines().count(), 4, "{several}");
    assert!(several.ends_with("and nothing else\n"), "{several}");
    Ok(())
}

fn datagram_sockets_are_passed_too(world: &World) -> Played {
    let line = world
        .wharf(["free", "--hold", "-u", "--", "python3", "-c", GIVEN])
        .out();
    assert!(
        line.starts_with("udp 127.0.0.1 ") && line.contains(" bound "),
        "{line}"
    );
    Ok(())
}

fn what_cannot_be_run_ends_as_in_a_shell(world: &World) -> Played {
    world
        .wharf(["free", "--hold", "--", "no-such-program"])
        .run()
        .ended_with(127);
    world
        .wharf(["free", "--hold", "--", "/"])
        .run()
        .ended_with(126);
    world.wharf(["free", "--hold"]).run().ended_with(2);
    world.wharf(["free", "--", "true"]).run().ended_with(2);
    Ok(())
}
