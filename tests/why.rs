//! `wharf why` tells whose a port is, whatever state it is in.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::process::Line;
use crate::harness::{Played, Process, Skipped, User, World, free_port, scenes};

scenes![
    a_listener_is_told_with_its_whole_story,
    what_is_free_is_said_and_not_a_success,
    a_port_that_is_bound_and_does_not_listen_is_held,
    a_port_in_time_wait_is_held_until_a_moment,
    a_connection_s_own_port_is_no_server,
    connections_can_outlive_their_listener,
    a_socket_that_a_dead_server_s_child_holds_is_told,
    a_listener_in_another_namespace_is_in_nobody_s_way,
    another_user_s_listener_is_told_as_far_as_it_is_known,
    sockets_that_share_a_port_are_counted,
    localhost_can_be_two_servers,
    a_wildcard_is_in_the_way_of_every_address,
    an_address_is_told_from_others,
    an_address_of_somewhere_else_is_said_to_be,
    a_system_port_wants_a_privilege_on_the_machine,
    reserved_and_chosen_ports_are_told,
    a_container_s_proxy_says_whom_it_serves,
    a_published_container_is_named_by_docker,
    a_rule_of_the_firewall_is_told,
    here_is_the_project_s_space_and_then_the_machine,
    a_space_and_the_machine_are_seen_from_inside_a_space,
    the_ways_out_are_commands_that_work,
    a_published_port_says_what_it_leads_to,
];

fn an_address_of_somewhere_else_is_said_to_be(world: &World) -> Played {
    let told = world.wharf(["why", "198.51.100.7:3000"]).run();
    let told = told.ended_with(1);
    assert!(
        told.stdout
            .contains("198.51.100.7 is no address of this machine"),
        "{told}"
    );
    let told = world.wharf(["why", "127.0.0.9:3000"]).run();
    assert!(!told.stdout.contains("is no address"), "{told}");
    Ok(())
}

const STATES: &str = include_str!("states.py");

/// A state that stands.
struct State {
    process: Process,
    port: String,
}

impl State {
    fn stands(line: Line) -> Self {
        let process = line.start();
        let port = process.line_after("ready ");
        Self { process, port }
    }

    /// A state on the machine, made by the world's user.
    fn on_machine(world: &World, state: &str) -> Self {
        let port = free_port().to_string();
        Self::stands(world.program("python3").words(["-c", STATES, state, &port]))
    }
}

impl State {
    /// Takes the state back, and waits until that is done.
    #[track_caller]
    fn ends(mut self) {
        self.process.close_input();
        self.process.outcome().ended_with(0);
    }
}

/// What was answered, which must be this verdict with the status that goes with it.
#[track_caller]
fn answer(line: Line, verdict: &str) -> Value {
    let status = match verdict {
        "held" => 0,
        "free" => 1,
        _ => 3,
    };
    let outcome = line.word("--json").run().ended_with(status);
    let answer: Value =
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome}"));
    assert_eq!(answer["verdict"], verdict, "{answer:#}");
    assert_eq!(answer["schema"], 1);
    answer
}

/// The first hold of the first place.
fn hold(answer: &Value) -> &Value {
    &answer["places"][0]["holds"][0]
}

/// The topics of all notes, those of places and those of their holds.
fn topics(answer: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for place in list(&answer["places"]) {
        let holds = list(&place["holds"]);
        let notes = holds.iter().flat_map(|hold| list(&hold["notes"]));
        found.extend(notes.chain(list(&place["notes"])));
    }
    let topic = |note: Value| note["topic"].as_str().unwrap().to_owned();
    found.into_iter().map(topic).collect()
}

#[track_caller]
fn has(answer: &Value, topic: &str) {
    assert!(topics(answer).iter().any(|it| it == topic), "{answer:#}");
}

/// The commands of the ways out.
fn commands(answer: &Value) -> Vec<String> {
    let ways = answer["ways"].as_array().unwrap();
    ways.iter()
        .filter_map(|way| Some(way["command"].as_str()?.to_owned()))
        .collect()
}

fn a_listener_is_told_with_its_whole_story(world: &World) -> Played {
    let shop = world.project("shop");
    git(world, &shop.path, "fix/cart");
    let port = free_port().to_string();
    let script = "echo \"shell $$\"; python3 -c \"$0\" listening \"$1\"; exit";
    let shell = world
        .line(&shop.path, "sh")
        .words(["-c", script, STATES, &port]);
    let state = State::stands(shell);
    let shell = state.process.line_after("shell ");

    let told = answer(world.wharf(["why", &port]), "held");
    let hold = hold(&told);
    assert_eq!(hold["state"], "listening");
    assert_eq!(hold["address"], "127.0.0.1");
    assert_eq!(hold["covers"], "127.0.0.1 only");
    assert!(
        hold["leaves"].as_str().unwrap().starts_with("::1"),
        "{hold}"
    );
    let program = &hold["programs"][0];
    assert!(
        program["program"].as_str().unwrap().starts_with("python3"),
        "{program}"
    );
    assert_eq!(program["directory"], shop.path.to_str().unwrap());
    assert_eq!(program["worktree"], shop.path.to_str().unwrap());
    assert_eq!(program["branch"], "fix/cart");
    assert_eq!(program["uid"], world.user.uid());
    let parent = &program["background"]["parents"][0];
    assert_eq!(parent["pid"].to_string(), shell, "{program:#}");
    assert_eq!(program["background"]["orphan"], Value::Null);
    let stop = format!("wharf stop --force 127.0.0.1:{port}");
    assert!(commands(&told).contains(&stop), "{told:#}");

    let text = world.wharf(["why", &port]).out();
    let first = text.lines().next().unwrap();
    assert!(
        first.starts_with(&format!("{port} is held on the machine by python3")),
        "{text}"
    );
    assert!(text.contains(", branch fix/cart"), "{text}");
    Ok(())
}

/// Makes a directory a git repository with this branch checked out, as far as anybody sees.
fn git(world: &World, directory: &Path, branch: &str) {
    let git = directory.join(".git");
    fs::create_dir(&git).unwrap();
    fs::write(git.join("HEAD"), format!("ref: refs/heads/{branch}\n")).unwrap();
    world.own(&git);
}

fn what_is_free_is_said_and_not_a_success(world: &World) -> Played {
    let port = free_port().to_string();
    let told = answer(world.wharf(["why", &port]), "free");
    assert_eq!(told["places"][0]["holds"], Value::Array(Vec::new()));
    let text = world.wharf(["why", &port]).run().ended_with(1).stdout;
    assert!(
        text.starts_with(&format!("{port} is free on the machine.")),
        "{text}"
    );
    let zero = world.wharf(["why", "0"]).run().ended_with(1).stdout;
    assert!(zero.contains("no port"), "{zero}");
    Ok(())
}

fn a_port_that_is_bound_and_does_not_listen_is_held(world: &World) -> Played {
    let state = State::on_machine(world, "bound");
    let told = answer(world.wharf(["why", &state.port]), "held");
    assert_eq!(hold(&told)["state"], "bound");
    let pid = state.process.pid().as_raw_pid();
    assert_eq!(hold(&told)["programs"][0]["pid"], pid);
    has(&told, "bound");
    // A list shows it on request.
    let list = world.wharf(["ls", "--all", "--json"]).out();
    let list: Value = serde_json::from_str(&list).unwrap();
    let flows = list["flows"].as_array().unwrap();
    assert!(
        flows
            .iter()
            .any(|it| it["port"].as_u64() == state.port.parse().ok()),
        "{list}"
    );
    Ok(())
}

fn a_port_in_time_wait_is_held_until_a_moment(world: &World) -> Played {
    let state = State::on_machine(world, "time-wait");
    let before = jiff::Timestamp::now();
    let told = answer(world.wharf(["why", &state.port]), "held");
    assert_eq!(hold(&told)["state"], "time-wait");
    assert_eq!(hold(&told)["programs"], Value::Array(Vec::new()));
    let until: jiff::Timestamp = hold(&told)["until"].as_str().unwrap().parse().unwrap();
    // The kernel keeps it for a minute.
    let longest = before
        .checked_add(jiff::SignedDuration::from_secs(90))
        .unwrap();
    assert!(before < until && until < longest, "{until}");
    has(&told, "time-wait");
    Ok(())
}

fn a_connection_s_own_port_is_no_server(world: &World) -> Played {
    let state = State::on_machine(world, "outgoing");
    let told = answer(world.wharf(["why", &state.port]), "held");
    assert_eq!(hold(&told)["state"], "connected");
    has(&told, "outgoing");
    has(&told, "ephemeral");
    let reserve = format!(
        "sudo sysctl -w net.ipv4.ip_local_reserved_ports={}",
        state.port
    );
    assert!(commands(&told).contains(&reserve), "{told:#}");
    Ok(())
}

fn connections_can_outlive_their_listener(world: &World) -> Played {
    let state = State::on_machine(world, "outlived");
    let told = answer(world.wharf(["why", &state.port]), "held");
    assert_eq!(hold(&told)["state"], "connected");
    has(&told, "outlived");
    Ok(())
}

fn a_socket_that_a_dead_server_s_child_holds_is_told(world: &World) -> Played {
    let state = State::on_machine(world, "left-over");
    let told = answer(world.wharf(["why", &state.port]), "held");
    let program = &hold(&told)["programs"][0];
    assert_eq!(program["program"], "sleep", "{told:#}");
    assert!(
        program["background"]["orphan"]["leader"].is_i64(),
        "{program:#}"
    );
    has(&told, "left-over");
    has(&told, "waiting");
    assert_eq!(hold(&told)["waiting"], 1);
    state.ends();
    Ok(())
}

fn a_listener_in_another_namespace_is_in_nobody_s_way(world: &World) -> Played {
    world.needs("unshare")?;
    let port = free_port().to_string();
    let words = [
        "--map-root-user",
        "--net",
        "python3",
        "-c",
        STATES,
        "everywhere",
        &port,
    ];
    let state = State::stands(world.program("unshare").words(words));
    let told = answer(world.wharf(["why", &port]), "free");
    let place = &told["places"][1];
    assert_eq!(place["place"], "namespace", "{told:#}");
    let network = fs::metadata(format!("/proc/{}/ns/net", state.process.pid().as_raw_pid()));
    let network = std::os::unix::fs::MetadataExt::ino(&network.unwrap());
    assert_eq!(place["namespace"], network);
    assert_eq!(
        place["holds"][0]["programs"][0]["pid"],
        state.process.pid().as_raw_pid()
    );
    Ok(())
}

fn another_user_s_listener_is_told_as_far_as_it_is_known(world: &World) -> Played {
    if world.user.other().is_none() {
        return Err(Skipped("there is no other user to be had".to_owned()));
    }
    let port = free_port().to_string();
    let states = world.home().join("states.py");
    fs::write(&states, STATES).unwrap();
    let words = [states.to_str().unwrap(), "listening", &port];
    let state = State::stands(world.service("python3").words(words));
    let told = answer(world.wharf(["why", &port]), "unseen");
    assert_eq!(hold(&told)["uid"], 0);
    assert_eq!(hold(&told)["user"], "root");
    assert_eq!(hold(&told)["programs"], Value::Array(Vec::new()));
    has(&told, "other-user");
    // Its command line is no secret.
    let suspects = hold(&told)["unseen"]["suspects"].as_array().unwrap();
    let pid = state.process.pid().as_raw_pid();
    assert!(suspects.iter().any(|it| it["pid"] == pid), "{told:#}");
    assert!(
        commands(&told).contains(&format!("sudo wharf why {port}")),
        "{told:#}"
    );
    Ok(())
}

fn sockets_that_share_a_port_are_counted(world: &World) -> Played {
    let state = State::on_machine(world, "shared");
    let told = answer(world.wharf(["why", &state.port]), "held");
    assert_eq!(hold(&told)["sockets"], 2, "{told:#}");
    has(&told, "shared");
    Ok(())
}

fn localhost_can_be_two_servers(world: &World) -> Played {
    let state = State::on_machine(world, "two-servers");
    let told = answer(
        world.wharf(["why", &format!("localhost:{}", state.port)]),
        "held",
    );
    has(&told, "two-servers");
    assert_eq!(told["places"][0]["holds"].as_array().unwrap().len(), 2);
    // One program with both sockets is one server.
    let port = free_port().to_string();
    let both = "
import socket, sys
four, six = socket.create_server(('127.0.0.1', int(sys.argv[1]))), socket.create_server(('::1', int(sys.argv[1])), family=socket.AF_INET6)
print('ready', sys.argv[1], flush=True)
sys.stdin.read(1)
";
    let _state = State::stands(world.program("python3").words(["-c", both, &port]));
    let told = answer(world.wharf(["why", &port]), "held");
    assert!(
        !topics(&told).contains(&"two-servers".to_owned()),
        "{told:#}"
    );
    Ok(())
}

fn a_wildcard_is_in_the_way_of_every_address(world: &World) -> Played {
    let state = State::on_machine(world, "everywhere");
    let told = answer(
        world.wharf(["why", &format!("127.0.0.2:{}", state.port)]),
        "held",
    );
    has(&told, "wildcard");
    assert_eq!(hold(&told)["covers"], "every IPv4 address");
    // IPv6 is free, and so is the other protocol.
    answer(
        world.wharf(["why", &format!("[::1]:{}", state.port)]),
        "free",
    );
    answer(world.wharf(["why", &format!("udp/{}", state.port)]), "free");
    Ok(())
}

fn an_address_is_told_from_others(world: &World) -> Played {
    let state = State::on_machine(world, "datagrams");
    let udp = format!("udp/127.0.0.1:{}", state.port);
    assert_eq!(
        hold(&answer(world.wharf(["why", &udp]), "held"))["protocol"],
        "udp"
    );
    answer(
        world.wharf(["why", &format!("127.0.0.2:{}", state.port)]),
        "free",
    );
    answer(world.wharf(["why", &format!("tcp/{}", state.port)]), "free");
    Ok(())
}

fn a_system_port_wants_a_privilege_on_the_machine(world: &World) -> Played {
    if world.user == User::Root {
        return Err(Skipped("root has the privilege".to_owned()));
    }
    let machine = world.machine()?;
    machine.administrate("echo 1024 > /proc/sys/net/ipv4/ip_unprivileged_port_start");
    let told = answer(world.wharf(["why", "80"]), "free");
    has(&told, "privileged");
    assert!(
        commands(&told).contains(&"wharf run -- COMMAND".to_owned()),
        "{told:#}"
    );
    let told = answer(world.wharf(["why", "1024"]), "free");
    assert!(topics(&told).is_empty(), "{told:#}");
    Ok(())
}

fn reserved_and_chosen_ports_are_told(world: &World) -> Played {
    let machine = world.machine()?;
    machine.administrate("echo '30000 40000' > /proc/sys/net/ipv4/ip_local_port_range");
    machine.administrate("echo 31000-31010 > /proc/sys/net/ipv4/ip_local_reserved_ports");
    has(&answer(world.wharf(["why", "31005"]), "free"), "reserved");
    has(&answer(world.wharf(["why", "30000"]), "free"), "ephemeral");
    assert!(topics(&answer(world.wharf(["why", "40001"]), "free")).is_empty());
    Ok(())
}

fn a_container_s_proxy_says_whom_it_serves(world: &World) -> Played {
    world.needs("bash")?;
    let port = free_port().to_string();
    let states = world.home().join("states.py");
    fs::write(&states, STATES).unwrap();
    let script = "exec -a docker-proxy python3 \"$0\" listening \"$1\" -proto tcp -host-ip 127.0.0.1 \
                  -host-port \"$1\" -container-ip 172.17.0.2 -container-port 80";
    let words = ["-c", script, states.to_str().unwrap(), &port];
    let state = State::stands(world.program("bash").words(words));
    let told = answer(world.wharf(["why", &port]), "held");
    has(&told, "proxy");
    assert!(told.to_string().contains("172.17.0.2 port 80"), "{told:#}");
    state.ends();
    // Its command line tells it of another user's, too.
    if world.user.other().is_some() {
        let _state = State::stands(world.service("bash").words(words));
        let told = answer(world.wharf(["why", &port]), "unseen");
        has(&told, "proxy");
    }
    Ok(())
}

fn a_published_container_is_named_by_docker(world: &World) -> Played {
    const DOCKER: &str = r#"
import json, os, socket, sys
path, port = sys.argv[1], int(sys.argv[2])
server = socket.socket(socket.AF_UNIX)
server.bind(path)
os.chmod(path, 0o777)
server.listen()
print('ready', port, flush=True)
listed = [{'Names': ['/shop-web-1'], 'Labels': {'com.docker.compose.project': 'shop', 'com.docker.compose.service': 'web'},
           'Ports': [{'PrivatePort': 80, 'PublicPort': port, 'Type': 'tcp'}]}]
while True:
    client, _ = server.accept()
    client.recv(4096)
    client.sendall(b'HTTP/1.0 200 OK\r\n\r\n' + json.dumps(listed).encode())
    client.close()
"#;
    let port = free_port().to_string();
    let socket = world.home().join("docker");
    let words = ["-c", DOCKER, socket.to_str().unwrap(), &port];
    let _docker = State::stands(world.program("python3").words(words));
    let why = world
        .wharf(["why", &port])
        .with("DOCKER_HOST", format!("unix://{}", socket.display()));
    let told = answer(why, "free");
    has(&told, "proxy");
    assert!(told.to_string().contains("shop-web-1"), "{told:#}");
    let stop = "docker compose -p shop stop web".to_owned();
    assert!(commands(&told).contains(&stop), "{told:#}");
    Ok(())
}

fn a_rule_of_the_firewall_is_told(world: &World) -> Played {
    if world.user != User::Root {
        return Err(Skipped(
            "rules of the firewall are for root only".to_owned(),
        ));
    }
    world.needs("nft")?;
    let machine = world.machine()?;
    machine.administrate("nft add table ip wharf");
    machine.administrate("nft 'add chain ip wharf pre { type nat hook prerouting priority 0; }'");
    machine.administrate("nft add rule ip wharf pre tcp dport 8080 dnat to 192.0.2.1:80");
    let told = answer(world.wharf(["why", "8080"]), "free");
    has(&told, "nat");
    assert!(told.to_string().contains("192.0.2.1:80"), "{told:#}");
    assert!(topics(&answer(world.wharf(["why", "8081"]), "free")).is_empty());
    Ok(())
}

fn here_is_the_project_s_space_and_then_the_machine(world: &World) -> Played {
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let machine = State::on_machine(world, "listening");
    let port = machine.port.clone();
    let _shop = shop.serve(&["listen", "tcp", "127.0.0.1", &port]);
    let _blog = blog.hold();
    let told = answer(shop.wharf(["why", &port]), "held");
    assert_eq!(told["here"], "shop");
    let places: Vec<_> = told["places"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&places[0]["place"], &places[1]["place"]),
        (&"space".into(), &"machine".into())
    );
    assert_eq!(places[0]["holds"].as_array().unwrap().len(), 1, "{told:#}");
    assert!(
        commands(&told).contains(&"wharf run -s shop-2 -- COMMAND".to_owned()),
        "{told:#}"
    );
    // From elsewhere on the machine the space is only mentioned.
    let told = answer(world.wharf(["why", &port]), "held");
    assert_eq!(told["here"], Value::Null);
    assert_eq!(told["places"][1]["space"], "shop");
    assert!(
        told["summary"]
            .as_str()
            .unwrap()
            .contains("Also in use in space shop")
    );
    // The neighbour's is free, whatever the machine has.
    let told = answer(blog.wharf(["why", &port]), "held");
    assert_eq!(told["places"][0]["verdict"], "free");
    // By its name, only the space counts.
    answer(
        world.wharf(["why", &format!("shop.internal:{port}")]),
        "held",
    );
    answer(
        world.wharf(["why", &format!("blog.internal:{port}")]),
        "free",
    );
    Ok(())
}

fn a_space_and_the_machine_are_seen_from_inside_a_space(world: &World) -> Played {
    let machine = State::on_machine(world, "listening");
    let shop = world.project("shop");
    let port = free_port().to_string();
    let inside = shop.serve(&["listen", "tcp", "::", &port]);
    let why = |port: &str| shop.run([world.binary.to_str().unwrap(), "why", port]);
    let told = answer(why(&port), "held");
    assert_eq!(told["places"][0]["space"], "shop", "{told:#}");
    let pid = inside.program().as_raw_pid();
    assert_eq!(hold(&told)["programs"][0]["pid"], pid);
    let told = answer(why(&machine.port), "held");
    assert_eq!(told["places"][0]["verdict"], "free", "{told:#}");
    let there = &told["places"][1]["holds"][0]["programs"][0];
    assert_eq!(there["pid"], machine.process.pid().as_raw_pid(), "{told:#}");
    Ok(())
}

fn the_ways_out_are_commands_that_work(world: &World) -> Played {
    let shop = world.project("shop");
    let port = free_port().to_string();
    let does = |way: String| shop.wharf(way.split(' ').skip(1)).run().ended_with(0);
    let _held = shop.hold();
    // In the project's space.
    let server = shop.serve(&["listen", "tcp", "127.0.0.1", &port]);
    let ways = commands(&answer(shop.wharf(["why", &port]), "held"));
    let publish = format!("wharf publish shop:{port}");
    for way in ["wharf run -s shop-2 -- COMMAND", &publish] {
        assert!(ways.iter().any(|it| it == way), "{ways:?}");
    }
    does(publish);
    let stop = format!("wharf stop shop:{port}");
    assert!(ways.contains(&stop), "{ways:?}");
    does(stop);
    server.outcome();
    answer(shop.wharf(["why", &format!("shop:{port}")]), "free");
    // On the machine, of this project and of another.
    let state = |project: &crate::harness::Project<'_>| {
        let line = world.line(&project.path, "python3");
        State::stands(line.words(["-c", STATES, "listening", &port]))
    };
    let _state = state(&shop);
    let told = answer(world.wharf(["why", &port]), "held");
    for way in ["wharf run -- COMMAND", "wharf free"] {
        assert!(commands(&told).iter().any(|it| it == way), "{told:#}");
    }
    let ways = commands(&answer(shop.wharf(["why", &port]), "held"));
    let let_in = format!("wharf run --from-host {port} -- COMMAND");
    assert!(ways.contains(&let_in), "{ways:?}");
    let stop = format!("wharf stop 127.0.0.1:{port}");
    assert!(ways.contains(&stop), "{ways:?}");
    does(stop);
    let blog = world.project("blog");
    let _state = state(&blog);
    let ways = commands(&answer(shop.wharf(["why", &port]), "held"));
    let stop = format!("wharf stop --force 127.0.0.1:{port}");
    assert!(ways.contains(&stop), "{ways:?}");
    does(stop);
    Ok(())
}

fn a_published_port_says_what_it_leads_to(world: &World) -> Played {
    let shop = world.project("shop");
    let port = free_port().to_string();
    let server = shop.serve(&["listen", "tcp", "127.0.0.1", "5432"]);
    let place = format!("127.0.0.1:{port}");
    let wish = format!("{place}:5432");
    shop.wharf(["publish", &wish]).run().ended_with(0);
    let told = answer(world.wharf(["why", &port]), "held");
    has(&told, "published");
    assert!(
        told.to_string().contains("port 5432 of space shop"),
        "{told:#}"
    );
    let ways = commands(&told);
    let (look, end) = (
        "wharf why shop:5432".to_owned(),
        format!("wharf unpublish {place}"),
    );
    assert!(ways.contains(&look) && ways.contains(&end), "{ways:?}");
    // Nobody is told to end wharf.
    assert!(
        !ways
            .iter()
            .any(|way| way.contains("stop") || way.contains("kill")),
        "{ways:?}"
    );
    // From the other side.
    let told = answer(world.wharf(["why", "shop:5432"]), "held");
    assert_eq!(
        hold(&told)["programs"][0]["pid"],
        server.program().as_raw_pid()
    );
    assert_eq!(hold(&told)["published"], serde_json::json!([place]));
    assert_eq!(hold(&told)["reach"][0], place.as_str());
    let listed = world.wharf(["ls"]).out();
    assert!(listed.contains(&place), "{listed}");
    world.wharf(["unpublish", &place]).run().ended_with(0);
    assert_eq!(world.listeners()[0]["published"], serde_json::json!([]));
    Ok(())
}
