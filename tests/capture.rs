//! `wharf capture`: what passes between a space and everything else, for people and for Wireshark.

use std::path::Path;

use rustix::process::Signal;

use crate::harness::{Played, World, await_that, scenes};

scenes![
    a_capture_ends_cleanly_and_counts,
    a_filter_chooses_and_a_wrong_one_is_explained,
    a_slow_reader_misses_frames_and_slows_nothing,
    the_file_names_programs_and_spaces_for_wireshark,
];

/// What tshark has to say about a file.
fn tshark(world: &World, file: &Path, words: &[&str]) -> String {
    let line = world.program("tshark").word("-r").word(file).words(words);
    line.out()
}

/// A client that asks a web server for a page, and is there until its input ends.
const CLIENT: &str = "import socket, sys\n\
    sock = socket.create_connection((sys.argv[1], 8000), 30)\n\
    sock.sendall(b'GET / HTTP/1.1\\r\\nHost: %s:8000\\r\\n\\r\\n' % sys.argv[1].encode())\n\
    print(sock.recv(65536), flush=True)\n\
    sys.stdin.read()\n";

fn address(world: &World, space: &str) -> String {
    let space = world.wharf(["env", "--json", space]).out();
    let space: serde_json::Value = serde_json::from_str(&space).unwrap();
    space["ipv4"].as_str().unwrap().to_owned()
}

fn a_capture_ends_cleanly_and_counts(world: &World) -> Played {
    let (shop, other) = (world.project("shop"), world.project("other"));
    let _server = shop.serve(&["http", "0.0.0.0", "8000", "of the shop"]);
    let to = address(world, "shop");
    let file = world.home().join("seen.pcapng");
    let capture = world.wharf(["capture", "shop", "--write"]).word(&file);
    let capture = capture.start();
    capture.warns("capturing in shop");
    let lines = shop.wharf(["capture", "."]).start();
    lines.warns("capturing in shop");
    let objects = shop.wharf(["capture", ".", "--json"]).start();
    objects.warns("capturing in shop");
    let client = other.run(["python3", "-c", CLIENT, &to]).start();
    client.says("200 OK");
    lines.says(&format!("> {to}:8000  tcp SYN  0 bytes"));
    let said = lines.line_that(|line| line.contains("tcp SYN ").then(|| line.to_owned()));
    assert!(said.contains(" in other → python3"), "{said}");
    let opening = objects.line_that(|line| {
        let frame: serde_json::Value = serde_json::from_str(line).ok()?;
        (frame["flags"] == "SYN").then_some(frame)
    });
    assert_eq!(
        (&opening["destination"], &opening["destination_port"]),
        (&to.as_str().into(), &8000.into())
    );
    assert!(
        opening["comment"]
            .as_str()
            .unwrap()
            .contains(" in other → python3"),
        "{opening}"
    );
    let [_, counted, _] = [lines, objects, capture].map(|capture| {
        capture.signal(Signal::INT);
        let outcome = capture.outcome().ended_with(0);
        assert!(
            outcome.stderr.contains(" frames captured, 0 dropped"),
            "{outcome}"
        );
        outcome
    });
    let last = counted.stdout.lines().last().expect("it counts");
    assert!(last.ends_with("\"missed\":0,\"schema\":1}"), "{counted}");
    let recorded = std::fs::read(&file).unwrap();
    assert_eq!(recorded[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    // A space that ends takes its captures with it; one that doesn't run has none.
    let last = world.wharf(["capture", "shop", "-c", "1000000"]).start();
    last.warns("capturing");
    shop.wharf(["stop"]).run().ended_with(0);
    last.outcome().ended_with(0);
    world.wharf(["capture", "shop"]).run().ended_with(1);
    Ok(())
}

fn a_filter_chooses_and_a_wrong_one_is_explained(world: &World) -> Played {
    let (shop, other) = (world.project("shop"), world.project("other"));
    let _servers = (
        shop.serve(&["echo", "tcp", "0.0.0.0", "7000"]),
        shop.serve(&["echo", "udp", "0.0.0.0", "7001"]),
    );
    let to = address(world, "shop");
    let some = world
        .wharf([
            "capture", "shop", "--count", "2", "udp", "and", "port", "7001",
        ])
        .start();
    some.warns("capturing");
    for (protocol, port) in [("tcp", "7000"), ("udp", "7001")] {
        other
            .fares(&["ask", protocol, &to, port, "hello"])
            .is("answer: hello");
    }
    let outcome = some.outcome().ended_with(0);
    assert_eq!(outcome.stdout.lines().count(), 2, "{outcome}");
    assert!(
        outcome
            .stdout
            .lines()
            .all(|line| line.contains("udp  5 bytes")),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("2 frames captured"), "{outcome}");
    let wrong = world.wharf(["capture", "shop", "port", "http"]).run();
    assert!(wrong.stderr.contains("\"http\" is no port"), "{wrong}");
    wrong.ended_with(2);
    Ok(())
}

fn the_file_names_programs_and_spaces_for_wireshark(world: &World) -> Played {
    world.needs("tshark")?;
    let (shop, other) = (world.project("shop"), world.project("other"));
    let _server = shop.serve(&["http", "0.0.0.0", "8000", "of the shop"]);
    let _held = other.hold();
    let to = address(world, "shop");
    let file = world.home().join("seen.pcapng");
    let capture = world.wharf(["capture", "other", "-w"]).word(&file).start();
    capture.warns("capturing");
    let mut client = other.run(["python3", "-c", CLIENT, &to]).start();
    client.says("200 OK");
    // Whose a flow is can be told as long as it stands.
    await_that("the flow's programs are written down", || {
        let written = std::fs::read(&file).unwrap();
        let told = written.windows(9).any(|part| part == b") in shop");
        told.then_some(())
    });
    client.close_input();
    client.outcome().ended_with(0);
    capture.signal(Signal::INT);
    capture.outcome().ended_with(0);
    let comments = [
        "-Y",
        "ip and tcp.port == 8000",
        "-T",
        "fields",
        "-e",
        "frame.comment",
    ];
    let comments = tshark(world, &file, &comments);
    let comments: Vec<_> = comments.lines().filter(|line| !line.is_empty()).collect();
    let [comment] = comments[..] else {
        panic!("one flow has one comment: {comments:?}")
    };
    assert!(
        comment.starts_with("python3") && comment.contains(") in other → python3"),
        "{comment}"
    );
    let names = [
        "-N",
        "n",
        "-Y",
        "ip and tcp.flags.syn == 1 and tcp.flags.ack == 0",
        "-T",
        "fields",
        "-e",
        "ip.dst_host",
    ];
    assert_eq!(tshark(world, &file, &names), "shop.internal\n");
    let http = [
        "-d",
        "tcp.port==8000,http",
        "-Y",
        "http.request",
        "-T",
        "fields",
        "-e",
        "http.host",
    ];
    assert_eq!(tshark(world, &file, &http), format!("{to}:8000\n"));
    Ok(())
}

fn a_slow_reader_misses_frames_and_slows_nothing(world: &World) -> Played {
    let (shop, other) = (world.project("shop"), world.project("other"));
    let to = {
        let _held = shop.hold();
        address(world, "shop")
    };
    let receiver = shop.peer(&["stream", "listen", "receive", &to, "7000", "67108864"]);
    let receiver = receiver.start();
    receiver.says("ready");
    // Nobody reads what this writes, until all has passed.
    let script = "wharf=$0; \"$wharf\" capture shop -w - | { read -r _ < go; cat > seen.pcapng; }";
    let fifo = world.home().join("go");
    world.program("mkfifo").word(&fifo).run().ended_with(0);
    let slow = world
        .program("sh")
        .words(["-c", script])
        .word(&world.binary);
    let slow = slow.start();
    slow.warns("capturing");
    let sender = other.peer(&["stream", "connect", "send", &to, "7000", "67108864"]);
    sender.run().ended_with(0);
    receiver.outcome().ended_with(0);
    let go = world
        .program("sh")
        .words(["-c", "echo > \"$0\""])
        .word(&fifo);
    go.run().ended_with(0);
    let outcome = slow.outcome().ended_with(0);
    let counted = outcome.stderr.lines().last().unwrap();
    assert!(counted.contains(" frames captured, "), "{outcome}");
    assert!(!counted.ends_with(" 0 dropped"), "{outcome}");
    Ok(())
}
