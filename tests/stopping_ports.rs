//! `wharf stop PORT` ends who listens there, and nobody else.

use crate::harness::world::Project;
use crate::harness::{Played, Process, World, free_port, peer, scenes};

scenes![
    a_server_that_ignores_sigterm_is_ended_after_a_while,
    clients_are_left_alone,
    every_process_that_holds_the_port_is_ended,
    nobody_is_ended_by_a_dry_run,
    nothing_to_end_is_not_a_success,
    the_port_of_a_space_is_freed_and_the_space_goes_on,
    what_another_project_runs_is_ended_only_by_force,
    wharf_does_not_end_itself,
];

/// A server of the machine, run in the project's directory.
fn serve(project: &Project<'_>, words: &[&str]) -> Process {
    let line = project.world.line(&project.path, "python3");
    let server = line.words(["-c", peer::SOURCE]).words(words).start();
    server.says("ready");
    server
}

fn nobody_is_ended_by_a_dry_run(world: &World) -> Played {
    let port = free_port().to_string();
    let shop = world.project("shop");
    let mut server = serve(&shop, &["listen", "tcp", "127.0.0.1", &port]);
    let told = shop.wharf(["stop", &port, "--dry-run"]).run().ended_with(0);
    let pid = server.pid().as_raw_pid();
    let expected = format!(
        "wharf: would end python3.11 (pid {pid} in {}), which listens at tcp/{port} of the machine\n",
        shop.path.display()
    );
    let version = told.stderr.split_whitespace().nth(3).unwrap_or_default();
    assert_eq!(told.stderr, expected.replace("python3.11", version));
    assert!(server.runs());
    let ended = shop.wharf(["stop", &port]).run().ended_with(0);
    assert_eq!(ended.stderr, told.stderr.replace("would end", "ends"));
    assert!(!server.runs());
    Ok(())
}

fn clients_are_left_alone(world: &World) -> Played {
    let port = free_port().to_string();
    let shop = world.project("shop");
    let _server = serve(&shop, &["echo", "tcp", "127.0.0.1", &port]);
    let script = "
import socket, sys
client = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
print('connected', flush=True)
client.recv(1)
print('cut off', flush=True)
input()
";
    let line = world.line(&shop.path, "python3");
    let mut client = line.words(["-c", script, &port]).start();
    client.says("connected");
    shop.wharf(["stop", &port]).run().ended_with(0);
    client.says("cut off");
    assert!(client.runs());
    Ok(())
}

fn every_process_that_holds_the_port_is_ended(world: &World) -> Played {
    let port = free_port().to_string();
    let shop = world.project("shop");
    let script = "
import os, socket, sys, time
server = socket.create_server(('127.0.0.1', int(sys.argv[1])))
if os.fork() == 0:
    print('ready', flush=True)
time.sleep(1000)
";
    let line = world.line(&shop.path, "python3");
    let server = line.words(["-c", script, &port]).start();
    server.says("ready");
    let ended = shop.wharf(["stop", &port]).run().ended_with(0);
    assert_eq!(ended.stderr.lines().count(), 2, "{ended}");
    server.outcome();
    shop.wharf(["stop", &port]).run().ended_with(1);
    Ok(())
}

fn what_another_project_runs_is_ended_only_by_force(world: &World) -> Played {
    let port = free_port().to_string();
    let (shop, blog) = (world.project("shop"), world.project("blog"));
    let mut server = serve(&blog, &["listen", "tcp", "127.0.0.1", &port]);
    let refused = shop.wharf(["stop", &port]).run().ended_with(3);
    assert!(
        refused.stderr.contains("is not of this project"),
        "{refused}"
    );
    assert!(
        refused
            .stderr
            .contains(&format!("in {}", blog.path.display())),
        "{refused}"
    );
    assert!(server.runs());
    shop.wharf(["stop", &port, "--force"]).run().ended_with(0);
    assert!(!server.runs());
    Ok(())
}

fn the_port_of_a_space_is_freed_and_the_space_goes_on(world: &World) -> Played {
    let shop = world.project("shop");
    let mut other = shop.hold();
    let server = shop.serve(&["listen", "tcp", "127.0.0.1", "3000"]);
    let stop = |words: &[&str]| shop.wharf(["stop"]).words(words).run();
    let told = stop(&[".:3000", "-n"]).ended_with(0);
    assert!(
        told.stderr
            .ends_with("which listens at tcp/3000 of this directory's space\n"),
        "{told}"
    );
    stop(&["shop:3000"]).ended_with(0);
    server.outcome().ended_with(143);
    assert!(other.runs());
    let told = stop(&["--dry-run"]).ended_with(0);
    assert_eq!(
        told.stderr,
        "wharf: would end space shop and what runs in it\n"
    );
    assert!(other.runs());
    Ok(())
}

fn a_server_that_ignores_sigterm_is_ended_after_a_while(world: &World) -> Played {
    let shop = world.project("shop");
    let script = "
import signal, socket, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = socket.create_server(('127.0.0.1', 3000))
print('ready', flush=True)
time.sleep(1000)
";
    let server = shop.run(["python3", "-c", script]).start();
    server.says("ready");
    shop.wharf(["stop", ".:3000"]).run().ended_with(0);
    server.outcome().ended_with(137);
    Ok(())
}

fn nothing_to_end_is_not_a_success(world: &World) -> Played {
    let port = free_port().to_string();
    let nothing = world.wharf(["stop", &port]).run().ended_with(1);
    assert_eq!(
        nothing.stderr,
        format!("wharf: nothing listens at tcp/{port} of the machine\n")
    );
    world.wharf(["stop", "shop:3000"]).run().ended_with(1);
    world.wharf(["stop", "--dry-run"]).run().ended_with(1);
    Ok(())
}

fn wharf_does_not_end_itself(world: &World) -> Played {
    let shop = world.project("shop");
    let mut held = shop.hold();
    let port = world.names_port.to_string();
    let refused = world.wharf(["stop", &port, "--force"]).run().ended_with(3);
    assert!(refused.stderr.contains("is wharf's own"), "{refused}");
    assert!(held.runs());
    Ok(())
}
