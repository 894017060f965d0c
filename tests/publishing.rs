//! Ports of spaces at addresses of the machine: published, focused, given back.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::harness::machine::{IPV4, IPV6};
use crate::harness::{Played, Project, World, await_that, free_port, scenes};

scenes![
    a_place_that_somebody_has_is_explained_and_waited_for,
    a_client_from_the_network_is_seen_by_its_own_address,
    a_published_port_follows_its_listener,
    a_server_is_shown_and_opened,
    connections_that_stand_outlive_the_publication,
    datagrams_from_the_network_are_seen_by_the_clients_own_address,
    datagrams_find_their_way_back,
    each_space_has_a_face_of_its_own,
    everything_is_published_as_it_opens,
    focus_moves_the_ports_of_localhost,
    one_port_is_not_published_for_two,
    standard_input_and_output_are_connected,
    what_a_client_names_goes_before_the_focus,
    who_says_nothing_hears_the_server_in_focus,
    the_next_free_port_is_told,
    what_the_project_wants_is_published,
    the_next_daemon_publishes_again,
];

/// Where a port is published, as the command that publishes it says.
fn publish(project: &Project<'_>, words: &[&str]) -> String {
    let said = project.wharf(["publish"]).words(words).out();
    said.split(' ').next().unwrap().to_owned()
}

fn connect(place: &str) -> TcpStream {
    let stream = TcpStream::connect(place).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream
}

/// Whether the echo server behind `place` answers.
fn echoes(place: &str, text: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(place) else {
        return false;
    };
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut back = vec![0; text.len()];
    stream.write_all(text.as_bytes()).is_ok()
        && stream.read_exact(&mut back).is_ok()
        && back == text.as_bytes()
}

/// What the web server behind `place` has.
fn page(place: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(place) else {
        return "refused".to_owned();
    };
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream
        .write_all(b"GET / HTTP/1.0\r\nConnection: close\r\n\r\n")
        .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok();
    answer
        .split("\r\n\r\n")
        .nth(1)
        .unwrap_or("nothing")
        .to_owned()
}

fn each_space_has_a_face_of_its_own(world: &World) -> Played {
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let _shop = shop.serve(&["http", "127.0.0.1", "5432", "of the shop"]);
    let _blog = blog.serve(&["http", "::", "5432", "of the blog"]);
    let (at_shop, at_blog) = (publish(&shop, &["5432"]), publish(&blog, &["5432"]));
    for face in [&at_shop, &at_blog] {
        assert!(
            face.starts_with("127.77.") && face.ends_with(":5432"),
            "{face}"
        );
    }
    assert_ne!(at_shop, at_blog);
    assert_eq!(page(&at_shop), "of the shop");
    assert_eq!(page(&at_blog), "of the blog");
    // The same again is the same, and named from elsewhere it is the same as well.
    assert_eq!(publish(&shop, &["5432"]), at_shop);
    assert_eq!(publish(&blog, &["shop:5432"]), at_shop);
    let listed = shop.wharf(["publish"]).out();
    assert_eq!(
        listed,
        format!("{at_blog} → blog:5432\n{at_shop} → shop:5432\n"),
        "{listed}"
    );
    Ok(())
}

/// Says where each client comes from, reads its line and sends it back.
const WHO: &str = "
import socket, sys, threading
def serve(address):
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    server = socket.create_server((address, int(sys.argv[1])), family=family, backlog=64)
    print('ready', flush=True)
    while True:
        client, peer = server.accept()
        threading.Thread(target=answer, args=(client, peer), daemon=True).start()
def answer(client, peer):
    with client:
        client.sendall(f'{peer[0]} {peer[1]}\\n'.encode())
        with client.makefile('rb') as lines:
            for line in lines:
                client.sendall(line)
for address in sys.argv[2:]:
    threading.Thread(target=serve, args=(address,), daemon=True).start()
sys.stdin.read()
";

/// Connects from an address of the machine, says who it was seen as, and echoes a mebibyte.
const VISIT: &str = "
import socket, sys
source, place, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
with socket.create_connection((place, port), timeout=20, source_address=(source, 0)) as sock:
    own = sock.getsockname()
    lines = sock.makefile('rb')
    seen = lines.readline().decode().split()
    print('own' if seen == [own[0], str(own[1])] else seen[0])
    data = b'x' * (1 << 20) + b'\\n'
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    print(lines.read() == data)
";

fn a_client_from_the_network_is_seen_by_its_own_address(world: &World) -> Played {
    world.machine()?;
    let shop = world.project("shop");
    let server = |port: &str, addresses: &[&str]| {
        let server = shop.run(["python3", "-c", WHO, port]).words(addresses);
        let server = server.start();
        server.says("ready");
        server
    };
    let _everywhere = server("3000", &["0.0.0.0", "::"]);
    let _inside_only = server("3001", &["127.0.0.1"]);
    for (address, port) in [(IPV4, "3000"), (IPV4, "3001"), (IPV6, "3000")] {
        shop.wharf(["publish", port, "--at", address]).out();
    }
    shop.wharf(["publish", "127.0.0.1:3000:3000"]).out();
    let cases = [
        // From the network's side.
        (IPV4, IPV4, "3000", "own"),
        (IPV6, IPV6, "3000", "own"),
        // Over the machine's loopback, and to a program that has loopback only.
        ("127.0.0.1", "127.0.0.1", "3000", "127.0.0.1"),
        (IPV4, IPV4, "3001", "127.0.0.1"),
    ];
    for (source, place, port, seen) in cases {
        await_that("the place is served", || {
            let words = ["-c", VISIT, source, place, port];
            let visit = world.program("python3").words(words).run();
            let expected = format!("{seen}\nTrue\n");
            (visit.stdout == expected).then_some(())
        });
    }
    Ok(())
}

/// Answers each datagram with its sender's address and port, and what it said.
const WHO_SAYS: &str = "
import socket, sys, threading
def serve(address):
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    server = socket.socket(family, socket.SOCK_DGRAM)
    server.bind((address, int(sys.argv[1])))
    print('ready', flush=True)
    while True:
        said, peer = server.recvfrom(65535)
        for part in range(3):
            server.sendto(f'{peer[0]} {peer[1]} {part} '.encode() + said, peer)
for address in sys.argv[2:]:
    threading.Thread(target=serve, args=(address,), daemon=True).start()
sys.stdin.read()
";

/// Says who it was seen as, and whether everything came back from where it went. Datagrams may be lost: it asks again.
const ASK: &str = "
import socket, sys
source, place, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ':' in place else socket.AF_INET
sock = socket.socket(family, socket.SOCK_DGRAM)
sock.bind((source, 0))
sock.connect((place, port))
sock.settimeout(2)
own = sock.getsockname()
for said in (b'', b'x', b'y' * 9000):
    for attempt in range(5):
        sock.send(said)
        try:
            heard = [sock.recv(65535).split(b' ', 3) for part in range(3)]
            break
        except OSError:
            pass
    else:
        sys.exit('silent')
    whole = [part for _, _, part, rest in heard if rest == said] == [b'0', b'1', b'2']
    seen = [word.decode() for word in heard[0][:2]]
    print('own' if seen == [own[0], str(own[1])] else seen[0], whole)
";

fn datagrams_from_the_network_are_seen_by_the_clients_own_address(world: &World) -> Played {
    world.machine()?;
    let shop = world.project("shop");
    let server = |port: &str, addresses: &[&str]| {
        let server = shop.run(["python3", "-c", WHO_SAYS, port]).words(addresses);
        let server = server.start();
        server.says("ready");
        server
    };
    let everywhere = server("3000", &["0.0.0.0"]);
    let _inside_only = server("3001", &["127.0.0.1"]);
    let _sixth = server("3002", &["::"]);
    let places = [
        ("3000", IPV4),
        ("3001", IPV4),
        ("3002", IPV4),
        ("3002", IPV6),
    ];
    for (port, address) in places {
        shop.wharf(["publish", &format!("{port}/udp"), "--at", address])
            .out();
    }
    shop.wharf(["publish", "127.0.0.1:3000:3000/udp"]).out();
    let ask = |source: &str, place: &str, port: &str, seen: &str| {
        let asked = world
            .program("python3")
            .words(["-c", ASK, source, place, port]);
        let expected = format!("{seen} True\n").repeat(3);
        let outcome = asked.run();
        (outcome.stdout == expected).then_some(())
    };
    let mapped = format!("::ffff:{IPV4}");
    let cases = [
        (IPV4, IPV4, "3000", "own"),
        (IPV6, IPV6, "3002", "own"),
        // A socket for both families sees IPv4 in its mapped form.
        (IPV4, IPV4, "3002", &mapped),
        ("127.0.0.1", "127.0.0.1", "3000", "127.0.0.1"),
        (IPV4, IPV4, "3001", "127.0.0.1"),
    ];
    for (source, place, port, seen) in cases {
        await_that("the place is served", || ask(source, place, port, seen));
    }
    // The machine's port is free as soon as it is published no longer, whoever was just there.
    shop.wharf(["unpublish", &format!("{IPV4}:3002/udp")]).out();
    let taken = world.serve(&["echo", "udp", IPV4, "3002"]);
    drop((taken, everywhere));
    Ok(())
}

fn a_published_port_follows_its_listener(world: &World) -> Played {
    let shop = world.project("shop");
    let _held = shop.hold();
    let port = free_port().to_string();
    let place = publish(&shop, &[&format!("127.0.0.1:{port}:8000")]);
    assert_eq!(page(&place), "refused");
    let mut server = shop.serve(&["http", "0.0.0.0", "8000", "of the shop"]);
    await_that("it is published", || {
        (page(&place) == "of the shop").then_some(())
    });
    server.close_input();
    server.outcome().ended_with(0);
    // Given back, the port is the machine's.
    let mut machine = await_that("a program of the machine gets the port", || {
        let taken = std::net::TcpListener::bind(&place).ok()?;
        drop(taken);
        Some(world.serve(&["http", "127.0.0.1", &port, "of the machine"]))
    });
    assert_eq!(page(&place), "of the machine");
    let server = shop.serve(&["http", "0.0.0.0", "8000", "of the shop"]);
    await_that("it is told what is in the way", || {
        let listed = shop.wharf(["publish"]).out();
        listed.contains("address already in use").then_some(())
    });
    assert_eq!(page(&place), "of the machine");
    machine.close_input();
    machine.outcome().ended_with(0);
    await_that("it is published again", || {
        (page(&place) == "of the shop").then_some(())
    });
    drop(server);
    Ok(())
}

fn a_place_that_somebody_has_is_explained_and_waited_for(world: &World) -> Played {
    let port = free_port().to_string();
    let place = format!("127.0.0.1:{port}");
    let mut machine = world.serve(&["http", "127.0.0.1", &port, "of the machine"]);
    let shop = world.project("shop");
    let _shop = shop.serve(&["http", "127.0.0.1", "8000", "of the shop"]);
    let spec = format!("{place}:8000");
    let refused = shop.wharf(["publish", &spec]).run().ended_with(4);
    // An ordinary user can't see who it is, where these tests run as root.
    let pid = format!("pid {}", machine.pid().as_raw_pid());
    let names = |words: &str| refused.stderr.contains(words);
    assert!(
        names("address already in use") && names("--wait"),
        "{}",
        refused.stderr
    );
    assert!(
        names(&pid) || names("a program of user root"),
        "{}",
        refused.stderr
    );
    let not_run = shop
        .wharf(["run", "-p", &spec, "--", "echo", "ran"])
        .run()
        .ended_with(4);
    assert_eq!(not_run.stdout, "");
    shop.wharf(["publish", "--wait", &spec]).run().ended_with(0);
    assert_eq!(page(&place), "of the machine");
    machine.close_input();
    machine.outcome().ended_with(0);
    await_that("it is published", || {
        (page(&place) == "of the shop").then_some(())
    });
    Ok(())
}

fn one_port_is_not_published_for_two(world: &World) -> Played {
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let (_shop, _blog) = (shop.hold(), blog.hold());
    let place = format!("127.77.255.255:{}", free_port());
    shop.wharf(["publish", &format!("{place}:80")])
        .run()
        .ended_with(0);
    let refused = blog
        .wharf(["publish", &format!("{place}:80")])
        .run()
        .ended_with(4);
    assert!(
        refused.stderr.contains("address already in use"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("space shop"), "{}", refused.stderr);
    blog.wharf(["unpublish", &place]).run().ended_with(0);
    blog.wharf(["publish", &format!("{place}:80")])
        .run()
        .ended_with(0);
    let json = blog.wharf(["publish", "--json"]).out();
    assert!(json.contains("\"state\":\"waiting\""), "{json}");
    blog.wharf(["unpublish", "--all"]).run().ended_with(0);
    blog.wharf(["unpublish", "80"]).run().ended_with(1);
    Ok(())
}

fn focus_moves_the_ports_of_localhost(world: &World) -> Played {
    let place = format!("127.0.0.1:{}", free_port());
    let spec = format!("{place}:3000");
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let _shop = shop.serve(&["echo", "tcp", "127.0.0.1", "3000"]);
    let _blog = blog.serve(&["http", "127.0.0.1", "3000", "of the blog"]);
    publish(&shop, &[&spec]);
    let port = place.strip_prefix("127.0.0.1").unwrap();
    let spec = format!("{}:3000", &port[1..]);
    let said = blog.wharf(["publish", "--at", "localhost", &spec]).out();
    assert!(said.contains("leads to shop"), "{said}");
    let mut standing = connect(&place);
    assert!(echoes(&place, "hello"));
    shop.wharf(["focus"]).run().ended_with(1);
    shop.wharf(["focus", "blog"]).run().ended_with(0);
    assert_eq!(shop.wharf(["focus"]).out(), "blog\n");
    let json = shop.wharf(["focus", "--json"]).out();
    assert!(json.contains("\"focus\":\"blog\""), "{json}");
    assert_eq!(page(&place), "of the blog");
    // What stood before stays where it was.
    standing.write_all(b"still here").unwrap();
    let mut back = [0; 10];
    standing.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"still here");
    shop.wharf(["focus", "--none"]).run().ended_with(0);
    assert!(echoes(&place, "hello"));
    shop.wharf(["focus", "nobody"]).run().ended_with(1);
    Ok(())
}

fn what_a_client_names_goes_before_the_focus(world: &World) -> Played {
    world.needs("curl")?;
    let port = free_port();
    let spec = format!("localhost:{port}:3000");
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let _shop = shop.serve(&["http", "127.0.0.1", "3000", "of the shop"]);
    let _blog = blog.serve(&["http", "127.0.0.1", "3000", "of the blog"]);
    publish(&shop, &[&spec]);
    publish(&blog, &[&spec]);
    shop.wharf(["focus", "blog"]).run().ended_with(0);
    for (host, expected) in [
        ("shop.localhost", "of the shop"),
        ("blog.localhost", "of the blog"),
        ("localhost", "of the blog"),
        ("unknown.localhost", "of the blog"),
    ] {
        let url = format!("http://127.0.0.1:{port}/");
        let host = format!("Host: {host}:{port}");
        let words = ["-sS", "-H", &host, &url];
        assert_eq!(world.program("curl").words(words).out(), expected, "{host}");
    }
    Ok(())
}

fn who_says_nothing_hears_the_server_in_focus(world: &World) -> Played {
    let port = free_port();
    let spec = format!("localhost:{port}:3000");
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let _servers = [&shop, &blog].map(|project| {
        let server = project
            .run(["python3", "-c", WHO, "3000", "127.0.0.1"])
            .start();
        server.says("ready");
        publish(project, &[&spec]);
        server
    });
    let mut silent = connect(&format!("127.0.0.1:{port}"));
    let mut word = [0; 10];
    silent.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"127.0.0.1 ");
    Ok(())
}

fn connections_that_stand_outlive_the_publication(world: &World) -> Played {
    let shop = world.project("shop");
    let _shop = shop.serve(&["echo", "tcp", "127.0.0.1", "3000"]);
    let place = publish(&shop, &["3000"]);
    let mut standing = connect(&place);
    let mut answer = |text: &[u8]| {
        standing.write_all(text).unwrap();
        let mut back = vec![0; text.len()];
        standing.read_exact(&mut back).unwrap();
        assert_eq!(back, text);
    };
    for round in 0..50 {
        answer(format!("round {round}").as_bytes());
        shop.wharf(["unpublish", "3000"]).run().ended_with(0);
        assert!(TcpStream::connect(&place).is_err());
        assert_eq!(publish(&shop, &["3000"]), place);
    }
    // More than any buffer between the two ends holds, there and back.
    let big = vec![b'x'; 1 << 20];
    for _ in 0..4 {
        let mut writer = standing.try_clone().unwrap();
        let sent = big.clone();
        let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
        let mut back = vec![0; big.len()];
        standing.read_exact(&mut back).unwrap();
        writing.join().unwrap();
        assert!(back == big);
    }
    Ok(())
}

fn datagrams_find_their_way_back(world: &World) -> Played {
    let shop = world.project("shop");
    for address in ["127.0.0.1", "0.0.0.0", "::", "::1"] {
        let _shop = shop.serve(&["echo", "udp", address, "5353"]);
        let place = publish(&shop, &["5353/udp"]);
        let place = place.strip_suffix("/udp").unwrap();
        let clients = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        for round in 0..3 {
            for (number, client) in clients.iter().enumerate() {
                let text = format!("{round} of {number}");
                let answer = await_that("the answer comes", || {
                    client.send_to(text.as_bytes(), place).unwrap();
                    client
                        .set_read_timeout(Some(Duration::from_millis(500)))
                        .unwrap();
                    let mut back = [0; 100];
                    let (length, from) = client.recv_from(&mut back).ok()?;
                    assert_eq!(from.to_string(), place);
                    Some(String::from_utf8_lossy(&back[..length]).into_owned())
                });
                assert!(answer.ends_with(&format!("of {number}")), "{answer}");
            }
        }
    }
    Ok(())
}

fn the_next_free_port_is_told(world: &World) -> Played {
    let taken = free_port();
    let _machine = world.serve(&["http", "127.0.0.1", &taken.to_string(), "of the machine"]);
    let shop = world.project("shop");
    let spec = format!("127.0.0.1:{taken}+:3000");
    let run = shop
        .wharf([
            "run",
            "-p",
            &spec,
            "--",
            "sh",
            "-c",
            "echo $WHARF_PORT_3000",
        ])
        .run()
        .ended_with(0);
    let told: u16 = run.stdout.trim().parse().unwrap();
    assert!(told > taken, "{told}");
    assert!(
        run.stderr
            .contains(&format!("published 127.0.0.1:{told} → shop:3000")),
        "{}",
        run.stderr
    );
    Ok(())
}

fn everything_is_published_as_it_opens(world: &World) -> Played {
    let shop = world.project("shop");
    let _held = shop.hold_with(&["--publish-all"]);
    let _first = shop.serve(&["http", "127.0.0.1", "3000", "first"]);
    let mut second = shop.serve(&["http", "0.0.0.0", "3001", "second"]);
    let places = await_that("both are published", || {
        let listed = shop.wharf(["publish"]).run().stdout;
        let places: Vec<_> = listed
            .lines()
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect();
        (places.len() == 2).then_some(places)
    });
    let mut pages: Vec<_> = places.iter().map(|place| page(place)).collect();
    pages.sort();
    assert_eq!(pages, ["first", "second"]);
    second.close_input();
    second.outcome().ended_with(0);
    await_that("what has closed is published no longer", || {
        let listed = shop.wharf(["publish"]).run().stdout;
        (listed.lines().count() == 1 && listed.contains(":3000")).then_some(())
    });
    Ok(())
}

fn standard_input_and_output_are_connected(world: &World) -> Played {
    let shop = world.project("shop");
    let _shop = shop.serve(&["echo", "tcp", "::1", "3000"]);
    let mut connection = world
        .program(&world.binary)
        .words(["connect", "shop:3000"])
        .start();
    connection.write(b"there and back\n");
    connection.says("there and back\n");
    connection.close_input();
    connection.outcome().ended_with(0);
    let refused = shop.wharf(["connect", "3001"]).run();
    assert_eq!(refused.code(), 1);
    let said = "nothing listens at shop:3001";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    Ok(())
}

fn the_next_daemon_publishes_again(world: &World) -> Played {
    let shop = world.project("shop");
    let _shop = shop.serve(&["http", "127.0.0.1", "3000", "of the shop"]);
    let place = format!("127.0.0.1:{}", free_port());
    publish(&shop, &[&format!("{place}:3000")]);
    shop.wharf(["focus", "shop"]).run().ended_with(0);
    kill_process(world.daemon().unwrap(), Signal::KILL).unwrap();
    await_that("it is published again", || {
        (page(&place) == "of the shop").then_some(())
    });
    assert_eq!(shop.wharf(["focus"]).out(), "shop\n");
    Ok(())
}

fn what_the_project_wants_is_published(world: &World) -> Played {
    let shop = world.project("shop");
    let file = shop.path.join("wharf.toml");
    let port = free_port();
    std::fs::write(
        &file,
        format!("publish = [3000, \"localhost:{port}+:3000\"]\n"),
    )
    .unwrap();
    world.own(&file);
    let _server = shop.serve(&["http", "127.0.0.1", "3000", "of the shop"]);
    // A second run wants the same, and gets the same.
    let _second = shop.hold();
    let listed = shop.wharf(["publish"]).out();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    for line in listed.lines() {
        let place = line.split(' ').next().unwrap();
        await_that("it is published", || {
            (page(place) == "of the shop").then_some(())
        });
    }
    std::fs::write(&file, "publish = [\"3000:\"]\n").unwrap();
    let wrong = shop.run(["true"]).run().ended_with(2);
    assert!(
        wrong.stderr.contains("wharf.toml:1:12: "),
        "{}",
        wrong.stderr
    );
    Ok(())
}

fn a_server_is_shown_and_opened(world: &World) -> Played {
    let shop = world.project("shop");
    let _held = shop.hold();
    let url = format!("http://shop.localhost:{}\n", world.names_port);
    assert_eq!(shop.wharf(["url"]).out(), url);
    let elsewhere = world.project("blog");
    let port = format!("http://3000.shop.localhost:{}\n", world.names_port);
    assert_eq!(
        elsewhere.wharf(["url", "--space", "shop", "3000"]).out(),
        port
    );
    let opened = elsewhere
        .wharf(["open", "--space", "shop"])
        .with("BROWSER", "echo")
        .out();
    assert_eq!(opened, url);
    elsewhere.wharf(["url"]).run().ended_with(1);
    Ok(())
}
